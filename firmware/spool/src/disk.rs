//! The few operations that the spool needs of a directory. Tests replace it. What each promises is in `FORMAT.md`.

use crate::Bundle;
use crate::layout::Bounds;
use crate::names::sequence_of;
use crate::record::{RECORD_BYTES, Record};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes asked for at a time.
const READ_BYTES: usize = 256 << 10;

/// One flat directory.
pub trait Disk {
    /// Room that the spool may take on it beyond its bundles.
    const BOUNDS: Bounds = Bounds::BOX;

    /// Visits names and sizes in bytes of all files, in any order.
    fn each_file(&self, visit: &mut dyn FnMut(&str, u64)) -> io::Result<()>;
    /// Reads from an offset until the buffer is full or the file ends; returns how many bytes it got.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Reads the last bytes of a file, as many as the buffer has room for; returns how many there were.
    fn read_end(&self, name: &str, buffer: &mut [u8]) -> io::Result<usize>;
    /// Makes a file; one that is there stays as it is.
    fn create(&mut self, name: &str) -> io::Result<()>;
    /// Writes over an existing file in place; it grows where these bytes reach beyond its end.
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Shortens a file.
    fn truncate(&mut self, name: &str, size_bytes: u64) -> io::Result<()>;
    /// Makes a file's bytes and length durable.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Renames a file over whatever has the other name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes all names in the directory durable.
    fn sync_names(&mut self) -> io::Result<()>;
    fn free_bytes(&self) -> io::Result<u64>;

    /// All names and sizes at once.
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        self.each_file(&mut |name, size_bytes| files.push((name.to_owned(), size_bytes)))?;
        Ok(files)
    }

    /// All bytes of a file, its record at the end.
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let begin = bytes.len();
            bytes.resize(begin + READ_BYTES, 0);
            let length = self.read_at(name, begin as u64, &mut bytes[begin..])?;
            if length < READ_BYTES {
                bytes.truncate(begin + length);
                return Ok(bytes);
            }
        }
    }
}

/// A directory of the file system, locked: a process that is still ending keeps its successor out.
pub struct Folder {
    path: PathBuf,
    folder: File,
    /// The file written last, until it is synced: the kernel tells a descriptor that was open of a failed write-back.
    written: Option<(String, File)>,
}

/// Bundles are read by the sender's group; nobody else has any right.
const MODE: u32 = 0o640;

impl Folder {
    /// Opens and locks it. The error kind is `WouldBlock` while another process has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = File::open(path)?;
        rustix::fs::flock(
            &folder,
            rustix::fs::FlockOperation::NonBlockingLockExclusive,
        )?;
        Ok(Self {
            path: path.to_owned(),
            folder,
            written: None,
        })
    }
}

impl Disk for Folder {
    fn each_file(&self, visit: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            // names that are not UTF-8 are none of ours
            if let (true, Some(name)) = (metadata.is_file(), entry.file_name().to_str()) {
                visit(name, metadata.len());
            }
        }
        Ok(())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = File::open(self.path.join(name))?;
        read_from(&file, offset, buffer)
    }

    fn read_end(&self, name: &str, buffer: &mut [u8]) -> io::Result<usize> {
        end_of(&self.path.join(name), buffer)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(MODE);
        options.open(self.path.join(name)).map(drop)
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = match self.written.take() {
            Some((written, file)) if written == name => file,
            _ => File::options().write(true).open(self.path.join(name))?,
        };
        file.write_all_at(bytes, offset)?;
        self.written = Some((name.to_owned(), file));
        Ok(())
    }

    fn truncate(&mut self, name: &str, size_bytes: u64) -> io::Result<()> {
        let file = File::options().write(true).open(self.path.join(name))?;
        file.set_len(size_bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        match self.written.take() {
            Some((written, file)) if written == name => file.sync_data(),
            _ => File::open(self.path.join(name))?.sync_data(),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(&self.path)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

/// What a bundle was appended as: how much of the file is the bundle, and what a reader compares its bytes with before it
/// sends them. `None`: its record is damaged, and so is the bundle, for all that can be told.
pub fn recorded(path: &Path) -> io::Result<Option<Bundle>> {
    let mut bytes = [0; RECORD_BYTES];
    let length = end_of(path, &mut bytes)?;
    let number = path
        .file_name()
        .and_then(|name| sequence_of(name.to_str()?));
    Ok(Record::decode(&bytes[..length])
        .filter(|record| Some(record.sequence) == number)
        .map(|record| record.bundle))
}

fn end_of(path: &Path, buffer: &mut [u8]) -> io::Result<usize> {
    let file = File::open(path)?;
    let offset = file.metadata()?.len().saturating_sub(buffer.len() as u64);
    read_from(&file, offset, buffer)
}

fn read_from(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
