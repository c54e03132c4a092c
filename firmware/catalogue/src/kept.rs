//! What each bundle that waits in the spool has brought, kept until it is erased: so that a bundle that rots there can be
//! collected again.
//!
//! [`Catalogue::recollect`] takes a bundle's changes back: the known state becomes what it would be had the bundle never
//! been. The next walks then find the same differences to the hospital's store and send them under a new number. What the
//! hospital has changed since is known in its newer version, and stays known.

use crate::intent::{changes_of, put};
use crate::tree::Editor;
use crate::{Action, Catalogue, CatalogueError, Change, Digest, mark, split};
use rusqlite::{Connection, OptionalExtension, params};

/// Beside the layout of [`crate::schema`]; a catalogue of before has no kept bundles.
pub(crate) const LAYOUT: &str = "
-- Bundles committed and not yet erased. recollected: their changes were taken back.
CREATE TABLE IF NOT EXISTS bundle(sequence INTEGER PRIMARY KEY, sha256 BLOB NOT NULL, recollected INTEGER NOT NULL);
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
            "INSERT OR REPLACE INTO bundle(sequence, sha256, recollected) VALUES (?1, ?2, 0)",
        )?
        .execute(params![sequence as i64, sha256])?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO kept
             SELECT ?1, ordinal, action, root, path, origin, size, mtime, sha256, version, next FROM change",
        )?
        .execute([sequence as i64])?;
    Ok(())
}

impl Catalogue {
    /// Numbers and digests of the kept bundles after this number, in order, so many at most.
    pub fn kept(&self, after: u64, limit: usize) -> Result<Vec<(u64, Digest)>, CatalogueError> {
        let mut query = self.connection.prepare_cached(
            "SELECT sequence, sha256 FROM bundle WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
        )?;
        let rows = query.query_map(params![after as i64, limit as i64], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The bundles of these numbers were erased: the data centre has them.
    pub fn delivered(&mut self, sequences: &[u64]) -> Result<(), CatalogueError> {
        let transaction = self.connection.transaction()?;
        for sequence in sequences {
            transaction
                .prepare_cached("DELETE FROM kept WHERE sequence = ?1")?
                .execute([*sequence as i64])?;
            transaction
                .prepare_cached("DELETE FROM bundle WHERE sequence = ?1")?
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
    let (known, beside) = editor.known(root, &change.path)?;
    let same = known
        .as_ref()
        .is_some_and(|known| known.mark == mark(&change.sha256));
    let mut counted = 0;
    match &change.action {
        Action::Added | Action::Changed if same => {
            counted -= i64::from(editor.take(root, &change.path)?);
        }
        // a change of condition flag since has renamed it within its directory
        Action::Added | Action::Changed => {
            let folder = split(&change.path).0;
            for file in beside {
                let version = (file.size_bytes, file.mtime_ns, file.mark);
                if version == (change.size_bytes, change.mtime_ns, mark(&change.sha256)) {
                    let path = match folder {
                        [] => file.name,
                        folder => [folder, b"/", &file.name].concat(),
                    };
                    counted -= i64::from(editor.take(root, &path)?);
                }
            }
        }
        Action::FlagChanged { origin } => {
            if same {
                counted -= i64::from(editor.take(root, &change.path)?);
                if editor.known(root, origin)?.0.is_none() {
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
