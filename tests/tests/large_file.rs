//! Files of any size travel in parts, and the memory of both ends does not depend on their size.
//!
//! `collector seal` and `datacentre open` run as processes of their own: this test's program started again, which tells
//! the kernel's account of its largest resident memory. 300 MiB by default; 3 GiB, the largest file known in the field,
//! with `COLLECTOR_TEST_LENGTH=full`.

use bundle::{Digest, Hasher};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

/// Largest resident memory of either end, in KiB: the figure that `cargo xtask bench seal-large` holds too.
const RESIDENT_LIMIT_KIB: u64 = 256 << 10;

/// What the program started again is to do: `seal` or `open`, and its command line.
const WORK: &str = "LARGE_FILE_WORK";
/// Where it tells its memory.
const ACCOUNT: &str = "LARGE_FILE_ACCOUNT";

const BLOCK: usize = 1 << 20;

fn size() -> u64 {
    match std::env::var("COLLECTOR_TEST_LENGTH").as_deref() {
        Ok("full") => 3 << 30,
        _ => 300 << 20,
    }
}

/// Noise that zstd cannot compress, each block another.
fn write_noise(path: &Path, size: u64) -> Digest {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut block: Vec<u8> = (0..BLOCK / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    let mut hasher = Hasher::default();
    let mut file = File::create(path).unwrap();
    let mut left = size as usize;
    for number in 0u64.. {
        block[..8].copy_from_slice(&number.to_le_bytes());
        let part = &block[..left.min(BLOCK)];
        hasher.update(part);
        file.write_all(part).unwrap();
        left -= part.len();
        if left == 0 {
            break;
        }
    }
    hasher.finish()
}

fn digest_of(path: &Path) -> Digest {
    let mut file = File::open(path).unwrap();
    let mut block = vec![0; BLOCK];
    let mut hasher = Hasher::default();
    loop {
        match file.read(&mut block).unwrap() {
            0 => return hasher.finish(),
            length => hasher.update(&block[..length]),
        }
    }
}

/// Does the work when this program was started again for it.
fn work_as_told() {
    let Ok(work) = std::env::var(WORK) else {
        return;
    };
    let mut words = work.split('\n').map(OsString::from);
    let status = match words.next().unwrap().to_str() {
        Some("seal") => collector::seal::main(words),
        _ => datacentre::open::main(words),
    };
    assert_eq!(status, ExitCode::SUCCESS);
    fs::copy("/proc/self/status", std::env::var_os(ACCOUNT).unwrap()).unwrap();
}

/// Runs a command in a process of its own; its largest resident memory in KiB.
fn resident_kib(folder: &Path, words: &[&str]) -> u64 {
    let account = folder.join(words[0]);
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env(WORK, words.join("\n"))
        .env(ACCOUNT, &account)
        .status()
        .unwrap();
    assert!(status.success(), "{} failed", words[0]);
    let status = fs::read_to_string(account).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

const NAME: &str = "a_large_file_is_restored_whole_within_bounded_memory";

#[test]
fn a_large_file_is_restored_whole_within_bounded_memory() {
    if std::env::var_os(WORK).is_some() {
        return work_as_told();
    }
    // given a large file, and another for the second thread
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let options = datacentre::ca::Options {
        recipient_bits: datacentre::ca::RecipientBits::B2048,
        ..Default::default()
    };
    let path = |below: &str| folder.path().join(below);
    let text = |below: &str| path(below).to_str().unwrap().to_owned();
    datacentre::ca::make(&path("pki"), &options, now).unwrap();
    fs::create_dir(path("store")).unwrap();
    let large = write_noise(&path("store/large"), size());
    let other = write_noise(&path("store/other"), 70 << 20);

    // when they are sealed and opened
    let sealing = resident_kib(
        folder.path(),
        &[
            "seal",
            "--recipient",
            &text("pki/recipient.pem"),
            "--signer-cert",
            &text("pki/sealing-box.pem"),
            "--signer-key",
            &text("pki/sealing-box.key"),
            "--box",
            "box-1",
            "--out",
            &text("sealed"),
            &text("store"),
        ],
    );
    fs::remove_dir_all(path("store")).unwrap();
    let opening = resident_kib(
        folder.path(),
        &[
            "open",
            "--cert",
            &text("pki/recipient.pem"),
            "--key",
            &text("pki/recipient.key"),
            "--trust",
            &text("pki/sealing-ca.pem"),
            "--in",
            &text("sealed"),
            "--out",
            &text("restored"),
        ],
    );

    // then they are there, byte for byte, and neither end held them in memory
    assert!(digest_of(&path("restored/box-1/store/large")) == large);
    assert!(digest_of(&path("restored/box-1/store/other")) == other);
    assert!(fs::read_dir(path("sealed")).unwrap().count() as u64 >= size() / (32 << 20));
    eprintln!("resident: sealing {sealing} KiB, opening {opening} KiB");
    assert!(sealing <= RESIDENT_LIMIT_KIB, "sealing took {sealing} KiB");
    assert!(opening <= RESIDENT_LIMIT_KIB, "opening took {opening} KiB");
}
