//! `seal-large`: documents and images, where bytes and not system calls are what the time goes into; and memory.

use std::error::Error;

use super::native::in_turns;
use super::store::{Bench, RUNS, STOCK_SEAL_NAME, bytes_in, count, each};
use super::store_large::{BYTES, make};
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;

const AIM: f64 = 1.5;
const RESIDENT_AIM_MIB: f64 = 256.0;

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

    let side = |unit, samples, command: &str| Side {
        unit,
        samples,
        command: command.to_owned(),
    };
    let time = Figure {
        name: "time",
        aim: Some(Aim::Ratio(AIM)),
        better: Better::Smaller,
        ours: side(
            "s",
            each(&ours, |taken| taken.wall_seconds),
            "collector seal",
        ),
        peer: Some(side(
            "s",
            each(&peer, |taken| taken.wall_seconds),
            STOCK_SEAL_NAME,
        )),
        notes: vec![
            format!(
                "{files} files of 1 to 200 MB, {BYTES} bytes; {}",
                super::store_large::MIX
            ),
            format!("sealed: ours {} bytes, stock {} bytes", sizes.0, sizes.1),
            "both results were opened and compared with the store".to_owned(),
        ],
    };
    let processor = Figure {
        name: "processor time",
        aim: None,
        better: Better::Smaller,
        ours: side(
            "s",
            each(&ours, |taken| taken.processor_seconds),
            "collector seal",
        ),
        peer: Some(side(
            "s",
            each(&peer, |taken| taken.processor_seconds),
            STOCK_SEAL_NAME,
        )),
        notes: Vec::new(),
    };
    let resident = Figure {
        name: "resident memory",
        aim: Some(Aim::AtMost(RESIDENT_AIM_MIB)),
        better: Better::Smaller,
        ours: side(
            "MiB",
            each(&ours, |taken| taken.resident_mib),
            "collector seal",
        ),
        peer: Some(side(
            "MiB",
            each(&peer, |taken| taken.resident_mib),
            "the largest of the stock processes",
        )),
        notes: Vec::new(),
    };
    Ok(Comparison {
        name: "seal-large",
        limit: "Bounded by SHA-256: the format wants the digest of each part, of the whole file and of the sealed bundle, about \
                three times the bytes at the speed of one core's SHA instructions (the stock way: once); then by the disk."
            .to_owned(),
        figures: vec![time, processor, resident],
    })
}
