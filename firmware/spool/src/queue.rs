//! The open queue: what it holds, and how it takes a bundle.

use crate::names::{bundle_name, erased_name, slot_name};
use crate::record::{RECORD_BYTES, Record};
use crate::{Bundle, Digest, Disk, Next, Queued, SpoolError, Standing, digest, layout};
use std::collections::BTreeMap;
use std::io;

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
    /// Number, and length of the file. Nothing else is held in memory of a bundle.
    pub(crate) queued: BTreeMap<u64, u64>,
    pub(crate) queued_bytes: u64,
    /// Names of bundles that were made when the box had another name.
    pub(crate) other_names: BTreeMap<u64, String>,
    /// Erased bundles whose records are kept until they are released, with the lengths of their files.
    pub(crate) erased: BTreeMap<u64, u64>,
    /// Released ones, whose files may be written over, with their lengths.
    pub(crate) released: Vec<(u64, u64)>,
    /// Bytes of the files of both, and of slots.
    pub(crate) kept_bytes: u64,
    /// Erased and released ones that are to be shortened when their names are durable, and bytes of their files.
    pub(crate) owed: Vec<u64>,
    pub(crate) owed_bytes: u64,
    /// Bundles erased since all names were durable: what the list on the disk says.
    pub(crate) erasures: Vec<u64>,
    /// Slots whose names are durable, with the lengths of their files.
    pub(crate) slots: BTreeMap<u64, u64>,
    /// Slots whose names are not durable yet.
    pub(crate) made: BTreeMap<u64, u64>,
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
            self.slots.retain(|slot, _| *slot > sequence);
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
        let old = self.slots.remove(&sequence).unwrap_or(0);
        self.kept_bytes -= old;
        let length = self.fitting(old, size_bytes);
        let slot = slot_name(sequence);
        let shortened = if length < old {
            self.disk.truncate(&slot, length)
        } else {
            Ok(())
        };
        let written = shortened
            .and_then(|()| layout::write(&mut self.disk, &slot, (old, length), sealed, &record))
            .and_then(|()| self.disk.sync(&slot));
        if let Err(source) = written {
            return Err(self.abandon(sequence, size_bytes, source));
        }
        self.last = sequence;
        self.previous = Some(sha256);
        self.name_appended(sequence, length)
    }

    /// The last step of an append. It need not be durable: opening makes up for it.
    pub(crate) fn name_appended(
        &mut self,
        sequence: u64,
        file_bytes: u64,
    ) -> Result<Queued, SpoolError> {
        let name = self.name(sequence);
        if let Err(source) = self.disk.rename(&slot_name(sequence), &name) {
            self.in_doubt = true;
            return Err(SpoolError::Commit { name, source });
        }
        self.queued.insert(sequence, file_bytes);
        self.queued_bytes += file_bytes;
        Ok(Queued { name, file_bytes })
    }

    /// After a failed write or sync nobody knows what of the slot reaches the disk, and the caller may offer another
    /// bundle of this number next: so the slot must go, durably (invariant 5).
    fn abandon(&mut self, sequence: u64, size_bytes: u64, source: io::Error) -> SpoolError {
        let name = self.name(sequence);
        let gone = self
            .disk
            .remove(&slot_name(sequence))
            .and_then(|()| self.sync_names());
        if let Err(source) = gone {
            self.in_doubt = true;
            return SpoolError::Commit { name, source };
        }
        self.full_or(source, size_bytes, |source| SpoolError::Write {
            name,
            source,
        })
    }

    pub(crate) fn full_or(
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
        let released = || self.released.iter().any(|(old, _)| *old == sequence);
        let name = if self.queued.contains_key(&sequence) {
            self.name(sequence)
        } else if self.erased.contains_key(&sequence) || released() {
            erased_name(sequence)
        } else {
            return Ok(None);
        };
        match self.record_of(&name) {
            Ok(record) => record
                .filter(|record| record.sequence == sequence)
                .map(|record| Some(record.bundle))
                .ok_or(SpoolError::Record { sequence }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SpoolError::Read { name, source }),
        }
    }

    /// The record at the end of a file.
    pub(crate) fn record_of(&self, name: &str) -> io::Result<Option<Record>> {
        let mut bytes = [0; RECORD_BYTES];
        let length = self.disk.read_end(name, &mut bytes)?;
        Ok(Record::decode(&bytes[..length]))
    }

    /// Whether the bundle of this number waits.
    pub fn is_queued(&self, sequence: u64) -> bool {
        self.queued.contains_key(&sequence)
    }

    /// Bundles in the queue, oldest first.
    pub fn queued(&self) -> impl ExactSizeIterator<Item = (u64, Queued)> {
        self.queued.iter().map(|(sequence, file_bytes)| {
            let queued = Queued {
                name: self.name(*sequence),
                file_bytes: *file_bytes,
            };
            (*sequence, queued)
        })
    }

    /// Bytes of their files.
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    pub(crate) fn name(&self, sequence: u64) -> String {
        match self.other_names.get(&sequence) {
            Some(name) => name.clone(),
            None => bundle_name(&self.box_name, sequence),
        }
    }

    pub(crate) fn check(&self) -> Result<(), SpoolError> {
        if self.in_doubt {
            Err(SpoolError::InDoubt)
        } else {
            Ok(())
        }
    }
}
