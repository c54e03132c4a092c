//! The trail on the disk: segments of records in one folder, appended to and never changed.
//!
//! Segments are files `trail-<first sequence, 10 digits>.jsonl`; their order is that of their names. `reserve` is a file
//! of zeros.
//!
//! 1. A record is confirmed only after it is durable: written, file synced, and, for a new segment, folder synced.
//! 2. After a cut the last segment may end in part of a record, or in bytes that never were one. The end is cut back to
//!    the last record whose chain holds. No confirmed record is lost by that: it was synced whole, with all before it.
//! 3. Where whole records stand behind the flaw it is no torn end. Then nothing is cut: the segment stays as evidence and
//!    a new one begins, chained to the last good record.
//! 4. A full disk: the reserve is given up first, so that the trail goes on when collecting has stopped. It is made
//!    again as soon as there is room.
//! 5. Nothing is deleted but the reserve.
//!
//! What is assumed of the disk: after a successful sync the bytes stay; a failed sync leaves them unknown, so that the
//! trail must be opened anew.

use super::record::{Flaw, Followed, Head, LONGEST_RECORD_BYTES, compose, follow_all};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// A reader can hold a segment in memory, and a year of a busy box has about a hundred.
const LONGEST_SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// About 30 000 records: weeks of a box that cannot collect any more.
pub const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

const RESERVE: &str = "reserve";

/// How bytes reach the disk; another one stands in for a full disk in tests.
pub trait Medium {
    fn append(&self, file: &File, bytes: &[u8]) -> std::io::Result<()>;
    /// Makes a file of `bytes` bytes that are really there.
    fn reserve(&self, path: &Path, bytes: u64) -> std::io::Result<()>;
}

/// The real disk.
pub struct Disk;

impl Medium for Disk {
    fn append(&self, mut file: &File, bytes: &[u8]) -> std::io::Result<()> {
        file.write_all(bytes)
    }

    fn reserve(&self, path: &Path, bytes: u64) -> std::io::Result<()> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        file.sync_all()
    }
}

/// What was found when the trail was opened, beside whole records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The end was torn and has been cut back.
    Torn { bytes: u64 },
    /// The chain is broken inside a segment, which stays as it is.
    Broken {
        segment: String,
        after_sequence: u64,
    },
}

/// One record to append.
pub struct Entry<'a> {
    pub role: &'a str,
    pub event: &'a str,
    pub fields: &'a Map<String, Value>,
}

pub struct Trail<M: Medium> {
    folder: PathBuf,
    medium: M,
    head: Head,
    segment: Option<(File, u64)>,
    reserved: bool,
}

impl<M: Medium> Trail<M> {
    /// Opens the trail and repairs a torn end.
    pub fn open(folder: &Path, medium: M) -> Result<(Self, Vec<Found>), TrailError> {
        let mut trail = Self {
            folder: folder.to_owned(),
            medium,
            head: Head::start(),
            segment: None,
            reserved: false,
        };
        let found = trail.recover()?;
        trail.reserve();
        Ok((trail, found))
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether the reserve is there; without it the disk is full.
    pub fn reserved(&self) -> bool {
        self.reserved
    }

    /// Makes the reserve where there is room for it.
    pub fn reserve(&mut self) {
        let path = self.folder.join(RESERVE);
        self.reserved = self.medium.reserve(&path, RESERVE_BYTES).is_ok();
        if !self.reserved {
            let _ = std::fs::remove_file(&path);
        }
    }

    /// Appends all entries with one sync and returns their lines, once they are durable.
    pub fn append(&mut self, entries: &[Entry<'_>], time: &str) -> Result<Vec<String>, TrailError> {
        let mut head = self.head.clone();
        let mut lines = Vec::with_capacity(entries.len());
        for entry in entries {
            let (line, next) = compose(&head, time, entry.role, entry.event, entry.fields);
            if line.len() > LONGEST_RECORD_BYTES {
                return Err(TrailError::TooLong { bytes: line.len() });
            }
            lines.push(line);
            head = next;
        }
        self.write(lines.concat().as_bytes())?;
        self.head = head;
        Ok(lines)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TrailError> {
        match self.try_write(bytes) {
            Err(TrailError::Write { source, .. }) if is_full(&source) && self.reserved => {
                self.reserved = false;
                let path = self.folder.join(RESERVE);
                std::fs::remove_file(&path).map_err(|source| TrailError::Write { path, source })?;
                self.try_write(bytes)
            }
            outcome => outcome,
        }
    }

    /// Writes and syncs; on an error that leaves the file known, everything is as before.
    fn try_write(&mut self, bytes: &[u8]) -> Result<(), TrailError> {
        if self
            .segment
            .as_ref()
            .is_some_and(|(_, length)| *length >= LONGEST_SEGMENT_BYTES)
        {
            self.segment = None;
        }
        if self.segment.is_none() {
            self.segment = Some((self.new_segment()?, 0));
        }
        let path = self.folder.clone();
        let Some((file, length)) = &mut self.segment else {
            return Err(TrailError::Write {
                path,
                source: ErrorKind::NotFound.into(),
            });
        };
        if let Err(source) = self.medium.append(file, bytes) {
            file.set_len(*length)
                .map_err(|source| TrailError::Unknown {
                    path: path.clone(),
                    source,
                })?;
            return Err(TrailError::Write { path, source });
        }
        match file.sync_data() {
            Ok(()) => {
                *length += bytes.len() as u64;
                Ok(())
            }
            // Delayed allocation can meet a full disk only now: then the bytes are known not to be there.
            Err(source) if is_full(&source) => {
                file.set_len(*length)
                    .map_err(|source| TrailError::Unknown {
                        path: path.clone(),
                        source,
                    })?;
                Err(TrailError::Write { path, source })
            }
            Err(source) => Err(TrailError::Unknown { path, source }),
        }
    }

    fn new_segment(&self) -> Result<File, TrailError> {
        let path = self.folder.join(segment_name(self.head.sequence + 1));
        let failed = |source| TrailError::Write {
            path: path.clone(),
            source,
        };
        // It may be there, empty: made just before a cut, or before a disk was found full.
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(&path)
            .map_err(failed)?;
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(file)
    }

    fn recover(&mut self) -> Result<Vec<Found>, TrailError> {
        let mut found = Vec::new();
        let segments = segments(&self.folder)?;
        let Some(last) = segments.last() else {
            return Ok(found);
        };
        // A segment may hold no record yet; the head then stands at the end of the one before.
        let mut head = Head::start();
        if let [.., before, _] = segments.as_slice() {
            head = end_of(before)?;
        }
        let bytes = read(last)?;
        let Followed {
            head,
            good_bytes,
            flaw,
            records_behind,
        } = follow_all(head, &bytes);
        self.head = head;
        let name = last
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if flaw.is_some() && records_behind {
            found.push(Found::Broken {
                segment: name,
                after_sequence: self.head.sequence,
            });
            if self.folder.join(segment_name(self.head.sequence + 1)) == *last {
                // Not one record of it follows: the new segment may not have its name.
                let aside = last.with_extension("broken");
                std::fs::rename(last, &aside).map_err(|source| TrailError::Write {
                    path: aside,
                    source,
                })?;
            }
            return Ok(found);
        }
        let failed = |source| TrailError::Write {
            path: last.clone(),
            source,
        };
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .open(last)
            .map_err(failed)?;
        if flaw.is_some() {
            file.set_len(good_bytes as u64).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            found.push(Found::Torn {
                bytes: (bytes.len() - good_bytes) as u64,
            });
        }
        self.segment = Some((file, good_bytes as u64));
        Ok(found)
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

fn segment_name(first_sequence: u64) -> String {
    format!("trail-{first_sequence:010}.jsonl")
}

/// The segments in their order.
fn segments(folder: &Path) -> Result<Vec<PathBuf>, TrailError> {
    let failed = |source| TrailError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if name.starts_with("trail-") && name.ends_with(".jsonl") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>, TrailError> {
    let failed = |source| TrailError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(failed)?;
    Ok(bytes)
}

/// The head at the end of a segment, by its last good record alone: only `verify` follows the whole trail.
fn end_of(segment: &Path) -> Result<Head, TrailError> {
    let bytes = read(segment)?;
    let mut head = Head::start();
    for line in bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let record: Value = serde_json::from_slice(line).unwrap_or_default();
        let (Some(sequence), Some(previous)) =
            (record["sequence"].as_u64(), record["previous"].as_str())
        else {
            break;
        };
        if head.sequence != 0 && (sequence != head.sequence + 1 || previous != head.digest) {
            break;
        }
        head = Head {
            sequence,
            digest: crate::runtime::keyholder::to_hex(sha256(line).as_ref()),
        };
    }
    Ok(head)
}

fn sha256(line: &[u8]) -> aws_lc_rs::digest::Digest {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, line)
}

/// Follows the whole trail. Gives its head, or the place of the first flaw; with `expected`, a head known from
/// elsewhere, a missing end is found too.
pub fn verify(folder: &Path, expected: Option<&Head>) -> Result<Head, VerifyError> {
    let mut head = Head::start();
    let mut met = expected.is_none_or(|expected| *expected == head);
    for segment in segments(folder).map_err(VerifyError::Trail)? {
        let bytes = read(&segment).map_err(VerifyError::Trail)?;
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let whole = line.strip_suffix(b"\n").ok_or(Flaw::NotARecord);
            head = whole
                .and_then(|line| super::record::follow(&head, line))
                .map_err(|flaw| VerifyError::Flawed {
                    segment: segment.clone(),
                    line: index + 1,
                    flaw,
                })?;
            met |= expected == Some(&head);
        }
    }
    if met {
        Ok(head)
    } else {
        Err(VerifyError::Short {
            found: head.sequence,
        })
    }
}

/// The trail cannot be written or read.
#[derive(Debug)]
pub enum TrailError {
    /// Try again later; nothing has changed.
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    /// What is on the disk is unknown: stop, and open the trail anew.
    Unknown {
        path: PathBuf,
        source: std::io::Error,
    },
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The record will be refused again.
    TooLong { bytes: usize },
}

impl std::fmt::Display for TrailError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write { path, .. } => write!(f, "cannot write the trail in {}", path.display()),
            Self::Unknown { path, .. } => {
                write!(f, "the disk failed under the trail in {}", path.display())
            }
            Self::Read { path, .. } => write!(f, "cannot read the trail {}", path.display()),
            Self::TooLong { bytes } => {
                write!(
                    f,
                    "the record has {bytes} bytes, allowed: at most {LONGEST_RECORD_BYTES}"
                )
            }
        }
    }
}

impl std::error::Error for TrailError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Write { source, .. }
            | Self::Unknown { source, .. }
            | Self::Read { source, .. } => Some(source),
            Self::TooLong { .. } => None,
        }
    }
}

/// The trail is not whole.
#[derive(Debug)]
pub enum VerifyError {
    Trail(TrailError),
    Flawed {
        segment: PathBuf,
        line: usize,
        flaw: Flaw,
    },
    /// The expected head is not in it: records are missing at its end.
    Short {
        found: u64,
    },
}

impl std::fmt::Display for VerifyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Trail(_) => write!(f, "the trail cannot be followed"),
            Self::Flawed { segment, line, .. } => {
                write!(f, "{}:{line}: the trail is broken", segment.display())
            }
            Self::Short { found } => write!(
                f,
                "the trail ends with record {found}, before the expected one"
            ),
        }
    }
}

impl std::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Trail(source) => Some(source),
            Self::Flawed { flaw, .. } => Some(flaw),
            Self::Short { .. } => None,
        }
    }
}
