//! `open`: what `seal-small` sealed is opened, verified and restored.

use std::error::Error;

use super::native::in_turns;
use super::store::{Bench, RUNS, STOCK_OPEN_NAME, count, each};
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;

const FILES: u64 = 100_000;
const AIM: f64 = 2.0;

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let bench = Bench::new(cache, "open")?;
    let store = bench.hospital(FILES)?;
    let (sealed, stock) = (bench.join("sealed"), bench.join("stock"));
    bench.seal(&store, &sealed)?;
    bench.stock_seal(&store, &stock, FILES)?;
    // each run has a folder of its own, kept to the end: just after many inodes were deleted ext4 searches long for free
    // ones, which made both sides three times slower than in a new folder
    let (mut run, mut stock_run) = (0, 0);
    let restored = |run| bench.join(&format!("restored-{run}"));
    let stock_restored = |run| bench.join(&format!("stock-restored-{run}"));
    let (ours, peer) = in_turns(
        RUNS,
        || {
            run += 1;
            bench.open(&sealed, &restored(run))
        },
        || {
            stock_run += 1;
            bench.stock_open(&stock, &stock_restored(stock_run))
        },
    )?;
    bench.check_same(&store, &restored(run).join("box-1/store"))?;
    bench.check_same(&store, &stock_restored(stock_run))?;
    let (files, folders) = count(&store)?;
    let side = |samples, command: &str| Side {
        unit: "s",
        samples,
        command: command.to_owned(),
    };
    let time = Figure {
        name: "time",
        aim: Some(Aim::Ratio(AIM)),
        better: Better::Smaller,
        ours: side(each(&ours, |taken| taken.wall_seconds), "datacentre open"),
        peer: Some(side(
            each(&peer, |taken| taken.wall_seconds),
            STOCK_OPEN_NAME,
        )),
        notes: vec![
            format!("{files} files in {folders} folders; both results were compared with the store"),
            "ours verifies before it writes, survives a cut at any instant and applies each bundle once; the stock way does not"
                .to_owned(),
        ],
    };
    let processor = Figure {
        name: "processor time",
        aim: None,
        better: Better::Smaller,
        ours: side(
            each(&ours, |taken| taken.processor_seconds),
            "datacentre open",
        ),
        peer: Some(side(
            each(&peer, |taken| taken.processor_seconds),
            STOCK_OPEN_NAME,
        )),
        notes: Vec::new(),
    };
    Ok(Comparison {
        name: "open",
        limit: "Bounded by the file system: making 100 000 files and their folders, and making them durable; both sides do that."
            .to_owned(),
        figures: vec![time, processor],
    })
}
