//! Files on their way onto the disk: at once, piece by piece as time passes, or left torn.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Manner;
use crate::fault::{Fault, Operation};

/// A file that is not complete.
pub(super) struct Unfinished {
    pub path: PathBuf,
    bytes: Vec<u8>,
    /// Bytes on the disk; `None` before the file is opened.
    done: Option<usize>,
    piece: usize,
    gap_ms: u64,
    /// Time of the next piece; `None`: nobody will write it by himself.
    pub due_ms: Option<u64>,
}

impl Unfinished {
    /// A file to be written from `start_ms` on.
    pub fn new(path: PathBuf, bytes: Vec<u8>, manner: Manner, start_ms: u64) -> Self {
        let (pieces, gap_ms) = match manner {
            Manner::AtOnce => (1, 0),
            Manner::Slow { pieces, gap_ms } => (usize::from(pieces), u64::from(gap_ms)),
            Manner::Torn => (2, 0),
        };
        let piece = bytes.len().div_ceil(pieces.max(1)).max(1);
        Self {
            path,
            bytes,
            done: None,
            piece,
            gap_ms,
            due_ms: Some(start_ms),
        }
    }

    /// Writes the next piece, or with `all` the rest. Says what is on the disk now and whether that is all of it.
    pub fn write(
        &mut self,
        all: bool,
        torn: bool,
        stamp: Option<SystemTime>,
    ) -> Result<(&[u8], bool), Fault> {
        let path = &self.path;
        let fault = |cause| Fault::new(Operation::Write, path, cause);
        let from = self.done.unwrap_or(0);
        let to = if all {
            self.bytes.len()
        } else {
            (from + self.piece).min(self.bytes.len())
        };
        let mut file = if self.done.is_none() {
            make_parent(path)?;
            File::create(path).map_err(fault)?
        } else {
            OpenOptions::new().append(true).open(path).map_err(fault)?
        };
        file.write_all(&self.bytes[from..to]).map_err(fault)?;
        if let Some(stamp) = stamp {
            file.set_times(FileTimes::new().set_modified(stamp))
                .map_err(fault)?;
        }
        self.done = Some(to);
        self.due_ms = match self.due_ms {
            Some(due) if !torn => Some(due + self.gap_ms),
            _ => None,
        };
        Ok((&self.bytes[..to], to == self.bytes.len()))
    }
}

pub(super) fn make_parent(path: &Path) -> Result<(), Fault> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(folder).map_err(|cause| Fault::new(Operation::MakeFolder, folder, cause))
}
