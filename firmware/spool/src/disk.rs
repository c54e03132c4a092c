//! The few operations that the spool needs of a directory. Tests replace it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// One flat directory. What each call promises is written in the crate's header.
pub trait Disk {
    /// Names and sizes in bytes of all files.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Writes a new file, replacing one of this name.
    fn create(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Writes within an existing file.
    fn overwrite(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file's bytes durable.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes all names in the directory durable.
    fn sync_names(&mut self) -> io::Result<()>;
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A directory of the file system, locked: a process that is still ending keeps its successor out.
pub struct Folder {
    path: PathBuf,
    folder: File,
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
        })
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            // names that are not UTF-8 are none of ours
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.path.join(name))
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(MODE);
        options.open(self.path.join(name))?.write_all(bytes)
    }

    fn overwrite(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        File::options()
            .write(true)
            .open(self.path.join(name))?
            .write_all_at(bytes, offset)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        // The kernel reports a failed write-back to descriptors open at the time and, once, to the next one opened;
        // so the error of `create`'s closed descriptor is still seen here.
        File::open(self.path.join(name))?.sync_all()
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
