//! Known files that listings did not show. A file counts as removed only when two walks in a row missed it.

use crate::{Catalogue, CatalogueError, Directory};
use rusqlite::params;

impl Catalogue {
    /// Notes that this walk's whole listings did not show these files.
    pub fn note_missing(
        &mut self,
        root: Directory,
        walk: u64,
        paths: &[Vec<u8>],
    ) -> Result<(), CatalogueError> {
        let transaction = self.connection.transaction()?;
        {
            let mut note = transaction.prepare_cached(
                "INSERT INTO missing(root, path, first, last) VALUES (?1, ?2, ?3, ?3)
                 ON CONFLICT(root, path) DO UPDATE SET last = ?3",
            )?;
            for path in paths {
                note.execute(params![root.0, path, walk as i64])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Ends a walk that saw everything: what it did not miss is there again. Returns how many files it missed.
    pub fn end_whole_walk(&mut self, root: Directory, walk: u64) -> Result<u64, CatalogueError> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "DELETE FROM missing WHERE root = ?1 AND last <> ?2",
            params![root.0, walk as i64],
        )?;
        transaction.execute(
            "UPDATE source SET next = NULL, finished = began WHERE root = ?1",
            [root.0],
        )?;
        let count: i64 = transaction.query_row(
            "SELECT count(*) FROM missing WHERE root = ?1",
            [root.0],
            |row| row.get(0),
        )?;
        transaction.commit()?;
        Ok(count.unsigned_abs())
    }

    /// Nothing may be concluded from the walk: the count of walks in a row starts anew. `complete`: it came to its end,
    /// though some listings failed. Otherwise it can go on where it was remembered last.
    pub fn forget_missing(
        &mut self,
        root: Directory,
        complete: bool,
    ) -> Result<(), CatalogueError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM missing WHERE root = ?1", [root.0])?;
        transaction.execute(
            "UPDATE source SET next = CASE WHEN ?2 THEN NULL ELSE next END, whole = 0,
                 finished = CASE WHEN ?2 THEN began ELSE finished END WHERE root = ?1",
            params![root.0, complete],
        )?;
        Ok(transaction.commit()?)
    }

    /// Files that were missed by this walk and by an earlier one, sorted, at most `limit`, those after `after` only.
    pub fn twice_missing(
        &self,
        root: Directory,
        walk: u64,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, CatalogueError> {
        let mut query = self.connection.prepare_cached(
            "SELECT path FROM missing WHERE root = ?1 AND path > ?2 AND last = ?3 AND first < ?3
             ORDER BY path LIMIT ?4",
        )?;
        let rows = query.query_map(params![root.0, after, walk as i64, limit as i64], |row| {
            row.get(0)
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
