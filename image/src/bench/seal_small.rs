//! `seal-small`: the first collection of a store of small files, where system calls are what the time goes into.

use std::error::Error;
use std::ffi::OsStr;

use super::native::in_turns;
use super::store::{Bench, RUNS, STOCK_SEAL_NAME, bytes_in, count, each};
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;

const FILES: u64 = 100_000;
const AIM: f64 = 3.0;

/// The least that any program must do: list every folder, and open, look at and read every file once.
const WALK: &str = r#"
cd "$STORE"
"$PEERS/find" . -type f -print0 | "$PEERS/xargs" -0 -n 12500 -s 2000000 -P "$CORES" cat > /dev/null
"#;

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let bench = Bench::new(cache, "seal-small")?;
    let store = bench.hospital(FILES)?;
    let (sealed, stock) = (bench.join("sealed"), bench.join("stock"));
    let (ours, peer) = in_turns(
        RUNS,
        || bench.seal(&store, &sealed),
        || bench.stock_seal(&store, &stock, FILES),
    )?;
    let variables: [(&str, &OsStr); 1] = [("STORE", store.as_ref())];
    let walk = bench.script("walk", WALK, &variables)?;
    let restored = bench.join("restored");
    bench.open(&sealed, &restored)?;
    bench.check_same(&store, &restored.join("box-1/store"))?;
    bench.stock_open(&stock, &restored)?;
    bench.check_same(&store, &restored)?;

    let (files, folders) = count(&store)?;
    let median = |taken: &[_], number: fn(&super::native::Taken) -> f64| {
        let side = Side {
            unit: "s",
            samples: each(taken, number),
            command: String::new(),
        };
        side.median()
    };
    let processor = median(&ours, |taken| taken.processor_seconds);
    let notes = vec![
        format!(
            "{files} files in {folders} folders; both results were opened and compared with the store"
        ),
        format!(
            "processor time: ours {processor:.2} s, stock {:.2} s; wall on all cores is at least ours by {}",
            median(&peer, |taken| taken.processor_seconds),
            super::store::cores(),
        ),
        format!(
            "limit: `find` and `cat` of all files, without any other work, {:.2} s wall, {:.2} s of processor time",
            walk.wall_seconds, walk.processor_seconds
        ),
        format!(
            "sealed: ours {} bytes, stock {} bytes",
            bytes_in(&sealed)?,
            bytes_in(&stock)?
        ),
    ];
    let figure = Figure {
        name: "time",
        aim: Some(Aim::Ratio(AIM)),
        better: Better::Smaller,
        ours: Side {
            unit: "s",
            samples: each(&ours, |taken| taken.wall_seconds),
            command: "collector seal".to_owned(),
        },
        peer: Some(Side {
            unit: "s",
            samples: each(&peer, |taken| taken.wall_seconds),
            command: STOCK_SEAL_NAME.to_owned(),
        }),
        notes,
    };
    Ok(Comparison {
        name: "seal-small",
        limit: "Bounded by the kernel: opening, looking at, reading and closing 100 000 files and listing their folders is \
                more than half of our processor time; the rest is SHA-256 and zstd at the speed of one core each."
            .to_owned(),
        figures: vec![figure],
    })
}
