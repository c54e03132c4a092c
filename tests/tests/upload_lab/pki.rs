//! Certificates as a site has them, and wrong ones of each kind.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, RevocationReason, RevokedCertParams,
    SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use std::path::{Path, PathBuf};

/// The files of one test.
///
/// | file | what |
/// |---|---|
/// | `ca.pem`, `crl.pem`, `stale.pem` | authority, its revocation list, and one past its next update |
/// | `server.*`, `box.*`, `other-box.*` | good ones |
/// | `server-revoked.*`, `box-revoked.*`, `server-expired.*`, `box-expired.*` | as their names say |
/// | `other-ca.pem`, `other-crl.pem`, `server-other.*`, `box-other.*` | of another authority with the same name |
/// | `receipt.*`, `other-receipt.*` | signers of receipts, same name |
pub struct Pki {
    folder: PathBuf,
    authority: Authority,
}

type Authority = Issuer<'static, KeyPair>;

const REVOKED: [u64; 2] = [1001, 1002];
const INTERMEDIATE_REVOKED: u64 = 1003;

/// What a certificate says; the default is a good one.
struct Saying {
    name: &'static str,
    serial: u64,
    from: i32,
    until: i32,
    usage: KeyUsagePurpose,
    purposes: Vec<ExtendedKeyUsagePurpose>,
}

fn saying(name: &'static str, serial: u64) -> Saying {
    Saying {
        name,
        serial,
        from: 2020,
        until: 2100,
        usage: KeyUsagePurpose::DigitalSignature,
        purposes: vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::EmailProtection,
        ],
    }
}

impl Saying {
    fn parameters(&self) -> CertificateParams {
        let mut parameters = CertificateParams::new(vec![self.name.to_owned()]).unwrap();
        parameters
            .distinguished_name
            .push(DnType::CommonName, self.name);
        parameters.serial_number = Some(SerialNumber::from(self.serial));
        parameters.not_before = date_time_ymd(self.from, 1, 1);
        parameters.not_after = date_time_ymd(self.until, 1, 1);
        parameters.key_usages = vec![self.usage];
        parameters.extended_key_usages = self.purposes.clone();
        parameters
    }
}

impl Pki {
    pub fn make(folder: &Path) -> Self {
        let folder = folder.join("pki");
        std::fs::create_dir(&folder).unwrap();
        let pki = Self {
            authority: authority(&folder.join("ca.pem"), "upload authority"),
            folder,
        };
        let other = authority(&pki.file("other-ca.pem"), "upload authority");
        pki.write("crl.pem", &list(&pki.authority, 2100));
        pki.write("stale.pem", &list(&pki.authority, 2021));
        pki.write("other-crl.pem", &list(&other, 2100));
        let (server, own) = (super::SERVER, super::BOX);
        pki.leaf("server", saying(server, 1), &pki.authority);
        pki.leaf("box", saying(own, 2), &pki.authority);
        pki.leaf("other-box", saying("south-1", 3), &pki.authority);
        for (end, name, revoked, serial) in [
            ("server", server, REVOKED[0], 4),
            ("box", own, REVOKED[1], 5),
        ] {
            pki.leaf(
                &format!("{end}-revoked"),
                saying(name, revoked),
                &pki.authority,
            );
            let expired = Saying {
                until: 2021,
                ..saying(name, serial)
            };
            pki.leaf(&format!("{end}-expired"), expired, &pki.authority);
            pki.leaf(&format!("{end}-other"), saying(name, serial), &other);
        }
        pki.leaf("receipt", saying("receipts", 6), &pki.authority);
        pki.leaf("other-receipt", saying("receipts", 6), &other);
        pki
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// For `end`, `server` or `box`, one certificate for each way to be wrong that [`make`](Self::make) has not:
    /// `END-early`, `END-purpose`, `END-usage`, `END-self`, `END-authority`, `END-weak`; below intermediate
    /// authorities `END-middle` (good), `END-middle-revoked`; and the lists `END-lists.pem` (of every authority),
    /// `END-top.pem` (of the first alone) and `empty.pem`.
    pub fn make_wrong(&self, end: &str, name: &'static str, other_end: ExtendedKeyUsagePurpose) {
        let file = |kind: &str| format!("{end}-{kind}");
        let early = Saying {
            from: 2099,
            ..saying(name, 20)
        };
        self.leaf(&file("early"), early, &self.authority);
        let purpose = Saying {
            purposes: vec![other_end],
            ..saying(name, 21)
        };
        self.leaf(&file("purpose"), purpose, &self.authority);
        let usage = Saying {
            usage: KeyUsagePurpose::KeyEncipherment,
            ..saying(name, 22)
        };
        self.leaf(&file("usage"), usage, &self.authority);
        self.self_signed(&file("self"), saying(name, 23).parameters());
        let mut parameters = saying(name, 24).parameters();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = self.key(&file("authority"));
        let own = parameters.signed_by(&key, &self.authority).unwrap();
        self.write(&file("authority.pem"), &own.pem());
        let weak = saying(name, 25).parameters();
        let weak = weak.signed_by(&WeakKey, &self.authority).unwrap();
        self.key(&file("weak"));
        self.write(&file("weak.pem"), &weak.pem());

        let middle = self.intermediate("middle authority", 30);
        let revoked = self.intermediate("revoked authority", INTERMEDIATE_REVOKED);
        for (kind, (issuer, certificate)) in [("middle", &middle), ("middle-revoked", &revoked)] {
            self.leaf(&file(kind), saying(name, 26), issuer);
            let leaf = self.file(&format!("{end}-{kind}.pem"));
            let chain = std::fs::read_to_string(&leaf).unwrap() + certificate;
            std::fs::write(leaf, chain).unwrap();
        }
        let top = list(&self.authority, 2100);
        let all = [&top, &list(&middle.0, 2100), &list(&revoked.0, 2100)];
        self.write(&file("lists.pem"), &all.map(String::as_str).concat());
        self.write(&file("top.pem"), &top);
        self.write("empty.pem", "");
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.file(file), text).unwrap();
    }

    /// A fresh key in `FILE.key`.
    fn key(&self, file: &str) -> KeyPair {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        self.write(&format!("{file}.key"), &key.serialize_pem());
        key
    }

    fn leaf(&self, file: &str, saying: Saying, authority: &Authority) {
        let certificate = saying.parameters().signed_by(&self.key(file), authority);
        self.write(&format!("{file}.pem"), &certificate.unwrap().pem());
    }

    fn self_signed(&self, file: &str, parameters: CertificateParams) {
        let certificate = parameters.self_signed(&self.key(file)).unwrap();
        self.write(&format!("{file}.pem"), &certificate.pem());
    }

    /// An authority below ours, and its certificate.
    fn intermediate(&self, name: &str, serial: u64) -> (Authority, String) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut parameters = authority_parameters(name, 0);
        parameters.serial_number = Some(SerialNumber::from(serial));
        let certificate = parameters.signed_by(&key, &self.authority).unwrap();
        (Issuer::new(parameters, key), certificate.pem())
    }
}

fn authority_parameters(name: &str, below: u8) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn authority(file: &Path, name: &str) -> Authority {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let parameters = authority_parameters(name, 1);
    std::fs::write(file, parameters.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(parameters, key)
}

fn list(authority: &Authority, until: i32) -> String {
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
        revoked_certs: [REVOKED[0], REVOKED[1], INTERMEDIATE_REVOKED]
            .map(revoked)
            .into(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(authority).unwrap().pem().unwrap()
}

/// An RSA key of 1024 bits whose private half nobody needs: the certificate is refused before the signature is asked for.
struct WeakKey;

/// `RSAPublicKey` of RFC 8017: a modulus of 1024 bits, all of them set, and 65537.
const WEAK_KEY: [u8; 140] = {
    let mut der = [0xff; 140];
    let head = [0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
    let tail = [0x02, 0x03, 0x01, 0x00, 0x01];
    let mut i = 0;
    while i < head.len() {
        der[i] = head[i];
        i += 1;
    }
    let mut i = 0;
    while i < tail.len() {
        der[135 + i] = tail[i];
        i += 1;
    }
    der
};

impl PublicKeyData for WeakKey {
    fn der_bytes(&self) -> &[u8] {
        &WEAK_KEY
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}
