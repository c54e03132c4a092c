//! Whom we believe: certificates that chain to a trusted authority, for signing, at a given time.

use crate::manifest::show_time;
use crate::name::BoxName;
use crate::signed::SignedError;
use der::{Decode, Encode};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use std::error::Error;
use std::fmt;
use std::time::Duration;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_cert::Certificate;
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{KeyUsage, SubjectAltName};

/// `id-kp-emailProtection`, the purpose that `openssl cms -verify` asks for when nobody says otherwise: so that stock
/// tools check what we check. Its bytes are those of the OID's value.
const EMAIL_PROTECTION: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x04];

/// The trusted authorities for the certificates of boxes, and what they have revoked.
pub struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    lists: Vec<CertRevocationList<'static>>,
}

/// The file of trusted authorities cannot be used.
#[derive(Debug)]
pub enum TrustError {
    Pem(rustls_pki_types::pem::Error),
    Empty,
    Anchor(webpki::Error),
    NoList,
    List(webpki::Error),
    /// A revocation list whose next issue should be there: somebody may be revoked since.
    ListEnded {
        ended: u64,
        now: u64,
    },
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(_) => write!(f, "the trusted authorities are not a PEM file"),
            Self::Empty => write!(
                f,
                "the file of trusted authorities holds no CERTIFICATE section"
            ),
            Self::Anchor(_) => write!(f, "a trusted authority's certificate cannot be read"),
            Self::NoList => write!(f, "the file of revocation lists holds no X509 CRL section"),
            Self::List(_) => write!(f, "a revocation list cannot be read"),
            Self::ListEnded { ended, now } => write!(
                f,
                "a revocation list ended at {} and it is {}; get the authority's next one",
                show_time(*ended),
                show_time(*now)
            ),
        }
    }
}

impl Error for TrustError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Pem(source) => Some(source),
            Self::Empty | Self::NoList | Self::ListEnded { .. } => None,
            Self::Anchor(source) | Self::List(source) => Some(source),
        }
    }
}

impl Trust {
    /// Takes every certificate of a PEM file as a trusted authority.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TrustError> {
        let mut anchors = Vec::new();
        for der in CertificateDer::pem_slice_iter(pem) {
            let der = der.map_err(TrustError::Pem)?;
            anchors.push(
                webpki::anchor_from_trusted_cert(&der)
                    .map_err(TrustError::Anchor)?
                    .to_owned(),
            );
        }
        if anchors.is_empty() {
            Err(TrustError::Empty)
        } else {
            Ok(Self {
                anchors,
                lists: Vec::new(),
            })
        }
    }

    /// Takes every revocation list of a PEM file. From then on a signer must be on the list of its authority as not
    /// revoked; one that no list speaks of is refused. A revoked signer's bundles are refused whatever their time,
    /// because whoever has the key can date back. For the same reason a list must not have ended at `now`, the opener's
    /// own clock in Unix seconds: a stale list would hide the newest theft.
    pub fn with_revocation_lists(mut self, pem: &[u8], now: u64) -> Result<Self, TrustError> {
        for der in CertificateRevocationListDer::pem_slice_iter(pem) {
            let der = der.map_err(TrustError::Pem)?;
            let list = OwnedCertRevocationList::from_der(&der).map_err(TrustError::List)?;
            let ended = next_update(&der).ok_or(TrustError::List(webpki::Error::BadDer))?;
            if ended < now {
                return Err(TrustError::ListEnded { ended, now });
            }
            self.lists.push(list.into());
        }
        if self.lists.is_empty() {
            Err(TrustError::NoList)
        } else {
            Ok(self)
        }
    }

    /// Checks chain, validity at the given Unix time, purpose and key usage of a signer's certificate.
    pub fn check(&self, certificate: &Certificate, time: u64) -> Result<(), SignedError> {
        let der = CertificateDer::from(certificate.to_der().map_err(SignedError::Certificate)?);
        let end_entity = webpki::EndEntityCert::try_from(&der).map_err(SignedError::Chain)?;
        let lists: Vec<&CertRevocationList> = self.lists.iter().collect();
        // without lists there is nothing to build, and nothing is asked for
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::EndEntity)
                .with_status_policy(UnknownStatusPolicy::Deny)
                // it was checked against the opener's clock; here the time is the signer's own word
                .with_expiration_policy(ExpirationPolicy::Ignore)
                .build()
        });
        end_entity
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.anchors,
                &[],
                UnixTime::since_unix_epoch(Duration::from_secs(time)),
                webpki::KeyUsage::required(EMAIL_PROTECTION),
                revocation,
                None,
            )
            .map_err(chain_error)?;
        check_key_usage(certificate)
    }
}

/// The same cause under the name of what the operator can do about it.
fn chain_error(error: webpki::Error) -> SignedError {
    match error {
        webpki::Error::CertExpired { .. } => SignedError::Expired(error),
        webpki::Error::CertNotValidYet { .. } => SignedError::NotYetValid(error),
        webpki::Error::CertRevoked => SignedError::Revoked(error),
        webpki::Error::UnknownRevocationStatus => SignedError::NotListed(error),
        webpki::Error::RequiredEkuNotFoundContext(_) => SignedError::Purpose(error),
        error => SignedError::Chain(error),
    }
}

/// When the next issue of a list is due, in Unix seconds. `webpki` reads it and keeps it to itself.
fn next_update(list: &[u8]) -> Option<u64> {
    let list = CertificateList::<Rfc5280>::from_der(list).ok()?;
    Some(list.tbs_cert_list.next_update?.to_unix_duration().as_secs())
}

/// Checks that a certificate's key may sign.
pub(crate) fn check_key_usage(certificate: &Certificate) -> Result<(), SignedError> {
    let usage = certificate
        .tbs_certificate()
        .get_extension::<KeyUsage>()
        .map_err(SignedError::Certificate)?;
    match usage {
        Some((_, usage)) if usage.digital_signature() => Ok(()),
        _ => Err(SignedError::KeyUsage),
    }
}

/// Whether a certificate is for a box: by a DNS name in subjectAltName, or by the common name of its subject.
pub(crate) fn names_box(certificate: &Certificate, name: &BoxName) -> bool {
    let tbs = certificate.tbs_certificate();
    if let Ok(Some((_, SubjectAltName(names)))) = tbs.get_extension::<SubjectAltName>() {
        let is_name = |general: &GeneralName| matches!(general, GeneralName::DnsName(dns) if dns.as_str() == name.as_str());
        if names.iter().any(is_name) {
            return true;
        }
    }
    matches!(tbs.subject().common_name(), Ok(Some(common)) if common.value() == name.as_str())
}
