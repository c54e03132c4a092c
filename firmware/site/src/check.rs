//! The one function that makes a [`Plan`].

use crate::fault::{Collector, Faults};
use crate::files::{self, AcceptedFile, Reader};
use crate::section::At;
use crate::written::{self, Written};
use crate::{
    Clock, Collection, Interface, Mount, Plan, Receipts, Sealing, Sending, Source, Tunnel, Upload,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Longest text that is read; a real one has a few kilobytes.
pub const LONGEST_TEXT_BYTES: usize = 64 * 1024;

/// Checks the text of `site.toml` and the files beside it, by name. Gives the plan and the files to store, or every
/// fault there is.
pub fn check(
    text: &str,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(Plan, Vec<AcceptedFile>), Faults> {
    let mut faults = Collector::new(text);
    match read(&mut faults, text, files) {
        Some(accepted) if faults.is_empty() => Ok(accepted),
        _ => Err(faults.finish()),
    }
}

fn read(
    faults: &mut Collector<'_>,
    text: &str,
    files: &BTreeMap<String, Vec<u8>>,
) -> Option<(Plan, Vec<AcceptedFile>)> {
    if text.len() > LONGEST_TEXT_BYTES {
        let message = format!(
            "the file has {} bytes, allowed: at most {LONGEST_TEXT_BYTES}",
            text.len()
        );
        faults.fault(&(0..0), message);
        return None;
    }
    let (root, syntax) = toml::de::DeTable::parse_recoverable(text);
    for error in &syntax {
        let at = error.span().unwrap_or(0..0);
        faults.fault(
            &at,
            format!(
                "this is not TOML: {}, allowed: TOML 1.0 as in the example",
                error.message()
            ),
        );
    }
    if !syntax.is_empty() {
        // Where the form is broken, anything said about the content may be an echo of that.
        return None;
    }
    let written = written::read(faults, root.get_ref());
    crate::relation::compare(faults, &written);
    let accepted = files::check(faults, &written, files);
    if !faults.is_empty() {
        return None;
    }
    Some((plan(written)?, accepted))
}

fn site_path(file: Option<At<String>>) -> Option<PathBuf> {
    Some(PathBuf::from(Reader::Everyone.folder()).join(file?.value))
}

/// The plan; `None` only where a fault has been collected.
fn plan(written: Written) -> Option<Plan> {
    Some(Plan {
        box_name: written.box_name?.value,
        interfaces: written
            .interfaces
            .into_iter()
            .map(interface)
            .collect::<Option<_>>()?,
        tunnel: tunnel(written.tunnel?)?,
        upload: upload(written.upload?)?,
        sending: sending(written.sending?)?,
        sealing: sealing(written.sealing?)?,
        clock: Clock {
            servers: written
                .clock_servers?
                .into_iter()
                .map(|at| at.value)
                .collect(),
        },
        mounts: written
            .mounts
            .into_iter()
            .map(mount)
            .collect::<Option<_>>()?,
        sources: written
            .sources
            .into_iter()
            .map(source)
            .collect::<Option<_>>()?,
        collection: Collection {
            quiet_seconds: written.quiet_seconds?.value,
            period_seconds: written.period_seconds?.value,
            pacing: written.pacing?,
        },
    })
}

fn interface(written: written::Interface) -> Option<Interface> {
    let (address, prefix) = written.address?.value;
    Some(Interface {
        name: written.name?.value,
        mac: written.mac?.value,
        address,
        prefix,
        gateway: written.gateway.map(|at| at.value),
    })
}

fn tunnel(written: written::Tunnel) -> Option<Tunnel> {
    let remote = written.remote?.value;
    Some(Tunnel {
        interface: written.interface?.value,
        peer: written.peer?.value,
        peer_identity: written.peer_identity?.value,
        identity: written.identity?.value,
        certificate: site_path(written.certificate)?,
        key: PathBuf::from(Reader::Tunnel.folder()).join("ike.key"),
        authority: site_path(written.authority)?,
        address: written.address?.value,
        remote: remote.address,
        remote_prefix: remote.prefix,
        dead_peer_seconds: written.dead_peer_seconds?.value,
        rekey_seconds: written.rekey_seconds?.value,
    })
}

fn upload(written: written::Upload) -> Option<Upload> {
    let url = written.url?.value;
    Some(Upload {
        address: url.address,
        port: url.port,
        path: url.path,
        server_name: written.server_name?.value,
        certificate: site_path(written.certificate)?,
        authority: site_path(written.authority)?,
        revocation_list: site_path(written.revocation_list)?,
        receipts: match written.receipts? {
            written::Receipts::Signed { certificate } => Receipts::Signed {
                certificate: site_path(certificate)?,
            },
            written::Receipts::None => Receipts::None,
        },
        tls: written.tls?,
    })
}

fn sending(written: written::Sending) -> Option<Sending> {
    let most = written.most_kilobytes_per_second.map(|at| at.value);
    Some(Sending {
        most_bytes_per_second: most.map(|kilobytes| kilobytes * 1000),
        windows: written.windows?.into_iter().map(|at| at.value).collect(),
        utc_offset_minutes: written.utc_offset?.value,
        order: written.order?.value,
    })
}

fn sealing(written: written::Sealing) -> Option<Sealing> {
    let recipients = written
        .recipients?
        .into_iter()
        .map(|at| site_path(Some(at)))
        .collect::<Option<_>>()?;
    Some(Sealing {
        recipients,
        certificate: site_path(written.certificate)?,
    })
}

fn mount(written: written::Mount) -> Option<Mount> {
    Some(Mount {
        name: written.name?.value,
        server: written.server?.value,
        protocol: written.protocol?,
    })
}

fn source(written: written::Source) -> Option<Source> {
    Some(Source {
        name: written.name?.value,
        kind: written.kind?.value,
        mount: written.mount?.value,
        path: written.path?.value,
        feed_of: written.feed_of.map(|at| at.value),
    })
}
