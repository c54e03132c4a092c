//! Private namespaces for a process, and a network namespace that outlives its maker.
//!
//! Source: namespaces(7); mount_namespaces(7).

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A private view of something that processes share otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Mounts,
    InterProcess,
    HostName,
    Network,
}

/// Gives the calling thread fresh namespaces.
pub fn enter_fresh(kinds: &[Kind]) -> Result<(), Errno> {
    let mut flags = UnshareFlags::empty();
    for kind in kinds {
        flags |= match kind {
            Kind::Mounts => UnshareFlags::NEWNS,
            Kind::InterProcess => UnshareFlags::NEWIPC,
            Kind::HostName => UnshareFlags::NEWUTS,
            Kind::Network => UnshareFlags::NEWNET,
        };
    }
    // SAFETY: the call is unsafe for `UnshareFlags::FILES` alone, after which a descriptor may name another file in
    // another thread; no kind maps to it.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Opens a namespace file: a process's `/proc/PID/ns/net`, or a bind mount of one.
pub fn open(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Moves the calling thread into a network namespace.
pub fn enter_network(namespace: impl AsFd) -> Result<(), Errno> {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
}
