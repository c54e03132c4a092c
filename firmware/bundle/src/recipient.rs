//! Recipients of a bundle: RSA certificates of those who can open it.

use crate::limits::STRENGTH_112_END;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use cms::cert::IssuerAndSerialNumber;
use const_oid::db::rfc5912::RSA_ENCRYPTION;
use der::asn1::UintRef;
use der::{Decode, Encode, Sequence};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::error::Error;
use std::fmt;
use x509_cert::Certificate;
use x509_cert::ext::pkix::KeyUsage;

/// A certificate to whose RSA key content keys are encrypted.
///
/// Nothing is sealed to it after its certificate has ended: the key may have been destroyed by then, and a bundle that
/// nobody can open is a lost one, whereas the hospital still has what waits. [`Recipient::strength_ends`] is the other
/// hard end. Its beginning is not checked: a clock that is slow must not stop the box.
pub struct Recipient {
    identifier: Vec<u8>,
    key: OaepPublicEncryptingKey,
    subject: String,
    not_after: u64,
}

/// The certificate cannot be a recipient.
#[derive(Debug)]
pub enum RecipientError {
    Pem(rustls_pki_types::pem::Error),
    Certificate(der::Error),
    /// Object identifier of the key's algorithm.
    NotRsa(String),
    Key(aws_lc_rs::error::KeyRejected),
    Bits(usize),
    KeyUsage,
}

impl fmt::Display for RecipientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(_) => write!(
                f,
                "the recipient is not a PEM file with a CERTIFICATE section"
            ),
            Self::Certificate(_) => write!(f, "the recipient's certificate cannot be read"),
            Self::NotRsa(oid) => {
                write!(
                    f,
                    "the recipient's certificate holds a key of algorithm {oid}, but it must be RSA"
                )
            }
            Self::Key(_) => write!(f, "the recipient's RSA key cannot be used"),
            Self::Bits(bits) => write!(
                f,
                "the recipient's RSA key has {bits} bits, allowed are 2048 to 4096"
            ),
            Self::KeyUsage => write!(
                f,
                "the recipient's certificate has a keyUsage without keyEncipherment"
            ),
        }
    }
}

impl Error for RecipientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Pem(source) => Some(source),
            Self::Certificate(source) => Some(source),
            Self::Key(source) => Some(source),
            _ => None,
        }
    }
}

/// `RSAPublicKey` of RFC 8017.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// Length of the key. The arithmetic refuses short and long ones too, but does not say why.
fn modulus_bits(key: &[u8]) -> Result<usize, der::Error> {
    let modulus = RsaPublicKey::from_der(key)?.modulus.as_bytes();
    let first = modulus.first().map_or(0, |byte| byte.leading_zeros());
    Ok(modulus.len() * 8 - first as usize)
}

/// The issuer and serial number by which CMS names a certificate, as DER.
pub(crate) fn issuer_and_serial(certificate: &Certificate) -> Result<Vec<u8>, der::Error> {
    let tbs = certificate.tbs_certificate();
    IssuerAndSerialNumber {
        issuer: tbs.issuer().clone(),
        serial_number: tbs.serial_number().clone(),
    }
    .to_der()
}

impl Recipient {
    /// Takes the first certificate of a PEM file.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RecipientError> {
        let der = CertificateDer::from_pem_slice(pem).map_err(RecipientError::Pem)?;
        let certificate = Certificate::from_der(&der).map_err(RecipientError::Certificate)?;
        let tbs = certificate.tbs_certificate();
        let spki = tbs.subject_public_key_info();
        if spki.algorithm.oid != RSA_ENCRYPTION {
            return Err(RecipientError::NotRsa(spki.algorithm.oid.to_string()));
        }
        let usage = tbs
            .get_extension::<KeyUsage>()
            .map_err(RecipientError::Certificate)?;
        if usage.is_some_and(|(_, usage)| !usage.key_encipherment()) {
            return Err(RecipientError::KeyUsage);
        }
        let bits = modulus_bits(spki.subject_public_key.raw_bytes())
            .map_err(RecipientError::Certificate)?;
        if !(2048..=4096).contains(&bits) {
            return Err(RecipientError::Bits(bits));
        }
        let spki = spki.to_der().map_err(RecipientError::Certificate)?;
        let key = PublicEncryptingKey::from_der(&spki).map_err(RecipientError::Key)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| RecipientError::Bits(bits))?;
        Ok(Self {
            identifier: issuer_and_serial(&certificate).map_err(RecipientError::Certificate)?,
            key,
            subject: tbs.subject().to_string(),
            not_after: tbs.validity().not_after.to_unix_duration().as_secs(),
        })
    }

    pub fn bits(&self) -> usize {
        self.key.key_size_bits()
    }

    /// Subject of the certificate, for messages.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Last second of the certificate's validity, Unix time.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// Unix time from which no new bundle may be sealed to this key, if its strength has an end.
    pub fn strength_ends(&self) -> Option<u64> {
        (self.bits() < 3072).then_some(STRENGTH_112_END)
    }

    pub(crate) fn identifier(&self) -> &[u8] {
        &self.identifier
    }

    /// The content key by RSAES-OAEP with SHA-256.
    pub(crate) fn wrap(
        &self,
        content_key: &[u8],
    ) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let mut out = vec![0; self.key.ciphertext_size()];
        let length = self
            .key
            .encrypt(&OAEP_SHA256_MGF1SHA256, content_key, &mut out, None)?
            .len();
        out.truncate(length);
        Ok(out)
    }
}
