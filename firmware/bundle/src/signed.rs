//! Detached and attached CMS SignedData (RFC 5652) with one ECDSA P-256, SHA-256 signer and no attributes.
//!
//! Without signed attributes the signature is over the content's digest itself, so that the holder of the key need see
//! only that digest. A key that signs here signs nothing with attributes, and every content starts with `{`, so that
//! no content can pass for a set of attributes of another message.

use crate::digest::Digest;
use crate::envelope::ContentInfoRef;
use crate::recipient::issuer_and_serial;
use crate::signer::{SignFailure, Signer};
use cms::cert::CertificateChoices;
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use const_oid::db::rfc5911::{ID_DATA, ID_SIGNED_DATA};
use const_oid::db::rfc5912::{ECDSA_WITH_SHA_256, ID_SHA_256};
use der::asn1::{OctetString, OctetStringRef, SetOfVec};
use der::{Any, Decode, Encode};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use spki::AlgorithmIdentifierOwned;
use std::error::Error;
use std::fmt;
use x509_cert::Certificate;

/// Where the signed content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Beside the message, as `manifest.p7s` is beside `manifest.json`.
    Detached,
    /// Inside the message, as in a receipt.
    Attached,
}

/// Why a signed message, or the certificate for one, is refused.
#[derive(Debug)]
pub enum SignedError {
    Pem(rustls_pki_types::pem::Error),
    Certificate(der::Error),
    Form(der::Error),
    NotSigned(String),
    /// A field that our signed messages do not have.
    Field(&'static str),
    SignerCount(usize),
    Algorithm(String),
    /// The message carries no certificate of its signer.
    CertificateMissing,
    /// The message was signed by another certificate than the given one.
    OtherSigner,
    /// The signer's certificate does not chain to the trusted authority.
    Chain(webpki::Error),
    /// The signer's certificate had ended, or had not begun, at the given time.
    Expired(webpki::Error),
    NotYetValid(webpki::Error),
    Revoked(webpki::Error),
    /// Revocation lists are given, but none of the signer's authority.
    NotListed(webpki::Error),
    /// The signer's certificate lacks the extended key usage.
    Purpose(webpki::Error),
    /// The signer's certificate has no keyUsage digitalSignature.
    KeyUsage,
    Signature(webpki::Error),
}

impl fmt::Display for SignedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(_) => write!(
                f,
                "the signer's certificate is not a PEM file with a CERTIFICATE section"
            ),
            Self::Certificate(_) => write!(f, "the signer's certificate cannot be read"),
            Self::Form(_) => write!(f, "the signature is not whole DER of CMS SignedData"),
            Self::NotSigned(oid) => write!(f, "the signature is CMS of type {oid}, not SignedData"),
            Self::Field(what) => write!(f, "the signature has {what}, which none of ours has"),
            Self::SignerCount(count) => {
                write!(f, "the message has {count} signers, it must have one")
            }
            Self::Algorithm(what) => write!(
                f,
                "the message is signed with {what}, not with ECDSA and SHA-256"
            ),
            Self::CertificateMissing => {
                write!(f, "the message does not carry its signer's certificate")
            }
            Self::OtherSigner => write!(
                f,
                "the message is signed by another certificate than the one expected"
            ),
            Self::Chain(_) => write!(
                f,
                "the signer's certificate is not one of the trusted authority"
            ),
            Self::Expired(_) => write!(
                f,
                "the signer's certificate had ended when the bundle was sealed"
            ),
            Self::NotYetValid(_) => write!(
                f,
                "the signer's certificate was not yet valid when the bundle was sealed"
            ),
            Self::Revoked(_) => write!(f, "the signer's certificate is revoked"),
            Self::NotListed(_) => write!(
                f,
                "no revocation list of the signer's authority is given; add it"
            ),
            Self::Purpose(_) => write!(
                f,
                "the signer's certificate has no extended key usage emailProtection"
            ),
            Self::KeyUsage => write!(
                f,
                "the signer's certificate has no keyUsage digitalSignature"
            ),
            Self::Signature(_) => write!(f, "the signature does not fit the content"),
        }
    }
}

impl Error for SignedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Pem(source) => Some(source),
            Self::Certificate(source) | Self::Form(source) => Some(source),
            Self::Chain(source)
            | Self::Expired(source)
            | Self::NotYetValid(source)
            | Self::Revoked(source)
            | Self::NotListed(source)
            | Self::Purpose(source)
            | Self::Signature(source) => Some(source),
            _ => None,
        }
    }
}

/// Why nothing was signed.
#[derive(Debug)]
pub enum SigningError {
    Signer(SignFailure),
    Encode(der::Error),
}

impl fmt::Display for SigningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signer(_) => write!(f, "cannot sign"),
            Self::Encode(_) => write!(f, "cannot encode the signed message"),
        }
    }
}

impl Error for SigningError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Signer(source) => Some(source),
            Self::Encode(source) => Some(source),
        }
    }
}

/// The first certificate of a PEM file.
pub fn certificate_from_pem(pem: &[u8]) -> Result<Certificate, SignedError> {
    let der = CertificateDer::from_pem_slice(pem).map_err(SignedError::Pem)?;
    Certificate::from_der(&der).map_err(SignedError::Certificate)
}

/// Signs a content; returns the DER of the whole message with the signer's certificate in it.
pub fn sign(
    content: &[u8],
    placement: Placement,
    certificate: &Certificate,
    signer: &dyn Signer,
) -> Result<Vec<u8>, SigningError> {
    let signature = signer
        .sign(&Digest::of(content).0)
        .map_err(SigningError::Signer)?;
    encode(content, placement, certificate, signature).map_err(SigningError::Encode)
}

fn encode(
    content: &[u8],
    placement: Placement,
    certificate: &Certificate,
    signature: Vec<u8>,
) -> Result<Vec<u8>, der::Error> {
    let sha256 = AlgorithmIdentifierOwned {
        oid: ID_SHA_256,
        parameters: None,
    };
    let signer_info = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(Decode::from_der(&issuer_and_serial(
            certificate,
        )?)?),
        digest_alg: sha256.clone(),
        signed_attrs: None,
        signature_algorithm: AlgorithmIdentifierOwned {
            oid: ECDSA_WITH_SHA_256,
            parameters: None,
        },
        signature: OctetString::new(signature)?,
        unsigned_attrs: None,
    };
    let econtent = match placement {
        Placement::Detached => None,
        Placement::Attached => Some(Any::encode_from(&OctetStringRef::new(content)?)?),
    };
    let certificate = CertificateChoices::Certificate(certificate.clone());
    let data = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![sha256])?,
        encap_content_info: EncapsulatedContentInfo {
            econtent_type: ID_DATA,
            econtent,
        },
        certificates: Some(CertificateSet(SetOfVec::try_from(vec![certificate])?)),
        crls: None,
        signer_infos: SignerInfos(SetOfVec::try_from(vec![signer_info])?),
    };
    ContentInfo {
        content_type: ID_SIGNED_DATA,
        content: Any::encode_from(&data)?,
    }
    .to_der()
}

/// A signed message of the right form; nothing in it is trusted yet.
///
/// What the signature does not cover has one form only, so that a message with any bit changed is refused, not only one
/// whose change matters today. The one freedom: the parameters of SHA-256 may be absent or NULL (RFC 5754).
pub struct UnverifiedSigned {
    content: Option<Vec<u8>>,
    signature: Vec<u8>,
    certificate: Certificate,
}

impl UnverifiedSigned {
    pub fn parse(message: &[u8]) -> Result<Self, SignedError> {
        let info = ContentInfoRef::from_der(message).map_err(SignedError::Form)?;
        if info.content_type != ID_SIGNED_DATA {
            return Err(SignedError::NotSigned(info.content_type.to_string()));
        }
        let data: SignedData = info.content.decode_as().map_err(SignedError::Form)?;
        if data.crls.is_some() {
            return Err(SignedError::Field("revocation lists"));
        }
        if data.encap_content_info.econtent_type != ID_DATA {
            return Err(SignedError::Field("a content type other than data"));
        }
        let [signer] = data.signer_infos.0.as_slice() else {
            return Err(SignedError::SignerCount(data.signer_infos.0.len()));
        };
        let name = signer_name(signer)?;
        if data.version != CmsVersion::V1 || signer.version != CmsVersion::V1 {
            return Err(SignedError::Field("a version other than 1"));
        }
        if data.digest_algorithms.as_slice() != [signer.digest_alg.clone()] {
            return Err(SignedError::Field(
                "a list of digests that is not its signer's",
            ));
        }
        let certificates = data.certificates.as_ref().map(|set| set.0.as_slice());
        let certificate = match certificates.unwrap_or_default() {
            [CertificateChoices::Certificate(certificate)] => certificate.clone(),
            [] => return Err(SignedError::CertificateMissing),
            [_] => return Err(SignedError::Field("a certificate of another kind")),
            _ => return Err(SignedError::Field("more than one certificate")),
        };
        if issuer_and_serial(&certificate).map_err(SignedError::Certificate)? != name {
            return Err(SignedError::CertificateMissing);
        }
        let content = match &data.encap_content_info.econtent {
            Some(any) => Some(
                any.decode_as::<OctetString>()
                    .map_err(SignedError::Form)?
                    .into_bytes()
                    .into(),
            ),
            None => None,
        };
        Ok(Self {
            content,
            signature: signer.signature.as_bytes().to_vec(),
            certificate,
        })
    }

    /// The content inside the message, unverified.
    pub fn attached(&self) -> Option<&[u8]> {
        self.content.as_deref()
    }

    /// The certificate that the message says is its signer's, unverified.
    pub fn signer_certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Checks that the content beside the message was signed with the key of this very certificate.
    pub fn verify_detached(
        &self,
        content: &[u8],
        certificate: &Certificate,
    ) -> Result<(), SignedError> {
        if self.content.is_some() {
            return Err(SignedError::Field("its content inside"));
        }
        self.verify(content, certificate)
    }

    /// Checks the content inside the message in the same way and gives it out.
    pub fn verify_attached(&self, certificate: &Certificate) -> Result<&[u8], SignedError> {
        let content = self
            .content
            .as_deref()
            .ok_or(SignedError::Field("no content inside"))?;
        self.verify(content, certificate)?;
        Ok(content)
    }

    fn verify(&self, content: &[u8], certificate: &Certificate) -> Result<(), SignedError> {
        if self.certificate != *certificate {
            return Err(SignedError::OtherSigner);
        }
        let der = CertificateDer::from(certificate.to_der().map_err(SignedError::Certificate)?);
        let certificate = webpki::EndEntityCert::try_from(&der).map_err(SignedError::Chain)?;
        certificate
            .verify_signature(
                webpki::aws_lc_rs::ECDSA_P256_SHA256,
                content,
                &self.signature,
            )
            .map_err(SignedError::Signature)
    }
}

/// Issuer and serial number of the signer, as DER, when its algorithms and fields are ours.
fn signer_name(signer: &SignerInfo) -> Result<Vec<u8>, SignedError> {
    if signer.signed_attrs.is_some() {
        return Err(SignedError::Field("signed attributes"));
    }
    if signer.unsigned_attrs.is_some() {
        return Err(SignedError::Field("unsigned attributes"));
    }
    if signer.digest_alg.oid != ID_SHA_256 {
        return Err(SignedError::Algorithm(format!(
            "hash {}",
            signer.digest_alg.oid
        )));
    }
    if signer.signature_algorithm.oid != ECDSA_WITH_SHA_256 {
        return Err(SignedError::Algorithm(
            signer.signature_algorithm.oid.to_string(),
        ));
    }
    if signer.signature_algorithm.parameters.is_some() || !is_plain(&signer.digest_alg) {
        return Err(SignedError::Field("a parameter of an algorithm"));
    }
    match &signer.sid {
        SignerIdentifier::IssuerAndSerialNumber(name) => name.to_der().map_err(SignedError::Form),
        SignerIdentifier::SubjectKeyIdentifier(_) => Err(SignedError::Field(
            "a signer that is not named by issuer and serial number",
        )),
    }
}

/// Whether a hash has no parameters: absent and NULL mean the same (RFC 4055, RFC 5754).
pub(crate) fn is_plain(hash: &AlgorithmIdentifierOwned) -> bool {
    hash.parameters.as_ref().is_none_or(Any::is_null)
}
