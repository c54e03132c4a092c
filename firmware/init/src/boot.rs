//! The first steps of PID 1, in an order that matters: the root is sealed before anything else is touched.
//!
//! 1. Until the root of the initramfs is read-only, a new file on it could be executed as if it had been shipped; so
//!    only the folders for mounts are made before.
//! 2. No file system that PID 1 mounts can hold a working program or device, `/dev` aside.
//! 3. The clock never shows a time before the image was built.

use crate::log;
use std::path::Path;
use sys::mounts::{self, Extent, MountError, MountOption, Propagation, Restriction};

const MOUNT_POINTS: &[&str] = &["/proc", "/sys", "/dev", "/run", "/tmp", "/state", "/mnt"];
/// Where the commissioning disc is mounted; a share of its own mounts, so that only `maintenance` sees them.
pub const MEDIA: &str = "/run/media";
const LOCKED: &[Restriction] = &[
    Restriction::NoSetuid,
    Restriction::NoDevices,
    Restriction::NoPrograms,
];
/// Settings of the kernel, reviewed in one place.
const SETTINGS: &str = include_str!("../../../hardening/sysctl.conf");

/// A step of the boot failed without which nothing can work.
#[derive(Debug)]
pub enum BootError {
    Seal(rustix::io::Errno),
    Mount {
        target: &'static str,
        source: MountError,
    },
    Share {
        target: &'static str,
        source: rustix::io::Errno,
    },
}

impl std::fmt::Display for BootError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seal(_) => f.write_str("cannot make the root file system read-only"),
            Self::Mount { target, .. } => write!(f, "cannot mount {target}"),
            Self::Share { target, .. } => {
                write!(f, "cannot let mounts below {target} reach the roles")
            }
        }
    }
}

impl std::error::Error for BootError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Seal(source) | Self::Share { source, .. } => Some(source),
            Self::Mount { source, .. } => Some(source),
        }
    }
}

pub fn file_systems() -> Result<(), BootError> {
    for folder in MOUNT_POINTS {
        // it is there already in a complete image
        let _ = std::fs::create_dir(folder);
    }
    mounts::seal_root().map_err(BootError::Seal)?;
    mount("proc", "/proc", &[], LOCKED)?;
    mount("sysfs", "/sys", &[], LOCKED)?;
    mount(
        "devtmpfs",
        "/dev",
        &[("mode", "0755")],
        &[Restriction::NoSetuid, Restriction::NoPrograms],
    )?;
    mount(
        "tmpfs",
        "/run",
        &[("mode", "0755"), ("size", "32m")],
        LOCKED,
    )?;
    mount(
        "tmpfs",
        "/tmp",
        &[("mode", "1777"), ("size", "16m")],
        LOCKED,
    )?;
    // file systems of their own, so that an empty folder of a missing share is told from a share by its device
    mount(
        "tmpfs",
        "/mnt",
        &[("mode", "0755"), ("size", "64k")],
        LOCKED,
    )?;
    let _ = std::fs::create_dir(MEDIA);
    mount("tmpfs", MEDIA, &[("mode", "0755"), ("size", "64k")], LOCKED)?;
    for target in ["/mnt", MEDIA] {
        mounts::propagate(Path::new(target), Propagation::Shared, Extent::One)
            .map_err(|source| BootError::Share { target, source })?;
    }
    Ok(())
}

fn mount(
    kind: &str,
    target: &'static str,
    options: &[(&'static str, &str)],
    restrictions: &[Restriction],
) -> Result<(), BootError> {
    let options: Vec<MountOption> = options
        .iter()
        .map(|(name, value)| MountOption::Text(name, (*value).to_owned()))
        .collect();
    mounts::mount(kind, kind, Path::new(target), &options, restrictions)
        .map_err(|source| BootError::Mount { target, source })
}

/// Applies `hardening/sysctl.conf`. A kernel without a key has the feature compiled out, which is said and no fault.
pub fn settings() {
    let mut absent = Vec::new();
    for (key, value) in parse(SETTINGS) {
        match set(Path::new("/proc/sys"), key, value) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => absent.push(key),
            Err(error) => log::line(&format!(
                "the kernel refused the setting {key} = {value}: {error}"
            )),
        }
    }
    if !absent.is_empty() {
        log::line(&format!(
            "settings of features that this kernel lacks: {}",
            absent.join(", ")
        ));
    }
}

/// Writes one setting. In a key a dot separates folders.
pub fn set(root: &Path, key: &str, value: &str) -> std::io::Result<()> {
    let path = root.join(key.replace('.', "/"));
    std::fs::metadata(&path)?;
    std::fs::write(path, value)
}

/// Lines `key = value`; a leading `-` of a key (sysctl.conf's "ignore errors") is no part of it.
pub fn parse(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().trim_start_matches('-'), value.trim()))
}

/// Every USB root hub leaves new devices unauthorised; the command line says so too, for those before us.
pub fn refuse_usb() {
    let Ok(hubs) = std::fs::read_dir("/sys/bus/usb/devices") else {
        return;
    };
    for hub in hubs.flatten() {
        let switch = hub.path().join("authorized_default");
        if switch.exists()
            && let Err(error) = std::fs::write(&switch, "0")
        {
            log::line(&format!(
                "cannot switch USB off at {}: {error}",
                switch.display()
            ));
        }
    }
}

/// Moves the clock forward to the time of the build where it is before it.
pub fn floor_clock() {
    let built = std::fs::read("/etc/release.json")
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .and_then(|release| release["built"].as_i64());
    let Some(built) = built else {
        log::line("no time of building in /etc/release.json: the clock has no floor");
        return;
    };
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    if now.tv_sec >= built {
        return;
    }
    let floor = rustix::time::Timespec {
        tv_sec: built,
        tv_nsec: 0,
    };
    match rustix::time::clock_settime(rustix::time::ClockId::Realtime, floor) {
        Ok(()) => log::line(&format!(
            "the clock was {} s before the image's build and is set to it",
            built - now.tv_sec
        )),
        Err(error) => log::line(&format!(
            "cannot set the clock to the image's build: {error}"
        )),
    }
}

/// Device nodes that a role other than root uses.
pub fn hand_over_devices() {
    let screen = Path::new("/dev/tty1");
    if screen.exists()
        && let Err(error) = std::os::unix::fs::chown(screen, Some(crate::roles::CONSOLE), None)
    {
        log::line(&format!(
            "cannot give the screen to the role console: {error}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_empty_lines_and_the_sign_for_optional_are_no_part_of_a_setting() {
        let text = "# why\n\n; why\nkernel.a = 1\n-net.b=2 3\n";
        assert_eq!(
            parse(text).collect::<Vec<_>>(),
            [("kernel.a", "1"), ("net.b", "2 3")]
        );
    }

    #[test]
    fn a_setting_is_written_below_its_folders_and_an_unknown_one_is_not_created() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("kernel")).unwrap();
        std::fs::write(root.path().join("kernel/a"), "0").unwrap();
        set(root.path(), "kernel.a", "1").unwrap();
        assert_eq!(
            std::fs::read_to_string(root.path().join("kernel/a")).unwrap(),
            "1"
        );
        assert_eq!(
            set(root.path(), "kernel.b", "1").unwrap_err().kind(),
            std::io::ErrorKind::NotFound
        );
    }

    #[test]
    fn every_line_of_the_shipped_settings_is_a_setting() {
        let lines = SETTINGS
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(lines.count(), parse(SETTINGS).count());
        assert!(
            parse(SETTINGS)
                .all(|(key, value)| !key.is_empty() && !value.is_empty() && !key.contains(' '))
        );
    }
}
