//! The errand that gives the box its network: packet filter, cards, the tunnel's namespace and interface.
//!
//! 1. The packet filter stands before the first card is started; where it cannot be set, no card is started.
//! 2. Each step states the wanted end, so that the errand can be run again until all of it holds.
//! 3. `tunnel0` is made on the tunnel's card and moved away: what is encrypted leaves by the host's network, what is
//!    not exists only in the tunnel's.

use crate::{firewall, log};
use rustix::io::Errno;
use site::{Interface, Plan};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use sys::links::{Link, Routing};
use sys::mounts::{self, Extent};
use sys::namespace::{self, Kind};
use sys::{NetlinkError, packet_filter};

pub const TUNNEL_NAMESPACE: &str = "/run/netns/tunnel";
const TUNNEL_INTERFACE: &str = "tunnel0";
/// Ties the tunnel's security associations to its interface; the same number is in charon's connection.
pub const TUNNEL_IF_ID: u32 = 42;
/// Bytes. ESP in UDP with AES-GCM takes 20 + 8 + 8 + 8 + up to 3 + 2 + 16 = 65 of 1500, and PPPoE, common on Japanese
/// access lines, 8 more (1454 on NTT's: 46); 1500 - 46 - 65 = 1389. 1360 leaves room for one more tunnel of the
/// hospital's and costs 3 % of throughput; 1400 would be cut into pieces on such lines.
const TUNNEL_MTU: u32 = 1360;

/// Where the plan is, with the passwords of shares: `maintenance` writes it so that no other role can read it.
pub const PLAN: &str = "/run/site/init.json";

#[derive(Debug)]
pub enum NetworkError {
    Plan {
        source: std::io::Error,
    },
    PlanForm {
        source: serde_json::Error,
    },
    Kernel(NetlinkError),
    Namespace {
        step: &'static str,
        source: Errno,
    },
    NamespaceFile {
        path: PathBuf,
        source: std::io::Error,
    },
    NoCard {
        name: String,
        mac: String,
    },
    NoTunnelCard {
        name: String,
    },
}

impl std::fmt::Display for NetworkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plan { .. } => write!(f, "cannot read {PLAN}"),
            Self::PlanForm { .. } => write!(f, "{PLAN} is not of this version"),
            Self::Kernel(_) => f.write_str("network"),
            Self::Namespace { step, .. } => write!(f, "cannot {step}"),
            Self::NamespaceFile { path, .. } => write!(f, "cannot make {}", path.display()),
            Self::NoCard { name, mac } => {
                write!(
                    f,
                    "interface {name}: no card has the address {mac}; compare it with the card's label"
                )
            }
            Self::NoTunnelCard { name } => write!(f, "the tunnel's interface {name} is not there"),
        }
    }
}

impl std::error::Error for NetworkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Plan { source } => Some(source),
            Self::PlanForm { source } => Some(source),
            Self::Kernel(source) => Some(source),
            Self::Namespace { source, .. } => Some(source),
            Self::NamespaceFile { source, .. } => Some(source),
            Self::NoCard { .. } | Self::NoTunnelCard { .. } => None,
        }
    }
}

impl From<NetlinkError> for NetworkError {
    fn from(source: NetlinkError) -> Self {
        Self::Kernel(source)
    }
}

fn step(step: &'static str) -> impl Fn(Errno) -> NetworkError {
    move |source| NetworkError::Namespace { step, source }
}

pub fn plan() -> Result<Plan, NetworkError> {
    let bytes = std::fs::read(PLAN).map_err(|source| NetworkError::Plan { source })?;
    serde_json::from_slice(&bytes).map_err(|source| NetworkError::PlanForm { source })
}

/// Drops everything; done at boot, before there is a plan or a card is up.
pub fn close() -> Result<(), NetlinkError> {
    packet_filter::replace(firewall::TABLE, &firewall::closed())
}

/// The whole errand. The faults of single cards are reported and do not keep the others from working.
pub fn establish() -> Result<(), Vec<NetworkError>> {
    let plan = plan().map_err(|error| vec![error])?;
    packet_filter::replace(firewall::TABLE, &firewall::rules(&plan))
        .map_err(|error| vec![error.into()])?;
    if let Err(error) = rustix::system::sethostname(plan.box_name.as_bytes()) {
        log::line(&format!("cannot set the host's name: {error}"));
    }
    let mut faults = Vec::new();
    let mut routing = Routing::open().map_err(|error| vec![error.into()])?;
    if let Some(lo) = find(&mut routing, "lo").map_err(|error| vec![error])? {
        faults.extend(routing.up(lo.index, "lo").err().map(NetworkError::from));
    }
    for interface in &plan.interfaces {
        faults.extend(card(&mut routing, interface).err());
    }
    faults.extend(tunnel(&mut routing, &plan).err());
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

fn find(routing: &mut Routing, name: &str) -> Result<Option<Link>, NetworkError> {
    Ok(routing.links()?.into_iter().find(|link| link.name == name))
}

fn card(routing: &mut Routing, interface: &Interface) -> Result<(), NetworkError> {
    let found = routing
        .links()?
        .into_iter()
        .find(|link| link.hardware_address == interface.mac);
    let Some(link) = found else {
        return Err(NetworkError::NoCard {
            name: interface.name.clone(),
            mac: mac(&interface.mac),
        });
    };
    if link.name != interface.name {
        routing.rename(&link, &interface.name)?;
    }
    routing.add_address(link.index, interface.address, interface.prefix)?;
    routing.up(link.index, &interface.name)?;
    if let Some(gateway) = interface.gateway {
        routing.add_route(link.index, Ipv4Addr::UNSPECIFIED, 0, Some(gateway))?;
    }
    log::line(&format!(
        "interface {} is {}/{} on {}",
        interface.name,
        interface.address,
        interface.prefix,
        mac(&interface.mac)
    ));
    Ok(())
}

pub fn mac(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}

/// Makes the interface in the host's network, then enters the tunnel's for good: it is the errand's last step.
fn tunnel(routing: &mut Routing, plan: &Plan) -> Result<(), NetworkError> {
    let namespace =
        namespace::open(Path::new(TUNNEL_NAMESPACE)).map_err(step("find the tunnel's network"))?;
    let name = &plan.tunnel.interface;
    let card =
        find(routing, name)?.ok_or_else(|| NetworkError::NoTunnelCard { name: name.clone() })?;
    let host =
        namespace::open(Path::new("/proc/self/ns/net")).map_err(step("name the host's network"))?;
    namespace::enter_network(&namespace).map_err(step("enter the tunnel's network"))?;
    let mut inside = Routing::open()?;
    if find(&mut inside, TUNNEL_INTERFACE)?.is_none() {
        namespace::enter_network(&host).map_err(step("return to the host's network"))?;
        routing.add_xfrm(TUNNEL_INTERFACE, card.index, TUNNEL_IF_ID, &namespace)?;
        namespace::enter_network(&namespace).map_err(step("enter the tunnel's network"))?;
    }
    let link = find(&mut inside, TUNNEL_INTERFACE)?.ok_or_else(|| NetworkError::NoTunnelCard {
        name: TUNNEL_INTERFACE.to_owned(),
    })?;
    inside.set_mtu(link.index, TUNNEL_INTERFACE, TUNNEL_MTU)?;
    inside.add_address(link.index, plan.tunnel.address, 32)?;
    inside.up(link.index, TUNNEL_INTERFACE)?;
    inside.add_route(
        link.index,
        plan.tunnel.remote,
        plan.tunnel.remote_prefix,
        None,
    )?;
    Ok(())
}

/// The errand at boot that makes the tunnel's network namespace and leaves it behind under a name.
pub fn keep_tunnel_namespace() -> Result<(), NetworkError> {
    let path = Path::new(TUNNEL_NAMESPACE);
    std::fs::File::create(path).map_err(|source| NetworkError::NamespaceFile {
        path: path.into(),
        source,
    })?;
    namespace::enter_fresh(&[Kind::Network]).map_err(step("make the tunnel's network"))?;
    for scope in ["all", "default"] {
        // a kernel without IPv6 has no such file
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
    }
    let mut routing = Routing::open()?;
    if let Some(lo) = find(&mut routing, "lo")? {
        routing.up(lo.index, "lo")?;
    }
    mounts::bind_as_it_is(Path::new("/proc/self/ns/net"), path, Extent::One)
        .map_err(step("keep the tunnel's network"))
}
