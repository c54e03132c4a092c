//! Lists, reads and hashes files and puts them into drafts: one thread of several, each with a draft of its own.
//!
//! 1. A file is taken only when size and time stamps are the same before and after it was read; one that changes is
//!    read again, and parts of the abandoned version are superseded by the new version's first.
//! 2. A file is opened below its open folder and through no link: what is swapped meanwhile leads nowhere else.
//! 3. The parts of a file are read by one thread, so that they are in bundles in their order.
//! 4. Memory: a draft, a buffer of one part, and the names in the folders on the way to where the thread is.

use super::pending::{Item, Kind, Pending};
use bundle::{
    Body, Closed, Draft, Entry, Event, PART_LIMIT_BYTES, Part, PathFault, PushError, Source,
    VersionId, Whole,
};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Attempts at a file that changes while it is read.
const ATTEMPTS: usize = 3;

/// Until so many files or bytes are read the first thread works alone, so that little makes one bundle.
const ALONE_FILES: u64 = 1024;
const ALONE_BYTES: u64 = 16 << 20;

/// For the entries of a folder, by many in one call.
const LISTING_BYTES: usize = 64 << 10;

/// From a reading thread to the one that seals.
pub enum Message {
    Closed(Closed),
    /// Something is not sealed. Does not name the file.
    Problem {
        source: usize,
        what: &'static str,
        why: String,
    },
    /// Nothing more comes from this thread.
    Failed(PushError),
}

/// What is read so far.
#[derive(Default)]
pub struct Counts {
    pub files: AtomicU64,
    pub bytes: AtomicU64,
}

/// What all reading threads share.
pub struct Common {
    pub pending: Pending,
    pub counts: Counts,
    pub rooms: Rooms,
    pub sources: Vec<Source>,
}

/// Memory of sealed drafts, for the next ones: the kernel would hand it out anew page by page.
#[derive(Default)]
pub struct Rooms(Mutex<Vec<Vec<u8>>>);

impl Rooms {
    pub fn give(&self, room: Vec<u8>) {
        self.lock().push(room);
    }

    fn take(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a file is left.
enum Left {
    Changed,
    Io(Errno),
    Path(PathFault),
    /// Nobody takes drafts any more.
    Gone,
}

impl From<Errno> for Left {
    fn from(error: Errno) -> Self {
        Self::Io(error)
    }
}

/// Reads until nothing is pending.
pub fn run(common: &Common, sender: SyncSender<Message>) {
    let draft = match Draft::new(common.sources.clone()) {
        Ok(draft) => draft,
        Err(error) => {
            let _ = sender.send(Message::Failed(error));
            return common.pending.end();
        }
    };
    let mut reader = Reader {
        common,
        drafts: Drafts {
            common,
            draft,
            sender,
        },
        stack: Vec::new(),
        listing: vec![MaybeUninit::uninit(); LISTING_BYTES],
        buffer: vec![0; PART_LIMIT_BYTES as usize + 1],
    };
    // the other side tells what went wrong
    let _ = reader.read_all();
}

struct Reader<'a> {
    common: &'a Common,
    drafts: Drafts<'a>,
    stack: Vec<Item>,
    listing: Vec<MaybeUninit<u8>>,
    buffer: Vec<u8>,
}

impl Drop for Reader<'_> {
    /// Ended, given up or panicked: none of the others may wait for this one.
    fn drop(&mut self) {
        self.common.pending.end();
    }
}

impl Reader<'_> {
    fn read_all(&mut self) -> Result<(), Left> {
        while let Some(items) = self.common.pending.take() {
            self.stack = items;
            while let Some(item) = self.stack.pop() {
                if self.stack.len() > 1 && self.common.pending.is_hungry() && self.is_much() {
                    let half = self.stack.len() / 2;
                    self.common.pending.give(self.stack.drain(..half));
                }
                match item.kind {
                    Kind::File => self.file(&item)?,
                    Kind::Folder => {
                        let first = self.stack.len();
                        if let Err(error) = self.list(&item) {
                            self.stack.truncate(first);
                            self.problem(&item, "a folder cannot be listed", error.to_string())?;
                        }
                    }
                    Kind::Other => {
                        let why = "only regular files and folders are sealed".to_owned();
                        self.problem(&item, "an entry is skipped", why)?;
                    }
                }
            }
        }
        self.drafts.close()
    }

    fn is_much(&self) -> bool {
        let Counts { files, bytes } = &self.common.counts;
        files.load(Ordering::Relaxed) >= ALONE_FILES || bytes.load(Ordering::Relaxed) >= ALONE_BYTES
    }

    fn problem(&self, item: &Item, what: &'static str, why: String) -> Result<(), Left> {
        let source = item.source;
        self.drafts.send(Message::Problem { source, what, why })
    }

    /// Puts the entries of a folder on the stack, sorted, so that neighbours are compressed together.
    fn list(&mut self, item: &Item) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&item.parent, item.name(), flags, Mode::empty())?;
        let folder = Arc::new(folder);
        let first = self.stack.len();
        let mut entries = RawDir::new(&folder, &mut self.listing);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => kind_of(&folder, name)?,
                kind => kind,
            };
            let mut path = Vec::with_capacity(item.path.len() + 1 + name.len());
            if !item.path.is_empty() {
                path.extend_from_slice(&item.path);
                path.push(b'/');
            }
            let name_at = path.len();
            path.extend_from_slice(name);
            self.stack.push(Item {
                source: item.source,
                parent: Arc::clone(&folder),
                path,
                name_at,
                kind: match kind {
                    FileType::RegularFile => Kind::File,
                    FileType::Directory => Kind::Folder,
                    _ => Kind::Other,
                },
            });
        }
        // the last is taken first
        self.stack[first..].sort_unstable_by(|a, b| b.path.cmp(&a.path));
        Ok(())
    }

    fn file(&mut self, item: &Item) -> Result<(), Left> {
        for _ in 0..ATTEMPTS {
            match self.attempt(item) {
                Ok(()) => {
                    self.common.counts.files.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(Left::Changed) => {}
                Err(Left::Io(error)) => {
                    return self.problem(item, "a file cannot be read", error.to_string());
                }
                Err(Left::Path(fault)) => {
                    let what = "a file is not sealed, because its path cannot be in a bundle";
                    return self.problem(item, what, fault.to_string());
                }
                Err(Left::Gone) => return Err(Left::Gone),
            }
        }
        let why = "it changed each time that it was read; seal again later".to_owned();
        self.problem(item, "a file is not sealed", why)
    }

    fn attempt(&mut self, item: &Item) -> Result<(), Left> {
        // without waiting on a pipe that took the file's place
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&item.parent, item.name(), flags, Mode::empty())?;
        let before = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
            return Err(Left::Changed);
        }
        if before.st_size as u64 > PART_LIMIT_BYTES {
            return self.parts(item, &file, &before);
        }
        // one byte more than there is: a read that does not fill it has come to the end
        let room = before.st_size as usize + 1;
        let length = fill(&file, &mut self.buffer[..room], before.st_size as usize)?;
        check_same(&file, &before, length)?;
        let body = Body::new(&self.buffer[..length], Some(before.st_mtime), None);
        self.drafts.push(item, body, length)
    }

    fn parts(&mut self, item: &Item, file: &OwnedFd, before: &Stat) -> Result<(), Left> {
        let total = before.st_size as u64;
        let version = version_of(before);
        let mut whole = Whole::default();
        let mut offset = 0;
        while offset < total {
            let size = PART_LIMIT_BYTES.min(total - offset) as usize;
            if fill(file, &mut self.buffer[..size], size)? != size {
                return Err(Left::Changed);
            }
            let content = &self.buffer[..size];
            let part = Part {
                version,
                total,
                offset,
                whole: None,
            };
            let body = Body::of_part(content, Some(before.st_mtime), part, &mut whole);
            if offset + size as u64 == total {
                check_same(file, before, total as usize)?;
            }
            self.drafts.push(item, body, size)?;
            offset += size as u64;
        }
        Ok(())
    }
}

/// Where a thread's files go.
struct Drafts<'a> {
    common: &'a Common,
    draft: Draft,
    sender: SyncSender<Message>,
}

impl Drafts<'_> {
    fn send(&self, message: Message) -> Result<(), Left> {
        self.sender.send(message).map_err(|_| Left::Gone)
    }

    fn fail(&self, error: PushError) -> Left {
        match self.send(Message::Failed(error)) {
            Ok(()) => Left::Gone,
            Err(left) => left,
        }
    }

    fn push(&mut self, item: &Item, body: Body<'_>, bytes: usize) -> Result<(), Left> {
        let entry = Entry {
            source: item.source,
            path: &item.path,
            event: Event::Added(body),
        };
        let mut pushed = self.draft.push(&entry);
        if let Err(PushError::Full) = pushed {
            self.close()?;
            pushed = self.draft.push(&entry);
        }
        match pushed {
            Ok(()) => {
                let counts = &self.common.counts.bytes;
                counts.fetch_add(bytes as u64, Ordering::Relaxed);
                Ok(())
            }
            Err(PushError::Path(fault)) => Err(Left::Path(fault)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Hands over the draft, if anything is in it, and begins the next.
    fn close(&mut self) -> Result<(), Left> {
        if self.draft.is_empty() {
            return Ok(());
        }
        let closed = match self.draft.close_and_begin() {
            Ok(closed) => closed,
            Err(error) => return Err(self.fail(error)),
        };
        self.send(Message::Closed(closed))?;
        // only now: while it waited, the others had the use of it
        self.draft.set_room(self.common.rooms.take());
        Ok(())
    }
}

/// Reads until the buffer is full, the file ends, or `enough` bytes came from one read that could have brought more.
fn fill(file: &OwnedFd, buffer: &mut [u8], enough: usize) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::retry_on_intr(|| rustix::io::read(file, &mut buffer[filled..]))? {
            0 => break,
            length => filled += length,
        }
        if filled == enough {
            break;
        }
    }
    Ok(filled)
}

fn kind_of(folder: &OwnedFd, name: &[u8]) -> Result<FileType, Errno> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// Checks that a file is as it was before and that all of it was read.
fn check_same(file: &OwnedFd, before: &Stat, read: usize) -> Result<(), Left> {
    let after = rustix::fs::fstat(file)?;
    let facts = |stat: &Stat| {
        let Stat {
            st_size,
            st_mtime,
            st_mtime_nsec,
            st_ctime,
            st_ctime_nsec,
            ..
        } = *stat;
        (st_size, st_mtime, st_mtime_nsec, st_ctime, st_ctime_nsec)
    };
    if facts(before) == facts(&after) && before.st_size as usize == read {
        Ok(())
    } else {
        Err(Left::Changed)
    }
}

fn version_of(stat: &Stat) -> VersionId {
    VersionId::of(&[
        stat.st_ino,
        stat.st_size as u64,
        stat.st_mtime as u64,
        stat.st_mtime_nsec,
        stat.st_ctime as u64,
        stat.st_ctime_nsec,
    ])
}
