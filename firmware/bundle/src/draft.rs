//! A bundle in the making: entries are compressed and written into the manifest as they come, within fixed bounds.
//!
//! The contents become zstd frames of their own, before the manifest exists; sealing puts the frame of manifest and
//! signature before them. `zstd -d` and every decoder of RFC 8878 read frames one after another as one stream. A frame is
//! compressed in one call from where its bytes lie: that takes two thirds of the time of a stream, which copies them.

use crate::archive::{self, HeaderMaker};
use crate::digest::{Digest, Whole};
use crate::limits::{
    COMPRESSION_LEVEL, CONTENT_LIMIT_BYTES, ENTRY_LIMIT, MANIFEST_LIMIT_BYTES, PART_LIMIT_BYTES,
};
use crate::lost::{self, Lost};
use crate::manifest::{ManifestError, Part, Source, check_sources};
use crate::path::{self, PathFault};
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::{self, Cursor, Write};
use std::mem::take;
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

/// Bytes kept free in the manifest for all that is not entries: fixed fields and the list of sources.
const MANIFEST_RESERVE_BYTES: usize = 32 << 10;

/// Bytes of archive in one frame. Half as many make the bundles of a store of small files 1 % larger.
const FRAME_BYTES: usize = 2 << 20;

/// A content of this size is a frame of its own, so that it need not be copied beside others.
const OWN_FRAME_BYTES: usize = 512 << 10;

/// A content with its digest. Hashing happens where it is made, in whichever thread that is, and never again.
#[derive(Clone, Debug)]
pub struct Body<'a> {
    content: Cow<'a, [u8]>,
    sha256: Digest,
    modified: Option<i64>,
    part: Option<Part>,
}

impl<'a> Body<'a> {
    /// A whole file, or one part of it; `modified` is in Unix seconds.
    pub fn new(
        content: impl Into<Cow<'a, [u8]>>,
        modified: Option<i64>,
        part: Option<Part>,
    ) -> Self {
        let content = content.into();
        Self {
            sha256: Digest::of(&content),
            content,
            modified,
            part,
        }
    }

    /// The next part of a file. `whole` has seen the parts before it and knows the file's digest at its end; the
    /// `whole` of `part` is set here.
    pub fn of_part(
        content: impl Into<Cow<'a, [u8]>>,
        modified: Option<i64>,
        part: Part,
        whole: &mut Whole,
    ) -> Self {
        let content = content.into();
        let sha256 = whole.part(&content);
        let ends = part.offset + content.len() as u64 == part.total;
        Self {
            content,
            sha256,
            modified,
            part: Some(Part {
                whole: ends.then(|| whole.digest()),
                ..part
            }),
        }
    }

    pub fn sha256(&self) -> Digest {
        self.sha256
    }
}

/// What happened to a file.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    Added(Body<'a>),
    Changed(Body<'a>),
    /// A known file was renamed from this path.
    FlagChanged {
        from: &'a [u8],
    },
    Removed,
}

/// One entry for a bundle.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Index into the draft's sources.
    pub source: usize,
    /// Path below the source's root, raw bytes.
    pub path: &'a [u8],
    pub event: Event<'a>,
}

/// The entry was not taken; the draft is as it was before.
#[derive(Debug)]
pub enum PushError {
    /// Close this draft and push the same entry to a new one.
    Full,
    Path(PathFault),
    UnknownSource(usize),
    /// A content above the limit must travel in parts.
    TooLarge(u64),
    Part,
    Sources(ManifestError),
    /// Lost bundles are named in the order of their numbers, from 1.
    LostOrder(u64),
    /// The draft is lost: begin it again.
    Compress(io::Error),
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "the bundle is full"),
            Self::Path(_) => write!(f, "the path cannot be in a bundle"),
            Self::UnknownSource(index) => write!(f, "the draft has no source with index {index}"),
            Self::TooLarge(size) => write!(
                f,
                "the content has {size} bytes, at most {PART_LIMIT_BYTES} are allowed; split the file into parts"
            ),
            Self::Part => write!(f, "offset, size, total and digest do not make a part"),
            Self::Sources(_) => write!(f, "the sources cannot be in a bundle"),
            Self::LostOrder(number) => {
                write!(f, "the lost bundle {number} is not above the one before it")
            }
            Self::Compress(_) => write!(f, "compression failed"),
        }
    }
}

impl Error for PushError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Path(source) => Some(source),
            Self::Sources(source) => Some(source),
            Self::Compress(source) => Some(source),
            _ => None,
        }
    }
}

/// Takes entries until it is full.
pub struct Draft {
    sources: Vec<Source>,
    headers: HeaderMaker,
    compressor: Compressor<'static>,
    /// The end of the archive, not yet compressed.
    open: Vec<u8>,
    /// The archive before it, compressed.
    frames: Vec<u8>,
    manifest: Vec<u8>,
    line: Vec<u8>,
    entries: usize,
    contents: u32,
    content_bytes: u64,
    losses: Losses,
}

/// Lost bundles that a manifest names.
#[derive(Default)]
pub(crate) struct Losses {
    /// One after the other, separated by commas.
    pub(crate) json: Vec<u8>,
    /// Number of the last one; 0: there is none.
    pub(crate) last: u64,
    bundles: usize,
    files: usize,
}

/// A draft that takes no more; it can be sealed any number of times until that succeeds.
pub struct Closed {
    pub(crate) sources: Vec<Source>,
    pub(crate) frames: Vec<u8>,
    /// The manifest's entries, one a line, separated by commas.
    pub(crate) manifest: Vec<u8>,
    pub(crate) losses: Losses,
    entries: usize,
    content_bytes: u64,
}

impl Draft {
    pub fn new(sources: Vec<Source>) -> Result<Self, PushError> {
        let sources = check_sources(sources).map_err(PushError::Sources)?;
        Ok(Self {
            sources,
            headers: HeaderMaker::new(),
            compressor: Compressor::new(COMPRESSION_LEVEL).map_err(PushError::Compress)?,
            open: Vec::new(),
            frames: Vec::new(),
            manifest: Vec::new(),
            line: Vec::new(),
            entries: 0,
            contents: 0,
            content_bytes: 0,
            losses: Losses::default(),
        })
    }

    /// Number of entries taken so far.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Whether there is nothing to tell: no entry and no loss.
    pub fn is_empty(&self) -> bool {
        self.entries == 0 && self.losses.bundles == 0
    }

    /// Bytes of files taken so far.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Takes an entry, or says why not. An empty draft is never full.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<(), PushError> {
        path::check(entry.path).map_err(PushError::Path)?;
        let body = match &entry.event {
            Event::Added(body) | Event::Changed(body) => Some(body),
            Event::FlagChanged { from } => {
                path::check(from).map_err(PushError::Path)?;
                None
            }
            Event::Removed => None,
        };
        let size = body.map_or(0, |body| body.content.len() as u64);
        if size > PART_LIMIT_BYTES {
            return Err(PushError::TooLarge(size));
        }
        if body
            .and_then(|body| body.part.as_ref())
            .is_some_and(|part| !part.fits(size))
        {
            return Err(PushError::Part);
        }
        self.write_line(entry)?;
        if self.entries == ENTRY_LIMIT
            || self.content_bytes + size > CONTENT_LIMIT_BYTES
            || !self.has_line_room()
        {
            return Err(PushError::Full);
        }
        if let Some(body) = body {
            self.write_content(&body.content)
                .map_err(PushError::Compress)?;
            self.contents += 1;
        }
        if self.entries > 0 {
            self.manifest.extend_from_slice(b",\n");
        }
        self.manifest.extend_from_slice(&self.line);
        self.entries += 1;
        self.content_bytes += size;
        Ok(())
    }

    /// Whether the manifest has room for the line.
    fn has_line_room(&self) -> bool {
        self.manifest.len() + self.losses.json.len() + self.line.len() + 2
            <= MANIFEST_LIMIT_BYTES - MANIFEST_RESERVE_BYTES
    }

    /// Reports a lost bundle, or says why not. What one lost bundle held fits into an empty draft.
    pub fn lose(&mut self, lost: &Lost) -> Result<(), PushError> {
        if lost.number <= self.losses.last {
            return Err(PushError::LostOrder(lost.number));
        }
        for file in &lost.files {
            path::check(&file.path).map_err(PushError::Path)?;
            if file.source >= self.sources.len() {
                return Err(PushError::UnknownSource(file.source));
            }
        }
        self.line.clear();
        lost::write(&mut self.line, lost, &self.sources).map_err(PushError::Compress)?;
        if self.losses.bundles == ENTRY_LIMIT
            || self.losses.files + lost.files.len() > ENTRY_LIMIT
            || !self.has_line_room()
        {
            return Err(PushError::Full);
        }
        let Losses { json, last, .. } = &mut self.losses;
        if !json.is_empty() {
            json.extend_from_slice(b",\n");
        }
        json.extend_from_slice(&self.line);
        *last = lost.number;
        self.losses.bundles += 1;
        self.losses.files += lost.files.len();
        Ok(())
    }

    /// Ends the draft.
    pub fn close(mut self) -> Result<Closed, PushError> {
        self.close_and_begin()
    }

    /// Ends the draft and begins the next of the same sources.
    pub fn close_and_begin(&mut self) -> Result<Closed, PushError> {
        self.open.extend_from_slice(&archive::END);
        self.end_frame().map_err(PushError::Compress)?;
        self.contents = 0;
        Ok(Closed {
            sources: self.sources.clone(),
            frames: take(&mut self.frames),
            manifest: take(&mut self.manifest),
            losses: take(&mut self.losses),
            entries: take(&mut self.entries),
            content_bytes: take(&mut self.content_bytes),
        })
    }

    /// Gives an empty draft the memory of one that was sealed ([`Closed::into_room`]).
    pub fn set_room(&mut self, mut room: Vec<u8>) {
        if self.frames.is_empty() {
            room.clear();
            self.frames = room;
        }
    }

    /// Writes an entry's line of the manifest. Nothing in it needs an escape of JSON: paths bring their own.
    fn write_line(&mut self, entry: &Entry<'_>) -> Result<(), PushError> {
        let source = self
            .sources
            .get(entry.source)
            .ok_or(PushError::UnknownSource(entry.source))?;
        let (event, body) = match &entry.event {
            Event::Added(body) => ("added", Some(body)),
            Event::Changed(body) => ("changed", Some(body)),
            Event::FlagChanged { .. } => ("flag-changed", None),
            Event::Removed => ("removed", None),
        };
        let out = &mut self.line;
        out.clear();
        out.extend_from_slice(b"{\"event\":\"");
        out.extend_from_slice(event.as_bytes());
        out.extend_from_slice(b"\",\"source\":\"");
        out.extend_from_slice(source.name.as_bytes());
        out.extend_from_slice(b"\",\"path\":\"");
        path::escape_onto(out, entry.path);
        out.push(b'"');
        if let Event::FlagChanged { from } = &entry.event {
            out.extend_from_slice(b",\"from\":\"");
            path::escape_onto(out, from);
            out.push(b'"');
        }
        if let Some(body) = body {
            write_facts(out, self.contents + 1, body).map_err(PushError::Compress)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn write_content(&mut self, content: &[u8]) -> io::Result<()> {
        let name = archive::content_name(self.contents + 1);
        let header = self.headers.make(name.as_bytes(), content.len() as u64);
        self.open.extend_from_slice(&header);
        if content.len() < OWN_FRAME_BYTES {
            self.open.extend_from_slice(content);
        } else {
            self.end_frame()?;
            compress(&mut self.compressor, content, &mut self.frames)?;
        }
        self.open
            .extend_from_slice(&archive::END[..archive::padding(content.len())]);
        if self.open.len() >= FRAME_BYTES {
            self.end_frame()?;
        }
        Ok(())
    }

    /// Compresses what is not yet.
    fn end_frame(&mut self) -> io::Result<()> {
        compress(&mut self.compressor, &self.open, &mut self.frames)?;
        self.open.clear();
        Ok(())
    }
}

/// Appends a frame.
pub(crate) fn compress(
    compressor: &mut Compressor<'_>,
    bytes: &[u8],
    frames: &mut Vec<u8>,
) -> io::Result<()> {
    let end = frames.len();
    frames.reserve(compress_bound(bytes.len()));
    let mut place = Cursor::new(&mut *frames);
    place.set_position(end as u64);
    compressor.compress_to_buffer(bytes, &mut place)?;
    Ok(())
}

fn write_facts(out: &mut Vec<u8>, number: u32, body: &Body<'_>) -> io::Result<()> {
    write!(
        out,
        ",\"content\":{number},\"size\":{},\"sha256\":\"",
        body.content.len()
    )?;
    out.extend_from_slice(&body.sha256.hex());
    out.push(b'"');
    if let Some(modified) = body.modified {
        write!(out, ",\"modified\":{modified}")?;
    }
    if let Some(Part {
        version,
        total,
        offset,
        whole,
    }) = &body.part
    {
        write!(
            out,
            ",\"part\":{{\"version\":\"{version}\",\"total\":{total},\"offset\":{offset}"
        )?;
        if let Some(whole) = whole {
            write!(out, ",\"whole\":\"{whole}\"")?;
        }
        out.push(b'}');
    }
    Ok(())
}

impl Closed {
    /// Number of entries.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes of files.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Its memory, for another draft. What is in it is of no use to anyone.
    pub fn into_room(self) -> Vec<u8> {
        self.frames
    }
}
