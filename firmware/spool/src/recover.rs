//! Opening: brings the directory to a state that the invariants allow, whatever cut or failure came before.

use crate::names::{Kind, kind, slot_name};
use crate::record::Record;
use crate::{Disk, Spool, SpoolError, digest};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

impl<D: Disk> Spool<D> {
    /// Opens the queue. Reads the directory once, and the bytes of at most [`crate::SLOTS`] bundles.
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
            erased: BTreeSet::new(),
            released: VecDeque::new(),
            slots: BTreeSet::new(),
            in_doubt: false,
        };
        let slots = spool.list()?;
        for (sequence, size_bytes) in &slots {
            spool.settle_slot(*sequence, *size_bytes)?;
        }
        spool.last = [spool.queued.keys().next_back(), spool.erased.last()]
            .into_iter()
            .flatten()
            .copied()
            .max()
            .unwrap_or(0);
        spool.name_damaged(&slots)?;
        // what was listed may be in the cache only
        let synced = spool.disk.sync_names();
        synced.map_err(|source| spool.unsettled("the directory", source))?;
        spool.previous = spool
            .held(spool.last)
            .ok()
            .flatten()
            .map(|bundle| bundle.sha256);
        Ok(spool)
    }

    /// Takes in the directory and returns the slots with their sizes.
    fn list(&mut self) -> Result<BTreeMap<u64, u64>, SpoolError> {
        let mut slots = BTreeMap::new();
        let mut twice = None;
        let prefix = format!("{}-", self.box_name);
        let (queued, bytes, other_names, erased) = (
            &mut self.queued,
            &mut self.queued_bytes,
            &mut self.other_names,
            &mut self.erased,
        );
        let listed = self
            .disk
            .each_file(&mut |name, size_bytes| match kind(name) {
                Kind::Queued(sequence) => {
                    if queued.insert(sequence, size_bytes).is_some() {
                        twice = Some(sequence);
                    }
                    *bytes += size_bytes;
                    if !name.starts_with(&prefix) {
                        other_names.insert(sequence, name.to_owned());
                    }
                }
                Kind::Slot(sequence) => {
                    slots.insert(sequence, size_bytes);
                }
                Kind::Erased(sequence) => {
                    erased.insert(sequence);
                }
                Kind::Alien => {}
            });
        listed.map_err(SpoolError::List)?;
        let both = || self.erased.iter().find(|it| self.queued.contains_key(it));
        match twice.or_else(|| both().copied()) {
            Some(sequence) => Err(SpoolError::TwoOfOneNumber { sequence }),
            None => Ok(slots),
        }
    }

    /// Names the bundle in a slot where the slot's record and bytes say that it was appended (invariant 2).
    fn settle_slot(&mut self, sequence: u64, size_bytes: u64) -> Result<(), SpoolError> {
        let slot = slot_name(sequence);
        if self.queued.contains_key(&sequence) || self.erased.contains(&sequence) {
            // the second name of a bundle that was set aside before its first renaming was durable
            let removed = self.disk.remove(&slot);
            return removed.map_err(|source| self.unsettled(&slot, source));
        }
        self.slots.insert(sequence);
        let read = |source| SpoolError::Read {
            name: slot.clone(),
            source,
        };
        let record = self
            .disk
            .record(&slot)
            .map_err(read)?
            .and_then(|bytes| Record::decode(&bytes));
        let Some(record) = record
            .filter(|record| record.sequence == sequence && record.bundle.size_bytes == size_bytes)
        else {
            return Ok(());
        };
        // bytes that cannot be read were not synced, or are rotten: `name_damaged` knows which
        let Ok(bytes) = self.disk.read(&slot) else {
            return Ok(());
        };
        if digest(&bytes) != record.bundle.sha256 {
            return Ok(());
        }
        // They may be in the cache only, even marked clean, after a sync that failed: so they are written anew. Equal
        // bytes in place cannot damage what is durable.
        let durable = self
            .disk
            .write(&slot, &bytes, &record.encode())
            .and_then(|()| self.disk.sync(&slot));
        durable.map_err(|source| self.unsettled(&slot, source))?;
        self.slots.remove(&sequence);
        self.name_appended(sequence, size_bytes).map(drop)
    }

    /// A slot up to the last number was committed, so its bundle has rotted since: it is named, for the scrub to find.
    fn name_damaged(&mut self, listed: &BTreeMap<u64, u64>) -> Result<(), SpoolError> {
        for sequence in self.slots.range(..=self.last).copied().collect::<Vec<_>>() {
            self.slots.remove(&sequence);
            let size_bytes = listed.get(&sequence).copied().unwrap_or(0);
            self.name_appended(sequence, size_bytes)?;
        }
        Ok(())
    }

    fn unsettled(&self, name: &str, source: std::io::Error) -> SpoolError {
        SpoolError::Recover {
            name: name.to_owned(),
            source,
        }
    }
}
