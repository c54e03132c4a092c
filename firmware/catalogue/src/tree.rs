//! The tree of known files over rows: finding, reading and changing parts.

use crate::subtree::{Depth, Subtree};
use crate::{Catalogue, CatalogueError, Directory, Known, components, next_directory, split};
use rusqlite::{Connection, OptionalExtension, params};

/// A blob beyond this is parted: its folder is opened, or its files are cut in two. Small enough that a change, which
/// writes one blob anew, stays cheap; large enough that a patient of ten years is one blob.
pub(crate) const LIMIT_BYTES: usize = 96 * 1024;

/// How a folder is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Unknown,
    /// Its folders are rows: [`Catalogue::children`], and its files [`Catalogue::files_within`].
    Open(Directory),
    /// It is in the part of this directory, whose path is so many bytes of its own.
    Within {
        directory: Directory,
        length: usize,
    },
}

/// A folder in an open one.
#[derive(Clone, PartialEq, Eq)]
pub struct Child {
    pub name: Vec<u8>,
    pub directory: Directory,
    pub open: bool,
}

const DAMAGED: CatalogueError = CatalogueError::Damaged { table: "part" };

impl Catalogue {
    /// How the folder at a path is kept (`/` between components, empty for the root).
    pub fn standing(&self, root: Directory, path: &[u8]) -> Result<Standing, CatalogueError> {
        Ok(match locate(&self.connection, root, path)? {
            Located {
                directory,
                open: true,
                rest: 0,
                ..
            } => Standing::Open(directory),
            Located { open: true, .. } => Standing::Unknown,
            Located {
                directory, length, ..
            } => Standing::Within { directory, length },
        })
    }

    /// The folders in an open folder, sorted by name.
    pub fn children(&self, parent: Directory) -> Result<Vec<Child>, CatalogueError> {
        let mut query = self.connection.prepare_cached(
            "SELECT name, id, open FROM directory WHERE parent = ?1 ORDER BY name",
        )?;
        let rows = query.query_map([parent.0], |row| {
            Ok(Child {
                name: row.get(0)?,
                directory: Directory(row.get(1)?),
                open: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The blob of all below a folder that is not open; [`Subtree::decode`] reads it.
    pub fn blob(&self, directory: Directory) -> Result<Vec<u8>, CatalogueError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT content FROM part WHERE directory = ?1 AND first = x''")?;
        Ok(query.query_row([directory.0], |row| row.get(0))?)
    }

    /// The known files of an open folder whose names are greater than `after` and not greater than `last` (`None`: to the
    /// end), sorted by name. `path` is the folder's.
    pub fn files_within(
        &self,
        directory: Directory,
        path: &[u8],
        after: &[u8],
        last: Option<&[u8]>,
    ) -> Result<Vec<Known>, CatalogueError> {
        let mut query = self.connection.prepare_cached(
            "SELECT content FROM part WHERE directory = ?1 AND (?3 IS NULL OR first <= ?3) AND first >=
             coalesce((SELECT max(first) FROM part WHERE directory = ?1 AND first <= ?2), x'') ORDER BY first",
        )?;
        let mut rows = query.query(params![directory.0, after, last])?;
        let mut files = Vec::new();
        while let Some(row) = rows.next()? {
            let blob = row.get_ref(0)?.as_blob().map_err(|_| DAMAGED)?;
            let part = Subtree::decode(path, blob, Depth::Files).ok_or(DAMAGED)?;
            files.extend(part.files.into_iter().filter(|file| {
                (file.name.as_slice() > after || after.is_empty())
                    && last.is_none_or(|last| file.name.as_slice() <= last)
            }));
        }
        Ok(files)
    }

    /// All that is known in the folder at a path, but for the folders of an open one.
    pub fn folder(&self, root: Directory, path: &[u8]) -> Result<Option<Subtree>, CatalogueError> {
        Ok(match self.standing(root, path)? {
            Standing::Unknown => None,
            Standing::Open(directory) => Some(Subtree {
                files: self.files_within(directory, path, b"", None)?,
                ..Subtree::default()
            }),
            Standing::Within { directory, length } => {
                let blob = self.blob(directory)?;
                let part = Subtree::decode(&path[..length], &blob, Depth::Files).ok_or(DAMAGED)?;
                part.at(&path[length..]).cloned()
            }
        })
    }

    /// The known files of the folder at a path, sorted by name.
    pub fn files(&self, root: Directory, path: &[u8]) -> Result<Vec<Known>, CatalogueError> {
        Ok(self
            .folder(root, path)?
            .map_or_else(Vec::new, |folder| folder.files))
    }

    /// Names of the known folders in the folder at a path, sorted.
    pub fn folders(&self, root: Directory, path: &[u8]) -> Result<Vec<Vec<u8>>, CatalogueError> {
        if let Standing::Open(directory) = self.standing(root, path)? {
            let children = self.children(directory)?;
            return Ok(children.into_iter().map(|child| child.name).collect());
        }
        let folder = self.folder(root, path)?.unwrap_or_default();
        Ok(folder.folders.into_iter().map(|(name, _)| name).collect())
    }

    /// The known version of one file.
    pub fn file(&self, root: Directory, path: &[u8]) -> Result<Option<Known>, CatalogueError> {
        let (folder, name) = split(path);
        match self.standing(root, folder)? {
            Standing::Unknown => Ok(None),
            // the part that would hold it: the one that begins at the name or before
            Standing::Open(directory) => {
                let blob: Option<Vec<u8>> = self
                    .connection
                    .prepare_cached("SELECT content FROM part WHERE directory = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1")?
                    .query_row(params![directory.0, name], |row| row.get(0))
                    .optional()?;
                let part = blob
                    .map(|blob| Subtree::decode(folder, &blob, Depth::Files).ok_or(DAMAGED))
                    .transpose()?;
                Ok(part.and_then(|part| part.file(name).cloned()))
            }
            Standing::Within { .. } => Ok(self
                .folder(root, folder)?
                .and_then(|folder| folder.file(name).cloned())),
        }
    }

    /// Notes the times of files that were written again with the content that is known. Where something else is known by now,
    /// nothing happens.
    pub fn rewritten(
        &mut self,
        root: Directory,
        files: &[(Vec<u8>, Known)],
    ) -> Result<(), CatalogueError> {
        let transaction = self.connection.transaction()?;
        let mut editor = Editor::new(&transaction, self.limit_bytes);
        for (path, file) in files {
            let content = (file.size_bytes, file.mark);
            if editor
                .known(root, path)?
                .is_some_and(|known| (known.size_bytes, known.mark) == content)
            {
                editor.put(root, path, file.clone())?;
            }
        }
        editor.flush()?;
        drop(editor);
        Ok(transaction.commit()?)
    }
}

/// Where a path ends among the rows.
struct Located {
    /// The last directory on the way that has a row.
    directory: Directory,
    open: bool,
    parent: Option<Directory>,
    /// Bytes of the path up to and with that directory.
    length: usize,
    /// Components of the path below it.
    rest: usize,
}

fn locate(
    connection: &Connection,
    root: Directory,
    path: &[u8],
) -> Result<Located, CatalogueError> {
    let mut at = Located {
        directory: root,
        open: true,
        parent: None,
        length: 0,
        rest: components(path).count(),
    };
    let mut query = connection
        .prepare_cached("SELECT id, open FROM directory WHERE parent = ?1 AND name = ?2")?;
    for name in components(path) {
        if !at.open {
            break;
        }
        let row = query
            .query_row(params![at.directory.0, name], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((id, open)) = row else { break };
        at = Located {
            directory: Directory(id),
            open,
            parent: Some(at.directory),
            length: at.length + name.len() + usize::from(at.length > 0),
            rest: at.rest - 1,
        };
    }
    Ok(at)
}

/// A part in memory, to be written when another one is needed.
struct Loaded {
    /// Row of the part; `None` for a new one.
    row: Option<i64>,
    directory: Directory,
    /// The row above, for a directory that is not open.
    parent: Option<Directory>,
    root: Directory,
    path: Vec<u8>,
    first: Vec<u8>,
    /// Of an open directory: the next part's first name.
    until: Option<Vec<u8>>,
    content: Subtree,
    dirty: bool,
}

impl Loaded {
    fn is_open(&self) -> bool {
        self.parent.is_none()
    }

    /// Whether the file at this path belongs into this part.
    fn holds(&self, root: Directory, folder: &[u8], name: &[u8]) -> bool {
        if self.root != root {
            return false;
        }
        if self.is_open() {
            return self.path == folder
                && name >= self.first.as_slice()
                && self
                    .until
                    .as_ref()
                    .is_none_or(|until| name < until.as_slice());
        }
        folder
            .strip_prefix(self.path.as_slice())
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

/// Changes parts within the caller's transaction. Changes in the order of the tree load and write each part once.
pub(crate) struct Editor<'c> {
    connection: &'c Connection,
    limit_bytes: usize,
    loaded: Option<Loaded>,
}

impl<'c> Editor<'c> {
    pub fn new(connection: &'c Connection, limit_bytes: usize) -> Self {
        Self {
            connection,
            limit_bytes,
            loaded: None,
        }
    }

    /// Enters the version of a file; says whether it is new.
    pub fn put(
        &mut self,
        root: Directory,
        path: &[u8],
        file: Known,
    ) -> Result<bool, CatalogueError> {
        let (folder, name) = split(path);
        self.load(root, folder, name)?;
        let Some(loaded) = &mut self.loaded else {
            return Err(DAMAGED);
        };
        let below: Vec<&[u8]> = components(&folder[loaded.path.len()..]).collect();
        loaded.dirty = true;
        Ok(loaded.content.put(&below, file))
    }

    /// The known version of a file.
    pub fn known(
        &mut self,
        root: Directory,
        path: &[u8],
    ) -> Result<Option<&Known>, CatalogueError> {
        let (folder, name) = split(path);
        self.load(root, folder, name)?;
        let Some(loaded) = &self.loaded else {
            return Err(DAMAGED);
        };
        let folder = loaded.content.at(&folder[loaded.path.len()..]);
        Ok(folder.and_then(|folder| folder.file(name)))
    }

    /// Removes a file and what it leaves empty; says whether it was there.
    pub fn take(&mut self, root: Directory, path: &[u8]) -> Result<bool, CatalogueError> {
        let (folder, name) = split(path);
        self.load(root, folder, name)?;
        let Some(loaded) = &mut self.loaded else {
            return Err(DAMAGED);
        };
        let below: Vec<&[u8]> = components(&folder[loaded.path.len()..]).collect();
        let removed = loaded.content.take(&below, name);
        loaded.dirty |= removed;
        Ok(removed)
    }

    /// Sets stamps of folders at or below `path`, which is not open; `stamps` have paths below it. Where the rows have
    /// changed meanwhile, nothing happens.
    pub fn stamp(
        &mut self,
        root: Directory,
        path: &[u8],
        stamps: &[(Vec<u8>, Option<crate::Stamp>)],
    ) -> Result<(), CatalogueError> {
        let at = locate(self.connection, root, path)?;
        if at.open || at.rest > 0 {
            return Ok(());
        }
        self.load(root, path, b"")?;
        if let Some(loaded) = &mut self.loaded {
            for (folder, stamp) in stamps {
                let below: Vec<&[u8]> = components(folder).collect();
                loaded.dirty |= loaded.content.set_stamp(&below, *stamp);
            }
        }
        Ok(())
    }

    fn load(&mut self, root: Directory, folder: &[u8], name: &[u8]) -> Result<(), CatalogueError> {
        if self
            .loaded
            .as_ref()
            .is_some_and(|loaded| loaded.holds(root, folder, name))
        {
            return Ok(());
        }
        self.flush()?;
        let at = locate(self.connection, root, folder)?;
        let loaded = if !at.open {
            self.closed(root, &folder[..at.length], at.directory, at.parent)?
        } else if at.rest == 0 {
            self.direct(root, folder, at.directory, name)?
        } else {
            // the first unknown folder on the way begins a part; its row is written with it
            let start = at.length + usize::from(at.length > 0);
            let next = components(&folder[start..]).next().unwrap_or_default();
            Loaded {
                row: None,
                directory: Directory(0),
                parent: Some(at.directory),
                root,
                path: folder[..start + next.len()].to_vec(),
                first: Vec::new(),
                until: None,
                content: Subtree::default(),
                dirty: false,
            }
        };
        self.loaded = Some(loaded);
        Ok(())
    }

    fn closed(
        &self,
        root: Directory,
        path: &[u8],
        directory: Directory,
        parent: Option<Directory>,
    ) -> Result<Loaded, CatalogueError> {
        let (row, blob): (i64, Vec<u8>) = self
            .connection
            .prepare_cached("SELECT id, content FROM part WHERE directory = ?1 AND first = x''")?
            .query_row([directory.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Loaded {
            row: Some(row),
            directory,
            parent,
            root,
            content: Subtree::decode(path, &blob, Depth::Files).ok_or(DAMAGED)?,
            path: path.to_vec(),
            first: Vec::new(),
            until: None,
            dirty: false,
        })
    }

    /// The part of an open directory that holds, or would hold, the file of this name.
    fn direct(
        &self,
        root: Directory,
        path: &[u8],
        directory: Directory,
        name: &[u8],
    ) -> Result<Loaded, CatalogueError> {
        let found: Option<(i64, Vec<u8>, Vec<u8>)> = self
            .connection
            .prepare_cached("SELECT id, first, content FROM part WHERE directory = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1")?
            .query_row(params![directory.0, name], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let until = self
            .connection
            .prepare_cached("SELECT min(first) FROM part WHERE directory = ?1 AND first > ?2")?
            .query_row(params![directory.0, name], |row| row.get(0))?;
        let (row, first, content) = match found {
            Some((row, first, blob)) => {
                let content = Subtree::decode(path, &blob, Depth::Files).ok_or(DAMAGED)?;
                (Some(row), first, content)
            }
            None => (None, Vec::new(), Subtree::default()),
        };
        Ok(Loaded {
            row,
            directory,
            parent: None,
            root,
            path: path.to_vec(),
            first,
            until,
            content,
            dirty: false,
        })
    }

    /// Writes the part in memory.
    pub fn flush(&mut self) -> Result<(), CatalogueError> {
        let Some(loaded) = self.loaded.take().filter(|loaded| loaded.dirty) else {
            return Ok(());
        };
        if loaded.content.is_empty() {
            return self.remove(&loaded);
        }
        match loaded.parent {
            None => self.write_direct(&loaded),
            Some(parent) => self.write_closed(loaded, parent),
        }
    }

    fn write_closed(&self, loaded: Loaded, parent: Directory) -> Result<(), CatalogueError> {
        let blob = loaded.content.encode(&loaded.path);
        match loaded.row {
            // a part that grew too large is parted, like a new one
            Some(row) if blob.len() > self.limit_bytes => {
                self.connection
                    .prepare_cached("DELETE FROM part WHERE id = ?1")?
                    .execute([row])?;
                self.connection
                    .prepare_cached("DELETE FROM directory WHERE id = ?1 AND parent = ?2")?
                    .execute([loaded.directory.0, parent.0])?;
                self.insert(parent, &loaded.path, loaded.content, blob)
            }
            Some(row) => {
                self.connection
                    .prepare_cached("UPDATE part SET content = ?2 WHERE id = ?1")?
                    .execute(params![row, blob])?;
                Ok(())
            }
            None => self.insert(parent, &loaded.path, loaded.content, blob),
        }
    }

    /// Enters a folder that has no row, parted as its size asks for.
    fn insert(
        &self,
        parent: Directory,
        path: &[u8],
        content: Subtree,
        blob: Vec<u8>,
    ) -> Result<(), CatalogueError> {
        let id = Directory(next_directory(self.connection)?);
        let open = blob.len() > self.limit_bytes;
        self.connection
            .prepare_cached(
                "INSERT INTO directory(parent, name, id, open) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![parent.0, split(path).1, id.0, open])?;
        if !open {
            return self.insert_part(id, b"", &blob);
        }
        drop(blob);
        self.insert_files(id, path, b"", content.files)?;
        for (name, below) in content.folders {
            let path = [path, b"/", &name].concat();
            let blob = below.encode(&path);
            self.insert(id, &path, below, blob)?;
        }
        Ok(())
    }

    /// Enters files of an open folder, in parts none of which is too large.
    fn insert_files(
        &self,
        directory: Directory,
        path: &[u8],
        first: &[u8],
        mut files: Vec<Known>,
    ) -> Result<(), CatalogueError> {
        if files.is_empty() {
            return Ok(());
        }
        let content = Subtree {
            files: std::mem::take(&mut files),
            ..Subtree::default()
        };
        let blob = content.encode(path);
        files = content.files;
        if blob.len() <= self.limit_bytes || files.len() < 2 {
            return self.insert_part(directory, first, &blob);
        }
        let upper = files.split_off(files.len() / 2);
        let middle = upper[0].name.clone();
        self.insert_files(directory, path, first, files)?;
        self.insert_files(directory, path, &middle, upper)
    }

    fn insert_part(
        &self,
        directory: Directory,
        first: &[u8],
        blob: &[u8],
    ) -> Result<(), CatalogueError> {
        self.connection
            .prepare_cached("INSERT INTO part(directory, first, content) VALUES (?1, ?2, ?3)")?
            .execute(params![directory.0, first, blob])?;
        Ok(())
    }

    fn write_direct(&self, loaded: &Loaded) -> Result<(), CatalogueError> {
        if let Some(row) = loaded.row {
            self.connection
                .prepare_cached("DELETE FROM part WHERE id = ?1")?
                .execute([row])?;
        }
        self.insert_files(
            loaded.directory,
            &loaded.path,
            &loaded.first,
            loaded.content.files.clone(),
        )
    }

    /// Removes an emptied part, and the directories that it leaves empty.
    fn remove(&self, loaded: &Loaded) -> Result<(), CatalogueError> {
        if let Some(row) = loaded.row {
            self.connection
                .prepare_cached("DELETE FROM part WHERE id = ?1")?
                .execute([row])?;
        }
        let mut path = loaded.path.as_slice();
        while !path.is_empty() {
            let at = locate(self.connection, loaded.root, path)?;
            if at.rest > 0 {
                // a folder that was never entered
                path = split(path).0;
                continue;
            }
            let used: bool = self
                .connection
                .prepare_cached(
                    "SELECT EXISTS(SELECT 1 FROM part WHERE directory = ?1) OR EXISTS(SELECT 1 FROM directory WHERE parent = ?1)",
                )?
                .query_row([at.directory.0], |row| row.get(0))?;
            let Some(parent) = at.parent.filter(|_| !used) else {
                break;
            };
            self.connection
                .prepare_cached("DELETE FROM directory WHERE parent = ?1 AND name = ?2")?
                .execute(params![parent.0, split(path).1])?;
            path = split(path).0;
        }
        Ok(())
    }
}
