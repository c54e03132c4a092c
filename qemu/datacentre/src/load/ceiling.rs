//! What this machine can do at most, measured with the same number of writers and bytes: nothing that receives durably
//! is faster than the disk, and every byte is deciphered once and hashed once by somebody.

use super::{LoadError, Settings, fault};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::Instant;

const MIB: f64 = 1024.0 * 1024.0;
/// Bytes through digest and cipher: enough for the clock, short for whoever waits.
const WORK_BYTES: usize = 256 * 1024 * 1024;
/// A TLS record.
const RECORD_BYTES: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ceiling {
    /// As many files at a time as there are boxes, each written and synced.
    pub disk_mib_per_second: f64,
    /// On one core.
    pub sha256_mib_per_second: f64,
    /// On one core, in records of TLS, one direction.
    pub aes_mib_per_second: f64,
}

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at most here: disk {:.0} MiB/s written and synced; one core {:.0} MiB/s of SHA-256, {:.0} MiB/s of AES-256-GCM",
            self.disk_mib_per_second, self.sha256_mib_per_second, self.aes_mib_per_second
        )
    }
}

pub fn measure(settings: &Settings) -> Result<Ceiling, LoadError> {
    let folder = &settings.folder;
    fs::create_dir(folder).map_err(fault("create", folder))?;
    let disk = disk(settings);
    let removed = fs::remove_dir_all(folder).map_err(fault("remove", folder));
    let disk_mib_per_second = disk.map_err(fault("write in", folder))?;
    removed?;
    Ok(Ceiling {
        disk_mib_per_second,
        sha256_mib_per_second: sha256(),
        aes_mib_per_second: aes(),
    })
}

fn disk(settings: &Settings) -> io::Result<f64> {
    let bytes = vec![0x5a; settings.bytes];
    let begun = Instant::now();
    thread::scope(|scope| {
        let write = |number: usize| {
            for bundle in 0..settings.bundles {
                write_durably(&settings.folder.join(format!("{number}-{bundle}")), &bytes)?;
            }
            io::Result::Ok(())
        };
        let writers: Vec<_> = (0..settings.boxes)
            .map(|number| scope.spawn(move || write(number)))
            .collect();
        let ended = |_| io::Error::other("a writer ended");
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().map_err(ended)?)
    })?;
    let written = (settings.boxes * settings.bundles * settings.bytes) as f64;
    Ok(written / MIB / begun.elapsed().as_secs_f64())
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

fn rate(mut work: impl FnMut(&mut [u8])) -> f64 {
    let mut record = vec![0; RECORD_BYTES];
    let begun = Instant::now();
    for _ in 0..WORK_BYTES / RECORD_BYTES {
        work(&mut record);
    }
    WORK_BYTES as f64 / MIB / begun.elapsed().as_secs_f64()
}

fn sha256() -> f64 {
    let mut sum = 0;
    let rate = rate(|record| sum ^= digest(&SHA256, record).as_ref()[0]);
    std::hint::black_box(sum);
    rate
}

/// Not a number where the library has no such cipher.
fn aes() -> f64 {
    let Ok(key) = UnboundKey::new(&AES_256_GCM, &[7; 32]) else {
        return f64::NAN;
    };
    let key = LessSafeKey::new(key);
    rate(|record| {
        let nonce = Nonce::assume_unique_for_key([1; 12]);
        let sealed = key.seal_in_place_separate_tag(nonce, Aad::empty(), record);
        std::hint::black_box(sealed.is_ok());
    })
}
