//! `first-scan`: from an empty catalogue until all is sealed, beside stock tools; and once with the mains cut on the way.

use std::error::Error;
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::finding::{Ground, size, walls};
use super::store::STOCK_SEAL_NAME;
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;
use crate::step;

const FILES: u64 = 2_000_000;
/// Each takes minutes, and most of them from the disk: there is nothing to warm up.
const RUNS: usize = 2;

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let files = size(FILES)?;
    let ground = Ground::new(cache, "first-scan")?;
    let store = ground.kept_store(files)?;
    let due = ground.due(&store)?;
    let (state, out) = (ground.join("state"), ground.join("stock"));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 1..=RUNS {
        step::say("bench", &format!("run {run} of {RUNS}"));
        clear(&state)?;
        let (taken, status) = ground.scan(&store, &state, &[])?;
        check(&status, &due)?;
        let stock = ground.stock_seal(&store, &out, files)?;
        ours.push(taken);
        theirs.push(stock);
    }
    let whole = ours[0].wall_seconds;
    let restarted = restarted(&ground, &store, &state, whole, &due)?;
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
            command: STOCK_SEAL_NAME.to_owned(),
        }),
        notes: vec![
            format!(
                "{files} files; at most {:.0} MiB resident",
                ours.iter()
                    .map(|taken| taken.resident_mib)
                    .fold(0.0, f64::max)
            ),
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

fn check(status: &Value, due: &RangeInclusive<u64>) -> Result<u64, Box<dyn Error>> {
    let known = status["files"]
        .as_u64()
        .ok_or("the walk counted no files")?;
    if !due.contains(&known) {
        return Err(format!("{known} files were collected, not {due:?}").into());
    }
    Ok(known)
}

/// Kills the walk at a third and at two thirds of its time, and lets it go on.
fn restarted(
    ground: &Ground,
    store: &std::path::Path,
    state: &std::path::Path,
    whole: f64,
    due: &RangeInclusive<u64>,
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
    let known = check(&status, due)?;
    Ok(format!(
        "killed twice on the way: the rest, and a walk over all, took {:.2} s; {known} files known, none missing",
        taken.wall_seconds
    ))
}
