//! The validated site configuration, as every role reads it.
//!
//! A [`Plan`] exists only as the result of the one checking function; `maintenance` writes its serde form at each boot:
//! to `/run/site/init.json` for `init` alone, which mounts the shares, and without passwords to `/run/site/plan.json` for
//! all roles. Paths are absolute paths on the box.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the box: 1-32 characters of `a-z`, `0-9`, `-`. First part of every bundle's name.
    pub box_name: String,
    pub interfaces: Vec<Interface>,
    pub tunnel: Tunnel,
    pub upload: Upload,
    pub sending: Sending,
    pub sealing: Sealing,
    pub clock: Clock,
    pub mounts: Vec<Mount>,
    pub sources: Vec<Source>,
    pub collection: Collection,
}

impl Plan {
    /// The same for roles that mount nothing: every password is empty.
    pub fn without_passwords(mut self) -> Self {
        for mount in &mut self.mounts {
            if let Protocol::Smb { password, .. } = &mut mount.protocol {
                password.clear();
            }
        }
        self
    }
}

/// A network card of the box, found by its hardware address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name that `init` gives to the card: `lan`, `wan`, ...
    pub name: String,
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Option<Ipv4Addr>,
}

/// The IKEv2 connection to the data centre. Certificates and key are PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Name of the interface through which the peer is reached.
    pub interface: String,
    pub peer: Ipv4Addr,
    /// IKE identities, as in the certificates' subjectAltName.
    pub peer_identity: String,
    pub identity: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
    /// Our address inside the tunnel, given to `tunnel0` in the namespace `Tunnel`.
    pub address: Ipv4Addr,
    /// What is reached through the tunnel.
    pub remote: Ipv4Addr,
    pub remote_prefix: u8,
    pub dead_peer_seconds: u32,
    pub rekey_seconds: u32,
}

/// The receiver of sealed bundles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Address and port inside the tunnel.
    pub address: Ipv4Addr,
    pub port: u16,
    /// Path of the tus creation resource, for example `/files/`.
    pub path: String,
    /// Name in the server's certificate; also the `Host`.
    pub server_name: String,
    pub certificate: PathBuf,
    pub authority: PathBuf,
    pub revocation_list: PathBuf,
    pub receipts: Receipts,
    pub tls: TlsProfile,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Receipts {
    /// A bundle leaves the spool only against a receipt signed under this certificate (PEM).
    Signed { certificate: PathBuf },
    /// A plain tus server: the complete upload is the acknowledgement.
    None,
}

/// When and how fast sealed bundles are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Most bytes of bundles a second; `None`: as fast as the line is.
    pub most_bytes_per_second: Option<u32>,
    /// Times of the day at which bundles are sent; empty: always. They do not overlap.
    pub windows: Vec<Window>,
    /// What the hospital's clock is ahead of UTC; the windows are in its time.
    pub utc_offset_minutes: i16,
    pub order: Order,
}

/// A part of the day, every day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Minutes after the hospital's midnight, 0-1439.
    pub from_minute: u16,
    /// As `from_minute`, and not inside. Before `from_minute`: the window ends on the next day; equal: 24 hours later.
    pub to_minute: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    #[default]
    OldestFirst,
    NewestFirst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsProfile {
    /// TLS 1.3 only.
    Modern,
    /// TLS 1.2 with ECDHE-ECDSA AEAD is allowed too.
    Compat,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealing {
    /// Certificates (PEM) of those who can open our bundles; never empty.
    pub recipients: Vec<PathBuf>,
    /// Certificate (PEM) of the box's signing key.
    pub certificate: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// NTP servers inside the tunnel.
    pub servers: Vec<Ipv4Addr>,
}

/// A share of the hospital, mounted read-only at `/mnt/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub name: String,
    pub server: Ipv4Addr,
    pub protocol: Protocol,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// SMB 3 with signing and encryption.
    Smb {
        share: String,
        user: String,
        password: String,
        domain: Option<String>,
    },
    /// NFSv4 with AUTH_SYS.
    Nfs { export: String },
}

/// One root that is collected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Name of the root in manifests and at the data centre: 1-32 characters of `a-z`, `0-9`, `-`.
    pub name: String,
    pub kind: SourceKind,
    /// Name of the mount.
    pub mount: String,
    /// Path of the root below the mount; empty for the mount itself.
    pub path: PathBuf,
    /// Of a transaction storage: name of the standardized source about which it tells. `None`: the only one on the same
    /// mount, or at all.
    #[serde(default)]
    pub feed_of: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceKind {
    Standardized,
    Extended,
    Transaction,
    Dpc,
    Receipt,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// A file is whole when size and time stamp stayed the same for this long.
    pub quiet_seconds: u32,
    /// Time from the end of one walk over all sources to the start of the next.
    pub period_seconds: u32,
    pub pacing: Pacing,
}

/// How hard the hospital's servers may be asked, and how soon each kind of change must be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pacing {
    /// Questions to one source in a second; 0: no limit.
    pub requests_per_second: u32,
    /// Old dates are walked from this hour of the day, Japan Standard Time, ...
    pub walk_from_hour: u32,
    /// ... to this one, exclusive; the same twice: all day.
    pub walk_to_hour: u32,
    /// Dates so many days back are looked at in every period.
    pub recent_days: u32,
    /// In so many days each old file is asked for its size and time once.
    pub verify_days: u32,
    /// Old files taken in a day, once a source was walked to its end; 0: no limit.
    pub daily_quota: u32,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            requests_per_second: 2000,
            walk_from_hour: 0,
            walk_to_hour: 0,
            recent_days: 7,
            verify_days: 30,
            daily_quota: 500_000,
        }
    }
}
