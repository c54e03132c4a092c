//! Bundles that their box has lost: the way past a gap, and the record of what never came.
//!
//! The box reports a lost bundle in a later one (`bundle`, FORMAT.md). What becomes of it here:
//!
//! 1. A gap is passed only where every number in it is reported as lost by verified bundles that wait behind it, none of
//!    them saying another digest, and where the first bundle after it has the digest reported last as its `previous`. So
//!    the chain holds as if the lost ones had been there; a stranger's, or another history's, notice opens nothing.
//! 2. Such a number is in the history with its digest, as lost. It is never applied.
//! 3. A lost bundle that turns up before its gap is passed is applied in its turn as any other; what was collected again
//!    then finds its files there. One that turns up later is left alone: what followed it is in the store, and to apply it
//!    now could put old versions over new ones. With the promised digest it is counted as late, and what the record names
//!    can be taken out of it by hand; with another one it is refused.
//! 4. When a bundle that reports losses is applied, `.lost/<box>/<number>.json` is written before its history: for each
//!    lost bundle its number, digest, notice, and the files that could not be collected again. None is written for a bundle
//!    that was applied, since nothing of it is missing.
//!
//! Each run verifies what waits behind a gap, to look for notices: the cost of a gap is that of its backlog.

use super::moves::Fate;
use super::report::Report;
use super::state::BoxState;
use super::tree::Tree;
use super::{Found, Keys, Look, OpenFailure, look, output};
use bundle::path::escape_onto;
use bundle::{Digest, Extent, LostFile, VerifiedBundle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;

/// A lost bundle, as one that waits reports it.
struct Told {
    digest: Digest,
    notice: u64,
    files: usize,
}

/// What the verified bundles behind a gap say.
pub struct Notices {
    told: BTreeMap<u64, Told>,
    /// The digest before each of them.
    previous: BTreeMap<u64, Option<Digest>>,
}

impl Notices {
    /// Looks through bundles that wait. Two that say different things are reported, and neither is believed.
    pub fn gather(keys: &Keys, waiting: &[Found], report: &mut Report) -> Self {
        let (mut told, mut previous) = (BTreeMap::<u64, Told>::new(), BTreeMap::new());
        let mut disputed = Vec::new();
        for found in waiting {
            let Look::Verified(verified) = look(keys, found) else {
                continue;
            };
            // one that is refused is refused when its turn comes
            let Ok(bundle) = *verified else { continue };
            let notice = found.name.sequence();
            previous.insert(notice, bundle.manifest().previous);
            for lost in &bundle.manifest().lost {
                let this = Told {
                    digest: lost.sha256,
                    notice,
                    files: lost.files.len(),
                };
                match told.get(&lost.number) {
                    Some(before) if before.digest != lost.sha256 => {
                        let number = lost.number;
                        let reason = format!(
                            "it reports bundle {number} as lost with another digest than bundle {}",
                            before.notice
                        );
                        report.refuse(found, reason, true);
                        disputed.push(number);
                    }
                    // the later one knows more
                    _ => drop(told.insert(lost.number, this)),
                }
            }
        }
        for number in disputed {
            told.remove(&number);
        }
        Self { told, previous }
    }

    /// Passes over the lost bundles after the last one that was applied, if all of the gap is lost. `false`: it waits.
    pub fn pass(
        &self,
        tree: &Tree,
        state: &mut BoxState,
        report: &mut Report,
    ) -> Result<bool, OpenFailure> {
        let first = state.applied() + 1;
        let mut end = first;
        while self.told.contains_key(&end) && !self.previous.contains_key(&end) {
            end += 1;
        }
        // rule 1: the chain goes on over the gap
        let lost = self.told.range(first..end);
        let last = lost.clone().next_back().map(|(_, told)| told.digest);
        if last.is_none() || self.previous.get(&end) != Some(&last) {
            return Ok(false);
        }
        for (number, told) in lost {
            state.pass_over(tree, told.digest)?;
            report.lose(state, *number, told.digest, told.notice, told.files);
        }
        Ok(true)
    }
}

/// A bundle of a number that is in the history as lost. Gives the reason for refusing it, with whether it is an alarm.
pub fn late(
    keys: &Keys,
    found: &Found,
    promised: Digest,
    here: Digest,
) -> Result<(), (String, bool)> {
    if here == promised {
        return Ok(());
    }
    let number = found.name.sequence();
    let signed = matches!(look(keys, found), Look::Verified(verified) if verified.is_ok());
    let reason = format!("bundle {number} of this box was reported lost, and this is not that one");
    // a rotten copy of the lost one is no alarm; another that the box signed is
    Err((reason, signed))
}

/// The reason why what a bundle says of lost ones cannot be, if it cannot.
pub fn contradiction(
    state: &BoxState,
    bundle: &VerifiedBundle,
) -> Result<Option<String>, OpenFailure> {
    for lost in &bundle.manifest().lost {
        if state.digest(lost.number)? != Some(lost.sha256) {
            let number = lost.number;
            return Ok(Some(format!(
                "it reports bundle {number} as lost with another digest than the one that was here"
            )));
        }
    }
    Ok(None)
}

#[derive(Serialize)]
struct Record {
    #[serde(rename = "box")]
    box_name: String,
    number: u64,
    sha256: String,
    /// Number of the bundle that reported it.
    notice: u64,
    files: Vec<RecordedFile>,
}

#[derive(Serialize)]
struct RecordedFile {
    source: String,
    /// In the manifest's spelling.
    path: String,
    size: u64,
    sha256: String,
    /// Size and digest are of the file's beginning.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    beginning: bool,
}

/// Writes what a bundle reports of lost ones. Called again after a cut, it writes the same; the caller makes it durable.
pub fn record(tree: &Tree, state: &BoxState, bundle: &VerifiedBundle) -> Result<(), OpenFailure> {
    let failed = output("write the record of a loss");
    let manifest = bundle.manifest();
    let box_name = manifest.name.box_name();
    for lost in &manifest.lost {
        if !matches!(state.record(lost.number)?, Some((_, Fate::Lost))) {
            continue;
        }
        let file = |file: &LostFile| {
            let mut path = Vec::new();
            escape_onto(&mut path, &file.path);
            RecordedFile {
                source: manifest.sources[file.source].name.clone(),
                path: String::from_utf8_lossy(&path).into_owned(),
                size: file.size,
                sha256: file.sha256.to_string(),
                beginning: file.extent == Extent::Beginning,
            }
        };
        let record = Record {
            box_name: box_name.to_string(),
            number: lost.number,
            sha256: lost.sha256.to_string(),
            notice: manifest.name.sequence(),
            files: lost.files.iter().map(file).collect(),
        };
        // a struct of numbers and strings always has a JSON form
        let json = serde_json::to_string_pretty(&record).unwrap_or_default() + "\n";
        let folder = format!(".lost/{box_name}").into_bytes();
        let path = format!(".lost/{box_name}/{:010}.json", lost.number).into_bytes();
        let fresh = [&path[..], b".new"].concat();
        let write = || {
            tree.make_folder(&folder)?;
            if tree.look(&fresh)?.is_some() {
                tree.delete(&fresh)?;
            }
            tree.create(&fresh)?.write_all(json.as_bytes())?;
            tree.sync()?;
            tree.replace(&fresh, &path)
        };
        write().map_err(&failed)?;
    }
    Ok(())
}
