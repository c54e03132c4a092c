//! Opening: brings the directory to a state that the invariants allow, whatever cut or failure came before.

use crate::names::{ERASURES, Kind, erased_name, kind, slot_name};
use crate::{Disk, Spool, SpoolError, digest, erasures, layout};
use std::collections::BTreeMap;
use std::io;

impl<D: Disk> Spool<D> {
    /// Opens the queue. Reads the directory once, and the bytes of at most so many bundles as there are slots.
    pub fn open(disk: D, box_name: &str, reserve_bytes: u64) -> Result<Self, SpoolError> {
        let mut spool = Self {
            disk,
            box_name: box_name.to_owned(),
            reserve_bytes,
            last: 0,
            previous: None,
            queued: BTreeMap::new(),
            queued_bytes: 0,
            other_names: BTreeMap::new(),
            erased: BTreeMap::new(),
            released: Vec::new(),
            kept_bytes: 0,
            owed: Vec::new(),
            owed_bytes: 0,
            erasures: Vec::new(),
            slots: BTreeMap::new(),
            made: BTreeMap::new(),
            in_doubt: false,
        };
        let (mut slots, has_list) = spool.list()?;
        if !has_list && !spool.is_of_this_format(&slots) {
            return Err(SpoolError::OtherFormat);
        }
        let noted = spool.settle_erasures(&mut slots, has_list)?;
        for (sequence, length) in &slots {
            spool.settle_slot(*sequence, *length)?;
        }
        spool.last = [
            spool.queued.keys().next_back(),
            spool.erased.keys().next_back(),
            noted.as_ref(),
        ]
        .into_iter()
        .flatten()
        .copied()
        .max()
        .unwrap_or(0);
        spool.name_damaged()?;
        spool.keep_erased();
        // what was listed may be in the cache only
        let synced = spool.sync_names();
        synced.map_err(|source| spool.unsettled("the directory", source))?;
        spool.previous = spool
            .held(spool.last)
            .ok()
            .flatten()
            .map(|bundle| bundle.sha256);
        Ok(spool)
    }

    /// Takes in the directory; returns the slots with their lengths, and whether there is a list of erasures.
    fn list(&mut self) -> Result<(BTreeMap<u64, u64>, bool), SpoolError> {
        let (mut slots, mut has_list) = (BTreeMap::new(), false);
        let mut twice = None;
        let prefix = format!("{}-", self.box_name);
        let (queued, bytes, other_names, erased) = (
            &mut self.queued,
            &mut self.queued_bytes,
            &mut self.other_names,
            &mut self.erased,
        );
        let listed = self.disk.each_file(&mut |name, length| match kind(name) {
            Kind::Queued(sequence) => {
                if queued.insert(sequence, length).is_some() {
                    twice = Some(sequence);
                }
                *bytes += length;
                if !name.starts_with(&prefix) {
                    other_names.insert(sequence, name.to_owned());
                }
            }
            Kind::Slot(sequence) => {
                slots.insert(sequence, length);
            }
            Kind::Erased(sequence) => {
                erased.insert(sequence, length);
            }
            Kind::Erasures => has_list = true,
            Kind::Alien => {}
        });
        listed.map_err(SpoolError::List)?;
        let both = || self.erased.keys().find(|it| self.queued.contains_key(it));
        match twice.or_else(|| both().copied()) {
            Some(sequence) => Err(SpoolError::TwoOfOneNumber { sequence }),
            None => Ok((slots, has_list)),
        }
    }

    /// Whether a folder without a list of erasures may be taken for one that is new, or has lost just the list.
    fn is_of_this_format(&self, slots: &BTreeMap<u64, u64>) -> bool {
        let queued = self.queued.keys().next_back().map(|it| self.name(*it));
        let erased = self.erased.keys().next_back().map(|it| erased_name(*it));
        let written = slots.iter().filter(|(_, length)| **length > 0);
        let slots = written.map(|(sequence, _)| slot_name(*sequence));
        let mut bearers = queued.into_iter().chain(erased).chain(slots).peekable();
        let is_new = bearers.peek().is_none();
        is_new || bearers.any(|name| matches!(self.record_of(&name), Ok(Some(_))))
    }

    /// Gives the bundles that the list of erasures names the names of erased ones. Returns the highest number in the list:
    /// it was given, even if its file is lost, and is not given again (invariant 4).
    fn settle_erasures(
        &mut self,
        slots: &mut BTreeMap<u64, u64>,
        has_list: bool,
    ) -> Result<Option<u64>, SpoolError> {
        let mut bytes = [0; erasures::LIST_BYTES];
        let read = self.disk.read_at(ERASURES, 0, &mut bytes);
        let Some(numbers) = read
            .ok()
            .and_then(|length| erasures::decode(&bytes[..length]))
        else {
            // New, or rotten: then a bundle that was erased may be in the queue again. It is sent once more. Its room is
            // taken now, so that no erasure fails on a full disk.
            let made = if has_list {
                Ok(())
            } else {
                self.disk.create(ERASURES)
            };
            return made
                .and_then(|()| self.disk.write(ERASURES, 0, &erasures::encode(&[])))
                .map(|()| None)
                .map_err(|source| self.unsettled(ERASURES, source));
        };
        for &sequence in &numbers {
            let name = if self.queued.contains_key(&sequence) {
                self.name(sequence)
            } else if slots.contains_key(&sequence) && !self.erased.contains_key(&sequence) {
                slot_name(sequence)
            } else {
                continue;
            };
            self.disk
                .rename(&name, &erased_name(sequence))
                .map_err(|source| self.unsettled(&name, source))?;
            if self.queued.contains_key(&sequence) {
                self.take_out(sequence);
            } else if let Some(length) = slots.remove(&sequence) {
                self.erased.insert(sequence, length);
            }
        }
        Ok(numbers.into_iter().max())
    }

    /// Has erased bundles shortened where they are more than may be kept.
    fn keep_erased(&mut self) {
        self.kept_bytes = self.slots.values().sum();
        for (sequence, length) in self.erased.clone() {
            if !self.may_keep(length) {
                self.owed.push(sequence);
            }
            self.kept_bytes += length;
        }
    }

    /// Names the bundle in a slot where the slot's record and bytes say that it was appended (invariant 2).
    fn settle_slot(&mut self, sequence: u64, length: u64) -> Result<(), SpoolError> {
        let slot = slot_name(sequence);
        if self.queued.contains_key(&sequence) || self.erased.contains_key(&sequence) {
            // the second name of a bundle that was set aside before its first renaming was durable
            let removed = self.disk.remove(&slot);
            return removed.map_err(|source| self.unsettled(&slot, source));
        }
        self.slots.insert(sequence, length);
        // what cannot be read was not synced, or is rotten: `name_damaged` knows which
        let Ok(Some(record)) = self.record_of(&slot) else {
            return Ok(());
        };
        if record.sequence != sequence {
            return Ok(());
        }
        let Ok(file) = self.disk.read(&slot) else {
            return Ok(());
        };
        if layout::contents(&file).map(digest) != Some(record.bundle.sha256) {
            return Ok(());
        }
        // They may be in the cache only, even marked clean, after a sync that failed: so they are written anew. Equal
        // bytes in place cannot damage what is durable.
        let durable = self
            .disk
            .write(&slot, 0, &file)
            .and_then(|()| self.disk.sync(&slot));
        durable.map_err(|source| self.unsettled(&slot, source))?;
        self.slots.remove(&sequence);
        self.name_appended(sequence, length).map(drop)
    }

    /// A slot up to the last number was committed, so its bundle has rotted since: it is named, for the scrub to find.
    fn name_damaged(&mut self) -> Result<(), SpoolError> {
        let later = self.slots.split_off(&(self.last + 1));
        for (sequence, length) in std::mem::replace(&mut self.slots, later) {
            self.name_appended(sequence, length)?;
        }
        Ok(())
    }

    fn unsettled(&self, name: &str, source: io::Error) -> SpoolError {
        SpoolError::Recover {
            name: name.to_owned(),
            source,
        }
    }
}
