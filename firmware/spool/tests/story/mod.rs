//! A writer's story on the simulated disk, and the plainest model of what it was told: a map from number to bytes.

#![allow(dead_code)] // each test file uses its part

use spool::simulated::Simulated;
use spool::{Acknowledgement, Advice, Digest, Disk, Spool, SpoolError, Standing, contents, digest};
use std::collections::BTreeMap;

pub const BOX: &str = "box";

pub struct Proof {
    pub bundle: String,
    pub bytes: Vec<u8>,
}

impl Acknowledgement for Proof {
    fn bundle(&self) -> &str {
        &self.bundle
    }
    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
    fn sha256(&self) -> Digest {
        digest(&self.bytes)
    }
}

pub fn proof(sequence: u64, bytes: &[u8]) -> Proof {
    Proof {
        bundle: spool::bundle_name(BOX, sequence),
        bytes: bytes.to_vec(),
    }
}

/// The bytes of one attempt at a number; no two are equal. One to four sectors.
pub fn body(sequence: u64, attempt: u64) -> Vec<u8> {
    let length = [40, 700, 1100, 512, 1600][(sequence + attempt) as usize % 5];
    let mut bytes = vec![(sequence * 7 + attempt * 31) as u8; length];
    bytes[..16].copy_from_slice(&[sequence.to_le_bytes(), attempt.to_le_bytes()].concat());
    bytes
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Append,
    /// The oldest in the queue.
    EraseOldest,
    EraseNewest,
    /// The writer needs no erased record any more.
    Release,
    Reopen,
}

/// What the caller was told.
#[derive(Clone, Debug, Default, Hash)]
pub struct Told {
    /// Every bundle appended; `true` while it is queued.
    pub bundles: BTreeMap<u64, (Vec<u8>, bool)>,
    /// Offered, and neither taken nor refused.
    pub offered: Option<(u64, Vec<u8>)>,
    pub erasing: Option<u64>,
    attempts: u64,
}

impl Told {
    pub fn last(&self) -> u64 {
        self.bundles.keys().next_back().copied().unwrap_or(0)
    }

    fn standing(&self) -> (u64, usize) {
        (self.last(), self.queued().count())
    }

    fn queued(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.bundles
            .iter()
            .filter(|(_, (_, queued))| *queued)
            .map(|(sequence, _)| *sequence)
    }

    fn oldest(&self) -> Option<u64> {
        self.queued().next()
    }

    fn newest(&self) -> Option<u64> {
        self.queued().next_back()
    }
}

/// Plays the acts as the intake does: tries again where the advice is to, opens anew where it is to. Ends with the first
/// error that neither cures, or when the mains fail.
pub fn play(disk: &Simulated, acts: &[Act], told: &mut Told) -> Result<(), SpoolError> {
    let mut spool = open(disk, told)?;
    for act in acts {
        let mut tries = 0;
        loop {
            let before = told.standing();
            let error = match perform(&mut spool, *act, told) {
                Ok(()) => break,
                Err(error) => error,
            };
            tries += 1;
            if tries > 3 || disk.is_dead() {
                return Err(error);
            }
            match error.advice() {
                Advice::Retry => {}
                Advice::Reopen => {
                    spool = open(disk, told)?;
                    // it was done after all
                    if told.standing() != before {
                        break;
                    }
                }
                Advice::Discard | Advice::Stop => panic!("{act:?}: {error}"),
            }
        }
        if *act == Act::Reopen {
            spool = open(disk, told)?;
        }
    }
    Ok(())
}

/// Opens, and learns what became of what was on its way.
fn open(disk: &Simulated, told: &mut Told) -> Result<Spool<Simulated>, SpoolError> {
    let spool = match Spool::open(disk.clone(), BOX, 0) {
        Err(error) if error.advice() != Advice::Stop && !disk.is_dead() => {
            Spool::open(disk.clone(), BOX, 0)?
        }
        result => result?,
    };
    if let Some((sequence, bytes)) = told.offered.clone() {
        let standing = spool.standing(sequence, digest(&bytes))?;
        told.offered = None;
        match standing {
            Standing::Queued => drop(told.bundles.insert(sequence, (bytes, true))),
            Standing::NeverAppended => {}
            other => panic!("bundle {sequence}, which was offered, is {other:?}"),
        }
    }
    if let Some(sequence) = told.erasing.take()
        && !spool.is_queued(sequence)
    {
        told.bundles
            .entry(sequence)
            .and_modify(|entry| entry.1 = false);
    }
    Ok(spool)
}

fn perform(spool: &mut Spool<Simulated>, act: Act, told: &mut Told) -> Result<(), SpoolError> {
    match act {
        Act::Append => {
            let sequence = spool.next().sequence;
            told.attempts += 1;
            let bytes = body(sequence, told.attempts);
            told.offered = Some((sequence, bytes.clone()));
            let appended = spool.append(sequence, digest(&bytes), &bytes);
            match &appended {
                Ok(_) => {
                    told.bundles.insert(sequence, (bytes, true));
                    told.offered = None;
                }
                // "nothing was changed": this attempt must never be seen
                Err(error) if error.advice() == Advice::Retry => told.offered = None,
                Err(_) => {}
            }
            appended.map(drop)
        }
        Act::EraseOldest | Act::EraseNewest => {
            let chosen = if act == Act::EraseOldest {
                told.oldest()
            } else {
                told.newest()
            };
            let Some(sequence) = chosen else {
                return Ok(());
            };
            told.erasing = Some(sequence);
            let erased = spool.erase(&proof(sequence, &told.bundles[&sequence].0))?;
            assert!(!erased.before);
            told.erasing = None;
            told.bundles
                .entry(sequence)
                .and_modify(|entry| entry.1 = false);
            Ok(())
        }
        Act::Release => {
            for sequence in spool.erased().collect::<Vec<_>>() {
                spool.release(sequence);
            }
            Ok(())
        }
        Act::Reopen => Ok(()),
    }
}

/// Opens the disk of the next boot and compares it with every state that the model allows. Returns the open queue.
pub fn check(disk: &Simulated, told: &Told) -> Result<Spool<Simulated>, String> {
    check_at_boot(disk, told)?;
    let spool = Spool::open(disk.clone(), BOX, 0).map_err(|error| error.to_string())?;
    if let Some(name) = disk.second_name() {
        return Err(format!("{name} is the second name of a file"));
    }
    let next = spool.next();
    let mut allowed = told.bundles.clone();
    if let Some((sequence, bytes)) = &told.offered
        && next.sequence == sequence + 1
    {
        allowed.insert(*sequence, (bytes.clone(), true));
    }
    let last = allowed.keys().next_back().copied().unwrap_or(0);
    if next.sequence != last + 1 {
        return Err(format!("next is {}, told {last}", next.sequence));
    }
    if next.previous != allowed.get(&last).map(|(bytes, _)| digest(bytes)) {
        return Err(format!("the digest of bundle {last} is another"));
    }
    for (&sequence, (bytes, queued)) in &allowed {
        let standing = spool
            .standing(sequence, digest(bytes))
            .map_err(|error| error.to_string())?;
        let right = match (standing, queued) {
            (Standing::Queued, true) => true,
            (Standing::Erased, true) => told.erasing == Some(sequence),
            // a released record may be gone; the newest one never
            (Standing::Forgotten, false) => sequence != last,
            (Standing::Erased, false) => true,
            _ => false,
        };
        if !right {
            return Err(format!("bundle {sequence} is {standing:?}, told {queued}"));
        }
    }
    for (sequence, queued) in spool.queued() {
        let file = disk.read(&queued.name).map_err(|error| error.to_string())?;
        let wanted = allowed.get(&sequence).map(|(bytes, _)| &bytes[..]);
        if contents(&file) != wanted {
            return Err(format!("bundle {sequence} has other bytes"));
        }
    }
    Ok(spool)
}

/// A reader that is there before the writer sees whole bundles only, under their own names.
fn check_at_boot(disk: &Simulated, told: &Told) -> Result<(), String> {
    let names = disk.list().map_err(|error| error.to_string())?;
    for (name, _) in names {
        let Some(sequence) = spool::sequence_of(&name) else {
            continue;
        };
        let file = disk.read(&name).map_err(|error| error.to_string())?;
        let appended = told.bundles.get(&sequence).map(|(bytes, _)| bytes);
        let offered = told.offered.iter().find(|(number, _)| *number == sequence);
        let wanted = appended.or(offered.map(|(_, bytes)| bytes));
        if contents(&file) != wanted.map(Vec::as_slice) {
            return Err(format!("other bytes are seen as {name} at boot"));
        }
    }
    Ok(())
}

/// What a reader could ever see under one name is one bundle.
pub fn check_shown(disk: &Simulated) -> Result<(), String> {
    let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, file) in disk.shown() {
        if !name.ends_with(".cms") {
            continue;
        }
        let Some(bytes) = contents(&file).map(<[u8]>::to_vec) else {
            return Err(format!("no bundle was seen as {name}"));
        };
        if *seen.entry(name.clone()).or_insert_with(|| bytes.clone()) != bytes {
            return Err(format!("two bundles were seen as {name}"));
        }
    }
    Ok(())
}
