//! The errand that becomes a role: its view, its network, its identity, and then its program.
//!
//! 1. Everything comes from the role's row; what the row does not name is not there.
//! 2. The order is fixed: namespaces, view, limits, identity, program. After the identity nothing can be added.
//! 3. Any step that fails ends the errand: a role never runs with more than its row because a step was skipped.

use crate::network::TUNNEL_NAMESPACE;
use crate::roles::{self, Access, Entry, Network, Role};
use rustix::io::Errno;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use sys::identity::{self, Capability};
use sys::mounts::{self, Extent, MountError, MountOption, Propagation, Restriction};
use sys::namespace::{self, Kind};

const VIEW: &str = "/run/view";
const LOCKED: &[Restriction] = &[
    Restriction::NoSetuid,
    Restriction::NoDevices,
    Restriction::NoPrograms,
];
const LOCKED_READ_ONLY: &[Restriction] = &[
    Restriction::ReadOnly,
    Restriction::NoSetuid,
    Restriction::NoDevices,
    Restriction::NoPrograms,
];

/// A role could not be entered.
#[derive(Debug)]
pub enum EnterError {
    NoSuchRole(String),
    Step {
        step: &'static str,
        source: Errno,
    },
    View(MountError),
    Path {
        path: &'static str,
        source: std::io::Error,
    },
    Program {
        program: PathBuf,
        source: std::io::Error,
    },
}

impl std::fmt::Display for EnterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchRole(name) => write!(f, "no role {name} in the role table"),
            Self::Step { step, .. } => write!(f, "cannot {step}"),
            Self::View(_) => f.write_str("cannot make the view"),
            Self::Path { path, .. } => write!(f, "cannot show {path} in the view"),
            Self::Program { program, .. } => write!(f, "cannot run {}", program.display()),
        }
    }
}

impl std::error::Error for EnterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoSuchRole(_) => None,
            Self::Step { source, .. } => Some(source),
            Self::View(source) => Some(source),
            Self::Path { source, .. } | Self::Program { source, .. } => Some(source),
        }
    }
}

fn step(step: &'static str) -> impl Fn(Errno) -> EnterError {
    move |source| EnterError::Step { step, source }
}

/// Returns only when it failed.
pub fn enter(name: &str) -> EnterError {
    let Some(role) = roles::find(name) else {
        return EnterError::NoSuchRole(name.to_owned());
    };
    match confine(role) {
        Ok(()) => run(role),
        Err(error) => error,
    }
}

fn confine(role: &Role) -> Result<(), EnterError> {
    namespaces(role)?;
    view(role)?;
    identity::limit(role.open_files).map_err(step("set the limits"))?;
    let capabilities: Vec<Capability> = role.capabilities.iter().copied().map(capability).collect();
    identity::become_user(role.uid, role.groups, &capabilities)
        .map_err(step("take on the role's identity"))
}

fn capability(capability: roles::Capability) -> Capability {
    match capability {
        roles::Capability::NetAdmin => Capability::NetAdmin,
        roles::Capability::NetBindService => Capability::NetBindService,
        roles::Capability::SysTime => Capability::SysTime,
    }
}

fn namespaces(role: &Role) -> Result<(), EnterError> {
    let mut fresh = vec![Kind::Mounts, Kind::InterProcess, Kind::HostName];
    match role.network {
        Network::Host => {}
        Network::None => fresh.push(Kind::Network),
        Network::Tunnel => namespace::open(Path::new(TUNNEL_NAMESPACE))
            .and_then(namespace::enter_network)
            .map_err(step("enter the tunnel's network"))?,
    }
    namespace::enter_fresh(&fresh).map_err(step("make the role's namespaces"))?;
    mounts::propagate(Path::new("/"), Propagation::Receive, Extent::Tree)
        .map_err(step("keep the role's mounts apart"))
}

fn view(role: &Role) -> Result<(), EnterError> {
    let root = Path::new(VIEW);
    let options = [
        MountOption::Text("mode", "0755".to_owned()),
        MountOption::Text("size", "64k".to_owned()),
    ];
    mounts::mount("tmpfs", "view", root, &options, LOCKED).map_err(EnterError::View)?;
    for entry in role.view {
        show(root, entry).map_err(|source| EnterError::Path {
            path: entry.path,
            source,
        })?;
    }
    program(root, role).map_err(|source| EnterError::Path {
        path: role.program,
        source,
    })?;
    mounts::restrict(root, LOCKED_READ_ONLY).map_err(step("close the view"))?;
    mounts::enter_view(root).map_err(step("enter the view"))
}

/// Shows one path of the row.
fn show(root: &Path, entry: &Entry) -> std::io::Result<()> {
    let source = match entry.access {
        Access::ReadFrom(folder) => Path::new(folder),
        _ => Path::new(entry.path),
    };
    if matches!(
        entry.access,
        Access::ReadIfPresent | Access::DeviceIfPresent
    ) && !source.exists()
    {
        return Ok(());
    }
    let target = place(root, source, Path::new(entry.path))?;
    let (extent, restrictions) = match entry.access {
        Access::Read | Access::ReadIfPresent | Access::ReadFrom(_) => {
            (Extent::Tree, LOCKED_READ_ONLY)
        }
        Access::Write => (Extent::One, LOCKED),
        Access::Device | Access::DeviceIfPresent => (
            Extent::One,
            &[Restriction::NoSetuid, Restriction::NoPrograms][..],
        ),
    };
    mounts::bind(source, &target, extent, restrictions)?;
    Ok(())
}

/// The role's program under the role's name, so that every list of processes shows the role.
fn program(root: &Path, role: &Role) -> std::io::Result<()> {
    let source = Path::new(role.program);
    let target = place(root, source, &Path::new("/bin").join(role.name))?;
    let restrictions = [
        Restriction::ReadOnly,
        Restriction::NoSetuid,
        Restriction::NoDevices,
    ];
    mounts::bind(source, &target, Extent::One, &restrictions)?;
    Ok(())
}

/// Makes an empty folder or file in the view for `source` to be bound on.
fn place(root: &Path, source: &Path, path: &Path) -> std::io::Result<PathBuf> {
    let target = root.join(path.strip_prefix("/").unwrap_or(path));
    let is_folder = std::fs::metadata(source)?.is_dir();
    let folder = if is_folder {
        Some(target.as_path())
    } else {
        target.parent()
    };
    if let Some(folder) = folder {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)?;
    }
    if !is_folder {
        std::fs::File::create(&target)?;
    }
    Ok(target)
}

fn run(role: &Role) -> EnterError {
    let program = Path::new("/bin").join(role.name);
    let mut command = Command::new(&program);
    command.arg0(role.name).env_clear();
    if role.program == roles::COLLECTOR {
        command
            .arg(role.name)
            .env("NOTIFY_SOCKET", crate::notify::SOCKET);
    } else {
        command.env("STRONGSWAN_CONF", "/etc/strongswan.conf");
    }
    if let Some(seconds) = role.watchdog_seconds {
        command.env(
            "WATCHDOG_USEC",
            (u64::from(seconds) * 1_000_000).to_string(),
        );
    }
    let source = command.exec();
    EnterError::Program { program, source }
}
