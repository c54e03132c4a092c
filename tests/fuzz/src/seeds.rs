//! Good inputs, made by the product itself: where each target starts from. `cargo run -p fuzz --example seeds` writes
//! them into the corpus, which is to be done again when a format changes.

use crate::{Verdict, certificates as uses, inside, keys, queue, rogue, signed, site_text};
use crate::{tus_request as request, tus_response as response};
use bundle::signed::{Placement, sign};
use bundle::{Body, Digest, Draft, Entry, Event, LocalSigner, Part, Source, VersionId};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use upload::receipt;

/// One good input of a target.
pub struct Seed {
    pub target: &'static str,
    pub name: String,
    pub bytes: Vec<u8>,
    pub verdict: Verdict,
}

fn seed(target: &'static str, name: &str, bytes: impl Into<Vec<u8>>) -> Seed {
    Seed {
        target,
        name: format!("seed-{name}"),
        bytes: bytes.into(),
        verdict: Verdict::Accepted,
    }
}

/// One that is to be refused, but close to what is not.
fn refused(seed: Seed) -> Seed {
    Seed {
        verdict: Verdict::Refused,
        ..seed
    }
}

/// All of them. Signatures and content keys are fresh in every call.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = bundles();
    seeds.extend(signatures());
    seeds.extend(certificates());
    seeds.extend(requests());
    seeds.extend(responses());
    seeds.extend(texts());
    for (name, erased) in [("queue", 0), ("erased", 2)] {
        let queue = queue::after_appending(&[b"first", b"second", b"third"], erased);
        seeds.push(seed("spool_files", name, queue));
    }
    seeds
}

/// The receipt that [`keys::ISSUED_RECEIPT`] was once.
pub fn new_receipt() -> Vec<u8> {
    let key = LocalSigner::from_pem(keys::RECEIPT_KEY).expect("a key");
    receipt::issue(&signed::stated(), keys::receiver_certificate(), &key).expect("a receipt")
}

const MANIFEST: &str = r#"{"format":"collector-bundle-1","box":"box-1","sequence":1,"previous":null,"time":"2026-11-22T00:00:00Z","sources":[{"name":"standard","kind":"standardized"},{"name":"dpc","kind":"dpc"}],"entries":[
{"event":"added","source":"standard","path":"000/000/one","content":1,"size":@,"sha256":"@","modified":1700000000},
{"event":"changed","source":"dpc","path":"%83e%20%0A","content":2,"size":@,"sha256":"@"},
{"event":"added","source":"dpc","path":"big","content":3,"size":@,"sha256":"@","part":{"version":"07070707070707070707070707070707","total":10,"offset":5,"whole":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},
{"event":"flag-changed","source":"standard","path":"000/two_2","from":"000/two_1"},
{"event":"removed","source":"standard","path":"000/three"}
]}
"#;

fn sources() -> Vec<Source> {
    vec![Source {
        name: "standard".to_owned(),
        kind: "standardized".to_owned(),
    }]
}

fn bundles() -> Vec<Seed> {
    let mut draft = Draft::new(sources()).expect("a draft");
    let part = Part {
        version: VersionId([7; 16]),
        total: 10,
        offset: 5,
        whole: Some(Digest::of(b"partsparts")),
    };
    for (path, event) in [
        (
            &b"000/one"[..],
            Event::Added(Body::new(b"first".as_slice(), Some(1_700_000_000), None)),
        ),
        (
            b"big",
            Event::Added(Body::new(b"parts".as_slice(), None, Some(part))),
        ),
        (b"000/two_2", Event::FlagChanged { from: b"000/two_1" }),
        (b"000/three", Event::Removed),
    ] {
        let entry = Entry {
            source: 0,
            path,
            event,
        };
        draft.push(&entry).expect("an entry");
    }
    let closed = draft.close().expect("a closed draft");
    let sealed = keys::sealer()
        .seal(&closed, 1, None, keys::NOW)
        .expect("a bundle");

    let rogue = [MANIFEST.as_bytes(), b"\0first\0\0parts"].concat();
    let stream = rogue::stream(&rogue);
    let archive = rogue::archive(&rogue);
    let filled = rogue::fill(MANIFEST.as_bytes(), &[b"first", b"", b"parts"]);
    vec![
        seed("bundle_envelope", "sealed", sealed.bytes),
        seed(
            "bundle_inside",
            "stream",
            [&[inside::COMPRESSED], &stream[..]].concat(),
        ),
        seed("bundle_inside", "archive", [b"a", &archive[..]].concat()),
        seed("bundle_rogue", "every-event", rogue),
        seed("manifest", "every-event", filled),
    ]
}

fn signatures() -> Vec<Seed> {
    let made = |placement| {
        sign(
            signed::CONTENT,
            placement,
            keys::signer_certificate(),
            keys::signer(),
        )
        .expect("a signature")
    };
    let digest = Digest::of(&response::uploaded());
    let mark = receipt::unsigned_mark(&keys::bundle_name(7), 4096, &digest.0);
    vec![
        seed("signature", "detached", made(Placement::Detached)),
        seed("signature", "attached", made(Placement::Attached)),
        seed("receipt", "issued", keys::ISSUED_RECEIPT),
        refused(seed("receipt", "unsigned-mark", mark)),
    ]
}

fn certificates() -> Vec<Seed> {
    let der = |pem: &[u8]| {
        CertificateDer::from_pem_slice(pem)
            .expect("a certificate")
            .to_vec()
    };
    let list = CertificateRevocationListDer::from_pem_slice(keys::REVOCATION_LIST)
        .expect("a list")
        .to_vec();
    let made = |name, kind: u8, bytes: &[u8]| seed("certificates", name, [&[kind], bytes].concat());
    vec![
        made("recipient", uses::RECIPIENT, &der(keys::RECIPIENT)),
        made("signer", uses::SIGNER, &der(keys::SEALING)),
        made("revoked", uses::SIGNER, &der(keys::REVOKED)),
        made("authority", uses::AUTHORITY, &der(keys::SEALING_AUTHORITY)),
        made("client", uses::CLIENT, &der(keys::CLIENT)),
        made("list", uses::LIST, &list),
        made(
            "disc-recipient",
            uses::DISC_RECIPIENT,
            &der(keys::RECIPIENT),
        ),
        made("disc-list", uses::DISC_LIST, &list),
        refused(made(
            "disc-upload",
            uses::DISC_UPLOAD,
            &der(keys::RECIPIENT),
        )),
        refused(made("disc-tunnel", uses::DISC_TUNNEL, &der(keys::CLIENT))),
        made("signer-pem", uses::SIGNER, keys::SEALING),
        made("list-pem", uses::LIST, keys::REVOCATION_LIST),
        made("disc-pem", uses::DISC_RECIPIENT, keys::RECIPIENT),
    ]
}

fn requests() -> Vec<Seed> {
    let (half, offset) = request::half_sent();
    let fresh = b"a new bundle";
    let plain = |words: &str| {
        format!("{words} HTTP/1.1\r\nHost: r\r\nTus-Resumable: 1.0.0\r\n\r\n").into_bytes()
    };
    let whole = [
        request::announce("box-1", 3, fresh),
        request::send("box-1", 3, 0, &fresh[..5]),
        plain("HEAD /files/box-1-0000000003.cms"),
        request::send("box-1", 3, 5, &fresh[5..]),
        plain("GET /files/box-1-0000000003.cms/receipt"),
    ];
    let rest = [
        plain("HEAD /files/box-1-0000000002.cms"),
        request::send("box-1", 2, offset, &half[offset..]),
        plain("GET /files/box-1-0000000002.cms/receipt"),
        plain("OPTIONS /files/"),
    ];
    let others = [
        plain("HEAD /files/box-2-0000000002.cms"),
        plain("GET /files/box-2-0000000001.cms/receipt"),
        request::announce("box-2", 3, fresh),
        plain("GET /files/../box-2/box-2-0000000001.cms"),
    ];
    let chunked = "POST /files/box-1-0000000002.cms HTTP/1.1\r\nHost: r\r\nTus-Resumable: 1.0.0\r\nX-HTTP-Method-Override: PATCH\r\n\
        Upload-Offset: 22\r\nContent-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n3\r\nx-1\r\n0\r\n\r\n";
    vec![
        seed("tus_request", "whole", whole.concat()),
        seed("tus_request", "resumed", rest.concat()),
        refused(seed("tus_request", "others", others.concat())),
        seed("tus_request", "chunked", chunked),
    ]
}

fn responses() -> Vec<Seed> {
    let answer = |head: &str| {
        format!("HTTP/1.1 {head}\r\nTus-Resumable: 1.0.0\r\nContent-Length: 0\r\n\r\n")
    };
    let created = answer("201 Created\r\nLocation: /files/u");
    let at = |offset| answer(&format!("204 No Content\r\nUpload-Offset: {offset}"));
    let receipt = [
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            keys::ISSUED_RECEIPT.len()
        )
        .as_bytes(),
        keys::ISSUED_RECEIPT,
    ]
    .concat();
    let parts = |kind: u8, parts: &[Vec<u8>]| [&[kind], &parts.join(response::NEXT)[..]].concat();
    let asked = answer("200 OK\r\nUpload-Offset: 0\r\nUpload-Length: 4096");
    let sent =
        [created.clone(), asked.clone(), at(1500), at(3000), at(4096)].map(String::into_bytes);
    let receipted = [&sent[..], &[receipt]].concat();
    let conflict = answer("409 Conflict");
    let resumed = [created, asked, conflict, at(3000), at(4096)].map(String::into_bytes);
    vec![
        seed("tus_response", "receipt", parts(b'r', &receipted)),
        seed("tus_response", "plain", parts(response::PLAIN, &sent)),
        seed("tus_response", "conflict", parts(response::PLAIN, &resumed)),
    ]
}

fn texts() -> Vec<Seed> {
    let names = [
        "000/000/0000001/20000401/ADT-31/0000001_20000401_ADT-31_123456789012345_20110701113813225_01_1",
        "123/456/1234567890/20231205/type/1234567890_20231205_11506-3_id_20231205112233000_200_1/main.xml",
        "2024/TR_20240101000000000_00001.DAT",
        "EFn_123456789_2401.txt",
        "202401/RECEIPTC.UKE",
    ];
    let opened = "+000/a first\n+000/b second\n=\n*000/a changed\n~000/b 000/c\n-000/c\n=\n+000/a/below x\n+2dpc y\n";
    let mut seeds = vec![
        seed("site_text", "example", site_text::example()),
        seed("restore", "bundles", opened),
    ];
    for (kind, name) in (0u8..).zip(names) {
        let bytes = [&[kind], name.as_bytes()].concat();
        seeds.push(seed("store_paths", &format!("store-{kind}"), bytes));
    }
    seeds
}
