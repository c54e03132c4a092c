//! What the manifests of received bundles tell, read with stock tools alone, and when each bundle was sealed.

use super::oracle::{Digest, Entry, Told};
use super::story::FOLDERS;
use super::{KINDS, Protocol};
use crate::events::Event;
use crate::rig::{Lab, LabError};
use crate::stock;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Deserialize)]
struct Manifest {
    sequence: u64,
    entries: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    event: String,
    source: String,
    path: String,
    from: Option<String>,
    sha256: Option<String>,
    part: Option<serde_json::Value>,
}

/// Entries of all received bundles, by protocol, in their order.
pub fn entries(lab: &Lab, begun: Duration) -> Result<BTreeMap<Protocol, Vec<Entry>>, LabError> {
    let sealed = sealed(lab, begun);
    let mut told: BTreeMap<Protocol, Vec<Entry>> = BTreeMap::new();
    for (bundle, manifest) in manifests(lab)? {
        let sealed_ms = *sealed.get(&bundle).ok_or_else(|| {
            LabError::Untrue(format!(
                "the box has not said that it sealed bundle {bundle}"
            ))
        })?;
        for line in manifest.entries {
            let (protocol, entry) = entry(bundle, sealed_ms, &line).ok_or_else(|| {
                LabError::Untrue(format!(
                    "the manifest of bundle {bundle} has a strange entry"
                ))
            })?;
            told.entry(protocol).or_default().push(entry);
        }
    }
    Ok(told)
}

/// When bundles were sealed, at the latest: when the lab saw the event, by the hospital's clock.
fn sealed(lab: &Lab, begun: Duration) -> BTreeMap<u64, u64> {
    let events = lab.collector.all_events().into_iter();
    let sealed = events
        .filter(|event| event.name == "sealed")
        .map(|event: Event| {
            let at = event.at.saturating_sub(begun);
            (
                event.number("number"),
                u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            )
        });
    sealed.collect()
}

fn manifests(lab: &Lab) -> Result<BTreeMap<u64, Manifest>, LabError> {
    let received = lab.folder().join("received");
    let into = lab.folder().join("stock");
    let mut manifests = BTreeMap::new();
    for entry in std::fs::read_dir(&received).map_err(failed(&received))? {
        let bundle = entry.map_err(failed(&received))?.path();
        if bundle
            .extension()
            .is_none_or(|extension| extension != "cms")
        {
            continue;
        }
        std::fs::create_dir_all(&into).map_err(failed(&into))?;
        stock::open(&bundle, &lab.pki, &into).map_err(|error| {
            LabError::Untrue(format!(
                "stock tools cannot open {}: {error}",
                bundle.display()
            ))
        })?;
        let path = into.join("manifest.json");
        let text = std::fs::read(&path).map_err(failed(&path))?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| {
            LabError::Untrue(format!("the manifest of {}: {error}", bundle.display()))
        })?;
        manifests.insert(manifest.sequence, manifest);
        std::fs::remove_dir_all(&into).map_err(failed(&into))?;
    }
    Ok(manifests)
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> LabError {
    let path: PathBuf = path.to_owned();
    move |source| LabError::Folder { path, source }
}

fn entry(bundle: u64, sealed_ms: u64, line: &Line) -> Option<(Protocol, Entry)> {
    let (kind, protocol) = line.source.rsplit_once('-')?;
    let protocol = Protocol::ALL
        .into_iter()
        .find(|known| known.word() == protocol)?;
    let folder = FOLDERS[KINDS.iter().position(|known| *known == kind)?];
    let place = |path: &str| Some([folder.as_bytes(), b"/", &unescape(path)?].concat());
    let told = match (line.event.as_str(), &line.from, &line.sha256, &line.part) {
        ("added" | "changed", None, Some(sha256), None) => Told::Body(digest(sha256)?),
        ("flag-changed", Some(from), None, None) => Told::FlagChanged { from: place(from)? },
        ("removed", None, None, None) => Told::Removed,
        _ => return None,
    };
    let path = place(&line.path)?;
    Some((
        protocol,
        Entry {
            bundle,
            sealed_ms,
            path,
            told,
        },
    ))
}

/// Bytes of a manifest's path (`firmware/bundle/FORMAT.md`): `%` and two digits stand for a byte.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

fn digest(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    (text.len() == 64).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_with_its_protocol_and_its_place_in_the_share() {
        let line = |text: &str| serde_json::from_str::<Line>(text).expect("a line");
        let flag = line(
            r#"{"event":"flag-changed","source":"wards-nfs","path":"13/a%20_2","from":"13/a%20_1"}"#,
        );
        let (protocol, read) = entry(4, 5, &flag).expect("an entry");
        assert_eq!(
            (protocol, read.path, read.told),
            (
                Protocol::Nfs,
                b"std/13/a _2".to_vec(),
                Told::FlagChanged {
                    from: b"std/13/a _1".to_vec()
                }
            )
        );
        let odd = line(r#"{"event":"moved","source":"wards-nfs","path":"13/a"}"#);
        assert!(entry(4, 5, &odd).is_none());
    }
}
