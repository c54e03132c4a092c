//! A long time without a line: opening, listing, scrubbing and draining a backlog stay linear, and memory stays small.
//! The usual length is 20 000 bundles. With `COLLECTOR_TEST_LENGTH=full` also 1 000 000, in a folder in memory; the
//! figures are on stderr.

mod story;

use spool::simulated::Simulated;
use spool::{Disk, Folder, Progress, Scrub, Spool, digest};
use std::path::Path;
use std::time::Instant;
use story::{BOX, proof};

/// What the process may hold in memory for each waiting bundle: number and size in a tree.
const BYTES_A_BUNDLE: u64 = 40;

/// What it may hold whatever the backlog: pages of the allocator, buffers, the directory's listing.
const BYTES_AT_REST: u64 = 4 << 20;

fn bytes_of(sequence: u64) -> [u8; 8] {
    sequence.to_le_bytes()
}

fn fill(spool: &mut Spool<impl Disk>, count: u64) {
    for sequence in 1..=count {
        let bytes = bytes_of(sequence);
        spool.append(sequence, digest(&bytes), &bytes).unwrap();
    }
}

fn drain(spool: &mut Spool<impl Disk>, numbers: impl Iterator<Item = u64>) {
    for sequence in numbers {
        spool.erase(&proof(sequence, &bytes_of(sequence))).unwrap();
        spool.release(sequence);
    }
}

fn scrub(spool: &Spool<impl Disk>) {
    let mut scrub = Scrub::default();
    loop {
        match scrub.step(spool, 64 << 20).unwrap() {
            Progress::Going => {}
            Progress::Damaged(damage) => panic!("{damage:?}"),
            Progress::PassEnded => return,
        }
    }
}

/// Steps and reads of the disk for each hundred bundles, over the whole life of a backlog.
fn calls_a_hundred(count: u64) -> (u64, u64) {
    let disk = Simulated::new();
    let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
    fill(&mut spool, count);
    drop(spool);
    let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
    assert_eq!(spool.queued().len() as u64, count);
    scrub(&spool);
    drain(&mut spool, 1..=count);
    assert_eq!(spool.queued_bytes(), 0);
    (disk.steps() * 100 / count, disk.reads() * 100 / count)
}

#[test]
fn calls_to_the_disk_for_each_bundle_do_not_grow_with_the_backlog() {
    let (small, large) = (calls_a_hundred(2_000), calls_a_hundred(20_000));
    // a slot, write, sync, rename; note, sync, rename, removal; and a sixteenth of a sync of names and half of one
    assert!(small.0 <= 870 && small.1 <= 620, "{small:?}");
    assert!(
        large.0 <= small.0 * 21 / 20 && large.1 <= small.1 * 21 / 20,
        "{small:?}, {large:?}"
    );
}

fn memory_bytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

fn live_through(count: u64) {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let open = |path: &Path| Spool::open(Folder::open(path).unwrap(), BOX, 0).unwrap();
    let mut spool = open(folder.path());
    let begin = Instant::now();
    fill(&mut spool, count);
    let filled = begin.elapsed();
    drop(spool);
    let before = memory_bytes("VmRSS:");
    let begin = Instant::now();
    let mut spool = open(folder.path());
    let opened = begin.elapsed();
    assert_eq!(spool.queued().len() as u64, count);
    let held = memory_bytes("VmRSS:").saturating_sub(before);
    assert!(
        held <= count * BYTES_A_BUNDLE + BYTES_AT_REST,
        "{held} bytes for {count} bundles"
    );
    let begin = Instant::now();
    scrub(&spool);
    let scrubbed = begin.elapsed();
    let begin = Instant::now();
    drain(&mut spool, 1..=count);
    let drained = begin.elapsed();
    assert_eq!(spool.queued().len(), 0);
    eprintln!(
        "{count} bundles: filled in {filled:?}, opened in {opened:?}, scrubbed in {scrubbed:?}, drained in {drained:?}, \
         {held} bytes held, {} at most in this process",
        memory_bytes("VmHWM:")
    );
}

#[test]
fn memory_for_each_waiting_bundle_is_bounded() {
    live_through(10_000);
    live_through(20_000);
    if std::env::var_os("COLLECTOR_TEST_LENGTH").is_some_and(|length| length == "full") {
        live_through(100_000);
        live_through(1_000_000);
    }
}
