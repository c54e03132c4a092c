//! What a peer's certificate must be beyond its chain: of a strong key, and allowed to sign.
//!
//! Invariants
//! 1. Nothing is accepted here that the wrapped verifier (chain, name, time, revocation, extended key usage) refuses;
//!    it is asked first, so that its reason is the one that is told.
//! 2. A key usage without `digitalSignature` refuses: the handshake signature is the only use that TLS makes of the key.
//!    The wrapped verifier does not look at it.
//! 3. RSA keys have [`LEAST_RSA_BITS`] or more; elliptic curves are P-256, P-384, P-521 and Ed25519.
//! 4. A client's certificate names a box. Whether it is the right one is asked with each request.
//!
//! Sources: RFC 5280 section 4.2.1.3, RFC 8446 section 4.4.2, SP 800-131A revision 2.

use crate::fault::CertificateFault;
use bundle::BoxName;
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Sequence};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{KeyUsage, SubjectAltName};

/// 112 bits of strength. A smaller modulus can be factored by those who would want these records.
pub const LEAST_RSA_BITS: usize = 2048;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const CURVES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
    ObjectIdentifier::new_unwrap("1.3.132.0.34"),
    ObjectIdentifier::new_unwrap("1.3.132.0.35"),
];

/// A verifier that also looks at key and key usage.
#[derive(Debug)]
pub(crate) struct Strict<V: ?Sized>(pub Arc<V>);

/// RFC 8017, appendix A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    #[allow(dead_code, reason = "part of the form")]
    exponent: UintRef<'a>,
}

fn check(certificate: &CertificateDer<'_>) -> Result<(), Error> {
    let certificate =
        Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let fault = key_fault(&certificate).or_else(|| usage_fault(&certificate));
    fault.map_or(Ok(()), |fault| Err(refusal(fault)))
}

fn refusal(fault: CertificateFault) -> Error {
    CertificateError::Other(OtherError(Arc::new(fault))).into()
}

/// A revocation list that cannot be used makes a certificate unacceptable, and the peer is to hear that it is about its
/// certificate: as an error of its own rustls would tell it no more than "handshake failure".
fn with_alert(error: Error) -> Error {
    match error {
        Error::InvalidCertRevocationList(_) => refusal(CertificateFault::BadRevocationList),
        other => other,
    }
}

fn usage_fault(certificate: &Certificate) -> Option<CertificateFault> {
    match certificate.tbs_certificate().get_extension::<KeyUsage>() {
        Ok(None) => None,
        Ok(Some((_, usage))) if usage.digital_signature() => None,
        _ => Some(CertificateFault::NoSignatures),
    }
}

fn key_fault(certificate: &Certificate) -> Option<CertificateFault> {
    let key = certificate.tbs_certificate().subject_public_key_info();
    let strong = match key.algorithm.oid {
        ED25519 => true,
        EC => {
            let curve = key.algorithm.parameters.as_ref();
            let curve = curve.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
            curve.is_some_and(|curve| CURVES.contains(&curve))
        }
        RSA => {
            let bits = key.subject_public_key.as_bytes().and_then(rsa_bits);
            bits.is_some_and(|bits| bits >= LEAST_RSA_BITS)
        }
        _ => false,
    };
    (!strong).then_some(CertificateFault::WeakKey)
}

/// The name of the box in its certificate: the DNS name, or the common name where there is none.
pub fn box_of(certificate: &CertificateDer<'_>) -> Option<BoxName> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let signed_part = certificate.tbs_certificate();
    let alternative = signed_part.get_extension::<SubjectAltName>().ok().flatten();
    let dns = alternative.and_then(|(_, names)| {
        names.0.iter().find_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.to_string()),
            _ => None,
        })
    });
    let name = match dns {
        Some(name) => name,
        None => signed_part
            .subject()
            .common_name()
            .ok()??
            .value()
            .into_owned(),
    };
    name.parse().ok()
}

fn rsa_bits(key: &[u8]) -> Option<usize> {
    let key = RsaPublicKey::from_der(key).ok()?;
    let modulus = key.modulus.as_bytes();
    let unused = modulus.first()?.leading_zeros() as usize;
    Some(modulus.len() * 8 - unused)
}

impl<V: ServerCertVerifier + ?Sized> ServerCertVerifier for Strict<V> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(with_alert)?;
        check(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl<V: ClientCertVerifier + ?Sized> ClientCertVerifier for Strict<V> {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .0
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(with_alert)?;
        check(end_entity)?;
        if box_of(end_entity).is_none() {
            return Err(refusal(CertificateFault::NoBox));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
