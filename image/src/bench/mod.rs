//! `cargo xtask bench NAME`: a figure of ours beside a peer's, in the same run on the same machine.
//!
//! 1. Both sides are measured by the same rule with the same program; the rule is in the report.
//! 2. `ratio` is better when larger: the peer's median over ours where small is good, ours over the peer's where large is.
//! 3. A run that fails is a failure of the command, never a missing sample.

mod boot;
mod catalogue;
mod commission;
mod finding;
mod first_scan;
mod growth;
mod native;
mod open;
mod receive;
mod receive_load;
mod rescan;
mod rescan_day;
mod seal_large;
mod seal_limit;
mod seal_small;
mod spool;
mod store;
mod store_large;
mod virtual_machine;

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cache::Cache;
use crate::{Outcome, host, image, laboratory, step};

type Measure = fn(&Cache) -> Result<Comparison, Box<dyn Error>>;

/// Measurement by name, with what it compares.
const MEASUREMENTS: &[(&str, &str, Measure)] = &[
    (
        "boot",
        "size, memory and time to readiness of the image, beside a stock Debian 13",
        boot::measure,
    ),
    (
        "rescan",
        "walking 2 000 000 unchanged files, beside find, rsync and restic",
        rescan::measure,
    ),
    (
        "rescan-day",
        "the same with a day's 20 000 changes, beside itself without",
        rescan_day::measure,
    ),
    (
        "first-scan",
        "collecting 2 000 000 files, beside find, sha256sum, tar, zstd and openssl",
        first_scan::measure,
    ),
    (
        "catalogue",
        "bytes and memory of 50 000 000 known names",
        catalogue::measure,
    ),
    (
        "growth",
        "time and memory of a walk by the size of the store, with a plot",
        growth::measure,
    ),
    (
        "seal-small",
        "sealing 100 000 small files, beside find, sha256sum, tar, zstd and openssl",
        seal_small::measure,
    ),
    (
        "seal-large",
        "sealing 4 GiB of documents and images, and memory, beside the same",
        seal_large::measure,
    ),
    (
        "seal-limit",
        "sealing 1 GiB, beside zstd alone",
        seal_limit::measure,
    ),
    (
        "open",
        "opening and restoring 100 000 small files, beside openssl, zstd, tar and sha256sum",
        open::measure,
    ),
    (
        "receive",
        "receiving 64 MiB bundles of eight boxes, durable, beside nginx by PUT",
        receive::measure,
    ),
    (
        "receive-load",
        "200 boxes at once: throughput, latency, memory and descriptors of the receiver",
        receive_load::measure,
    ),
    (
        "spool",
        "durable commits a second of the queue, beside SQLite with the same bundles on the same disk",
        spool::measure,
    ),
];

/// What can be measured.
pub fn help() -> String {
    let mut text = "cargo xtask bench NAME\n\n".to_owned();
    for (name, what, _) in MEASUREMENTS {
        text.push_str(&format!("  {name:<14}{what}\n"));
    }
    text + "Prints a table and writes target/bench/NAME.json.\n"
}

/// The measurement of that name.
pub fn named(name: &str) -> Option<Measure> {
    MEASUREMENTS
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(.., measure)| *measure)
}

/// Runs the measurement and reports it.
pub fn run(cache: &Cache, measure: Measure) -> Result<Outcome, Box<dyn Error>> {
    host::ensure(cache)?;
    if let Some(status) = laboratory::restart_with_machine(cache)? {
        return Ok(Outcome::from(status));
    }
    let comparison = measure(cache)?;
    comparison.print();
    let path = comparison.write()?;
    step::say("bench", &path.display().to_string());
    Ok(if comparison.reached() {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

/// Samples of one side.
pub struct Side {
    pub unit: &'static str,
    pub samples: Vec<f64>,
    /// What was run.
    pub command: String,
}

impl Side {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The middle sample; of an even number, the upper of the two. No samples: not a number.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn json(&self) -> Value {
        let sorted = self.sorted();
        json!({
            "median": self.median(), "min": sorted.first(), "max": sorted.last(), "unit": self.unit,
            "runs": sorted.len(), "command": self.command,
        })
    }
}

/// What a figure should reach.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// Our median is at most this, in our unit.
    AtMost(f64),
    /// The ratio of the medians is at least this.
    Ratio(f64),
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aim::AtMost(most) => write!(f, "<= {most:.2}"),
            Aim::Ratio(least) => write!(f, "{least:.2} x"),
        }
    }
}

/// Which samples are good: times and sizes are when small, rates when large.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Better {
    Smaller,
    Larger,
}

/// One figure.
pub struct Figure {
    pub name: &'static str,
    pub aim: Option<Aim>,
    pub better: Better,
    pub ours: Side,
    pub peer: Option<Side>,
    /// What stands behind the figure, one by one.
    pub notes: Vec<String>,
}

impl Figure {
    /// None without a peer, and where ours is nothing at all.
    fn ratio(&self) -> Option<f64> {
        let (ours, peer) = (self.ours.median(), self.peer.as_ref()?.median());
        let ratio = match self.better {
            Better::Smaller => peer / ours,
            Better::Larger => ours / peer,
        };
        Some(ratio).filter(|ratio| ratio.is_finite())
    }

    fn reached(&self) -> bool {
        match self.aim {
            None => true,
            Some(Aim::AtMost(most)) => self.ours.median() <= most,
            Some(Aim::Ratio(least)) => self.ratio().is_some_and(|ratio| ratio >= least),
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "aim": self.aim.map(|aim| aim.to_string()), "ratio": self.ratio(), "reached": self.reached(),
            "ours": self.ours.json(), "peer": self.peer.as_ref().map(Side::json),
            "notes": self.notes,
        })
    }
}

/// A measurement: its main figure first.
pub struct Comparison {
    pub name: &'static str,
    /// What is compared, and what bounds the figures on this machine.
    pub limit: String,
    pub figures: Vec<Figure>,
}

impl Comparison {
    fn reached(&self) -> bool {
        self.figures.iter().all(Figure::reached)
    }

    fn print(&self) {
        println!(
            "{:<28} {:>12} {:>12} {:>12} {:>8}  unit",
            "figure", "ours", "aim", "peer", "ratio"
        );
        for figure in &self.figures {
            let number =
                |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
            let peer = figure.peer.as_ref().map(Side::median);
            println!(
                "{:<28} {:>12} {:>12} {:>12} {:>8}  {}{}",
                figure.name,
                number(Some(figure.ours.median())),
                figure.aim.map_or("-".to_owned(), |aim| aim.to_string()),
                number(peer),
                number(figure.ratio()),
                figure.ours.unit,
                if figure.reached() { "" } else { "  AIM MISSED" }
            );
            for note in &figure.notes {
                println!("  {note}");
            }
        }
        println!("{}", self.limit);
    }

    /// The first figure stands at the top level under the agreed names; all are in `figures`.
    fn write(&self) -> Result<PathBuf, Box<dyn Error>> {
        let dir = image::target().join("bench");
        fs::create_dir_all(&dir)?;
        let mut report = self.figures.first().map_or_else(|| json!({}), Figure::json);
        report["figure"] = report["name"].take();
        report["name"] = json!(self.name);
        report["limit"] = json!(self.limit);
        report["figures"] = self.figures.iter().map(Figure::json).collect();
        let path = dir.join(format!("{}.json", self.name));
        fs::write(&path, serde_json::to_string_pretty(&report)? + "\n")?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(samples: &[f64]) -> Side {
        Side {
            unit: "s",
            samples: samples.to_vec(),
            command: "run".to_owned(),
        }
    }

    #[test]
    fn a_figure_twice_as_small_as_the_peers_has_ratio_two() {
        let figure = Figure {
            name: "time",
            aim: Some(Aim::AtMost(2.0)),
            better: Better::Smaller,
            ours: side(&[3.0, 1.0, 2.0]),
            peer: Some(side(&[4.0])),
            notes: Vec::new(),
        };
        assert_eq!(figure.ratio(), Some(2.0));
        assert!(figure.reached());
    }

    #[test]
    fn a_rate_twice_the_peers_has_ratio_two() {
        let mut figure = Figure {
            name: "rate",
            aim: Some(Aim::Ratio(2.0)),
            better: Better::Larger,
            ours: side(&[4.0]),
            peer: Some(side(&[2.0])),
            notes: Vec::new(),
        };
        assert_eq!(figure.ratio(), Some(2.0));
        assert!(figure.reached());
        figure.better = Better::Smaller;
        assert!(!figure.reached());
    }

    #[test]
    fn nothing_at_all_has_no_ratio() {
        let figure = Figure {
            name: "files",
            aim: Some(Aim::AtMost(0.0)),
            better: Better::Smaller,
            ours: side(&[0.0]),
            peer: Some(side(&[4.0])),
            notes: Vec::new(),
        };
        assert_eq!(figure.ratio(), None);
        assert!(figure.reached());
    }

    #[test]
    fn an_aim_is_missed_by_the_median_not_by_one_run() {
        let figure = Figure {
            name: "time",
            aim: Some(Aim::AtMost(2.0)),
            better: Better::Smaller,
            ours: side(&[1.0, 2.0, 9.0]),
            peer: None,
            notes: Vec::new(),
        };
        assert!(figure.reached());
        let figure = Figure {
            name: "time",
            aim: Some(Aim::AtMost(1.9)),
            better: Better::Smaller,
            ours: side(&[1.0, 2.0, 9.0]),
            peer: None,
            notes: Vec::new(),
        };
        assert!(!figure.reached());
    }
}
