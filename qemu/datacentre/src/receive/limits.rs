//! How much of the receiver one box, one address and all together may take.
//!
//! Invariants
//! 1. Whoever asks for more than a share loses what it has had longest, never what another has.
//! 2. Memory is bounded by the connections: each has at most two batches of a chunk ([`super::chunk`]) and the buffers
//!    of HTTP and TLS. File descriptors are counted beforehand ([`Limits::descriptors`]).
//! 3. Every wait for a client ends by one of the durations here.

use rustix::process::{Resource, getrlimit, setrlimit};
use std::time::Duration;

/// The figures of one receiver.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of known boxes.
    pub connections: usize,
    /// A box needs one; a second while the first is not yet known to be dead.
    pub connections_per_box: usize,
    /// Connections that have not yet shown a certificate.
    pub handshakes: usize,
    /// Unfinished uploads that one box may leave on the disk.
    pub uploads_per_box: usize,
    /// Bytes of the disk that uploads never take. None: a twentieth of the disk, at most [`RESERVE_BYTES`].
    pub disk_reserve_bytes: Option<u64>,
    /// From the connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the end of one request to the whole head of the next.
    pub head: Duration,
    /// A chunk brings at least [`PACE_BYTES`] in this time, or its end.
    pub pace: Duration,
    /// An answer that the client does not take ends the connection after this time.
    pub unacknowledged: Duration,
    /// An unfinished upload without a new byte is given up after this time.
    pub unfinished: Duration,
}

/// Least bytes in [`Limits::pace`]: 16 KiB a minute, a fiftieth of what the box's own limits demand.
pub const PACE_BYTES: u64 = 16 * 1024;
/// Enough for the receipts and the logs of a day when the disk is full of bundles.
pub const RESERVE_BYTES: u64 = 1024 * 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_box: 4,
            handshakes: 256,
            uploads_per_box: 8,
            disk_reserve_bytes: None,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(120),
            pace: Duration::from_secs(60),
            unacknowledged: Duration::from_secs(60),
            unfinished: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// Descriptors beside sockets and uploads: standard streams, lock, listener, timers, folders being synced.
const OTHER_DESCRIPTORS: usize = 64;

impl Limits {
    /// Most descriptors that are open at a time: each connection and the upload that it fills, the idle uploads, and as
    /// many sockets again for those that are just being closed.
    pub fn descriptors(&self) -> usize {
        3 * self.connections + 2 * self.handshakes + super::uploads::IDLE_LIMIT + OTHER_DESCRIPTORS
    }

    /// Raises this process's limit to what is needed; `Err` with the most that it may have where that is less.
    pub fn claim_descriptors(&self) -> Result<(), u64> {
        let needed = self.descriptors() as u64;
        let mut limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.unwrap_or(u64::MAX);
        if most < needed {
            return Err(most);
        }
        if limit.current.is_some_and(|current| current < needed) {
            limit.current = Some(needed);
            setrlimit(Resource::Nofile, limit).map_err(|_| most)?;
        }
        Ok(())
    }
}
