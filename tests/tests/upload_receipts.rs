//! Receipts: nothing but the configured receiver's receipt for this very bundle lets it be erased (rule 6).

mod upload_lab;

use bundle::BundleName;
use bundle::signed::{Placement, sign};
use std::collections::BTreeSet;
use std::process::Command;
use upload::receipt::{Statement, is_unsigned_mark, issue, unsigned_mark};
use upload::tus::hex;
use upload::{ReceiptFault, UnverifiedReceipt, verify_receipt};
use upload_lab::{Lab, certificate, noise};

const FIRST: &str = "north-1-0000000001.cms";
const DIGEST: [u8; 32] = [7; 32];

fn statement() -> Statement {
    Statement {
        bundle: FIRST.into(),
        size: 5000,
        sha256: hex(&DIGEST),
        time: "2026-11-22T01:02:03Z".into(),
    }
}

fn signed_by(lab: &Lab, signer: &str, statement: &Statement) -> Vec<u8> {
    let key = std::fs::read(lab.pki.file(&format!("{signer}.key"))).unwrap();
    let key = bundle::LocalSigner::from_pem(&key).unwrap();
    issue(
        statement,
        &certificate(&lab.pki.file(&format!("{signer}.pem"))),
        &key,
    )
    .unwrap()
}

fn verdict(lab: &Lab, der: Vec<u8>) -> Result<(), ReceiptFault> {
    let receiver = certificate(&lab.pki.file("receipt.pem"));
    let name: BundleName = FIRST.parse().unwrap();
    verify_receipt(UnverifiedReceipt(der), &receiver, &name, 5000, &DIGEST).map(|_| ())
}

#[test]
fn the_receivers_own_receipt_is_accepted() {
    let lab = Lab::new();
    verdict(&lab, signed_by(&lab, "receipt", &statement())).unwrap();
}

#[test]
fn a_receipt_of_another_signer_with_the_same_name_and_serial_number_is_refused() {
    let lab = Lab::new();
    let fault = verdict(&lab, signed_by(&lab, "other-receipt", &statement())).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the receipt is not signed by the configured receiver"
    );
}

#[test]
fn a_receipt_for_another_bundle_size_or_digest_is_refused_by_name() {
    let lab = Lab::new();
    let other = |change: fn(&mut Statement)| {
        let mut statement = statement();
        change(&mut statement);
        verdict(&lab, signed_by(&lab, "receipt", &statement))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        other(|s| s.bundle = "north-1-0000000002.cms".into()),
        "the receipt is for another bundle than north-1-0000000001.cms"
    );
    assert_eq!(
        other(|s| s.size = 4999),
        "the receipt states 4999 bytes where the bundle has 5000"
    );
    let words = other(|s| s.sha256 = "00".repeat(32));
    assert!(
        words.starts_with("the receipt states SHA-256 0000"),
        "{words}"
    );
}

#[test]
fn a_receipt_with_any_bit_flipped_is_refused_with_a_reason() {
    let lab = Lab::new();
    let der = signed_by(&lab, "receipt", &statement());
    let receiver = certificate(&lab.pki.file("receipt.pem"));
    let name: BundleName = FIRST.parse().unwrap();
    let mut reasons = BTreeSet::new();
    for bit in 0..der.len() * 8 {
        let mut wrong = der.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let verdict = verify_receipt(UnverifiedReceipt(wrong), &receiver, &name, 5000, &DIGEST);
        match verdict {
            Err(ReceiptFault::Signature(reason)) => drop(reasons.insert(reason.to_string())),
            Err(other) => panic!("bit {bit}: {other}, though the signature cannot fit"),
            Ok(_) => panic!("bit {bit} of {} was accepted", der.len() * 8),
        }
    }
    for words in [
        "the signature is not whole DER of CMS SignedData",
        "the signature does not fit the content",
        "the message does not carry its signer's certificate",
        "the message is signed by another certificate than the one expected",
        "the signature has a version other than 1, which none of ours has",
        "the signature has a list of digests that is not its signer's, which none of ours has",
    ] {
        assert!(reasons.contains(words), "{words} in {reasons:#?}");
    }
}

#[test]
fn a_receipt_that_is_replayed_for_the_next_bundle_or_another_of_the_same_number_is_refused() {
    let lab = Lab::new();
    let receiver = certificate(&lab.pki.file("receipt.pem"));
    let replay = |bundle: &str, size: u64, digest: &[u8; 32]| {
        let der = signed_by(&lab, "receipt", &statement());
        let name: BundleName = bundle.parse().unwrap();
        verify_receipt(UnverifiedReceipt(der), &receiver, &name, size, digest)
            .map(|_| ())
            .unwrap_err()
    };
    assert!(matches!(
        replay("north-1-0000000002.cms", 5000, &DIGEST),
        ReceiptFault::OtherBundle { .. }
    ));
    assert!(matches!(
        replay("north-2-0000000001.cms", 5000, &DIGEST),
        ReceiptFault::OtherBundle { .. }
    ));
    assert!(matches!(
        replay(FIRST, 5000, &[8; 32]),
        ReceiptFault::OtherDigest { .. }
    ));
    assert!(matches!(
        replay(FIRST, 5001, &DIGEST),
        ReceiptFault::OtherSize { .. }
    ));
}

#[test]
fn what_the_receiver_signed_without_stating_all_is_no_receipt() {
    let lab = Lab::new();
    let key = std::fs::read(lab.pki.file("receipt.key")).unwrap();
    let key = bundle::LocalSigner::from_pem(&key).unwrap();
    let signer = certificate(&lab.pki.file("receipt.pem"));
    let signed = |content: &[u8], placement| sign(content, placement, &signer, &key).unwrap();
    let name: BundleName = FIRST.parse().unwrap();
    let right = serde_json::to_string(&statement()).unwrap();
    for content in [
        right.replace("\"time\"", "\"mood\""),
        right.replace('{', "{\"mood\":1,"),
        right.replace('{', "{\"size\":5000,"),
        right.replace("5000", "\"5000\""),
        right.clone() + "{}",
        String::from_utf8(unsigned_mark(&name, 5000, &DIGEST)).unwrap(),
        String::new(),
    ] {
        let fault = verdict(&lab, signed(content.as_bytes(), Placement::Attached)).unwrap_err();
        assert!(matches!(fault, ReceiptFault::NoStatement), "{content}");
    }
    let detached = verdict(&lab, signed(right.as_bytes(), Placement::Detached)).unwrap_err();
    assert_eq!(
        std::error::Error::source(&detached).unwrap().to_string(),
        "the signature has no content inside, which none of ours has"
    );
    // and what a server without receipts leaves in a receipt's place is none
    let mark = verdict(&lab, unsigned_mark(&name, 5000, &DIGEST)).unwrap_err();
    assert!(matches!(mark, ReceiptFault::Signature(_)));
}

#[test]
fn a_receipt_cut_short_or_with_bytes_behind_it_is_refused() {
    let lab = Lab::new();
    let der = signed_by(&lab, "receipt", &statement());
    for length in 0..der.len() {
        assert!(
            verdict(&lab, der[..length].to_vec()).is_err(),
            "{length} bytes"
        );
    }
    assert!(verdict(&lab, [der, vec![0]].concat()).is_err());
}

#[test]
fn a_server_that_hands_out_the_receipt_of_another_bundle_gets_nothing_erased() {
    let lab = Lab::new();
    let bundle = lab.bundle(FIRST, &noise(1, 1000));
    let server = lab.start();
    lab.sender().deliver(server.address, &bundle).unwrap();
    drop(server);
    let kept = lab.store().join(".receipts").join(upload_lab::BOX);
    let forged = Statement {
        size: 1000,
        ..statement()
    };
    std::fs::write(
        kept.join(format!("{FIRST}.receipt")),
        signed_by(&lab, "other-receipt", &forged),
    )
    .unwrap();
    let mut settings = lab.settings();
    settings.receipt_certificate = lab.pki.file("other-receipt.pem");
    settings.receipt_key = lab.pki.file("other-receipt.key");
    let server = upload_lab::Running::start(settings);
    let error = lab.sender().deliver(server.address, &bundle).unwrap_err();
    // The digest in the forged receipt is another one, so the receiver itself sees a conflict first.
    assert_eq!(
        error.to_string(),
        "the server has another bundle of this name; find out which box made it"
    );
    std::fs::remove_dir_all(kept).unwrap();
    let error = lab.sender().deliver(server.address, &bundle).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the receipt is not signed by the configured receiver"
    );
}

#[test]
fn stock_openssl_verifies_a_receipt() {
    let lab = Lab::new();
    let path = lab.folder.path().join("receipt.der");
    std::fs::write(&path, signed_by(&lab, "receipt", &statement())).unwrap();
    let run = Command::new("openssl")
        .args(["cms", "-verify", "-inform", "DER", "-binary", "-in"])
        .arg(&path)
        .arg("-CAfile")
        .arg(lab.pki.file("ca.pem"))
        .output();
    let Ok(output) = run else {
        println!("skipped: openssl is not installed");
        return;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        serde_json::from_slice::<Statement>(&output.stdout).unwrap(),
        statement()
    );
}

#[test]
fn the_mark_of_an_unsigned_delivery_fits_its_own_bundle_only() {
    let name: BundleName = FIRST.parse().unwrap();
    let other: BundleName = "north-1-0000000002.cms".parse().unwrap();
    let mark = unsigned_mark(&name, 5000, &DIGEST);
    assert!(is_unsigned_mark(&mark, &name, 5000, &DIGEST));
    assert!(!is_unsigned_mark(&mark, &other, 5000, &DIGEST));
    assert!(!is_unsigned_mark(&mark, &name, 5001, &DIGEST));
    assert!(!is_unsigned_mark(&mark, &name, 5000, &[8; 32]));
    assert!(!is_unsigned_mark(b"{}", &name, 5000, &DIGEST));
}
