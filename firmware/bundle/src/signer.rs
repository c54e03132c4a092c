//! Who signs a manifest: the box's keyholder, or a key file in native use.

use aws_lc_rs::digest::{Digest as RawDigest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use std::error::Error;
use std::fmt;

/// Signs a SHA-256 digest with an ECDSA P-256 key. The digest is all that the holder of the key ever sees.
pub trait Signer {
    /// Returns the signature as DER `Ecdsa-Sig-Value`.
    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignFailure>;
}

impl<S: Signer + ?Sized> Signer for &S {
    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignFailure> {
        (**self).sign(digest)
    }
}

impl<S: Signer + ?Sized> Signer for Box<S> {
    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignFailure> {
        (**self).sign(digest)
    }
}

/// No signature was made; the same digest can be tried again.
#[derive(Debug)]
pub struct SignFailure(pub Box<dyn Error + Send + Sync>);

impl fmt::Display for SignFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the holder of the signing key made no signature")
    }
}

impl Error for SignFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// A key in this process: for native use and for tests.
pub struct LocalSigner(EcdsaKeyPair);

/// The key file cannot be used.
#[derive(Debug)]
pub enum SignerError {
    Pem(rustls_pki_types::pem::Error),
    Key(aws_lc_rs::error::KeyRejected),
}

impl fmt::Display for SignerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(_) => write!(
                f,
                "the signing key is not a PEM file with a PRIVATE KEY section (PKCS #8)"
            ),
            Self::Key(_) => write!(f, "the signing key is not an ECDSA P-256 key"),
        }
    }
}

impl Error for SignerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Pem(source) => Some(source),
            Self::Key(source) => Some(source),
        }
    }
}

impl LocalSigner {
    /// Takes a PEM file with a PKCS #8 ECDSA P-256 key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignerError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(SignerError::Pem)?;
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der())
            .map(Self)
            .map_err(SignerError::Key)
    }
}

impl Signer for LocalSigner {
    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignFailure> {
        let failed = |error: aws_lc_rs::error::Unspecified| SignFailure(Box::new(error));
        let digest = RawDigest::import_less_safe(digest, &SHA256).map_err(failed)?;
        let signature = self.0.sign_digest(&digest).map_err(failed)?;
        Ok(signature.as_ref().to_vec())
    }
}
