//! `seal-small`: the first collection of a store of small files, where system calls are what the time goes into.

use std::error::Error;
use std::ffi::OsStr;

use super::native::in_turns;
use super::store::{Bench, RUNS, STOCK_SEAL_NAME, bytes_in, count, times};
use super::{Aim, Comparison};
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
    time.notes = vec![
        format!(
            "{files} files in {folders} folders; both results were opened and compared with the store"
        ),
        format!(
            "`find` and `cat` of all files, without any other work: {:.2} s wall, {:.2} s of processor time",
            walk.wall_seconds, walk.processor_seconds
        ),
        format!(
            "sealed: ours {} bytes, stock {} bytes",
            bytes_in(&sealed)?,
            bytes_in(&stock)?
        ),
    ];
    Ok(Comparison {
        name: "seal-small",
        limit: format!(
            "limit: the kernel's work of listing, opening, looking at, reading and closing all files. `find` and `cat` alone, which do nothing \
             else, take {:.2} times as long as ours with all its work.",
            walk.wall_seconds / time.ours.median(),
        ),
        figures: vec![time, processor],
    })
}
