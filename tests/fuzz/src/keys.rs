//! The keys that the corpus was made with: as `datacentre ca` writes them. They protect nothing.

use bundle::{BoxName, BundleName, LocalSigner, Opener, Recipient, Sealer, Trust, signed};
use std::sync::LazyLock;
use x509_cert::Certificate;

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../keys/", $name))
    };
}

pub const RECIPIENT: &[u8] = file!("recipient.pem");
pub const RECIPIENT_KEY: &[u8] = file!("recipient.key");
pub const SEALING_AUTHORITY: &[u8] = file!("sealing-ca.pem");
pub const SEALING: &[u8] = file!("sealing-box.pem");
pub const SEALING_KEY: &[u8] = file!("sealing-box.key");
pub const REVOCATION_LIST: &[u8] = file!("sealing-crl.pem");
pub const REVOKED: &[u8] = file!("sealing-box-revoked.pem");
pub const CLIENT: &[u8] = file!("tls-box.pem");
/// Another box of the same authority.
pub const OTHER_BOX: &str = "other-box";
pub const OTHER_SEALING: &[u8] = file!("sealing-other-box.pem");
pub const OTHER_SEALING_KEY: &[u8] = file!("sealing-other-box.key");
pub const RECEIPT: &[u8] = file!("receipt.pem");
pub const RECEIPT_KEY: &[u8] = file!("receipt.key");

/// The one receipt that the holder of [`RECEIPT_KEY`] ever issued.
pub const ISSUED_RECEIPT: &[u8] = file!("issued.receipt");

/// The files that the site configuration names, as a commissioning disc holds them.
pub const DISC: &[(&str, &[u8])] = &[
    ("ike.pem", file!("ike-box.pem")),
    ("ike.key", file!("ike-box.key")),
    ("ike-authority.pem", file!("ike-ca.pem")),
    ("upload.pem", file!("tls-box.pem")),
    ("upload.key", file!("tls-box.key")),
    ("upload-authority.pem", file!("tls-ca.pem")),
    ("upload-authority.crl", file!("tls-crl.pem")),
    ("receipt.pem", RECEIPT),
    ("sealing.pem", SEALING),
    ("sealing.key", SEALING_KEY),
    ("recipient.pem", RECIPIENT),
];

/// The certificates are valid then: 2026-11-22T00:00:00Z.
pub const NOW: u64 = 1_795_305_600;

pub fn box_name() -> BoxName {
    "box-1".parse().expect("a name")
}

pub fn bundle_name(sequence: u64) -> BundleName {
    BundleName::new(box_name(), sequence).expect("a sequence number")
}

pub fn trust() -> &'static Trust {
    static TRUST: LazyLock<Trust> =
        LazyLock::new(|| Trust::from_pem(SEALING_AUTHORITY).expect("an authority"));
    &TRUST
}

pub fn opener() -> &'static Opener {
    static OPENER: LazyLock<Opener> =
        LazyLock::new(|| Opener::from_pem(RECIPIENT, RECIPIENT_KEY).expect("a recipient"));
    &OPENER
}

pub fn signer() -> &'static LocalSigner {
    static SIGNER: LazyLock<LocalSigner> =
        LazyLock::new(|| LocalSigner::from_pem(SEALING_KEY).expect("a key"));
    &SIGNER
}

pub fn signer_certificate() -> &'static Certificate {
    static CERTIFICATE: LazyLock<Certificate> =
        LazyLock::new(|| signed::certificate_from_pem(SEALING).expect("a certificate"));
    &CERTIFICATE
}

pub fn receiver_certificate() -> &'static Certificate {
    static CERTIFICATE: LazyLock<Certificate> =
        LazyLock::new(|| signed::certificate_from_pem(RECEIPT).expect("a certificate"));
    &CERTIFICATE
}

pub fn sealer() -> Sealer<&'static LocalSigner> {
    let recipient = Recipient::from_pem(RECIPIENT).expect("a recipient");
    Sealer::new(box_name(), vec![recipient], SEALING, signer()).expect("a sealer")
}
