//! Layout of the file. `user_version` is the schema's version, `application_id` says whose file it is.
//!
//! The tree above is in `directory`, one row a folder; what lies below a folder is one blob in `part`, until it grows
//! beyond a limit: then the folder is opened, its folders get rows of their own, and its own files stay in parts cut by
//! name. `missing` and `progress` hold whole paths: they are small, and often empty.

use crate::CatalogueError;
use rusqlite::Connection;
use std::path::Path;

/// Version of this layout. A file of another version is refused: an earlier one was never on a lent box, a later one
/// means that the box was rolled back over a migration.
const VERSION: i64 = 2;
/// "SMCT".
const APPLICATION: i64 = 0x534d_4354;

/// Memory for pages, in KiB. Upper levels of the tree at ten-year scale fit in it.
const CACHE_KIB: i64 = 24 * 1024;

/// Blobs of 2 to 100 KiB lie in pages of this size with little waste.
const PAGE_BYTES: i64 = 8192;

const LAYOUT: &str = "
-- root: number of the root's directory. files: known files below the root.
-- walk: number of the walk begun last; began: when, in seconds since 1970, or what finished says where the walk left
-- something for later; next: where it goes on, NULL once it ended;
-- whole: all its listings so far were whole; finished: began of the last walk that came to its end, 0 if none did.
-- agreed, moved, lied: what the times of the source's folders have shown, see [Honesty].
-- day, taken: old files taken on the day with this number since 1970.
CREATE TABLE source(name TEXT PRIMARY KEY, root INTEGER NOT NULL UNIQUE, files INTEGER NOT NULL,
    walk INTEGER NOT NULL, began INTEGER NOT NULL, next BLOB, whole INTEGER NOT NULL, finished INTEGER NOT NULL,
    agreed INTEGER NOT NULL, moved INTEGER NOT NULL, lied INTEGER NOT NULL,
    day INTEGER NOT NULL, taken INTEGER NOT NULL) WITHOUT ROWID;
-- open: its folders have rows here. Otherwise all below it is in its one part.
CREATE TABLE directory(parent INTEGER NOT NULL, name BLOB NOT NULL, id INTEGER NOT NULL, open INTEGER NOT NULL,
    PRIMARY KEY(parent, name)) WITHOUT ROWID;
-- first: of an open directory, no name in the part is less, and none of another part lies between; else empty.
CREATE TABLE part(id INTEGER PRIMARY KEY, directory INTEGER NOT NULL, first BLOB NOT NULL, content BLOB NOT NULL);
CREATE UNIQUE INDEX part_of ON part(directory, first);
-- Known files that a whole listing did not show: in which walk first, in which last.
CREATE TABLE missing(root INTEGER NOT NULL, path BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY(root, path)) WITHOUT ROWID;
-- Files sent in parts. version: its name in the parts; next: offset of the next part; before: digest of all before it.
CREATE TABLE progress(root INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    version BLOB NOT NULL, next INTEGER NOT NULL, before BLOB NOT NULL, PRIMARY KEY(root, path)) WITHOUT ROWID;
-- The intent: at most one row, and its changes.
CREATE TABLE intent(one INTEGER PRIMARY KEY CHECK(one = 1), sequence INTEGER NOT NULL, sha256 BLOB NOT NULL,
    entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE change(ordinal INTEGER PRIMARY KEY, action INTEGER NOT NULL, root INTEGER NOT NULL, path BLOB NOT NULL,
    origin BLOB, size INTEGER NOT NULL, mtime INTEGER NOT NULL, sha256 BLOB NOT NULL, version BLOB, next INTEGER NOT NULL);
-- One row. last_sequence, last_sha256: the bundle committed last.
CREATE TABLE counter(next_directory INTEGER NOT NULL, last_sequence INTEGER NOT NULL, last_sha256 BLOB NOT NULL);
INSERT INTO counter VALUES (1, 0, zeroblob(32));
";

pub fn open(path: &Path) -> Result<Connection, CatalogueError> {
    let mut connection = Connection::open(path)?;
    // Only a new file takes it.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    // Alone with the file: no shared memory file is needed beside it, and no other process can write.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Every commit is durable when it returns.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // The role sees no folder for temporary files.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    match (version, application) {
        (VERSION, APPLICATION) => {}
        (0, 0) => {
            let transaction = connection.transaction()?;
            transaction.execute_batch(LAYOUT)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
        _ => {
            return Err(CatalogueError::Version {
                found: version,
                known: VERSION,
            });
        }
    }
    connection.execute_batch(crate::kept::LAYOUT)?;
    Ok(connection)
}
