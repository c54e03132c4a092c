//! `spool`: durable commits a second of the queue, beside SQLite (write-ahead log, `synchronous=FULL`) that holds the same
//! bundles on the same disk. The program is `firmware/spool/examples/commits.rs`; its header has the rules.
//!
//! The limit is the disk's own rate of flushes, measured in the same run: neither side can commit more often alone.

use super::{Aim, Better, Comparison, Figure, Side, native};
use crate::cache::Cache;
use std::error::Error;
use std::process::Command;

/// Commits of a run; runs of each side.
const COMMITS: &str = "150";
const RUNS: &str = "7";

/// Act and size of a bundle in the program's lines, and what the figure is called. Bundles of one size hide what it costs
/// that a file must grow, so there are some of which each has another.
const FIGURES: [(&str, &str, &str); 6] = [
    ("append", "65536", "append 64 KiB"),
    ("append", "1048576", "append 1 MiB"),
    ("append", "varied", "append 16 to 112 KiB"),
    ("erase", "65536", "acknowledge, erase 64 KiB"),
    ("erase", "1048576", "acknowledge, erase 1 MiB"),
    ("erase", "varied", "acknowledge, erase 16 to 112 KiB"),
];

pub fn measure(_: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let programs = native::release(&["-p", "spool", "--example", "commits"])?;
    let work = native::Workplace::new("spool")?;
    let program = programs.join("examples/commits");
    let output = Command::new(&program)
        .arg(work.join("disk"))
        .args([COMMITS, RUNS])
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("commits failed ({}): {said}", output.status).into());
    }
    let lines = String::from_utf8(output.stdout)?;
    let command = format!("commits target/bench/spool.work/disk {COMMITS} {RUNS}");
    let side = |who: &str, act: &str, bytes: &str| Side {
        unit: "1/s",
        samples: samples(&lines, who, act, bytes),
        command: command.clone(),
    };
    let figures: Vec<Figure> = FIGURES
        .iter()
        .map(|(act, bytes, name)| {
            let ours = side("ours", act, bytes);
            let flush = side("disk", "flush", bytes).median();
            let reached = ours.median() / flush;
            Figure {
                name,
                aim: Some(Aim::Ratio(1.0)),
                better: Better::Larger,
                notes: vec![format!(
                    "the disk alone: {flush:.0} flushes a second; ours reaches {reached:.2} of it"
                )],
                ours,
                peer: Some(side("peer", act, bytes)),
            }
        })
        .collect();
    Ok(Comparison {
        name: "spool",
        limit: "a commit waits for at least one flush of the disk: ours for one, and each 64th append and each 60th \
                erasure for a commit of the file system's journal too, as does an append whose file must grow; \
                SQLite for one, and at each checkpoint for those of log and database; SQLite writes bytes twice"
            .to_owned(),
        figures,
    })
}

/// The rates of one side's act with bundles of one size.
fn samples(lines: &str, side: &str, act: &str, bytes: &str) -> Vec<f64> {
    lines
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [who, what, size, rate] if [*who, *what, *size] == [side, act, bytes] => {
                    rate.parse().ok()
                }
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sides_lines_are_told_apart_by_side_act_and_size() {
        let lines = "ours append 65536 10.5\npeer append 65536 9\nours append 1048576 4\nours append 65536 11\n";
        assert_eq!(samples(lines, "ours", "append", "65536"), [10.5, 11.0]);
        assert_eq!(samples(lines, "disk", "flush", "65536"), [0.0; 0]);
    }
}
