//! How bundles leave the queue: erase, discard, release.

use crate::names::{ERASURES, erased_name, sequence_of};
use crate::scrub::examine;
use crate::{Acknowledgement, Bundle, Disk, Erased, Spool, SpoolError, erasures};
use std::io;

impl<D: Disk> Spool<D> {
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
        let Some(file_bytes) = self.queued.get(&sequence).copied() else {
            return Ok(());
        };
        match examine(self, sequence) {
            None => return Err(SpoolError::NotLost { sequence }),
            Some(damage) if damage.found == crate::Found::Vanished => {
                self.queued.remove(&sequence);
                self.queued_bytes -= file_bytes;
                self.other_names.remove(&sequence);
            }
            Some(_) => self.set_aside(sequence)?,
        }
        Ok(())
    }

    /// Takes a bundle out of the queue durably and keeps its record.
    fn set_aside(&mut self, sequence: u64) -> Result<(), SpoolError> {
        let length = self.queued.get(&sequence).copied().unwrap_or(0);
        let keep = self.may_keep(length);
        // its room is wanted now: then the name must be durable now, and need not be noted before
        let at_once = !keep && self.owed_bytes + length >= D::BOUNDS.owed_bytes;
        let name = self.name(sequence);
        let noted = if at_once { Ok(()) } else { self.note(sequence) };
        let gone = noted.and_then(|()| self.disk.rename(&name, &erased_name(sequence)));
        if let Err(source) = gone {
            self.in_doubt = true;
            return Err(SpoolError::Remove { name, source });
        }
        self.take_out(sequence);
        if !keep {
            self.owed.push(sequence);
            self.owed_bytes += length;
        }
        if at_once && let Err(source) = self.sync_names() {
            self.in_doubt = true;
            return Err(SpoolError::Remove { name, source });
        }
        Ok(())
    }

    /// Counts a bundle of the queue as erased.
    pub(crate) fn take_out(&mut self, sequence: u64) {
        let length = self.queued.remove(&sequence).unwrap_or(0);
        self.queued_bytes -= length;
        self.other_names.remove(&sequence);
        self.erased.insert(sequence, length);
        self.kept_bytes += length;
    }

    /// Makes it durable that a bundle is erased, before its name says so.
    fn note(&mut self, sequence: u64) -> io::Result<()> {
        if self.erasures.len() >= D::BOUNDS.noted_files {
            self.sync_names()?;
        }
        self.erasures.push(sequence);
        self.disk
            .write(ERASURES, 0, &erasures::encode(&self.erasures))?;
        self.disk.sync(ERASURES)
    }

    /// Erased bundles whose records are kept.
    pub fn erased(&self) -> impl ExactSizeIterator<Item = u64> {
        self.erased.keys().copied()
    }

    /// The writer needs the record of this erased bundle no more. Nothing is made durable: after a cut the record may be
    /// there again, and is released again.
    pub fn release(&mut self, sequence: u64) {
        if let Some(length) = self.erased.remove(&sequence) {
            self.released.push((sequence, length));
        }
        while self.released.len() > D::BOUNDS.kept_files {
            let Some(old) = self.drop_released() else {
                return;
            };
            // one that cannot be removed now is found when the spool is opened next
            let _ = self.disk.remove(&erased_name(old));
        }
    }
}
