//! The head record: what was appended last, and the digests of the newest bundles, kept after they are erased.
//!
//! `.head` is 8192 bytes: two slots, 4096 bytes apart. A slot, integers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `SPOOLHD1` |
//! | 8 | 8 | generation; even ones live in slot 0, odd ones in slot 1; the valid slot with the larger one counts |
//! | 16 | 8 | last sequence appended; 0: none yet |
//! | 24 | 4 | number of entries that follow, at most 64 |
//! | 28 | 4 | zero |
//! | 32 | 64 x 40 | size (8 bytes) and SHA-256 of the bundles `last`, `last - 1`, … ; unused ones zero |
//! | 2592 | 32 | SHA-256 of the 2592 bytes before |

use crate::{Bundle, digest};

const MAGIC: &[u8; 8] = b"SPOOLHD1";
/// How many bundles are remembered. Only the newest is needed to recover; the others tell a receipt that outlived its bundle from a forged one.
const KEPT: usize = 64;
const ENTRIES_AT: usize = 32;
const ENTRY_BYTES: usize = 40;
const CHECK_AT: usize = ENTRIES_AT + KEPT * ENTRY_BYTES;
/// Written bytes of a slot.
pub const SLOT_BYTES: usize = CHECK_AT + 32;
/// Distance of the slots: one page, so that a torn write to one cannot reach the other.
const SLOT_DISTANCE: usize = 4096;
pub const FILE_BYTES: usize = 2 * SLOT_DISTANCE;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    generation: u64,
    pub last: u64,
    /// Newest first.
    newest: Vec<Bundle>,
}

impl Head {
    /// Of a new spool.
    pub fn first() -> Self {
        Self {
            generation: 0,
            last: 0,
            newest: Vec::new(),
        }
    }

    /// The head after appending the bundle of this number.
    pub fn with(&self, sequence: u64, bundle: Bundle) -> Self {
        let mut newest = Vec::with_capacity(KEPT);
        newest.push(bundle);
        newest.extend(self.newest.iter().take(KEPT - 1));
        Self {
            generation: self.generation + 1,
            last: sequence,
            newest,
        }
    }

    pub fn newest_bundle(&self) -> Option<Bundle> {
        self.newest.first().copied()
    }

    pub fn bundle(&self, sequence: u64) -> Option<Bundle> {
        let age = self.last.checked_sub(sequence)?;
        self.newest.get(usize::try_from(age).ok()?).copied()
    }

    /// Where in the file this generation is written.
    pub fn offset(&self) -> u64 {
        (self.generation % 2) * SLOT_DISTANCE as u64
    }

    pub fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        slot[..8].copy_from_slice(MAGIC);
        slot[8..16].copy_from_slice(&self.generation.to_le_bytes());
        slot[16..24].copy_from_slice(&self.last.to_le_bytes());
        slot[24..28].copy_from_slice(&(self.newest.len() as u32).to_le_bytes());
        for (place, bundle) in slot[ENTRIES_AT..CHECK_AT]
            .chunks_exact_mut(ENTRY_BYTES)
            .zip(&self.newest)
        {
            place[..8].copy_from_slice(&bundle.size_bytes.to_le_bytes());
            place[8..].copy_from_slice(&bundle.sha256);
        }
        let check = digest(&slot[..CHECK_AT]);
        slot[CHECK_AT..].copy_from_slice(&check);
        slot
    }

    fn decode(slot: &[u8]) -> Option<Self> {
        let slot: &[u8; SLOT_BYTES] = slot.get(..SLOT_BYTES)?.try_into().ok()?;
        if !slot.starts_with(MAGIC) || digest(&slot[..CHECK_AT]) != slot[CHECK_AT..] {
            return None;
        }
        let number = |at: usize| slot[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let count = usize::try_from(u32::from_le_bytes(slot[24..28].try_into().ok()?)).ok()?;
        if count > KEPT {
            return None;
        }
        let newest = (0..count)
            .map(|place| {
                let at = ENTRIES_AT + place * ENTRY_BYTES;
                let sha256 = slot[at + 8..at + ENTRY_BYTES].try_into().ok()?;
                Some(Bundle {
                    size_bytes: number(at)?,
                    sha256,
                })
            })
            .collect::<Option<_>>()?;
        Some(Self {
            generation: number(8)?,
            last: number(16)?,
            newest,
        })
    }

    /// The valid slot of the larger generation.
    pub fn newest(file: &[u8]) -> Option<Self> {
        let slots = [
            Self::decode(file),
            file.get(SLOT_DISTANCE..).and_then(Self::decode),
        ];
        slots
            .into_iter()
            .flatten()
            .max_by_key(|head| head.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(byte: u8) -> Bundle {
        Bundle {
            size_bytes: 3,
            sha256: [byte; 32],
        }
    }

    #[test]
    fn a_slot_reads_back_and_every_flipped_bit_is_seen() {
        let head = Head::first().with(1, bundle(7)).with(2, bundle(8));
        let slot = head.encode();
        assert_eq!(Head::decode(&slot), Some(head));
        for bit in 0..SLOT_BYTES * 8 {
            let mut wrong = slot;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&wrong), None, "bit {bit}");
        }
    }

    #[test]
    fn the_layout_is_pinned_by_golden_bytes() {
        let slot = Head::first().with(5, bundle(0xab)).encode();
        let start = [
            b"SPOOLHD1".as_slice(),
            &[
                1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
            ],
        ];
        assert_eq!(slot[..32], start.concat());
        assert_eq!(slot[32..40], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(slot[40..72], [0xab; 32]);
        assert!(slot[72..CHECK_AT].iter().all(|&byte| byte == 0));
        assert_eq!((CHECK_AT, SLOT_BYTES, FILE_BYTES), (2592, 2624, 8192));
    }

    #[test]
    fn the_newest_sixty_four_bundles_are_remembered() {
        let mut head = Head::first();
        for sequence in 1..=100 {
            head = head.with(sequence, bundle(sequence as u8));
        }
        assert_eq!(head.bundle(100), Some(bundle(100)));
        assert_eq!(head.bundle(37), Some(bundle(37)));
        assert_eq!(head.bundle(36), None);
        assert_eq!(head.bundle(101), None);
    }
}
