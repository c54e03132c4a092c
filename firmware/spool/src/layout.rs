//! How a bundle lies in its file: its bytes first, its record last, and nothing of meaning between.
//!
//! A file keeps its length from one bundle to the next where it can: a file system that only writes over what is there has
//! no metadata to make durable, and a sync is one flush of the disk.

use crate::record::{RECORD_BYTES, Record};
use crate::{Bundle, Disk, digest};
use std::io;

/// How much room the spool takes beyond its bundles.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Lengths are multiples of this: what the file system reads and writes at a time. A multiple of the sector.
    pub grain_bytes: u64,
    /// Slots made at a time: one sync of names in so many appends, and so many files at most that opening must hash.
    pub slots: u64,
    /// Files of erased bundles, and bytes of them, that are kept to be written over; slots are of the bytes, not of the files.
    pub kept_files: usize,
    pub kept_bytes: u64,
    /// While fewer bundles wait than this, one may lie in a file that is longer than it needs, by so many bytes.
    pub slack_files: usize,
    pub slack_bytes: u64,
    /// A file that was too short for a bundle grows to a multiple of this, so that it is not too short again soon.
    pub growth_bytes: u64,
    /// Erasures that are noted before all names are synced, at most [`crate::erasures::MOST`].
    pub noted_files: usize,
    /// So many bytes of erased bundles that are not kept may wait for the next sync of names before they are given back.
    pub owed_bytes: u64,
}

impl Bounds {
    /// On a box: at most 256 MiB of files to write over (and a quarter of what is free), 64 MiB of bytes without meaning
    /// in the queue. Fewer bytes cost speed, more cost room.
    pub const BOX: Self = Self {
        grain_bytes: 4096,
        slots: 64,
        kept_files: 256,
        kept_bytes: 256 << 20,
        slack_files: 256,
        slack_bytes: 256 << 10,
        growth_bytes: 64 << 10,
        noted_files: crate::erasures::MOST,
        owed_bytes: 1 << 20,
    };
}

/// Length of the shortest file that holds a bundle.
pub(crate) fn length_for(size_bytes: u64, grain_bytes: u64) -> u64 {
    (size_bytes + RECORD_BYTES as u64).next_multiple_of(grain_bytes)
}

/// Writes a bundle and its record into a file of length `old`, which then has `length`; `length` is enough. Whole grains
/// are written, so that none must be read before, and a file that grows gets no holes.
pub(crate) fn write<D: Disk>(
    disk: &mut D,
    name: &str,
    (old, length): (u64, u64),
    sealed: &[u8],
    record: &[u8; RECORD_BYTES],
) -> io::Result<()> {
    let grain = D::BOUNDS.grain_bytes;
    let filled = (sealed.len() as u64).next_multiple_of(grain);
    let (front, rest) = sealed.split_at(sealed.len() / grain as usize * grain as usize);
    if !front.is_empty() {
        disk.write(name, 0, front)?;
    }
    let begin = front.len() as u64;
    if length > old || filled + grain >= length {
        let mut tail = grains(length - begin);
        tail[..rest.len()].copy_from_slice(rest);
        end_with(&mut tail, record);
        return disk.write(name, begin, &tail);
    }
    if !rest.is_empty() {
        let mut tail = grains(grain);
        tail[..rest.len()].copy_from_slice(rest);
        disk.write(name, begin, &tail)?;
    }
    write_record(disk, name, length, record)
}

/// Writes a record where a file of this length has it.
pub(crate) fn write_record<D: Disk>(
    disk: &mut D,
    name: &str,
    length: u64,
    record: &[u8; RECORD_BYTES],
) -> io::Result<()> {
    let grain = D::BOUNDS.grain_bytes;
    let mut last = grains(grain);
    end_with(&mut last, record);
    disk.write(name, length - grain, &last)
}

fn grains(length: u64) -> Vec<u8> {
    vec![0; length as usize]
}

fn end_with(bytes: &mut [u8], record: &[u8; RECORD_BYTES]) {
    let at = bytes.len() - RECORD_BYTES;
    bytes[at..].copy_from_slice(record);
}

/// The bundle in the bytes of its file, as its record has it; not compared with the digest.
pub fn contents(file: &[u8]) -> Option<&[u8]> {
    let (front, record) = file.split_last_chunk::<RECORD_BYTES>()?;
    let size_bytes = Record::decode(record)?.bundle.size_bytes;
    front.get(..usize::try_from(size_bytes).ok()?)
}

/// The bytes of a new file that holds this bundle.
pub fn file_of(sequence: u64, sealed: &[u8]) -> Vec<u8> {
    let size_bytes = sealed.len() as u64;
    let sha256 = digest(sealed);
    let bundle = Bundle { size_bytes, sha256 };
    let mut file = sealed.to_vec();
    file.resize(length_for(size_bytes, Bounds::BOX.grain_bytes) as usize, 0);
    end_with(&mut file, &Record { sequence, bundle }.encode());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_on_a_box_are_those_that_the_format_names() {
        let bounds = Bounds::BOX;
        assert_eq!((bounds.grain_bytes, bounds.slots), (4096, 64));
        assert_eq!((bounds.kept_files, bounds.kept_bytes >> 20), (256, 256));
        assert_eq!((bounds.slack_files, bounds.slack_bytes >> 10), (256, 256));
        assert_eq!((bounds.growth_bytes >> 10, bounds.noted_files), (64, 60));
        assert_eq!(bounds.owed_bytes >> 20, 1);
    }

    #[test]
    fn a_file_has_the_bundle_first_and_its_record_last() {
        for size in [0, 1, 4023, 4024, 4025, 4096, 9000] {
            let sealed = vec![7; size];
            let file = file_of(9, &sealed);
            let pages = (size + 72).div_ceil(4096);
            assert_eq!(file.len(), pages * 4096, "{size}");
            assert_eq!(contents(&file), Some(&sealed[..]));
            let record = Record::decode(&file[file.len() - 72..]).unwrap();
            assert_eq!(
                (record.sequence, record.bundle.size_bytes),
                (9, size as u64)
            );
            assert_eq!(contents(&file[..file.len() - 1]), None);
        }
        assert_eq!(contents(&[]), None);
    }
}
