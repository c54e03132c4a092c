//! Given a hospital that goes on writing; when the mains are cut again and again, each time before a write to the disk
//! that a seed chose, and what was not flushed is kept, torn or lost by the same seed; then the box comes back by itself
//! each time, and in the end every file has arrived once.
//!
//! Instants are counted in writes to the disk, not in seconds: that is where a cut can do harm, and the same seed makes
//! the same cut again.

use super::{Depth, Outcome, must};
use crate::Inputs;
use crate::limits::{Limit, TUNNEL_COMES_UP};
use crate::nbd::Loss;
use crate::rig::{Lab, LabError, Setting};
use crate::seed::{self, Seeded, mix};
use std::time::Duration;

const FILES: u64 = 600;
const CHANGES: u64 = 25;
const CUTS_SHORT: u64 = 20;
const CUTS_FULL: u64 = 200;
/// Writes to the disk from the first power-on, with an empty disk and the whole store to collect, until all is quiet.
const WRITES_FIRST: u64 = 120;
/// The same from a later power-on, with a handful of new files.
const WRITES_LATER: u64 = 50;
/// When the box has come to rest before its fuse blew, the cut comes now.
const QUIET: Limit = Limit {
    name: "QUIET",
    duration: Duration::from_secs(25),
};

pub fn story(inputs: &Inputs, depth: Depth) -> Result<Outcome, LabError> {
    let seed = seed::given_or_new();
    println!("mains-cuts: seed {seed} (LAB_SEED={seed} repeats it)");
    let mut choices = Seeded::new(seed);
    let mut lab = Lab::start(inputs, "mains-cuts", &Setting::default())?;
    lab.hospital_opens_with(seed, FILES, 0)?;
    lab.datacentre_opens()?;
    let cuts = if depth == Depth::Full {
        CUTS_FULL
    } else {
        CUTS_SHORT
    };
    for cut in 1..=cuts {
        let write = choices.between(1, if cut == 1 { WRITES_FIRST } else { WRITES_LATER });
        let before = lab.collector.disk().writes();
        let blown = lab.collector.disk().set_fuse(write);
        lab.collector.power_on().map_err(LabError::Box)?;
        lab.hospital_writes(mix(seed) ^ cut, CHANGES)?;
        let place = match blown.recv_timeout(QUIET.duration) {
            Ok(()) => format!("before write {write}"),
            Err(_) => format!(
                "at rest, after {} writes",
                lab.collector.disk().writes() - before
            ),
        };
        let loss = Loss::Scattered {
            seed: choices.between(0, u64::MAX - 1),
        };
        let report = lab.collector.cut_mains(loss).map_err(LabError::Box)?;
        let (kept, torn, lost) = (report.kept, report.torn, report.lost);
        println!(
            "mains-cuts: cut {cut} of {cuts} {place}: {kept} unflushed writes kept, {torn} torn, {lost} lost"
        );
    }
    lab.box_boots()?;
    lab.wait_for(TUNNEL_COMES_UP, "tunnel-up")?;
    let comparison = lab.wait_until_restored()?;
    must(comparison.hospital >= FILES / 2, || {
        "the hospital has lost its own files".to_owned()
    })?;
    Ok(Outcome::Passed)
}
