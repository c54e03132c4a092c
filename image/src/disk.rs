//! The disk as it is flashed: GPT with two slots and the state.
//!
//! 1. Each slot is a FAT file system of its own with one file, so that writing one slot never touches the other.
//! 2. The partitions are found by their GPT names; identifiers and times are fixed: the same EFI file gives the same disk.
//! 3. Both slots hold the same version at first: a box whose first slot is damaged still starts.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::{self, Cache};
use crate::root::Root;
use crate::step::{self, Step};

/// Free space before the first partition and after the last, for the two partition tables.
const MARGIN_MIB: u64 = 1;
/// A slot holds one EFI file of at most 20 MiB, and during an update the old beside the new one. 128 MiB lets the file grow
/// threefold in the years of service, and is well above the smallest size at which firmware expects FAT32.
const SLOT_MIB: u64 = 128;
/// The state of the image: enough for a trial. On a box the rest of the disk belongs to it.
const STATE_MIB: u64 = 1278;
/// 1.5 GiB: fits on any disk, and is sparse in the image.
const DISK_MIB: u64 = MARGIN_MIB + 2 * SLOT_MIB + STATE_MIB + MARGIN_MIB;

/// $1: MiB of a slot, $2: MiB of state, $3: MiB of the disk.
/// The state has 64-bit checksums of its own metadata and a journal; its identifier and hash seed are fixed.
const BUILD: &str = r#"
cd /src/disk
export SOURCE_DATE_EPOCH=1767225600 E2FSPROGS_FAKE_TIME=1767225600 MTOOLS_SKIP_CHECK=1
truncate -s "$1M" slot.raw
mkfs.vfat --invariant -F 32 -n COLLECTOR slot.raw
touch -d @1767225600 collector.efi
mmd -i slot.raw ::/EFI ::/EFI/BOOT
mcopy -m -i slot.raw collector.efi ::/EFI/BOOT/BOOTX64.EFI
truncate -s "$2M" state.raw
mke2fs -q -t ext4 -L state -m 0 -O metadata_csum,64bit,^resize_inode -U 5b1c6f0e-54c9-4d0c-9d5e-2f0a4a4b7c01 \
    -E hash_seed=5b1c6f0e-54c9-4d0c-9d5e-2f0a4a4b7c02,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0 state.raw
truncate -s "$3M" disk.raw
sfdisk --quiet disk.raw <<END
label: gpt
label-id: 5B1C6F0E-54C9-4D0C-9D5E-2F0A4A4B7C00
first-lba: 2048
start=1MiB, size=$1MiB, type=uefi, name=slot-a, uuid=5B1C6F0E-54C9-4D0C-9D5E-2F0A4A4B7C0A
start=$((1 + $1))MiB, size=$1MiB, type=uefi, name=slot-b, uuid=5B1C6F0E-54C9-4D0C-9D5E-2F0A4A4B7C0B
start=$((1 + 2 * $1))MiB, size=$2MiB, type=linux, name=state, uuid=5B1C6F0E-54C9-4D0C-9D5E-2F0A4A4B7C0C
END
dd if=slot.raw of=disk.raw bs=1M seek=1 conv=notrunc,sparse status=none
dd if=slot.raw of=disk.raw bs=1M seek=$((1 + $1)) conv=notrunc,sparse status=none
dd if=state.raw of=disk.raw bs=1M seek=$((1 + 2 * $1)) conv=notrunc,sparse status=none
chmod 644 disk.raw
"#;

/// Why there is no disk.
#[derive(Debug)]
pub enum Error {
    /// The cache cannot be locked.
    Cache(cache::Error),
    /// A program of the tool root failed.
    Step(step::Error),
    /// The EFI file cannot be brought to the tools.
    File { path: PathBuf, cause: io::Error },
}

impl From<cache::Error> for Error {
    fn from(cause: cache::Error) -> Error {
        Error::Cache(cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Cache(_) => f.write_str("the disk needs the cache"),
            Error::Step(_) => f.write_str("the disk cannot be made"),
            Error::File { path, .. } => write!(f, "cannot use {}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Cache(cause) => Some(cause),
            Error::Step(cause) => Some(cause),
            Error::File { cause, .. } => Some(cause),
        }
    }
}

/// Makes the disk at `disk` around the EFI file at `efi`.
pub fn build(cache: &Cache, tools: &Root, efi: &Path, disk: &Path) -> Result<(), Error> {
    let _lock = cache.lock("tools-disk")?;
    let inside = tools.path().join("src/disk");
    let root =
        |command: &mut std::process::Command| step::answer(command).map(drop).map_err(Error::Step);
    root(step::as_root("rm").arg("-rf").arg(&inside))?;
    root(
        step::as_root("install")
            .args(["-d", "-m", "0777"])
            .arg(&inside),
    )?;
    let file = inside.join("collector.efi");
    fs::copy(efi, &file).map_err(|cause| Error::File { path: file, cause })?;
    let mut script = tools.script(BUILD);
    script.args([
        "disk",
        &SLOT_MIB.to_string(),
        &STATE_MIB.to_string(),
        &DISK_MIB.to_string(),
    ]);
    let log = cache.log("disk");
    Step {
        what: "disk",
        estimate: Duration::from_secs(5),
        log: &log,
    }
    .run(&mut script)
    .map_err(Error::Step)?;
    // a copy that keeps holes: the cache may be on another file system
    root(
        std::process::Command::new("cp")
            .args(["--sparse=always", "--force"])
            .arg(inside.join("disk.raw"))
            .arg(disk),
    )?;
    root(step::as_root("rm").arg("-rf").arg(&inside))
}
