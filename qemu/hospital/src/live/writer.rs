//! Does deeds to a store.
//!
//! Files are chosen among those that this writer has written; where there are none of the kind, and the store is older
//! than the writer, by a walk down at random.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::documents::Held;
use super::written::{Unfinished, make_parent};
use super::{Deed, Manner, Truth};
use crate::calendar::{Day, Moment};
use crate::fault::{Fault, Operation};
use crate::odd::Oddities;
use crate::random::Random;
use crate::store::Store;

/// Purpose of the random streams.
const STREAM_LIVE: u64 = 6;

/// Time stamps of written files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// As the file system gives them.
    Clock,
    /// As the story's clock has it, with its skew; no two are the same while the clock is not set back.
    Story,
}

/// Whether a deed found something to be done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Done,
    Nothing,
}

/// The hospital's system at work.
pub struct Writer {
    pub(super) store: Store,
    pub(super) facility: String,
    pub(super) seed: u64,
    /// Deeds so far.
    pub(super) number: u64,
    /// Time that has passed, in milliseconds.
    pub(super) passed_ms: u64,
    pub(super) start: Moment,
    pub(super) skew_seconds: i64,
    /// Writes so far: makes story stamps differ.
    pub(super) writes: u32,
    pub(super) stamps: Stamps,
    /// The store holds files that this writer does not know of.
    pub(super) older: bool,
    pub(super) feed: bool,
    pub(super) odd: Oddities,
    /// Files of earlier dates are not written anew in place.
    spared_before: Option<Day>,
    pub(super) documents: Vec<Held>,
    pub(super) unfinished: Vec<Unfinished>,
    pub(super) truth: Truth,
    pub(super) random: Random,
}

impl Writer {
    /// A system that begins to write at `start` in the store below `folder`, for this facility.
    pub fn new(seed: u64, folder: &Path, facility: &str, start: Moment, stamps: Stamps) -> Writer {
        let store = Store::at(folder);
        Writer {
            older: fs::read_dir(store.standard().join(facility)).is_ok_and(|mut entries| {
                entries.any(|entry| entry.is_ok_and(|at| at.path().is_dir()))
            }),
            feed: store.transaction().exists(),
            store,
            facility: facility.to_owned(),
            seed,
            number: 0,
            passed_ms: 0,
            start,
            skew_seconds: 0,
            writes: 0,
            stamps,
            odd: Oddities::All,
            spared_before: None,
            documents: Vec::new(),
            unfinished: Vec::new(),
            truth: Truth::default(),
            random: Random::new(&[seed, STREAM_LIVE]),
        }
    }

    /// Which odd files [`Deed::Odd`] writes: not every share carries every name.
    pub fn set_oddities(&mut self, odd: Oddities) {
        self.odd = odd;
    }

    /// From now on no file of standardized or extended storage that is filed under an earlier date, or under none, is
    /// written anew in place or left torn: a collector may look at the bytes of old files as rarely as once in a month.
    pub fn spare_before(&mut self, day: Day) {
        self.spared_before = Some(day);
    }

    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Keeps the truth in a file from now on.
    pub fn log_truth(&mut self, path: &Path) -> Result<(), Fault> {
        self.truth.log_to(path)
    }

    /// Time that has passed, in milliseconds.
    pub fn passed_ms(&self) -> u64 {
        self.passed_ms
    }

    /// When the next piece of a slow file falls due.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.unfinished.iter().filter_map(|file| file.due_ms).min()
    }

    /// It is so late now, and what fell due before is still to be done: for a caller whose clock does not wait for him.
    pub fn late(&mut self, now_ms: u64) {
        self.passed_ms = self.passed_ms.max(now_ms);
    }

    /// Lets time pass up to `until_ms`; pieces of slow files are written as they fall due.
    pub fn pass(&mut self, until_ms: u64) -> Result<(), Fault> {
        while let Some(due) = self.next_due_ms().filter(|due| *due <= until_ms) {
            self.passed_ms = self.passed_ms.max(due);
            if let Some(place) = self
                .unfinished
                .iter()
                .position(|file| file.due_ms == Some(due))
            {
                self.piece(place, false, false)?;
            }
        }
        self.passed_ms = self.passed_ms.max(until_ms);
        Ok(())
    }

    /// Lets time pass until no file is on its way, and completes what was left torn.
    pub fn finish(&mut self) -> Result<(), Fault> {
        while let Some(due) = self.next_due_ms() {
            self.pass(due)?;
        }
        self.mend().map(drop)
    }

    /// Does a deed, now.
    pub fn act(&mut self, deed: &Deed) -> Result<Done, Fault> {
        self.number += 1;
        let pick = match *deed {
            Deed::Order { pick, .. }
            | Deed::Update { pick, .. }
            | Deed::Delete { pick, .. }
            | Deed::Document { pick, .. }
            | Deed::Supersede { pick, .. }
            | Deed::Withdraw { pick }
            | Deed::Enclose { pick, .. }
            | Deed::Replace { pick, .. }
            | Deed::Reoutput { pick, .. }
            | Deed::Dpc { pick, .. }
            | Deed::Receipt { pick, .. }
            | Deed::Odd { pick }
            | Deed::Remove { pick }
            | Deed::Discard { pick } => usize::from(pick),
            Deed::Mend | Deed::Skew { .. } => 0,
        };
        self.random = Random::new(&[self.seed, STREAM_LIVE, self.number, pick as u64]);
        match *deed {
            Deed::Order { late, manner, .. } => self.order(pick, late, manner),
            Deed::Update { manner, .. } => self.update(pick, manner),
            Deed::Delete { manner, .. } => self.delete(pick, manner),
            Deed::Document { files, manner, .. } => self.document(pick, files, manner),
            Deed::Supersede { manner, .. } => self.supersede(pick, manner),
            Deed::Withdraw { .. } => self.withdraw(pick),
            Deed::Enclose { manner, .. } => self.enclose(pick, manner),
            Deed::Replace { manner, .. } => self.replace(pick, manner),
            Deed::Reoutput { files, same, .. } => self.reoutput(pick, files, same),
            Deed::Dpc { manner, .. } => self.dpc(pick, manner),
            Deed::Receipt { manner, .. } => self.receipt(pick, manner),
            Deed::Odd { .. } => self.odd(pick),
            Deed::Remove { .. } => self.remove(pick),
            Deed::Discard { .. } => self.discard(pick),
            Deed::Mend => self.mend(),
            Deed::Skew { seconds } => {
                self.skew_seconds += i64::from(seconds);
                Ok(Done::Done)
            }
        }
    }

    /// The story's time, as this server's clock shows it.
    pub(super) fn now(&self) -> Moment {
        let shifted = self
            .start
            .plus(self.passed_ms)
            .0
            .saturating_add_signed(self.skew_seconds * 1000);
        Moment(shifted)
    }

    pub(super) fn write(
        &mut self,
        path: PathBuf,
        bytes: Vec<u8>,
        manner: Manner,
        delay_ms: u64,
    ) -> Result<(), Fault> {
        self.unfinished.retain(|file| file.path != path);
        let manner = if manner == Manner::Torn && !self.may_rewrite(&self.relative(&path)) {
            Manner::AtOnce
        } else {
            manner
        };
        let start = self.passed_ms + delay_ms;
        self.unfinished
            .push(Unfinished::new(path, bytes, manner, start));
        if delay_ms > 0 {
            return Ok(());
        }
        let place = self.unfinished.len() - 1;
        self.piece(place, false, manner == Manner::Torn)
    }

    /// Writes the next piece, or with `all` the rest, of an unfinished file.
    pub(super) fn piece(&mut self, place: usize, all: bool, torn: bool) -> Result<(), Fault> {
        let stamp = self.stamp();
        let file = &mut self.unfinished[place];
        let path = file
            .path
            .strip_prefix(self.store.root())
            .unwrap_or(&file.path)
            .as_os_str()
            .as_bytes()
            .to_vec();
        let (bytes, whole) = file.write(all, torn, stamp)?;
        self.truth.written(self.passed_ms, path, bytes, whole)?;
        if whole {
            self.unfinished.swap_remove(place);
        }
        Ok(())
    }

    fn stamp(&mut self) -> Option<SystemTime> {
        self.writes += 1;
        // the count in the digits below a millisecond: two writes in one are told apart, as file systems do
        let fine = Duration::from_nanos(u64::from(self.writes % 10_000) * 100);
        (self.stamps == Stamps::Story).then(|| self.now().system_time() + fine)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Fault> {
        // whoever still writes a file under the new name goes on in one that nobody can see
        self.unfinished.retain(|file| file.path != to);
        // a folder whose first file is still to come
        if !from.exists() {
            make_parent(to)?;
        } else {
            fs::rename(from, to).map_err(|cause| Fault::new(Operation::Rename, from, cause))?;
        }
        for file in &mut self.unfinished {
            if let Ok(rest) = file.path.strip_prefix(from) {
                file.path = if rest.as_os_str().is_empty() {
                    to.to_owned()
                } else {
                    to.join(rest)
                };
            }
        }
        let (from, to) = (self.relative(from), self.relative(to));
        let mut moved = self.known_below(&[&from[..], b"/"].concat());
        if self.truth.files().contains_key(&from) {
            moved.push(from.clone());
        }
        for path in moved {
            let target = [&to[..], &path[from.len()..]].concat();
            self.truth.renamed(self.passed_ms, path, target)?;
        }
        Ok(())
    }

    pub(super) fn known_below(&self, below: &[u8]) -> Vec<Vec<u8>> {
        let known: &BTreeMap<Vec<u8>, bool> = self.truth.files();
        known
            .range(below.to_vec()..)
            .take_while(|(path, _)| path.starts_with(below))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Whether a file may be written anew in place.
    pub(super) fn may_rewrite(&self, path: &[u8]) -> bool {
        let Some(first) = self.spared_before else {
            return true;
        };
        let mut parts = path.split(|byte| *byte == b'/');
        if !matches!(parts.next(), Some(b"std" | b"ext")) {
            return true;
        }
        parts
            .filter_map(|part| Day::parse(std::str::from_utf8(part).ok()?))
            .next()
            .is_some_and(|day| day >= first)
    }

    pub(super) fn relative(&self, path: &Path) -> Vec<u8> {
        let below = path.strip_prefix(self.store.root()).unwrap_or(path);
        below.as_os_str().as_bytes().to_vec()
    }

    pub(super) fn absolute(&self, path: &[u8]) -> PathBuf {
        self.store.root().join(std::ffi::OsStr::from_bytes(path))
    }
}
