//! How long the lab waits for what. Each limit is named once; none is a measurement, all are several times what a
//! two-core host without hardware virtualisation needs, so that a slow host does not make a false alarm.

use std::time::Duration;

/// A named limit of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub name: &'static str,
    pub duration: Duration,
}

const fn limit(name: &'static str, seconds: u64) -> Limit {
    Limit {
        name,
        duration: Duration::from_secs(seconds),
    }
}

/// QEMU runs and has connected its control channels.
pub const QEMU_ANSWERS: Limit = limit("QEMU_ANSWERS", 30);
/// QEMU carries out one control command.
pub const QMP_COMMAND: Limit = limit("QMP_COMMAND", 30);
/// A Debian guest from power on to its first answer.
pub const GUEST_BOOTS: Limit = limit("GUEST_BOOTS", 120);
/// One action of a guest.
pub const GUEST_ACTION: Limit = limit("GUEST_ACTION", 120);
/// The box from power on to its roles' readiness.
pub const BOX_BOOTS: Limit = limit("BOX_BOOTS", 120);
/// The box through the firmware's boot path.
pub const BOX_BOOTS_FROM_DISK: Limit = limit("BOX_BOOTS_FROM_DISK", 180);
/// From readiness to an established tunnel; retries with back-off are included.
pub const TUNNEL_COMES_UP: Limit = limit("TUNNEL_COMES_UP", 180);
/// From a dead line to the event that says so: dead peer detection plus the retransmissions.
pub const TUNNEL_NOTICES: Limit = limit("TUNNEL_NOTICES", 120);
/// A store of a few thousand files from being found to being acknowledged by the data centre.
pub const DELIVERY: Limit = limit("DELIVERY", 300);
/// From a server's death or return to the event that says so: the protocols give up after several retransmissions of
/// each call, NFS after 30-60 s, and a walk makes several calls.
pub const SHARE_NOTICED: Limit = limit("SHARE_NOTICED", 300);
/// One deed of the hospital's system, well below the 90 s for which an NFS server waits for a client that has gone.
pub const DEED: Limit = limit("DEED", 45);
/// Any other event that the box reports by itself.
pub const BOX_REPORTS: Limit = limit("BOX_REPORTS", 120);
