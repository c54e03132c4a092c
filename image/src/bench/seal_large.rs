//! `seal-large`: documents and images, where bytes and not system calls are what the time goes into; and memory.

use std::error::Error;
use std::ffi::OsStr;

use super::native::in_turns;
use super::store::{self, Bench, RUNS, STOCK_SEAL_NAME, Steps, bytes_in, count, each, times};
use super::store_large::{BYTES, make};
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;

const AIM: f64 = 1.5;
const RESIDENT_AIM_MIB: f64 = 256.0;

/// Reading and compressing, and nothing else.
const COMPRESS: &str = r#"
set -e -o pipefail
"$PEERS/tar" -cf - -C "$STORE" . | "$PEERS/zstd" -q -1 -T"$CORES" -c > /dev/null
"#;

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let bench = Bench::new(cache, "seal-large")?;
    let store = bench.join("store");
    make(&store, BYTES)?;
    let (files, _) = count(&store)?;
    let (sealed, stock) = (bench.join("sealed"), bench.join("stock"));
    let (ours, peer) = in_turns(
        RUNS,
        || bench.seal(&store, &sealed),
        || bench.stock_seal(&store, &stock, files),
    )?;
    let sizes = (bytes_in(&sealed)?, bytes_in(&stock)?);
    let restored = bench.join("restored");
    bench.open(&sealed, &restored)?;
    bench.check_same(&store, &restored.join("box-1/store"))?;
    bench.stock_open(&stock, &restored)?;
    bench.check_same(&store, &restored)?;

    let variables: [(&str, &OsStr); 1] = [("STORE", store.as_ref())];
    let compress = bench.script("compress", COMPRESS, &variables)?;
    let steps = Steps::of_large(&bench, compress.processor_seconds, BYTES, sizes.0)?;

    let both = (&ours[..], &peer[..]);
    let mut time = times(
        "time",
        Some(Aim::Ratio(AIM)),
        both,
        STOCK_SEAL_NAME,
        |taken| taken.wall_seconds,
    );
    let processor = times("processor time", None, both, STOCK_SEAL_NAME, |taken| {
        taken.processor_seconds
    });
    let (wall, cores) = (time.ours.median(), store::cores() as f64);
    let busy = processor.ours.median() / wall / cores;
    time.notes = vec![
        format!(
            "{files} files of 1 to 200 MB, {BYTES} bytes; {}",
            super::store_large::MIX
        ),
        format!("sealed: ours {} bytes, stock {} bytes", sizes.0, sizes.1),
        "both results were opened and compared with the store".to_owned(),
        steps.beside(processor.ours.median()),
        format!("ours keeps {cores} cores {:.0} % busy", busy * 100.0),
    ];
    let side = |taken, command: &str| Side {
        unit: "MiB",
        samples: each(taken, |taken| taken.resident_mib),
        command: command.to_owned(),
    };
    let resident = Figure {
        name: "resident memory",
        aim: Some(Aim::AtMost(RESIDENT_AIM_MIB)),
        better: Better::Smaller,
        ours: side(&ours, "collector seal"),
        peer: Some(side(&peer, "the largest of the stock processes")),
        notes: Vec::new(),
    };
    Ok(Comparison {
        name: "seal-large",
        limit: format!(
            "The cores: reading and compressing, three SHA-256 (content, whole file, sealed bundle; the stock way computes one) and \
             AES-256-GCM take {:.2} s of processor time alone, {:.2} s on {cores} cores, to which the least wall time adds writing \
             {} MiB into the page cache. Ours takes {:.2} times that.",
            steps.sum(),
            steps.sum() / cores,
            sizes.0 >> 20,
            wall * cores / steps.sum(),
        ),
        figures: vec![time, processor, resident],
    })
}
