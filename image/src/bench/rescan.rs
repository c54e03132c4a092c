//! `rescan`: walking a store of ten years in which nothing has changed.

use std::error::Error;

use super::finding::{Ground, size, walls};
use super::native::Taken;
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;
use crate::step;

const FILES: u64 = 2_000_000;
/// Runs of each side that count.
const RUNS: usize = 5;
const FIND: &str = r#""$PEERS/find" "$STORE" -type f > /dev/null"#;
const RSYNC: &str = r#""$PEERS/rsync" -an "$STORE/" "$COPY/" > /dev/null"#;
const RESTIC: &str = r#"export RESTIC_PASSWORD=none
"$PEERS/restic" -q --cache-dir "$CACHE" -r "$REPOSITORY" backup "$STORE" > /dev/null"#;
const RESTIC_INIT: &str = r#"export RESTIC_PASSWORD=none
"$PEERS/restic" -q --cache-dir "$CACHE" -r "$REPOSITORY" init"#;

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let files = size(FILES)?;
    let ground = Ground::new(cache, "rescan")?;
    let store = ground.kept_store(files)?;
    let [state, copy, repository, restic] =
        ["state", "copy", "repository", "restic"].map(|name| ground.join(name));
    ground.collect(&store, &state)?;
    let variables = [
        ("STORE", store.as_os_str()),
        ("COPY", copy.as_os_str()),
        ("REPOSITORY", repository.as_os_str()),
        ("CACHE", restic.as_os_str()),
    ];
    step::say(
        "bench",
        "makes the copy for rsync and the first backup of restic",
    );
    ground.script(
        "copy",
        r#""$PEERS/rsync" -a "$STORE/" "$COPY/""#,
        &variables,
    )?;
    ground.script("init", RESTIC_INIT, &variables)?;
    let peers = [
        ("find", FIND, 2.0),
        ("rsync", RSYNC, 4.0),
        ("restic", RESTIC, 8.0),
    ];
    // warm-up of all; restic's first run is its full backup
    for (name, script, _) in &peers {
        ground.script(name, script, &variables)?;
    }
    let (_, status) = ground.scan(&store, &state, &[])?;
    let sealed = status["sealed"].clone();
    let (mut ours, mut full) = (Vec::new(), Vec::new());
    let mut theirs: [Vec<Taken>; 3] = Default::default();
    for run in 1..=RUNS {
        step::say("bench", &format!("run {run} of {RUNS}"));
        for ((name, script, _), samples) in peers.iter().zip(&mut theirs) {
            let (taken, status) = ground.scan(&store, &state, &[])?;
            if status["sealed"] != 0 || status["sources"][0]["times"] != "trusted" {
                return Err(format!("a walk over an unchanged store was none: {status}").into());
            }
            ours.push(taken);
            samples.push(ground.script(name, script, &variables)?);
        }
        full.push(ground.scan(&store, &state, &["--list-everything"])?.0);
    }
    let mut cold = None;
    if ground.chill() {
        let ours = ground.scan(&store, &state, &[])?.0.wall_seconds;
        ground.chill();
        let find = ground.script("find", FIND, &variables)?.wall_seconds;
        cold = Some((ours, find));
    }
    let side = |samples: &[Taken], command: &str| Side {
        unit: "s",
        samples: walls(samples),
        command: command.to_owned(),
    };
    let resident = ours
        .iter()
        .map(|taken| taken.resident_mib)
        .fold(0.0, f64::max);
    let asked = status["sources"][0]["listed"].clone();
    let mut figures: Vec<Figure> = peers
        .iter()
        .zip(&theirs)
        .map(|((name, _, aim), samples)| Figure {
            name,
            aim: Some(Aim::Ratio(*aim)),
            better: Better::Smaller,
            ours: side(&ours, "walk"),
            peer: Some(side(samples, name)),
            notes: Vec::new(),
        })
        .collect();
    figures[0].notes.push(format!(
        "{files} files; at most {resident:.0} MiB resident; folders of standardized storage listed in a walk: {asked}; bundles sealed: {sealed}"
    ));
    if let Some((ours, find)) = cold {
        figures[0].notes.push(format!(
            "cold, one run each: walk {ours:.2} s, find {find:.2} s"
        ));
    }
    figures.push(Figure {
        name: "asking for every file",
        aim: None,
        better: Better::Smaller,
        ours: side(
            &full,
            "walk, as over a mount whose times lie, all files due",
        ),
        peer: Some(side(&theirs[1], "rsync")),
        notes: Vec::new(),
    });
    Ok(Comparison {
        name: "rescan",
        limit: "limit: one question for each folder's time; where times are trusted, a sixteenth of the parts is listed all the same, and a thirtieth of the files asked for".to_owned(),
        figures,
    })
}
