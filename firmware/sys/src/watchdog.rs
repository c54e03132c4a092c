//! The hardware watchdog: a timer that resets the box unless it is petted.
//!
//! 1. It is never disarmed: on an ordered restart it stays armed, so that a restart that hangs is cut short too.
//!
//! Source: Documentation/watchdog/watchdog-api.rst.

use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl, opcode};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// `WDIOC_SETTIMEOUT`: seconds in, seconds that the hardware took out.
const SET_TIMEOUT: rustix::ioctl::Opcode = opcode::read_write::<i32>(b'W', 6);

pub struct Watchdog {
    device: File,
}

impl Watchdog {
    /// Arms the watchdog and asks for `timeout`; returns also the time that the hardware chose, where it says.
    pub fn open(path: &Path, timeout: Duration) -> std::io::Result<(Self, Option<Duration>)> {
        let device = OpenOptions::new().write(true).open(path)?;
        let mut seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
        // SAFETY: `SET_TIMEOUT` reads and writes one C int, and `seconds` is one that lives over the call.
        let answer: Result<(), Errno> =
            unsafe { ioctl(&device, Updater::<SET_TIMEOUT, i32>::new(&mut seconds)) };
        let chosen = answer
            .ok()
            .and_then(|()| u64::try_from(seconds).ok())
            .map(Duration::from_secs);
        Ok((Self { device }, chosen))
    }

    pub fn pet(&mut self) -> std::io::Result<()> {
        self.device.write_all(b"\n")
    }
}
