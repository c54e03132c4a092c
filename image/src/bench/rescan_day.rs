//! `rescan-day`: the walk that finds, takes and seals a day's changes, beside the walk that finds none.

use std::error::Error;

use super::finding::{Ground, size, walls};
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;
use crate::step;

const FILES: u64 = 2_000_000;
/// Runs that count, after one that does not; each takes minutes.
const RUNS: usize = 3;
/// Files a day of a hospital with 2 000 000 files.
const CHANGES: u64 = 20_000;

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let files = size(FILES)?;
    let changes = CHANGES * files / FILES;
    let ground = Ground::new(cache, "rescan-day")?;
    let [store, state] = ground.collected(files)?;
    let (mut ours, mut still) = (Vec::new(), Vec::new());
    for run in 0..=RUNS as u64 {
        step::say("bench", &format!("run {run} of {RUNS}"));
        let unchanged = ground.scan(&store, &state, &[])?.0;
        // an update touches two files, a deletion too
        ground.change(&store, 100 + run, changes / 2, changes / 5, changes / 20)?;
        let (day, status) = ground.scan(&store, &state, &[])?;
        if status["sealed"] == 0 {
            return Err("the day's changes were not found".into());
        }
        // back to rest, unmeasured
        ground.rest(&store)?;
        ground.scan(&store, &state, &["--walks", "2"])?;
        if run > 0 {
            ours.push(day);
            still.push(unchanged);
        }
    }
    let ratio: Vec<f64> = ours
        .iter()
        .zip(&still)
        .map(|(day, still)| day.wall_seconds / still.wall_seconds)
        .collect();
    let figure = Figure {
        name: "times the walk without changes",
        aim: Some(Aim::AtMost(1.5)),
        better: Better::Smaller,
        ours: Side {
            unit: "x",
            samples: ratio,
            command: format!("walk that finds and seals {changes} changes / walk that finds none"),
        },
        peer: None,
        notes: vec![format!(
            "{files} files; with changes {:?} s, without {:?} s",
            walls(&ours),
            walls(&still)
        )],
    };
    Ok(Comparison {
        name: "rescan-day",
        limit: "limit: the changes are read twice listed, read, sealed and made durable; the quiet time is none".to_owned(),
        figures: vec![figure],
    })
}
