//! What has been seen and sent: one SQLite file (bundled SQLite, WAL, `synchronous=FULL`, one connection).
//!
//! Invariants
//! 1. A file in it means: this version of this file is in a bundle that the spool has made durable. Files change only
//!    in [`Catalogue::commit`], in one transaction with the end of the intent.
//! 2. There is at most one intent. It is written before its bundle goes to the spool and holds everything that the
//!    commit needs, so that a cut between the two is decided by the spool's answer alone: held, commit; never held,
//!    [`Catalogue::roll_back`].
//! 3. Directory numbers are never given twice.
//! 4. Errors and `Debug` output never hold a path or name of a hospital's file.
//! 5. A folder's stamp means: when its time was this, the share's listing was exactly the files and folders known here,
//!    all of them. Whatever changes the known names of a folder clears its stamp, in the same transaction.
//! 6. A change writes anew one blob of bounded size, and no query reads more than one such blob or one row a folder: the
//!    cost of both does not grow with the store.
//!
//! Layout, and what it costs. A store of ten years has 30 to 70 million files, 1.3 to a folder, and each name repeats its
//! path. So what lies below a folder is one blob ([`Subtree`]): names as what they add to their path, times as what they
//! differ from the time in the name, 16 bytes of the digest, 4 of a stamp for each folder: about 40 bytes a file. A
//! folder whose blob would exceed a limit is opened ([`schema`]): a hospital, its groups of patients, rarely a patient.
//! A folder with very many files is open too, its files cut by name. Crash safety is SQLite's: a blob is a cell like
//! any other, old or new after a cut, never a mix.
//!
//! A file's digest is kept in 16 of 32 bytes. It answers one question: whether a file renamed to another flag, with size
//! and time unchanged, has the same bytes. Two different contents agree by chance in one of 2^128 cases. Whoever could
//! write chosen contents to the share could make two of his own that agree (2^64 work), and have his second one
//! collected as a renaming of his first: he could as well have left the second one unwritten. What is sent is named by its whole
//! digest in the signed manifest; no decision about trust rests on these 16 bytes.
//!
//! A catalogue of layout 1 (never on a lent box) is refused. Erasing it loses nothing: all is collected anew.
//!
//! Trusts: the disk to keep what `fsync` returned for; SQLite's journal for everything else. Only the role `intake`
//! opens the file. Rows: [`schema`]; blobs: [`subtree`]; names: [`names`].

#![forbid(unsafe_code)]

mod diff;
mod error;
mod intent;
mod kept;
mod missing;
mod names;
mod schema;
mod source;
mod subtree;
mod tree;

pub use diff::{Difference, Known, Mark, Seen, diff};
pub use error::CatalogueError;
pub use intent::{Action, Change, Intent};
pub use kept::{Loss, LostVersion};
pub use source::{Honesty, Quota, Source, Stamps};
pub use subtree::{Depth, Subtree, mark};
pub use tree::{Child, Standing};

use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

/// SHA-256.
pub type Digest = [u8; 32];

/// Number of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Directory(pub(crate) i64);

/// Stands for a folder's time stamp: 32 bits of a hash of it. Two times agree by chance in one of 2^32 cases; a change
/// hidden so is found by the listings that are sampled in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub u32);

impl Stamp {
    /// Of a time in nanoseconds since 1970 (FNV-1a, folded).
    pub fn of(mtime_ns: i64) -> Self {
        let hash = mtime_ns
            .to_le_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Self((hash ^ (hash >> 32)) as u32)
    }
}

/// The open catalogue.
pub struct Catalogue {
    connection: Connection,
    limit_bytes: usize,
}

impl Catalogue {
    /// Opens the catalogue, or creates it where none is.
    pub fn open(path: &Path) -> Result<Self, CatalogueError> {
        Ok(Self {
            connection: schema::open(path)?,
            limit_bytes: tree::LIMIT_BYTES,
        })
    }

    /// The same with smaller parts, so that tests see them parted.
    #[doc(hidden)]
    pub fn open_with_parts_of(path: &Path, limit_bytes: usize) -> Result<Self, CatalogueError> {
        Ok(Self {
            limit_bytes,
            ..Self::open(path)?
        })
    }
}

/// A file that travels in parts: which version, and how much of it is in durable bundles.
#[derive(Clone, PartialEq, Eq)]
pub struct Progress {
    pub size_bytes: u64,
    pub mtime_ns: i64,
    /// Names the version in the parts.
    pub version: [u8; 16],
    /// Offset of the next part.
    pub next: u64,
    /// Digest of the file's bytes before `next`.
    pub before: Digest,
}

impl Catalogue {
    /// How far the file at this path has been sent in parts.
    pub fn progress(
        &self,
        root: Directory,
        path: &[u8],
    ) -> Result<Option<Progress>, CatalogueError> {
        let mut query = self.connection.prepare_cached(
            "SELECT size, mtime, version, next, before FROM progress WHERE root = ?1 AND path = ?2",
        )?;
        let progress = query.query_row(params![root.0, path], |row| {
            Ok(Progress {
                size_bytes: row.get::<_, i64>(0)?.unsigned_abs(),
                mtime_ns: row.get(1)?,
                version: row.get(2)?,
                next: row.get::<_, i64>(3)?.unsigned_abs(),
                before: row.get(4)?,
            })
        });
        Ok(progress.optional()?)
    }

    /// Forgets the parts of a file that changed or vanished before all of it was sent.
    pub fn abandon(&mut self, root: Directory, path: &[u8]) -> Result<(), CatalogueError> {
        self.connection
            .prepare_cached("DELETE FROM progress WHERE root = ?1 AND path = ?2")?
            .execute(params![root.0, path])?;
        Ok(())
    }
}

/// Invariant 3: takes the next number, within the caller's transaction.
fn next_directory(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "UPDATE counter SET next_directory = next_directory + 1 RETURNING next_directory - 1",
        )?
        .query_row([], |row| row.get(0))
}

/// The components of a path; none for the empty path.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
}

/// Folder and name of a file's path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}
