//! What the store's files truly were at which time: the judge of what a collector delivered.
//!
//! The truth is kept outside the store, in memory and, where wanted, as a file of one JSON object a line:
//! `{"at_ms":..,"path":"..","event":"whole|part|renamed|removed","size":..,"sha256":"..","from":".."}`, paths escaped
//! as in [`crate::digest`]. It holds hospital paths and is as confidential as the store, which here means invented.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::{digest_lines, escape};
use crate::fault::{Fault, Operation};

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It has these bytes now; `whole`: its writer has no more to add.
    Written {
        size: u64,
        sha256: [u8; 32],
        whole: bool,
    },
    /// It was called `from` until now, and has the same bytes.
    Renamed {
        from: Vec<u8>,
    },
    Removed,
}

/// One change of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Time passed since the writer began, in milliseconds.
    pub at_ms: u64,
    /// Path below the store's folder.
    pub path: Vec<u8>,
    pub event: Event,
}

/// Everything that happened, in order, and what is there now.
#[derive(Default)]
pub struct Truth {
    marks: Vec<Mark>,
    /// Path of each file, and whether it is whole.
    files: BTreeMap<Vec<u8>, bool>,
    log: Option<fs::File>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    at_ms: u64,
    path: String,
    event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

impl Truth {
    /// Keeps the marks in a file as well, instead of in memory.
    pub fn log_to(&mut self, path: &Path) -> Result<(), Fault> {
        let log = fs::OpenOptions::new().append(true).create(true).open(path);
        self.log = Some(log.map_err(|cause| Fault::new(Operation::Write, path, cause))?);
        Ok(())
    }

    /// Empty where they go into a file.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The files that this writer has written and that are there, with whether each is whole.
    pub fn files(&self) -> &BTreeMap<Vec<u8>, bool> {
        &self.files
    }

    pub(super) fn written(
        &mut self,
        at_ms: u64,
        path: Vec<u8>,
        bytes: &[u8],
        whole: bool,
    ) -> Result<(), Fault> {
        self.files.insert(path.clone(), whole);
        let event = Event::Written {
            size: bytes.len() as u64,
            sha256: Sha256::digest(bytes).into(),
            whole,
        };
        self.mark(Mark { at_ms, path, event })
    }

    pub(super) fn renamed(
        &mut self,
        at_ms: u64,
        from: Vec<u8>,
        path: Vec<u8>,
    ) -> Result<(), Fault> {
        let whole = self.files.remove(&from).unwrap_or(true);
        self.files.insert(path.clone(), whole);
        self.mark(Mark {
            at_ms,
            path,
            event: Event::Renamed { from },
        })
    }

    pub(super) fn removed(&mut self, at_ms: u64, path: Vec<u8>) -> Result<(), Fault> {
        self.files.remove(&path);
        self.mark(Mark {
            at_ms,
            path,
            event: Event::Removed,
        })
    }

    fn mark(&mut self, mark: Mark) -> Result<(), Fault> {
        let Some(log) = &mut self.log else {
            self.marks.push(mark);
            return Ok(());
        };
        let (event, size, sha256, from) = match &mark.event {
            Event::Written {
                size,
                sha256,
                whole,
            } => {
                let word = if *whole { "whole" } else { "part" };
                (word, Some(*size), Some(hex(sha256)), None)
            }
            Event::Renamed { from } => ("renamed", None, None, Some(escape(from))),
            Event::Removed => ("removed", None, None, None),
        };
        let line = Line {
            at_ms: mark.at_ms,
            path: escape(&mark.path),
            event: event.to_owned(),
            size,
            sha256,
            from,
        };
        let fault = |cause| Fault::new(Operation::Write, Path::new("the truth"), cause);
        let text = serde_json::to_string(&line).map_err(|cause| fault(cause.into()))?;
        writeln!(log, "{text}").map_err(fault)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a look at delivered files has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Files with bytes that the truth or the base knows as whole.
    pub whole: u64,
    /// Files with bytes that the truth knows as half-written.
    pub half_written: u64,
    /// Files with bytes that no writer ever finished or stopped at.
    pub unknown: u64,
}

/// Says of every file below `delivered` whether its bytes were ever whole: by the truth in the file `truth`, or by
/// `base`, a digest of the store from before the writer began. Names are not compared, so that set-aside versions and
/// renamed files are judged as well.
pub fn check(truth: &Path, base: Option<&Path>, delivered: &[&Path]) -> Result<Verdict, Fault> {
    let (mut whole, mut half) = (BTreeSet::new(), BTreeSet::new());
    each_line(truth, &mut |text| {
        let line: Line = serde_json::from_str(text).map_err(std::io::Error::from)?;
        match (line.event.as_str(), line.sha256) {
            ("whole", Some(sha256)) => drop(whole.insert(sha256)),
            ("part", Some(sha256)) => drop(half.insert(sha256)),
            _ => {}
        }
        Ok(())
    })?;
    if let Some(base) = base {
        each_line(base, &mut |text| {
            whole.extend(text.split(' ').next().map(str::to_owned));
            Ok(())
        })?;
    }
    let mut verdict = Verdict::default();
    for folder in delivered {
        digest_lines(folder, &mut |line| {
            let Some((sha256, _)) = line.content else {
                return Ok(());
            };
            let sha256 = hex(&sha256);
            if whole.contains(&sha256) {
                verdict.whole += 1;
            } else if half.contains(&sha256) {
                verdict.half_written += 1;
            } else {
                verdict.unknown += 1;
            }
            Ok(())
        })?;
    }
    Ok(verdict)
}

fn each_line(path: &Path, take: &mut dyn FnMut(&str) -> std::io::Result<()>) -> Result<(), Fault> {
    let fault = |cause| Fault::new(Operation::Read, path, cause);
    let file = fs::File::open(path).map_err(fault)?;
    for line in BufReader::new(file).lines() {
        take(&line.map_err(fault)?).map_err(fault)?;
    }
    Ok(())
}
