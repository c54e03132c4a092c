//! Whether the disk takes one more upload of a box. Deciding only; the numbers come from the caller.
//!
//! Invariants
//! 1. A reserve of the disk is never given to uploads, so that receipts, logs and `open` go on when it is full.
//! 2. One box never holds more than what stays free beside it for the others, unless the operator names a share.
//!
//! The second is the dynamic threshold of shared packet buffers (Choudhury and Hahne, 1998): it needs no number of boxes
//! and gives each as much as the disk has when few of them use it.

use super::super::limits::RESERVE_BYTES;
use std::fmt;
use std::io;
use std::path::Path;

/// What the operator allows.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    pub bytes_per_box: Option<u64>,
    pub disk_reserve_bytes: Option<u64>,
}

/// What the file system says; nothing where it does not count blocks.
#[derive(Clone, Copy, Debug)]
pub struct DiskSpace {
    total_bytes: u64,
    available_bytes: u64,
}

/// Why an upload is refused. Retry: room comes when bundles are taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    ForThisBox,
    ForAnyone,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForThisBox => "this box has used its share of the disk",
            Self::ForAnyone => "the receiver's disk is full; move bundles away from it",
        })
    }
}

impl std::error::Error for NoRoom {}

impl DiskSpace {
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let counted = rustix::fs::statvfs(path)?;
        Ok((counted.f_blocks > 0).then_some(Self {
            total_bytes: counted.f_blocks.saturating_mul(counted.f_frsize),
            available_bytes: counted.f_bavail.saturating_mul(counted.f_frsize),
        }))
    }
}

impl Shares {
    /// Decides on `size` more bytes for a box that holds `used`, announced ones included.
    pub fn room(&self, size: u64, used: u64, disk: Option<DiskSpace>) -> Result<(), NoRoom> {
        let after = used.saturating_add(size);
        if self.bytes_per_box.is_some_and(|share| after > share) {
            return Err(NoRoom::ForThisBox);
        }
        let Some(disk) = disk else { return Ok(()) };
        let reserve = self
            .disk_reserve_bytes
            .unwrap_or_else(|| RESERVE_BYTES.min(disk.total_bytes / 20));
        let left = disk
            .available_bytes
            .checked_sub(reserve.saturating_add(size))
            .ok_or(NoRoom::ForAnyone)?;
        if self.bytes_per_box.is_none() && after > left {
            return Err(NoRoom::ForThisBox);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(available_bytes: u64) -> Option<DiskSpace> {
        Some(DiskSpace {
            total_bytes: 1000,
            available_bytes,
        })
    }

    #[test]
    fn the_reserve_is_given_to_nobody() {
        let shares = Shares {
            bytes_per_box: Some(u64::MAX),
            disk_reserve_bytes: None,
        };
        assert_eq!(shares.room(10, 0, disk(60)), Ok(()));
        assert_eq!(shares.room(11, 0, disk(60)), Err(NoRoom::ForAnyone));
        assert_eq!(shares.room(0, 0, disk(49)), Err(NoRoom::ForAnyone));
    }

    #[test]
    fn a_named_share_is_kept_to_the_byte() {
        let shares = Shares {
            bytes_per_box: Some(100),
            disk_reserve_bytes: Some(0),
        };
        assert_eq!(shares.room(40, 60, disk(1000)), Ok(()));
        assert_eq!(shares.room(41, 60, disk(1000)), Err(NoRoom::ForThisBox));
        assert_eq!(shares.room(u64::MAX, 60, None), Err(NoRoom::ForThisBox));
    }

    #[test]
    fn without_a_named_share_a_greedy_box_leaves_half_and_the_next_box_half_of_that() {
        let shares = Shares::default();
        let mut free = 950 + 50;
        let mut fill = || {
            let mut used = 0;
            while shares.room(1, used, disk(free)).is_ok() {
                used += 1;
                free -= 1;
            }
            used
        };
        assert_eq!(fill(), 475);
        assert_eq!(fill(), 237);
        assert_eq!(fill(), 119);
    }

    #[test]
    fn a_disk_that_does_not_count_is_not_asked() {
        assert_eq!(Shares::default().room(1 << 40, 0, None), Ok(()));
    }
}
