//! What each bundle that waits in the spool has brought, kept until it is erased: so that a bundle that rots there can be
//! collected again.
//!
//! [`Catalogue::recollect`] takes a bundle's changes back: the known state becomes what it would be had the bundle never
//! been. The next walks then find the same differences to the hospital's store and send them under a new number. What the
//! hospital has changed since is known in its newer version, and stays known.
//!
//! A bundle whose changes were taken back is a *loss* until a bundle that reports it, its notice, was erased against a
//! receipt. A notice that is taken back itself leaves its losses without one, so that the next notice has them too.

use crate::intent::{changes_of, put, take};
use crate::{
    Action, Catalogue, CatalogueError, Change, Digest, Directory, child, components, split,
};
use rusqlite::{Connection, OptionalExtension, params};

/// Beside the layout of [`crate::schema`]; a catalogue of before has no kept bundles.
pub(crate) const LAYOUT: &str = "
-- Bundles committed and not yet erased. recollected: their changes were taken back. notice: number of the bundle that
-- reports them as lost; 0: none does.
CREATE TABLE IF NOT EXISTS bundle(sequence INTEGER PRIMARY KEY, sha256 BLOB NOT NULL, recollected INTEGER NOT NULL,
    notice INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS notice_of ON bundle(notice) WHERE notice > 0;
CREATE INDEX IF NOT EXISTS loss ON bundle(sequence) WHERE recollected = 1;
-- The losses that the intent's bundle reports.
CREATE TABLE IF NOT EXISTS reported(sequence INTEGER PRIMARY KEY);
-- Their changes, as in change.
CREATE TABLE IF NOT EXISTS kept(sequence INTEGER NOT NULL, ordinal INTEGER NOT NULL, action INTEGER NOT NULL,
    root INTEGER NOT NULL, path BLOB NOT NULL, origin BLOB, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    sha256 BLOB NOT NULL, version BLOB, next INTEGER NOT NULL, PRIMARY KEY(sequence, ordinal)) WITHOUT ROWID;
-- At most one row: the number up to which the pass of the scrub has come.
CREATE TABLE IF NOT EXISTS scrub(one INTEGER PRIMARY KEY CHECK(one = 1), after INTEGER NOT NULL);
";

/// Moves the intent's changes to those kept. Part of the intent's commit.
pub(crate) fn keep(connection: &Connection, sequence: u64, sha256: Digest) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO bundle(sequence, sha256, recollected, notice) VALUES (?1, ?2, 0, 0)",
        )?
        .execute(params![sequence as i64, sha256])?;
    connection
        .prepare_cached(
            "UPDATE bundle SET notice = ?1 WHERE sequence IN (SELECT sequence FROM reported)",
        )?
        .execute([sequence as i64])?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO kept
             SELECT ?1, ordinal, action, root, path, origin, size, mtime, sha256, version, next FROM change",
        )?
        .execute([sequence as i64])?;
    Ok(())
}

/// Takes note of the losses that the intent's bundle will report. Part of writing the intent.
pub(crate) fn intend(connection: &Connection, losses: &[u64]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO reported(sequence) VALUES (?1)")?;
    for sequence in losses {
        insert.execute([*sequence as i64])?;
    }
    Ok(())
}

/// A bundle whose changes were taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub sequence: u64,
    pub sha256: Digest,
    /// Number of the durable bundle that reports it.
    pub notice: Option<u64>,
}

/// What a lost bundle brought and nothing has brought since.
#[derive(Clone, PartialEq, Eq)]
pub struct LostVersion {
    pub root: Directory,
    /// Name of the source, which may be no longer configured.
    pub source: String,
    pub path: Vec<u8>,
    /// Size and digest of the file, or where it was a part that did not end it, of the bytes up to that part's end.
    pub size_bytes: u64,
    pub sha256: Digest,
    pub whole: bool,
}

impl Catalogue {
    /// The losses after this number, in order, so many at most.
    pub fn losses(&self, after: u64, limit: usize) -> Result<Vec<Loss>, CatalogueError> {
        let mut query = self.connection.prepare_cached(
            "SELECT sequence, sha256, notice FROM bundle WHERE recollected = 1 AND sequence > ?1
             ORDER BY sequence LIMIT ?2",
        )?;
        let rows = query.query_map(params![after as i64, limit as i64], |row| {
            let notice = row.get::<_, i64>(2)?.unsigned_abs();
            Ok(Loss {
                sequence: row.get::<_, i64>(0)?.unsigned_abs(),
                sha256: row.get(1)?,
                notice: Some(notice).filter(|notice| *notice > 0),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The losses that the bundle of the open intent reports.
    pub fn reported(&self) -> Result<Vec<u64>, CatalogueError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT sequence FROM reported ORDER BY sequence")?;
        let rows = query.query_map([], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What of a lost bundle was not collected again: its versions of files that are not the known ones now.
    pub fn lost_versions(&self, sequence: u64) -> Result<Vec<LostVersion>, CatalogueError> {
        let changes = {
            let mut query = self.connection.prepare_cached(
                "SELECT action, root, path, origin, size, mtime, sha256, version, next FROM kept
                 WHERE sequence = ?1 ORDER BY ordinal",
            )?;
            changes_of(query.query([sequence as i64])?)?
        };
        let mut lost: Vec<LostVersion> = Vec::new();
        for change in &changes {
            if self.is_here(change)? {
                continue;
            }
            let (size_bytes, whole) = match change.action {
                Action::Added | Action::Changed => (change.size_bytes, true),
                Action::Part { next, .. } => (next, false),
                Action::FlagChanged { .. } | Action::Removed => continue,
            };
            // of several parts of one file the last one says it all
            if lost
                .last()
                .is_some_and(|last| !last.whole && last.path == change.path)
            {
                lost.pop();
            }
            let source = self
                .connection
                .prepare_cached("SELECT name FROM source WHERE root = ?1")?
                .query_row([change.root.0], |row| row.get(0))?;
            lost.push(LostVersion {
                root: change.root,
                source,
                path: change.path.clone(),
                size_bytes,
                sha256: change.sha256,
                whole,
            });
        }
        Ok(lost)
    }

    /// Whether the version that a change brought was brought again, or is under way in parts.
    fn is_here(&self, change: &Change) -> Result<bool, CatalogueError> {
        let found = version(&self.connection, change, &change.path)?;
        let same_file =
            |size: i64, mtime: i64| (size, mtime) == (change.size_bytes as i64, change.mtime_ns);
        if let Action::Part { .. } = change.action {
            let under_way = self.progress(change.root, &change.path)?;
            return Ok(found.is_some_and(|(size, mtime, _)| same_file(size, mtime))
                || under_way.is_some_and(|progress| {
                    same_file(progress.size_bytes as i64, progress.mtime_ns)
                }));
        }
        // a change of condition flag since has renamed it within its directory
        Ok(
            matches!(found, Some((_, _, sha256)) if sha256 == change.sha256)
                || !same_beside(&self.connection, change)?.is_empty(),
        )
    }

    /// Numbers and digests of the kept bundles after this number of which no loss is reported, in order, so many at most.
    pub fn kept(&self, after: u64, limit: usize) -> Result<Vec<(u64, Digest)>, CatalogueError> {
        let mut query = self.connection.prepare_cached(
            "SELECT sequence, sha256 FROM bundle WHERE sequence > ?1 AND notice = 0 ORDER BY sequence LIMIT ?2",
        )?;
        let rows = query.query_map(params![after as i64, limit as i64], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The bundles of these numbers were erased: the data centre has them, and the losses that they report. One that is
    /// reported as lost itself, by a notice that is not yet there, was discarded: it stays.
    pub fn delivered(&mut self, sequences: &[u64]) -> Result<(), CatalogueError> {
        let transaction = self.connection.transaction()?;
        for sequence in sequences {
            transaction
                .prepare_cached(
                    "DELETE FROM kept WHERE sequence IN
                     (SELECT sequence FROM bundle WHERE (sequence = ?1 AND notice = 0) OR notice = ?1)",
                )?
                .execute([*sequence as i64])?;
            transaction
                .prepare_cached(
                    "DELETE FROM bundle WHERE (sequence = ?1 AND notice = 0) OR notice = ?1",
                )?
                .execute([*sequence as i64])?;
        }
        Ok(transaction.commit()?)
    }

    /// Takes the changes of a kept bundle back, in one transaction and once; returns how many there are. `None`: nothing
    /// is kept of it, or it was done before.
    pub fn recollect(&mut self, sequence: u64) -> Result<Option<u64>, CatalogueError> {
        let transaction = self.connection.transaction()?;
        let done = transaction
            .prepare_cached(
                "UPDATE bundle SET recollected = 1 WHERE sequence = ?1 AND recollected = 0",
            )?
            .execute([sequence as i64])?;
        if done == 0 {
            return Ok(None);
        }
        let changes = {
            let mut query = transaction.prepare_cached(
                "SELECT action, root, path, origin, size, mtime, sha256, version, next FROM kept
                 WHERE sequence = ?1 ORDER BY ordinal DESC",
            )?;
            changes_of(query.query([sequence as i64])?)?
        };
        for change in &changes {
            take_back(&transaction, change)?;
        }
        transaction
            .prepare_cached("UPDATE bundle SET notice = 0 WHERE notice = ?1")?
            .execute([sequence as i64])?;
        transaction.commit()?;
        Ok(Some(changes.len() as u64))
    }

    /// The number up to which the scrub's pass has come.
    pub fn scrub_place(&self) -> Result<u64, CatalogueError> {
        let mut query = self.connection.prepare_cached("SELECT after FROM scrub")?;
        let after: Option<i64> = query.query_row([], |row| row.get(0)).optional()?;
        Ok(after.unwrap_or(0).unsigned_abs())
    }

    pub fn set_scrub_place(&mut self, after: u64) -> Result<(), CatalogueError> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO scrub(one, after) VALUES (1, ?1)")?
            .execute([after as i64])?;
        Ok(())
    }
}

/// The inverse of a change, as far as nothing newer is known.
fn take_back(connection: &Connection, change: &Change) -> Result<(), CatalogueError> {
    let known = |path: &[u8]| version(connection, change, path);
    let is_this = |found: &Option<(i64, i64, Digest)>| matches!(found, Some((_, _, sha256)) if *sha256 == change.sha256);
    let mut counted = 0;
    match &change.action {
        Action::Added | Action::Changed => {
            if is_this(&known(&change.path)?) {
                counted -= take(connection, change.root, &change.path)?;
            } else {
                // a change of condition flag since has renamed it within its directory
                for path in same_beside(connection, change)? {
                    counted -= take(connection, change.root, &path)?;
                }
            }
        }
        Action::FlagChanged { origin } => {
            if is_this(&known(&change.path)?) {
                counted -= take(connection, change.root, &change.path)?;
                if known(origin)?.is_none() {
                    counted += put(connection, &at(change, origin))?;
                }
            }
        }
        Action::Removed => {
            if known(&change.path)?.is_none() {
                counted += put(connection, change)?;
            }
        }
        Action::Part { .. } => {
            connection
                .prepare_cached("DELETE FROM progress WHERE root = ?1 AND path = ?2")?
                .execute(params![change.root.0, change.path])?;
            // the parts after it may have come, in other bundles: the whole file begins again
            let found = known(&change.path)?;
            let size = change.size_bytes as i64;
            if matches!(found, Some((found_size, mtime, _)) if (found_size, mtime) == (size, change.mtime_ns))
            {
                counted -= take(connection, change.root, &change.path)?;
            }
        }
    }
    if counted != 0 {
        connection
            .prepare_cached("UPDATE source SET files = files + ?2 WHERE root = ?1")?
            .execute(params![change.root.0, counted])?;
    }
    Ok(())
}

/// Paths in the directory of the change's file that are known with the very version of the change.
fn same_beside(connection: &Connection, change: &Change) -> Result<Vec<Vec<u8>>, CatalogueError> {
    let (folder, _) = split(&change.path);
    let mut directory = change.root;
    for name in components(folder) {
        match child(connection, directory, name)? {
            Some(next) => directory = next,
            None => return Ok(Vec::new()),
        }
    }
    let mut query = connection.prepare_cached(
        "SELECT name FROM file WHERE directory = ?1 AND size = ?2 AND mtime = ?3 AND sha256 = ?4",
    )?;
    let (size, mtime) = (change.size_bytes as i64, change.mtime_ns);
    let names = query.query_map(params![directory.0, size, mtime, change.sha256], |row| {
        row.get::<_, Vec<u8>>(0)
    })?;
    let full = |name: Vec<u8>| match folder {
        [] => name,
        folder => [folder, b"/", &name].concat(),
    };
    Ok(names.map(|name| name.map(full)).collect::<Result<_, _>>()?)
}

fn at(change: &Change, path: &[u8]) -> Change {
    Change {
        path: path.to_vec(),
        ..change.clone()
    }
}

/// Size, time and digest of what is known at a path below the change's root.
fn version(
    connection: &Connection,
    change: &Change,
    path: &[u8],
) -> Result<Option<(i64, i64, Digest)>, CatalogueError> {
    let (folder, name) = split(path);
    let mut directory = change.root;
    for name in components(folder) {
        match child(connection, directory, name)? {
            Some(next) => directory = next,
            None => return Ok(None),
        }
    }
    let mut query = connection.prepare_cached(
        "SELECT size, mtime, sha256 FROM file WHERE directory = ?1 AND name = ?2",
    )?;
    let found = query.query_row(params![directory.0, name], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    });
    Ok(found.optional()?)
}
