//! Layout of the file. `user_version` is the schema's version, `application_id` says whose file it is.
//!
//! A path is stored as the number of its directory and its last name, so that a directory's listing is one range of
//! the primary key: one descent of the tree answers for all its files. `WITHOUT ROWID` keeps a row in the key's tree
//! alone. `missing` and `progress` hold whole paths: they are small, and often empty.

use crate::CatalogueError;
use rusqlite::Connection;
use std::path::Path;

/// Version of this layout. A file of a later version is refused: the box was rolled back over a migration.
const VERSION: i64 = 1;
/// "SMCT".
const APPLICATION: i64 = 0x534d_4354;

/// Memory for pages, in KiB. Upper levels of the tree at ten-year scale fit in it.
const CACHE_KIB: i64 = 16 * 1024;

const LAYOUT: &str = "
-- root: number of the root's directory. walk: number of the walk begun last. files: rows in file below the root.
CREATE TABLE source(name TEXT PRIMARY KEY, root INTEGER NOT NULL UNIQUE, walk INTEGER NOT NULL,
    files INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE directory(parent INTEGER NOT NULL, name BLOB NOT NULL, id INTEGER NOT NULL,
    PRIMARY KEY(parent, name)) WITHOUT ROWID;
-- mtime in nanoseconds since 1970, as the share gave it.
CREATE TABLE file(directory INTEGER NOT NULL, name BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    sha256 BLOB NOT NULL, PRIMARY KEY(directory, name)) WITHOUT ROWID;
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
