//! A netlink socket: one request, its answers, its acknowledgement.
//!
//! 1. A request is complete only when the kernel has acknowledged it; an error number from the kernel is an error here.
//! 2. The socket gives up after [`ANSWER_SECONDS`], so that nobody waits for a kernel that does not answer.
//!
//! Source: RFC 3549 section 2; Documentation/userspace-api/netlink/intro.rst.

use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::SocketAddrNetlink,
};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Seconds until a missing answer is an error. The kernel answers within the call; only lost memory makes it late.
const ANSWER_SECONDS: u64 = 5;
/// Bytes of one read. The kernel fills at most 32 KiB per datagram of a dump.
const DATAGRAM_BYTES: usize = 64 * 1024;

pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const REQUEST: u16 = 0x1;
pub(crate) const ACK: u16 = 0x4;
pub(crate) const REPLACE: u16 = 0x100;
pub(crate) const EXCLUSIVE: u16 = 0x200;
pub(crate) const DUMP: u16 = 0x300;
pub(crate) const CREATE: u16 = 0x400;
pub(crate) const APPEND: u16 = 0x800;
const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;

/// A request to the kernel's network configuration failed.
#[derive(Debug)]
pub enum NetlinkError {
    /// No socket could be had.
    Socket(std::io::Error),
    /// The request could not be sent, or no answer came.
    Exchange {
        request: &'static str,
        source: std::io::Error,
    },
    /// The kernel refused.
    Refused {
        request: &'static str,
        object: String,
        source: std::io::Error,
    },
    /// The answer was not one of the form that was asked for.
    Answer { request: &'static str },
}

impl std::fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(_) => write!(f, "cannot open a netlink socket"),
            Self::Exchange { request, .. } => write!(f, "no answer from the kernel to: {request}"),
            Self::Refused {
                request, object, ..
            } => write!(f, "the kernel refused to {request} {object}"),
            Self::Answer { request } => {
                write!(f, "the kernel's answer was cut short to: {request}")
            }
        }
    }
}

impl std::error::Error for NetlinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket(source) | Self::Exchange { source, .. } | Self::Refused { source, .. } => {
                Some(source)
            }
            Self::Answer { .. } => None,
        }
    }
}

impl NetlinkError {
    /// Whether the kernel said that the thing is there already, which a repeated setup takes for success.
    pub fn is_already_there(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.raw_os_error() == Some(Errno::EXIST.raw_os_error()))
    }

    /// Whether the kernel said that there is no such thing.
    pub fn is_not_there(&self) -> bool {
        matches!(self, Self::Refused { source, .. }
            if [Errno::NOENT, Errno::NODEV].map(|errno| Some(errno.raw_os_error())).contains(&source.raw_os_error()))
    }
}

/// What a request is and what it is about, for its error.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub request: &'static str,
    pub object: &'a str,
}

pub(crate) struct Connection {
    socket: OwnedFd,
}

impl Connection {
    pub fn open(protocol: Option<Protocol>) -> Result<Self, NetlinkError> {
        let open = || -> rustix::io::Result<OwnedFd> {
            let socket = net::socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                protocol,
            )?;
            let wait = Some(Duration::from_secs(ANSWER_SECONDS));
            net::sockopt::set_socket_timeout(&socket, net::sockopt::Timeout::Recv, wait)?;
            net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
            Ok(socket)
        };
        open()
            .map(|socket| Self { socket })
            .map_err(|errno| NetlinkError::Socket(errno.into()))
    }

    /// Sends `bytes` and reads until the message with sequence number `last` is acknowledged or a dump is done.
    /// Returns the messages in between, each with its header.
    pub fn exchange(
        &self,
        bytes: &[u8],
        last: u32,
        subject: Subject<'_>,
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        let failed = |errno: Errno| NetlinkError::Exchange {
            request: subject.request,
            source: errno.into(),
        };
        net::sendto(
            self.socket.as_fd(),
            bytes,
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )
        .map_err(failed)?;
        let mut messages = Vec::new();
        let mut datagram = vec![0; DATAGRAM_BYTES];
        loop {
            let (length, _) = net::recv(self.socket.as_fd(), &mut datagram[..], RecvFlags::empty())
                .map_err(failed)?;
            for message in split(&datagram[..length]) {
                let message = message.ok_or(NetlinkError::Answer {
                    request: subject.request,
                })?;
                match kind(message) {
                    TYPE_DONE => return Ok(messages),
                    TYPE_ERROR => match error_number(message) {
                        None => {
                            return Err(NetlinkError::Answer {
                                request: subject.request,
                            });
                        }
                        Some(0) if sequence(message) == last => return Ok(messages),
                        Some(0) => {}
                        Some(number) => {
                            return Err(NetlinkError::Refused {
                                request: subject.request,
                                object: subject.object.to_owned(),
                                source: std::io::Error::from_raw_os_error(number.wrapping_neg()),
                            });
                        }
                    },
                    _ => messages.push(message.to_vec()),
                }
            }
        }
    }
}

/// Cuts a datagram into messages; `None` where the stated length is not there.
fn split(mut datagram: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let stated = datagram
            .first_chunk::<4>()
            .map(|bytes| u32::from_ne_bytes(*bytes) as usize);
        match stated {
            Some(length) if length >= HEADER_BYTES && length <= datagram.len() => {
                let message = &datagram[..length];
                datagram = datagram
                    .get(length.next_multiple_of(4)..)
                    .unwrap_or_default();
                Some(Some(message))
            }
            _ => {
                datagram = &[];
                Some(None)
            }
        }
    })
}

fn kind(message: &[u8]) -> u16 {
    u16::from_ne_bytes([message[4], message[5]])
}

fn sequence(message: &[u8]) -> u32 {
    u32::from_ne_bytes([message[8], message[9], message[10], message[11]])
}

fn error_number(message: &[u8]) -> Option<i32> {
    message
        .get(HEADER_BYTES..)?
        .first_chunk::<4>()
        .map(|bytes| i32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_cut_at_the_stated_lengths_with_padding() {
        let mut datagram = 18_u32.to_ne_bytes().to_vec();
        datagram.extend([0; 16]);
        datagram.extend(16_u32.to_ne_bytes());
        datagram.extend([0; 12]);
        let lengths: Vec<_> = split(&datagram)
            .map(|message| message.map(<[u8]>::len))
            .collect();
        assert_eq!(lengths, [Some(18), Some(16)]);
    }

    #[test]
    fn a_stated_length_beyond_the_datagram_or_below_a_header_is_refused() {
        for stated in [0_u32, 15, 17, u32::MAX] {
            let mut datagram = stated.to_ne_bytes().to_vec();
            datagram.extend([0; 12]);
            assert_eq!(split(&datagram).collect::<Vec<_>>(), [None], "{stated}");
        }
        assert_eq!(split(&[1, 2]).collect::<Vec<_>>(), [None]);
    }
}
