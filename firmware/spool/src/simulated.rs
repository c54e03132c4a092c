//! A disk in memory that loses what was not synced: the model of `FORMAT.md`, "What is assumed".
//!
//! Every changing call is one step. [`Simulated::cut_at`] lets the mains fail in a step: what the step wrote may reach the
//! disk like all else that is not synced, and every later call fails. A restart gives the disk that the next boot finds.
//! Each thing not synced survives or not, each for itself: every sector of 512 bytes of every write, every change of
//! length, every change of a name. [`Simulated::uncertain`] counts these things; the caller chooses.
//!
//! [`Fault`] has the ways in which one step fails while the mains stay on.

use crate::{Bounds, Disk};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// What a disk writes wholly or not at all.
const SECTOR_BYTES: usize = 512;

type Number = u64;

#[derive(Clone, Debug)]
enum Write {
    Sector { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What calls see.
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Write>,
}

/// A name and the file that it is given, or none.
type Assignment = (String, Option<Number>);

/// How one step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Without any effect.
    Error(io::ErrorKind),
    /// A write fills the disk half-way. Any other step fails without effect.
    Short,
    /// A sync of a file fails and the kernel drops the dirty pages: calls go on to see the bytes, of which any part, by
    /// this seed, is on the disk, and a later sync writes nothing of them. The length is the journal's and waits.
    DroppedPages(u64),
    /// The journal is aborted: this step fails, and every later changing step until a restart.
    ReadOnly,
    /// A sync says that it is done and does nothing: to show which syncs are needed.
    Lie,
}

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<Number, File>,
    names: BTreeMap<String, Number>,
    durable_names: BTreeMap<String, Number>,
    /// Since the last `sync_names`, in order; the parts of one change are atomic.
    changes: Vec<Vec<Assignment>>,
    next: Number,
    steps: u64,
    reads: u64,
    /// Steps that were syncs.
    syncs: Vec<u64>,
    cut_at: Option<u64>,
    faults: BTreeMap<u64, Fault>,
    read_only: bool,
    free_bytes: Option<u64>,
    /// Every name ever given by a rename, with the bytes that a reader then saw; kept over cuts.
    shown: Vec<(String, Vec<u8>)>,
}

/// Handle to the disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Simulated(Arc<Mutex<State>>);

impl Simulated {
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the mains fail in step `step`, counted from 0 over the disk's life.
    pub fn cut_at(&self, step: u64) {
        self.with(|state| state.cut_at = Some(step));
    }

    /// Lets a step fail; more than one may.
    pub fn fail_at(&self, step: u64, fault: Fault) {
        self.with(|state| {
            state.faults.insert(step, fault);
        });
    }

    pub fn set_free_bytes(&self, bytes: u64) {
        self.with(|state| state.free_bytes = Some(bytes));
    }

    /// Whether the mains have failed.
    pub fn is_dead(&self) -> bool {
        self.with(|state| state.dead())
    }

    /// Number of changing calls so far.
    pub fn steps(&self) -> u64 {
        self.with(|state| state.steps)
    }

    /// Number of reading calls and of names listed so far.
    pub fn reads(&self) -> u64 {
        self.with(|state| state.reads)
    }

    /// The steps that were syncs, of a file or of names.
    pub fn syncs(&self) -> Vec<u64> {
        self.with(|state| state.syncs.clone())
    }

    /// How many things a restart decides about.
    pub fn uncertain(&self) -> usize {
        self.with(|state| {
            state.changes.len()
                + state
                    .files
                    .values()
                    .map(|file| file.pending.len())
                    .sum::<usize>()
        })
    }

    /// How many of them are changes of names.
    pub fn unsynced_names(&self) -> usize {
        self.with(|state| state.changes.len())
    }

    /// The disk after mains are back, where the seed says what survived.
    pub fn restart(&self, seed: u64) -> Self {
        let mut dice = Dice(seed);
        self.restart_choosing(&mut || dice.below(2) == 1)
    }

    /// The disk after mains are back: a new one, while old handles stay dead. `survives` is asked once for each thing not
    /// synced, names first.
    pub fn restart_choosing(&self, survives: &mut dyn FnMut() -> bool) -> Self {
        self.with(|state| {
            let mut names = state.durable_names.clone();
            for change in &state.changes {
                if survives() {
                    assign(&mut names, change);
                }
            }
            let mut files = BTreeMap::new();
            for (number, file) in &state.files {
                let mut content = file.durable.clone();
                for write in &file.pending {
                    if survives() {
                        apply(&mut content, write);
                    }
                }
                if names.values().any(|named| named == number) {
                    let file = File {
                        cached: content.clone(),
                        durable: content,
                        pending: Vec::new(),
                    };
                    files.insert(*number, file);
                }
            }
            Self(Arc::new(Mutex::new(State {
                files,
                durable_names: names.clone(),
                names,
                next: state.next,
                free_bytes: state.free_bytes,
                shown: state.shown.clone(),
                ..State::default()
            })))
        })
    }

    /// A name of a file that has another name as well: what is written under one would change the other.
    pub fn second_name(&self) -> Option<String> {
        self.with(|state| {
            let mut seen = std::collections::BTreeSet::new();
            let mut names = state.names.iter();
            names
                .find(|(_, number)| !seen.insert(**number))
                .map(|(name, _)| name.clone())
        })
    }

    /// Tells two disks apart by what their calls see.
    pub fn fingerprint(&self) -> u64 {
        self.with(|state| {
            let mut hasher = DefaultHasher::new();
            for (name, number) in &state.names {
                (name, &state.files[number].cached).hash(&mut hasher);
            }
            hasher.finish()
        })
    }

    /// What another process could ever read under a renamed file's new name, in any life of the disk.
    pub fn shown(&self) -> Vec<(String, Vec<u8>)> {
        self.with(|state| state.shown.clone())
    }

    /// Rot: a durable file's bytes become what `rot` makes of them.
    pub fn rot(&self, name: &str, rot: impl FnOnce(&mut Vec<u8>)) {
        self.with(|state| {
            let number = state.names.get(name).copied();
            if let Some(file) = number.and_then(|number| state.files.get_mut(&number)) {
                rot(&mut file.durable);
                file.cached = file.durable.clone();
            }
        });
    }

    /// Rot: a name is gone. All other names are durable then.
    pub fn lose(&self, name: &str) {
        self.with(|state| {
            state.names.remove(name);
            state.durable_names = state.names.clone();
            state.changes.clear();
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a step does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Whole,
    /// Its effect may reach the disk, and the mains fail.
    Cut,
    Failing(Fault),
}

impl State {
    fn number(&self, name: &str) -> io::Result<Number> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&self, name: &str) -> io::Result<&File> {
        let number = self.number(name)?;
        self.files
            .get(&number)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn dead(&self) -> bool {
        self.cut_at.is_some_and(|cut| self.steps > cut)
    }

    fn read(&mut self, count: u64) -> io::Result<()> {
        self.reads += count;
        if self.dead() { Err(cut()) } else { Ok(()) }
    }

    /// Counts a step. A plain error is over with that.
    fn step(&mut self) -> io::Result<Step> {
        if self.dead() {
            return Err(cut());
        }
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let this = self.steps;
        self.steps += 1;
        match self.faults.get(&this) {
            Some(Fault::Error(kind)) => Err((*kind).into()),
            Some(Fault::ReadOnly) => {
                self.read_only = true;
                Err(io::ErrorKind::ReadOnlyFilesystem.into())
            }
            Some(fault) => Ok(Step::Failing(*fault)),
            None if self.cut_at == Some(this) => Ok(Step::Cut),
            None => Ok(Step::Whole),
        }
    }

    /// Changes names, as one change.
    fn change(&mut self, change: Vec<Assignment>) -> io::Result<()> {
        let step = self.step()?;
        if matches!(step, Step::Failing(_)) {
            return step.end();
        }
        assign(&mut self.names, &change);
        self.changes.push(change);
        step.end()
    }

    fn put(&mut self, number: Number, writes: impl IntoIterator<Item = Write>) {
        let file = self.files.entry(number).or_default();
        for write in writes {
            apply(&mut file.cached, &write);
            file.pending.push(write);
        }
    }
}

impl Step {
    fn end(self) -> io::Result<()> {
        match self {
            Self::Whole => Ok(()),
            Self::Cut => Err(cut()),
            Self::Failing(Fault::Lie) => Ok(()),
            Self::Failing(Fault::Short) => Err(io::ErrorKind::StorageFull.into()),
            Self::Failing(_) => Err(io::Error::other("the disk failed")),
        }
    }
}

impl Disk for Simulated {
    /// Small, so that short stories come to them.
    const BOUNDS: Bounds = Bounds {
        grain_bytes: SECTOR_BYTES as u64,
        slots: 16,
        kept_files: 24,
        kept_bytes: 4096,
        slack_files: 4,
        slack_bytes: 1024,
        growth_bytes: 1024,
        noted_files: 2,
        owed_bytes: 2048,
    };

    fn each_file(&self, visit: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        self.with(|state| {
            state.read(state.names.len() as u64)?;
            for (name, number) in &state.names {
                let size = state.files.get(number).map_or(0, |file| file.cached.len());
                visit(name, size as u64);
            }
            Ok(())
        })
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|state| {
            state.read(1)?;
            let bytes = &state.file(name)?.cached;
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        })
    }

    fn read_end(&self, name: &str, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|state| {
            state.read(1)?;
            let bytes = &state.file(name)?.cached;
            let end = &bytes[bytes.len().saturating_sub(buffer.len())..];
            buffer[..end.len()].copy_from_slice(end);
            Ok(end.len())
        })
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.with(|state| {
            if state.names.contains_key(name) {
                return state.step()?.end();
            }
            let number = state.next;
            state.next += 1;
            state.files.insert(number, File::default());
            state.change(vec![(name.to_owned(), Some(number))])
        })
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| {
            let step = state.step()?;
            let number = state.number(name)?;
            let mut writes = Vec::new();
            let (mut at, mut rest) = (offset as usize, bytes);
            while !rest.is_empty() {
                let (piece, after) =
                    rest.split_at(rest.len().min(SECTOR_BYTES - at % SECTOR_BYTES));
                let bytes = piece.to_vec();
                writes.push(Write::Sector { at, bytes });
                (at, rest) = (at + piece.len(), after);
            }
            if at > state.file(name)?.cached.len() {
                writes.push(Write::Length(at));
            }
            if let Step::Failing(_) = step {
                writes.truncate(writes.len().div_ceil(2));
            }
            state.put(number, writes);
            step.end()
        })
    }

    fn truncate(&mut self, name: &str, size_bytes: u64) -> io::Result<()> {
        self.with(|state| {
            let step = state.step()?;
            if !matches!(step, Step::Failing(_)) {
                let number = state.number(name)?;
                state.put(number, [Write::Length(size_bytes as usize)]);
            }
            step.end()
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.with(|state| {
            state.syncs.push(state.steps);
            let step = state.step()?;
            let number = state.number(name)?;
            let Some(file) = state.files.get_mut(&number) else {
                return Err(io::ErrorKind::NotFound.into());
            };
            match step {
                Step::Whole => {
                    for write in std::mem::take(&mut file.pending) {
                        apply(&mut file.durable, &write);
                    }
                }
                Step::Failing(Fault::DroppedPages(seed)) => {
                    let mut dice = Dice(seed);
                    for write in std::mem::take(&mut file.pending) {
                        match write {
                            Write::Sector { .. } if dice.below(2) == 1 => {
                                apply(&mut file.durable, &write);
                            }
                            Write::Sector { .. } => {}
                            write => file.pending.push(write),
                        }
                    }
                }
                _ => {}
            }
            step.end()
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.with(|state| {
            let number = state.number(from)?;
            let bytes = state.file(from)?.cached.clone();
            state.change(vec![(from.to_owned(), None), (to.to_owned(), Some(number))])?;
            state.shown.push((to.to_owned(), bytes));
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.with(|state| {
            state.number(name)?;
            state.change(vec![(name.to_owned(), None)])
        })
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.with(|state| {
            state.syncs.push(state.steps);
            let step = state.step()?;
            if step == Step::Whole {
                for change in std::mem::take(&mut state.changes) {
                    assign(&mut state.durable_names, &change);
                }
            }
            step.end()
        })
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.with(|state| {
            state.read(1)?;
            Ok(state.free_bytes.unwrap_or(u64::MAX))
        })
    }
}

fn cut() -> io::Error {
    io::Error::other("mains cut")
}

fn assign(names: &mut BTreeMap<String, Number>, change: &[Assignment]) {
    for (name, number) in change {
        match number {
            Some(number) => names.insert(name.clone(), *number),
            None => names.remove(name),
        };
    }
}

fn apply(content: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Sector { at, bytes } => {
            let end = at + bytes.len();
            content.resize(content.len().max(end), 0);
            content[*at..end].copy_from_slice(bytes);
        }
        Write::Length(length) => content.resize(*length, 0),
    }
}

/// SplitMix64: the seed alone decides what survives.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit.max(1)
    }
}
