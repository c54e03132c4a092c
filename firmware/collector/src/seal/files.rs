//! Lists, reads and hashes the files of folders, in batches, for one other thread to seal.
//!
//! Every folder is read sorted, so that the same store makes the same manifest. A file that changes while it is read is
//! read again; parts of the abandoned version are superseded by the new version's first.

use bundle::{Body, Hasher, PART_LIMIT_BYTES, Part, VersionId};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;

/// A batch is handed over when it holds this much, so that the threads seldom wait for each other.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_ITEMS: usize = 512;

/// Attempts at a file that changes while it is read.
const ATTEMPTS: usize = 3;

pub struct Item {
    pub source: usize,
    pub path: Vec<u8>,
    pub body: Body<'static>,
    pub bytes: u64,
    /// Whether this is a whole file or the last part of one.
    pub ends_file: bool,
}

/// Something that was not read. Does not name the file.
pub struct Problem {
    pub source: usize,
    pub what: &'static str,
    pub error: io::Error,
}

#[derive(Default)]
pub struct Batch {
    pub items: Vec<Item>,
    pub problems: Vec<Problem>,
    bytes: u64,
}

/// The other thread has given up.
struct Gone;

/// Reads all folders; a folder's index is its source's.
pub fn read_all(folders: &[PathBuf], sender: &SyncSender<Batch>) {
    let mut reader = Reader {
        sender,
        batch: Batch::default(),
        source: 0,
    };
    for (source, folder) in folders.iter().enumerate() {
        reader.source = source;
        if reader.folder(folder).is_err() {
            return;
        }
    }
    let _ = reader.hand_over();
}

struct Reader<'a> {
    sender: &'a SyncSender<Batch>,
    batch: Batch,
    source: usize,
}

impl Reader<'_> {
    /// Walks depth first with a stack of its own, so that no depth of folders can exhaust the thread's.
    fn folder(&mut self, root: &Path) -> Result<(), Gone> {
        let mut pending: Vec<(Vec<u8>, PathBuf, Kind)> =
            vec![(Vec::new(), root.to_owned(), Kind::Folder)];
        while let Some((below, path, kind)) = pending.pop() {
            match kind {
                Kind::File => self.file(below, &path)?,
                Kind::Folder => match list(&path, &below) {
                    Ok(entries) => pending.extend(entries.into_iter().rev()),
                    Err(error) => self.problem("a folder cannot be listed", error)?,
                },
                Kind::Other => {
                    let error = io::Error::other("only regular files and folders are sealed");
                    self.problem("an entry is skipped", error)?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, below: Vec<u8>, path: &Path) -> Result<(), Gone> {
        for _ in 0..ATTEMPTS {
            match self.attempt(&below, path)? {
                Ok(Outcome::Whole) => return Ok(()),
                Ok(Outcome::Changed) => {}
                Err(error) => return self.problem("a file cannot be read", error),
            }
        }
        self.problem(
            "a file is not sealed",
            io::Error::other("it changed each time that it was read"),
        )
    }

    fn attempt(&mut self, below: &[u8], path: &Path) -> Result<io::Result<Outcome>, Gone> {
        let mut file = match open(path) {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        let before = match file.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return Ok(Err(error)),
        };
        if before.len() > PART_LIMIT_BYTES {
            return self.parts(below, &mut file, &before);
        }
        let mut content = Vec::with_capacity(before.len() as usize + 1);
        let read = Read::by_ref(&mut file)
            .take(PART_LIMIT_BYTES + 1)
            .read_to_end(&mut content);
        let unchanged =
            read.and_then(|_| Ok(is_same(&before, &file.metadata()?, content.len() as u64)));
        match unchanged {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(Outcome::Changed)),
            Err(error) => return Ok(Err(error)),
        }
        self.item(below, content, &before, None, true)?;
        Ok(Ok(Outcome::Whole))
    }

    fn parts(
        &mut self,
        below: &[u8],
        file: &mut File,
        before: &Metadata,
    ) -> Result<io::Result<Outcome>, Gone> {
        let total = before.len();
        let version = version_of(before);
        let mut hasher = Hasher::default();
        let mut offset = 0;
        while offset < total {
            let size = PART_LIMIT_BYTES.min(total - offset);
            let mut content = vec![0; size as usize];
            if let Err(error) = file.read_exact(&mut content) {
                return Ok(match error.kind() {
                    io::ErrorKind::UnexpectedEof => Ok(Outcome::Changed),
                    _ => Err(error),
                });
            }
            hasher.update(&content);
            let last = offset + size == total;
            if last {
                match file.metadata() {
                    Ok(after) if is_same(before, &after, total) => {}
                    Ok(_) => return Ok(Ok(Outcome::Changed)),
                    Err(error) => return Ok(Err(error)),
                }
            }
            let whole = last.then(|| hasher.clone().finish());
            let part = Part {
                version,
                total,
                offset,
                whole,
            };
            self.item(below, content, before, Some(part), last)?;
            offset += size;
        }
        Ok(Ok(Outcome::Whole))
    }

    fn item(
        &mut self,
        below: &[u8],
        content: Vec<u8>,
        metadata: &Metadata,
        part: Option<Part>,
        ends_file: bool,
    ) -> Result<(), Gone> {
        let bytes = content.len() as u64;
        let body = Body::new(content, Some(metadata.mtime()), part);
        self.batch.items.push(Item {
            source: self.source,
            path: below.to_vec(),
            body,
            bytes,
            ends_file,
        });
        self.batch.bytes += bytes;
        if self.batch.bytes >= BATCH_BYTES || self.batch.items.len() >= BATCH_ITEMS {
            return self.hand_over();
        }
        Ok(())
    }

    fn problem(&mut self, what: &'static str, error: io::Error) -> Result<(), Gone> {
        self.batch.problems.push(Problem {
            source: self.source,
            what,
            error,
        });
        self.hand_over()
    }

    fn hand_over(&mut self) -> Result<(), Gone> {
        self.sender
            .send(std::mem::take(&mut self.batch))
            .map_err(|_| Gone)
    }
}

enum Outcome {
    Whole,
    Changed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Other,
}

/// The entries of a folder, sorted by the bytes of their names.
fn list(folder: &Path, below: &[u8]) -> io::Result<Vec<(Vec<u8>, PathBuf, Kind)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let kind = match (kind.is_file(), kind.is_dir()) {
            (true, _) => Kind::File,
            (_, true) => Kind::Folder,
            _ => Kind::Other,
        };
        let mut path = below.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(entry.file_name().as_bytes());
        entries.push((path, entry.path(), kind));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// Opens without following a link that took the file's place, and without waiting on a pipe.
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

fn is_same(before: &Metadata, after: &Metadata, read: u64) -> bool {
    let facts = |m: &Metadata| {
        (
            m.len(),
            m.mtime(),
            m.mtime_nsec(),
            m.ctime(),
            m.ctime_nsec(),
        )
    };
    before.is_file() && facts(before) == facts(after) && before.len() == read
}

fn version_of(metadata: &Metadata) -> VersionId {
    VersionId::of(&[
        metadata.ino(),
        metadata.len(),
        metadata.mtime() as u64,
        metadata.mtime_nsec() as u64,
        metadata.ctime() as u64,
        metadata.ctime_nsec() as u64,
    ])
}
