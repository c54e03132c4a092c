//! The hospital's share: opening a root, listing one folder, reading one file. Everything goes by descriptors below
//! the root; symbolic links are never followed, and no path leads out.

use bundle::Hasher;
use catalogue::{Digest, Seen};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// How a mounted share is told from the empty folder below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountRule {
    /// Another device than the folder that holds the mounts: on the box.
    OwnDevice,
    /// Any folder: where sources are plain folders, as in tests.
    AnyFolder,
}

/// What a failed call means for the collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is no longer there; normal between listing and opening.
    Gone,
    /// It exists, and this box may not open it now: rights, or a writer's lock.
    Locked,
    /// The share itself fails.
    Share(&'static str),
}

impl From<Errno> for Trouble {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR => Self::Gone,
            Errno::ACCESS
            | Errno::PERM
            | Errno::BUSY
            | Errno::TXTBSY
            | Errno::LOOP
            | Errno::XDEV
            | Errno::AGAIN => Self::Locked,
            Errno::STALE => Self::Share("the share's handle is stale"),
            Errno::TIMEDOUT | Errno::HOSTDOWN | Errno::HOSTUNREACH | Errno::NETUNREACH => {
                Self::Share("no answer")
            }
            Errno::NOTCONN
            | Errno::CONNRESET
            | Errno::CONNABORTED
            | Errno::CONNREFUSED
            | Errno::PIPE => Self::Share("the connection to the share is broken"),
            Errno::IO => Self::Share("input or output error"),
            _ => Self::Share("the share gives an unexpected error"),
        }
    }
}

/// An open root of a source.
pub struct Root {
    folder: OwnedFd,
    device: (u32, u32),
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);
const BELOW: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);
/// Size, times and kind; from the server, not from what the client remembers.
const FACTS: StatxFlags = StatxFlags::BASIC_STATS;

impl Root {
    /// Opens the root of a source, or says why it is missing.
    pub fn open(
        mounts: &Path,
        rule: MountRule,
        mount: &str,
        path: &Path,
    ) -> Result<Self, &'static str> {
        let reason = |error: Errno| match Trouble::from(error) {
            Trouble::Gone => "no such folder on the share",
            Trouble::Locked => "not readable",
            Trouble::Share(reason) => reason,
        };
        let below = rustix::fs::open(mounts, FOLDER, Mode::empty()).map_err(|_| "not mounted")?;
        let share = rustix::fs::openat(&below, mount, FOLDER, Mode::empty()).map_err(|error| {
            if Trouble::from(error) == Trouble::Gone {
                "not mounted"
            } else {
                reason(error)
            }
        })?;
        if rule == MountRule::OwnDevice {
            let (outer, inner) = (
                facts(&below, b"").map_err(reason)?,
                facts(&share, b"").map_err(reason)?,
            );
            if device(&outer) == device(&inner) {
                return Err("not mounted");
            }
        }
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let folder = rustix::fs::openat2(
            &share,
            path,
            FOLDER,
            Mode::empty(),
            BELOW | ResolveFlags::NO_XDEV,
        )
        .map_err(reason)?;
        let found = facts(&folder, b"").map_err(reason)?;
        Ok(Self {
            folder,
            device: device(&found),
        })
    }

    /// Whether it holds at least one entry.
    pub fn is_filled(&self) -> Result<bool, Trouble> {
        let mut filled = false;
        each_name(&self.folder, |_, _| filled = true)?;
        Ok(filled)
    }

    /// Says whether this is the same mount as another opening of the root.
    pub fn same_mount(&self, other: &Self) -> bool {
        self.device == other.device
    }

    /// Opens a folder below the root; the empty path is the root.
    pub fn folder(&self, path: &[u8]) -> Result<OwnedFd, Trouble> {
        let path = if path.is_empty() { b"." } else { path };
        Ok(rustix::fs::openat2(
            &self.folder,
            path,
            FOLDER,
            Mode::empty(),
            BELOW | ResolveFlags::NO_XDEV,
        )?)
    }

    /// Says whether a path below the root is certainly not there.
    pub fn is_gone(&self, path: &[u8]) -> Result<bool, Trouble> {
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat2(&self.folder, path, flags, Mode::empty(), BELOW) {
            Ok(_) => Ok(false),
            Err(error) => match Trouble::from(error) {
                Trouble::Gone => Ok(true),
                Trouble::Locked => Ok(false),
                share => Err(share),
            },
        }
    }
}

fn facts(at: impl AsFd, name: &[u8]) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    rustix::fs::statx(at, name, flags, FACTS)
}

fn device(facts: &Statx) -> (u32, u32) {
    (facts.stx_dev_major, facts.stx_dev_minor)
}

fn mtime_ns(facts: &Statx) -> i64 {
    facts
        .stx_mtime
        .tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(i64::from(facts.stx_mtime.tv_nsec))
}

/// One folder's entries.
#[derive(Default)]
pub struct Listing {
    /// Sorted by name.
    pub files: Vec<Seen>,
    /// Sorted.
    pub folders: Vec<Vec<u8>>,
    pub ignored: u64,
    pub alien: u64,
    pub unreadable: u64,
}

/// Lists a folder, with size and time of each file. An error means that nothing may be concluded from what was seen.
pub fn list(folder: &OwnedFd) -> Result<Listing, Trouble> {
    let mut listing = Listing::default();
    let mut names = Vec::new();
    each_name(folder, |name, kind| match (ssmix2::ignored(name), kind) {
        (Some(_), _) => listing.ignored += 1,
        (None, FileType::Directory) => listing.folders.push(name.to_vec()),
        (None, FileType::RegularFile | FileType::Unknown) => names.push(name.to_vec()),
        (None, _) => listing.alien += 1,
    })?;
    for name in names {
        match facts(folder, &name) {
            Ok(found) => match FileType::from_raw_mode(found.stx_mode.into()) {
                FileType::RegularFile => {
                    listing.files.push(Seen {
                        name,
                        size_bytes: found.stx_size,
                        mtime_ns: mtime_ns(&found),
                    });
                }
                FileType::Directory => listing.folders.push(name),
                _ => listing.alien += 1,
            },
            Err(error) => match Trouble::from(error) {
                Trouble::Gone => {}
                Trouble::Locked => listing.unreadable += 1,
                share => return Err(share),
            },
        }
    }
    listing.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    listing.folders.sort_unstable();
    Ok(listing)
}

fn each_name(folder: &OwnedFd, mut take: impl FnMut(&[u8], FileType)) -> Result<(), Errno> {
    // a descriptor of its own, so that each listing begins at the beginning
    let folder = rustix::fs::openat(folder, ".", FOLDER, Mode::empty())?;
    let mut buffer = vec![MaybeUninit::<u8>::uninit(); 32 * 1024];
    let mut entries = RawDir::new(&folder, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            take(name, entry.file_type());
        }
    }
    Ok(())
}

/// An open file of the version that a listing showed.
pub struct OpenFile {
    file: OwnedFd,
    seen: Seen,
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFault {
    /// It is not, or no longer, the version that the listing showed.
    Changed,
    Trouble(Trouble),
}

impl From<Errno> for ReadFault {
    fn from(error: Errno) -> Self {
        Self::Trouble(error.into())
    }
}

impl OpenFile {
    pub fn open(folder: &OwnedFd, seen: &Seen) -> Result<Self, ReadFault> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, seen.name.as_slice(), flags, Mode::empty())?;
        let open = Self {
            file,
            seen: seen.clone(),
        };
        open.check()?;
        Ok(open)
    }

    /// Asks the server again whether this is still the version that the listing showed.
    pub fn check(&self) -> Result<(), ReadFault> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
        let found = rustix::fs::statx(&self.file, "", flags, FACTS)?;
        let same = FileType::from_raw_mode(found.stx_mode.into()) == FileType::RegularFile
            && found.stx_size == self.seen.size_bytes
            && mtime_ns(&found) == self.seen.mtime_ns;
        if same {
            Ok(())
        } else {
            Err(ReadFault::Changed)
        }
    }

    /// Fills `buffer` with the bytes from `offset` on: `limit` of them, or to the file's end.
    pub fn read(&self, offset: u64, limit: usize, buffer: &mut Vec<u8>) -> Result<(), ReadFault> {
        buffer.resize(limit, 0);
        let mut filled = 0;
        while filled < limit {
            match rustix::io::pread(&self.file, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        buffer.truncate(filled);
        Ok(())
    }

    /// Hashes the first `length` bytes.
    pub fn hash(&self, length: u64, buffer: &mut Vec<u8>) -> Result<Hasher, ReadFault> {
        let mut hasher = Hasher::default();
        let mut offset = 0;
        while offset < length {
            let limit = (length - offset).min(PIECE) as usize;
            self.read(offset, limit, buffer)?;
            if buffer.len() != limit {
                return Err(ReadFault::Changed);
            }
            hasher.update(buffer);
            offset += limit as u64;
        }
        Ok(hasher)
    }

    /// Digest of the whole file, if it stayed the same meanwhile.
    pub fn digest(&self, buffer: &mut Vec<u8>) -> Result<Digest, ReadFault> {
        let digest = self.hash(self.seen.size_bytes, buffer)?.finish().0;
        self.check()?;
        Ok(digest)
    }
}

/// Bytes read at once while only hashing.
const PIECE: u64 = 1 << 20;
