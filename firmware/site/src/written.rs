//! The configuration as it was written, table by table: right in form, but not yet compared with itself.
//!
//! A field is `None` when a fault about it has been collected, or when it is optional and absent.

mod sending;

use crate::fault::Collector;
use crate::section::{At, Section};
use crate::value::{self, Network, Url};
use crate::{Pacing, Protocol, SourceKind, TlsProfile};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use toml::de::{DeTable, DeValue};

pub(crate) use sending::Sending;

/// More than any hospital has; the bounds keep messages, mounts and memory small.
const MOST_INTERFACES: usize = 8;
const MOST_MOUNTS: usize = 16;
const MOST_SOURCES: usize = 64;

pub(crate) struct Written {
    pub(crate) box_name: Option<At<String>>,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) tunnel: Option<Tunnel>,
    pub(crate) upload: Option<Upload>,
    pub(crate) sending: Option<Sending>,
    pub(crate) sealing: Option<Sealing>,
    pub(crate) clock_servers: Option<Vec<At<Ipv4Addr>>>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) sources: Vec<Source>,
    pub(crate) quiet_seconds: Option<At<u32>>,
    pub(crate) period_seconds: Option<At<u32>>,
    pub(crate) pacing: Option<Pacing>,
}

pub(crate) struct Interface {
    pub(crate) name: Option<At<String>>,
    pub(crate) mac: Option<At<[u8; 6]>>,
    pub(crate) address: Option<At<(Ipv4Addr, u8)>>,
    pub(crate) gateway: Option<At<Ipv4Addr>>,
}

impl Interface {
    pub(crate) fn network(&self) -> Option<Network> {
        self.address
            .as_ref()
            .map(|at| Network::around(at.value.0, at.value.1))
    }
}

pub(crate) struct Tunnel {
    pub(crate) interface: Option<At<String>>,
    pub(crate) peer: Option<At<Ipv4Addr>>,
    pub(crate) peer_identity: Option<At<String>>,
    pub(crate) identity: Option<At<String>>,
    pub(crate) certificate: Option<At<String>>,
    pub(crate) key: Option<At<String>>,
    pub(crate) authority: Option<At<String>>,
    pub(crate) address: Option<At<Ipv4Addr>>,
    pub(crate) remote: Option<At<Network>>,
    pub(crate) dead_peer_seconds: Option<At<u32>>,
    pub(crate) rekey_seconds: Option<At<u32>>,
}

pub(crate) struct Upload {
    pub(crate) url: Option<At<Url>>,
    pub(crate) server_name: Option<At<String>>,
    pub(crate) certificate: Option<At<String>>,
    pub(crate) key: Option<At<String>>,
    pub(crate) authority: Option<At<String>>,
    pub(crate) revocation_list: Option<At<String>>,
    pub(crate) receipts: Option<Receipts>,
    pub(crate) tls: Option<TlsProfile>,
}

pub(crate) enum Receipts {
    Signed { certificate: Option<At<String>> },
    None,
}

pub(crate) struct Sealing {
    pub(crate) recipients: Option<Vec<At<String>>>,
    pub(crate) certificate: Option<At<String>>,
    pub(crate) key: Option<At<String>>,
}

pub(crate) struct Mount {
    pub(crate) name: Option<At<String>>,
    pub(crate) server: Option<At<Ipv4Addr>>,
    pub(crate) protocol: Option<Protocol>,
}

pub(crate) struct Source {
    pub(crate) name: Option<At<String>>,
    pub(crate) kind: Option<At<SourceKind>>,
    pub(crate) mount: Option<At<String>>,
    pub(crate) path: Option<At<PathBuf>>,
    pub(crate) feed_of: Option<At<String>>,
}

const TABLES: &[&str] = &[
    "format",
    "box",
    "interface",
    "tunnel",
    "upload",
    "sealing",
    "clock",
    "mount",
    "source",
    "collection",
    "sending",
];

/// Reads every table of the text.
pub(crate) fn read(faults: &mut Collector<'_>, root: &DeTable<'_>) -> Written {
    let top = Section::new(faults, "", 0..0, root, TABLES);
    top.number(faults, "format", 1..=1, None);
    let box_name = single(faults, root, "box", "[box]", &["name"])
        .and_then(|section| section.required(faults, "name", value::NAME, value::name));
    let clock_servers = single(faults, root, "clock", "[clock]", &["servers"])
        .and_then(|section| section.list(faults, "servers", value::HOST, 1..=8, value::host));
    let (quiet_seconds, period_seconds, pacing) = collection(faults, root);
    Written {
        box_name,
        interfaces: interfaces(faults, root),
        tunnel: tunnel(faults, root),
        upload: upload(faults, root),
        sending: sending::read(faults, root),
        sealing: sealing(faults, root),
        clock_servers,
        mounts: mounts(faults, root),
        sources: sources(faults, root),
        quiet_seconds,
        period_seconds,
        pacing,
    }
}

fn interfaces(faults: &mut Collector<'_>, root: &DeTable<'_>) -> Vec<Interface> {
    let known = &["name", "mac", "address", "gateway"];
    let sections = several(
        faults,
        root,
        "interface",
        "[[interface]]",
        known,
        MOST_INTERFACES,
    );
    let read = |section: &Section<'_, '_>| Interface {
        name: section.required(faults, "name", value::INTERFACE, value::interface),
        mac: section.required(faults, "mac", value::MAC, value::mac),
        address: section.required(
            faults,
            "address",
            value::ADDRESS_IN_NETWORK,
            value::address_in_network,
        ),
        gateway: section.optional(faults, "gateway", value::HOST, value::host),
    };
    sections.iter().map(read).collect()
}

fn tunnel(faults: &mut Collector<'_>, root: &DeTable<'_>) -> Option<Tunnel> {
    let known = &[
        "interface",
        "peer",
        "peer-identity",
        "identity",
        "certificate",
        "key",
        "authority",
        "address",
        "remote",
        "dead-peer-seconds",
        "rekey-seconds",
    ];
    let section = single(faults, root, "tunnel", "[tunnel]", known)?;
    Some(Tunnel {
        interface: section.required(faults, "interface", "the name of an [[interface]]", own),
        peer: section.required(faults, "peer", value::HOST, value::host),
        peer_identity: section.required(faults, "peer-identity", value::IDENTITY, value::identity),
        identity: section.required(faults, "identity", value::IDENTITY, value::identity),
        certificate: section.required(faults, "certificate", value::FILE, value::file),
        key: section.required(faults, "key", value::FILE, value::file),
        authority: section.required(faults, "authority", value::FILE, value::file),
        address: section.required(faults, "address", value::HOST, value::host),
        remote: section.required(faults, "remote", value::NETWORK, value::network),
        // Three probes a minute and less than 0.1 kB/s; a dead peer is noticed before the next bundle is due.
        dead_peer_seconds: section.number(faults, "dead-peer-seconds", 2..=3600, Some(20)),
        // Four hours is charon's own default for IKE; far below AES-GCM's limit at any line speed of a hospital.
        rekey_seconds: section.number(faults, "rekey-seconds", 30..=86_400, Some(14_400)),
    })
}

fn upload(faults: &mut Collector<'_>, root: &DeTable<'_>) -> Option<Upload> {
    let known = &[
        "url",
        "server-name",
        "certificate",
        "key",
        "authority",
        "revocation-list",
        "receipts",
        "receipt-certificate",
        "tls",
    ];
    let section = single(faults, root, "upload", "[upload]", known)?;
    Some(Upload {
        url: section.required(faults, "url", value::URL, value::url),
        server_name: section.required(
            faults,
            "server-name",
            value::SERVER_NAME,
            value::server_name,
        ),
        certificate: section.required(faults, "certificate", value::FILE, value::file),
        key: section.required(faults, "key", value::FILE, value::file),
        authority: section.required(faults, "authority", value::FILE, value::file),
        revocation_list: section.required(faults, "revocation-list", value::FILE, value::file),
        receipts: receipts(faults, &section),
        tls: section
            .required(
                faults,
                "tls",
                "\"modern\" (TLS 1.3) or \"compat\" (TLS 1.2 too)",
                |text| match text {
                    "modern" => Some(TlsProfile::Modern),
                    "compat" => Some(TlsProfile::Compat),
                    _ => None,
                },
            )
            .map(|at| at.value),
    })
}

fn receipts(faults: &mut Collector<'_>, section: &Section<'_, '_>) -> Option<Receipts> {
    let allowed = "\"signed\" or, for a plain tus server, \"none\"";
    let signed = section.required(faults, "receipts", allowed, |text| match text {
        "signed" => Some(true),
        "none" => Some(false),
        _ => None,
    })?;
    if signed.value {
        let certificate = section.required(faults, "receipt-certificate", value::FILE, value::file);
        return Some(Receipts::Signed { certificate });
    }
    if section.has("receipt-certificate") {
        let message = "key \"receipt-certificate\" of [upload] has no use, allowed: only with receipts = \"signed\"";
        faults.fault(&section.key_span("receipt-certificate"), message.to_owned());
    }
    Some(Receipts::None)
}

fn sealing(faults: &mut Collector<'_>, root: &DeTable<'_>) -> Option<Sealing> {
    let section = single(
        faults,
        root,
        "sealing",
        "[sealing]",
        &["recipients", "certificate", "key"],
    )?;
    Some(Sealing {
        recipients: section.list(faults, "recipients", value::FILE, 1..=8, value::file),
        certificate: section.required(faults, "certificate", value::FILE, value::file),
        key: section.required(faults, "key", value::FILE, value::file),
    })
}

fn mounts(faults: &mut Collector<'_>, root: &DeTable<'_>) -> Vec<Mount> {
    let known = &[
        "name", "protocol", "server", "share", "user", "password", "domain", "export",
    ];
    let sections = several(faults, root, "mount", "[[mount]]", known, MOST_MOUNTS);
    let read = |section: &Section<'_, '_>| {
        Mount {
        name: section.required(faults, "name", value::NAME, value::name).filter(|at| {
            let free = at.value != "disc";
            if !free {
                let message = "key \"name\" of [[mount]] does not allow \"disc\", allowed: any other name";
                faults.fault(&at.span, message.to_owned());
            }
            free
        }),
        server: section.required(faults, "server", value::HOST, value::host),
        protocol: protocol(faults, section),
    }
    };
    sections.iter().map(read).collect()
}

fn protocol(faults: &mut Collector<'_>, section: &Section<'_, '_>) -> Option<Protocol> {
    let chosen = section.required(
        faults,
        "protocol",
        "\"smb\" or \"nfs\"",
        |text| match text {
            "smb" | "nfs" => Some(text.to_owned()),
            _ => None,
        },
    )?;
    let (of_smb, of_nfs) = (
        ["share", "user", "password", "domain"].as_slice(),
        ["export"].as_slice(),
    );
    let (own, foreign) = if chosen.value == "smb" {
        (of_smb, of_nfs)
    } else {
        (of_nfs, of_smb)
    };
    for key in foreign.iter().filter(|key| section.has(key)) {
        let message = format!(
            "key {key:?} of [[mount]] has no use with protocol = {:?}, allowed: {}",
            chosen.value,
            own.join(", ")
        );
        faults.fault(&section.key_span(key), message);
    }
    if chosen.value == "nfs" {
        let export = section.required(faults, "export", value::EXPORT, value::export);
        return Some(Protocol::Nfs {
            export: export?.value,
        });
    }
    let share = section.required(faults, "share", value::SHARE, value::share);
    let user = section.required(faults, "user", value::TEXT, value::text);
    let password = section.secret(faults, "password", value::TEXT, value::text);
    let domain = section.optional(faults, "domain", value::TEXT, value::text);
    Some(Protocol::Smb {
        share: share?.value,
        user: user?.value,
        password: password?.value,
        domain: domain.map(|at| at.value),
    })
}

fn sources(faults: &mut Collector<'_>, root: &DeTable<'_>) -> Vec<Source> {
    let sections = several(
        faults,
        root,
        "source",
        "[[source]]",
        &["name", "kind", "mount", "path", "feed-of"],
        MOST_SOURCES,
    );
    let kinds = "\"ssmix2-standardized\", \"ssmix2-extended\", \"ssmix2-transaction\", \"dpc\" or \"receipt\"";
    let read = |section: &Section<'_, '_>| Source {
        name: section.required(faults, "name", value::NAME, value::name),
        kind: section.required(faults, "kind", kinds, |text| match text {
            "ssmix2-standardized" => Some(SourceKind::Standardized),
            "ssmix2-extended" => Some(SourceKind::Extended),
            "ssmix2-transaction" => Some(SourceKind::Transaction),
            "dpc" => Some(SourceKind::Dpc),
            "receipt" => Some(SourceKind::Receipt),
            _ => None,
        }),
        mount: section.required(faults, "mount", "the name of a [[mount]]", own),
        path: section.required(faults, "path", value::BELOW, value::below),
        feed_of: section.optional(faults, "feed-of", "the name of a [[source]]", own),
    };
    sections.iter().map(read).collect()
}

fn collection(
    faults: &mut Collector<'_>,
    root: &DeTable<'_>,
) -> (Option<At<u32>>, Option<At<u32>>, Option<Pacing>) {
    // A hospital system writes a file of some kB at once; a minute covers slow copies over its own network.
    const QUIET: u32 = 60;
    const PERIOD: u32 = 300;
    let at = |value| Some(At { value, span: 0..0 });
    if !root.contains_key("collection") {
        return (at(QUIET), at(PERIOD), Some(Pacing::default()));
    }
    let known = &[
        "quiet-seconds",
        "period-seconds",
        "requests-per-second",
        "walk-from-hour",
        "walk-to-hour",
        "recent-days",
        "verify-days",
        "daily-quota",
    ];
    let Some(section) = single(faults, root, "collection", "[collection]", known) else {
        return (None, None, None);
    };
    (
        section.number(faults, "quiet-seconds", 1..=86_400, Some(QUIET)),
        section.number(faults, "period-seconds", 1..=86_400, Some(PERIOD)),
        pacing(faults, &section),
    )
}

fn pacing(faults: &mut Collector<'_>, section: &Section<'_, '_>) -> Option<Pacing> {
    let usual = Pacing::default();
    let mut number = |key, range, usual| section.number(faults, key, range, Some(usual));
    // all are read before any is missed, so that every fault is reported
    let requests = number(
        "requests-per-second",
        0..=1_000_000,
        usual.requests_per_second,
    );
    let from = number("walk-from-hour", 0..=23, usual.walk_from_hour);
    let to = number("walk-to-hour", 0..=23, usual.walk_to_hour);
    let recent = number("recent-days", 0..=366, usual.recent_days);
    let verify = number("verify-days", 1..=366, usual.verify_days);
    let quota = number("daily-quota", 0..=100_000_000, usual.daily_quota);
    Some(Pacing {
        requests_per_second: requests?.value,
        walk_from_hour: from?.value,
        walk_to_hour: to?.value,
        recent_days: recent?.value,
        verify_days: verify?.value,
        daily_quota: quota?.value,
    })
}

/// A name that is compared with the names of a list; `own` only makes it owned.
fn own(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// The table that stands once.
fn single<'a, 'i>(
    faults: &mut Collector<'_>,
    root: &'a DeTable<'i>,
    key: &str,
    title: &'static str,
    known: &[&str],
) -> Option<Section<'a, 'i>> {
    let Some((name, value)) = root.get_key_value(key) else {
        faults.fault(
            &(0..0),
            format!(
                "table {title} is missing, allowed: one, with {}",
                known.join(", ")
            ),
        );
        return None;
    };
    match value.get_ref() {
        DeValue::Table(table) => Some(Section::new(faults, title, name.span(), table, known)),
        DeValue::Array(_) => {
            faults.fault(
                &name.span(),
                format!("table {title} is written as a list, allowed: once, as {title}"),
            );
            None
        }
        other => {
            faults.fault(
                &name.span(),
                format!(
                    "{key:?} is of type {}, allowed: a table {title}",
                    other.type_str()
                ),
            );
            None
        }
    }
}

/// The tables that may stand several times; at least one of them.
fn several<'a, 'i>(
    faults: &mut Collector<'_>,
    root: &'a DeTable<'i>,
    key: &str,
    title: &'static str,
    known: &[&str],
    most: usize,
) -> Vec<Section<'a, 'i>> {
    let allowed = format!("1 to {most}, each with {}", known.join(", "));
    let Some((name, value)) = root.get_key_value(key) else {
        faults.fault(
            &(0..0),
            format!("table {title} is missing, allowed: {allowed}"),
        );
        return Vec::new();
    };
    let Some(array) = value.get_ref().as_array() else {
        let kind = value.get_ref().type_str();
        faults.fault(
            &name.span(),
            format!("{key:?} is a single {kind}, allowed: a table {title}"),
        );
        return Vec::new();
    };
    if !(1..=most).contains(&array.len()) {
        faults.fault(
            &name.span(),
            format!(
                "table {title} stands {} times, allowed: {allowed}",
                array.len()
            ),
        );
        return Vec::new();
    }
    let mut sections = Vec::new();
    for entry in array.iter() {
        match entry.get_ref().as_table() {
            Some(table) => sections.push(Section::new(faults, title, entry.span(), table, known)),
            None => faults.fault(
                &entry.span(),
                format!(
                    "an entry of {key:?} is of type {}, allowed: a table {title}",
                    entry.get_ref().type_str()
                ),
            ),
        }
    }
    sections
}
