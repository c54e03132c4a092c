//! Crash-safe queue of sealed bundles in one directory. One writer: the role `intake`; the sender only reads.
//!
//! # Layout
//!
//! | name | what |
//! |---|---|
//! | `<box>-<sequence, 10 digits>.cms` | a sealed bundle; from the moment this name can be seen, number and bytes are final |
//! | `.head` | two alternating slots (see [`head`]): last sequence appended, size and digest of the newest bundles, erased or not |
//! | `.append.new`, `.head.new` | being written |
//!
//! # What is assumed of the disk ([`disk::Disk`])
//!
//! `sync` returns after the file's bytes are durable, `sync_names` after the directory's names are. Without them
//! nothing is durable: bytes may be lost or torn at any place, name changes lost in any combination. A rename happens
//! wholly or not at all. Writing one slot of `.head` does not damage the other (they are 4096 bytes apart).
//!
//! # Invariants
//!
//! 1. A bundle's name can be seen only after the durable head record has its number and digest. So what a reader may
//!    have sent away at once is never replaced by another bundle of that number, whatever is cut.
//! 2. `head.last` never goes back, not even by a crash: it is written to the older slot and the newer one stays.
//! 3. When the head record has a bundle, its bytes are durable: under its name, or as `.append.new` and named by the
//!    next opening.
//! 4. Sequence numbers have no gap: `append` takes `head.last + 1` only.
//! 5. A bundle is removed only against an [`Acknowledgement`] of its name, size and digest.
//!
//! # Commit paths
//!
//! *Append*: (a) write `.append.new`; (b) sync it; (c) sync names; (d) write head slot; (e) sync it; (f) rename;
//! (g) sync names. The durable slot is the commit. A cut before it leaves at most `.append.new`, which opening removes
//! since its digest is not the head's newest: the bundle was never appended, and nobody saw it. A cut after it leaves
//! the bytes under one of the two names (c, 3): opening does (f) and (g) where they are missing. The slot may be durable
//! or not when the cut comes in (d)-(e); opening decides by what it reads, and syncs what it goes on with.
//!
//! *Erase*: (a) remove the name; (b) sync names. `.append.new` does not exist then, by (g). A cut between leaves the bundle there or not; both are right, since its
//! receipt is kept by the caller until erase has returned.
//!
//! *Creation*: `.head` is written beside, synced, renamed and its name synced before the first append, so a directory
//! with bundles and no `.head` is damage, and is refused.
//!
//! A failed `sync` leaves the kernel's cache in doubt. So an error from (d) on closes the spool ([`Advice::Reopen`]).

#![forbid(unsafe_code)]

pub mod disk;
mod error;
mod head;
#[cfg(feature = "simulated")]
pub mod simulated;

pub use disk::{Disk, Folder};
pub use error::{Advice, SpoolError};

use head::Head;
use std::collections::BTreeMap;

/// SHA-256.
pub type Digest = [u8; 32];

const HEAD: &str = ".head";
const HEAD_NEW: &str = ".head.new";
const APPEND_NEW: &str = ".append.new";

/// Proof that the receiver holds a bundle. Implemented only by types that exist as the result of verifying a receipt.
pub trait Acknowledgement {
    /// File name of the bundle.
    fn bundle(&self) -> &str;
    fn size_bytes(&self) -> u64;
    fn sha256(&self) -> Digest;
}

/// What the next bundle must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub sequence: u64,
    /// Digest of the bundle before; `None` for the first of all.
    pub previous: Option<Digest>,
}

/// What became of a bundle of a given sequence and digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    NeverAppended,
    Queued,
    Erased,
    /// Another bundle has this number: writer and spool disagree.
    OtherDigest,
    /// Appended long ago and erased; its digest is no longer kept.
    Forgotten,
}

/// Size and digest of a sealed bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bundle {
    pub size_bytes: u64,
    pub sha256: Digest,
}

/// A bundle in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub name: String,
    pub size_bytes: u64,
}

/// The open queue.
pub struct Spool<D> {
    disk: D,
    box_name: String,
    /// Free space that append leaves to others (the audit trail), in bytes.
    reserve_bytes: u64,
    head: Head,
    queued: BTreeMap<u64, Queued>,
    in_doubt: bool,
}

/// File name of a bundle.
pub fn bundle_name(box_name: &str, sequence: u64) -> String {
    format!("{box_name}-{sequence:010}.cms")
}

/// Sequence number in a bundle's file name, whatever the box; `None` for any other file.
pub fn sequence_of(name: &str) -> Option<u64> {
    let (box_name, number) = name.strip_suffix(".cms")?.rsplit_once('-')?;
    let regular = !box_name.is_empty()
        && number.len() == 10
        && number.bytes().all(|byte| byte.is_ascii_digit());
    if regular { number.parse().ok() } else { None }
}

impl<D: Disk> Spool<D> {
    /// Opens the queue and brings it to a state that the invariants allow, whatever cut came before.
    pub fn open(mut disk: D, box_name: &str, reserve_bytes: u64) -> Result<Self, SpoolError> {
        let names = disk.list().map_err(SpoolError::List)?;
        let mut queued = BTreeMap::new();
        for (name, size_bytes) in &names {
            let Some(sequence) = sequence_of(name) else {
                continue;
            };
            let entry = Queued {
                name: name.clone(),
                size_bytes: *size_bytes,
            };
            if queued.insert(sequence, entry).is_some() {
                return Err(SpoolError::TwoOfOneNumber { sequence });
            }
        }
        let size_of = |wanted: &str| {
            names
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, size)| *size)
        };
        let head = if size_of(HEAD).is_some() {
            let bytes = disk.read(HEAD).map_err(|source| SpoolError::Read {
                name: HEAD.into(),
                source,
            })?;
            Head::newest(&bytes).ok_or(SpoolError::HeadDamaged)?
        } else if queued.is_empty() {
            create_head(&mut disk).map_err(SpoolError::CreateHead)?
        } else {
            return Err(SpoolError::HeadMissing {
                bundles: queued.len(),
            });
        };
        let mut spool = Self {
            disk,
            box_name: box_name.to_owned(),
            reserve_bytes,
            head,
            queued,
            in_doubt: false,
        };
        // a head slot that was read may still be in the cache only
        spool.disk.sync(HEAD).map_err(|source| SpoolError::Commit {
            name: HEAD.into(),
            source,
        })?;
        if let Some(size_bytes) = size_of(APPEND_NEW) {
            spool.finish_append(size_bytes)?;
        }
        spool.adopt_newest()?;
        Ok(spool)
    }

    /// Invariant 3: names the bundle whose append was cut after its commit; removes what never came so far.
    fn finish_append(&mut self, size_bytes: u64) -> Result<(), SpoolError> {
        let last = self.head.last;
        let wanted = self
            .head
            .newest_bundle()
            .filter(|_| !self.queued.contains_key(&last));
        let read = |source| SpoolError::Read {
            name: APPEND_NEW.into(),
            source,
        };
        if wanted.is_some_and(|bundle| bundle.size_bytes == size_bytes) {
            let bytes = self.disk.read(APPEND_NEW).map_err(read)?;
            if wanted.is_some_and(|bundle| bundle.sha256 == digest(&bytes)) {
                return self.name_appended(last, size_bytes).map(drop);
            }
        }
        self.disk
            .remove(APPEND_NEW)
            .map_err(|source| SpoolError::Remove {
                name: APPEND_NEW.into(),
                source,
            })
    }

    /// Steps (f) and (g) of an append.
    fn name_appended(&mut self, sequence: u64, size_bytes: u64) -> Result<Queued, SpoolError> {
        let name = bundle_name(&self.box_name, sequence);
        let named = self
            .disk
            .rename(APPEND_NEW, &name)
            .and_then(|()| self.disk.sync_names());
        named.map_err(|source| SpoolError::Commit {
            name: name.clone(),
            source,
        })?;
        let entry = Queued { name, size_bytes };
        self.queued.insert(sequence, entry.clone());
        Ok(entry)
    }

    /// Takes over one bundle that is newer than the head record. No cut leaves that; a slot damaged later does.
    fn adopt_newest(&mut self) -> Result<(), SpoolError> {
        let Some((&sequence, entry)) = self.queued.last_key_value() else {
            return Ok(());
        };
        if sequence <= self.head.last {
            return Ok(());
        }
        if sequence != self.head.last + 1 {
            return Err(SpoolError::HeadBehind {
                last: self.head.last,
                newest: sequence,
            });
        }
        let name = entry.name.clone();
        let bytes = self.disk.read(&name).map_err(|source| SpoolError::Read {
            name: name.clone(),
            source,
        })?;
        self.write_head(
            sequence,
            Bundle {
                size_bytes: bytes.len() as u64,
                sha256: digest(&bytes),
            },
        )
    }

    /// What the next bundle must be.
    pub fn next(&self) -> Next {
        Next {
            sequence: self.head.last + 1,
            previous: self.head.newest_bundle().map(|bundle| bundle.sha256),
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
        if sequence != self.head.last + 1 {
            return Err(SpoolError::OutOfSequence {
                expected: self.head.last + 1,
                given: sequence,
            });
        }
        if digest(sealed) != sha256 {
            return Err(SpoolError::DigestOfAppend { sequence });
        }
        let name = bundle_name(&self.box_name, sequence);
        self.room_for(sealed.len() as u64)?;
        let written = self
            .disk
            .create(APPEND_NEW, sealed)
            .and_then(|()| self.disk.sync(APPEND_NEW))
            .and_then(|()| self.disk.sync_names());
        if let Err(source) = written {
            // nothing was promised yet; what is left of it goes now, or when the spool is opened next
            let _ = self.disk.remove(APPEND_NEW);
            return Err(match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    SpoolError::Full {
                        free: self.disk.free_bytes().unwrap_or(0),
                        needed: sealed.len() as u64,
                    }
                }
                _ => SpoolError::Write { name, source },
            });
        }
        self.in_doubt = true;
        let size_bytes = sealed.len() as u64;
        self.write_head(sequence, Bundle { size_bytes, sha256 })?;
        let entry = self.name_appended(sequence, size_bytes)?;
        self.in_doubt = false;
        Ok(entry)
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
        let sequence = sequence_of(name).ok_or_else(unknown)?;
        let Some(entry) = self.queued.get(&sequence) else {
            return if sequence <= self.head.last {
                Ok(Erased {
                    sequence,
                    before: true,
                })
            } else {
                Err(unknown())
            };
        };
        if entry.name != name {
            return Err(unknown());
        }
        let held = self.held(sequence)?.ok_or_else(unknown)?;
        if held
            != (Bundle {
                size_bytes: proof.size_bytes(),
                sha256: proof.sha256(),
            })
        {
            return Err(SpoolError::ReceiptOfOther {
                name: name.to_owned(),
            });
        }
        self.in_doubt = true;
        self.disk
            .remove(name)
            .and_then(|()| self.disk.sync_names())
            .map_err(|source| SpoolError::Remove {
                name: name.to_owned(),
                source,
            })?;
        self.queued.remove(&sequence);
        self.in_doubt = false;
        Ok(Erased {
            sequence,
            before: false,
        })
    }

    /// What became of the bundle with this number and digest.
    pub fn standing(&self, sequence: u64, sha256: Digest) -> Result<Standing, SpoolError> {
        if sequence > self.head.last {
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

    /// Size and digest of the bundle that was appended with this number: what a receipt for it must state. `None` for
    /// a number not yet given, and for one whose bundle was erased long ago.
    pub fn held(&self, sequence: u64) -> Result<Option<Bundle>, SpoolError> {
        match (self.head.bundle(sequence), self.queued.get(&sequence)) {
            (Some(bundle), _) => Ok(Some(bundle)),
            (None, None) => Ok(None),
            (None, Some(Queued { name, size_bytes })) => {
                let bytes = self.disk.read(name).map_err(|source| SpoolError::Read {
                    name: name.clone(),
                    source,
                })?;
                Ok(Some(Bundle {
                    size_bytes: *size_bytes,
                    sha256: digest(&bytes),
                }))
            }
        }
    }

    /// Bundles in the queue, oldest first.
    pub fn queued(&self) -> impl ExactSizeIterator<Item = (u64, &Queued)> {
        self.queued
            .iter()
            .map(|(sequence, entry)| (*sequence, entry))
    }

    pub fn queued_bytes(&self) -> u64 {
        self.queued.values().map(|entry| entry.size_bytes).sum()
    }

    fn write_head(&mut self, sequence: u64, bundle: Bundle) -> Result<(), SpoolError> {
        let next = self.head.with(sequence, bundle);
        let written = self
            .disk
            .overwrite(HEAD, next.offset(), &next.encode())
            .and_then(|()| self.disk.sync(HEAD));
        written.map_err(|source| SpoolError::Commit {
            name: HEAD.into(),
            source,
        })?;
        self.head = next;
        Ok(())
    }

    fn check(&self) -> Result<(), SpoolError> {
        if self.in_doubt {
            Err(SpoolError::InDoubt)
        } else {
            Ok(())
        }
    }
}

/// Result of [`Spool::erase`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    pub sequence: u64,
    /// It was erased by an earlier call already.
    pub before: bool,
}

fn create_head(disk: &mut impl Disk) -> std::io::Result<Head> {
    let head = Head::first();
    let mut file = vec![0; head::FILE_BYTES];
    let at = head.offset() as usize;
    file[at..at + head::SLOT_BYTES].copy_from_slice(&head.encode());
    disk.create(HEAD_NEW, &file)?;
    disk.sync(HEAD_NEW)?;
    disk.rename(HEAD_NEW, HEAD)?;
    disk.sync_names()?;
    Ok(head)
}

/// SHA-256 of sealed bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    let mut sum = Digest::default();
    sum.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    sum
}
