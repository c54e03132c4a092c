//! Who a process is and what it may do: ids, groups, capabilities, limits.
//!
//! 1. [`become_user`] leaves exactly the listed capabilities, in all five sets; the bounding set keeps nothing else,
//!    so that no later exec can bring one back.
//! 2. `no_new_privs` is set last and cannot be taken back.
//!
//! Source: capabilities(7), "Transformation of capabilities during execve()"; the ambient set carries capabilities of
//! a user that is not root over an exec.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{self, CapabilitySet, CapabilitySets, Gid, Uid};

/// A capability that some row of the role table names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    NetAdmin,
    NetBindService,
    NetRaw,
    SysTime,
    Chown,
}

impl Capability {
    fn set(self) -> CapabilitySet {
        match self {
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::NetBindService => CapabilitySet::NET_BIND_SERVICE,
            Self::NetRaw => CapabilitySet::NET_RAW,
            Self::SysTime => CapabilitySet::SYS_TIME,
            Self::Chown => CapabilitySet::CHOWN,
        }
    }
}

/// Turns the calling, single-threaded process into `user` with the same group, these further groups and just these
/// capabilities.
pub fn become_user(user: u32, groups: &[u32], capabilities: &[Capability]) -> Result<(), Errno> {
    let kept = capabilities
        .iter()
        .fold(CapabilitySet::empty(), |set, one| set | one.set());
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(one) {
            continue;
        }
        match thread::remove_capability_from_bounding_set(one) {
            // the kernel knows fewer than 64
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    let id = Uid::from_raw(user);
    let group = Gid::from_raw(user);
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    thread::set_thread_groups(&groups)?;
    thread::set_thread_res_gid(group, group, group)?;
    thread::set_keep_capabilities(true)?;
    thread::set_thread_res_uid(id, id, id)?;
    thread::set_keep_capabilities(false)?;
    thread::set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: kept,
        },
    )?;
    thread::clear_ambient_capability_set()?;
    for capability in capabilities {
        thread::configure_capability_in_ambient_set(capability.set(), true)?;
    }
    thread::set_no_new_privs(true)
}

/// Limits the calling process: open files, and no core file, because a core file would be plaintext on a disk.
pub fn limit(open_files: u64) -> Result<(), Errno> {
    let both = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    rustix::process::setrlimit(Resource::Core, both(0))?;
    rustix::process::setrlimit(Resource::Nofile, both(open_files))
}
