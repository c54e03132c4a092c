//! Tests of the whole format, from a draft to a verified bundle, and of what must be refused.

mod limits;
mod refusals;
mod round_trip;
mod vectors;

use crate::*;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};
use std::sync::OnceLock;

/// 2026-11-22T00:00:00Z
const NOW: u64 = 1_795_305_600;

/// A certificate and its key, as PEM.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// What a signer's certificate says.
struct Saying {
    name: &'static str,
    purpose: Option<ExtendedKeyUsagePurpose>,
    usage: Option<KeyUsagePurpose>,
    years: (i32, i32),
}

const GOOD: Saying = Saying {
    name: "box-1",
    purpose: Some(ExtendedKeyUsagePurpose::EmailProtection),
    usage: Some(KeyUsagePurpose::DigitalSignature),
    years: (2026, 2036),
};

struct Authority {
    pem: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn make() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = parameters("Sealing Authority", (2020, 2050));
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = parameters.self_signed(&key).unwrap().pem().into_bytes();
        Self {
            pem,
            issuer: Issuer::new(parameters, key),
        }
    }

    fn issue(&self, saying: &Saying) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut parameters = parameters(saying.name, saying.years);
        parameters.extended_key_usages = saying.purpose.clone().into_iter().collect();
        parameters.key_usages = saying.usage.into_iter().collect();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem().into(),
            key: key.serialize_pem().into(),
        }
    }
}

fn parameters(name: &str, years: (i32, i32)) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    parameters
}

fn recipient(size: RsaKeySize) -> Pair {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).unwrap();
    let certificate = parameters("Decryption Server", (2026, 2036))
        .self_signed(&key)
        .unwrap();
    Pair {
        certificate: certificate.pem().into(),
        key: key.serialize_pem().into(),
    }
}

/// One set of keys for all tests: making an RSA key takes long.
struct Keys {
    authority: Authority,
    signer: Pair,
    recipient: Pair,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let authority = Authority::make();
        Keys {
            signer: authority.issue(&GOOD),
            authority,
            recipient: recipient(RsaKeySize::_2048),
        }
    })
}

fn box_name() -> BoxName {
    "box-1".parse().unwrap()
}

fn name(sequence: u64) -> BundleName {
    BundleName::new(box_name(), sequence).unwrap()
}

fn sealer_for(recipients: &[&Pair]) -> Sealer<LocalSigner> {
    let recipients = recipients
        .iter()
        .map(|pair| Recipient::from_pem(&pair.certificate).unwrap());
    let signer = LocalSigner::from_pem(&keys().signer.key).unwrap();
    Sealer::new(
        box_name(),
        recipients.collect(),
        &keys().signer.certificate,
        signer,
    )
    .unwrap()
}

fn sealer() -> Sealer<LocalSigner> {
    sealer_for(&[&keys().recipient])
}

fn opener() -> Opener {
    Opener::from_pem(&keys().recipient.certificate, &keys().recipient.key).unwrap()
}

fn trust() -> Trust {
    Trust::from_pem(&keys().authority.pem).unwrap()
}

fn sources() -> Vec<Source> {
    vec![
        Source {
            name: "standard".into(),
            kind: "standardized".into(),
        },
        Source {
            name: "dpc".into(),
            kind: "dpc".into(),
        },
    ]
}

fn open(bytes: &[u8]) -> Result<VerifiedBundle, OpenError> {
    UnverifiedBundle::parse(bytes)?
        .decrypt(&opener())?
        .verify(&trust(), &name(1))
}

/// A small bundle with an entry of each kind.
fn small_draft() -> Draft {
    let mut draft = Draft::new(sources()).unwrap();
    let whole = Digest::of(b"partsparts");
    let part = Part {
        version: VersionId([7; 16]),
        total: 10,
        offset: 5,
        whole: Some(whole),
    };
    for (source, path, event) in [
        (
            0,
            &b"000/one_1"[..],
            Event::Added(Body::new(b"first".as_slice(), Some(1_700_000_000), None)),
        ),
        (
            1,
            b"\x83\x65 \n\"%\\",
            Event::Changed(Body::new(Vec::new(), None, None)),
        ),
        (
            1,
            b"big",
            Event::Added(Body::new(b"parts".as_slice(), None, Some(part))),
        ),
        (0, b"000/two_2", Event::FlagChanged { from: b"000/two_1" }),
        (0, b"000/three", Event::Removed),
    ] {
        draft
            .push(&Entry {
                source,
                path,
                event,
            })
            .unwrap();
    }
    draft
}

fn small_bundle() -> Vec<u8> {
    let closed = small_draft().close().unwrap();
    sealer().seal(&closed, 1, None, NOW).unwrap().bytes
}
