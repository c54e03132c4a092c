//! The spool's folder as a damaged or foreign disk may hold it: any names, any bytes, any records.
//!
//! The bytes are files, each four lines: name, bytes of content, bytes of record, and both of these. A record of the
//! right length is put at the end of the file's last page and given its right check here, and where the name ends with
//! [`FITTING`], the content's size and digest. The list of erasures is given its right check too.
//!
//! 1. Opening changes no bundle's bytes and takes no name away, whether it succeeds or refuses with words; but that of a
//!    bundle in the list of erasures it changes.
//! 2. Every bundle in the queue is older than the next; opened again it is the same queue.
//! 3. A bundle that is appended is there after opening again, with its digest, as the newest.

use crate::{Verdict, message};
use spool::{Disk, RECORD_BYTES, Spool, SpoolError, digest};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

/// At the end of a name, and no part of it: the record is made to fit the content.
pub const FITTING: char = '*';

/// Bytes of a record before its check (`spool`'s FORMAT.md).
const CHECK_AT: usize = 56;
/// The list of erasures, and the bytes of one before its check.
const ERASURES: &str = ".erasures";
const LIST_CHECK_AT: usize = 496;
/// What the length of a file is a multiple of.
const PAGE_BYTES: usize = 4096;
/// The last number that a name has room for. No box gets there.
const LAST: u64 = 9_999_999_999;
const SEALED: &[u8] = b"sealed";

type Files = Rc<RefCell<BTreeMap<String, Vec<u8>>>>;

pub fn spool_files(bytes: &[u8]) -> Verdict {
    let files = read(bytes);
    let before = files.borrow().clone();
    let opened = open(&files);
    let erased = erased_by(&before);
    for (name, file) in before.iter().filter(|(name, _)| name.ends_with(".cms")) {
        let now = files.borrow().get(name).cloned();
        let is_erased = spool::sequence_of(name).is_some_and(|number| erased.contains(&number));
        assert!(
            now.as_ref() == Some(file) || is_erased,
            "opening cost a bundle"
        );
    }
    let spool = match opened {
        Ok(spool) => spool,
        Err(error) => return message::refused(&error),
    };
    let (queue, next) = (listed(&spool), spool.next().sequence);
    assert!(queue.keys().all(|&sequence| sequence < next));
    drop(spool);
    let mut spool = open(&files).expect("a queue that was opened can be opened");
    assert_eq!(listed(&spool), queue);
    assert_eq!(spool.next().sequence, next);
    if next >= LAST {
        return Verdict::Refused;
    }
    match spool.append(next, digest(SEALED), SEALED) {
        Err(error) => return message::refused(&error),
        Ok(queued) => assert_eq!(queued.file_bytes % PAGE_BYTES as u64, 0),
    }
    drop(spool);
    let spool = open(&files).expect("a queue that was appended to can be opened");
    assert_eq!(spool.next().sequence, next + 1);
    assert_eq!(spool.next().previous, Some(digest(SEALED)));
    assert_eq!(listed(&spool).len(), queue.len() + 1);
    Verdict::accepted_if(!queue.is_empty())
}

fn open(files: &Files) -> Result<Spool<Memory>, SpoolError> {
    Spool::open(Memory(files.clone()), "box-1", 0)
}

fn listed(spool: &Spool<Memory>) -> BTreeMap<u64, spool::Queued> {
    spool.queued().collect()
}

fn read(bytes: &[u8]) -> Files {
    let mut files = BTreeMap::new();
    let mut rest = bytes;
    while let Some((name, after)) = line(rest) {
        let Some((content, record, after)) = content_and_record(after) else {
            break;
        };
        let fitting = name.ends_with(FITTING);
        let name = name.trim_end_matches(FITTING);
        let mut file = content.to_vec();
        if record.len() == RECORD_BYTES {
            let length = (content.len() + RECORD_BYTES).next_multiple_of(PAGE_BYTES);
            file.resize(length - RECORD_BYTES, 0);
            file.extend(checked(record, content, fitting));
        } else {
            file.extend(record);
        }
        if name == ERASURES && file.len() > LIST_CHECK_AT {
            let check = digest(&file[..LIST_CHECK_AT]);
            file.truncate(LIST_CHECK_AT);
            file.extend(&check[..16]);
        }
        files.insert(name.to_owned(), file);
        rest = after;
    }
    Rc::new(RefCell::new(files))
}

/// What the list of erasures may name.
fn erased_by(files: &BTreeMap<String, Vec<u8>>) -> Vec<u64> {
    let list = files.get(ERASURES).map_or(&[][..], Vec::as_slice);
    let words = list.get(16..LIST_CHECK_AT).unwrap_or_default();
    words
        .chunks_exact(8)
        .filter_map(|word| word.try_into().map(u64::from_le_bytes).ok())
        .collect()
}

fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    Some((text, &bytes[end + 1..]))
}

fn content_and_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (content_bytes, rest) = line(bytes)?;
    let (record_bytes, rest) = line(rest)?;
    let (content, rest) = rest.split_at_checked(content_bytes.parse().ok()?)?;
    let (record, rest) = rest.split_at_checked(record_bytes.parse().ok()?)?;
    Some((content, record, rest.strip_prefix(b"\n").unwrap_or(rest)))
}

fn checked(record: &[u8], content: &[u8], fitting: bool) -> Vec<u8> {
    let mut record = record.to_vec();
    if fitting {
        record[16..24].copy_from_slice(&(content.len() as u64).to_le_bytes());
        record[24..CHECK_AT].copy_from_slice(&digest(content));
    }
    let check = digest(&record[..CHECK_AT]);
    record[CHECK_AT..].copy_from_slice(&check[..RECORD_BYTES - CHECK_AT]);
    record
}

/// The files of a new queue after bundles were appended, as an input. The first `erased` bundles are in the list of
/// erasures, at most 255.
pub fn after_appending(bundles: &[&[u8]], erased: u8) -> Vec<u8> {
    let files = Files::default();
    let mut spool = open(&files).expect("a new queue");
    for (sequence, sealed) in (1..).zip(bundles) {
        spool
            .append(sequence, digest(sealed), sealed)
            .expect("a bundle");
    }
    if let Some(list) = files.borrow_mut().get_mut(ERASURES) {
        list[8] = erased;
        for number in 1..=erased {
            list[8 + 8 * usize::from(number)] = number;
        }
    }
    let mut input = Vec::new();
    for (name, file) in files.borrow().iter() {
        let (content, record) = match spool::contents(file) {
            Some(content) => (content, &file[file.len() - RECORD_BYTES..]),
            None => (&file[..], &[][..]),
        };
        input.extend(format!("{name}{FITTING}\n{}\n{}\n", content.len(), record.len()).as_bytes());
        input.extend(content);
        input.extend(record);
        input.push(b'\n');
    }
    input
}

/// A disk that works.
struct Memory(Files);

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Memory {
    fn with<T>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        self.0
            .borrow_mut()
            .get_mut(name)
            .map(change)
            .ok_or_else(missing)
    }
}

impl Disk for Memory {
    fn each_file(&self, visit: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        for (name, file) in self.0.borrow().iter() {
            visit(name, file.len() as u64);
        }
        Ok(())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(name, |file| {
            let rest = file.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            length
        })
    }

    fn read_end(&self, name: &str, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(name, |file| {
            let end = &file[file.len().saturating_sub(buffer.len())..];
            buffer[..end.len()].copy_from_slice(end);
            end.len()
        })
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.0.borrow_mut().entry(name.to_owned()).or_default();
        Ok(())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(name, |file| {
            let end = offset as usize + bytes.len();
            file.resize(file.len().max(end), 0);
            file[offset as usize..end].copy_from_slice(bytes);
        })
    }

    fn truncate(&mut self, name: &str, size_bytes: u64) -> io::Result<()> {
        self.with(name, |file| file.truncate(size_bytes as usize))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.with(name, |_| ())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.borrow_mut();
        let file = files.remove(from).ok_or_else(missing)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0
            .borrow_mut()
            .remove(name)
            .map(drop)
            .ok_or_else(missing)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }
}
