//! Every change that the store makes to its disk, in one place, so that tests can watch, refuse and replay it.
//!
//! What is assumed of the disk: a file's bytes survive a cut after its sync, a name after the sync of its folder, a
//! rename is one step. Nothing else: neither an order between unsynced changes, nor that a rename carries bytes along.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// One change, before it is made.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "only a test's watch looks inside")
)]
pub enum Change<'a> {
    CreateFolder(&'a Path),
    /// Empty, whatever was there.
    CreateFile(&'a Path),
    Append(&'a Path, &'a [u8]),
    Truncate(&'a Path, u64),
    SyncFile(&'a Path),
    Rename(&'a Path, &'a Path),
    SyncFolder(&'a Path),
    Remove(&'a Path),
}

/// Sees each change and may refuse it.
pub type Watch = Box<dyn Fn(Change<'_>) -> io::Result<()> + Send + Sync>;

/// The disk; a watched one only tells the watch of syncs, which decides itself what a cut leaves.
#[derive(Default)]
pub struct Disk {
    watch: Option<Watch>,
}

impl Disk {
    #[cfg(test)]
    pub fn watched(watch: Watch) -> Self {
        Self { watch: Some(watch) }
    }

    fn about_to(&self, change: Change<'_>) -> io::Result<()> {
        self.watch.as_ref().map_or(Ok(()), |watch| watch(change))
    }

    pub fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.about_to(Change::CreateFolder(path))?;
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    pub fn create_file(&self, path: &Path) -> io::Result<File> {
        self.about_to(Change::CreateFile(path))?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
    }

    /// At the file's position, which is its end.
    pub fn append(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.about_to(Change::Append(path, bytes))?;
        file.write_all(bytes)
    }

    pub fn truncate(&self, path: &Path, file: &File, length: u64) -> io::Result<()> {
        self.about_to(Change::Truncate(path, length))?;
        file.set_len(length)
    }

    /// The bytes and the length of a file.
    pub fn sync_file(&self, path: &Path, file: &File) -> io::Result<()> {
        match &self.watch {
            Some(watch) => watch(Change::SyncFile(path)),
            None => file.sync_data(),
        }
    }

    /// The names in a folder.
    pub fn sync_folder(&self, path: &Path) -> io::Result<()> {
        match &self.watch {
            Some(watch) => watch(Change::SyncFolder(path)),
            None => File::open(path)?.sync_all(),
        }
    }

    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.about_to(Change::Rename(from, to))?;
        fs::rename(from, to)
    }

    /// Nothing there is as good.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.about_to(Change::Remove(path))?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}
