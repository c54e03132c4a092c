//! Lost bundles: what a manifest says of earlier ones that rotted in the spool. FORMAT.md has the meaning.
//!
//! Invariants
//! 1. A loss has its bundle's digest: who applies bundles goes on with the chain as if the lost one had been there.
//! 2. Lost numbers ascend and are below the manifest's own. So there is one list for one state, and none is its own loss.
//! 3. What a loss names of files follows the rules of entries: path, source and digest have one spelling.

use crate::digest::Digest;
use crate::limits::ENTRY_LIMIT;
use crate::manifest::{ManifestError, Source};
use crate::path::{self, PathFault};
use serde::Deserialize;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};

/// An earlier bundle of the box that no longer exists whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub number: u64,
    /// Of the bundle's file as it was.
    pub sha256: Digest,
    /// What of it could not be collected again.
    pub files: Vec<LostFile>,
}

/// A version of a file that was in a lost bundle, and that the box could not collect again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostFile {
    /// Index into the manifest's sources.
    pub source: usize,
    /// Path below the source's root: raw bytes, checked.
    pub path: Vec<u8>,
    pub size: u64,
    pub sha256: Digest,
    pub extent: Extent,
}

/// What size and digest of a lost file are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// The file travelled in parts and did not end in the lost bundle: of its bytes up to the end of what did.
    Beginning,
}

/// What is wrong with a loss. Files are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostFault {
    /// Not above the loss before it, or not below the manifest's own number.
    Order,
    Digest,
    /// The list is there and empty, or has more bundles or files than this in all.
    Count(usize),
    FileSource(usize),
    FilePath(usize, PathFault),
    FileDigest(usize),
    /// `false` is said by leaving the field out.
    FileBeginning(usize),
}

impl fmt::Display for LostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order => write!(
                f,
                "its number is not above the one before it, or not below the manifest's own"
            ),
            Self::Digest => write!(f, "its digest is not lower-case hexadecimal of its length"),
            Self::Count(count) => write!(
                f,
                "the list has {count} bundles or files, allowed are 1 to {ENTRY_LIMIT}"
            ),
            Self::FileSource(file) => {
                write!(f, "file {file}: its source is not in the list of sources")
            }
            Self::FilePath(file, _) => write!(f, "file {file}: its path is refused"),
            Self::FileDigest(file) => write!(
                f,
                "file {file}: its digest is not lower-case hexadecimal of its length"
            ),
            Self::FileBeginning(file) => {
                write!(f, "file {file}: the field beginning can only be true")
            }
        }
    }
}

impl Error for LostFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::FilePath(_, source) => Some(source),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireLost<'a> {
    number: u64,
    #[serde(borrow)]
    sha256: Cow<'a, str>,
    #[serde(borrow)]
    files: Vec<WireFile<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFile<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    path: Cow<'a, str>,
    size: u64,
    #[serde(borrow)]
    sha256: Cow<'a, str>,
    beginning: Option<bool>,
}

/// Checks the losses that the manifest with this number reports.
pub(crate) fn read(
    wire: &[WireLost<'_>],
    own: u64,
    sources: &[Source],
) -> Result<Vec<Lost>, ManifestError> {
    let first = wire.first().map_or(0, |lost| lost.number);
    let fault = |number, source| ManifestError::Lost { number, source };
    let files = wire.iter().map(|lost| lost.files.len()).sum();
    for count in [wire.len(), files] {
        if wire.is_empty() || count > ENTRY_LIMIT {
            return Err(fault(first, LostFault::Count(count)));
        }
    }
    let (mut before, mut all) = (0, Vec::with_capacity(wire.len()));
    for lost in wire {
        let wrong = |source| fault(lost.number, source);
        if lost.number <= before || lost.number >= own {
            return Err(wrong(LostFault::Order));
        }
        before = lost.number;
        let files = (1..).zip(&lost.files);
        all.push(Lost {
            number: lost.number,
            sha256: lost.sha256.parse().map_err(|_| wrong(LostFault::Digest))?,
            files: files
                .map(|(place, file)| read_file(place, file, sources))
                .collect::<Result<_, _>>()
                .map_err(wrong)?,
        });
    }
    Ok(all)
}

fn read_file(place: usize, wire: &WireFile<'_>, sources: &[Source]) -> Result<LostFile, LostFault> {
    Ok(LostFile {
        source: sources
            .iter()
            .position(|source| source.name == wire.source)
            .ok_or(LostFault::FileSource(place))?,
        path: path::parse(&wire.path).map_err(|fault| LostFault::FilePath(place, fault))?,
        size: wire.size,
        sha256: wire
            .sha256
            .parse()
            .map_err(|_| LostFault::FileDigest(place))?,
        extent: match wire.beginning {
            None => Extent::Whole,
            Some(true) => Extent::Beginning,
            Some(false) => return Err(LostFault::FileBeginning(place)),
        },
    })
}

/// Appends a loss as JSON. Nothing in it needs an escape: paths bring their own.
pub(crate) fn write(out: &mut Vec<u8>, lost: &Lost, sources: &[Source]) -> io::Result<()> {
    write!(
        out,
        "{{\"number\":{},\"sha256\":\"{}\",\"files\":[",
        lost.number, lost.sha256
    )?;
    for (place, file) in lost.files.iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        let source = &sources[file.source].name; // the draft has checked it
        write!(out, "{comma}\n{{\"source\":\"{source}\",\"path\":\"")?;
        path::escape_onto(out, &file.path);
        write!(
            out,
            "\",\"size\":{},\"sha256\":\"{}\"",
            file.size, file.sha256
        )?;
        if file.extent == Extent::Beginning {
            out.extend_from_slice(b",\"beginning\":true");
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Ok(())
}
