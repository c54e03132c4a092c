//! Durable commits a second, ours and SQLite's in turns: `commits FOLDER COMMITS RUNS`, for the benchmark `spool`.
//!
//! A commit is one bundle appended, or one erased, that survives a mains cut when the call returns. Both sides get the same
//! bytes, keep size and digest beside them, and are read back. SQLite as an expert would set it: write-ahead log,
//! `synchronous=FULL`, 64 KiB pages where bundles are large, prepared statements, its own checkpoints, one transaction
//! a commit. One run that is not counted warms both; then they take turns. `flush` is the disk's own limit: 4 KiB
//! written over in place, and synced.
//!
//! Prints `SIDE ACT BYTES RATE` a line.

use rusqlite::{Connection, params};
use spool::{Acknowledgement, Digest, Folder, Spool, digest};
use std::error::Error;
use std::fs::{File, create_dir_all};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

const SIZES: [usize; 2] = [64 << 10, 1 << 20];

struct Proof<'a> {
    name: String,
    bytes: &'a [u8],
    sha256: Digest,
}

impl Acknowledgement for Proof<'_> {
    fn bundle(&self) -> &str {
        &self.name
    }
    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
    fn sha256(&self) -> Digest {
        self.sha256
    }
}

/// Rates of appending and of erasing.
type Rates = (f64, f64);

trait Side {
    fn append(&mut self, number: u64, bytes: &[u8]) -> Result<(), Box<dyn Error>>;
    fn erase(&mut self, number: u64, bytes: &[u8]) -> Result<(), Box<dyn Error>>;
    fn read(&self, number: u64) -> Result<Vec<u8>, Box<dyn Error>>;
    fn waiting(&self) -> Result<u64, Box<dyn Error>>;
}

struct Ours<'a> {
    folder: &'a Path,
    spool: Spool<Folder>,
}

impl Side for Ours<'_> {
    fn append(&mut self, number: u64, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        self.spool.append(number, digest(bytes), bytes)?;
        Ok(())
    }

    fn erase(&mut self, number: u64, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let name = spool::bundle_name("box", number);
        let sha256 = digest(bytes);
        self.spool.erase(&Proof {
            name,
            bytes,
            sha256,
        })?;
        self.spool.release(number);
        Ok(())
    }

    fn read(&self, number: u64) -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(std::fs::read(
            self.folder.join(spool::bundle_name("box", number)),
        )?)
    }

    fn waiting(&self) -> Result<u64, Box<dyn Error>> {
        Ok(self.spool.queued().len() as u64)
    }
}

struct Peer(Connection);

impl Peer {
    fn open(path: &Path, size: usize) -> Result<Self, Box<dyn Error>> {
        let connection = Connection::open(path)?;
        if size >= 1 << 20 {
            connection.pragma_update(None, "page_size", 65536)?;
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE bundle(number INTEGER PRIMARY KEY, size INTEGER NOT NULL, sha256 BLOB NOT NULL, bytes BLOB NOT NULL)",
        )?;
        Ok(Self(connection))
    }
}

impl Side for Peer {
    fn append(&mut self, number: u64, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        self.0
            .prepare_cached("INSERT INTO bundle VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                number as i64,
                bytes.len() as i64,
                digest(bytes),
                bytes
            ])?;
        Ok(())
    }

    fn erase(&mut self, number: u64, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let erased = self
            .0
            .prepare_cached("DELETE FROM bundle WHERE number = ?1 AND size = ?2 AND sha256 = ?3")?
            .execute(params![number as i64, bytes.len() as i64, digest(bytes)])?;
        if erased == 1 {
            Ok(())
        } else {
            Err("nothing was erased".into())
        }
    }

    fn read(&self, number: u64) -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(self
            .0
            .prepare_cached("SELECT bytes FROM bundle WHERE number = ?1")?
            .query_row([number as i64], |row| row.get(0))?)
    }

    fn waiting(&self) -> Result<u64, Box<dyn Error>> {
        let count: i64 = self
            .0
            .query_row("SELECT count(*) FROM bundle", [], |row| row.get(0))?;
        Ok(count as u64)
    }
}

/// Bytes that do not compress and differ by number.
fn bundle(number: u64, size: usize) -> Vec<u8> {
    let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::from_fn(|| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        Some(word.to_le_bytes())
    });
    words.flatten().take(size).collect()
}

fn run(side: &mut impl Side, first: u64, bundles: &[Vec<u8>]) -> Result<Rates, Box<dyn Error>> {
    let begin = Instant::now();
    for (number, bytes) in (first..).zip(bundles) {
        side.append(number, bytes)?;
    }
    let appended = begin.elapsed();
    for (number, bytes) in (first..).zip(bundles) {
        if side.read(number)? != *bytes {
            return Err(format!("bundle {number} was read back with other bytes").into());
        }
    }
    let begin = Instant::now();
    for (number, bytes) in (first..).zip(bundles) {
        side.erase(number, bytes)?;
    }
    let erased = begin.elapsed();
    if side.waiting()? != 0 {
        return Err("something waits that was erased".into());
    }
    let rate = |time: std::time::Duration| bundles.len() as f64 / time.as_secs_f64();
    Ok((rate(appended), rate(erased)))
}

fn flushes(path: &Path, count: usize) -> Result<f64, Box<dyn Error>> {
    let file = File::create(path)?;
    file.write_all_at(&[0; 4096], 0)?;
    file.sync_all()?;
    let begin = Instant::now();
    for round in 0..count {
        file.write_all_at(&[round as u8; 4096], 0)?;
        file.sync_data()?;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, commits, runs] = arguments.as_slice() else {
        return Err("usage: commits FOLDER COMMITS RUNS".into());
    };
    let (commits, runs): (usize, u64) = (commits.parse()?, runs.parse()?);
    for size in SIZES {
        let place = Path::new(folder).join(size.to_string());
        let queue = place.join("spool");
        create_dir_all(&queue)?;
        let mut ours = Ours {
            folder: &queue,
            spool: Spool::open(Folder::open(&queue)?, "box", 0)?,
        };
        let mut peer = Peer::open(&place.join("peer.sqlite"), size)?;
        for round in 0..=runs {
            let first = round * commits as u64 + 1;
            let bundles: Vec<_> = (first..)
                .take(commits)
                .map(|number| bundle(number, size))
                .collect();
            let sides = [
                ("ours", run(&mut ours, first, &bundles)?),
                ("peer", run(&mut peer, first, &bundles)?),
            ];
            let flush = flushes(&place.join("flush"), commits)?;
            if round == 0 {
                continue;
            }
            for (side, (append, erase)) in sides {
                println!("{side} append {size} {append:.2}");
                println!("{side} erase {size} {erase:.2}");
            }
            println!("disk flush {size} {flush:.2}");
        }
    }
    Ok(())
}
