//! Puts files into a store: folders made once, time stamps set, everything counted.
//!
//! Invariant: a file and the folder that directly holds it carry time stamps that follow from the story, not from the
//! clock, where the caller gives one. Folders above are left as the file system stamps them.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::calendar::Moment;
use crate::fault::{Fault, Operation};

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Files written to their end.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// Writes new files below one root.
#[derive(Default)]
pub(crate) struct Sink {
    /// Folders known to exist, with the latest time stamp of a file put directly into them.
    folders: HashMap<PathBuf, Option<Moment>>,
    pub tally: Tally,
}

impl Sink {
    /// Writes a new file. An existing one is an error: names must never collide.
    pub fn put(&mut self, path: &Path, bytes: &[u8], stamp: Moment) -> Result<(), Fault> {
        let parent = path.parent().unwrap_or(Path::new(""));
        self.folder(parent)?;
        let fault = |cause| Fault::new(Operation::Write, path, cause);
        let mut file = File::create_new(path).map_err(fault)?;
        file.write_all(bytes).map_err(fault)?;
        file.set_times(times(stamp)).map_err(fault)?;
        if let Some(latest) = self.folders.get_mut(parent) {
            *latest = (*latest).max(Some(stamp));
        }
        self.tally.files += 1;
        self.tally.bytes += bytes.len() as u64;
        Ok(())
    }

    fn folder(&mut self, path: &Path) -> Result<(), Fault> {
        if self.folders.contains_key(path) {
            return Ok(());
        }
        match fs::create_dir(path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    self.folder(parent)?;
                }
                // Another worker may make it at the same time.
                make_folder(path)?;
            }
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
            made => made.map_err(|cause| Fault::new(Operation::MakeFolder, path, cause))?,
        }
        self.folders.insert(path.to_owned(), None);
        Ok(())
    }

    /// Stamps the folders and forgets them, so that memory does not grow with the store.
    pub fn settle(&mut self) -> Result<(), Fault> {
        for (path, stamp) in self.folders.drain() {
            let Some(stamp) = stamp else { continue };
            let fault = |cause| Fault::new(Operation::Stamp, &path, cause);
            File::open(&path)
                .and_then(|folder| folder.set_times(times(stamp)))
                .map_err(fault)?;
        }
        Ok(())
    }
}

/// Makes one folder; one that is there already is as good.
pub(crate) fn make_folder(path: &Path) -> Result<(), Fault> {
    match fs::create_dir(path) {
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => {
            Err(Fault::new(Operation::MakeFolder, path, cause))
        }
        _ => Ok(()),
    }
}

fn times(stamp: Moment) -> FileTimes {
    FileTimes::new()
        .set_modified(stamp.system_time())
        .set_accessed(stamp.system_time())
}
