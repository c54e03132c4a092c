//! Certificates, keys and revocation lists: each PEM file is what its key of the configuration says.
//!
//! 1. A file holds exactly one PEM section, of the right kind.
//! 2. A private key is ECDSA, unencrypted PKCS#8, and its certificate carries its public key.
//! 3. Validity periods are not looked at: the clock of a box that starts may be wrong.
//!
//! Sources: RFC 7468 (PEM), RFC 5958 (PKCS#8), RFC 5280 (X.509).

use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair};
use rustls_pki_types::pem::{SectionKind, SliceIter};
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Reader, SliceReader, asn1::UintRef};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// How a private key with a password begins (RFC 7468 section 11).
const ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// Least length of a recipient's modulus: below it the seal is not worth its name (NIST SP 800-131A).
const LEAST_RSA_BITS: usize = 2048;

/// Why a file is refused: what is wrong with it, and advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) what: String,
    pub(crate) hint: Option<&'static str>,
}

fn refusal<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        what: what.into(),
        hint: None,
    })
}

/// Which curves a private key may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curves {
    /// P-256 only: what the role `keyholder` signs with.
    P256,
    /// P-256 or P-384: what charon signs with.
    P256OrP384,
}

fn section(bytes: &[u8], wanted: SectionKind) -> Result<Vec<u8>, Refusal> {
    let mut sections = SliceIter::<(SectionKind, Vec<u8>)>::new(bytes);
    let (kind, der) = match sections.next() {
        Some(Ok(section)) => section,
        Some(Err(_)) => return refusal("is a broken PEM file"),
        None if bytes
            .windows(ENCRYPTED.len())
            .any(|window| window == ENCRYPTED) =>
        {
            let hint = Some("openssl pkcs8 -in OLD.pem -out NEW.pem takes the password off");
            return Err(Refusal {
                what: "holds an encrypted private key".to_owned(),
                hint,
            });
        }
        None => return refusal("is no PEM file"),
    };
    if kind != wanted {
        let convertible = wanted == SectionKind::PrivateKey && kind == SectionKind::EcPrivateKey;
        let hint = convertible
            .then_some("openssl pkcs8 -topk8 -nocrypt -in OLD.pem -out NEW.pem writes the key in the right form");
        return Err(Refusal {
            what: format!("holds a {}", label(kind)),
            hint,
        });
    }
    match sections.next() {
        None => Ok(der),
        Some(_) => refusal("holds more than one PEM section"),
    }
}

fn label(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Certificate => "certificate",
        SectionKind::PrivateKey => "private key (PKCS#8)",
        SectionKind::EcPrivateKey => "private key in the older SEC 1 form",
        SectionKind::RsaPrivateKey => "RSA private key",
        SectionKind::PublicKey => "public key",
        SectionKind::Crl => "revocation list",
        SectionKind::Csr => "certificate request",
        _ => "PEM section of another kind",
    }
}

pub(crate) fn certificate(bytes: &[u8]) -> Result<Certificate, Refusal> {
    let der = section(bytes, SectionKind::Certificate)?;
    Certificate::from_der(&der).or_else(|_| refusal("holds a broken certificate"))
}

pub(crate) fn revocation_list(bytes: &[u8]) -> Result<(), Refusal> {
    let der = section(bytes, SectionKind::Crl)?;
    <CertificateList>::from_der(&der)
        .map(|_| ())
        .or_else(|_| refusal("holds a broken revocation list"))
}

/// The certificate of somebody who can open bundles.
pub(crate) fn recipient(bytes: &[u8]) -> Result<(), Refusal> {
    let certificate = certificate(bytes)?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    if key.algorithm.oid != RSA_ENCRYPTION {
        return refusal("is a certificate without an RSA key");
    }
    let bits = key.subject_public_key.as_bytes().and_then(modulus_bits);
    match bits {
        Some(bits) if bits >= LEAST_RSA_BITS => Ok(()),
        Some(bits) => refusal(format!("is a certificate with an RSA key of {bits} bits")),
        None => refusal("is a certificate with a broken RSA key"),
    }
}

/// RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER } (RFC 8017 A.1.1).
fn modulus_bits(der: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(der).ok()?;
    let modulus: UintRef<'_> = reader
        .sequence::<_, _, x509_cert::der::Error>(|sequence| {
            let modulus = UintRef::decode(sequence)?;
            UintRef::decode(sequence)?;
            Ok(modulus)
        })
        .ok()?;
    let first = modulus.as_bytes().first()?;
    Some(modulus.as_bytes().len() * 8 - first.leading_zeros() as usize)
}

/// The public key, as a certificate carries it, of the private key in `bytes`.
pub(crate) fn private_key(bytes: &[u8], curves: Curves) -> Result<Vec<u8>, Refusal> {
    let der = section(bytes, SectionKind::PrivateKey)?;
    let allowed: &[_] = match curves {
        Curves::P256 => &[&signature::ECDSA_P256_SHA256_ASN1_SIGNING],
        Curves::P256OrP384 => &[
            &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        ],
    };
    let pair = allowed
        .iter()
        .find_map(|curve| EcdsaKeyPair::from_pkcs8(curve, &der).ok());
    match pair {
        Some(pair) => Ok(pair.public_key().as_ref().to_vec()),
        None => refusal("holds a private key of another kind"),
    }
}

/// The certificate's subjectPublicKey, an uncompressed point for ECDSA.
pub(crate) fn public_key(certificate: &Certificate) -> Option<&[u8]> {
    certificate
        .tbs_certificate()
        .subject_public_key_info()
        .subject_public_key
        .as_bytes()
}

/// Names in subjectAltName: DNS names, mail addresses and IPv4 addresses.
pub(crate) fn alternative_names(certificate: &Certificate) -> Vec<String> {
    let Ok(Some((_, names))) = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>()
    else {
        return Vec::new();
    };
    let text = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::Rfc822Name(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => <[u8; 4]>::try_from(bytes.as_bytes())
            .ok()
            .map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
        _ => None,
    };
    names.0.iter().filter_map(text).collect()
}
