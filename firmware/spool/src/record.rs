//! The record of a bundle: the last bytes of its file, so that one sync makes bytes and record durable.
//!
//! Integers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `SPOOLRC2` |
//! | 8 | 8 | sequence number |
//! | 16 | 8 | size of the bundle in bytes |
//! | 24 | 32 | SHA-256 of the bundle |
//! | 56 | 16 | first half of the SHA-256 of the 56 bytes before |

use crate::{Bundle, Digest, digest};

/// Bytes of a record. All of it lies within one sector.
pub const RECORD_BYTES: usize = 72;

const MAGIC: &[u8; 8] = b"SPOOLRC2";
const CHECK_AT: usize = 56;

/// What a file was written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub sequence: u64,
    pub bundle: Bundle,
}

impl Record {
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.bundle.size_bytes.to_le_bytes());
        bytes[24..CHECK_AT].copy_from_slice(&self.bundle.sha256);
        let check = digest(&bytes[..CHECK_AT]);
        bytes[CHECK_AT..].copy_from_slice(&check[..RECORD_BYTES - CHECK_AT]);
        bytes
    }

    /// `None` for anything but a whole record.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
        let check = digest(&bytes[..CHECK_AT]);
        if !bytes.starts_with(MAGIC) || bytes[CHECK_AT..] != check[..RECORD_BYTES - CHECK_AT] {
            return None;
        }
        let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let mut sha256 = Digest::default();
        sha256.copy_from_slice(&bytes[24..CHECK_AT]);
        Some(Self {
            sequence: number(8)?,
            bundle: Bundle {
                size_bytes: number(16)?,
                sha256,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record = Record {
        sequence: 0x0102_0304,
        bundle: Bundle {
            size_bytes: 70_000,
            sha256: [0xab; 32],
        },
    };

    #[test]
    fn a_record_reads_back_and_every_flipped_bit_is_seen() {
        let bytes = RECORD.encode();
        assert_eq!(Record::decode(&bytes), Some(RECORD));
        for bit in 0..RECORD_BYTES * 8 {
            let mut wrong = bytes;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&wrong), None, "bit {bit}");
        }
        assert_eq!(Record::decode(&bytes[1..]), None);
    }

    #[test]
    fn the_layout_is_pinned_by_golden_bytes() {
        let bytes = RECORD.encode();
        let golden = [
            b"SPOOLRC2".as_slice(),
            &[4, 3, 2, 1, 0, 0, 0, 0, 0x70, 0x11, 1, 0, 0, 0, 0, 0],
            &[0xab; 32],
        ];
        assert_eq!(bytes[..CHECK_AT], golden.concat());
        assert_eq!(bytes[CHECK_AT..], digest(&golden.concat())[..16]);
    }
}
