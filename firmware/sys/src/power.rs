//! The end of a run: power off or start again; and the power button that asks for it.
//!
//! Source: reboot(2); include/uapi/linux/input.h (`struct input_event`, 64-bit).

use rustix::system::RebootCommand;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    PowerOff,
    Restart,
}

/// Ends the run at once, without writing anything back: the caller has synced and unmounted.
pub fn end(how: End) -> std::io::Result<()> {
    let command = match how {
        End::PowerOff => RebootCommand::PowerOff,
        End::Restart => RebootCommand::Restart,
    };
    rustix::system::reboot(command).map_err(Into::into)
}

/// Ctrl-Alt-Del shall not restart the box: there is nobody whose keyboard counts.
pub fn ignore_keyboard_restart() -> std::io::Result<()> {
    rustix::system::reboot(RebootCommand::CadOff).map_err(Into::into)
}

/// An input device, read for its power button only.
pub struct Button {
    device: File,
}

const EVENT_BYTES: usize = 24;
const EVENT_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
const PRESSED: i32 = 1;

impl Button {
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        Ok(Self {
            device: OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(path)?,
        })
    }

    /// Whether the button went down since the last call.
    pub fn pressed(&mut self) -> bool {
        let mut pressed = false;
        let mut events = [0; EVENT_BYTES * 16];
        while let Ok(length) = self.device.read(&mut events) {
            if length == 0 {
                break;
            }
            pressed |= events[..length]
                .chunks_exact(EVENT_BYTES)
                .any(is_power_down);
        }
        pressed
    }
}

impl AsFd for Button {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// The event's time is 16 bytes; type, code and value follow.
fn is_power_down(event: &[u8]) -> bool {
    event[16..18] == EVENT_KEY.to_ne_bytes()
        && event[18..20] == KEY_POWER.to_ne_bytes()
        && event[20..24] == PRESSED.to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_power_key_going_down_counts() {
        let event = |kind: u16, code: u16, value: i32| {
            let mut bytes = vec![7; 16];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
            bytes
        };
        assert!(is_power_down(&event(1, 116, 1)));
        for (kind, code, value) in [(1, 116, 0), (1, 30, 1), (0, 116, 1)] {
            assert!(!is_power_down(&event(kind, code, value)));
        }
    }
}
