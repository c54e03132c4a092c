//! What the harness and a guest's agent say to each other over a virtio-serial port.
//!
//! A message is one JSON line and then as many bytes as its `bytes` says. The harness asks, the guest answers, one at a
//! time. There is no action "run this command": a guest can do what [`Action`] lists and nothing else.

#![forbid(unsafe_code)]

use hospital::live::Deed;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Name of the virtio-serial port.
pub const PORT: &str = "agent";
/// The guests put the contents of their settings disk here.
pub const SETTINGS: &str = "/lab";
/// The hospital's share as its systems see it: mounted over SMB, for writing. [`Service::Writer`] makes it.
pub const WRITTEN: &str = "/srv/written";
/// Longest payload of a message: a sealed bundle has at most 64 MiB, a fetched folder several of them.
const LONGEST_BYTES: u64 = 2 << 30;

/// What the harness asks for. Paths are absolute paths in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Answers when the agent runs.
    Ping,
    Start {
        service: Service,
    },
    Stop {
        service: Service,
    },
    /// Unpacks the payload, a tar archive, below a folder.
    Unpack {
        folder: PathBuf,
    },
    /// Answers with the files below a folder as a tar archive; names that start with a dot are left out.
    Pack {
        folder: PathBuf,
    },
    /// Writes the payload to a file, through a file of another name when `renamed_from` is given, as hospital systems do.
    Write {
        path: PathBuf,
        renamed_from: Option<PathBuf>,
    },
    /// Makes a folder and those above it, unless they are there.
    MakeFolder {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// Removes a file or a whole folder.
    Remove {
        path: PathBuf,
    },
    /// Answers with the digest of a tree, as `hospital digest` prints it.
    Digest {
        folder: PathBuf,
    },
    /// Answers with the names in a folder, one a line.
    List {
        folder: PathBuf,
    },
    /// Makes a store of exactly this many files.
    Generate {
        folder: PathBuf,
        seed: u64,
        files: u64,
        markers: u64,
    },
    /// Lets the hospital go on writing into such a store.
    Change {
        folder: PathBuf,
        seed: u64,
        changes: u64,
    },
    /// A hospital begins to live, with empty roots.
    Live {
        home: Home,
        seed: u64,
    },
    /// The living hospital does this once its clock shows that time, in milliseconds since it began.
    Deed {
        at_ms: u64,
        deed: Deed,
    },
    /// Takes a root of the living hospital out of the share; with `empty` its folder stays.
    Hide {
        root: PathBuf,
        empty: bool,
    },
    /// Brings it back.
    Show {
        root: PathBuf,
    },
    /// Answers when no file of the living hospital is on its way or left half-written.
    Rest,
    /// Answers with what every file was at which time: a list of [`hospital::live::Mark`].
    Truth,
    /// Answers with how many delegations clients of the NFS server hold, or have given back since the guest started.
    Delegations,
}

/// Where a hospital lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// Its system writes here.
    pub desk: PathBuf,
    /// The same files as the shares show them.
    pub share: PathBuf,
    /// Roots that the shares do not show for a while. All three are on one file system.
    pub away: PathBuf,
    pub facility: String,
    /// Names of the roots in these folders.
    pub roots: Vec<PathBuf>,
}

/// A service of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// The hospital's SMB share.
    Smb,
    /// A system of the hospital that writes over SMB, as a server's word of changes is for those of its own clients.
    Writer,
    /// The hospital's NFSv4 export.
    Nfs,
    /// The data centre's NTP server.
    Time,
    /// The data centre's end of the tunnel.
    Tunnel,
    /// The data centre's receiver of bundles.
    Receive,
}

/// The guest's answer; a payload may follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    Done,
    /// Text of what went wrong, with its causes.
    Failed(String),
    /// Planted texts of a generated store are the payload, one a line.
    Generated {
        files: u64,
        bytes: u64,
    },
    Changed {
        added: u64,
        updated: u64,
        removed: u64,
    },
    /// When the living hospital had done it, in milliseconds since it began.
    Lived {
        at_ms: u64,
    },
    Delegations {
        count: u64,
    },
}

/// What a guest is; file `settings.json` of its settings disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub name: String,
    pub cards: Vec<Card>,
    pub hospital: Option<HospitalSettings>,
    pub datacentre: Option<DatacentreSettings>,
}

/// A network card, found by its hardware address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub mac: String,
    /// Address with prefix.
    pub address: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HospitalSettings {
    /// Folder that is shared by both protocols, read-only.
    pub share: PathBuf,
    pub user: String,
    pub password: String,
    /// Who may mount the NFS export.
    pub client: Ipv4Addr,
}

/// The data centre's end. Files are names below [`SETTINGS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatacentreSettings {
    /// Address inside the tunnel, where the receiver listens.
    pub inner: Ipv4Addr,
    /// The box's address on the line outside.
    pub peer: Ipv4Addr,
    /// The box's address inside the tunnel.
    pub peer_inner: Ipv4Addr,
    pub identity: String,
    pub peer_identity: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
    /// Arguments of `datacentre`.
    pub receive: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    bytes: u64,
    message: T,
}

/// Writes one message with its payload.
pub fn send(port: &mut impl Write, message: &impl Serialize, payload: &[u8]) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Envelope {
        bytes: payload.len() as u64,
        message,
    })?;
    line.push(b'\n');
    port.write_all(&line)?;
    port.write_all(payload)?;
    port.flush()
}

/// Reads one message with its payload.
pub fn receive<T: DeserializeOwned>(port: &mut impl BufRead) -> io::Result<(T, Vec<u8>)> {
    let mut line = Vec::new();
    port.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let envelope: Envelope<T> = serde_json::from_slice(&line)?;
    if envelope.bytes > LONGEST_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "payload is longer than the protocol allows",
        ));
    }
    let mut payload = Vec::new();
    port.take(envelope.bytes).read_to_end(&mut payload)?;
    if payload.len() as u64 != envelope.bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((envelope.message, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_out_as_it_went_in_with_any_payload() {
        let action = Action::Write {
            path: "/srv/a b".into(),
            renamed_from: None,
        };
        let mut wire = Vec::new();
        send(&mut wire, &action, b"\x00\n{\"bytes\":3}").expect("writes");
        send(&mut wire, &Action::Ping, b"").expect("writes");
        let mut port = wire.as_slice();
        assert_eq!(
            receive::<Action>(&mut port).expect("reads"),
            (action, b"\x00\n{\"bytes\":3}".to_vec())
        );
        assert_eq!(
            receive::<Action>(&mut port).expect("reads"),
            (Action::Ping, Vec::new())
        );
    }

    #[test]
    fn a_message_that_is_cut_off_is_an_error_and_not_a_shorter_one() {
        let mut wire = Vec::new();
        send(&mut wire, &Action::Ping, b"12345").expect("writes");
        wire.pop();
        assert!(receive::<Action>(&mut wire.as_slice()).is_err());
    }
}
