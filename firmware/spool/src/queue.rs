//! The open queue: append, erase, discard, release.

use crate::names::{bundle_name, erased_name, sequence_of, slot_name};
use crate::record::Record;
use crate::scrub::examine;
use crate::{
    Acknowledgement, Bundle, Digest, Disk, Erased, Next, Queued, SpoolError, Standing, digest,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

/// Slots made at a time. One sync of names in so many appends; and so many files at most that opening must hash.
pub const SLOTS: u64 = 16;

/// Bytes that an erased bundle's file keeps allocated, to be written over by a later bundle. Writing over allocated
/// blocks spares the file system their release and allocation, which cost more than the sync on disks that discard.
const KEPT_BYTES: u64 = 1 << 20;

/// Files of released bundles that are kept to be written over; what is above goes at once.
const KEPT_FILES: usize = 64;

/// The open queue.
pub struct Spool<D> {
    pub(crate) disk: D,
    pub(crate) box_name: String,
    /// Free space that append leaves to others (the audit trail), in bytes.
    pub(crate) reserve_bytes: u64,
    /// Number appended last; 0: none yet.
    pub(crate) last: u64,
    /// Digest of that bundle.
    pub(crate) previous: Option<Digest>,
    /// Number and size. Nothing else is held in memory of a bundle.
    pub(crate) queued: BTreeMap<u64, u64>,
    pub(crate) queued_bytes: u64,
    /// Names of bundles that were made when the box had another name.
    pub(crate) other_names: BTreeMap<u64, String>,
    /// Erased bundles whose records are kept until they are released.
    pub(crate) erased: BTreeSet<u64>,
    /// Released ones, whose files may be written over.
    pub(crate) released: VecDeque<u64>,
    /// Slots whose names are durable.
    pub(crate) slots: BTreeSet<u64>,
    pub(crate) in_doubt: bool,
}

impl<D: Disk> Spool<D> {
    /// What the next bundle must be.
    pub fn next(&self) -> Next {
        Next {
            sequence: self.last + 1,
            previous: self.previous,
        }
    }

    /// Tells what the writer durably knows of the newest bundle. Where its file is lost or its record damaged, this is
    /// the only place that knows its number, which must not be given again (invariant 4). `false`: they disagree.
    pub fn recall(&mut self, sequence: u64, sha256: Digest) -> bool {
        if sequence > self.last {
            self.last = sequence;
            self.previous = None;
            self.slots.retain(|slot| *slot > sequence);
        }
        if sequence == self.last {
            sha256 == *self.previous.get_or_insert(sha256)
        } else {
            false
        }
    }

    /// Appends the bundle; when this returns `Ok`, it is durable. `sha256` is what the caller has recorded of it.
    pub fn append(
        &mut self,
        sequence: u64,
        sha256: Digest,
        sealed: &[u8],
    ) -> Result<Queued, SpoolError> {
        self.check()?;
        if sequence != self.last + 1 {
            return Err(SpoolError::OutOfSequence {
                expected: self.last + 1,
                given: sequence,
            });
        }
        if digest(sealed) != sha256 {
            return Err(SpoolError::DigestOfAppend { sequence });
        }
        let size_bytes = sealed.len() as u64;
        self.room_for(size_bytes)?;
        self.make_slots()?;
        let bundle = Bundle { size_bytes, sha256 };
        let record = Record { sequence, bundle }.encode();
        let slot = slot_name(sequence);
        let written = self
            .disk
            .write(&slot, sealed, &record)
            .and_then(|()| self.disk.sync(&slot));
        if let Err(source) = written {
            return Err(self.abandon(sequence, size_bytes, source));
        }
        self.slots.remove(&sequence);
        self.last = sequence;
        self.previous = Some(sha256);
        self.name_appended(sequence, size_bytes)
    }

    /// The last step of an append. It need not be durable: opening makes up for it.
    pub(crate) fn name_appended(
        &mut self,
        sequence: u64,
        size_bytes: u64,
    ) -> Result<Queued, SpoolError> {
        let name = self.name(sequence);
        if let Err(source) = self.disk.rename(&slot_name(sequence), &name) {
            self.in_doubt = true;
            return Err(SpoolError::Commit { name, source });
        }
        self.queued.insert(sequence, size_bytes);
        self.queued_bytes += size_bytes;
        Ok(Queued { name, size_bytes })
    }

    /// After a failed write or sync nobody knows what of the slot reaches the disk, and the caller may offer another
    /// bundle of this number next: so the slot must go, durably (invariant 5).
    fn abandon(&mut self, sequence: u64, size_bytes: u64, source: io::Error) -> SpoolError {
        let name = self.name(sequence);
        self.slots.remove(&sequence);
        let gone = self
            .disk
            .remove(&slot_name(sequence))
            .and_then(|()| self.disk.sync_names());
        if let Err(source) = gone {
            self.in_doubt = true;
            return SpoolError::Commit { name, source };
        }
        self.full_or(source, size_bytes, |source| SpoolError::Write {
            name,
            source,
        })
    }

    fn full_or(
        &self,
        source: io::Error,
        needed: u64,
        other: impl FnOnce(io::Error) -> SpoolError,
    ) -> SpoolError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SpoolError::Full {
                free: self.disk.free_bytes().unwrap_or(0),
                needed,
            },
            _ => other(source),
        }
    }

    /// Sees to it that the next bundle has a slot with a durable name.
    fn make_slots(&mut self) -> Result<(), SpoolError> {
        let next = self.last + 1;
        if self.slots.contains(&next) {
            return Ok(());
        }
        let missing: Vec<u64> = (next..next + SLOTS)
            .filter(|number| !self.slots.contains(number))
            .collect();
        for number in &missing {
            let slot = slot_name(*number);
            let made = match self.take_released() {
                Some(old) => self.disk.rename(&erased_name(old), &slot),
                None => self.disk.create(&slot),
            };
            if let Err(source) = made {
                return Err(
                    self.full_or(source, 0, |source| SpoolError::Write { name: slot, source })
                );
            }
        }
        if let Err(source) = self.disk.sync_names() {
            self.in_doubt = true;
            let name = slot_name(next);
            return Err(SpoolError::Commit { name, source });
        }
        self.slots.extend(missing);
        Ok(())
    }

    /// A file to write over. The newest bundle's record stays: it holds the last number (invariant 4).
    fn take_released(&mut self) -> Option<u64> {
        let place = self.released.iter().position(|old| *old != self.last)?;
        self.released.remove(place)
    }

    /// Says whether a bundle of this size would be taken now. The reserve stays free for others.
    pub fn room_for(&self, size_bytes: u64) -> Result<(), SpoolError> {
        let free = self.disk.free_bytes().map_err(SpoolError::FreeSpace)?;
        let needed = size_bytes.saturating_add(self.reserve_bytes);
        if free < needed {
            Err(SpoolError::Full { free, needed })
        } else {
            Ok(())
        }
    }

    /// Removes a bundle that the receiver has confirmed; when this returns `Ok`, the removal is durable.
    ///
    /// A bundle that was erased before is no error: the cut may have come between erasing it and deleting its receipt.
    pub fn erase(&mut self, proof: &impl Acknowledgement) -> Result<Erased, SpoolError> {
        self.check()?;
        let name = proof.bundle();
        let unknown = || SpoolError::UnknownBundle {
            name: name.to_owned(),
        };
        let sequence = sequence_of(name)
            .filter(|sequence| self.name(*sequence) == name && *sequence <= self.last)
            .ok_or_else(unknown)?;
        let before = !self.queued.contains_key(&sequence);
        if !before {
            let held = self.held(sequence)?.ok_or_else(unknown)?;
            let proven = Bundle {
                size_bytes: proof.size_bytes(),
                sha256: proof.sha256(),
            };
            if held != proven {
                return Err(SpoolError::ReceiptOfOther {
                    name: name.to_owned(),
                });
            }
            self.set_aside(sequence)?;
        }
        Ok(Erased { sequence, before })
    }

    /// Removes a damaged bundle from the queue once the bundle `notice`, which tells the data centre of the loss, is
    /// durable. A bundle that is whole is kept.
    pub fn discard(&mut self, sequence: u64, notice: u64) -> Result<(), SpoolError> {
        self.check()?;
        let lost = notice > sequence && notice <= self.last;
        if !lost {
            return Err(SpoolError::NotLost { sequence });
        }
        let Some(size_bytes) = self.queued.get(&sequence).copied() else {
            return Ok(());
        };
        match examine(self, sequence) {
            None => return Err(SpoolError::NotLost { sequence }),
            Some(damage) if damage.found == crate::Found::Vanished => {
                self.queued.remove(&sequence);
                self.queued_bytes -= size_bytes;
                self.other_names.remove(&sequence);
            }
            Some(_) => self.set_aside(sequence)?,
        }
        Ok(())
    }

    /// Takes a bundle out of the queue durably and keeps its record.
    fn set_aside(&mut self, sequence: u64) -> Result<(), SpoolError> {
        let (name, erased) = (self.name(sequence), erased_name(sequence));
        let gone = self
            .disk
            .rename(&name, &erased)
            .and_then(|()| self.disk.sync_names());
        if let Err(source) = gone {
            self.in_doubt = true;
            return Err(SpoolError::Remove { name, source });
        }
        let size_bytes = self.queued.remove(&sequence).unwrap_or(0);
        self.queued_bytes -= size_bytes;
        self.other_names.remove(&sequence);
        self.erased.insert(sequence);
        if size_bytes > KEPT_BYTES || self.erased.len() + self.released.len() > KEPT_FILES {
            // frees its blocks; where that fails it is tried when the file is written over
            let _ = self.disk.truncate(&erased, 0);
        }
        Ok(())
    }

    /// Erased bundles whose records are kept.
    pub fn erased(&self) -> impl ExactSizeIterator<Item = u64> {
        self.erased.iter().copied()
    }

    /// The writer needs the record of this erased bundle no more. Nothing is made durable: after a cut the record may be
    /// there again, and is released again.
    pub fn release(&mut self, sequence: u64) {
        if self.erased.remove(&sequence) {
            self.released.push_back(sequence);
        }
        while self.released.len() > KEPT_FILES {
            let Some(old) = self.take_released() else {
                return;
            };
            // one that cannot be removed now is found when the spool is opened next
            let _ = self.disk.remove(&erased_name(old));
        }
    }

    /// What became of the bundle with this number and digest.
    pub fn standing(&self, sequence: u64, sha256: Digest) -> Result<Standing, SpoolError> {
        if sequence > self.last {
            return Ok(Standing::NeverAppended);
        }
        let Some(held) = self.held(sequence)? else {
            return Ok(Standing::Forgotten);
        };
        Ok(
            match (held.sha256 == sha256, self.queued.contains_key(&sequence)) {
                (false, _) => Standing::OtherDigest,
                (true, true) => Standing::Queued,
                (true, false) => Standing::Erased,
            },
        )
    }

    /// Size and digest of the bundle as it was appended with this number: what a receipt for it must state, whatever
    /// became of its bytes. `None` for a number not yet given, and for one of which nothing is kept.
    pub fn held(&self, sequence: u64) -> Result<Option<Bundle>, SpoolError> {
        let name = if self.queued.contains_key(&sequence) {
            self.name(sequence)
        } else if self.erased.contains(&sequence) || self.released.contains(&sequence) {
            erased_name(sequence)
        } else {
            return Ok(None);
        };
        let bytes = match self.disk.record(&name) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SpoolError::Read { name, source }),
        };
        bytes
            .and_then(|bytes| Record::decode(&bytes))
            .filter(|record| record.sequence == sequence)
            .map(|record| Some(record.bundle))
            .ok_or(SpoolError::Record { sequence })
    }

    /// Whether the bundle of this number waits.
    pub fn is_queued(&self, sequence: u64) -> bool {
        self.queued.contains_key(&sequence)
    }

    /// Bundles in the queue, oldest first.
    pub fn queued(&self) -> impl ExactSizeIterator<Item = (u64, Queued)> {
        self.queued.iter().map(|(sequence, size_bytes)| {
            let queued = Queued {
                name: self.name(*sequence),
                size_bytes: *size_bytes,
            };
            (*sequence, queued)
        })
    }

    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    pub(crate) fn name(&self, sequence: u64) -> String {
        match self.other_names.get(&sequence) {
            Some(name) => name.clone(),
            None => bundle_name(&self.box_name, sequence),
        }
    }

    fn check(&self) -> Result<(), SpoolError> {
        if self.in_doubt {
            Err(SpoolError::InDoubt)
        } else {
            Ok(())
        }
    }
}
