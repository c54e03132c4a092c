//! The scenarios: each is a story of the box among its counterparts, told in verbs of [`crate::rig::Lab`].
//!
//! 1. A scenario passes, fails with the sentence that was not true, or is skipped with a reason; each is counted.
//! 2. What a failed one leaves behind stays in `target/lab/<name>/`; a passed one leaves its logs and captures only.

mod boots_from_disk;
mod delivers;
mod faulty_configuration;
mod full_state_disk;
mod histories;
mod latency;
mod mains_cuts;
mod missing_share;
mod outside_interface;
mod share_vanishes;
mod unknown_recipient;
mod usb_refused;
mod wrong_peer_certificate;
mod wrong_server_certificate;

use crate::Inputs;
use crate::accel;
use crate::rig::{Lab, LabError, Setting};
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// How long a scenario may take its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What every change is tested with.
    Short,
    /// Everything that the box promises.
    Full,
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Skipped(&'static str),
}

type Story = fn(&Inputs, Depth) -> Result<Outcome, LabError>;

struct Scenario {
    name: &'static str,
    /// What is true when it passes.
    claim: &'static str,
    story: Story,
}

/// The longest first, so that none of them runs alone at the end.
const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "histories",
        claim: "over SMB and NFS every state that stood arrives once, nothing half-written ever, whatever fails in between",
        story: histories::story,
    },
    Scenario {
        name: "outside-interface",
        claim: "only key exchange and ESP to the peer leave the box, and without a tunnel only key exchange",
        story: outside_interface::story,
    },
    Scenario {
        name: "mains-cuts",
        claim: "mains cuts at any instant lose and duplicate nothing",
        story: mains_cuts::story,
    },
    Scenario {
        name: "share-vanishes",
        claim: "a share that vanishes is not read as deletions, and is taken again once it returns",
        story: share_vanishes::story,
    },
    Scenario {
        name: "delivers",
        claim: "every file arrives byte for byte, once, and so do changes",
        story: delivers::story,
    },
    Scenario {
        name: "latency",
        claim: "what is written over SMB is durable long before the next walk, because the server says so; without a word, by the next",
        story: latency::story,
    },
    Scenario {
        name: "wrong-peer-certificate",
        claim: "a false peer gets nothing, is named, and the right one is taken by itself",
        story: wrong_peer_certificate::story,
    },
    Scenario {
        name: "wrong-server-certificate",
        claim: "a false receiver gets nothing, is named, and the right one is taken by itself",
        story: wrong_server_certificate::story,
    },
    Scenario {
        name: "unknown-recipient",
        claim: "bundles for somebody else are refused with the reason and open with their own key",
        story: unknown_recipient::story,
    },
    Scenario {
        name: "faulty-configuration",
        claim: "each kind of fault is shown with its place, and nothing starts",
        story: faulty_configuration::story,
    },
    Scenario {
        name: "full-state-disk",
        claim: "a full disk pauses the collecting, and room that returns resumes it",
        story: full_state_disk::story,
    },
    Scenario {
        name: "missing-share",
        claim: "a share that is not there is named, the others are collected, and it is taken once it is there",
        story: missing_share::story,
    },
    Scenario {
        name: "usb-refused",
        claim: "what is plugged into USB is refused and reported",
        story: usb_refused::story,
    },
    Scenario {
        name: "boots-from-disk",
        claim: "the firmware finds the box on its disk and all roles start",
        story: boots_from_disk::story,
    },
];

/// Results of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Scenarios at a time. Much of a story is waiting (for retries, back-off, a server that does not answer), and each lab has
/// networks, sockets and disks of its own.
const AT_A_TIME: usize = 2;

/// Runs the scenarios whose names contain the filter, each thread taking the next one that is left. The caller closes with
/// the count, which may hold tests of its own.
pub fn run(filter: Option<&str>, inputs: &Inputs, depth: Depth) -> Tally {
    println!(
        "virtual machines run under {}; logs are in {}",
        accel::best(),
        inputs.target.join("lab").display()
    );
    let left = Mutex::new(
        SCENARIOS
            .iter()
            .filter(|scenario| filter.is_none_or(|text| scenario.name.contains(text))),
    );
    let tally = Mutex::new(Tally::default());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(scenario) = next() {
                    let outcome = tell(scenario, inputs, depth);
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Ok(Outcome::Passed) => tally.passed += 1,
                        Ok(Outcome::Skipped(_)) => tally.skipped += 1,
                        Err(_) => tally.failed += 1,
                    }
                }
            });
        }
    });
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one scenario and tells how it ended.
fn tell(scenario: &Scenario, inputs: &Inputs, depth: Depth) -> Result<Outcome, LabError> {
    let Scenario { name, claim, story } = scenario;
    println!("{name}: {claim}");
    let begun = Instant::now();
    let outcome = story(inputs, depth);
    let seconds = begun.elapsed().as_secs();
    let logs = inputs.target.join("lab").join(name);
    match &outcome {
        Ok(Outcome::Passed) => {
            remove_disks(&logs);
            println!("{name}: passed in {seconds} s");
        }
        Ok(Outcome::Skipped(reason)) => println!("{name}: skipped: {reason}"),
        Err(error) => {
            println!("{name}: FAILED after {seconds} s: {}", chain(error));
            println!("{name}: see {}", logs.display());
        }
    }
    outcome
}

/// Disk images are of no use once all was well, and large.
fn remove_disks(run: &Path) {
    for entry in std::fs::read_dir(run).into_iter().flatten().flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "raw" || extension == "fd")
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// A hospital with a small store and an open data centre; the box is off.
fn small_lab(inputs: &Inputs, name: &str, setting: &Setting) -> Result<Lab, LabError> {
    let mut lab = Lab::start(inputs, name, setting)?;
    lab.hospital_opens_with(SEED, SMALL_STORE, 0)?;
    lab.datacentre_opens()?;
    Ok(lab)
}

/// Same seed, same store in every scenario.
const SEED: u64 = 2;
/// Enough for several folders of every kind of root.
const SMALL_STORE: u64 = 300;

/// The story's judgement: a sentence that must be true.
fn must(is_so: bool, sentence: impl FnOnce() -> String) -> Result<(), LabError> {
    if is_so {
        Ok(())
    } else {
        Err(LabError::Untrue(sentence()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_scenarios_share_a_name() {
        let mut names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len());
    }
}
