//! The hospital's share: opening a root, listing one folder, reading one file. Everything goes by descriptors below
//! the root; symbolic links are never followed, and no path leads out.

use bundle::Hasher;
use catalogue::{Digest, Known, Seen};
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
    /// It exists, and this box cannot open it now: rights, a writer's lock, or a path longer than the kernel takes.
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
            | Errno::NAMETOOLONG
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

/// How files of a share are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Usual,
    /// Past the page cache: the only way to tell an NFS server that we want no delegation. With one, whoever writes,
    /// renames or removes the file at the server waits until we gave it back, and if we are gone, for the 90 s of a lease.
    Direct,
}

/// `NFS_SUPER_MAGIC` of `linux/magic.h`.
const NFS: rustix::fs::FsWord = 0x6969;

/// An open root of a source.
pub struct Root {
    folder: OwnedFd,
    device: (u32, u32),
    reading: Reading,
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
        let system = rustix::fs::fstatfs(&folder).map_err(reason)?;
        Ok(Self {
            folder,
            device: device(&found),
            reading: if system.f_type == NFS {
                Reading::Direct
            } else {
                Reading::Usual
            },
        })
    }

    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// Whether it holds at least one entry.
    pub fn is_filled(&self) -> Result<bool, Trouble> {
        // a descriptor of its own, so that the listing begins at the beginning
        let folder = rustix::fs::openat(&self.folder, ".", FOLDER, Mode::empty())?;
        let mut filled = false;
        each_name(&folder, &mut Vec::new(), |_, _| filled = true)?;
        Ok(filled)
    }

    /// Says whether this is the same mount as another opening of the root.
    pub fn same_mount(&self, other: &Self) -> bool {
        self.device == other.device
    }

    /// Opens a folder below the root; the empty path is the root.
    pub fn folder(&self, path: &[u8]) -> Result<OwnedFd, Trouble> {
        below(&self.folder, path)
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

/// Opens a folder at a path below another one; the empty path is that folder itself.
pub fn below(folder: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Trouble> {
    let path = if path.is_empty() { b"." } else { path };
    Ok(rustix::fs::openat2(
        folder,
        path,
        FOLDER,
        Mode::empty(),
        BELOW | ResolveFlags::NO_XDEV,
    )?)
}

/// Whether a time may come from what the client remembers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    Remembered,
    FromServer,
}

/// Time of the folder at a path below another one, in nanoseconds since 1970; the empty path is that folder itself. A link
/// in the middle of the path would be followed here, so this answers only whether a listing can be spared: nothing is
/// opened or read by it.
pub fn folder_time(folder: &OwnedFd, path: &[u8], fresh: Fresh) -> Result<i64, Trouble> {
    let mut flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
    if fresh == Fresh::FromServer {
        flags |= AtFlags::STATX_FORCE_SYNC;
    }
    let found = rustix::fs::statx(folder, path, flags, StatxFlags::MTIME | StatxFlags::TYPE)?;
    match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::Directory => Ok(mtime_ns(&found)),
        _ => Err(Trouble::Gone),
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

/// Names of one folder's entries, or of a piece of them.
#[derive(Default)]
pub struct Names {
    /// Sorted.
    pub files: Vec<Vec<u8>>,
    /// Sorted.
    pub folders: Vec<Vec<u8>>,
    pub ignored: u64,
    pub alien: u64,
    pub unreadable: u64,
    /// Greatest name of the piece, where the folder has more.
    pub last: Option<Vec<u8>>,
}

/// One folder's entries.
#[derive(Default)]
pub struct Listing {
    /// Sorted by name.
    pub files: Vec<Seen>,
    pub unreadable: u64,
    /// Files that the share was asked about.
    pub asked: u64,
}

/// Entries of a folder that are in memory at a time. One of a million is read in pieces of so many names, each
/// piece by a pass over the whole folder.
pub const PIECE: usize = 1 << 16;

/// Room for the kernel's answer to one question for names.
pub type Buffer = Vec<MaybeUninit<u8>>;
const BUFFER_BYTES: usize = 32 * 1024;

/// Names in a folder that are greater than `after`: all of them, or the first [`PIECE`]. The descriptor must not have been
/// listed before. An error means that nothing may be concluded from what was seen.
pub fn names(folder: &OwnedFd, after: &[u8], buffer: &mut Buffer) -> Result<Names, Trouble> {
    names_in_pieces_of(PIECE, folder, after, buffer)
}

fn names_in_pieces_of(
    piece: usize,
    folder: &OwnedFd,
    after: &[u8],
    buffer: &mut Buffer,
) -> Result<Names, Trouble> {
    let mut names = Names::default();
    let mut entries: Vec<(Vec<u8>, FileType)> = Vec::new();
    let mut bound: Option<Vec<u8>> = None;
    each_name(folder, buffer, |name, kind| {
        if !after.is_empty() && name <= after {
            return;
        }
        match (ssmix2::ignored(name), kind) {
            (Some(_), _) => names.ignored += 1,
            (None, FileType::Directory | FileType::RegularFile | FileType::Unknown) => {
                if bound.as_ref().is_some_and(|bound| name > bound.as_slice()) {
                    return;
                }
                entries.push((name.to_vec(), kind));
                if entries.len() >= 2 * piece {
                    entries.select_nth_unstable_by(piece - 1, |a, b| a.0.cmp(&b.0));
                    entries.truncate(piece);
                    bound = entries.last().map(|(name, _)| name.clone());
                }
            }
            (None, _) => names.alien += 1,
        }
    })?;
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    if entries.len() > piece || bound.is_some() {
        entries.truncate(piece);
        let stem = |name: &[u8]| ssmix2::Flagged::parse(name).map(|flagged| flagged.stem.to_vec());
        // names that differ in the flag alone stay together, so that a renaming is seen
        if let Some(split) = entries.last().and_then(|(last, _)| stem(last)) {
            let kept = entries.partition_point(|(name, _)| name.as_slice() < split.as_slice());
            if kept > 0 {
                entries.truncate(kept);
            }
        }
        names.last = entries.last().map(|(name, _)| name.clone());
    }
    for (name, kind) in entries {
        let kind = match kind {
            FileType::Unknown => match facts(folder, &name) {
                Ok(found) => FileType::from_raw_mode(found.stx_mode.into()),
                Err(error) => match Trouble::from(error) {
                    Trouble::Gone => continue,
                    Trouble::Locked => {
                        names.unreadable += 1;
                        continue;
                    }
                    share => return Err(share),
                },
            },
            kind => kind,
        };
        match kind {
            FileType::Directory => names.folders.push(name),
            FileType::RegularFile => names.files.push(name),
            _ => names.alien += 1,
        }
    }
    Ok(names)
}

/// Which files' sizes and times are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Everything,
    /// Those that are not known by name; the others are taken for what is known of them.
    NewNames,
}

/// Size and time of each file. `known` is sorted by name.
pub fn listing(
    folder: &OwnedFd,
    names: Vec<Vec<u8>>,
    known: &[Known],
    ask: Ask,
) -> Result<Listing, Trouble> {
    let mut listing = Listing::default();
    listing.files.reserve(names.len());
    let mut known = known.iter().peekable();
    for name in names {
        while known.next_if(|known| known.name < name).is_some() {}
        let remembered = known.next_if(|known| known.name == name);
        if let (Ask::NewNames, Some(known)) = (ask, remembered) {
            listing.files.push(Seen {
                name,
                size_bytes: known.size_bytes,
                mtime_ns: known.mtime_ns,
            });
            continue;
        }
        listing.asked += 1;
        match facts(folder, &name) {
            Ok(found)
                if FileType::from_raw_mode(found.stx_mode.into()) == FileType::RegularFile =>
            {
                listing.files.push(Seen {
                    name,
                    size_bytes: found.stx_size,
                    mtime_ns: mtime_ns(&found),
                });
            }
            // something else took its place since
            Ok(_) => {}
            Err(error) => match Trouble::from(error) {
                Trouble::Gone => {}
                Trouble::Locked => listing.unreadable += 1,
                share => return Err(share),
            },
        }
    }
    Ok(listing)
}

/// The files of a small folder, all asked for.
pub fn list(folder: &OwnedFd) -> Result<Listing, Trouble> {
    let names = names(folder, b"", &mut Buffer::new())?;
    listing(folder, names.files, &[], Ask::Everything)
}

fn each_name(
    folder: &OwnedFd,
    buffer: &mut Buffer,
    mut take: impl FnMut(&[u8], FileType),
) -> Result<(), Errno> {
    if buffer.is_empty() {
        buffer.resize(BUFFER_BYTES, MaybeUninit::uninit());
    }
    let mut entries = RawDir::new(folder, buffer);
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

/// Opens a file of a share; there is no other place that does.
pub fn open_file(folder: &OwnedFd, name: &[u8], reading: Reading) -> Result<OwnedFd, Errno> {
    let mut flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if reading == Reading::Direct {
        flags |= OFlags::DIRECT;
    }
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

impl OpenFile {
    pub fn open(folder: &OwnedFd, seen: &Seen, reading: Reading) -> Result<Self, ReadFault> {
        let open = Self {
            file: open_file(folder, &seen.name, reading)?,
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
            let limit = (length - offset).min(STRETCH) as usize;
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
const STRETCH: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_read_in_pieces_gives_every_name_once_and_keeps_flags_together() {
        let folder = tempfile::tempdir().unwrap();
        let mut all: Vec<Vec<u8>> = (0..200u32)
            .flat_map(|n| (0..1 + n % 3).map(move |flag| format!("p_d_t_{n:04}_x_y_{flag}")))
            .chain((0..20).map(|n| format!("z{n:03}")))
            .map(String::into_bytes)
            .collect();
        for name in &all {
            std::fs::write(folder.path().join(std::str::from_utf8(name).unwrap()), b"x").unwrap();
        }
        all.sort();
        let (mut seen, mut after, mut pieces) = (Vec::new(), Vec::new(), 0);
        loop {
            let open = rustix::fs::open(folder.path(), FOLDER, Mode::empty()).unwrap();
            let names = names_in_pieces_of(7, &open, &after, &mut Buffer::new())
                .ok()
                .unwrap();
            if let (Some(last), Some(first)) = (seen.last(), names.files.first()) {
                let stem = |name: &Vec<u8>| name[..name.len() - 1].to_vec();
                assert!(stem(last) != stem(first) || last.starts_with(b"z"));
            }
            seen.extend(names.files);
            pieces += 1;
            match names.last {
                Some(last) => after = last,
                None => break,
            }
        }
        assert!(seen == all);
        assert!(pieces > 40);
    }
}
