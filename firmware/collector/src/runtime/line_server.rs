//! A server of lines on a UNIX socket: one line in, one line out, many per connection.
//!
//! 1. One thread: what arrived together is given to the role together, which can then sync once for all.
//! 2. Bounded: connections, bytes of a line, one waiting line for each connection. Who exceeds a bound is told so, once,
//!    and disconnected; who does not read the answer is disconnected.
//! 3. The peer is known by the kernel (`SO_PEERCRED`), never by what it says.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Ten roles with a few connections each.
const MOST_CONNECTIONS: usize = 64;

/// A request and who sent it.
#[derive(Debug)]
pub struct Request {
    pub uid: u32,
    /// Without the line break.
    pub line: String,
}

/// The socket could not be made or watched.
#[derive(Debug)]
pub struct SocketError {
    path: PathBuf,
    source: std::io::Error,
}

impl std::fmt::Display for SocketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot serve the socket {}", self.path.display())
    }
}

impl std::error::Error for SocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

struct Connection {
    stream: UnixStream,
    uid: u32,
    received: Vec<u8>,
}

pub struct LineServer {
    path: PathBuf,
    listener: UnixListener,
    connections: Vec<Connection>,
    longest_line_bytes: usize,
}

impl LineServer {
    /// Makes the socket anew; every role may connect, and the role that serves decides by uid.
    pub fn bind(path: &Path, longest_line_bytes: usize) -> Result<Self, SocketError> {
        let failed = |source| SocketError {
            path: path.to_owned(),
            source,
        };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            listener,
            connections: Vec::new(),
            longest_line_bytes,
        })
    }

    /// Waits at most `longest` for requests and gives all that are there to `answer`, which returns one line for each,
    /// in their order. Returns how many there were.
    pub fn turn(
        &mut self,
        longest: Duration,
        answer: impl FnOnce(&[Request]) -> Vec<String>,
    ) -> Result<usize, SocketError> {
        self.wait(longest)?;
        self.accept();
        let mut requests = Vec::new();
        let mut senders = Vec::new();
        let longest_line = self.longest_line_bytes;
        self.connections
            .retain_mut(|connection| connection.receive(longest_line));
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if let Some(line) = connection.next_line() {
                requests.push(Request {
                    uid: connection.uid,
                    line,
                });
                senders.push(index);
            }
        }
        if requests.is_empty() {
            return Ok(0);
        }
        let mut gone = Vec::new();
        for (index, line) in senders.into_iter().zip(answer(&requests)) {
            if !self.connections[index].send(&line) {
                gone.push(index);
            }
        }
        let mut index = 0;
        self.connections.retain(|_| {
            index += 1;
            !gone.contains(&(index - 1))
        });
        Ok(requests.len())
    }

    fn wait(&self, longest: Duration) -> Result<(), SocketError> {
        // A whole line may already be here, behind one that was answered.
        let longest = if self.connections.iter().any(Connection::has_line) {
            Duration::ZERO
        } else {
            longest
        };
        let timeout = Timespec {
            tv_sec: longest.as_secs().cast_signed(),
            tv_nsec: longest.subsec_nanos().into(),
        };
        let streams = self
            .connections
            .iter()
            .map(|connection| PollFd::new(&connection.stream, PollFlags::IN));
        let mut watched: Vec<PollFd<'_>> =
            std::iter::once(PollFd::new(&self.listener, PollFlags::IN))
                .chain(streams)
                .collect();
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(SocketError {
                path: self.path.clone(),
                source: errno.into(),
            }),
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let Ok(peer) = rustix::net::sockopt::socket_peercred(&stream) else {
                continue;
            };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let mut connection = Connection {
                stream,
                uid: peer.uid.as_raw(),
                received: Vec::new(),
            };
            if self.connections.len() >= MOST_CONNECTIONS {
                connection.send(&refusal("too many connections"));
                continue;
            }
            self.connections.push(connection);
        }
    }
}

/// The answer to a request that is not carried out.
pub fn refusal(why: &str) -> String {
    serde_json::json!({ "error": why }).to_string()
}

impl Connection {
    /// Takes what has arrived; false when the connection is at its end or exceeds a bound.
    fn receive(&mut self, longest_line: usize) -> bool {
        let mut chunk = [0; 4096];
        while !self.has_line() {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
            let length = self
                .received
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(self.received.len());
            if length > longest_line {
                self.send(&refusal(&format!(
                    "the line is longer than {longest_line} bytes"
                )));
                return false;
            }
        }
        true
    }

    fn has_line(&self) -> bool {
        self.received.contains(&b'\n')
    }

    fn next_line(&mut self) -> Option<String> {
        let end = self.received.iter().position(|byte| *byte == b'\n')?;
        let mut line: Vec<u8> = self.received.drain(..=end).collect();
        line.pop();
        // What is not UTF-8 is not JSON either: the role's parser refuses the replacement.
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// False when the peer does not take the whole answer.
    fn send(&mut self, line: &str) -> bool {
        self.stream
            .write_all(format!("{line}\n").as_bytes())
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    fn echo(requests: &[Request]) -> Vec<String> {
        requests
            .iter()
            .map(|request| format!("{}:{}", request.uid, request.line))
            .collect()
    }

    fn served(folder: &Path, longest: usize) -> (LineServer, UnixStream) {
        let path = folder.join("socket");
        let server = LineServer::bind(&path, longest).unwrap();
        (server, UnixStream::connect(&path).unwrap())
    }

    fn until(server: &mut LineServer, count: usize) {
        let mut answered = 0;
        while answered < count {
            answered += server.turn(Duration::from_secs(10), echo).unwrap();
        }
    }

    #[test]
    fn a_line_is_answered_with_the_uid_that_the_kernel_knows() {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, mut client) = served(folder.path(), 100);
        client.write_all(b"one\ntwo\n").unwrap();
        until(&mut server, 2);
        let uid = rustix::process::getuid().as_raw();
        let lines: Vec<String> = BufReader::new(client)
            .lines()
            .take(2)
            .map(Result::unwrap)
            .collect();
        assert_eq!(lines, [format!("{uid}:one"), format!("{uid}:two")]);
    }

    #[test]
    fn a_line_beyond_the_bound_is_refused_and_the_connection_closed() {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, mut client) = served(folder.path(), 8);
        client.write_all(b"123456789").unwrap();
        while server.connections.is_empty() {
            server.turn(Duration::from_secs(10), echo).unwrap();
            if server.connections.is_empty() {
                break;
            }
        }
        let lines: Vec<String> = BufReader::new(client).lines().map(Result::unwrap).collect();
        assert_eq!(lines, [refusal("the line is longer than 8 bytes")]);
    }

    #[test]
    fn connections_beyond_the_bound_are_refused_and_the_others_served_on() {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, mut first) = served(folder.path(), 100);
        let path = folder.path().join("socket");
        let mut others = Vec::new();
        for _ in 1..MOST_CONNECTIONS {
            others.push(UnixStream::connect(&path).unwrap());
            server.turn(Duration::ZERO, echo).unwrap();
        }
        let extra = UnixStream::connect(&path).unwrap();
        server.turn(Duration::ZERO, echo).unwrap();
        let mut line = String::new();
        BufReader::new(extra).read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), refusal("too many connections"));
        first.write_all(b"still here\n").unwrap();
        until(&mut server, 1);
    }

    #[test]
    fn requests_of_several_peers_are_given_together() {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, mut first) = served(folder.path(), 100);
        let mut second = UnixStream::connect(folder.path().join("socket")).unwrap();
        first.write_all(b"a\n").unwrap();
        second.write_all(b"b\n").unwrap();
        let mut batches = Vec::new();
        server
            .turn(Duration::from_secs(10), |requests| {
                batches.push(requests.len());
                echo(requests)
            })
            .unwrap();
        assert_eq!(batches, [2]);
    }
}
