//! A disk in memory that loses what was not synced: the plainest model of a mains cut.
//!
//! Every changing operation is one step. `cut_at(n)` lets the mains fail in the n-th: a write in that step reaches the
//! disk in part, and every later operation fails. `restart` gives the disk that the next boot finds, where each thing
//! that was not synced survived or not as the seed says: for a file any prefix of its unsynced writes (the last torn),
//! for names any combination of the unsynced changes.

use crate::Disk;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

type Inode = u64;

#[derive(Clone, Debug)]
enum Write {
    Whole(Vec<u8>),
    At(usize, Vec<u8>),
}

/// A name and the file that it is given, or none.
type Assignment = (String, Option<Inode>);

#[derive(Clone, Debug, Default)]
struct State {
    durable_names: BTreeMap<String, Inode>,
    durable_bytes: BTreeMap<Inode, Vec<u8>>,
    /// Since the last `sync_names`, in order; the parts of one change are atomic.
    changes: Vec<Vec<Assignment>>,
    /// Since the file's last `sync`, in order.
    writes: BTreeMap<Inode, Vec<Write>>,
    next_inode: Inode,
    steps: u64,
    cut_at: Option<u64>,
    fail_at: Option<(u64, io::ErrorKind)>,
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

    /// Lets one step fail with an error, without effect.
    pub fn fail_at(&self, step: u64, kind: io::ErrorKind) {
        self.with(|state| state.fail_at = Some((step, kind)));
    }

    pub fn set_free_bytes(&self, bytes: u64) {
        self.with(|state| state.free_bytes = Some(bytes));
    }

    /// Whether the mains have failed.
    pub fn is_dead(&self) -> bool {
        self.with(|state| state.dead())
    }

    /// Number of changing operations so far.
    pub fn steps(&self) -> u64 {
        self.with(|state| state.steps)
    }

    /// The disk after mains are back: a new one, while old handles stay dead.
    pub fn restart(&self, seed: u64) -> Self {
        self.with(|state| {
            let mut dice = Dice(seed);
            let mut survived = State {
                next_inode: state.next_inode,
                ..State::default()
            };
            survived.durable_bytes = state.durable_bytes.clone();
            for (inode, writes) in &state.writes {
                let kept = dice.below(writes.len() as u64 + 1) as usize;
                let bytes = survived.durable_bytes.entry(*inode).or_default();
                for write in &writes[..kept] {
                    apply(bytes, write);
                }
                if let Some(torn) = writes.get(kept) {
                    apply(bytes, &tear(torn, &mut dice));
                }
            }
            survived.durable_names = state.durable_names.clone();
            for change in &state.changes {
                if dice.below(2) == 1 {
                    assign(&mut survived.durable_names, change);
                }
            }
            survived.free_bytes = state.free_bytes;
            survived.shown.clone_from(&state.shown);
            Self(Arc::new(Mutex::new(survived)))
        })
    }

    /// What another process could ever read under a renamed file's new name, in any life of the disk.
    pub fn shown(&self) -> Vec<(String, Vec<u8>)> {
        self.with(|state| state.shown.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn names(&self) -> BTreeMap<String, Inode> {
        let mut names = self.durable_names.clone();
        self.changes
            .iter()
            .for_each(|change| assign(&mut names, change));
        names
    }

    fn inode(&self, name: &str) -> io::Result<Inode> {
        self.names()
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn bytes(&self, inode: Inode) -> Vec<u8> {
        let mut bytes = self.durable_bytes.get(&inode).cloned().unwrap_or_default();
        self.writes
            .get(&inode)
            .into_iter()
            .flatten()
            .for_each(|write| apply(&mut bytes, write));
        bytes
    }

    fn dead(&self) -> bool {
        self.cut_at.is_some_and(|cut| self.steps > cut)
    }

    /// Counts a step; `Err` if it fails, `Ok(true)` if the mains fail in it.
    fn step(&mut self) -> io::Result<bool> {
        if self.dead() {
            return Err(io::Error::other("mains cut"));
        }
        let this = self.steps;
        self.steps += 1;
        match self.fail_at {
            Some((step, kind)) if step == this => Err(kind.into()),
            _ => Ok(self.cut_at == Some(this)),
        }
    }

    fn alive(&self, cut: bool) -> io::Result<()> {
        if cut {
            Err(io::Error::other("mains cut"))
        } else {
            Ok(())
        }
    }
}

impl Disk for Simulated {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.with(|state| {
            state.alive(state.dead())?;
            Ok(state
                .names()
                .iter()
                .map(|(name, inode)| (name.clone(), state.bytes(*inode).len() as u64))
                .collect())
        })
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.with(|state| {
            state.alive(state.dead())?;
            Ok(state.bytes(state.inode(name)?))
        })
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| {
            let cut = state.step()?;
            let inode = state.next_inode;
            state.next_inode += 1;
            state.changes.push(vec![(name.to_owned(), Some(inode))]);
            state
                .writes
                .entry(inode)
                .or_default()
                .push(Write::Whole(bytes.to_vec()));
            state.alive(cut)
        })
    }

    fn overwrite(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| {
            let cut = state.step()?;
            let inode = state.inode(name)?;
            state
                .writes
                .entry(inode)
                .or_default()
                .push(Write::At(offset as usize, bytes.to_vec()));
            state.alive(cut)
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.with(|state| {
            let cut = state.step()?;
            state.alive(cut)?;
            let inode = state.inode(name)?;
            let bytes = state.bytes(inode);
            state.durable_bytes.insert(inode, bytes);
            state.writes.remove(&inode);
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.with(|state| {
            let cut = state.step()?;
            let inode = state.inode(from)?;
            let bytes = state.bytes(inode);
            state.shown.push((to.to_owned(), bytes));
            state
                .changes
                .push(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
            state.alive(cut)
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.with(|state| {
            let cut = state.step()?;
            state.inode(name)?;
            state.changes.push(vec![(name.to_owned(), None)]);
            state.alive(cut)
        })
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.with(|state| {
            let cut = state.step()?;
            state.alive(cut)?;
            state.durable_names = state.names();
            state.changes.clear();
            Ok(())
        })
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.free_bytes.unwrap_or(u64::MAX)))
    }
}

fn assign(names: &mut BTreeMap<String, Inode>, change: &[Assignment]) {
    for (name, inode) in change {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

fn apply(bytes: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Whole(whole) => bytes.clone_from(whole),
        Write::At(offset, part) => {
            bytes.resize(bytes.len().max(offset + part.len()), 0);
            bytes[*offset..offset + part.len()].copy_from_slice(part);
        }
    }
}

fn tear(write: &Write, dice: &mut Dice) -> Write {
    let cut = |bytes: &[u8], dice: &mut Dice| {
        bytes[..dice.below(bytes.len() as u64 + 1) as usize].to_vec()
    };
    match write {
        Write::Whole(bytes) => Write::Whole(cut(bytes, dice)),
        Write::At(offset, bytes) => Write::At(*offset, cut(bytes, dice)),
    }
}

/// SplitMix64: the seed alone decides what survives.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit.max(1)
    }
}
