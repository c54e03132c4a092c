//! What a run did, for people and as JSON.

use super::find::Found;
use super::state::BoxState;
use bundle::Digest;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// Counts of this run only, except for `already_applied`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Bundles applied by this run.
    pub bundles: u64,
    /// Bundles found again that were applied before, in this run or an earlier one.
    pub already_applied: u64,
    /// Whole files written, and bytes of them.
    pub files: u64,
    pub bytes: u64,
    /// Of the files, those that replaced another content, which is kept in `.versions`.
    pub replaced: u64,
    /// Files that were already there with the same content.
    pub unchanged: u64,
    /// Parts of files taken, complete or not.
    pub parts: u64,
    pub renamed: u64,
    pub removed: u64,
    /// Removals of what was not there.
    pub absent: u64,
    /// Bundles that came after they were passed over as lost: left alone.
    pub late: u64,
    /// Bundles that this run passed over, because a later one reports them as lost.
    pub lost: Vec<Lost>,
    pub gaps: Vec<Gap>,
    pub refused: Vec<Refused>,
    pub faults: Vec<Fault>,
}

/// A bundle that the box has lost. Names of files are in `.lost/<box>/<number>.json` only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    #[serde(rename = "box")]
    pub box_name: String,
    pub number: u64,
    pub sha256: String,
    /// Number of the bundle that reports it.
    pub notice: u64,
    /// Versions of files in it that the box could not collect again.
    pub files: usize,
}

/// Missing bundles, and how many wait for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    #[serde(rename = "box")]
    pub box_name: String,
    /// First missing number.
    pub first: u64,
    /// Last missing number before the first bundle that waits.
    pub last: u64,
    pub waiting: u64,
}

/// A bundle that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub file: String,
    pub reason: String,
    /// Whether somebody must look at once: two bundles claim the same number.
    pub alarm: bool,
}

/// An entry of an applied bundle that did not fit what was there. The bundle's other entries were applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub bundle: String,
    /// Number of the entry in the manifest, from 1.
    pub entry: usize,
    pub what: &'static str,
}

impl Report {
    pub(super) fn refuse(&mut self, found: &Found, reason: String, alarm: bool) {
        let file = found.path.display().to_string();
        self.refused.push(Refused {
            file,
            reason,
            alarm,
        });
    }

    pub(super) fn refuse_path(&mut self, path: &Path, reason: String) {
        self.refused.push(Refused {
            file: path.display().to_string(),
            reason,
            alarm: false,
        });
    }

    /// Notes a bundle that is passed over.
    pub(super) fn lose(
        &mut self,
        state: &BoxState,
        number: u64,
        sha256: Digest,
        notice: u64,
        files: usize,
    ) {
        self.lost.push(Lost {
            box_name: state.box_name().to_string(),
            number,
            sha256: sha256.to_string(),
            notice,
            files,
        });
    }

    /// Notes a bundle that cannot be applied before the one with number `first`.
    pub(super) fn wait(&mut self, found: &Found, first: u64) {
        let box_name = found.name.box_name().as_str();
        match self.gaps.iter_mut().find(|gap| gap.box_name == box_name) {
            Some(gap) => gap.waiting += 1,
            None => self.gaps.push(Gap {
                box_name: box_name.to_owned(),
                first,
                last: found.name.sequence() - 1,
                waiting: 1,
            }),
        }
    }

    /// Whether nothing is lost, missing, refused or at fault.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty()
            && self.gaps.is_empty()
            && self.refused.is_empty()
            && self.faults.is_empty()
    }

    pub fn to_json(&self) -> String {
        // a struct of numbers and strings always has a JSON form
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "bundles   {} applied, {} already applied",
            self.bundles, self.already_applied
        )?;
        writeln!(
            f,
            "files     {} with {} bytes restored ({} replaced another, {} were already there)",
            self.files, self.bytes, self.replaced, self.unchanged
        )?;
        writeln!(f, "parts     {}", self.parts)?;
        writeln!(f, "renamed   {}", self.renamed)?;
        writeln!(
            f,
            "removed   {} ({} were not there)",
            self.removed, self.absent
        )?;
        if self.late > 0 {
            writeln!(
                f,
                "late      {} had been passed over as lost and are left alone; what .lost names can be taken from them",
                self.late
            )?;
        }
        for Lost {
            box_name,
            number,
            notice,
            files,
            ..
        } in &self.lost
        {
            writeln!(
                f,
                "LOST      box {box_name}: bundle {number}, says bundle {notice}; {files} files of it will not come, \
                 their names are in .lost/{box_name}/{number:010}.json"
            )?;
        }
        for gap in &self.gaps {
            let Gap {
                box_name,
                first,
                last,
                waiting,
            } = gap;
            writeln!(
                f,
                "GAP       box {box_name}: bundles {first} to {last} are missing, {waiting} wait for them"
            )?;
        }
        for Refused {
            file,
            reason,
            alarm,
        } in &self.refused
        {
            let word = if *alarm { "ALARM  " } else { "REFUSED" };
            writeln!(f, "{word}   {file}: {reason}")?;
        }
        for Fault {
            bundle,
            entry,
            what,
        } in &self.faults
        {
            writeln!(f, "FAULT     {bundle} entry {entry}: {what}")?;
        }
        Ok(())
    }
}
