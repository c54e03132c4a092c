//! Which accelerator works here. The device node `/dev/kvm` proves nothing: it exists in machines whose processor gives
//! no nested virtualisation, and there KVM may still interpret a boot sector while no 64-bit kernel gets anywhere. So
//! the processor must say that it virtualises, and a few bytes of code must really run.

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    Tcg,
}

impl Accelerator {
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        })
    }
}

/// The best accelerator that works, tried once. `LAB_ACCELERATOR=tcg` forces the slow one, to measure with it.
pub fn best() -> Accelerator {
    static BEST: OnceLock<Accelerator> = OnceLock::new();
    *BEST.get_or_init(|| {
        let forced = std::env::var("LAB_ACCELERATOR").is_ok_and(|name| name == "tcg");
        if !forced && processor_virtualises() && runs(Accelerator::Kvm) {
            Accelerator::Kvm
        } else {
            Accelerator::Tcg
        }
    })
}

fn processor_virtualises() -> bool {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split(' ').any(|f| f == "vmx" || f == "svm"))
}

/// `mov al, 0x10; out 0xf4, al; hlt`: QEMU's `isa-debug-exit` turns the value into exit status `2 * 0x10 + 1`.
const EXIT_CODE: [u8; 5] = [0xb0, 0x10, 0xe6, 0xf4, 0xf4];
const EXIT_STATUS: i32 = 33;
/// A boot sector runs within a fraction of a second or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a boot sector runs under this accelerator.
pub fn runs(accelerator: Accelerator) -> bool {
    let Ok(mut sector) = tempfile::NamedTempFile::new() else {
        return false;
    };
    let mut bytes = [0u8; 512];
    bytes[..EXIT_CODE.len()].copy_from_slice(&EXIT_CODE);
    bytes[510..].copy_from_slice(&[0x55, 0xaa]);
    if std::io::Write::write_all(&mut sector, &bytes).is_err() {
        return false;
    }
    let drive = format!(
        "file={},format=raw,if=ide,readonly=off",
        sector.path().display()
    );
    let child = Command::new("qemu-system-x86_64")
        .args(accelerator.arguments())
        .args([
            "-machine",
            "pc",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-drive",
            &drive,
        ])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return status.code() == Some(EXIT_STATUS),
            // The standard library has no wait with a limit; ten looks a second cost nothing.
            Ok(None) => std::thread::sleep(Duration::from_millis(100)),
            Err(_) => break,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emulator_runs_the_boot_sector() {
        assert!(runs(Accelerator::Tcg));
    }
}
