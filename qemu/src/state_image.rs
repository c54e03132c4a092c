//! Disk images whose state partition has hardly any room.

use crate::process::{self, ProcessError};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SECTOR_BYTES: u64 = 512;
/// The whole file system of such a state: journal, tables and ballast.
const SIZE_MIB: u64 = 128;
/// What ext4 itself takes of it: journal (4 MiB), tables for [`INODES`], bitmaps.
const OVERHEAD_MIB: u64 = 6;
/// A state has few files; the usual number would take 8 MiB.
const INODES: &str = "4096";

/// Copies the image `disk` to `copy` and gives its state partition a fresh ext4 with about `free_mib` free.
pub fn nearly_full(disk: &Path, free_mib: u64, copy: &Path) -> Result<(), StateImageError> {
    if let Some(folder) = copy.parent() {
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    let mut command = Command::new("cp");
    process::run(
        command
            .args(["--sparse=always", "--reflink=auto"])
            .arg(disk)
            .arg(copy),
    )
    .map_err(StateImageError::Tool)?;
    let offset = partition(copy, "state")?;
    let ballast = tempfile::tempdir().map_err(failed(copy))?;
    let filler = vec![0x5a; 1 << 20];
    let file = File::create(ballast.path().join("ballast")).map_err(failed(copy))?;
    for mib in 0..SIZE_MIB - OVERHEAD_MIB - free_mib {
        file.write_all_at(&filler, mib << 20)
            .map_err(failed(copy))?;
    }
    let mut command = Command::new("mke2fs");
    command.args([
        "-q", "-F", "-t", "ext4", "-L", "state", "-m", "0", "-J", "size=4", "-N", INODES, "-E",
    ]);
    command
        .arg(format!("offset={offset},root_owner=0:0"))
        .arg("-d")
        .arg(ballast.path())
        .arg(copy)
        .arg(format!("{SIZE_MIB}M"));
    process::run(&mut command)
        .map(drop)
        .map_err(StateImageError::Tool)
}

/// First byte of the partition of this name (UEFI specification 2.10, section 5.3: GPT).
fn partition(disk: &Path, name: &str) -> Result<u64, StateImageError> {
    let file = File::open(disk).map_err(failed(disk))?;
    let read = |offset: u64, length: usize| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset)
            .map(|()| bytes)
            .map_err(failed(disk))
    };
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let header = read(SECTOR_BYTES, 92)?;
    let (table, count, size) = (
        number(&header[72..80]),
        number(&header[80..84]),
        number(&header[84..88]),
    );
    let wanted: Vec<u8> = name
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .chain([0, 0])
        .collect();
    for index in 0..count.min(128) {
        let entry = read(table * SECTOR_BYTES + index * size, 128)?;
        if entry[56..].starts_with(&wanted) {
            return Ok(number(&entry[32..40]) * SECTOR_BYTES);
        }
    }
    Err(StateImageError::NoPartition {
        disk: disk.to_owned(),
        name: name.to_owned(),
    })
}

fn failed(path: &Path) -> impl Fn(io::Error) -> StateImageError {
    let path = path.to_owned();
    move |source| StateImageError::File {
        path: path.clone(),
        source,
    }
}

/// The image could not be made.
#[derive(Debug)]
pub enum StateImageError {
    File { path: PathBuf, source: io::Error },
    NoPartition { disk: PathBuf, name: String },
    Tool(ProcessError),
}

impl std::fmt::Display for StateImageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "cannot read or write {}", path.display()),
            Self::NoPartition { disk, name } => {
                write!(f, "{} has no partition named {name}", disk.display())
            }
            Self::Tool(_) => write!(f, "a tool that makes the disk failed"),
        }
    }
}

impl std::error::Error for StateImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Tool(source) => Some(source),
            Self::NoPartition { .. } => None,
        }
    }
}
