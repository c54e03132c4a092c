//! The socket on which roles say that they are ready and alive (the readiness protocol of systemd).
//!
//! 1. Who speaks is told by the kernel (`SCM_CREDENTIALS`), not by the message.
//! 2. A message is a claim of a role: at most [`LONGEST_BYTES`], and what is not understood is ignored.
//!
//! Source: sd_notify(3).

use crate::supervise::{Event, Pid};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, sockopt};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

pub const SOCKET: &str = "/run/notify/socket";
const LONGEST_BYTES: usize = 4096;
/// Longest status text that is kept of a role.
const LONGEST_STATUS: usize = 200;

pub struct Listener {
    socket: UnixDatagram,
}

impl Listener {
    pub fn open() -> std::io::Result<Self> {
        let socket = UnixDatagram::bind(SOCKET)?;
        socket.set_nonblocking(true)?;
        sockopt::set_socket_passcred(&socket, true)?;
        std::fs::set_permissions(SOCKET, std::fs::Permissions::from_mode(0o666))?;
        Ok(Self { socket })
    }

    /// The next message, if there is one now.
    pub fn next(&self) -> Option<(Pid, String)> {
        let mut bytes = [0; LONGEST_BYTES];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(4))];
        loop {
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(&mut bytes)];
            let received = rustix::net::recvmsg(
                &self.socket,
                &mut into,
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )
            .ok()?;
            let sender = ancillary.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmCredentials(credentials) => {
                    Some(credentials.pid.as_raw_nonzero().get())
                }
                _ => None,
            });
            if let Some(sender) = sender {
                return Some((
                    sender,
                    String::from_utf8_lossy(&bytes[..received.bytes]).into_owned(),
                ));
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What a message of the process `pid` says.
pub fn events(pid: Pid, message: &str) -> Vec<Event> {
    message
        .lines()
        .filter_map(|line| match line.split_once('=')? {
            ("READY", "1") => Some(Event::Ready(pid)),
            ("WATCHDOG", "1") => Some(Event::Alive(pid)),
            ("STATUS", text) => {
                let text = text
                    .chars()
                    .filter(|letter| !letter.is_control())
                    .take(LONGEST_STATUS)
                    .collect();
                Some(Event::Status(pid, text))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_say_several_things_and_what_is_not_understood_is_ignored() {
        let told = events(
            7,
            "READY=1\nSTATUS=3 files\nMAINPID=1\nnonsense\nWATCHDOG=1",
        );
        assert_eq!(
            told,
            [
                Event::Ready(7),
                Event::Status(7, "3 files".to_owned()),
                Event::Alive(7)
            ]
        );
        assert_eq!(events(7, "READY=0\nWATCHDOG=trigger"), []);
    }

    #[test]
    fn a_status_cannot_bring_control_characters_or_an_endless_text() {
        let told = events(7, &format!("STATUS=\u{1b}[2J{}", "a".repeat(1000)));
        let [Event::Status(_, text)] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(text.chars().count(), LONGEST_STATUS);
        assert!(text.starts_with("[2J"));
    }
}
