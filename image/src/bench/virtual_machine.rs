//! One QEMU machine from start to a line of its serial console.
//!
//! 1. TCG always: figures of two machines are comparable only under one accelerator, and not every host has KVM.
//! 2. The machine ends with the value that owns it.

use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::commission::CARD;

/// Memory of the measured machines.
pub const MEMORY_MIB: u64 = 1024;
/// A machine that is not ready by then never is; the stock system takes about 40 s on two idle cores.
const LIMIT: Duration = Duration::from_secs(300);
/// Lines shown of a machine that did not get there.
const LAST_LINES: usize = 15;

/// What a machine starts from.
pub enum Start {
    /// Kernel, initramfs, command line.
    Direct {
        kernel: PathBuf,
        initramfs: PathBuf,
        arguments: String,
    },
    /// UEFI firmware and an empty variable store; boots from the first disk.
    Firmware { code: PathBuf, variables: PathBuf },
}

/// Why a machine did not reach the line.
#[derive(Debug)]
pub enum Error {
    /// QEMU could not be started or read.
    Run { cause: io::Error },
    /// The serial console ended or the limit ran out.
    NotReached { line: &'static str, last: String },
    /// The line has no such number.
    NoNumber { name: String, line: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Run { .. } => f.write_str("cannot run qemu-system-x86_64"),
            Error::NotReached { line, last } => {
                write!(
                    f,
                    "the machine never said `{line}`; its last lines:\n{last}"
                )
            }
            Error::NoNumber { name, line } => write!(f, "no number {name} in `{line}`"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Run { cause } => Some(cause),
            _ => None,
        }
    }
}

/// The line that was waited for, and when it came.
pub struct Reached {
    line: String,
    /// From the start of QEMU, firmware included.
    pub wall: Duration,
}

impl Reached {
    /// The number behind `name=` in the line.
    pub fn number(&self, name: &str) -> Result<f64, Error> {
        let found = self
            .line
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::NoNumber {
                name: name.to_owned(),
                line: self.line.clone(),
            })
    }
}

struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // it may have ended by itself; either way it is gone afterwards
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command that starts the machine with disks (raw, unchanged by the run) and a disc.
pub fn command(start: &Start, disk: &str, disc: Option<&str>) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command.args([
        "-machine",
        "q35",
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-smp",
        "2",
        "-m",
        &format!("{MEMORY_MIB}M"),
    ]);
    command.args([
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-serial",
        "stdio",
    ]);
    command.args([
        "-netdev",
        "socket,id=lan,listen=127.0.0.1:0",
        "-device",
        &format!("virtio-net-pci,netdev=lan,mac={CARD}"),
    ]);
    command.args(["-device", "virtio-rng-pci", "-snapshot"]);
    command
        .arg("-drive")
        .arg(format!("if=virtio,format=raw,file={disk}"));
    if let Some(disc) = disc {
        command.arg("-drive").arg(format!(
            "if=none,id=disc,media=cdrom,format=raw,file={disc}"
        ));
        command.args(["-device", "ide-cd,drive=disc"]);
    }
    match start {
        Start::Direct {
            kernel,
            initramfs,
            arguments,
        } => {
            command
                .arg("-kernel")
                .arg(kernel)
                .arg("-initrd")
                .arg(initramfs)
                .args(["-append", arguments]);
        }
        Start::Firmware { code, variables } => {
            let code = format!(
                "if=pflash,format=raw,unit=0,readonly=on,file={}",
                code.display()
            );
            let variables = format!("if=pflash,format=raw,unit=1,file={}", variables.display());
            command.args(["-drive", &code, "-drive", &variables]);
        }
    }
    command
}

/// Starts the machine and waits for a line that contains `wanted`.
pub fn until(command: &mut Command, wanted: &'static str) -> Result<Reached, Error> {
    let begun = Instant::now();
    let run_error = |cause| Error::Run { cause };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(run_error)?;
    let output = child.stdout.take();
    let _owned = Owned(child);
    let (send, receive) = mpsc::channel();
    let reader = BufReader::new(output.ok_or_else(|| run_error(io::ErrorKind::BrokenPipe.into()))?);
    thread::spawn(move || {
        for line in reader.split(b'\n').map_while(Result::ok) {
            if send
                .send(String::from_utf8_lossy(&line).trim_end().to_owned())
                .is_err()
            {
                break;
            }
        }
    });
    let mut last: Vec<String> = Vec::new();
    loop {
        match receive.recv_timeout(LIMIT.saturating_sub(begun.elapsed())) {
            Ok(line) if line.contains(wanted) => {
                return Ok(Reached {
                    line,
                    wall: begun.elapsed(),
                });
            }
            Ok(line) => {
                last.push(line);
                if last.len() > LAST_LINES {
                    last.remove(0);
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err(Error::NotReached {
                    line: wanted,
                    last: last.join("\n"),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_line_is_found_by_its_name() {
        let reached = Reached {
            line: "init: ready ms=1234 mem_kb=5".to_owned(),
            wall: Duration::ZERO,
        };
        assert_eq!(reached.number("ms").unwrap(), 1234.0);
        assert!(reached.number("s").is_err());
    }

    #[test]
    fn a_machine_that_ends_without_the_line_shows_what_it_said() {
        let error = until(Command::new("echo").arg("kernel panic"), "ready")
            .err()
            .unwrap();
        assert!(error.to_string().ends_with("kernel panic"), "{error}");
    }
}
