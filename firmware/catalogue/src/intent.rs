//! The intent: what a bundle will have changed once the spool holds it.

use crate::tree::Editor;
use crate::{Catalogue, CatalogueError, Digest, Directory, Known, mark, split};
use rusqlite::{Connection, OptionalExtension, params};

/// What a bundle's entry does to the known state of a file.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    Added,
    Changed,
    /// The object was known at `origin` (path below the root), with the same bytes.
    FlagChanged {
        origin: Vec<u8>,
    },
    Removed,
    /// A part of the file, up to `next`; the whole is not sent yet, and `sha256` is of what lies before `next`.
    Part {
        version: [u8; 16],
        next: u64,
    },
}

/// One entry of a bundle: the version of a file that it brings.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    pub root: Directory,
    /// Below the root.
    pub path: Vec<u8>,
    pub action: Action,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    /// Digest of the file.
    pub sha256: Digest,
}

/// The bundle that an open intent is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    pub sequence: u64,
    pub sha256: Digest,
    /// Entries of the bundle.
    pub entries: u64,
    /// Bytes of files in it.
    pub bytes: u64,
}

impl Catalogue {
    /// The open intent, if a cut left one.
    pub fn intent(&self) -> Result<Option<Intent>, CatalogueError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT sequence, sha256, entries, bytes FROM intent")?;
        let intent = query.query_row([], |row| {
            Ok(Intent {
                sequence: row.get::<_, i64>(0)?.unsigned_abs(),
                sha256: row.get(1)?,
                entries: row.get::<_, i64>(2)?.unsigned_abs(),
                bytes: row.get::<_, i64>(3)?.unsigned_abs(),
            })
        });
        Ok(intent.optional()?)
    }

    /// Number and digest of the bundle committed last.
    pub fn last_committed(&self) -> Result<Option<(u64, Digest)>, CatalogueError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT last_sequence, last_sha256 FROM counter")?;
        let last = query.query_row([], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
        })?;
        Ok(Some(last).filter(|(sequence, _)| *sequence > 0))
    }

    /// Writes the intent; it is durable when this returns.
    pub fn intend(&mut self, intent: Intent, changes: &[Change]) -> Result<(), CatalogueError> {
        self.intend_report(intent, changes, &[])
    }

    /// Writes the intent of a bundle that reports these losses; it is durable when this returns.
    pub fn intend_report(
        &mut self,
        intent: Intent,
        changes: &[Change],
        losses: &[u64],
    ) -> Result<(), CatalogueError> {
        if let Some(open) = self.intent()? {
            return Err(CatalogueError::IntentOpen {
                sequence: open.sequence,
            });
        }
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO intent(one, sequence, sha256, entries, bytes) VALUES (1, ?1, ?2, ?3, ?4)",
            params![
                intent.sequence as i64,
                intent.sha256,
                intent.entries as i64,
                intent.bytes as i64
            ],
        )?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO change(action, root, path, origin, size, mtime, sha256, version, next)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            for change in changes {
                let (action, origin, version, next) = match &change.action {
                    Action::Added => (0, None, None, 0),
                    Action::Changed => (1, None, None, 0),
                    Action::FlagChanged { origin } => (2, Some(origin), None, 0),
                    Action::Removed => (3, None, None, 0),
                    Action::Part { version, next } => (4, None, Some(version), *next),
                };
                insert.execute(params![
                    action,
                    change.root.0,
                    change.path,
                    origin,
                    change.size_bytes as i64,
                    change.mtime_ns,
                    change.sha256,
                    version,
                    next as i64
                ])?;
            }
        }
        crate::kept::intend(&transaction, losses)?;
        Ok(transaction.commit()?)
    }

    /// Makes the intent's changes the known state and ends it, in one transaction. For when the spool holds the bundle.
    pub fn commit(&mut self) -> Result<Intent, CatalogueError> {
        let intent = self.intent()?.ok_or(CatalogueError::NoIntent)?;
        let transaction = self.connection.transaction()?;
        {
            let mut editor = Editor::new(&transaction, self.limit_bytes);
            for change in changes(&transaction)? {
                apply(&transaction, &mut editor, &change)?;
            }
            editor.flush()?;
        }
        crate::kept::keep(&transaction, intent.sequence, intent.sha256)?;
        transaction.execute("DELETE FROM change", [])?;
        transaction.execute("DELETE FROM reported", [])?;
        transaction.execute("DELETE FROM intent", [])?;
        transaction.execute(
            "UPDATE counter SET last_sequence = ?1, last_sha256 = ?2",
            params![intent.sequence as i64, intent.sha256],
        )?;
        transaction.commit()?;
        Ok(intent)
    }

    /// Ends the intent without effect. For when the spool never held the bundle.
    pub fn roll_back(&mut self) -> Result<(), CatalogueError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM change", [])?;
        transaction.execute("DELETE FROM reported", [])?;
        transaction.execute("DELETE FROM intent", [])?;
        Ok(transaction.commit()?)
    }
}

fn changes(connection: &Connection) -> Result<Vec<Change>, CatalogueError> {
    let mut query = connection.prepare_cached(
        "SELECT action, root, path, origin, size, mtime, sha256, version, next FROM change ORDER BY ordinal",
    )?;
    changes_of(query.query([])?)
}

/// Reads changes from rows with the columns of `change`.
pub(crate) fn changes_of(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Change>, CatalogueError> {
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let origin: Option<Vec<u8>> = row.get(3)?;
        let action = match (row.get::<_, i64>(0)?, origin, row.get(7)?) {
            (0, None, None) => Action::Added,
            (1, None, None) => Action::Changed,
            (2, Some(origin), None) => Action::FlagChanged { origin },
            (3, None, None) => Action::Removed,
            (4, None, Some(version)) => Action::Part {
                version,
                next: row.get::<_, i64>(8)?.unsigned_abs(),
            },
            _ => return Err(CatalogueError::Damaged { table: "change" }),
        };
        changes.push(Change {
            root: Directory(row.get(1)?),
            path: row.get(2)?,
            action,
            size_bytes: row.get::<_, i64>(4)?.unsigned_abs(),
            mtime_ns: row.get(5)?,
            sha256: row.get(6)?,
        });
    }
    Ok(changes)
}

fn apply(
    connection: &Connection,
    editor: &mut Editor<'_>,
    change: &Change,
) -> Result<(), CatalogueError> {
    let counted = match &change.action {
        Action::Part { version, next } => {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO progress(root, path, size, mtime, version, next, before)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    change.root.0,
                    change.path,
                    change.size_bytes as i64,
                    change.mtime_ns,
                    version,
                    *next as i64,
                    change.sha256
                ])?;
            0
        }
        Action::Added | Action::Changed => put(connection, editor, change)?,
        Action::FlagChanged { origin } => {
            let gone = i64::from(editor.take(change.root, origin)?);
            put(connection, editor, change)? - gone
        }
        Action::Removed => -i64::from(editor.take(change.root, &change.path)?),
    };
    if counted != 0 {
        connection
            .prepare_cached("UPDATE source SET files = files + ?2 WHERE root = ?1")?
            .execute(params![change.root.0, counted])?;
    }
    Ok(())
}

/// Enters the version of a file and returns by how many files the source has grown: 0 or 1.
pub(crate) fn put(
    connection: &Connection,
    editor: &mut Editor<'_>,
    change: &Change,
) -> Result<i64, CatalogueError> {
    let known = Known {
        name: split(&change.path).1.to_vec(),
        size_bytes: change.size_bytes,
        mtime_ns: change.mtime_ns,
        mark: mark(&change.sha256),
    };
    let new = editor.put(change.root, &change.path, known)?;
    connection
        .prepare_cached("DELETE FROM progress WHERE root = ?1 AND path = ?2")?
        .execute(params![change.root.0, change.path])?;
    Ok(i64::from(new))
}
