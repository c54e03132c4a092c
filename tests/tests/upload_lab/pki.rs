//! Certificates as a site has them, and wrong ones of each kind.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::path::{Path, PathBuf};

/// The files of one test.
///
/// | file | what |
/// |---|---|
/// | `ca.pem`, `crl.pem`, `stale.pem` | authority, its revocation list, and one past its next update |
/// | `server.*`, `box.*`, `other-box.*` | good ones |
/// | `server-revoked.*`, `box-revoked.*`, `server-expired.*`, `box-expired.*` | as their names say |
/// | `other-ca.pem`, `other-crl.pem`, `other-server.*`, `other-box-ca.*` | of another authority with the same name |
/// | `receipt.*`, `other-receipt.*` | signers of receipts, same name |
pub struct Pki(PathBuf);

type Authority = Issuer<'static, KeyPair>;

const REVOKED: [u64; 2] = [1001, 1002];

impl Pki {
    pub fn make(folder: &Path) -> Self {
        let pki = Self(folder.join("pki"));
        std::fs::create_dir(&pki.0).unwrap();
        let authority = pki.authority("ca.pem");
        let other = pki.authority("other-ca.pem");
        pki.revocation_list("crl.pem", &authority, 2100);
        pki.revocation_list("stale.pem", &authority, 2021);
        pki.revocation_list("other-crl.pem", &other, 2100);
        pki.leaf("server", super::SERVER, &authority, 1, 2100);
        pki.leaf("box", super::BOX, &authority, 2, 2100);
        pki.leaf("other-box", "south-1", &authority, 3, 2100);
        pki.leaf(
            "server-revoked",
            super::SERVER,
            &authority,
            REVOKED[0],
            2100,
        );
        pki.leaf("box-revoked", super::BOX, &authority, REVOKED[1], 2100);
        pki.leaf("server-expired", super::SERVER, &authority, 4, 2021);
        pki.leaf("box-expired", super::BOX, &authority, 5, 2021);
        pki.leaf("server-other", super::SERVER, &other, 1, 2100);
        pki.leaf("box-other", super::BOX, &other, 2, 2100);
        pki.leaf("receipt", "receipts", &authority, 6, 2100);
        pki.leaf("other-receipt", "receipts", &other, 6, 2100);
        pki
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn authority(&self, file: &str) -> Authority {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut parameters = CertificateParams::default();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "upload authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        std::fs::write(self.file(file), parameters.self_signed(&key).unwrap().pem()).unwrap();
        Issuer::new(parameters, key)
    }

    fn leaf(&self, file: &str, name: &str, authority: &Authority, serial: u64, until: i32) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.serial_number = Some(SerialNumber::from(serial));
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(until, 1, 1);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::EmailProtection,
        ];
        let certificate = parameters.signed_by(&key, authority).unwrap();
        std::fs::write(self.file(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.file(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    fn revocation_list(&self, file: &str, authority: &Authority, until: i32) {
        let revoked = |serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2020, 6, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 6, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: REVOKED.into_iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        std::fs::write(
            self.file(file),
            list.signed_by(authority).unwrap().pem().unwrap(),
        )
        .unwrap();
    }
}
