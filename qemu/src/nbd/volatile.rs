//! A disk that forgets: what was written since the last flush lives in memory only, as in a drive's cache.
//!
//! 1. A read sees every write that was acknowledged.
//! 2. [`VolatileDisk::flush`] and a write with forced unit access make data durable; nothing else does.
//! 3. [`VolatileDisk::cut`] loses each unflushed write wholly, partly or not at all, by sector, as its seed says. A drive
//!    may have destaged any of them in any order, so every such outcome is one that a real mains cut can have.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The unit that a drive writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

type Sector = [u8; SECTOR_BYTES];

/// What a mains cut does to the writes that no flush covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All are lost: a drive that wrote back nothing by itself.
    All,
    /// Each is kept, lost or torn at a sector, by this seed.
    Scattered { seed: u64 },
}

#[derive(Debug)]
pub struct VolatileDisk {
    file: File,
    bytes: u64,
    /// What reads see above the file, by sector number.
    visible: BTreeMap<u64, Sector>,
    /// Unflushed writes in the order of their acknowledgement.
    pending: Vec<(u64, Vec<Sector>)>,
}

/// What a cut did, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutReport {
    pub kept: usize,
    pub torn: usize,
    pub lost: usize,
}

impl VolatileDisk {
    /// The file's length, rounded down to whole sectors, is the disk's size.
    pub fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len() / SECTOR_BYTES as u64 * SECTOR_BYTES as u64;
        Ok(Self {
            file,
            bytes,
            visible: BTreeMap::new(),
            pending: Vec::new(),
        })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (first, sectors) = self.span(offset, buffer.len())?;
        self.file.read_exact_at(buffer, offset)?;
        for (&number, sector) in self.visible.range(first..first + sectors) {
            let at = (number - first) as usize * SECTOR_BYTES;
            buffer[at..at + SECTOR_BYTES].copy_from_slice(sector);
        }
        Ok(())
    }

    pub fn write(&mut self, offset: u64, data: &[u8], forced: bool) -> io::Result<()> {
        let (first, _) = self.span(offset, data.len())?;
        let sectors: Vec<Sector> = data
            .chunks_exact(SECTOR_BYTES)
            .map(|chunk| {
                let mut sector = [0; SECTOR_BYTES];
                sector.copy_from_slice(chunk);
                sector
            })
            .collect();
        for (number, sector) in (first..).zip(&sectors) {
            self.visible.insert(number, *sector);
        }
        if forced {
            // Durable at once, and later than every pending write to the same sectors: those must not overwrite it.
            self.store(first, &sectors)?;
            let last = first + sectors.len() as u64;
            self.pending
                .retain_mut(|(start, kept)| withdraw(*start, kept, first, last));
            (first..last).for_each(|number| {
                self.visible.remove(&number);
            });
        } else {
            self.pending.push((first, sectors));
        }
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        for (&number, sector) in &self.visible {
            self.file
                .write_all_at(sector, number * SECTOR_BYTES as u64)?;
        }
        self.visible.clear();
        self.pending.clear();
        Ok(())
    }

    /// The mains are cut: afterwards the file holds what a drive would.
    pub fn cut(&mut self, loss: Loss) -> io::Result<CutReport> {
        let mut report = CutReport::default();
        let pending = std::mem::take(&mut self.pending);
        self.visible.clear();
        for (index, (first, sectors)) in pending.into_iter().enumerate() {
            let kept = match loss {
                Loss::All => 0,
                Loss::Scattered { seed } => sectors_kept(seed, index as u64, sectors.len()),
            };
            match kept {
                0 => report.lost += 1,
                n if n == sectors.len() => report.kept += 1,
                _ => report.torn += 1,
            }
            self.store(first, &sectors[..kept])?;
        }
        Ok(report)
    }

    pub fn unflushed_writes(&self) -> usize {
        self.pending.len()
    }

    fn store(&self, first: u64, sectors: &[Sector]) -> io::Result<()> {
        (first..)
            .zip(sectors)
            .try_for_each(|(n, sector)| self.file.write_all_at(sector, n * SECTOR_BYTES as u64))
    }

    /// First sector and number of sectors of a request; refuses what is not on the disk or not whole sectors.
    fn span(&self, offset: u64, length: usize) -> io::Result<(u64, u64)> {
        let sector = SECTOR_BYTES as u64;
        let whole = offset.is_multiple_of(sector) && length.is_multiple_of(SECTOR_BYTES);
        if !whole
            || offset
                .checked_add(length as u64)
                .is_none_or(|end| end > self.bytes)
        {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        Ok((offset / sector, length as u64 / sector))
    }
}

/// Takes the sectors `first..last` out of a pending write, by cutting it to what lies before them where it reaches in.
/// A write that lies on both sides loses its tail too: one more outcome that a drive may have.
fn withdraw(start: u64, sectors: &mut Vec<Sector>, first: u64, last: u64) -> bool {
    let end = start + sectors.len() as u64;
    if end <= first || start >= last {
        return true;
    }
    sectors.truncate(first.saturating_sub(start) as usize);
    !sectors.is_empty()
}

/// A third of the writes are kept, a third lost, a third torn somewhere.
fn sectors_kept(seed: u64, index: u64, sectors: usize) -> usize {
    let draw = crate::seed::mix(seed ^ crate::seed::mix(index));
    match draw % 3 {
        0 => 0,
        1 => sectors,
        _ => (draw / 3) as usize % sectors.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> VolatileDisk {
        let file = tempfile::tempfile().expect("file");
        file.set_len(64 * SECTOR_BYTES as u64).expect("size");
        VolatileDisk::new(file).expect("disk")
    }

    fn sector(disk: &VolatileDisk, number: u64) -> u8 {
        let mut buffer = [0; SECTOR_BYTES];
        disk.read(number * SECTOR_BYTES as u64, &mut buffer)
            .expect("reads");
        buffer[7]
    }

    fn fill(value: u8, sectors: usize) -> Vec<u8> {
        vec![value; sectors * SECTOR_BYTES]
    }

    #[test]
    fn a_read_sees_what_no_flush_has_covered() {
        let mut disk = disk();
        disk.write(512, &fill(5, 2), false).expect("writes");
        assert_eq!(
            (sector(&disk, 0), sector(&disk, 1), sector(&disk, 2)),
            (0, 5, 5)
        );
    }

    #[test]
    fn a_cut_loses_what_no_flush_covered_and_nothing_else() {
        let mut disk = disk();
        disk.write(0, &fill(1, 4), false).expect("writes");
        disk.flush().expect("flushes");
        disk.write(1024, &fill(2, 4), false).expect("writes");
        let report = disk.cut(Loss::All).expect("cuts");
        assert_eq!(
            report,
            CutReport {
                kept: 0,
                torn: 0,
                lost: 1
            }
        );
        assert_eq!(
            (sector(&disk, 1), sector(&disk, 2), sector(&disk, 5)),
            (1, 1, 0)
        );
    }

    #[test]
    fn a_forced_write_survives_and_an_older_one_does_not_come_back_over_it() {
        let mut disk = disk();
        disk.write(0, &fill(1, 4), false).expect("writes");
        disk.write(512, &fill(9, 1), true).expect("writes");
        for seed in 0..50 {
            disk.cut(Loss::Scattered { seed }).expect("cuts");
            assert_eq!(sector(&disk, 1), 9);
        }
    }

    #[test]
    fn a_scattered_loss_is_the_same_for_the_same_seed_and_tears_writes() {
        let outcome = |seed| {
            let mut disk = disk();
            for n in 0..8 {
                disk.write(n * 8 * 512, &fill(n as u8 + 1, 8), false)
                    .expect("writes");
            }
            let report = disk.cut(Loss::Scattered { seed }).expect("cuts");
            (
                report,
                (0..64).map(|n| sector(&disk, n)).collect::<Vec<_>>(),
            )
        };
        assert_eq!(outcome(3), outcome(3));
        assert!((0..20).any(|seed| outcome(seed).0.torn > 0));
        assert!((0..20).any(|seed| outcome(seed).0 != outcome(seed + 1).0));
    }

    #[test]
    fn requests_beyond_the_end_or_inside_a_sector_are_refused() {
        let mut disk = disk();
        assert!(disk.write(63 * 512, &fill(1, 2), false).is_err());
        assert!(disk.write(1, &fill(1, 1), false).is_err());
        assert!(disk.read(u64::MAX - 511, &mut [0; 512]).is_err());
    }
}
