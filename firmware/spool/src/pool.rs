//! Files to be written over: slots for the next bundles, made from the files of released ones.

use crate::layout::{length_for, write_record};
use crate::names::{erased_name, slot_name};
use crate::record::Record;
use crate::{Disk, Spool, SpoolError};
use std::io;

impl<D: Disk> Spool<D> {
    /// Sees to it that the next bundle has a slot with a durable name.
    pub(crate) fn make_slots(&mut self) -> Result<(), SpoolError> {
        let next = self.last + 1;
        if self.slots.contains_key(&next) {
            return Ok(());
        }
        // A released file takes a slot's name only from a durable name of its own: or a cut could leave it both, and the
        // next bundle would be written over by the one after it.
        if !self.erasures.is_empty()
            && self.spare().next().is_some()
            && let Err(source) = self.sync_names()
        {
            self.in_doubt = true;
            let name = slot_name(next);
            return Err(SpoolError::Commit { name, source });
        }
        for number in next..next + D::BOUNDS.slots {
            if self.slots.contains_key(&number) || self.made.contains_key(&number) {
                continue;
            }
            let slot = slot_name(number);
            let (made, length) = match self.take_released() {
                Some((old, length)) => (self.disk.rename(&erased_name(old), &slot), length),
                None => (self.disk.create(&slot), 0),
            };
            if let Err(source) = made {
                return Err(
                    self.full_or(source, 0, |source| SpoolError::Write { name: slot, source })
                );
            }
            self.made.insert(number, length);
        }
        if let Err(source) = self.sync_names() {
            self.in_doubt = true;
            let name = slot_name(next);
            return Err(SpoolError::Commit { name, source });
        }
        self.slots.append(&mut self.made);
        Ok(())
    }

    /// A file to write over: the longest, which is the likeliest to have room enough.
    fn take_released(&mut self) -> Option<(u64, u64)> {
        let place = self.spare().max_by_key(|(_, length)| *length)?.0;
        Some(self.released.swap_remove(place))
    }

    /// The shortest of the released files, to be removed.
    pub(crate) fn drop_released(&mut self) -> Option<u64> {
        let place = self.spare().min_by_key(|(_, length)| *length)?.0;
        let (old, length) = self.released.swap_remove(place);
        self.kept_bytes -= length;
        Some(old)
    }

    /// Places and lengths of released files. The newest bundle's record stays: it holds the last number (invariant 4).
    fn spare(&self) -> impl Iterator<Item = (usize, u64)> {
        let files = self.released.iter().enumerate();
        files
            .filter(|(_, (old, _))| *old != self.last)
            .map(|(place, (_, length))| (place, *length))
    }

    /// What length a slot of length `old` gets for a bundle. It keeps its own, unless that is too short or wastes room.
    pub(crate) fn fitting(&self, old: u64, size_bytes: u64) -> u64 {
        let bounds = D::BOUNDS;
        let needed = length_for(size_bytes, bounds.grain_bytes);
        let may_waste = self.queued.len() < bounds.slack_files;
        match old.checked_sub(needed) {
            Some(slack) if may_waste && slack <= bounds.slack_bytes => old,
            None if may_waste && old > 0 => needed.next_multiple_of(bounds.growth_bytes),
            _ => needed,
        }
    }

    /// Whether an erased bundle's file of this length may stay as long as it is.
    pub(crate) fn may_keep(&self, length: u64) -> bool {
        let bounds = D::BOUNDS;
        let free = self.disk.free_bytes().unwrap_or(0);
        let most = (free.saturating_sub(self.reserve_bytes) / 4).min(bounds.kept_bytes);
        length <= bounds.grain_bytes
            || self.erased.len() + self.released.len() < bounds.kept_files
                && self.kept_bytes + length <= most
    }

    /// Makes all names durable, so nothing need be known any more of the erasures so far, and erased bundles may be shortened.
    pub(crate) fn sync_names(&mut self) -> io::Result<()> {
        self.disk.sync_names()?;
        self.erasures.clear();
        self.owed_bytes = 0;
        for sequence in std::mem::take(&mut self.owed) {
            let length = self.shorten(sequence);
            let of_released = self.released.iter_mut().find(|(old, _)| *old == sequence);
            let known = self
                .erased
                .get_mut(&sequence)
                .or(of_released.map(|(_, length)| length));
            // where it fails, its room is had again when the file is written over
            if let (Some(known), Ok(length)) = (known, length) {
                self.kept_bytes -= known.saturating_sub(length);
                *known = length;
            }
        }
        Ok(())
    }

    /// Gives back the room of an erased bundle, all but that of its record, and returns the new length. The record is durable
    /// at its new place before it goes from the old one.
    fn shorten(&mut self, sequence: u64) -> Result<u64, SpoolError> {
        let name = erased_name(sequence);
        let failed = |source| SpoolError::Remove {
            name: erased_name(sequence),
            source,
        };
        let length = match self.held(sequence) {
            Ok(Some(bundle)) => {
                let length = D::BOUNDS.grain_bytes;
                let record = Record { sequence, bundle }.encode();
                write_record(&mut self.disk, &name, length, &record)
                    .and_then(|()| self.disk.sync(&name))
                    .map_err(failed)?;
                length
            }
            // a slot by now
            Ok(None) => return Err(SpoolError::UnknownBundle { name }),
            // there is no record to keep
            Err(SpoolError::Record { .. }) => 0,
            Err(error) => return Err(error),
        };
        self.disk.truncate(&name, length).map_err(failed)?;
        Ok(length)
    }
}
