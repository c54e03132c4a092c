//! A part of a store as the catalogue keeps it in one row: folders with their files, coded into a blob.
//!
//! Layout of a blob: version byte; folders in the order of the tree (a folder before what is in it, names sorted), the
//! part's own root first and without a name; then the files of each folder in the same order. Folder: depth as a
//! varint, name ([`names`](crate::names)), number of files × 2 + 1 if a stamp follows, stamp (4 bytes). The list of
//! folders ends with depth 0. File: name, size, time, mark (16 bytes). Time: difference in milliseconds to what
//! is expected, as zigzag × 4 + kind of the rest; rest below a millisecond: kind 0 none, 1 in units of 100 ns, 2 in ns. What
//! is expected: the time in the name plus the last difference between the two, else the last file's time.

use crate::Stamp;
use crate::diff::{Known, Mark};
use crate::names::{Context, Input, Of, unzigzag, write_varint, zigzag};

const VERSION: u8 = 1;
/// Folders in the longest path that the kernel takes; a damaged blob must not exhaust the stack.
const DEPTH: usize = 2048;

/// A known folder. Its files and folders are sorted by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Subtree {
    /// Names of files and folders are exactly what the share showed when the folder had this stamp.
    pub stamp: Option<Stamp>,
    pub files: Vec<Known>,
    pub folders: Vec<(Vec<u8>, Subtree)>,
}

/// How much of a blob is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Folders and stamps; no files.
    Folders,
    Files,
}

impl Subtree {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folders.is_empty()
    }

    /// The folder of this name in it.
    pub fn folder(&self, name: &[u8]) -> Option<&Subtree> {
        let place = self.place(name).ok()?;
        Some(&self.folders[place].1)
    }

    /// The folder at a path below it; the empty path is itself.
    pub fn at(&self, path: &[u8]) -> Option<&Subtree> {
        crate::components(path).try_fold(self, |folder, name| folder.folder(name))
    }

    pub fn file(&self, name: &[u8]) -> Option<&Known> {
        let place = self
            .files
            .binary_search_by(|file| file.name.as_slice().cmp(name))
            .ok()?;
        Some(&self.files[place])
    }

    fn place(&self, name: &[u8]) -> Result<usize, usize> {
        self.folders
            .binary_search_by(|(known, _)| known.as_slice().cmp(name))
    }

    /// Enters a version of a file; says whether the file is new. Stamps on the way are cleared: the known names change.
    pub(crate) fn put(&mut self, path: &[&[u8]], file: Known) -> bool {
        match path {
            [] => match self
                .files
                .binary_search_by(|known| known.name.cmp(&file.name))
            {
                Ok(place) => {
                    self.files[place] = file;
                    false
                }
                Err(place) => {
                    self.stamp = None;
                    self.files.insert(place, file);
                    true
                }
            },
            [name, rest @ ..] => {
                let place = self.place(name).unwrap_or_else(|place| {
                    self.stamp = None;
                    self.folders
                        .insert(place, (name.to_vec(), Subtree::default()));
                    place
                });
                self.folders[place].1.put(rest, file)
            }
        }
    }

    /// Removes a file and the folders that it leaves empty; says whether it was there.
    pub(crate) fn take(&mut self, path: &[&[u8]], name: &[u8]) -> bool {
        match path {
            [] => {
                let place = self
                    .files
                    .binary_search_by(|known| known.name.as_slice().cmp(name));
                if let Ok(place) = place {
                    self.stamp = None;
                    self.files.remove(place);
                }
                place.is_ok()
            }
            [first, rest @ ..] => {
                let Ok(place) = self.place(first) else {
                    return false;
                };
                let removed = self.folders[place].1.take(rest, name);
                if removed && self.folders[place].1.is_empty() {
                    self.stamp = None;
                    self.folders.remove(place);
                }
                removed
            }
        }
    }

    /// Sets the stamp of the folder at a path, if it is known; says whether that changes anything.
    pub(crate) fn set_stamp(&mut self, path: &[&[u8]], stamp: Option<Stamp>) -> bool {
        match path {
            [] => std::mem::replace(&mut self.stamp, stamp) != stamp,
            [first, rest @ ..] => match self.place(first) {
                Ok(place) => self.folders[place].1.set_stamp(rest, stamp),
                Err(_) => false,
            },
        }
    }

    /// Files in it and below.
    pub fn count(&self) -> u64 {
        let below: u64 = self.folders.iter().map(|(_, folder)| folder.count()).sum();
        self.files.len() as u64 + below
    }

    /// The blob of this part; `path` leads from the source's root to it.
    pub fn encode(&self, path: &[u8]) -> Vec<u8> {
        let mut writer = Writer {
            out: vec![VERSION],
            context: Context::default(),
            times: Times::default(),
        };
        let mut above: Vec<&[u8]> = crate::components(path).collect();
        writer.head(self);
        writer.folders(self, &mut above, 1);
        writer.out.push(0);
        writer.files(self, &mut above);
        writer.out
    }

    /// `None`: the blob is not one that [`Subtree::encode`] made.
    pub fn decode(path: &[u8], blob: &[u8], depth: Depth) -> Option<Self> {
        let mut reader = Reader {
            input: Input(blob),
            context: Context::default(),
            times: Times::default(),
        };
        if reader.input.byte()? != VERSION {
            return None;
        }
        let mut above: Vec<Vec<u8>> = crate::components(path).map(<[u8]>::to_vec).collect();
        let mut root = Subtree::default();
        let mut counts = vec![reader.head(&mut root)?];
        let mut depth_next = reader.input.varint()?;
        reader.folders(&mut root, &mut above, 1, &mut depth_next, &mut counts)?;
        if depth == Depth::Files {
            let mut counts = counts.into_iter();
            reader.files(&mut root, &mut above, &mut counts)?;
            if !reader.input.0.is_empty() {
                return None;
            }
        }
        Some(root)
    }
}

struct Writer {
    out: Vec<u8>,
    context: Context,
    times: Times,
}

impl Writer {
    fn head(&mut self, folder: &Subtree) {
        let count = (folder.files.len() as u64) << 1;
        write_varint(&mut self.out, count | u64::from(folder.stamp.is_some()));
        if let Some(Stamp(stamp)) = folder.stamp {
            self.out.extend(stamp.to_le_bytes());
        }
    }

    fn folders<'a>(&mut self, folder: &'a Subtree, above: &mut Vec<&'a [u8]>, depth: u64) {
        for (name, below) in &folder.folders {
            write_varint(&mut self.out, depth);
            self.context.write(Of::Folder, above, name, &mut self.out);
            self.head(below);
            above.push(name);
            self.folders(below, above, depth + 1);
            above.pop();
        }
    }

    fn files<'a>(&mut self, folder: &'a Subtree, above: &mut Vec<&'a [u8]>) {
        for file in &folder.files {
            self.context
                .write(Of::File, above, &file.name, &mut self.out);
            write_varint(&mut self.out, file.size_bytes);
            self.times
                .write(self.context.moment_ms, file.mtime_ns, &mut self.out);
            self.out.extend(file.mark);
        }
        for (name, below) in &folder.folders {
            above.push(name);
            self.files(below, above);
            above.pop();
        }
    }
}

struct Reader<'a> {
    input: Input<'a>,
    context: Context,
    times: Times,
}

impl Reader<'_> {
    /// Reads a folder's stamp and gives its number of files.
    fn head(&mut self, folder: &mut Subtree) -> Option<u64> {
        let head = self.input.varint()?;
        if head & 1 == 1 {
            let stamp = self.input.take(4)?.try_into().ok()?;
            folder.stamp = Some(Stamp(u32::from_le_bytes(stamp)));
        }
        Some(head >> 1)
    }

    /// Reads the folders in a folder. `next` is the depth of the folder that comes next.
    fn folders(
        &mut self,
        folder: &mut Subtree,
        above: &mut Vec<Vec<u8>>,
        depth: u64,
        next: &mut u64,
        counts: &mut Vec<u64>,
    ) -> Option<()> {
        if above.len() > DEPTH {
            return None;
        }
        while *next == depth {
            let (mut name, mut below) = (Vec::new(), Subtree::default());
            {
                let above: Vec<&[u8]> = above.iter().map(Vec::as_slice).collect();
                self.context
                    .read(Of::Folder, &above, &mut self.input, &mut name)?;
            }
            counts.push(self.head(&mut below)?);
            *next = self.input.varint()?;
            if *next > depth {
                above.push(name);
                self.folders(&mut below, above, depth + 1, next, counts)?;
                name = above.pop()?;
            }
            folder.folders.push((name, below));
        }
        Some(())
    }

    fn files(
        &mut self,
        folder: &mut Subtree,
        above: &mut Vec<Vec<u8>>,
        counts: &mut impl Iterator<Item = u64>,
    ) -> Option<()> {
        {
            let above: Vec<&[u8]> = above.iter().map(Vec::as_slice).collect();
            for _ in 0..counts.next()? {
                let mut name = Vec::with_capacity(72);
                self.context
                    .read(Of::File, &above, &mut self.input, &mut name)?;
                let size_bytes = self.input.varint()?;
                let mtime_ns = self.times.read(self.context.moment_ms, &mut self.input)?;
                let mark = self.input.take(16)?.try_into().ok()?;
                folder.files.push(Known {
                    name,
                    size_bytes,
                    mtime_ns,
                    mark,
                });
            }
        }
        for (name, below) in &mut folder.folders {
            above.push(std::mem::take(name));
            self.files(below, above, counts)?;
            *name = above.pop()?;
        }
        Some(())
    }
}

/// What the next file's time is guessed from.
#[derive(Default)]
struct Times {
    last_ms: i64,
    shift_ms: i64,
}

const NS_IN_MS: i64 = 1_000_000;

impl Times {
    fn expected(&self, moment: Option<i64>) -> i64 {
        moment.map_or(self.last_ms, |moment| moment.wrapping_add(self.shift_ms))
    }

    fn note(&mut self, moment: Option<i64>, ms: i64) {
        self.last_ms = ms;
        if let Some(moment) = moment {
            self.shift_ms = ms.wrapping_sub(moment);
        }
    }

    fn write(&mut self, moment: Option<i64>, mtime_ns: i64, out: &mut Vec<u8>) {
        let (ms, rest) = (mtime_ns.div_euclid(NS_IN_MS), mtime_ns.rem_euclid(NS_IN_MS));
        let (kind, rest) = match rest {
            0 => (0, 0),
            _ if rest % 100 == 0 => (1, rest / 100),
            _ => (2, rest),
        };
        write_varint(
            out,
            zigzag(ms.wrapping_sub(self.expected(moment))) << 2 | kind,
        );
        if kind > 0 {
            write_varint(out, rest as u64);
        }
        self.note(moment, ms);
    }

    fn read(&mut self, moment: Option<i64>, input: &mut Input<'_>) -> Option<i64> {
        let head = input.varint()?;
        let ms = unzigzag(head >> 2).wrapping_add(self.expected(moment));
        let rest = match head & 3 {
            0 => 0,
            1 => i64::try_from(input.varint()?).ok()?.checked_mul(100)?,
            2 => i64::try_from(input.varint()?).ok()?,
            _ => return None,
        };
        self.note(moment, ms);
        ms.checked_mul(NS_IN_MS)?.checked_add(rest)
    }
}

/// The first bytes of a SHA-256; see the crate's header for why they are enough.
pub fn mark(sha256: &crate::Digest) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(&sha256[..16]);
    mark
}
