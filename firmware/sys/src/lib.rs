//! What the box asks of the kernel, as thin safe calls. The only crate of the firmware with unsafe code.
//!
//! 1. An unsafe block is one kernel call that rustix leaves unsafe; it has a `SAFETY:` note and a safe wrapper
//!    around it: `unshare`, the `ioctl`s of watchdog and SMB client, and `adjtimex`, which rustix lacks.
//! 2. Every failure is an error that names the operation and its object; nothing is retried here.
//! 3. Nothing here decides: which interface, which mount, which right, is the caller's table.
//!
//! Trusted: the kernel. Answers of netlink and the partition table are checked for length before use.

pub mod changes;
pub mod clock;
pub mod gpt;
pub mod identity;
pub mod links;
pub mod mounts;
pub mod namespace;
mod netlink;
pub mod packet_filter;
pub mod power;
pub mod watchdog;

pub use netlink::NetlinkError;
