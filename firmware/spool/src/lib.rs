//! Crash-safe queue of sealed bundles in one directory. One writer: the role `intake`; the sender only reads.
//!
//! `FORMAT.md` beside this crate has the layout, the numbered invariants, what is assumed of disk and file system, and
//! the argument for every state during a crash. Comments here refer to its numbers.
//!
//! Trusts: the file system as `FORMAT.md` says; its writer to release what it has recorded ([`Spool::release`]).

#![forbid(unsafe_code)]

pub mod disk;
mod erase;
mod erasures;
mod error;
mod layout;
mod names;
mod pool;
mod queue;
mod record;
mod recover;
mod scrub;
#[cfg(feature = "simulated")]
pub mod simulated;

pub use disk::{Disk, Folder, recorded};
pub use error::{Advice, SpoolError};
pub use layout::{Bounds, contents, file_of};
pub use names::{bundle_name, sequence_of};
pub use queue::Spool;
pub use record::RECORD_BYTES;
pub use scrub::{Damage, Found, Progress, Scrub};

/// SHA-256.
pub type Digest = [u8; 32];

/// Proof that the receiver holds a bundle. Implemented only by types that exist as the result of verifying a receipt.
pub trait Acknowledgement {
    /// File name of the bundle.
    fn bundle(&self) -> &str;
    fn size_bytes(&self) -> u64;
    fn sha256(&self) -> Digest;
}

/// What the next bundle must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub sequence: u64,
    /// Digest of the bundle before; `None` for the first of all, and while it is not known ([`Spool::recall`]).
    pub previous: Option<Digest>,
}

/// What became of a bundle of a given sequence and digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    NeverAppended,
    Queued,
    Erased,
    /// Another bundle has this number: writer and spool disagree.
    OtherDigest,
    /// It was appended and nothing is there of it: erased and released, or vanished.
    Forgotten,
}

/// Size and digest of a sealed bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bundle {
    pub size_bytes: u64,
    pub sha256: Digest,
}

/// A bundle in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub name: String,
    /// Length of its file: the bundle, its record, and what else lies between.
    pub file_bytes: u64,
}

/// Result of [`Spool::erase`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    pub sequence: u64,
    /// It was erased by an earlier call already.
    pub before: bool,
}

/// SHA-256 of sealed bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    let mut sum = Digest::default();
    sum.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    sum
}
