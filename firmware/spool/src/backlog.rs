//! The queue as a reader beside the writer sees it: listed once, then drained without being listed again.

use crate::names::{bundle_name, sequence_of};
use crate::record::Record;
use crate::{Bundle, disk};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// What a bundle was appended as: what a reader compares its bytes with before it sends them. `None`: its record is
/// damaged, and so is the bundle, for all that can be told.
pub fn recorded(path: &Path) -> io::Result<Option<Bundle>> {
    let record = disk::record_of(path)?.and_then(|bytes| Record::decode(&bytes));
    let number = path
        .file_name()
        .and_then(|name| sequence_of(name.to_str()?));
    Ok(record
        .filter(|record| Some(record.sequence) == number)
        .map(|record| record.bundle))
}

/// Numbers of the bundles that wait. Holds 8 bytes for each, and nothing else of them.
pub struct Backlog {
    folder: PathBuf,
    box_name: String,
    waiting: BTreeSet<u64>,
    /// Highest number ever seen here.
    newest: u64,
}

impl Backlog {
    /// Lists the folder.
    pub fn list(folder: &Path, box_name: &str) -> io::Result<Self> {
        let mut backlog = Self {
            folder: folder.to_owned(),
            box_name: box_name.to_owned(),
            waiting: BTreeSet::new(),
            newest: 0,
        };
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(sequence_of);
            if let Some(number) = number.filter(|number| name == *bundle_name(box_name, *number)) {
                backlog.waiting.insert(number);
            }
        }
        backlog.newest = backlog.waiting.last().copied().unwrap_or(0);
        Ok(backlog)
    }

    /// Looks for bundles appended since: numbers have no gap, so one question after the newest tells. A bundle that came
    /// and went in between hides those after it until the folder is listed again, which costs nothing once it is empty.
    pub fn look_for_newer(&mut self) -> io::Result<()> {
        while self.path(self.newest + 1).try_exists()? {
            self.newest += 1;
            self.waiting.insert(self.newest);
        }
        Ok(())
    }

    /// Numbers that wait, in order; `rev()` for the newest first.
    pub fn waiting(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.waiting.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// It was delivered, or is not there any more.
    pub fn done(&mut self, number: u64) {
        self.waiting.remove(&number);
    }

    pub fn path(&self, number: u64) -> PathBuf {
        self.folder.join(bundle_name(&self.box_name, number))
    }
}
