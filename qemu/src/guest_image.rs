//! The Debian 13 image of the guests: packages, initramfs with `lab-guest`, read-only root disk, settings disk.
//!
//! 1. The root disk depends on the packages only and is cached; what changes from run to run is on the settings disk.
//! 2. The initramfs holds `lab-guest` and the few modules without which no disk can be seen.

use crate::process::{self, ProcessError};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Debian packages of the guests' root, each with its reason. No systemd: `lab-guest` is process 1.
pub const PACKAGES: &[(&str, &str)] = &[
    (
        "linux-image-cloud-amd64",
        "stock kernel for virtual machines",
    ),
    ("samba", "the hospital's SMB share"),
    ("nfs-kernel-server", "the hospital's NFSv4 export"),
    ("chrony", "the data centre's NTP server"),
    ("iproute2", "addresses, routes and counters of the guests"),
    ("kmod", "modules of services, loaded by name"),
];

/// Modules that come before the root disk, in `/modules` of the initramfs, compressed as Debian ships them.
const FIRST_MODULES: &[&str] = &[
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "overlay",
];
/// The quietest console that still shows what goes wrong.
const COMMAND_LINE: &str =
    "console=ttyS0 quiet loglevel=4 panic=-1 rdinit=/init ipv6.disable=1 mitigations=off";
/// Scenarios run beside each other, and the first of them all need the disk.
static MAKING: Mutex<()> = Mutex::new(());
/// Room in the root disk beyond the files.
const SPARE_MIB: u64 = 64;

/// What a guest boots from.
#[derive(Clone, Debug)]
pub struct GuestImage {
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
    pub disk: PathBuf,
    pub command_line: &'static str,
}

/// Builds what is missing. `root` is a Debian root with [`PACKAGES`]; the disk goes to `cache`, the rest to `folder`.
pub fn build(
    root: &Path,
    lab_guest: &Path,
    cache: &Path,
    folder: &Path,
) -> Result<GuestImage, ImageError> {
    let release = kernel_release(root)?;
    let initramfs = folder.join("guest-initramfs.cpio");
    fs::write(&initramfs, initramfs_bytes(root, &release, lab_guest)?)
        .map_err(failed(&initramfs))?;
    Ok(GuestImage {
        kernel: root.join("boot").join(format!("vmlinuz-{release}")),
        initramfs,
        disk: disk(root, cache)?,
        command_line: COMMAND_LINE,
    })
}

fn kernel_release(root: &Path) -> Result<String, ImageError> {
    let modules = root.join("usr/lib/modules");
    let mut names = fs::read_dir(&modules)
        .map_err(failed(&modules))?
        .flatten()
        .map(|e| e.file_name());
    let name = names
        .next()
        .ok_or_else(|| failed(&modules)(io::ErrorKind::NotFound.into()))?;
    Ok(name.to_string_lossy().into_owned())
}

/// The root as an ext4 image without journal, under the digest of the list of installed packages.
fn disk(root: &Path, cache: &Path) -> Result<PathBuf, ImageError> {
    let status = root.join("var/lib/dpkg/status");
    let key = Sha256::digest(fs::read(&status).map_err(failed(&status))?);
    let key: String = key[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let image = cache.join(format!("guest-root-{key}.ext4"));
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if image.exists() {
        return Ok(image);
    }
    let used = process::run(
        Command::new("du")
            .args(["-sm", "--apparent-size"])
            .arg(root),
    )
    .map_err(ImageError::Tool)?;
    let used = String::from_utf8_lossy(&used);
    let used: u64 = used
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(512);
    let fresh = cache.join(format!("guest-root-{key}.ext4.new-{}", std::process::id()));
    let mut command = Command::new("mke2fs");
    command
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-O",
            "^has_journal",
            "-m",
            "0",
            "-d",
        ])
        .arg(root);
    // Small files round up to blocks and inodes take their room: a third more than the files.
    command
        .arg(&fresh)
        .arg(format!("{}M", used * 4 / 3 + SPARE_MIB));
    process::run(&mut command).map_err(ImageError::Tool)?;
    fs::rename(&fresh, &image).map_err(failed(&image))?;
    Ok(image)
}

fn initramfs_bytes(root: &Path, release: &str, lab_guest: &Path) -> Result<Vec<u8>, ImageError> {
    let mut archive = Cpio::default();
    archive.folder("modules");
    let tree = root.join("usr/lib/modules").join(release).join("kernel");
    for name in FIRST_MODULES {
        let file = find(&tree, &format!("{name}.ko.xz"))
            .ok_or_else(|| ImageError::NoModule((*name).to_owned()))?;
        archive.file(
            &format!("modules/{name}.ko.xz"),
            0o644,
            &fs::read(&file).map_err(failed(&file))?,
        );
    }
    archive.folder("dev");
    archive.console();
    archive.file(
        "init",
        0o755,
        &fs::read(lab_guest).map_err(failed(lab_guest))?,
    );
    Ok(archive.finish())
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder)
        .ok()?
        .flatten()
        .find_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => find(&entry.path(), name),
            Ok(_) if entry.file_name() == name => Some(entry.path()),
            _ => None,
        })
}

/// A cpio archive in the kernel's form ("newc"; kernel document `driver-api/early-userspace/buffer-format.rst`).
#[derive(Default)]
struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

impl Cpio {
    fn folder(&mut self, path: &str) {
        self.entry(path, 0o040755, (0, 0), &[]);
    }

    fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, 0o100000 | permissions, (0, 0), content);
    }

    /// `/dev/console`, which the kernel opens for process 1 before anything is mounted.
    fn console(&mut self) {
        self.entry("dev/console", 0o020600, (5, 1), &[]);
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let name_bytes = path.len() as u32 + 1;
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            content.len() as u32,
            0,
            0,
            device.0,
            device.1,
            name_bytes,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::File { path, source }
}

/// The guests' image could not be made.
#[derive(Debug)]
pub enum ImageError {
    File { path: PathBuf, source: io::Error },
    NoModule(String),
    Tool(ProcessError),
}

impl std::fmt::Display for ImageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "cannot read or write {}", path.display()),
            Self::NoModule(name) => write!(f, "the guests' kernel has no module {name}"),
            Self::Tool(_) => write!(f, "a tool that makes the guests' disk failed"),
        }
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Tool(source) => Some(source),
            Self::NoModule(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_that_begin_together_get_one_whole_disk() {
        let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let packages = root.path().join("var/lib/dpkg");
        fs::create_dir_all(&packages).unwrap();
        fs::write(packages.join("status"), b"Package: samba\n").unwrap();
        for number in 0..500 {
            fs::write(root.path().join(number.to_string()), [7; 9000]).unwrap();
        }
        let made: Vec<_> = std::thread::scope(|scope| {
            let make = || scope.spawn(|| disk(root.path(), cache.path()));
            let threads: Vec<_> = (0..4).map(|_| make()).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        for disk in made {
            let disk = disk.unwrap();
            process::run(Command::new("e2fsck").arg("-fn").arg(disk)).unwrap();
        }
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1);
    }
}
