//! The receiver's receipt: a CMS SignedData over one JSON object that names bundle, size, digest and time.
//!
//! Invariants
//! 1. A [`Receipt`] exists only after the signature was verified under the pinned certificate, and bundle, size and
//!    digest were found to be those of the bundle in question. It is the only leave to erase a bundle.
//! 2. Nothing here does I/O; the sender and the intake call the same function.
//!
//! The JSON: `{"bundle":"<box>-<sequence>.cms","size":<bytes>,"sha256":"<hex>","time":"<RFC 3339>"}`, no other keys.

use crate::tus::{hex, parse_digest};
use bundle::signed::{self, Placement, SignedError, SigningError, UnverifiedSigned};
use bundle::{BundleName, Signer};
use serde::{Deserialize, Serialize};
use std::fmt;
use x509_cert::Certificate;

/// The receiver's certificate from its PEM file.
pub use bundle::signed::certificate_from_pem as certificate;

/// What the receiver states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub bundle: String,
    pub size: u64,
    pub sha256: String,
    /// When the receiver had stored the bundle, RFC 3339 in UTC. For people: nothing is decided by it.
    pub time: String,
}

/// Bytes that claim to be a receipt.
pub struct UnverifiedReceipt(pub Vec<u8>);

/// A verified receipt for one bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    der: Vec<u8>,
    statement: Statement,
}

impl Receipt {
    /// The bytes that were verified, for the disk.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub fn statement(&self) -> &Statement {
        &self.statement
    }
}

/// Why a receipt is refused. The bundle stays; the receipt is to be discarded and asked for again.
#[derive(Debug)]
pub enum ReceiptFault {
    Signature(SignedError),
    /// Signed, but not a receipt: the JSON inside is none of ours.
    NoStatement,
    /// A receipt for something else.
    OtherBundle {
        expected: String,
        stated: String,
    },
    OtherSize {
        expected: u64,
        stated: u64,
    },
    OtherDigest {
        expected: String,
        stated: String,
    },
}

impl fmt::Display for ReceiptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature(_) => write!(f, "the receipt is not signed by the configured receiver"),
            Self::NoStatement => write!(
                f,
                "the receipt does not state bundle, size, digest and time"
            ),
            Self::OtherBundle { expected, .. } => {
                write!(f, "the receipt is for another bundle than {expected}")
            }
            Self::OtherSize { expected, stated } => {
                write!(
                    f,
                    "the receipt states {stated} bytes where the bundle has {expected}"
                )
            }
            Self::OtherDigest { expected, stated } => {
                write!(
                    f,
                    "the receipt states SHA-256 {stated} where the bundle has {expected}"
                )
            }
        }
    }
}

impl std::error::Error for ReceiptFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Signature(source) => Some(source),
            _ => None,
        }
    }
}

/// The one way to a [`Receipt`]: signature, bundle, size and digest must all be right.
pub fn verify_receipt(
    claim: UnverifiedReceipt,
    receiver: &Certificate,
    bundle: &BundleName,
    size_bytes: u64,
    sha256: &[u8; 32],
) -> Result<Receipt, ReceiptFault> {
    let content = content(&claim.0, receiver).map_err(ReceiptFault::Signature)?;
    let statement: Statement =
        serde_json::from_slice(&content).map_err(|_| ReceiptFault::NoStatement)?;
    if statement.bundle != bundle.to_string() {
        return Err(ReceiptFault::OtherBundle {
            expected: bundle.to_string(),
            stated: statement.bundle,
        });
    }
    if statement.size != size_bytes {
        return Err(ReceiptFault::OtherSize {
            expected: size_bytes,
            stated: statement.size,
        });
    }
    if parse_digest(&statement.sha256) != Some(*sha256) {
        return Err(ReceiptFault::OtherDigest {
            expected: hex(sha256),
            stated: statement.sha256,
        });
    }
    Ok(Receipt {
        der: claim.0,
        statement,
    })
}

/// The signed JSON. `bundle::signed` leaves no bit of the message unchecked.
fn content(der: &[u8], receiver: &Certificate) -> Result<Vec<u8>, SignedError> {
    let message = UnverifiedSigned::parse(der)?;
    Ok(message.verify_attached(receiver)?.to_vec())
}

/// Makes a receipt: the receiver's side.
pub fn issue(
    statement: &Statement,
    certificate: &Certificate,
    key: &dyn Signer,
) -> Result<Vec<u8>, SigningError> {
    // A struct of strings and one integer always has a JSON form, so the fallback is never taken.
    let content = serde_json::to_vec(statement).unwrap_or_default();
    signed::sign(&content, Placement::Attached, certificate, key)
}

/// What a receipt in the receiver's own store states; `None` where it is not one that its own key signed.
pub fn statement(der: &[u8], certificate: &Certificate) -> Option<Statement> {
    serde_json::from_slice(&content(der, certificate).ok()?).ok()
}

/// Where a plain tus server gives no receipts: what the sender leaves in a receipt's place once the server holds every
/// byte. It proves nothing, and only a site configuration without receipts makes anyone accept it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsigned {
    unsigned: Held,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    bundle: String,
    size: u64,
    sha256: String,
}

fn held(bundle: &BundleName, size_bytes: u64, sha256: &[u8; 32]) -> Unsigned {
    Unsigned {
        unsigned: Held {
            bundle: bundle.to_string(),
            size: size_bytes,
            sha256: hex(sha256),
        },
    }
}

/// The mark of a complete upload without receipt: `{"unsigned":{"bundle":..,"size":..,"sha256":..}}`.
pub fn unsigned_mark(bundle: &BundleName, size_bytes: u64, sha256: &[u8; 32]) -> Vec<u8> {
    // Strings and one integer always have a JSON form.
    serde_json::to_vec(&held(bundle, size_bytes, sha256)).unwrap_or_default()
}

/// Whether `bytes` are the mark of this very bundle. For sites without receipts only.
pub fn is_unsigned_mark(
    bytes: &[u8],
    bundle: &BundleName,
    size_bytes: u64,
    sha256: &[u8; 32],
) -> bool {
    serde_json::from_slice::<Unsigned>(bytes)
        .is_ok_and(|mark| mark == held(bundle, size_bytes, sha256))
}
