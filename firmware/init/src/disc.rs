//! The commissioning disc: an ISO 9660 volume with the label `COLLECTOR` in an optical drive.
//!
//! 1. Only an optical drive is looked at, only a volume with this label is mounted, read-only and without programs
//!    or devices. What is on it is for `maintenance` to judge.
//! 2. `init` reads 6 bytes and 32 bytes of it (descriptor and label); the rest is the kernel's and `maintenance`'s.
//!
//! Source: ECMA-119, 8.4 (primary volume descriptor).

use crate::{boot, log, share_options};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use sys::mounts::{self, MountOption};

pub const LABEL: &str = "COLLECTOR";
const DESCRIPTOR_AT: u64 = 16 * 2048;
const LABEL_AT: usize = 40;
const LABEL_BYTES: usize = 32;

fn target() -> PathBuf {
    Path::new(boot::MEDIA).join("disc")
}

/// Mounts the disc where there is one. Says what it found.
pub fn insert() {
    let target = target();
    let _ = std::fs::create_dir(&target);
    // a disc keeps the owner and mode that its files had on the operator's computer, where keys belong to one person alone;
    // here only `maintenance` has the mount in its view
    let options = [
        MountOption::Flag("overriderockperm"),
        MountOption::Text("mode", "0444".to_owned()),
        MountOption::Text("dmode", "0555".to_owned()),
    ];
    for drive in drives() {
        if !is_ours(&drive) {
            continue;
        }
        let Some(source) = drive.to_str() else {
            continue;
        };
        match mounts::mount(
            "iso9660",
            source,
            &target,
            &options,
            share_options::RESTRICTIONS,
        ) {
            Ok(()) => return log::line(&format!("disc {LABEL} in {}", drive.display())),
            Err(error) => log::line(&format!(
                "disc in {}: {}",
                drive.display(),
                log::chain(&error)
            )),
        }
    }
}

/// Takes the disc out of every view, so that the drive can be opened.
pub fn remove() {
    // not mounted is the usual case
    let _ = mounts::detach(&target());
}

fn drives() -> Vec<PathBuf> {
    let Ok(devices) = std::fs::read_dir("/sys/class/block") else {
        return Vec::new();
    };
    let names = devices
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut drives: Vec<_> = names
        .filter(|name| name.starts_with("sr"))
        .map(|name| Path::new("/dev").join(name))
        .collect();
    drives.sort();
    drives
}

fn is_ours(drive: &Path) -> bool {
    let mut descriptor = [0; LABEL_AT + LABEL_BYTES];
    // an empty drive is an error of opening
    let read =
        File::open(drive).and_then(|file| file.read_exact_at(&mut descriptor, DESCRIPTOR_AT));
    read.is_ok() && label(&descriptor).as_deref() == Some(LABEL)
}

fn label(descriptor: &[u8; LABEL_AT + LABEL_BYTES]) -> Option<String> {
    (&descriptor[..6] == b"\x01CD001").then(|| {
        String::from_utf8_lossy(&descriptor[LABEL_AT..])
            .trim_end()
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_primary_volume_descriptor_has_a_label() {
        let mut descriptor = [b' '; LABEL_AT + LABEL_BYTES];
        descriptor[..6].copy_from_slice(b"\x01CD001");
        descriptor[LABEL_AT..LABEL_AT + 9].copy_from_slice(b"COLLECTOR");
        assert_eq!(label(&descriptor).as_deref(), Some("COLLECTOR"));
        descriptor[0] = 2;
        assert_eq!(label(&descriptor), None);
    }
}
