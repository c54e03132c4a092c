//! How the hospital's system puts a file on the disk: under its final name, at once or in pieces with pauses.
//!
//! No public writer of SS-MIX2 uses a temporary name (reference, section 1.9), so a reader may always meet half a file.
//! The pauses are the purpose of slow writing, not a way to wait for anything.

use std::fs::{File, FileTimes, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::calendar::Moment;
use crate::fault::{Fault, Operation};
use crate::random::Random;

/// Speed of the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Open, one write, close.
    AtOnce,
    /// Two to five writes with a pause before each but the first; the file stays open.
    Pieces { pause: Duration },
}

/// Writes files as configured.
pub(crate) struct Pen {
    pub writing: Writing,
    /// Stamp files with the story's time instead of the clock's.
    pub story_time: bool,
}

impl Pen {
    /// Writes a file that must not exist.
    pub fn create(
        &self,
        path: &Path,
        bytes: &[u8],
        stamp: Moment,
        random: &mut Random,
    ) -> Result<(), Fault> {
        self.fill(File::create_new(path), path, bytes, stamp, random)
    }

    /// Writes an existing file anew, in place.
    pub fn replace(
        &self,
        path: &Path,
        bytes: &[u8],
        stamp: Moment,
        random: &mut Random,
    ) -> Result<(), Fault> {
        self.fill(File::create(path), path, bytes, stamp, random)
    }

    /// Appends to a file, which is made where it is missing.
    pub fn append(
        &self,
        path: &Path,
        bytes: &[u8],
        stamp: Moment,
        random: &mut Random,
    ) -> Result<(), Fault> {
        self.fill(
            OpenOptions::new().append(true).create(true).open(path),
            path,
            bytes,
            stamp,
            random,
        )
    }

    fn fill(
        &self,
        file: std::io::Result<File>,
        path: &Path,
        bytes: &[u8],
        stamp: Moment,
        random: &mut Random,
    ) -> Result<(), Fault> {
        let fault = |cause| Fault::new(Operation::Write, path, cause);
        let mut file = file.map_err(fault)?;
        let (pieces, pause) = match self.writing {
            Writing::AtOnce => (1, Duration::ZERO),
            Writing::Pieces { pause } => (random.within(2, 5) as usize, pause),
        };
        for (number, piece) in bytes
            .chunks(bytes.len().div_ceil(pieces).max(1))
            .enumerate()
        {
            if number > 0 {
                thread::sleep(pause);
            }
            file.write_all(piece).map_err(fault)?;
        }
        if self.story_time {
            file.set_times(FileTimes::new().set_modified(stamp.system_time()))
                .map_err(fault)?;
        }
        Ok(())
    }
}
