//! Mounting by the kernel's file system contexts: options one by one, so that a comma in a password is a comma.
//!
//! 1. A new mount is restricted before it is attached: there is no instant in which its devices or programs work.
//! 2. A failure carries what the file system itself said of it, where it said something.
//!
//! Source: fsopen(2), fsconfig(2), fsmount(2), move_mount(2).

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags,
};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// One option of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountOption {
    Flag(&'static str),
    Text(&'static str, String),
}

/// What the mount shall not be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    ReadOnly,
    NoSetuid,
    NoDevices,
    NoPrograms,
}

/// A mount failed.
#[derive(Debug)]
pub struct MountError {
    pub step: &'static str,
    pub errno: Errno,
    /// What the file system said, in its own words; empty where it said nothing.
    pub remark: String,
}

impl std::fmt::Display for MountError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot {}", self.step)?;
        if !self.remark.is_empty() {
            write!(f, " ({})", self.remark)?;
        }
        Ok(())
    }
}

impl std::error::Error for MountError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.errno)
    }
}

/// Mounts a new instance of `kind` at `target`.
pub fn mount(
    kind: &str,
    source: &str,
    target: &Path,
    options: &[MountOption],
    restrictions: &[Restriction],
) -> Result<(), MountError> {
    let failed = |step, errno| MountError {
        step,
        errno,
        remark: String::new(),
    };
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|errno| failed("find the file system in this kernel", errno))?;
    let said = |step, errno| MountError {
        step,
        errno,
        remark: remarks(&context),
    };
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", source)
        .map_err(|errno| said("set the source", errno))?;
    for option in options {
        match option {
            MountOption::Flag(name) => rustix::mount::fsconfig_set_flag(context.as_fd(), *name),
            MountOption::Text(name, value) => {
                rustix::mount::fsconfig_set_string(context.as_fd(), *name, value.as_str())
            }
        }
        .map_err(|errno| said("set an option", errno))?;
    }
    if restrictions.contains(&Restriction::ReadOnly) {
        // of the file system too, so that nothing is written to a device, a journal's replay aside
        rustix::mount::fsconfig_set_flag(context.as_fd(), "ro")
            .map_err(|errno| said("set it read-only", errno))?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).map_err(|errno| said("open it", errno))?;
    let mount = rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes(restrictions),
    )
    .map_err(|errno| said("make the mount", errno))?;
    attach(&mount, target).map_err(|errno| failed("attach it to its folder", errno))
}

fn attach(mount: &OwnedFd, target: &Path) -> Result<(), Errno> {
    rustix::mount::move_mount(
        mount.as_fd(),
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

fn attributes(restrictions: &[Restriction]) -> MountAttrFlags {
    restrictions
        .iter()
        .fold(MountAttrFlags::empty(), |flags, restriction| {
            flags
                | match restriction {
                    Restriction::ReadOnly => MountAttrFlags::MOUNT_ATTR_RDONLY,
                    Restriction::NoSetuid => MountAttrFlags::MOUNT_ATTR_NOSUID,
                    Restriction::NoDevices => MountAttrFlags::MOUNT_ATTR_NODEV,
                    Restriction::NoPrograms => MountAttrFlags::MOUNT_ATTR_NOEXEC,
                }
        })
}

fn flags(restrictions: &[Restriction]) -> MountFlags {
    restrictions
        .iter()
        .fold(MountFlags::empty(), |flags, restriction| {
            flags
                | match restriction {
                    Restriction::ReadOnly => MountFlags::RDONLY,
                    Restriction::NoSetuid => MountFlags::NOSUID,
                    Restriction::NoDevices => MountFlags::NODEV,
                    Restriction::NoPrograms => MountFlags::NOEXEC,
                }
        })
}

/// What the file system wrote into the context, one remark a read, each behind its level (`e `, `w `, `i `).
fn remarks(context: &OwnedFd) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        if length == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&buffer[..length]);
        all.push(line.trim_end().get(2..).unwrap_or_default().to_owned());
    }
    all.join("; ")
}

/// Shows `source` at `target` too, with these restrictions; `Tree` brings along the mounts below it.
pub fn bind(
    source: &Path,
    target: &Path,
    extent: Extent,
    restrictions: &[Restriction],
) -> Result<(), Errno> {
    bind_as_it_is(source, target, extent)?;
    restrict(target, restrictions)
}

/// Shows `source` at `target` too, with the restrictions that it has.
pub fn bind_as_it_is(source: &Path, target: &Path, extent: Extent) -> Result<(), Errno> {
    match extent {
        Extent::One => rustix::mount::mount_bind(source, target),
        Extent::Tree => rustix::mount::mount_bind_recursive(source, target),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    One,
    Tree,
}

/// Restricts the mount at `target`, not its file system.
pub fn restrict(target: &Path, restrictions: &[Restriction]) -> Result<(), Errno> {
    rustix::mount::mount_remount(target, MountFlags::BIND | flags(restrictions), "")
}

/// Makes the root file system itself read-only.
pub fn seal_root() -> Result<(), Errno> {
    rustix::mount::mount_remount("/", MountFlags::RDONLY, "")
}

/// How mounts below `target` travel between the views of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// To and from every view.
    Shared,
    /// Later mounts of others arrive, ours do not leave.
    Receive,
    None,
}

pub fn propagate(target: &Path, propagation: Propagation, extent: Extent) -> Result<(), Errno> {
    let mut flags = match propagation {
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Receive => MountPropagationFlags::DOWNSTREAM,
        Propagation::None => MountPropagationFlags::PRIVATE,
    };
    if extent == Extent::Tree {
        flags |= MountPropagationFlags::REC;
    }
    rustix::mount::mount_change(target, flags)
}

/// Makes the mount at `view` the root of the calling process. The root of an initramfs cannot be pivoted away, so
/// that the view is moved over it.
pub fn enter_view(view: &Path) -> Result<(), Errno> {
    rustix::process::chdir(view)?;
    rustix::mount::mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")
}

/// Takes a mount out of the tree at once, also while it is in use or its server is silent.
pub fn detach(target: &Path) -> Result<(), Errno> {
    rustix::mount::unmount(target, UnmountFlags::DETACH)
}

/// Unmounts and returns only when all is written.
pub fn unmount(target: &Path) -> Result<(), Errno> {
    rustix::mount::unmount(target, UnmountFlags::empty())
}
