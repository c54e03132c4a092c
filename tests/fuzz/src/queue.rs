//! The spool's folder as a damaged or foreign disk may hold it: any names, any bytes, any records.
//!
//! The bytes are files, each four lines: name, bytes of content, bytes of record, and both of these. A record of the
//! right length is given its right check here, and where the name ends with [`FITTING`], the content's size and digest.
//!
//! 1. Opening changes no bundle's bytes and takes no name away, whether it succeeds or refuses with words.
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
/// The last number that a name has room for. No box gets there.
const LAST: u64 = 9_999_999_999;
const SEALED: &[u8] = b"sealed";

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    record: Option<Vec<u8>>,
}

type Files = Rc<RefCell<BTreeMap<String, File>>>;

pub fn spool_files(bytes: &[u8]) -> Verdict {
    let files = read(bytes);
    let before = files.borrow().clone();
    let opened = open(&files);
    for (name, file) in before.iter().filter(|(name, _)| name.ends_with(".cms")) {
        let now = files.borrow().get(name).map(|now| now.bytes.clone());
        assert_eq!(now.as_ref(), Some(&file.bytes), "opening cost a bundle");
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
        Ok(queued) => assert_eq!(queued.size_bytes, SEALED.len() as u64),
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
        files.insert(
            name.trim_end_matches(FITTING).to_owned(),
            File {
                bytes: content.to_vec(),
                record: (!record.is_empty()).then(|| checked(record, content, fitting)),
            },
        );
        rest = after;
    }
    Rc::new(RefCell::new(files))
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
    if record.len() == RECORD_BYTES {
        if fitting {
            record[16..24].copy_from_slice(&(content.len() as u64).to_le_bytes());
            record[24..CHECK_AT].copy_from_slice(&digest(content));
        }
        let check = digest(&record[..CHECK_AT]);
        record[CHECK_AT..].copy_from_slice(&check[..RECORD_BYTES - CHECK_AT]);
    }
    record
}

/// The files of a new queue after bundles were appended, as an input.
pub fn after_appending(bundles: &[&[u8]]) -> Vec<u8> {
    let files = Files::default();
    let mut spool = open(&files).expect("a new queue");
    for (sequence, sealed) in (1..).zip(bundles) {
        spool
            .append(sequence, digest(sealed), sealed)
            .expect("a bundle");
    }
    let mut input = Vec::new();
    for (name, File { bytes, record }) in files.borrow().iter() {
        let record = record.as_deref().unwrap_or_default();
        input.extend(format!("{name}{FITTING}\n{}\n{}\n", bytes.len(), record.len()).as_bytes());
        input.extend(bytes);
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
    fn with<T>(&self, name: &str, change: impl FnOnce(&mut File) -> T) -> io::Result<T> {
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
            visit(name, file.bytes.len() as u64);
        }
        Ok(())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(name, |file| {
            let rest = file.bytes.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            length
        })
    }

    fn record(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.with(name, |file| file.record.clone())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.0.borrow_mut().entry(name.to_owned()).or_default();
        Ok(())
    }

    fn write(&mut self, name: &str, bytes: &[u8], record: &[u8; RECORD_BYTES]) -> io::Result<()> {
        self.with(name, |file| {
            file.bytes = bytes.to_vec();
            file.record = Some(record.to_vec());
        })
    }

    fn truncate(&mut self, name: &str, size_bytes: u64) -> io::Result<()> {
        self.with(name, |file| file.bytes.truncate(size_bytes as usize))
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
