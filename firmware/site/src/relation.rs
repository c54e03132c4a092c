//! The configuration compared with itself: names that must be unique, names that must exist, addresses that must fit.

use crate::fault::Collector;
use crate::section::At;
use crate::value::Network;
use crate::written::{Interface, Source, Tunnel, Written};
use crate::{SourceKind, Window};
use std::net::Ipv4Addr;

/// Reports every contradiction among values that are right in form.
pub(crate) fn compare(faults: &mut Collector<'_>, written: &Written) {
    unique(
        faults,
        "interface name",
        written.interfaces.iter().filter_map(|i| i.name.as_ref()),
    );
    unique(
        faults,
        "mount name",
        written
            .mounts
            .iter()
            .filter_map(|mount| mount.name.as_ref()),
    );
    unique(
        faults,
        "source name",
        written
            .sources
            .iter()
            .filter_map(|source| source.name.as_ref()),
    );
    cards(faults, &written.interfaces);
    networks(faults, &written.interfaces);
    for mount in &written.mounts {
        if let Some(server) = &mount.server {
            reachable(faults, "mount server", server, &written.interfaces);
        }
    }
    sources(faults, written);
    feeds(faults, &written.sources);
    if let Some(tunnel) = &written.tunnel {
        inner_addresses(faults, tunnel, &written.interfaces);
        peer(faults, tunnel, &written.interfaces);
    }
    through_tunnel(faults, written);
    for window in written.sending.iter().filter_map(|s| s.windows.as_ref()) {
        separate(faults, window);
    }
    if let (Some(quiet), Some(period)) = (&written.quiet_seconds, &written.period_seconds) {
        holds_two_looks(faults, quiet, period);
    }
}

/// Looks begin half a period apart at the soonest, and the second look at a file comes the quiet time later.
fn holds_two_looks(faults: &mut Collector<'_>, quiet: &At<u32>, period: &At<u32>) {
    let least = 2 * quiet.value;
    if period.value < least {
        // one that is not written has its usual value, and stands where the section begins
        let written = if period.span.start < quiet.span.start {
            quiet
        } else {
            period
        };
        let message = format!(
            "a period of {} s does not hold a quiet time of {} s, allowed: \"period-seconds\" of {least} or more, or a shorter \"quiet-seconds\"",
            period.value, quiet.value
        );
        faults.fault(&written.span, message);
    }
}

fn unique<'a>(faults: &mut Collector<'_>, what: &str, names: impl Iterator<Item = &'a At<String>>) {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if seen.contains(&name.value.as_str()) {
            faults.fault(
                &name.span,
                format!("{what} {:?} stands twice, allowed: each once", name.value),
            );
        }
        seen.push(&name.value);
    }
}

/// Sending windows that overlap say less than whoever wrote them believes.
fn separate(faults: &mut Collector<'_>, windows: &[At<Window>]) {
    let holds = |window: &Window, minute: u16| {
        let inside = |from: u16, to: u16| (from..to).contains(&minute);
        if window.from_minute < window.to_minute {
            inside(window.from_minute, window.to_minute)
        } else {
            !inside(window.to_minute, window.from_minute)
        }
    };
    for (index, window) in windows.iter().enumerate() {
        let overlaps = |other: &At<Window>| {
            holds(&other.value, window.value.from_minute)
                || holds(&window.value, other.value.from_minute)
        };
        if windows[..index].iter().any(overlaps) {
            let message = "this window overlaps an earlier one, allowed: windows that are apart";
            faults.fault(&window.span, message.to_owned());
        }
    }
}

fn cards(faults: &mut Collector<'_>, interfaces: &[Interface]) {
    let mut seen = Vec::new();
    for mac in interfaces
        .iter()
        .filter_map(|interface| interface.mac.as_ref())
    {
        if seen.contains(&mac.value) {
            faults.fault(
                &mac.span,
                "this mac is another interface's, allowed: one interface for each card".to_owned(),
            );
        }
        seen.push(mac.value);
    }
}

fn networks(faults: &mut Collector<'_>, interfaces: &[Interface]) {
    let mut seen: Vec<Network> = Vec::new();
    let mut default_route = false;
    for interface in interfaces {
        if let (Some(address), Some(network)) = (&interface.address, interface.network()) {
            if let Some(other) = seen.iter().find(|other| other.overlaps(&network)) {
                let message = format!(
                    "network {network} overlaps {other} of another interface, allowed: separate networks"
                );
                faults.fault(&address.span, message);
            }
            seen.push(network);
        }
        let Some(gateway) = &interface.gateway else {
            continue;
        };
        if default_route {
            faults.fault(
                &gateway.span,
                "a second gateway, allowed: one in the whole file".to_owned(),
            );
        }
        default_route = true;
        let (Some(address), Some(network)) = (&interface.address, interface.network()) else {
            continue;
        };
        if !network.has_host(gateway.value) || gateway.value == address.value.0 {
            let message = format!(
                "gateway {} is outside, allowed: another machine of {network}",
                gateway.value
            );
            faults.fault(&gateway.span, message);
        }
    }
}

fn reachable(
    faults: &mut Collector<'_>,
    what: &str,
    address: &At<Ipv4Addr>,
    interfaces: &[Interface],
) {
    if interfaces
        .iter()
        .any(|interface| interface.address.is_none())
    {
        return;
    }
    if interfaces.iter().any(|i| {
        i.address
            .as_ref()
            .is_some_and(|own| own.value.0 == address.value)
    }) {
        let message = format!(
            "{what} {} is the box itself, allowed: another machine",
            address.value
        );
        faults.fault(&address.span, message);
        return;
    }
    let near = interfaces
        .iter()
        .filter_map(Interface::network)
        .any(|network| network.has_host(address.value));
    if !near
        && interfaces
            .iter()
            .all(|interface| interface.gateway.is_none())
    {
        let message = format!(
            "{what} {} is in no interface's network and there is no gateway, allowed: a machine that can be reached",
            address.value
        );
        faults.fault(&address.span, message);
    }
}

fn sources(faults: &mut Collector<'_>, written: &Written) {
    let mut mounts: Vec<&str> = written
        .mounts
        .iter()
        .filter_map(|mount| mount.name.as_ref())
        .map(|at| at.value.as_str())
        .collect();
    mounts.dedup();
    let all_named = written.mounts.iter().all(|mount| mount.name.is_some());
    let mut seen: Vec<&Source> = Vec::new();
    for source in &written.sources {
        let (Some(mount), Some(path)) = (&source.mount, &source.path) else {
            continue;
        };
        if all_named && !mounts.contains(&mount.value.as_str()) {
            let message = format!(
                "there is no mount {:?}, allowed: {}",
                mount.value,
                one_of(&mounts)
            );
            faults.fault(&mount.span, message);
        }
        let inside = |other: &Source| match (&other.mount, &other.path) {
            (Some(other_mount), Some(other_path)) => {
                other_mount.value == mount.value
                    && (path.value.starts_with(&other_path.value)
                        || other_path.value.starts_with(&path.value))
            }
            _ => false,
        };
        if let Some(other) = seen.iter().find(|other| inside(other)) {
            let name = other
                .name
                .as_ref()
                .map_or("another source", |at| at.value.as_str());
            let message = format!(
                "this path and that of {name:?} lie inside each other, allowed: separate folders"
            );
            faults.fault(&path.span, message);
        }
        seen.push(source);
    }
}

/// What a transaction storage is said to tell about.
fn feeds(faults: &mut Collector<'_>, sources: &[Source]) {
    let kind = |source: &Source| source.kind.as_ref().map(|at| at.value);
    let standardized: Vec<&str> = sources
        .iter()
        .filter(|source| kind(source) == Some(SourceKind::Standardized))
        .filter_map(|source| source.name.as_ref())
        .map(|at| at.value.as_str())
        .collect();
    let all_known = sources
        .iter()
        .all(|source| source.kind.is_some() && source.name.is_some());
    for source in sources {
        let Some(of) = &source.feed_of else {
            continue;
        };
        if kind(source).is_some_and(|kind| kind != SourceKind::Transaction) {
            let message =
                "key \"feed-of\" has no use here, allowed: only with kind \"ssmix2-transaction\"";
            faults.fault(&of.span, message.to_owned());
        } else if all_known && !standardized.contains(&of.value.as_str()) {
            let message = format!(
                "there is no source {:?} of kind \"ssmix2-standardized\", allowed: {}",
                of.value,
                one_of(&standardized)
            );
            faults.fault(&of.span, message);
        }
    }
}

/// The tunnel's own address and what lies behind it must not be mistaken for the hospital's networks.
fn inner_addresses(faults: &mut Collector<'_>, tunnel: &Tunnel, interfaces: &[Interface]) {
    let outer: Vec<Network> = interfaces.iter().filter_map(Interface::network).collect();
    if let Some(remote) = &tunnel.remote
        && let Some(network) = outer.iter().find(|network| network.overlaps(&remote.value))
    {
        let message = format!(
            "remote {} overlaps an interface's network {network}, allowed: a network that only the tunnel reaches",
            remote.value
        );
        faults.fault(&remote.span, message);
    }
    if let Some(address) = &tunnel.address
        && let Some(network) = outer.iter().find(|network| network.contains(address.value))
    {
        let message = format!(
            "tunnel address {} is in an interface's network {network}, allowed: an address of the data centre's plan",
            address.value
        );
        faults.fault(&address.span, message);
    }
}

fn peer(faults: &mut Collector<'_>, tunnel: &Tunnel, interfaces: &[Interface]) {
    let names: Vec<&str> = interfaces
        .iter()
        .filter_map(|i| i.name.as_ref())
        .map(|at| at.value.as_str())
        .collect();
    let mut through = None;
    if let Some(name) = &tunnel.interface {
        through = interfaces
            .iter()
            .find(|i| i.name.as_ref().is_some_and(|own| own.value == name.value));
        if through.is_none() && interfaces.iter().all(|interface| interface.name.is_some()) {
            let message = format!(
                "there is no interface {:?}, allowed: {}",
                name.value,
                one_of(&names)
            );
            faults.fault(&name.span, message);
        }
    }
    let Some(peer) = &tunnel.peer else { return };
    if let Some(remote) = &tunnel.remote
        && remote.value.contains(peer.value)
    {
        let message = format!(
            "peer {} is inside remote {}, allowed: a peer that is reached without the tunnel",
            peer.value, remote.value
        );
        faults.fault(&peer.span, message);
    }
    if let Some(interface) = through {
        reachable(faults, "peer", peer, std::slice::from_ref(interface));
    }
}

fn through_tunnel(faults: &mut Collector<'_>, written: &Written) {
    let Some(remote) = written
        .tunnel
        .as_ref()
        .and_then(|tunnel| tunnel.remote.as_ref())
    else {
        return;
    };
    let own = written
        .tunnel
        .as_ref()
        .and_then(|tunnel| tunnel.address.as_ref())
        .map(|at| at.value);
    let mut check = |what: &str, address: Ipv4Addr, span: &crate::fault::Span| {
        if !remote.value.contains(address) {
            let message = format!(
                "{what} {address} is outside the tunnel, allowed: an address in {}",
                remote.value
            );
            faults.fault(span, message);
        } else if own == Some(address) {
            faults.fault(
                span,
                format!("{what} {address} is the box itself, allowed: another machine"),
            );
        }
    };
    if let Some(url) = written
        .upload
        .as_ref()
        .and_then(|upload| upload.url.as_ref())
    {
        check("upload address", url.value.address, &url.span);
    }
    for server in written.clock_servers.iter().flatten() {
        check("clock server", server.value, &server.span);
    }
}

fn one_of(names: &[&str]) -> String {
    if names.is_empty() {
        "none is defined".to_owned()
    } else {
        names.join(", ")
    }
}
