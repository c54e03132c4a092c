//! What has been seen and sent: one SQLite file (bundled SQLite, WAL, `synchronous=FULL`, one connection).
//!
//! Invariants
//! 1. A row of `file` means: this version of this file is in a bundle that the spool has made durable. Rows change only
//!    in [`Catalogue::commit`], in one transaction with the end of the intent.
//! 2. There is at most one intent. It is written before its bundle goes to the spool and holds everything that the
//!    commit needs, so that a cut between the two is decided by the spool's answer alone: held, commit; never held,
//!    [`Catalogue::roll_back`].
//! 3. Directory numbers are never given twice.
//! 4. Errors and `Debug` output never hold a path or name of a hospital's file.
//!
//! Trusts: the disk to keep what `fsync` returned for; SQLite's journal for everything else. Only the role `intake`
//! opens the file. Layout: [`schema`].

#![forbid(unsafe_code)]

mod diff;
mod error;
mod intent;
mod kept;
mod missing;
mod schema;

pub use diff::{Difference, Known, Seen, diff};
pub use error::CatalogueError;
pub use intent::{Action, Change, Intent};
pub use kept::{Loss, LostVersion};

use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

/// SHA-256.
pub type Digest = [u8; 32];

/// Number of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Directory(pub(crate) i64);

/// One collected root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub root: Directory,
    /// Number of the walk that was begun last.
    pub walk: u64,
    /// Files whose newest version was sent and that were not reported as removed.
    pub files: u64,
}

/// The open catalogue.
pub struct Catalogue {
    connection: Connection,
}

impl Catalogue {
    /// Opens the catalogue, or creates it where none is.
    pub fn open(path: &Path) -> Result<Self, CatalogueError> {
        Ok(Self {
            connection: schema::open(path)?,
        })
    }

    /// The root of this name; a new one is entered.
    pub fn source(&mut self, name: &str) -> Result<Source, CatalogueError> {
        let transaction = self.connection.transaction()?;
        let known: Option<i64> = transaction
            .prepare_cached("SELECT root FROM source WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        let root = match known {
            Some(root) => root,
            None => {
                let root = next_directory(&transaction)?;
                transaction.execute(
                    "INSERT INTO source(name, root, walk, files) VALUES (?1, ?2, 0, 0)",
                    params![name, root],
                )?;
                root
            }
        };
        transaction.commit()?;
        self.source_of(Directory(root))
    }

    fn source_of(&self, root: Directory) -> Result<Source, CatalogueError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT walk, files FROM source WHERE root = ?1")?;
        let source = query.query_row([root.0], |row| {
            Ok(Source {
                root,
                walk: row.get::<_, i64>(0)?.unsigned_abs(),
                files: row.get::<_, i64>(1)?.max(0).unsigned_abs(),
            })
        })?;
        Ok(source)
    }

    /// Files known in this root.
    pub fn files_of(&self, root: Directory) -> Result<u64, CatalogueError> {
        Ok(self.source_of(root)?.files)
    }

    /// Begins a walk over a root and returns its number.
    pub fn begin_walk(&mut self, root: Directory) -> Result<u64, CatalogueError> {
        self.connection
            .prepare_cached("UPDATE source SET walk = walk + 1 WHERE root = ?1")?
            .execute([root.0])?;
        Ok(self.source_of(root)?.walk)
    }

    /// The directory at a path below a root (`/` between components, empty for the root itself), if it is known.
    pub fn directory(
        &self,
        root: Directory,
        path: &[u8],
    ) -> Result<Option<Directory>, CatalogueError> {
        let mut at = root;
        for name in components(path) {
            match self.child(at, name)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The directory of this name in a directory, if it is known.
    pub fn child(
        &self,
        parent: Directory,
        name: &[u8],
    ) -> Result<Option<Directory>, CatalogueError> {
        Ok(child(&self.connection, parent, name)?)
    }

    /// Names and numbers of the known directories in a directory, sorted by name.
    pub fn children(&self, parent: Directory) -> Result<Vec<(Vec<u8>, Directory)>, CatalogueError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT name, id FROM directory WHERE parent = ?1 ORDER BY name")?;
        let rows = query.query_map([parent.0], |row| Ok((row.get(0)?, Directory(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The known files of a directory, sorted by name.
    pub fn files(&self, directory: Directory) -> Result<Vec<Known>, CatalogueError> {
        let mut query = self.connection.prepare_cached(
            "SELECT name, size, mtime, sha256 FROM file WHERE directory = ?1 ORDER BY name",
        )?;
        let rows = query.query_map([directory.0], |row| {
            Ok(Known {
                name: row.get(0)?,
                size_bytes: row.get::<_, i64>(1)?.unsigned_abs(),
                mtime_ns: row.get(2)?,
                sha256: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The known version of one file.
    pub fn file(&self, root: Directory, path: &[u8]) -> Result<Option<Known>, CatalogueError> {
        let (folder, name) = split(path);
        let Some(directory) = self.directory(root, folder)? else {
            return Ok(None);
        };
        let mut query = self.connection.prepare_cached(
            "SELECT size, mtime, sha256 FROM file WHERE directory = ?1 AND name = ?2",
        )?;
        let known = query.query_row(params![directory.0, name], |row| {
            Ok(Known {
                name: name.to_vec(),
                size_bytes: row.get::<_, i64>(0)?.unsigned_abs(),
                mtime_ns: row.get(1)?,
                sha256: row.get(2)?,
            })
        });
        Ok(known.optional()?)
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

fn child(
    connection: &Connection,
    parent: Directory,
    name: &[u8],
) -> rusqlite::Result<Option<Directory>> {
    let mut query =
        connection.prepare_cached("SELECT id FROM directory WHERE parent = ?1 AND name = ?2")?;
    query
        .query_row(params![parent.0, name], |row| Ok(Directory(row.get(0)?)))
        .optional()
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
