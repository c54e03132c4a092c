//! The one EFI file: kernel, initramfs and command line under systemd's stub.
//!
//! 1. What the firmware checks is one file: kernel, root and command line cannot be mixed from two versions.
//! 2. The command line cannot be changed from outside: with one built in, the stub ignores what firmware passes
//!    when Secure Boot is on.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::{self, Cache};
use crate::kernel::Kernel;
use crate::root::Root;
use crate::step::{self, Step};

/// Arguments of the kernel, each with its reason.
pub const COMMAND_LINE: &[(&str, &str)] = &[
    ("console=tty0", "status on the screen"),
    (
        "console=ttyS0",
        "the same on the serial port; the last one is /dev/console",
    ),
    (
        "loglevel=4",
        "errors only: the kernel's notices, several for each security association, would bury what the roles say",
    ),
    (
        "panic=10",
        "a dead kernel restarts after time to read the screen",
    ),
    (
        "usbcore.authorized_default=0",
        "no USB device is bound to a driver before the `ports` role allows it",
    ),
    (
        "lockdown=confidentiality",
        "root cannot read or change the kernel",
    ),
    (
        "slab_nomerge",
        "one kind of object cannot be reached through another kind's fault",
    ),
    ("page_alloc.shuffle=1", "pages are hard to foretell"),
    ("randomize_kstack_offset=1", "so is the kernel's stack"),
    ("init_on_alloc=1", "no left-over data in new memory"),
    ("init_on_free=1", "freed memory keeps no patient data"),
    (
        "hardened_usercopy=1",
        "copies to and from programs are checked",
    ),
    (
        "mitigations=auto",
        "faults of the processor are worked around, without switching threads off",
    ),
    ("intel_iommu=on", "devices reach only their own memory"),
    ("iommu.passthrough=0", "also on machines of other makers"),
    ("iommu.strict=1", "and no longer than they need it"),
    (
        "proc_mem.force_override=never",
        "a process cannot write over another's read-only memory",
    ),
    (
        "bdev_allow_write_mounted=0",
        "the disk under a mounted file system cannot be written",
    ),
    ("audit=1", "refusals of the execution policy are in the log"),
    ("audit_backlog_limit=256", "and wait there for a console"),
];

/// Why there is no EFI file.
#[derive(Debug)]
pub enum Error {
    /// The cache cannot be locked.
    Cache(cache::Error),
    /// A program of the tool root failed.
    Step(step::Error),
    /// A file cannot be written or copied.
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
            Error::Cache(_) => f.write_str("the EFI file needs the cache"),
            Error::Step(_) => f.write_str("the EFI file cannot be made"),
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

/// The kernel's arguments in one line.
pub fn command_line() -> String {
    COMMAND_LINE
        .iter()
        .map(|(argument, _)| *argument)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Compresses the archive into `initramfs` and joins all into `efi`.
pub fn build(
    cache: &Cache,
    tools: &Root,
    kernel: &Kernel,
    archive: &[u8],
    version: &str,
    (initramfs, efi): (&Path, &Path),
) -> Result<(), Error> {
    let _lock = cache.lock("tools-efi")?;
    let inside = tools.path().join("src/efi");
    let put = |path: PathBuf, bytes: &[u8]| {
        fs::write(&path, bytes).map_err(|cause| Error::File { path, cause })
    };
    let root =
        |command: &mut std::process::Command| step::answer(command).map(drop).map_err(Error::Step);
    root(step::as_root("rm").arg("-rf").arg(&inside))?;
    root(
        step::as_root("install")
            .args(["-d", "-m", "0777"])
            .arg(&inside),
    )?;
    put(inside.join("initramfs.cpio"), archive)?;
    put(inside.join("cmdline.txt"), command_line().as_bytes())?;
    let os_release = format!("ID=collector\nNAME=\"collector box\"\nVERSION_ID={version}\n");
    put(inside.join("os-release"), os_release.as_bytes())?;
    let image = inside.join("bzImage");
    fs::copy(&kernel.image, &image).map_err(|cause| Error::File { path: image, cause })?;
    let script = "
        cd /src/efi
        export SOURCE_DATE_EPOCH=1767225600
        zstd --quiet --force --ultra -20 --threads=1 initramfs.cpio -o initramfs.zst
        ukify build --linux=bzImage --initrd=initramfs.zst --cmdline=@cmdline.txt --os-release=@os-release \
            --uname=\"$1\" --output=collector.efi
    ";
    let mut command = tools.script(script);
    command.args(["efi", &kernel.release]);
    let log = cache.log("efi");
    Step {
        what: "EFI file",
        estimate: Duration::from_secs(15),
        log: &log,
    }
    .run(&mut command)
    .map_err(Error::Step)?;
    for (from, to) in [("initramfs.zst", initramfs), ("collector.efi", efi)] {
        fs::copy(inside.join(from), to).map_err(|cause| Error::File {
            path: to.to_owned(),
            cause,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_has_a_reason_and_stands_once() {
        for (index, (argument, reason)) in COMMAND_LINE.iter().enumerate() {
            assert!(!reason.is_empty() && !argument.contains(' '), "{argument}");
            assert!(
                COMMAND_LINE[..index]
                    .iter()
                    .all(|(other, _)| other != argument),
                "{argument} twice"
            );
        }
    }
}
