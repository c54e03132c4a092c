//! Signed messages: the detached signature beside a manifest, and the receipt.
//!
//! 1. Nobody's signature is found by changing bytes: a message verifies for the one content that was signed and for no
//!    other, and a receipt that is accepted is, byte for byte, the one that the receiver issued.
//! 2. Every refusal is words on one line.

use crate::tus_response::uploaded;
use crate::{Verdict, keys, message};
use bundle::Digest;
use bundle::signed::UnverifiedSigned;
use upload::receipt::{self as receipts, Statement};
use upload::{UnverifiedReceipt, verify_receipt};

/// What the messages of the corpus sign.
pub const CONTENT: &[u8] = b"{\"signed\":\"by the box\"}";
/// What nobody ever signed.
const OTHER: &[u8] = b"{\"signed\":\"by nobody\"}";

pub fn signature(bytes: &[u8]) -> Verdict {
    let signed = match UnverifiedSigned::parse(bytes) {
        Ok(signed) => signed,
        Err(error) => return message::refused(&error),
    };
    let certificate = keys::signer_certificate();
    let signed_by_the_box = match signed.attached() {
        Some(_) => signed.verify_attached(certificate).map(|content| {
            assert!(content == CONTENT, "another content than the signed one");
        }),
        None => signed.verify_detached(CONTENT, certificate),
    };
    assert!(signed.verify_detached(OTHER, certificate).is_err());
    let named = signed.signer_certificate();
    match keys::trust().check(named, keys::NOW) {
        Ok(()) => assert!(named == certificate, "a certificate that nobody issued"),
        Err(error) => message::check(&error),
    }
    match signed_by_the_box {
        Ok(()) => Verdict::Accepted,
        Err(error) => message::refused(&error),
    }
}

/// What the one receipt states that was ever issued.
pub fn stated() -> Statement {
    Statement {
        bundle: keys::bundle_name(7).to_string(),
        size: 4096,
        sha256: Digest::of(&uploaded()).to_string(),
        time: "2026-11-22T00:00:00Z".to_owned(),
    }
}

pub fn receipt(bytes: &[u8]) -> Verdict {
    let (name, size, Digest(digest)) = (keys::bundle_name(7), 4096, Digest::of(&uploaded()));
    if receipts::statement(bytes, keys::receiver_certificate()).is_some() {
        assert!(bytes == keys::ISSUED_RECEIPT);
    }
    if receipts::is_unsigned_mark(bytes, &name, size, &digest) {
        let mark = receipts::unsigned_mark(&name, size, &digest);
        let one: serde_json::Value = serde_json::from_slice(&mark).expect("JSON");
        let other: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(one, other);
    }
    let claim = UnverifiedReceipt(bytes.to_vec());
    match verify_receipt(claim, keys::receiver_certificate(), &name, size, &digest) {
        Ok(receipt) => {
            assert!(
                receipt.der() == keys::ISSUED_RECEIPT,
                "a receipt that nobody issued"
            );
            assert_eq!(receipt.statement(), &stated());
            Verdict::Accepted
        }
        Err(error) => message::refused(&error),
    }
}
