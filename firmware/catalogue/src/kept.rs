//! What each bundle that waits in the spool has brought, kept until it is erased: so that a bundle that rots there can be
//! collected again.
//!
//! [`Catalogue::recollect`] takes a bundle's changes back: the known state becomes what it would be had the bundle never
//! been. The next walks then find the same differences to the hospital's store and send them under a new number. What the
//! hospital has changed since is known in its newer version, and stays known.
//!
//! A bundle whose changes were taken back is a *loss* until a bundle that reports it, its notice, was erased against a
//! receipt. A notice that is taken back itself leaves its losses without one, so that the next notice has them too.

use crate::intent::{changes_of, put};
use crate::tree::Editor;
use crate::{Action, Catalogue, CatalogueError, Change, Digest, Directory, Known, mark};
use rusqlite::{Connection, OptionalExtension, params};
use ssmix2::{Flag, Flagged};

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
        // reads only: nothing is flushed
        let mut editor = Editor::new(&self.connection, self.limit_bytes);
        for change in &changes {
            if self.is_here(&mut editor, change)? {
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
    ///
    /// Of what is known there is half a digest, and it must agree together with the size. To call a lost version here that is
    /// not, a known one of that size would have to agree in 128 bits and differ: by chance never. Whoever writes to the share
    /// could make such a pair on purpose, and hide by it that his own first file is lost: he could as well have replaced it
    /// before it was read. All else is asked more strictly than whole digests would ask, so that a loss is rather
    /// named too often.
    fn is_here(&self, editor: &mut Editor<'_>, change: &Change) -> Result<bool, CatalogueError> {
        let known = editor.known(change.root, &change.path)?;
        if let Action::Part { .. } = change.action {
            let this = (change.size_bytes, change.mtime_ns);
            if known.is_some_and(|known| (known.size_bytes, known.mtime_ns) == this) {
                return Ok(true);
            }
            let under_way = self.progress(change.root, &change.path)?;
            return Ok(
                under_way.is_some_and(|progress| (progress.size_bytes, progress.mtime_ns) == this)
            );
        }
        let same_content = |known: &Known| {
            known.size_bytes == change.size_bytes && known.mark == mark(&change.sha256)
        };
        if known.is_some_and(same_content) {
            return Ok(true);
        }
        for path in under_other_flags(&change.path) {
            if editor
                .known(change.root, &path)?
                .is_some_and(|known| is_version(known, change))
            {
                return Ok(true);
            }
        }
        Ok(false)
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

    /// Whether [`Catalogue::recollect`] would take something back.
    pub fn is_kept(&self, sequence: u64) -> Result<bool, CatalogueError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT 1 FROM bundle WHERE sequence = ?1 AND recollected = 0")?;
        Ok(query.exists([sequence as i64])?)
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
        {
            let mut editor = Editor::new(&transaction, self.limit_bytes);
            for change in &changes {
                take_back(&transaction, &mut editor, change)?;
            }
            editor.flush()?;
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
fn take_back(
    connection: &Connection,
    editor: &mut Editor<'_>,
    change: &Change,
) -> Result<(), CatalogueError> {
    let root = change.root;
    let known = editor.known(root, &change.path)?.cloned();
    let same = known
        .as_ref()
        .is_some_and(|known| known.mark == mark(&change.sha256));
    let mut counted = 0;
    match &change.action {
        Action::Added | Action::Changed if same => {
            counted -= i64::from(editor.take(root, &change.path)?);
        }
        Action::Added | Action::Changed => {
            for path in under_other_flags(&change.path) {
                if editor
                    .known(root, &path)?
                    .is_some_and(|known| is_version(known, change))
                {
                    counted -= i64::from(editor.take(root, &path)?);
                }
            }
        }
        Action::FlagChanged { origin } => {
            if same {
                counted -= i64::from(editor.take(root, &change.path)?);
                if editor.known(root, origin)?.is_none() {
                    counted += put(connection, editor, &at(change, origin))?;
                }
            }
        }
        Action::Removed => {
            if known.is_none() {
                counted += put(connection, editor, change)?;
            }
        }
        Action::Part { .. } => {
            connection
                .prepare_cached("DELETE FROM progress WHERE root = ?1 AND path = ?2")?
                .execute(params![root.0, change.path])?;
            // the parts after it may have come, in other bundles: the whole file begins again
            let whole = known.is_some_and(|known| {
                (known.size_bytes, known.mtime_ns) == (change.size_bytes, change.mtime_ns)
            });
            if whole {
                counted -= i64::from(editor.take(root, &change.path)?);
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

fn at(change: &Change, path: &[u8]) -> Change {
    Change {
        path: path.to_vec(),
        ..change.clone()
    }
}

/// Whether this is the very version that a change brought.
fn is_version(known: &Known, change: &Change) -> bool {
    (known.size_bytes, known.mtime_ns, known.mark)
        == (change.size_bytes, change.mtime_ns, mark(&change.sha256))
}

/// Components of a path that are looked at under other flags, at most: an object, and the content folder that it is in.
const FLAGGED: usize = 3;

/// Where the file at a path is after changes of condition flag, its own or those of folders that it is in.
fn under_other_flags(path: &[u8]) -> Vec<Vec<u8>> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let ends: Vec<usize> = ends.map(|(at, _)| at).chain([path.len()]).collect();
    let starts = [0].into_iter().chain(ends.iter().map(|end| end + 1));
    let flags: Vec<usize> = starts
        .zip(&ends)
        .filter(|(start, end)| Flagged::parse(&path[*start..**end]).is_some())
        .map(|(_, end)| end - 1)
        .collect();
    let mut paths = vec![path.to_vec()];
    for at in flags.into_iter().rev().take(FLAGGED) {
        for place in 0..paths.len() {
            for flag in [Flag::Deleted, Flag::Valid, Flag::Past] {
                if flag.digit() != path[at] {
                    let mut other = paths[place].clone();
                    other[at] = flag.digit();
                    paths.push(other);
                }
            }
        }
    }
    paths.remove(0);
    paths
}
