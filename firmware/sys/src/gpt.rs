//! The partition table (GPT) of a disk: enough of it to tell a disk of ours from another.
//!
//! The kernel names partitions, but not their unique identifiers, and only these tell the disk that the firmware
//! booted from its twin with the same names.
//!
//! 1. Header and entries count only when both their CRC-32 are right.
//! 2. A table is at most [`LARGEST_TABLE_BYTES`]; what claims more is refused before it is read.
//!
//! Source: UEFI specification 2.10, section 5.3.

use std::io::{Read, Seek, SeekFrom};

/// The specification's table is 16 KiB; eight times that leaves room and bounds memory.
const LARGEST_TABLE_BYTES: u64 = 128 * 1024;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_BYTES: usize = 92;
const SMALLEST_ENTRY_BYTES: usize = 128;

/// A partition as the table names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From 1, as in the kernel's device names.
    pub number: u32,
    /// Unique identifier in the usual text form, lower case.
    pub identifier: String,
    pub name: String,
}

/// The table could not be had.
#[derive(Debug)]
pub enum GptError {
    Read(std::io::Error),
    /// No signature at the second sector: not a GPT disk.
    Absent,
    /// Signature, but a wrong checksum or impossible sizes.
    Damaged(&'static str),
}

impl std::fmt::Display for GptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(_) => f.write_str("cannot read the partition table"),
            Self::Absent => f.write_str("the disk has no GPT partition table"),
            Self::Damaged(what) => write!(f, "the partition table is damaged: {what}"),
        }
    }
}

impl std::error::Error for GptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(source) => Some(source),
            _ => None,
        }
    }
}

/// Reads the first table of a disk with sectors of `sector_bytes`.
pub fn read(disk: &mut (impl Read + Seek), sector_bytes: u64) -> Result<Vec<Partition>, GptError> {
    let mut header = [0; HEADER_BYTES];
    disk.seek(SeekFrom::Start(sector_bytes))
        .map_err(GptError::Read)?;
    disk.read_exact(&mut header).map_err(GptError::Read)?;
    if &header[..8] != SIGNATURE {
        return Err(GptError::Absent);
    }
    if number32(&header, 12) as usize != HEADER_BYTES {
        return Err(GptError::Damaged("the header's size is not 92 bytes"));
    }
    let stated = number32(&header, 16);
    header[16..20].fill(0);
    if crc32(&header) != stated {
        return Err(GptError::Damaged("wrong checksum of the header"));
    }
    let start = number64(&header, 72);
    let entry_bytes = number32(&header, 84) as usize;
    let table_bytes = u64::from(number32(&header, 80)) * entry_bytes as u64;
    if entry_bytes < SMALLEST_ENTRY_BYTES || table_bytes > LARGEST_TABLE_BYTES {
        return Err(GptError::Damaged("impossible size of the table"));
    }
    let at = start
        .checked_mul(sector_bytes)
        .ok_or(GptError::Damaged("impossible place of the table"))?;
    let mut table = vec![0; table_bytes as usize];
    disk.seek(SeekFrom::Start(at)).map_err(GptError::Read)?;
    disk.read_exact(&mut table).map_err(GptError::Read)?;
    if crc32(&table) != number32(&header, 88) {
        return Err(GptError::Damaged("wrong checksum of the entries"));
    }
    Ok((1..)
        .zip(table.chunks_exact(entry_bytes))
        .filter_map(|(number, entry)| partition(number, entry))
        .collect())
}

/// One entry: type, identifier, first and last sector, attributes, name. An all-zero type means unused.
fn partition(number: u32, entry: &[u8]) -> Option<Partition> {
    if entry[..16].iter().all(|byte| *byte == 0) {
        return None;
    }
    let units = entry[56..128]
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let name = char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|unit| unit.unwrap_or('\u{fffd}'))
        .collect();
    Some(Partition {
        number,
        identifier: identifier(&entry[16..32]),
        name,
    })
}

/// The first three groups are little-endian numbers, the rest bytes in order.
fn identifier(bytes: &[u8]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (place, from) in order.into_iter().enumerate() {
        if [4, 6, 8, 10].contains(&place) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", bytes[from]));
    }
    text
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    u64::from(number32(bytes, at)) | u64::from(number32(bytes, at + 4)) << 32
}

/// CRC-32 of IEEE 802.3, bit by bit: 16 KiB once a boot needs no table.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 {
                sum >> 1 ^ 0xEDB8_8320
            } else {
                sum >> 1
            };
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const SECTOR: usize = 512;

    /// A disk with one partition `state` as the third entry.
    fn disk() -> Vec<u8> {
        let mut disk = vec![0; SECTOR * 40];
        let entry = SECTOR * 2 + 128 * 2;
        disk[entry] = 1;
        for (place, byte) in disk[entry + 16..entry + 32].iter_mut().enumerate() {
            *byte = place as u8;
        }
        for (place, unit) in "state".encode_utf16().enumerate() {
            disk[entry + 56 + place * 2..][..2].copy_from_slice(&unit.to_le_bytes());
        }
        let table = crc32(&disk[SECTOR * 2..SECTOR * 2 + 128 * 128]);
        let header = &mut disk[SECTOR..SECTOR + HEADER_BYTES];
        header[..8].copy_from_slice(SIGNATURE);
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[72..80].copy_from_slice(&2_u64.to_le_bytes());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&table.to_le_bytes());
        let sum = crc32(header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        disk
    }

    #[test]
    fn a_partition_is_read_with_number_identifier_and_name() {
        let found = read(&mut Cursor::new(disk()), SECTOR as u64).unwrap();
        let identifier = "03020100-0504-0706-0809-0a0b0c0d0e0f".to_owned();
        assert_eq!(
            found,
            [Partition {
                number: 3,
                identifier,
                name: "state".to_owned()
            }]
        );
    }

    #[test]
    fn the_checksum_is_that_of_ieee_802_3() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_wrong_bit_in_any_byte_of_the_header_or_in_the_entries_is_refused() {
        let good = disk();
        for at in
            (SECTOR..SECTOR + HEADER_BYTES).chain((SECTOR * 2..SECTOR * 2 + 128 * 128).step_by(509))
        {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(
                read(&mut Cursor::new(bad), SECTOR as u64).is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_disk_without_a_table_and_a_cut_disk_are_errors_and_not_a_crash() {
        assert!(matches!(
            read(&mut Cursor::new(vec![0; 4096]), 512),
            Err(GptError::Absent)
        ));
        for length in [0, 511, 600, 1100, 5000] {
            assert!(
                read(&mut Cursor::new(disk()[..length].to_vec()), 512).is_err(),
                "{length}"
            );
        }
    }
}
