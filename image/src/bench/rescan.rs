//! `rescan`: walking a store of ten years in which nothing has changed.

use std::error::Error;

use serde_json::Value;

use super::finding::{Ground, size, walls};
use super::native::{self, Taken};
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;
use crate::step;

const FILES: u64 = 2_000_000;
const FIND: &str = r#""$PEERS/find" "$STORE" -type f > /dev/null"#;
const RSYNC: &str = r#""$PEERS/rsync" -an "$STORE/" "$COPY/" > /dev/null"#;
const RESTIC: &str = r#"export RESTIC_PASSWORD=none
"$PEERS/restic" -q --cache-dir "$CACHE" -r "$REPOSITORY" backup "$STORE" > /dev/null"#;
const RESTIC_INIT: &str = r#"export RESTIC_PASSWORD=none
"$PEERS/restic" -q --cache-dir "$CACHE" -r "$REPOSITORY" init"#;

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let files = size(FILES)?;
    let ground = Ground::new(cache, "rescan")?;
    let [store, state] = ground.collected(files)?;
    let [copy, repository, restic] = ["copy", "repository", "restic"].map(|name| ground.join(name));
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
    // Runs of each side that count: the slow ones take minutes. A peer that reads a second tree, or all contents, pushes the store
    // out of the kernel's caches, so each has its own turns with ours.
    let peers = [
        ("find", FIND, 2.0, 5),
        ("rsync", RSYNC, 4.0, 2),
        ("restic", RESTIC, 8.0, 2),
    ];
    let mut turns: Vec<(Vec<Taken>, Vec<Taken>)> = Vec::new();
    let mut last = Value::Null;
    for (name, script, _, runs) in peers {
        step::say("bench", &format!("walk and {name}"));
        turns.push(native::in_turns(
            runs,
            || {
                let (taken, status) = ground.scan(&store, &state, &[])?;
                if status["sealed"] != 0 || status["sources"][0]["times"] != "trusted" {
                    return Err(format!("a walk over an unchanged store was none: {status}").into());
                }
                last = status;
                Ok(taken)
            },
            || ground.script(name, script, &variables),
        )?);
    }
    let mut full = Vec::new();
    for _ in 0..3 {
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
    let resident = turns
        .iter()
        .flat_map(|(ours, _)| ours)
        .map(|taken| taken.resident_mib)
        .fold(0.0, f64::max);
    let mut figures: Vec<Figure> = peers
        .iter()
        .zip(&turns)
        .map(|((name, _, aim, _), (ours, theirs))| Figure {
            name,
            aim: Some(Aim::Ratio(*aim)),
            better: Better::Smaller,
            ours: side(ours, "walk"),
            peer: Some(side(theirs, name)),
            notes: Vec::new(),
        })
        .collect();
    figures[0].notes.push(format!(
        "{files} files; at most {resident:.0} MiB resident; folders of standardized storage listed in a walk: {}",
        last["sources"][0]["listed"]
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
        peer: Some(side(&turns[1].1, "rsync")),
        notes: Vec::new(),
    });
    Ok(Comparison {
        name: "rescan",
        limit: "limit: one question for each folder's time; where times are trusted, a sixteenth of the parts is listed all the same, and a thirtieth of the files asked for".to_owned(),
        figures,
    })
}
