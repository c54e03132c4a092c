//! The client certificate's key as TLS asks for it: a digest goes out to the key's holder, a signature comes back.
//!
//! On the box the holder is the keyholder's socket; natively it is a key in memory.

use aws_lc_rs::digest::{SHA256, digest};
use bundle::Signer as DigestSigner;
use rustls::sign::{Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// SHA-256 in one step.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Offers ECDSA P-256 with SHA-256 only. The holder is called during a handshake, on the sender's only thread, so it
/// must answer within seconds or fail.
pub(crate) struct TlsKey(pub Arc<dyn DigestSigner + Send + Sync>);

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKey")
    }
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let offered = offered.contains(&SignatureScheme::ECDSA_NISTP256_SHA256);
        offered.then(|| Box::new(TlsKey(self.0.clone())) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature = self.0.sign(&sha256(message));
        signature.map_err(|failure| rustls::Error::Other(OtherError(Arc::new(failure))))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}
