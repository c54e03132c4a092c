//! Why a delivery failed, in words for the operator, and what the caller should do about it.
//!
//! The causes come nested: hyper wraps an I/O error, which wraps a TLS error, which wraps what the key's owner said.
//! [`UploadError::from_exchange`] digs for the innermost one that has a name here.

use crate::receipt::ReceiptFault;
use crate::tls::TlsFault;
use crate::transfer::Refusal;
use bundle::SignFailure;
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The same again after a pause.
    Retry,
    /// Forget the upload on the server and announce the bundle anew.
    Discard,
    /// Only people can cure it. Trying again now and then shows whether they have.
    Stop,
}

/// Whether other bundles are affected as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Bundle,
    Server,
}

/// What is wrong with the server's certificate.
#[derive(Clone, Debug, PartialEq)]
pub enum CertificateFault {
    UnknownIssuer,
    WrongName,
    Revoked,
    Expired,
    NotYetValid,
    StaleRevocationList,
    RevocationUnknown,
    BadRevocationList,
    /// Its extended key usage is that of another end.
    WrongPurpose,
    /// Its key usage does not allow the handshake signature.
    NoSignatures,
    WeakKey,
    /// A client's, without the name of a box.
    NoBox,
    /// An authority's own certificate, a self-signed one among them.
    Authority,
    Other(CertificateError),
}

impl CertificateFault {
    pub fn from_tls(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            // A certificate by another authority that bears our authority's name fails by its signature.
            E::UnknownIssuer | E::BadSignature => Self::UnknownIssuer,
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::WrongName,
            E::Revoked => Self::Revoked,
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
            E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
                Self::StaleRevocationList
            }
            E::UnknownRevocationStatus => Self::RevocationUnknown,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::WrongPurpose,
            E::Other(other) => {
                Self::from_other(other).unwrap_or_else(|| Self::Other(error.clone()))
            }
            other => Self::Other(other.clone()),
        }
    }

    /// What our own verifier found, and what rustls has no variant for.
    fn from_other(other: &rustls::OtherError) -> Option<Self> {
        if let Some(own) = other.0.downcast_ref::<Self>() {
            return Some(own.clone());
        }
        match other.0.downcast_ref::<webpki::Error>()? {
            webpki::Error::CaUsedAsEndEntity => Some(Self::Authority),
            _ => None,
        }
    }
}

impl Error for CertificateFault {}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => {
                "unknown issuer: not signed by the configured authority; have one issued by that authority"
            }
            Self::WrongName => {
                "wrong name: not valid for the configured name; correct that, or have one issued for it"
            }
            Self::Revoked => "revoked; have a new one issued",
            Self::Expired => "expired, or the clock is wrong; look at the clock, then have a new one issued",
            Self::NotYetValid => "not yet valid, or the clock is wrong; look at the clock",
            Self::StaleRevocationList => {
                "the revocation list is past its next update; install a newer one"
            }
            Self::RevocationUnknown => {
                "the revocation list does not cover its issuer; install one of each authority in its chain"
            }
            Self::BadRevocationList => {
                "the revocation list is not the configured authority's; install that authority's"
            }
            Self::WrongPurpose => {
                "not made for this purpose; have one issued for authentication of its end, server or client"
            }
            Self::NoSignatures => {
                "its key usage does not allow signatures; have one issued with digitalSignature"
            }
            Self::WeakKey => {
                "its key is too weak; have one issued for P-256, or for RSA of 2048 bits or more"
            }
            Self::NoBox => "it names no box; have one issued with the box's name as DNS name",
            Self::Authority => {
                "it is an authority's own; have one issued by the configured authority for this end"
            }
            Self::Other(error) => return write!(f, "{error}"),
        })
    }
}

/// Why a bundle was not delivered.
#[derive(Debug)]
pub enum UploadError {
    /// The configured files do not make a TLS client.
    Setup(TlsFault),
    /// No connection. With the tunnel down this is what happens.
    Connect {
        address: SocketAddr,
        source: io::Error,
    },
    ConnectTimeout {
        address: SocketAddr,
    },
    /// We refused the server.
    ServerCertificate(CertificateFault),
    /// The server refused us during the handshake or right after it.
    ClientCertificate {
        alert: AlertDescription,
    },
    /// No TLS with this server for another reason.
    Handshake {
        source: rustls::Error,
    },
    /// Our own key's owner gave no signature.
    Signing(SigningMessage),
    /// The connection ended in the middle.
    CutOff {
        during: &'static str,
        source: Box<dyn Error + Send + Sync>,
    },
    Timeout {
        during: &'static str,
    },
    /// The caller wished to stop between two chunks.
    Paused {
        at: u64,
    },
    /// The server answered, but not as hoped.
    Answer(Refusal),
    /// The answer is longer than any that is allowed.
    AnswerTooLong {
        during: &'static str,
    },
    Receipt(ReceiptFault),
    /// The sealed bundle could not be read from the spool.
    ReadBundle {
        source: io::Error,
    },
}

/// What a [`SignFailure`] said: TLS passes it on only by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningMessage(pub String);

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(_) => write!(f, "the upload is not configured usably"),
            Self::Connect { address, source }
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                write!(f, "connection refused by {address}")
            }
            Self::Connect { address, .. } => write!(f, "cannot reach {address}"),
            Self::ConnectTimeout { address } => {
                write!(f, "no answer from {address} to the connection attempt")
            }
            Self::ServerCertificate(fault) => {
                write!(f, "the server's certificate is refused: {fault}")
            }
            Self::ClientCertificate { alert } => {
                write!(
                    f,
                    "the server refuses this box's certificate: {}",
                    alert_words(*alert)
                )
            }
            Self::Handshake { .. } => write!(f, "no TLS connection with the server"),
            Self::Signing(message) => write!(f, "cannot prove this box's identity: {}", message.0),
            Self::CutOff { during, .. } => write!(f, "the connection was cut off during {during}"),
            Self::Timeout { during } => write!(f, "the server took too long over {during}"),
            Self::Paused { at } => write!(f, "paused at byte {at}, from which it will go on"),
            Self::Answer(refusal) => write!(f, "{refusal}"),
            Self::AnswerTooLong { during } => write!(f, "the answer to {during} is too long"),
            Self::Receipt(fault) => write!(f, "{fault}"),
            Self::ReadBundle { .. } => write!(f, "cannot read the sealed bundle"),
        }
    }
}

impl Error for UploadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Setup(source) => Some(source),
            Self::Connect { source, .. } | Self::ReadBundle { source } => Some(source),
            Self::Handshake { source } => Some(source),
            Self::CutOff { source, .. } => Some(source.as_ref()),
            // Display of these is the layer's own words already; only the next cause follows.
            Self::Receipt(fault) => fault.source(),
            _ => None,
        }
    }
}

impl UploadError {
    pub fn advice(&self) -> Advice {
        match self {
            Self::Setup(_) | Self::ServerCertificate(_) | Self::ClientCertificate { .. } => {
                Advice::Stop
            }
            Self::Handshake { .. } | Self::AnswerTooLong { .. } => Advice::Stop,
            Self::Receipt(_) | Self::ReadBundle { .. } => Advice::Stop,
            Self::Connect { .. } | Self::ConnectTimeout { .. } | Self::Signing(_) => Advice::Retry,
            Self::CutOff { .. } | Self::Timeout { .. } | Self::Paused { .. } => Advice::Retry,
            Self::Answer(refusal) => refusal.advice(),
        }
    }

    pub fn scope(&self) -> Scope {
        match self {
            Self::Answer(refusal) => refusal.scope(),
            Self::Receipt(_) | Self::ReadBundle { .. } => Scope::Bundle,
            _ => Scope::Server,
        }
    }

    /// The kind of failure behind a broken exchange.
    pub(crate) fn from_exchange(during: &'static str, error: Box<dyn Error + Send + Sync>) -> Self {
        match find_tls(error.as_ref()) {
            Some(tls) => Self::from_tls(tls).unwrap_or(Self::CutOff {
                during,
                source: error,
            }),
            None => Self::CutOff {
                during,
                source: error,
            },
        }
    }

    fn from_tls(error: &rustls::Error) -> Option<Self> {
        use AlertDescription as Alert;
        Some(match error {
            rustls::Error::InvalidCertificate(fault) => {
                Self::ServerCertificate(CertificateFault::from_tls(fault))
            }
            rustls::Error::InvalidCertRevocationList(_) => {
                Self::ServerCertificate(CertificateFault::BadRevocationList)
            }
            rustls::Error::AlertReceived(
                alert @ (Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError
                | Alert::CertificateRequired),
            ) => Self::ClientCertificate { alert: *alert },
            rustls::Error::Other(other) => {
                let failure = other.0.downcast_ref::<SignFailure>()?;
                Self::Signing(SigningMessage(format!("{failure}: {}", failure.0)))
            }
            rustls::Error::DecryptError => return None,
            other => Self::Handshake {
                source: other.clone(),
            },
        })
    }
}

/// The TLS error inside an error chain. An `io::Error` hides its payload from `source()`.
fn find_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next: Option<&'a (dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        if let Some(inner) = error
            .downcast_ref::<io::Error>()
            .and_then(|io| io.get_ref())
        {
            return find_tls(inner);
        }
        next = error.source();
    }
    None
}

fn alert_words(alert: AlertDescription) -> &'static str {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRevoked => "revoked; have a new one issued",
        Alert::CertificateExpired => {
            "expired or not yet valid, or one of the clocks is wrong; look at both, then have a new one issued"
        }
        Alert::UnknownCA => {
            "unknown issuer, or the server's revocation list is stale or lacks it; the receiver's log says which"
        }
        Alert::CertificateRequired => "none was presented; look at the certificate of [upload]",
        Alert::UnsupportedCertificate => {
            "not made for this purpose; have one issued for client authentication"
        }
        Alert::DecryptError => {
            "a signature in it or by its key does not fit; look at certificate and key of [upload]"
        }
        Alert::CertificateUnknown => {
            "its key, its name, its use or the server's revocation list is not as it must be; the receiver's log says which"
        }
        Alert::BadCertificate => "its name or form is wrong; the receiver's log says which",
        _ => "no reason given; the receiver's log may have one",
    }
}
