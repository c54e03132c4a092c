//! `first-scan`: from an empty catalogue until all is sealed, beside stock tools; and once with the mains cut on the way.

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::finding::{Ground, RUNS, size, walls};
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;
use crate::step;

const FILES: u64 = 2_000_000;

/// The stock way of `seal-small`: digests on all cores, a signed list, one pipe cut into pieces that are sealed alone.
const STOCK: &str = r#"
rm -rf "$OUT"; mkdir "$OUT"; cd "$STORE"
"$PEERS/find" . -type f -print0 > "$OUT/list"
"$PEERS/xargs" -0 -n 12500 -s 2000000 -P "$(nproc)" sh -c '"$PEERS/sha256sum" "$@" > "$OUT/digests.$$"' sh < "$OUT/list"
cat "$OUT"/digests.* > "$OUT/manifest"
"$PEERS/openssl" cms -sign -binary -noattr -md sha256 -outform DER -signer "$KEYS/sealing-box.pem" \
    -inkey "$KEYS/sealing-box.key" -in "$OUT/manifest" -out "$OUT/manifest.p7s"
SHELL=/bin/bash "$PEERS/tar" -cf - -C "$OUT" manifest manifest.p7s -C "$STORE" --null --no-recursion --verbatim-files-from -T "$OUT/list" |
    SHELL=/bin/bash "$PEERS/split" -b 64M --filter='set -e -o pipefail; "$PEERS/zstd" -q -1 -T0 -c |
        "$PEERS/openssl" cms -encrypt -binary -stream -aes-256-gcm -outform DER -recip "$KEYS/recipient.pem" \
        -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256 -out "$FILE.cms"' - "$OUT/bundle-"
sync "$OUT"/*.cms "$OUT"
"#;

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let files = size(FILES)?;
    let ground = Ground::new(cache, "first-scan")?;
    let store = ground.store(files)?;
    let (state, out) = (ground.join("state"), ground.join("stock"));
    let variables = [("STORE", store.as_os_str()), ("OUT", out.as_os_str())];
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        step::say("bench", &format!("run {run} of {RUNS}"));
        clear(&state)?;
        let (taken, status) = ground.scan(&store, &state, &[])?;
        let known = status["files"].as_u64().unwrap_or_default();
        if known + 64 < files {
            return Err(format!("{known} of {files} files were collected").into());
        }
        let stock = ground.script("stock", STOCK, &variables)?;
        if run > 0 {
            ours.push(taken);
            theirs.push(stock);
        }
    }
    let whole = ours[0].wall_seconds;
    let restarted = restarted(&ground, &store, &state, whole, files)?;
    let figure = Figure {
        name: "time until all is sealed",
        aim: Some(Aim::Ratio(1.0)),
        better: Better::Smaller,
        ours: Side {
            unit: "s",
            samples: walls(&ours),
            command: "first walk".to_owned(),
        },
        peer: Some(Side {
            unit: "s",
            samples: walls(&theirs),
            command: "find | sha256sum (all cores); cms -sign; tar | zstd -1 -T0 | openssl cms, cut at 64 MiB; sync".to_owned(),
        }),
        notes: vec![
            format!("{files} files; at most {:.0} MiB resident", ours.iter().map(|taken| taken.resident_mib).fold(0.0, f64::max)),
            restarted,
        ],
    };
    Ok(Comparison {
        name: "first-scan",
        limit: "ours looks at each file twice, stops half-written ones, and knows afterwards what it has sent; stock tools do neither".to_owned(),
        figures: vec![figure],
    })
}

fn clear(state: &std::path::Path) -> Result<(), Box<dyn Error>> {
    if state.exists() {
        std::fs::remove_dir_all(state)?;
    }
    Ok(())
}

/// Kills the walk at a third and at two thirds of its time, and lets it go on.
fn restarted(
    ground: &Ground,
    store: &std::path::Path,
    state: &std::path::Path,
    whole: f64,
    files: u64,
) -> Result<String, Box<dyn Error>> {
    clear(state)?;
    for _ in 0..2 {
        let mut walk = Command::new(ground.program("examples/scan"))
            .args([store, state, &ground.join("keys")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_secs_f64(whole / 3.0));
        walk.kill()?;
        walk.wait()?;
    }
    let (taken, status) = ground.scan(store, state, &["--walks", "2"])?;
    let known = status["files"].as_u64().unwrap_or_default();
    if known + 64 < files {
        return Err(format!("after two kills {known} of {files} files were collected").into());
    }
    Ok(format!(
        "killed twice on the way: the rest, and a walk over all, took {:.2} s; {known} files known, none missing",
        taken.wall_seconds
    ))
}
