//! The sealed bundle: format, seal, open, verify. No I/O: bytes go in and bytes come out.
//!
//! The format is written down once, in [`FORMAT.md`](../FORMAT.md) beside this crate: layout, invariants, versioning
//! rule and the reason for each check. In one line: CMS AuthEnvelopedData (AES-256-GCM, RSAES-OAEP) around zstd around
//! tar, whose first two entries are `manifest.json` and its detached CMS signature `manifest.p7s`.
//!
//! Sealing: [`Draft`] takes entries until it is full, [`Draft::close`] ends it, [`Sealer::seal`] signs and encrypts.
//! Opening: [`UnverifiedBundle`] -> [`UnverifiedContent`] -> [`VerifiedBundle`]; content can be had from the last only.
//!
//! Invariants
//! 1. What a bundle holds is exactly what its signed manifest names; everything else is refused.
//! 2. A sealed bundle is smaller than [`SEALED_LIMIT_BYTES`], so that any OpenSSL can open it in memory.
//! 3. Each bundle has its own content key, so that a nonce never repeats under a key.
//! 4. Nothing here holds a key that opens a bundle, except [`Opener`], which the box never makes.
//!
//! Trusts: aws-lc-rs for the arithmetic, the caller for the clock value, and on opening nothing but the key, the trusted
//! authority and the recipient's certificate that it is given.

mod archive;
mod chain;
mod digest;
mod draft;
mod envelope;
mod limits;
mod lost;
mod manifest;
mod name;
mod open;
pub mod path;
mod recipient;
mod seal;
pub mod signed;
mod signer;
#[cfg(test)]
mod tests;
mod tlv;

pub use chain::{Trust, TrustError};
pub use digest::{Digest, DigestForm, Hasher, Whole};
pub use draft::{Body, Closed, Draft, Entry, Event, PushError};
pub use envelope::EnvelopeError;
pub use limits::{
    CONTENT_LIMIT_BYTES, ENTRY_LIMIT, MANIFEST_LIMIT_BYTES, PART_LIMIT_BYTES, PATH_LIMIT_BYTES,
    SEALED_LIMIT_BYTES,
};
pub use lost::{Extent, Lost, LostFault, LostFile};
pub use manifest::{
    FORMAT, Facts, JsonFault, Manifest, ManifestError, Named, NamedEvent, Part, Source, VersionId,
};
pub use name::{BoxName, BundleName, NameError};
pub use open::{
    ArchiveError, OpenError, Opener, OpenerError, UnverifiedBundle, UnverifiedContent,
    VerifiedBundle,
};
pub use path::PathFault;
pub use recipient::{Recipient, RecipientError};
pub use seal::{SealError, SealedBundle, Sealer};
pub use signer::{LocalSigner, SignFailure, Signer, SignerError};
