//! `seal-limit`: all of sealing against its longest step alone: zstd at the same level, on all cores, over the same bytes.

use std::error::Error;
use std::ffi::OsStr;

use super::native::in_turns;
use super::store::{Bench, RUNS, Steps, bytes_in, count, empty, times};
use super::store_large::{self, make};
use super::{Aim, Comparison, Side};
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

const ALONE_NAME: &str = "zstd -1 on all cores over one tar of the same files; sync";

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
    let sizes = (bytes_in(&sealed)?, bytes_in(&alone)?);
    let both = (&ours[..], &peer[..]);
    let mut time = times("time", Some(Aim::Ratio(AIM)), both, ALONE_NAME, |taken| {
        taken.wall_seconds
    });
    let processor = times("processor time", None, both, ALONE_NAME, |taken| {
        taken.processor_seconds
    });
    let zstd = processor.peer.as_ref().map_or(f64::NAN, Side::median);
    let steps = Steps::of_large(&bench, zstd, BYTES, sizes.0)?;
    time.notes = vec![
        format!("{files} files, {BYTES} bytes; {}", store_large::MIX),
        format!("written: ours {} bytes, zstd {} bytes", sizes.0, sizes.1),
        steps.beside(processor.ours.median()),
    ];
    Ok(Comparison {
        name: "seal-limit",
        limit: format!(
            "zstd is {:.2} of what sealing must do; the rest is three SHA-256 (content, whole file, sealed bundle) and \
             AES-256-GCM. That is the ratio which these steps one after the other would reach on the same cores; more is \
             possible only because the first two digests are computed together, and because zstd alone ends by waiting \
             for the disk.",
            zstd / steps.sum()
        ),
        figures: vec![time, processor],
    })
}
