//! The lab's private networks: QEMU sockets between two machines, or three, never the host's network.
//!
//! 1. A link is a pair of datagram sockets: either end may be killed and started again, the other notices nothing but
//!    silence, as with a cable between two machines.
//! 2. Addresses are from the ranges for documentation (RFC 5737), so that nothing here is anybody's.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The hospital's network.
pub const LAN_PREFIX: u8 = 24;
pub const HOSPITAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
pub const BOX_LAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Between the box and the data centre's gateway.
pub const WAN_PREFIX: u8 = 24;
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const BOX_WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// Inside the tunnel.
pub const RECEIVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const BOX_INNER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 130);

pub const HOSPITAL_MAC: &str = "52:54:00:00:00:20";
pub const GATEWAY_MAC: &str = "52:54:00:00:01:01";
pub const BOX_LAN_MAC: &str = "52:54:00:00:00:10";
pub const BOX_WAN_MAC: &str = "52:54:00:00:01:02";

/// One end of a cable.
#[derive(Clone, Debug)]
pub struct End {
    ours: PathBuf,
    theirs: PathBuf,
}

/// A cable between two machines; its sockets live in `folder`.
pub fn cable(folder: &Path, name: &str) -> (End, End) {
    let (one, other) = (
        folder.join(format!("{name}.1")),
        folder.join(format!("{name}.2")),
    );
    (
        End {
            ours: one.clone(),
            theirs: other.clone(),
        },
        End {
            ours: other,
            theirs: one,
        },
    )
}

impl End {
    /// QEMU's network back end on this end of the cable.
    pub fn backend(&self, name: &str) -> String {
        format!(
            "dgram,id={name},local.type=unix,local.path={},remote.type=unix,remote.path={}",
            self.ours.display(),
            self.theirs.display()
        )
    }

    /// A killed QEMU leaves its socket behind, and the next one could not bind it.
    pub fn clear(&self) {
        let _ = std::fs::remove_file(&self.ours);
    }
}
