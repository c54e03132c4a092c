//! The manifest: what a bundle holds, as signed JSON. Written entry by entry by `draft`, read whole here.
//!
//! Reading is strict: an unknown or missing field, a field that its event does not have, a number out of its bounds, a
//! path with a second spelling is refused. A manifest that parsed is still a claim until `open` has checked its signer.

use crate::digest::Digest;
use crate::limits::{CONTENT_LIMIT_BYTES, ENTRY_LIMIT, PART_LIMIT_BYTES, SOURCE_LIMIT};
use crate::lost::{self, Lost, LostFault, WireLost};
use crate::name::{BoxName, BundleName, is_token};
use crate::path::{self, PathFault};
use der::DateTime;
use serde::Deserialize;
use serde_json::error::Category;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Value of the field `format`. Any change of meaning takes another number; openers refuse what they do not know.
pub const FORMAT: &str = "collector-bundle-1";

/// A root that is collected. Name and kind are 1-32 characters of `a-z`, `0-9`, `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub kind: String,
}

/// Which version of a file a part belongs to, so that parts of two versions never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId(pub [u8; 16]);

impl VersionId {
    /// A version named by facts that change when the file does (inode, size, time stamps): the same after a restart.
    pub fn of(facts: &[u64]) -> Self {
        let bytes: Vec<u8> = facts.iter().flat_map(|fact| fact.to_be_bytes()).collect();
        let Digest(digest) = Digest::of(&bytes);
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Where a content lies in a file that travels in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub version: VersionId,
    /// Bytes of the whole file.
    pub total: u64,
    /// First byte of this part in the file.
    pub offset: u64,
    /// Digest of the whole file: on the part that ends it, and on no other.
    pub whole: Option<Digest>,
}

impl Part {
    /// Whether a content of this size can be this part. The part that ends the file has the whole file's digest.
    pub fn fits(&self, size: u64) -> bool {
        let end = self.offset.checked_add(size);
        size > 0
            && end
                .is_some_and(|end| end <= self.total && (end == self.total) == self.whole.is_some())
    }
}

/// What the manifest says of one content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub size: u64,
    pub sha256: Digest,
    /// Time of the file's last modification in Unix seconds.
    pub modified: Option<i64>,
    pub part: Option<Part>,
}

/// One entry of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Index into [`Manifest::sources`].
    pub source: usize,
    /// Path below the source's root: raw bytes, checked.
    pub path: Vec<u8>,
    pub event: NamedEvent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedEvent {
    Added(Facts),
    Changed(Facts),
    /// A known file was renamed, as SS-MIX2 does to change a condition flag.
    FlagChanged {
        from: Vec<u8>,
    },
    Removed,
}

impl Named {
    /// Facts on the content, for the events that carry one.
    pub fn facts(&self) -> Option<&Facts> {
        match &self.event {
            NamedEvent::Added(facts) | NamedEvent::Changed(facts) => Some(facts),
            NamedEvent::FlagChanged { .. } | NamedEvent::Removed => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub name: BundleName,
    /// SHA-256 of the previous bundle's file; none for the first.
    pub previous: Option<Digest>,
    /// Time of sealing in Unix seconds.
    pub time: u64,
    pub sources: Vec<Source>,
    pub entries: Vec<Named>,
    /// Earlier bundles that no longer exist whole, in order of their numbers.
    pub lost: Vec<Lost>,
}

/// Where reading the JSON ended, and why. The words of serde are not kept: they quote what a stranger wrote, which may
/// break a log into lines of its own, and name patients' files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonFault {
    line: usize,
    column: usize,
    class: Category,
}

impl From<&serde_json::Error> for JsonFault {
    fn from(error: &serde_json::Error) -> Self {
        Self {
            line: error.line(),
            column: error.column(),
            class: error.classify(),
        }
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.class {
            Category::Data => "a field is unknown, missing, there twice or of another type",
            Category::Eof => "the text ends too early",
            Category::Syntax | Category::Io => "the text is no JSON",
        };
        write!(f, "line {}, column {}: {what}", self.line, self.column)
    }
}

impl Error for JsonFault {}

/// Characters of a stranger's text that a message quotes.
const QUOTED_CHARACTERS: usize = 80;

/// What a message may quote of a stranger's text; control characters are escaped where it is shown.
fn excerpt(text: &str) -> String {
    text.chars().take(QUOTED_CHARACTERS).collect()
}

/// Why a manifest is refused. Entries are counted from 1; paths are never in a message.
#[derive(Debug)]
pub enum ManifestError {
    Json(JsonFault),
    /// A backslash: what stands for itself would have a second spelling.
    Escape,
    Format(String),
    BoxName(String),
    Sequence(u64),
    /// The first bundle has no predecessor, every other has one.
    Previous(u64),
    Time(String),
    Digest {
        entry: usize,
    },
    SourceCount(usize),
    Source(String),
    EntryCount(usize),
    UnknownSource {
        entry: usize,
    },
    Path {
        entry: usize,
        source: PathFault,
    },
    /// A field is missing, or is there though the event does not have it.
    Fields {
        entry: usize,
    },
    /// Contents are numbered from 1 in the order of entries.
    ContentNumber {
        entry: usize,
        expected: u32,
    },
    Size {
        entry: usize,
        size: u64,
    },
    Part {
        entry: usize,
    },
    Contents {
        bytes: u64,
    },
    /// In the list of lost bundles, at the one with this number.
    Lost {
        number: u64,
        source: LostFault,
    },
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(_) => write!(f, "the manifest is not the JSON of this format"),
            Self::Escape => write!(
                f,
                "the manifest has a backslash, but nothing in it needs an escape"
            ),
            Self::Format(format) => {
                write!(
                    f,
                    "the manifest has format {format:?}, this program knows {FORMAT:?}; use a newer one"
                )
            }
            Self::BoxName(name) => write!(f, "the manifest has the box name {name:?}"),
            Self::Sequence(sequence) => {
                write!(f, "the manifest has the sequence number {sequence}")
            }
            Self::Previous(1) => write!(f, "the manifest has number 1 and yet a previous bundle"),
            Self::Previous(sequence) => write!(
                f,
                "the manifest has number {sequence} and a wrong or no previous digest"
            ),
            Self::Time(time) => write!(
                f,
                "the manifest has the time {time:?}, it must be like 2026-01-31T23:59:59Z"
            ),
            Self::Digest { entry } => write!(
                f,
                "entry {entry}: a digest or version is not lower-case hexadecimal of its length"
            ),
            Self::SourceCount(count) => write!(
                f,
                "the manifest names {count} sources, at most {SOURCE_LIMIT} are allowed"
            ),
            Self::Source(name) => write!(
                f,
                "the manifest names source {name:?} twice or in a wrong form"
            ),
            Self::EntryCount(count) => write!(
                f,
                "the manifest has {count} entries, at most {ENTRY_LIMIT} are allowed"
            ),
            Self::UnknownSource { entry } => {
                write!(f, "entry {entry}: its source is not in the list of sources")
            }
            Self::Path { entry, .. } => write!(f, "entry {entry}: its path is refused"),
            Self::Fields { entry } => write!(
                f,
                "entry {entry}: it lacks a field of its event or has one of another"
            ),
            Self::ContentNumber { entry, expected } => {
                write!(f, "entry {entry}: its content must have number {expected}")
            }
            Self::Size { entry, size } => {
                write!(
                    f,
                    "entry {entry}: its content has {size} bytes, at most {PART_LIMIT_BYTES} are allowed"
                )
            }
            Self::Part { entry } => write!(
                f,
                "entry {entry}: offset, size, total and digest do not make a part"
            ),
            Self::Contents { bytes } => {
                write!(
                    f,
                    "the contents have {bytes} bytes, at most {CONTENT_LIMIT_BYTES} are allowed"
                )
            }
            Self::Lost { number, .. } => write!(f, "lost bundle {number}: it is refused"),
        }
    }
}

impl Error for ManifestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Json(source) => Some(source),
            Self::Path { source, .. } => Some(source),
            Self::Lost { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireManifest<'a> {
    format: String,
    #[serde(rename = "box")]
    box_name: String,
    sequence: u64,
    // `deserialize_with` makes the field itself required: null must be written
    #[serde(deserialize_with = "Option::deserialize")]
    previous: Option<String>,
    time: String,
    sources: Vec<WireSource>,
    #[serde(borrow)]
    entries: Vec<WireEntry<'a>>,
    #[serde(borrow)]
    lost: Option<Vec<WireLost<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSource {
    name: String,
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireEvent {
    Added,
    Changed,
    FlagChanged,
    Removed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEntry<'a> {
    event: WireEvent,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    path: Cow<'a, str>,
    from: Option<Cow<'a, str>>,
    content: Option<u32>,
    size: Option<u64>,
    sha256: Option<Cow<'a, str>>,
    modified: Option<i64>,
    part: Option<WirePart>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePart {
    version: String,
    total: u64,
    offset: u64,
    whole: Option<String>,
}

/// Only to say that a bundle is of another format rather than that its fields are unknown.
#[derive(Deserialize)]
struct WireFormat {
    format: String,
}

/// The time as it is written in the manifest.
pub(crate) fn format_time(time: u64) -> Option<String> {
    DateTime::from_unix_duration(Duration::from_secs(time))
        .ok()
        .map(|time| time.to_string())
}

/// A time for messages.
pub(crate) fn show_time(time: u64) -> String {
    format_time(time).unwrap_or_else(|| format!("second {time}"))
}

impl Manifest {
    /// Reads a manifest. The result is a claim.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        if json.contains(&b'\\') {
            return Err(ManifestError::Escape);
        }
        let wire: WireManifest = match serde_json::from_slice(json) {
            Ok(wire) => wire,
            Err(error) => {
                return Err(match serde_json::from_slice::<WireFormat>(json) {
                    Ok(WireFormat { format }) if format != FORMAT => {
                        ManifestError::Format(excerpt(&format))
                    }
                    _ => ManifestError::Json(JsonFault::from(&error)),
                });
            }
        };
        if wire.format != FORMAT {
            return Err(ManifestError::Format(excerpt(&wire.format)));
        }
        let box_name = BoxName::from_str(&wire.box_name)
            .map_err(|_| ManifestError::BoxName(excerpt(&wire.box_name)))?;
        let name = BundleName::new(box_name, wire.sequence)
            .map_err(|_| ManifestError::Sequence(wire.sequence))?;
        let wrong_previous = |_| ManifestError::Previous(wire.sequence);
        let previous = wire
            .previous
            .map(|text| text.parse())
            .transpose()
            .map_err(wrong_previous)?;
        if previous.is_none() != (wire.sequence == 1) {
            return Err(ManifestError::Previous(wire.sequence));
        }
        let time = match DateTime::from_str(&wire.time) {
            Ok(time) if time.to_string() == wire.time => time.unix_duration().as_secs(),
            _ => return Err(ManifestError::Time(excerpt(&wire.time))),
        };
        let sources = check_sources(
            wire.sources
                .into_iter()
                .map(|WireSource { name, kind }| Source { name, kind })
                .collect(),
        )?;
        let entries = read_entries(wire.entries, &sources)?;
        let lost = match wire.lost {
            Some(lost) => lost::read(&lost, wire.sequence, &sources)?,
            None => Vec::new(),
        };
        Ok(Self {
            name,
            previous,
            time,
            sources,
            entries,
            lost,
        })
    }
}

/// Checks names and kinds, and that no name is there twice.
pub(crate) fn check_sources(sources: Vec<Source>) -> Result<Vec<Source>, ManifestError> {
    if sources.len() > SOURCE_LIMIT {
        return Err(ManifestError::SourceCount(sources.len()));
    }
    for (index, source) in sources.iter().enumerate() {
        let twice = sources[..index]
            .iter()
            .any(|earlier| earlier.name == source.name);
        if twice || !is_token(&source.name) || !is_token(&source.kind) {
            return Err(ManifestError::Source(excerpt(&source.name)));
        }
    }
    Ok(sources)
}

fn read_entries(wire: Vec<WireEntry>, sources: &[Source]) -> Result<Vec<Named>, ManifestError> {
    if wire.len() > ENTRY_LIMIT {
        return Err(ManifestError::EntryCount(wire.len()));
    }
    let mut entries = Vec::with_capacity(wire.len());
    let mut contents = 0;
    let mut bytes = 0;
    for (entry, wire) in (1..).zip(wire) {
        let named = read_entry(entry, &wire, sources)?;
        if let Some(facts) = named.facts() {
            contents += 1;
            if wire.content != Some(contents) {
                return Err(ManifestError::ContentNumber {
                    entry,
                    expected: contents,
                });
            }
            bytes += facts.size; // each at most PART_LIMIT_BYTES, and ENTRY_LIMIT of them: no overflow
        }
        entries.push(named);
    }
    if bytes > CONTENT_LIMIT_BYTES {
        return Err(ManifestError::Contents { bytes });
    }
    Ok(entries)
}

fn read_entry(entry: usize, wire: &WireEntry, sources: &[Source]) -> Result<Named, ManifestError> {
    let source = sources
        .iter()
        .position(|s| s.name == wire.source)
        .ok_or(ManifestError::UnknownSource { entry })?;
    let wrong_path = |source| ManifestError::Path { entry, source };
    let path = path::parse(&wire.path).map_err(wrong_path)?;
    let bare = wire.content.is_none()
        && wire.size.is_none()
        && wire.sha256.is_none()
        && wire.modified.is_none()
        && wire.part.is_none();
    let event = match (&wire.event, &wire.from) {
        (WireEvent::Added, None) => NamedEvent::Added(read_facts(entry, wire)?),
        (WireEvent::Changed, None) => NamedEvent::Changed(read_facts(entry, wire)?),
        (WireEvent::FlagChanged, Some(from)) if bare => NamedEvent::FlagChanged {
            from: path::parse(from).map_err(wrong_path)?,
        },
        (WireEvent::Removed, None) if bare => NamedEvent::Removed,
        _ => return Err(ManifestError::Fields { entry }),
    };
    Ok(Named {
        source,
        path,
        event,
    })
}

fn read_facts(entry: usize, wire: &WireEntry) -> Result<Facts, ManifestError> {
    let (Some(size), Some(sha256), Some(_)) = (wire.size, &wire.sha256, wire.content) else {
        return Err(ManifestError::Fields { entry });
    };
    if size > PART_LIMIT_BYTES {
        return Err(ManifestError::Size { entry, size });
    }
    let digest = |text: &str| {
        text.parse::<Digest>()
            .map_err(|_| ManifestError::Digest { entry })
    };
    let part = match &wire.part {
        None => None,
        Some(part) => {
            let part = Part {
                version: read_version(&part.version).ok_or(ManifestError::Digest { entry })?,
                total: part.total,
                offset: part.offset,
                whole: part.whole.as_deref().map(digest).transpose()?,
            };
            if !part.fits(size) {
                return Err(ManifestError::Part { entry });
            }
            Some(part)
        }
    };
    Ok(Facts {
        size,
        sha256: digest(sha256)?,
        modified: wire.modified,
        part,
    })
}

fn read_version(text: &str) -> Option<VersionId> {
    let plain = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let value = if plain {
        u128::from_str_radix(text, 16).ok()?
    } else {
        return None;
    };
    Some(VersionId(value.to_be_bytes()))
}
