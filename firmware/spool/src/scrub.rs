//! Quiet rot: reads the queue piece by piece and compares it with what was appended.
//!
//! The place is one number, [`Scrub::after`]; whoever keeps it over a restart resumes the pass there.

use crate::{Bundle, Digest, Disk, Spool, SpoolError};
use aws_lc_rs::digest::{Context, SHA256};
use std::io;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// What is wrong with a bundle in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    pub sequence: u64,
    /// As it was appended; `None` where the record itself is damaged.
    pub expected: Option<Bundle>,
    pub found: Found,
}

/// What was found in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Vanished,
    SizeBytes(u64),
    Sha256(Digest),
    Unreadable(io::ErrorKind),
    /// The bytes cannot be judged: what they should be is damaged.
    NoRecord,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Going,
    Damaged(Damage),
    /// Every bundle that was in the queue all the while has been read; the next step begins anew.
    PassEnded,
}

/// A pass over the queue.
#[derive(Default)]
pub struct Scrub {
    after: u64,
    reading: Option<Reading>,
    buffer: Vec<u8>,
}

struct Reading {
    sequence: u64,
    expected: Bundle,
    sum: Context,
    offset: u64,
}

impl Scrub {
    /// Goes on after the bundle of this number; 0 begins a pass.
    pub fn resume(after: u64) -> Self {
        Self {
            after,
            ..Self::default()
        }
    }

    /// Number up to which this pass has come.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// Reads on, about `budget_bytes`, or until there is something to say. An empty file counts as one chunk, so that
    /// a step ends however many there are.
    pub fn step<D: Disk>(
        &mut self,
        spool: &Spool<D>,
        budget_bytes: u64,
    ) -> Result<Progress, SpoolError> {
        let mut left = budget_bytes.div_ceil(CHUNK_BYTES as u64).max(1);
        while left > 0 {
            left -= 1;
            let Some((sequence, verdict)) = self.chunk(spool)? else {
                continue;
            };
            match (sequence, verdict) {
                (None, _) => {
                    self.after = 0;
                    return Ok(Progress::PassEnded);
                }
                (Some(sequence), damage) => {
                    self.after = sequence;
                    self.reading = None;
                    if let Some(damage) = damage {
                        return Ok(Progress::Damaged(damage));
                    }
                }
            }
        }
        Ok(Progress::Going)
    }

    /// Reads one chunk. `None`: the bundle is not done. A bundle's number, with its damage; or no number at the end.
    #[allow(clippy::type_complexity)] // private, and named by the two lines above
    fn chunk<D: Disk>(
        &mut self,
        spool: &Spool<D>,
    ) -> Result<Option<(Option<u64>, Option<Damage>)>, SpoolError> {
        let Some((&sequence, _)) = spool.queued.range(self.after + 1..).next() else {
            return Ok(Some((None, None)));
        };
        let damage = |expected, found| {
            Ok(Some((
                Some(sequence),
                Some(Damage {
                    sequence,
                    expected,
                    found,
                }),
            )))
        };
        let mut reading = match self.reading.take().filter(|old| old.sequence == sequence) {
            Some(reading) => reading,
            None => match spool.held(sequence) {
                Ok(Some(expected)) => Reading {
                    sequence,
                    expected,
                    sum: Context::new(&SHA256),
                    offset: 0,
                },
                Ok(None) => return damage(None, Found::Vanished),
                Err(SpoolError::Record { .. }) => return damage(None, Found::NoRecord),
                Err(SpoolError::Read { source, .. }) => {
                    return damage(None, Found::Unreadable(source.kind()));
                }
                Err(error) => return Err(error),
            },
        };
        let expected = Some(reading.expected);
        let size_bytes = reading.expected.size_bytes;
        let wanted = (size_bytes - reading.offset).min(CHUNK_BYTES as u64) as usize;
        self.buffer.resize(CHUNK_BYTES, 0);
        let buffer = &mut self.buffer[..wanted];
        let name = spool.name(sequence);
        let length = match spool.disk.read_at(&name, reading.offset, buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return damage(expected, Found::Vanished);
            }
            Err(error) => return damage(expected, Found::Unreadable(error.kind())),
        };
        reading.sum.update(&buffer[..length]);
        reading.offset += length as u64;
        if length == wanted && reading.offset < size_bytes {
            self.reading = Some(reading);
            return Ok(None);
        }
        let mut sum = Digest::default();
        sum.copy_from_slice(reading.sum.finish().as_ref());
        if reading.offset != size_bytes {
            damage(expected, Found::SizeBytes(reading.offset))
        } else if sum != reading.expected.sha256 {
            damage(expected, Found::Sha256(sum))
        } else {
            Ok(Some((Some(sequence), None)))
        }
    }
}

/// Reads one bundle of the queue whole; `None`: it is as it was appended.
pub(crate) fn examine<D: Disk>(spool: &Spool<D>, sequence: u64) -> Option<Damage> {
    let mut scrub = Scrub::resume(sequence - 1);
    loop {
        // an error is no proof of damage
        if let Some((_, damage)) = scrub.chunk(spool).ok()? {
            return damage.filter(|damage| damage.sequence == sequence);
        }
    }
}
