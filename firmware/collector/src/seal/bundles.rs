//! The output folder: the sequence in it, and bundles that appear whole.

use super::durable::{Durable, Folder};
use super::failure::SealFailure;
use super::order::read;
use bundle::{BoxName, BundleName, Closed, Digest, LocalSigner, Sealer};
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a bundle's file is called until it is whole and durable.
const TEMPORARY: &str = "new";

/// Bytes of one call of the kernel. Measured with `dd` on ext4, Linux 6.18: calls of up to 1 MiB take 0.2 s of processor time
/// for 832 MiB, calls of 32 MiB up to ten times that.
const WRITE_BYTES: usize = 256 << 10;

/// Seals and writes, in order.
pub struct Bundles {
    sealer: Sealer<LocalSigner>,
    durable: Durable<Out>,
    sequence: u64,
    previous: Option<Digest>,
    /// For the bytes of a bundle, used again for each.
    room: Vec<u8>,
}

impl Bundles {
    /// Makes the folder where it is not there, and goes on after the last bundle in it.
    pub fn open(sealer: Sealer<LocalSigner>, out: PathBuf) -> Result<Self, SealFailure> {
        let unusable = |source| SealFailure::Folder {
            path: out.clone(),
            source,
        };
        fs::create_dir_all(&out).map_err(unusable)?;
        let folder = File::open(&out).map_err(unusable)?;
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(SealFailure::Busy(out)),
            Err(error) => return Err(unusable(error.into())),
        }
        let found = Found::look(&out, sealer.box_name()).map_err(unusable)?;
        let previous = match &found.last {
            None => None,
            Some(name) => Some(Digest::of(&read(out.join(name.to_string()))?)),
        };
        // a run that was cut left them; nobody writes them now
        for path in &found.unfinished {
            fs::remove_file(path).map_err(unusable)?;
        }
        Ok(Self {
            sealer,
            durable: Durable::over(Out { path: out, folder }),
            sequence: found.last.map_or(0, |name| name.sequence()),
            previous,
            room: Vec::new(),
        })
    }

    /// Bundles of this run that are durable.
    pub fn durable(&self) -> u64 {
        self.durable.count()
    }

    /// Seals a draft as the next bundle, which becomes durable later; gives the draft's memory back.
    pub fn write(&mut self, closed: Closed) -> Result<Vec<u8>, SealFailure> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let room = std::mem::take(&mut self.room);
        let sealed = self
            .sealer
            .seal_into(room, &closed, self.sequence + 1, self.previous, now)
            .map_err(SealFailure::Seal)?;
        self.durable.put(sealed.name.to_string(), &sealed.bytes)?;
        self.sequence += 1;
        self.previous = Some(sealed.sha256);
        self.room = sealed.bytes;
        Ok(closed.into_room())
    }

    /// Waits until all that was written is durable.
    pub fn finish(&mut self) -> Result<(), SealFailure> {
        self.durable.finish()
    }
}

/// The folder on the disk. Holds its lock.
struct Out {
    path: PathBuf,
    folder: File,
}

impl Out {
    fn temporary(&self, name: &str) -> PathBuf {
        self.path.join(format!(".{name}.{TEMPORARY}"))
    }
}

impl Folder for Out {
    type File = File;

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<File> {
        let path = self.temporary(name);
        let mut file = File::create(&path)?;
        let written = bytes
            .chunks(WRITE_BYTES)
            .try_for_each(|piece| file.write_all(piece));
        match written {
            Ok(()) => Ok(file),
            Err(error) => {
                // a full disk gets back what it can
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, name: &str) -> io::Result<()> {
        let place = self.path.join(name);
        let temporary = self.temporary(name);
        rustix::fs::renameat_with(CWD, &temporary, CWD, &place, RenameFlags::NOREPLACE)?;
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        self.folder.sync_all()
    }
}

/// A box's bundles in a folder.
#[derive(Default)]
struct Found {
    last: Option<BundleName>,
    /// Files that never got their names.
    unfinished: Vec<PathBuf>,
}

impl Found {
    fn look(out: &Path, box_name: &BoxName) -> io::Result<Self> {
        let mut found = Self::default();
        for entry in fs::read_dir(out)? {
            let entry = entry?;
            let file = entry.file_name();
            let Some(file) = file.to_str() else { continue };
            let hidden = file.strip_prefix('.');
            let unfinished =
                hidden.and_then(|file| file.strip_suffix(TEMPORARY)?.strip_suffix('.'));
            let Ok(name) = unfinished.unwrap_or(file).parse::<BundleName>() else {
                continue;
            };
            if name.box_name() != box_name {
                continue;
            }
            match unfinished {
                Some(_) => found.unfinished.push(entry.path()),
                None => found.last = found.last.max(Some(name)),
            }
        }
        Ok(found)
    }
}
