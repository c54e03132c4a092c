//! The latest erasures: one sector with the numbers of bundles whose new names may not be durable yet.
//!
//! Integers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `SPOOLER2` |
//! | 8 | 8 | how many numbers |
//! | 16 | 480 | sequence numbers, then zeros |
//! | 496 | 16 | first half of the SHA-256 of the 496 bytes before |

use crate::digest;
use crate::names::LAST;

/// Bytes of the list: a sector, so that it is written wholly or not at all.
pub const LIST_BYTES: usize = 512;
/// Numbers that have room.
pub const MOST: usize = (CHECK_AT - NUMBERS_AT) / 8;

const MAGIC: &[u8; 8] = b"SPOOLER2";
const NUMBERS_AT: usize = 16;
const CHECK_AT: usize = 496;

/// The list of these numbers, of which there are at most [`MOST`].
pub fn encode(numbers: &[u64]) -> [u8; LIST_BYTES] {
    let mut bytes = [0; LIST_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..NUMBERS_AT].copy_from_slice(&(numbers.len() as u64).to_le_bytes());
    for (place, number) in bytes[NUMBERS_AT..CHECK_AT].chunks_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let check = digest(&bytes[..CHECK_AT]);
    bytes[CHECK_AT..].copy_from_slice(&check[..LIST_BYTES - CHECK_AT]);
    bytes
}

/// `None` for anything but a whole list.
pub fn decode(bytes: &[u8]) -> Option<Vec<u64>> {
    let bytes: &[u8; LIST_BYTES] = bytes.try_into().ok()?;
    let check = digest(&bytes[..CHECK_AT]);
    if !bytes.starts_with(MAGIC) || bytes[CHECK_AT..] != check[..LIST_BYTES - CHECK_AT] {
        return None;
    }
    let mut words = bytes[8..CHECK_AT]
        .chunks_exact(8)
        .map(|word| word.try_into().map(u64::from_le_bytes).unwrap_or(0));
    let count = usize::try_from(words.next()?).ok()?;
    let numbers: Vec<u64> = words.take(count).collect();
    let has_names = |number: &u64| (1..=LAST).contains(number);
    (count <= MOST && numbers.iter().all(has_names)).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_and_every_flipped_bit_is_seen() {
        let full: Vec<u64> = (1..=MOST as u64).collect();
        for numbers in [&[][..], &[7], &full] {
            assert_eq!(decode(&encode(numbers)).as_deref(), Some(numbers));
        }
        for bit in 0..LIST_BYTES * 8 {
            let mut wrong = encode(&full);
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&wrong), None, "bit {bit}");
        }
        assert_eq!(decode(&encode(&[7])[1..]), None);
        assert_eq!(decode(&encode(&[7, 0])), None);
        assert_eq!(decode(&encode(&[LAST + 1])), None);
    }

    #[test]
    fn the_layout_is_pinned_by_golden_bytes() {
        let bytes = encode(&[0x0102_0304, 5]);
        let mut golden = b"SPOOLER2".to_vec();
        golden.extend([2, 0, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0, 5]);
        golden.resize(496, 0);
        assert_eq!(bytes[..CHECK_AT], golden);
        assert_eq!(bytes[CHECK_AT..], digest(&golden)[..16]);
        assert_eq!(MOST, 60);
    }
}
