//! Certificates, keys and lists that are refused before any bundle: recipients, openers, authorities.

use super::forge::*;
use super::testdata;
use super::{Case, Kind};
use crate::tlv;
use rcgen::{KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use std::fs;

fn refused(
    kind: Kind,
    vector: &str,
    wrong: &str,
    expect: &str,
    says: &str,
    body: impl Fn() -> Vec<u8> + 'static,
) -> Case {
    Case::new(vector, wrong, expect, says, body).with(|head| head.kind = kind)
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    der::pem::encode_string(label, der::pem::LineEnding::LF, der)
        .unwrap()
        .into_bytes()
}

/// A certificate for the given key, or for the part of it that is public.
fn certificate(
    key: &impl rcgen::PublicKeyData,
    usages: Vec<KeyUsagePurpose>,
    years: (i32, i32),
) -> Vec<u8> {
    let mut parameters = parameters("Decryption Server", 2001, years);
    parameters.key_usages = usages;
    let issuer = Authority::trusted().issuer;
    parameters
        .signed_by(key, &issuer)
        .unwrap()
        .pem()
        .into_bytes()
}

fn rsa(size: RsaKeySize) -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).unwrap()
}

/// A public RSA key of any size: nobody has the private one.
struct PublicRsa(Vec<u8>);

impl rcgen::PublicKeyData for PublicRsa {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

fn rsa_of(bits: usize, exponent: &[u8]) -> Vec<u8> {
    let mut modulus = vec![0xb7; bits / 8];
    modulus.insert(0, 0); // positive
    let integers = [tlv::value(2, &[&modulus]), tlv::value(2, &[exponent])];
    let key = PublicRsa(tlv::value(SEQUENCE, &[&integers.concat()]));
    certificate(&key, Vec::new(), (2026, 2036))
}

pub fn cases() -> Vec<Case> {
    let mut cases = recipients();
    cases.extend(openers());
    cases.extend(authorities());
    cases
}

fn recipients() -> Vec<Case> {
    let refused = |vector: &str, wrong: &str, expect: &str, says: &str, body: fn() -> Vec<u8>| {
        refused(Kind::Recipient, vector, wrong, expect, says, body)
    };
    let bits = |vector: &str, bits: usize, body| {
        let says = format!("the recipient's RSA key has {bits} bits, allowed are 2048 to 4096");
        refused(
            vector,
            &format!("the recipient's key has {bits} bits"),
            "RecipientError.Bits",
            &says,
            body,
        )
    };
    const WEAK: &str = "the recipient CN=Decryption Server has an RSA key of 2048 bits, which takes no new bundle after \
                        2030-12-31; use a certificate with at least 3072 bits";
    const YEARS: (i32, i32) = (2026, 2036);
    let sealed = |vector, what, body: fn() -> Vec<u8>| {
        Case::right(vector, what, body).with(|head| {
            head.kind = Kind::Recipient;
            head.says = "sealed as box-1-0000000001.cms".into();
        })
    };
    let at = |case: Case, clock: &str| case.with(|head| head.clock = clock.into());
    let second_of = |vector, what, clock| at(sealed(vector, what, certificate_until_2030), clock);
    vec![
        sealed(
            "right-recipient-2048",
            "a recipient of 2048 bits in 2026",
            recipient_pem,
        ),
        sealed("right-recipient-3072", "a recipient of 3072 bits", || {
            certificate(&rsa(RsaKeySize::_3072), Vec::new(), YEARS)
        }),
        sealed("right-recipient-4096", "a recipient of 4096 bits", || {
            certificate(&rsa(RsaKeySize::_4096), Vec::new(), YEARS)
        }),
        at(
            sealed(
                "right-recipient-2048-at-the-end-of-2030",
                "the last second of 112-bit keys",
                recipient_pem,
            ),
            "2030-12-31T23:59:59Z",
        ),
        at(
            refused(
                "recipient-2048-in-2031",
                "the first second without 112-bit keys",
                "SealError.RecipientStrength",
                WEAK,
                recipient_pem,
            ),
            "2031-01-01T00:00:00Z",
        ),
        at(
            sealed(
                "right-recipient-3072-in-2031",
                "a recipient of 3072 bits in 2031",
                || certificate(&rsa(RsaKeySize::_3072), Vec::new(), YEARS),
            ),
            "2031-01-01T00:00:00Z",
        ),
        second_of(
            "right-recipient-in-its-last-second",
            "the last second of the certificate",
            "2030-01-01T00:00:00Z",
        ),
        at(
            refused(
                "recipient-expired",
                "the first second after the certificate",
                "SealError.RecipientTime",
                "the certificate of the recipient CN=Decryption Server ended at 2030-01-01T00:00:00Z, and it is \
                 2030-01-01T00:00:01Z; configure its successor or set the clock",
                certificate_until_2030,
            ),
            "2030-01-01T00:00:01Z",
        ),
        bits("recipient-1024", 1024, || rsa_of(1024, &[1, 0, 1])),
        bits("recipient-2040", 2040, || rsa_of(2040, &[1, 0, 1])),
        bits("recipient-8192", 8192, || rsa_of(8192, &[1, 0, 1])),
        refused(
            "recipient-exponent-1",
            "the recipient's public exponent is 1",
            "RecipientError.Key",
            "the recipient's RSA key cannot be used",
            || rsa_of(2048, &[1]),
        ),
        refused(
            "recipient-elliptic",
            "the recipient's key is ECDSA P-256",
            "RecipientError.NotRsa",
            "the recipient's certificate holds a key of algorithm 1.2.840.10045.2.1, but it must be RSA",
            || {
                certificate(
                    &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
                    Vec::new(),
                    YEARS,
                )
            },
        ),
        refused(
            "recipient-for-signing",
            "the recipient's key is for signatures",
            "RecipientError.KeyUsage",
            "the recipient's certificate has a keyUsage without keyEncipherment",
            || {
                certificate(
                    &rsa(RsaKeySize::_2048),
                    vec![KeyUsagePurpose::DigitalSignature],
                    YEARS,
                )
            },
        ),
        refused(
            "recipient-no-pem",
            "the recipient is no PEM file",
            "RecipientError.Pem",
            "the recipient is not a PEM file with a CERTIFICATE section",
            || b"decryption server".to_vec(),
        ),
        refused(
            "recipient-is-a-key",
            "the recipient is a private key",
            "RecipientError.Pem",
            "the recipient is not a PEM file with a CERTIFICATE section",
            || fs::read(testdata("recipient.key")).unwrap(),
        ),
        refused(
            "recipient-no-certificate",
            "the recipient's certificate is no DER",
            "RecipientError.Certificate",
            "the recipient's certificate cannot be read",
            || pem("CERTIFICATE", b"no DER"),
        ),
    ]
}

fn certificate_until_2030() -> Vec<u8> {
    certificate(&rsa(RsaKeySize::_2048), Vec::new(), (2026, 2030))
}

fn openers() -> Vec<Case> {
    let refused = |vector, wrong, expect: &str, says: &str, body: fn() -> Vec<u8>| {
        refused(Kind::Opener, vector, wrong, expect, says, body)
    };
    const CERTIFICATE: &str = "the recipient's certificate cannot be used";
    const KEY: &str = "the recipient's key is not an RSA key of 2048 to 8192 bits";
    fn with_key(key: &[u8]) -> Vec<u8> {
        [&recipient_pem(), key].concat()
    }
    vec![
        refused(
            "opener-without-certificate",
            "the opener has a key and no certificate",
            "OpenerError.Certificate.Pem",
            &format!(
                "{CERTIFICATE}: the signer's certificate is not a PEM file with a CERTIFICATE section"
            ),
            || fs::read(testdata("recipient.key")).unwrap(),
        ),
        refused(
            "opener-without-key",
            "the opener has a certificate and no key",
            "OpenerError.Pem",
            "the recipient's key is not a PEM file with a PRIVATE KEY section (PKCS #8)",
            recipient_pem,
        ),
        refused(
            "opener-key-elliptic",
            "the opener's key is ECDSA P-256",
            "OpenerError.Key",
            KEY,
            || with_key(&box_1().key),
        ),
        refused(
            "opener-key-broken",
            "the opener's key is no DER",
            "OpenerError.Key",
            KEY,
            || with_key(&pem("PRIVATE KEY", b"no DER")),
        ),
        refused(
            "opener-not-a-pair",
            "the opener's key is not its certificate's",
            "OpenerError.NotAPair",
            "the recipient's key is not that of the recipient's certificate",
            || with_key(rsa(RsaKeySize::_2048).serialize_pem().as_bytes()),
        ),
    ]
}

fn authorities() -> Vec<Case> {
    let authority = |vector, wrong, variant: &str, says: &str, body: fn() -> Vec<u8>| {
        refused(
            Kind::Authority,
            vector,
            wrong,
            &format!("TrustError.{variant}"),
            says,
            body,
        )
    };
    let list = |vector, wrong, variant: &str, says: &str, body: fn() -> Vec<u8>| {
        refused(
            Kind::List,
            vector,
            wrong,
            &format!("TrustError.{variant}"),
            says,
            body,
        )
    };
    vec![
        authority(
            "authority-none",
            "no certificate is in the file",
            "Empty",
            "the file of trusted authorities holds no CERTIFICATE section",
            Vec::new,
        ),
        authority(
            "authority-cut",
            "the PEM file ends inside a section",
            "Pem",
            "the trusted authorities are not a PEM file",
            || {
                let mut pem = fs::read(testdata("pki/authority.pem")).unwrap();
                pem.truncate(200);
                pem
            },
        ),
        authority(
            "authority-broken",
            "the certificate is no DER",
            "Anchor",
            "a trusted authority's certificate cannot be read",
            || pem("CERTIFICATE", b"no DER"),
        ),
        list(
            "list-none",
            "no list is in the file",
            "NoList",
            "the file of revocation lists holds no X509 CRL section",
            Vec::new,
        ),
        list(
            "list-broken",
            "the list is no DER",
            "List",
            "a revocation list cannot be read",
            || pem("X509 CRL", b"no DER"),
        ),
    ]
}
