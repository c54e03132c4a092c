//! A commissioning disc for tests: the operator's example and credentials made for it.

use rcgen::{
    CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use std::collections::BTreeMap;
use std::sync::LazyLock;

pub const EXAMPLE: &str = include_str!("../../../config/site.toml");

/// The files that the example names.
pub static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let mut files = BTreeMap::new();
    for (name, host) in [
        ("ike", "box-0001.example"),
        ("upload", "box-0001"),
        ("sealing", "box-0001"),
    ] {
        let (certificate, key) = pair(host, &PKCS_ECDSA_P256_SHA256);
        files.insert(format!("{name}.pem"), certificate);
        files.insert(format!("{name}.key"), key);
    }
    let (authority, list) = authority();
    files.insert("ike-authority.pem".to_owned(), authority.clone());
    files.insert("upload-authority.pem".to_owned(), authority);
    files.insert("upload-authority.crl".to_owned(), list);
    files.insert(
        "receipt.pem".to_owned(),
        pair("receiver.example", &PKCS_ECDSA_P256_SHA256).0,
    );
    files.insert(
        "recipient.pem".to_owned(),
        pair("recipient.example", &PKCS_RSA_SHA256).0,
    );
    files
});

/// Certificate and key, PEM.
pub fn pair(name: &str, algorithm: &'static SignatureAlgorithm) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    (
        certificate.pem().into_bytes(),
        key.serialize_pem().into_bytes(),
    )
}

fn authority() -> (Vec<u8>, Vec<u8>) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2036, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&issuer).unwrap();
    (issuer.pem().into_bytes(), list.pem().unwrap().into_bytes())
}
