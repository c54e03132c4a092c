//! `seal-limit`: all of sealing against its longest step alone: zstd at the same level, on all cores, over the same bytes.

use std::error::Error;
use std::ffi::OsStr;

use super::native::in_turns;
use super::store::{Bench, RUNS, bytes_in, count, each, empty};
use super::store_large::{self, make};
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;

/// A quarter of `seal-large`: the archive lies on the disk beside the files.
const BYTES: u64 = 1 << 30;
const AIM: f64 = 0.8;

const ARCHIVE: &str = r#""$PEERS/tar" -cf "$ARCHIVE" -C "$STORE" ."#;

const COMPRESS: &str = r#"
set -e
"$PEERS/zstd" -q -1 -T"$CORES" "$ARCHIVE" -o "$OUT/archive.zst"
sync "$OUT/archive.zst"
"#;

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let bench = Bench::new(cache, "seal-limit")?;
    let store = bench.join("store");
    make(&store, BYTES)?;
    let archive = bench.join("archive.tar");
    let variables: [(&str, &OsStr); 2] = [("ARCHIVE", archive.as_ref()), ("STORE", store.as_ref())];
    bench.script("archive", ARCHIVE, &variables)?;
    let (sealed, alone) = (bench.join("sealed"), bench.join("alone"));
    let (ours, peer) = in_turns(
        RUNS,
        || bench.seal(&store, &sealed),
        || {
            empty(&alone)?;
            let variables: [(&str, &OsStr); 2] =
                [("ARCHIVE", archive.as_ref()), ("OUT", alone.as_ref())];
            bench.script("compress", COMPRESS, &variables)
        },
    )?;
    let (files, _) = count(&store)?;
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
            command: "zstd -1 on all cores over one tar of the same files; sync".to_owned(),
        }),
        notes: vec![
            format!("{files} files, {BYTES} bytes; {}", store_large::MIX),
            format!(
                "written: ours {} bytes, zstd {} bytes",
                bytes_in(&sealed)?,
                bytes_in(&alone)?
            ),
        ],
    };
    Ok(Comparison {
        name: "seal-limit",
        limit: "Sealing is compressing, and then three SHA-256 (part, whole file, bundle) and one AES-256-GCM over the bytes. What \
                zstd cannot compress it passes at 3 GB/s and core, SHA-256 at 1.8: so the more images, the farther from 1."
            .to_owned(),
        figures: vec![figure],
    })
}
