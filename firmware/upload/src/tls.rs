//! TLS for both ends: mutual authentication under a pinned private authority, with revocation as a hard failure.
//!
//! Invariants
//! 1. TLS 1.3 with X25519MLKEM768 preferred. [`TlsProfile::Compat`] adds TLS 1.2 with ECDHE-ECDSA and AEAD, no more.
//! 2. A peer's certificate chain is checked against the revocation list at every handshake; a list that is absent or
//!    past its next update refuses everyone. rustls does neither by default.
//! 3. No session is resumed: a resumed session would skip the check of the certificate. So there are no tickets and no
//!    early data either.
//! 4. Nothing is renegotiated. With that and 3, nothing depends on TLS 1.2's extended master secret, which is used where
//!    the peer has it.
//!
//! Trusted: the files of the site configuration, or of the receiver's command line. Clock: the system's.

use crate::tls_key::TlsKey;
use crate::tls_verify::Strict;
use bundle::Signer;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which versions and suites are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProfile {
    /// TLS 1.3 only.
    Modern,
    /// TLS 1.2 with ECDHE-ECDSA AEAD too.
    Compat,
}

/// TLS could not be set up from the files given. All of these stop: only other files help.
#[derive(Debug)]
pub enum TlsFault {
    Read {
        path: PathBuf,
        source: rustls_pki_types::pem::Error,
    },
    Empty {
        path: PathBuf,
        expected: &'static str,
    },
    Authority {
        path: PathBuf,
        source: rustls::Error,
    },
    Key {
        path: PathBuf,
        source: rustls::Error,
    },
    RevocationList {
        source: rustls::server::VerifierBuilderError,
    },
    Setup {
        source: rustls::Error,
    },
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::Empty { path, expected } => {
                write!(f, "{} holds no {expected} in PEM", path.display())
            }
            Self::Authority { path, .. } => {
                write!(f, "{} is no certificate of an authority", path.display())
            }
            Self::Key { path, .. } => write!(f, "{} is no usable private key", path.display()),
            Self::RevocationList { .. } => write!(f, "the revocation list cannot be used"),
            Self::Setup { .. } => write!(f, "TLS cannot be set up"),
        }
    }
}

impl std::error::Error for TlsFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Empty { .. } => None,
            Self::Authority { source, .. } | Self::Key { source, .. } | Self::Setup { source } => {
                Some(source)
            }
            Self::RevocationList { source } => Some(source),
        }
    }
}

/// Whom we believe: the pinned authority and its revocation lists. Neither is ever empty.
pub struct Trust {
    roots: Arc<RootCertStore>,
    revocation_lists: Vec<CertificateRevocationListDer<'static>>,
}

impl Trust {
    /// From PEM files; the second may hold one list for each authority in a chain.
    pub fn load(authority: &Path, revocation_lists: &Path) -> Result<Self, TlsFault> {
        let mut roots = RootCertStore::empty();
        for certificate in read_all::<CertificateDer>(authority, "certificate")? {
            let added = roots.add(certificate);
            added.map_err(|source| TlsFault::Authority {
                path: authority.to_owned(),
                source,
            })?;
        }
        Ok(Self {
            roots: Arc::new(roots),
            revocation_lists: read_all(revocation_lists, "revocation list")?,
        })
    }
}

/// Who we are: a certificate chain, and a way to sign with its key.
#[derive(Clone)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
}

impl Identity {
    /// With a signer elsewhere that holds a P-256 key.
    pub fn with_signer(
        certificate: &Path,
        signer: Arc<dyn Signer + Send + Sync>,
    ) -> Result<Self, TlsFault> {
        Ok(Self {
            chain: read_all(certificate, "certificate")?,
            key: Arc::new(TlsKey(signer)),
        })
    }

    /// With a private key from a PEM file: for the receiver.
    pub fn with_key_file(certificate: &Path, key: &Path) -> Result<Self, TlsFault> {
        let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsFault::Read {
            path: key.to_owned(),
            source,
        })?;
        let key =
            aws_lc_rs::sign::any_supported_type(&private).map_err(|source| TlsFault::Key {
                path: key.to_owned(),
                source,
            })?;
        Ok(Self {
            chain: read_all(certificate, "certificate")?,
            key,
        })
    }

    fn resolver(self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(
            self.chain, self.key,
        )))
    }
}

fn read_all<T: PemObject>(path: &Path, expected: &'static str) -> Result<Vec<T>, TlsFault> {
    let fault = |source| TlsFault::Read {
        path: path.to_owned(),
        source,
    };
    let items: Vec<T> = T::pem_file_iter(path)
        .map_err(fault)?
        .collect::<Result<_, _>>()
        .map_err(fault)?;
    if items.is_empty() {
        Err(TlsFault::Empty {
            path: path.to_owned(),
            expected,
        })
    } else {
        Ok(items)
    }
}

const MODERN: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
const COMPAT: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

fn provider(
    profile: TlsProfile,
) -> (
    Arc<CryptoProvider>,
    &'static [&'static SupportedProtocolVersion],
) {
    use aws_lc_rs::{cipher_suite as suite, kx_group};
    let mut cipher_suites = vec![
        suite::TLS13_AES_256_GCM_SHA384,
        suite::TLS13_AES_128_GCM_SHA256,
        suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    let versions = match profile {
        TlsProfile::Modern => MODERN,
        TlsProfile::Compat => {
            cipher_suites.extend([
                suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            ]);
            COMPAT
        }
    };
    let kx_groups = vec![
        kx_group::X25519MLKEM768,
        kx_group::X25519,
        kx_group::SECP256R1,
        kx_group::SECP384R1,
    ];
    (
        Arc::new(CryptoProvider {
            cipher_suites,
            kx_groups,
            ..aws_lc_rs::default_provider()
        }),
        versions,
    )
}

/// The box's side. Make a new one when a file has changed.
pub fn client_config(
    trust: &Trust,
    identity: Identity,
    profile: TlsProfile,
) -> Result<ClientConfig, TlsFault> {
    let (provider, versions) = provider(profile);
    let verifier =
        WebPkiServerVerifier::builder_with_provider(trust.roots.clone(), provider.clone())
            .with_crls(trust.revocation_lists.iter().cloned())
            .enforce_revocation_expiration()
            .build()
            .map_err(|source| TlsFault::RevocationList { source })?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|source| TlsFault::Setup { source })?
        // "Dangerous" is what rustls calls every verifier but its own; ours adds refusals to it.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Strict(verifier)))
        .with_client_cert_resolver(identity.resolver());
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The receiver's side: a client without a good certificate gets no further than the handshake.
pub fn server_config(
    trust: &Trust,
    identity: Identity,
    profile: TlsProfile,
) -> Result<ServerConfig, TlsFault> {
    let (provider, versions) = provider(profile);
    let verifier =
        WebPkiClientVerifier::builder_with_provider(trust.roots.clone(), provider.clone())
            .with_crls(trust.revocation_lists.iter().cloned())
            .enforce_revocation_expiration()
            .build()
            .map_err(|source| TlsFault::RevocationList { source })?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|source| TlsFault::Setup { source })?
        .with_client_cert_verifier(Arc::new(Strict(verifier)))
        .with_cert_resolver(identity.resolver());
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}
