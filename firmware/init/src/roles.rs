//! The role table: the only source of privilege on the box.
//!
//! 1. A role has what its row lists and nothing else: `init` makes its view, network and identity from the row alone.
//! 2. An absent right is written as absent (`NONE`), so that a reader sees that it was decided.
//! 3. `hardening/roles/<name>.toml` says the same as each row; the build stops where they differ, so that a new right
//!    is always two changes that a reviewer sees.
//!
//! This file is also compiled into the build script and depends on nothing.

/// One role.
#[derive(Debug)]
pub struct Role {
    /// Subcommand, process title, log tag, policy file.
    pub name: &'static str,
    /// User and group.
    pub uid: u32,
    /// The program; in the role's view it is `/bin/<name>`, and nothing else there is executable.
    pub program: &'static str,
    pub network: Network,
    pub view: &'static [Entry],
    pub capabilities: &'static [Capability],
    pub groups: &'static [u32],
    pub start: Start,
    /// Roles whose readiness this one's start awaits. Their later failure does not stop it.
    pub after: &'static [&'static str],
    pub readiness: Readiness,
    /// Seconds without a sign of life after which the role is killed and started again.
    pub watchdog_seconds: Option<u32>,
    pub restart: Restart,
    /// Milliseconds of the monotonic clock before which the role is not started.
    pub earliest_ms: u64,
    pub open_files: u64,
}

/// A right that is absent.
pub const NONE: &[Capability] = &[];
const NO_GROUPS: &[u32] = &[];
const NOTHING: &[&str] = &[];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The cards of the box.
    Host,
    /// Only the XFRM interface `tunnel0`: what cannot be encrypted cannot leave.
    Tunnel,
    /// A namespace of its own with nothing in it.
    None,
}

/// A path in a role's view.
#[derive(Debug)]
pub struct Entry {
    pub path: &'static str,
    pub access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read-only, with whatever `init` mounts below it later.
    Read,
    /// As `Read`, where the kernel may lack it (no USB controller, no drive).
    ReadIfPresent,
    /// The folder of the host that is shown read-only at the entry's path, with what is mounted below it later.
    ReadFrom(&'static str),
    Write,
    /// A character device.
    Device,
    /// A character device that a machine may lack.
    DeviceIfPresent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    NetAdmin,
    NetBindService,
    SysTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At boot.
    Always,
    /// Once `maintenance` has said that the site configuration is valid.
    Commissioned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The role says `READY=1`.
    Notifies,
    /// The role makes this socket; for a program that does not speak the readiness protocol.
    Makes(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// However it ended.
    Always,
    /// A role that ended well after it was ready has done its work.
    OnFailure,
}

const fn read(path: &'static str) -> Entry {
    Entry {
        path,
        access: Access::Read,
    }
}

const fn write(path: &'static str) -> Entry {
    Entry {
        path,
        access: Access::Write,
    }
}

/// Where `init` listens for readiness and signs of life.
const NOTIFY: Entry = read("/run/notify");
/// The socket of the trail.
const TRAIL: Entry = read("/run/audit");
/// The validated site configuration.
const PLAN: Entry = read("/run/site");
/// Certificates that the plan names.
const SITE: Entry = read("/state/site");
/// The socket that signs.
const SIGN: Entry = read("/run/keyholder");

pub const COLLECTOR: &str = "/bin/collector";
/// Seconds; a role signs at least every half of it. Long enough for a disk that is slow to sync, short enough that a
/// hung role is noticed before the hospital's next working hour.
const WATCHDOG: Option<u32> = Some(60);
/// Enough for sockets, database and one file at a time.
const FILES: u64 = 256;

pub const INTAKE: u32 = 101;
pub const KEYHOLDER: u32 = 102;
pub const SENDER: u32 = 103;
pub const TUNNEL: u32 = 104;
pub const PORTS: u32 = 105;
pub const MAINTENANCE: u32 = 106;
pub const AUDIT: u32 = 107;
pub const CLOCK: u32 = 108;
pub const CONSOLE: u32 = 109;
pub const CHARON: u32 = 110;
pub const LISTENER: u32 = 111;

/// In the order of starting.
pub const ROLES: &[Role] = &[
    Role {
        name: "audit",
        uid: AUDIT,
        program: COLLECTOR,
        network: Network::None,
        view: &[
            NOTIFY,
            write("/run/audit"),
            write("/run/status/audit"),
            write("/state/audit"),
        ],
        capabilities: NONE,
        groups: NO_GROUPS,
        start: Start::Always,
        after: NOTHING,
        readiness: Readiness::Notifies,
        watchdog_seconds: WATCHDOG,
        restart: Restart::Always,
        earliest_ms: 0,
        open_files: FILES,
    },
    Role {
        name: "console",
        uid: CONSOLE,
        program: COLLECTOR,
        network: Network::None,
        view: &[
            NOTIFY,
            read("/etc/release.json"),
            read("/run/status"),
            read("/proc/meminfo"),
            Entry {
                path: "/dev/tty1",
                access: Access::DeviceIfPresent,
            },
        ],
        capabilities: NONE,
        groups: NO_GROUPS,
        start: Start::Always,
        after: NOTHING,
        readiness: Readiness::Notifies,
        watchdog_seconds: WATCHDOG,
        restart: Restart::Always,
        earliest_ms: 0,
        open_files: FILES,
    },
    Role {
        name: "maintenance",
        uid: MAINTENANCE,
        program: COLLECTOR,
        network: Network::None,
        view: &[
            NOTIFY,
            TRAIL,
            read("/etc/release.json"),
            // the commissioning disc is at `disc` below; the hospital's mounts are not
            Entry {
                path: "/mnt",
                access: Access::ReadFrom("/run/media"),
            },
            write("/run/site"),
            write("/run/status/maintenance"),
            write("/state/site"),
            write("/state/keys"),
            write("/state/keys-ike"),
        ],
        capabilities: NONE,
        // so that it can hand a key over to the group of the role that uses it
        groups: &[KEYHOLDER, TUNNEL],
        start: Start::Always,
        after: &["audit"],
        readiness: Readiness::Notifies,
        watchdog_seconds: WATCHDOG,
        restart: Restart::OnFailure,
        earliest_ms: 0,
        open_files: FILES,
    },
    Role {
        name: "ports",
        uid: PORTS,
        program: COLLECTOR,
        network: Network::None,
        view: &[
            NOTIFY,
            TRAIL,
            write("/run/status/ports"),
            Entry {
                path: "/sys/bus/usb",
                access: Access::ReadIfPresent,
            },
            read("/sys/devices"),
        ],
        capabilities: NONE,
        groups: NO_GROUPS,
        start: Start::Always,
        after: &["audit"],
        readiness: Readiness::Notifies,
        watchdog_seconds: WATCHDOG,
        restart: Restart::Always,
        earliest_ms: 0,
        open_files: FILES,
    },
    Role {
        name: "keyholder",
        uid: KEYHOLDER,
        program: COLLECTOR,
        network: Network::None,
        view: &[
            NOTIFY,
            write("/run/keyholder"),
            write("/run/status/keyholder"),
            read("/state/keys"),
        ],
        capabilities: NONE,
        groups: NO_GROUPS,
        start: Start::Commissioned,
        after: NOTHING,
        readiness: Readiness::Notifies,
        watchdog_seconds: WATCHDOG,
        restart: Restart::Always,
        earliest_ms: 0,
        open_files: FILES,
    },
    Role {
        name: "charon",
        uid: CHARON,
        program: "/bin/charon",
        network: Network::Host,
        view: &[
            read("/etc/strongswan.conf"),
            write("/run/charon"),
            Entry {
                path: "/dev/null",
                access: Access::Device,
            },
            Entry {
                path: "/dev/random",
                access: Access::Device,
            },
            Entry {
                path: "/dev/urandom",
                access: Access::Device,
            },
        ],
        // security associations and policies; ports 500 and 4500
        capabilities: &[Capability::NetAdmin, Capability::NetBindService],
        groups: NO_GROUPS,
        start: Start::Commissioned,
        after: NOTHING,
        readiness: Readiness::Makes("/run/charon/charon.vici"),
        watchdog_seconds: None,
        restart: Restart::Always,
        // it divides by the seconds of the monotonic clock: strongSwan's issue 435
        earliest_ms: 1_100,
        open_files: FILES,
    },
    Role {
        name: "tunnel",
        uid: TUNNEL,
        program: COLLECTOR,
        network: Network::None,
        view: &[
            NOTIFY,
            TRAIL,
            PLAN,
            SITE,
            read("/run/charon"),
            write("/run/status/tunnel"),
            read("/state/keys-ike"),
        ],
        capabilities: NONE,
        // charon's socket belongs to charon and its group
        groups: &[CHARON],
        start: Start::Commissioned,
        after: &["audit", "charon"],
        readiness: Readiness::Notifies,
        watchdog_seconds: WATCHDOG,
        restart: Restart::Always,
        earliest_ms: 0,
        open_files: FILES,
    },
    Role {
        name: "clock",
        uid: CLOCK,
        program: COLLECTOR,
        network: Network::Tunnel,
        view: &[
            NOTIFY,
            TRAIL,
            PLAN,
            read("/etc/release.json"),
            write("/run/status/clock"),
            write("/state/clock"),
        ],
        capabilities: &[Capability::SysTime],
        groups: NO_GROUPS,
        start: Start::Commissioned,
        after: &["audit"],
        readiness: Readiness::Notifies,
        watchdog_seconds: WATCHDOG,
        restart: Restart::Always,
        earliest_ms: 0,
        open_files: FILES,
    },
    Role {
        name: "intake",
        uid: INTAKE,
        program: COLLECTOR,
        network: Network::None,
        view: &[
            NOTIFY,
            TRAIL,
            PLAN,
            SITE,
            SIGN,
            read("/mnt"),
            read("/run/status/init"),
            write("/run/status/intake"),
            write("/run/intake"),
            write("/state/catalogue"),
            write("/state/spool"),
        ],
        capabilities: NONE,
        groups: NO_GROUPS,
        start: Start::Commissioned,
        after: &["audit", "keyholder"],
        readiness: Readiness::Notifies,
        watchdog_seconds: WATCHDOG,
        restart: Restart::Always,
        earliest_ms: 0,
        open_files: 1024,
    },
    Role {
        name: "listener",
        uid: LISTENER,
        program: COLLECTOR,
        network: Network::None,
        view: &[
            NOTIFY,
            PLAN,
            read("/mnt"),
            read("/run/intake"),
            write("/run/status/listener"),
        ],
        capabilities: NONE,
        // folders of a share may be entered by this group, its files not be opened
        groups: &[INTAKE],
        start: Start::Commissioned,
        after: &["intake"],
        readiness: Readiness::Notifies,
        watchdog_seconds: WATCHDOG,
        restart: Restart::Always,
        earliest_ms: 0,
        open_files: FILES,
    },
    Role {
        name: "sender",
        uid: SENDER,
        program: COLLECTOR,
        network: Network::Tunnel,
        view: &[
            NOTIFY,
            TRAIL,
            PLAN,
            SITE,
            SIGN,
            write("/run/status/sender"),
            read("/state/spool/bundles"),
            write("/state/spool/receipts"),
        ],
        capabilities: NONE,
        groups: NO_GROUPS,
        start: Start::Commissioned,
        after: &["audit", "keyholder"],
        readiness: Readiness::Notifies,
        watchdog_seconds: WATCHDOG,
        restart: Restart::Always,
        earliest_ms: 0,
        open_files: FILES,
    },
];

/// The row of a role.
pub fn find(name: &str) -> Option<&'static Role> {
    ROLES.iter().find(|role| role.name == name)
}
