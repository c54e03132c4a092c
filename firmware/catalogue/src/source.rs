//! Sources: how far the walk over each has come, and what its folders' times are worth.

use crate::tree::Editor;
use crate::{Catalogue, CatalogueError, Directory, Stamp, next_directory};
use rusqlite::{OptionalExtension, params};

/// One collected root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub root: Directory,
    /// Files whose newest version was sent and that were not reported as removed.
    pub files: u64,
    /// Number of the walk that was begun last.
    pub walk: u64,
    /// When it was begun, in seconds since 1970; see [`Catalogue::keep_due`].
    pub began: u64,
    /// All its listings so far were whole.
    pub whole: bool,
    /// When the last walk was begun that came to its end.
    pub finished: Option<u64>,
    pub honesty: Honesty,
    pub quota: Quota,
}

/// What the times of a source's folders have shown so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Honesty {
    /// Folders whose time was as before, and whose listing was too.
    pub agreed: u64,
    /// Folders whose listing had changed, and whose time too.
    pub moved: u64,
    /// A folder's listing had changed, and its time had not.
    pub lied: bool,
}

/// Old files taken on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Days since 1970.
    pub day: u64,
    pub taken: u64,
}

/// Stamps of folders at or below a folder.
pub struct Stamps {
    pub path: Vec<u8>,
    /// Path below it, stamp to set.
    pub folders: Vec<(Vec<u8>, Option<Stamp>)>,
}

impl Catalogue {
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
                    "INSERT INTO source VALUES (?1, ?2, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0)",
                    params![name, root],
                )?;
                root
            }
        };
        transaction.commit()?;
        self.source_of(Directory(root))
    }

    /// What is known of a root.
    pub fn source_of(&self, root: Directory) -> Result<Source, CatalogueError> {
        let mut query = self.connection.prepare_cached(
            "SELECT files, walk, began, whole, finished, agreed, moved, lied, day, taken FROM source WHERE root = ?1",
        )?;
        let source = query.query_row([root.0], |row| {
            let number = |column| {
                row.get::<_, i64>(column)
                    .map(|value| value.max(0).unsigned_abs())
            };
            Ok(Source {
                root,
                files: number(0)?,
                walk: number(1)?,
                began: number(2)?,
                whole: row.get(3)?,
                finished: Some(number(4)?).filter(|&time| time > 0),
                honesty: Honesty {
                    agreed: number(5)?,
                    moved: number(6)?,
                    lied: row.get(7)?,
                },
                quota: Quota {
                    day: number(8)?,
                    taken: number(9)?,
                },
            })
        })?;
        Ok(source)
    }

    /// Files known in this root.
    pub fn files_of(&self, root: Directory) -> Result<u64, CatalogueError> {
        Ok(self.source_of(root)?.files)
    }

    /// Begins a walk over a root and returns its number.
    pub fn begin_walk(&mut self, root: Directory, now: u64) -> Result<u64, CatalogueError> {
        self.connection
            .prepare_cached("UPDATE source SET walk = walk + 1, began = ?2, next = x'', whole = 1 WHERE root = ?1")?
            .execute(params![root.0, now as i64])?;
        Ok(self.source_of(root)?.walk)
    }

    /// Where the walk begun last goes on; `None` if it ended.
    pub fn next(&self, root: Directory) -> Result<Option<Vec<u8>>, CatalogueError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT next FROM source WHERE root = ?1")?;
        Ok(query.query_row([root.0], |row| row.get(0))?)
    }

    /// Remembers how far a walk has come and what it saw, in one transaction.
    pub fn checkpoint(
        &mut self,
        root: Directory,
        next: &[u8],
        whole: bool,
        honesty: Honesty,
        stamps: &[Stamps],
    ) -> Result<(), CatalogueError> {
        let transaction = self.connection.transaction()?;
        let mut editor = Editor::new(&transaction, self.limit_bytes);
        for stamps in stamps {
            editor.stamp(root, &stamps.path, &stamps.folders)?;
        }
        editor.flush()?;
        transaction
            .prepare_cached("UPDATE source SET next = ?2, whole = ?3, agreed = ?4, moved = ?5, lied = ?6 WHERE root = ?1")?
            .execute(params![
                root.0,
                next,
                whole,
                honesty.agreed as i64,
                honesty.moved as i64,
                honesty.lied
            ])?;
        Ok(transaction.commit()?)
    }

    /// What the walk leaves for later stays due: for the rolling look it counts as begun when the one before it was.
    pub fn keep_due(&mut self, root: Directory) -> Result<(), CatalogueError> {
        self.connection
            .prepare_cached("UPDATE source SET began = finished WHERE root = ?1")?
            .execute([root.0])?;
        Ok(())
    }

    /// Remembers what the times of a root's folders have shown.
    pub fn set_honesty(&mut self, root: Directory, honesty: Honesty) -> Result<(), CatalogueError> {
        self.connection
            .prepare_cached("UPDATE source SET agreed = ?2, moved = ?3, lied = ?4 WHERE root = ?1")?
            .execute(params![
                root.0,
                honesty.agreed as i64,
                honesty.moved as i64,
                honesty.lied
            ])?;
        Ok(())
    }

    /// Counts old files taken.
    pub fn set_quota(&mut self, root: Directory, quota: Quota) -> Result<(), CatalogueError> {
        self.connection
            .prepare_cached("UPDATE source SET day = ?2, taken = ?3 WHERE root = ?1")?
            .execute(params![root.0, quota.day as i64, quota.taken as i64])?;
        Ok(())
    }
}
