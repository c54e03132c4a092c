//! `receive-load`: 200 boxes at once deliver to one `datacentre receive`; every receipt and every byte is checked.
//!
//! 1. Boxes, clients and receiver share this machine. A bundle's time begins with its first byte (the first of a box: with
//!    its TLS handshake) and ends with its verified receipt.
//! 2. The aims are what 200 boxes at one receiver need: a bundle of each within the time of one request of the sender, and
//!    a small machine's memory. A short form is the native test `receive_load` of `datacentre`.

use super::receive::Run;
use super::{Aim, Better, Comparison, Figure, Side, native};
use crate::cache::Cache;
use std::error::Error;

const RUNS: usize = 5;
const LOAD: &[&str] = &["--boxes", "200", "--bundles", "5", "--bytes", "1048576"];
/// Figure, pointer into the report, unit, most that it may be.
const FIGURES: &[(&str, &str, &str, Option<f64>)] = &[
    ("throughput", "/mib_per_second", "MiB/s", None),
    ("bundles", "/bundles_per_second", "1/s", None),
    ("a bundle durable, median", "/latency_ms/p50", "ms", None),
    ("95 %", "/latency_ms/p95", "ms", None),
    ("99 %", "/latency_ms/p99", "ms", None),
    // The sender waits a minute for an answer without a body.
    ("longest", "/latency_ms/max", "ms", Some(60_000.0)),
    ("memory", "/server_resident_mib", "MiB", Some(512.0)),
    ("descriptors", "/server_descriptors", "1", Some(1024.0)),
    ("processor time", "/server_processor_seconds", "s", None),
];

pub fn measure(_: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let program = native::release(&["-p", "datacentre", "--bins"])?.join("datacentre");
    let work = native::Workplace::new("receive-load")?;
    let options = [LOAD, &["--ceiling"]].concat();
    let runs = (0..RUNS)
        .map(|_| Run::new(&work, &program, &options))
        .collect::<Result<Vec<_>, _>>()?;
    let side = |pointer: &str, unit| Side {
        unit,
        samples: runs.iter().map(|run| run.number(pointer)).collect(),
        command: format!("datacentre load {}", options.join(" ")),
    };
    let disk = side("/ceiling/disk_mib_per_second", "MiB/s").median();
    let figures = FIGURES
        .iter()
        .map(|(name, pointer, unit, most)| Figure {
            name,
            aim: most.map(Aim::AtMost),
            better: match *unit {
                "MiB/s" => Better::Larger,
                _ if *name == "bundles" => Better::Larger,
                _ => Better::Smaller,
            },
            ours: side(pointer, unit),
            peer: None,
            notes: Vec::new(),
        })
        .collect();
    Ok(Comparison {
        name: "receive-load",
        limit: format!(
            "200 writers that only write and sync the same files: {disk:.0} MiB/s; a delivered bundle takes about eight \
             syncs (upload, announcement, bytes, name, receipt), which the file system joins between boxes"
        ),
        figures,
    })
}
