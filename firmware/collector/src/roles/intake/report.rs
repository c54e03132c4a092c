//! What the role says of itself: counts and states, never names. Shared by the walking and the main thread.

use serde_json::{Value, json};
use ssmix2::Deviations;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// State of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceState {
    /// Not looked at since the start.
    #[default]
    Unknown,
    Present,
    Missing {
        reason: String,
    },
}

/// What the times of a source's folders are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    #[default]
    Unproven,
    /// Listings are spared by them.
    Trusted,
    /// A listing changed and the folder's time did not.
    Lied,
}

impl Times {
    fn word(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Trusted => "trusted",
            Self::Lied => "lied",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct SourceReport {
    pub name: String,
    pub state: SourceState,
    /// More known files are missing than a hospital removes: nothing is reported as removed.
    pub suspicious: bool,
    pub files: u64,
    /// Walks that saw everything.
    pub whole_walks: u64,
    pub deviations: [u64; ssmix2::deviation::ALL.len()],
    /// Entries of the table in `ssmix2::ignore`.
    pub ignored: u64,
    /// Symbolic links, devices, sockets, pipes: never followed.
    pub alien: u64,
    /// Files and folders that could not be opened in the last walk.
    pub unreadable: u64,
    /// Files that changed while they were looked at or read in the last walk.
    pub unsettled: u64,
    /// Files whose path no bundle can hold, in the last walk.
    pub unnameable: u64,
    /// Files that were written again with the content that is known, and are not sent again.
    pub rewritten: u64,
    /// Folders with old files that were left for another day in the last walk, since the daily quota is used up.
    pub deferred: u64,
    /// Folders listed in the last walk.
    pub listed: u64,
    /// What the times of the source's folders are worth.
    pub times: Times,
    /// Walks that came to their end.
    pub walks: u64,
}

impl SourceReport {
    pub fn count(&mut self, deviations: Deviations) {
        for (deviation, _) in deviations.iter() {
            self.deviations[deviation as usize] += 1;
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub sources: Vec<SourceReport>,
    /// Why nothing is collected at present.
    pub paused: Option<String>,
    pub rounds: u64,
    pub sealed: u64,
    /// Bundles in the queue that have rotted.
    pub damaged: usize,
}

/// What a change of state is called in the trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    Missing,
    Returned,
}

impl Report {
    /// Sets a source's state and says whether that is news. A source that was there from the start is none.
    pub fn set_state(&mut self, source: usize, state: SourceState) -> Option<Transition> {
        let before = std::mem::replace(&mut self.sources[source].state, state.clone());
        match (before, state) {
            (SourceState::Missing { .. }, SourceState::Present) => Some(Transition::Returned),
            (SourceState::Missing { .. }, SourceState::Missing { .. }) => None,
            (_, SourceState::Missing { .. }) => Some(Transition::Missing),
            _ => None,
        }
    }

    pub fn json(&self, queued_bundles: usize, queued_bytes: u64) -> Value {
        let mut missing = Vec::new();
        let sources: Vec<Value> = self
            .sources
            .iter()
            .map(|source| source.json(&mut missing))
            .collect();
        let mut status = json!({
            "state": if self.paused.is_some() { "paused" } else { "collecting" },
            "files": self.sources.iter().map(|source| source.files).sum::<u64>(),
            "rounds": self.rounds,
            "sealed": self.sealed,
            "queued_bundles": queued_bundles,
            "queued_bytes": queued_bytes,
            "damaged_bundles": self.damaged,
            "sources": sources,
        });
        if !missing.is_empty() {
            status["advice"] = "check the hospital's share and the network to it".into();
        }
        let rot = (self.damaged > 0).then(|| {
            format!(
                "{} bundles were damaged on the disk; their files are collected again",
                self.damaged
            )
        });
        let problems: Vec<String> = self
            .paused
            .iter()
            .cloned()
            .chain(missing)
            .chain(rot)
            .collect();
        if !problems.is_empty() {
            status["problem"] = problems.join("; ").into();
        }
        status
    }
}

impl SourceReport {
    fn json(&self, problems: &mut Vec<String>) -> Value {
        let state = match &self.state {
            SourceState::Unknown => "not yet seen".to_owned(),
            SourceState::Present => "ok".to_owned(),
            SourceState::Missing { reason } => {
                problems.push(format!("source {} is missing: {reason}", self.name));
                format!("missing: {reason}")
            }
        };
        if self.suspicious {
            problems.push(format!(
                "source {} lost many files at once; no removal is reported",
                self.name
            ));
        }
        let deviations: serde_json::Map<String, Value> = ssmix2::deviation::ALL
            .iter()
            .zip(self.deviations)
            .filter(|(_, count)| *count > 0)
            .map(|((_, word), count)| ((*word).to_owned(), count.into()))
            .collect();
        json!({
            "name": self.name, "state": state, "suspicious": self.suspicious, "files": self.files,
            "whole_walks": self.whole_walks, "deviations": deviations, "ignored": self.ignored,
            "alien": self.alien, "unreadable": self.unreadable, "unsettled": self.unsettled,
            "unnameable": self.unnameable, "rewritten": self.rewritten, "deferred": self.deferred, "listed": self.listed, "times": self.times.word(),
        })
    }
}

/// When the walking thread last asked a share for something, so that another thread can tell a hung share.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Milliseconds of uptime, plus one; 0: not waiting for a share.
    since: AtomicU64,
    source: AtomicUsize,
}

impl Pulse {
    pub fn begin(&self, source: usize, uptime: Duration) {
        self.source.store(source, Ordering::Relaxed);
        let since = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX - 1) + 1;
        self.since.store(since, Ordering::Release);
    }

    pub fn end(&self) {
        self.since.store(0, Ordering::Release);
    }

    /// The source whose share has not answered for longer than `limit`.
    pub fn hung(&self, uptime: Duration, limit: Duration) -> Option<usize> {
        let since = self.since.load(Ordering::Acquire).checked_sub(1)?;
        let waited = uptime.saturating_sub(Duration::from_millis(since));
        (waited > limit).then(|| self.source.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(reason: &str) -> SourceState {
        SourceState::Missing {
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn a_source_is_reported_missing_once_and_returned_once() {
        let mut report = Report {
            sources: vec![SourceReport::default()],
            ..Report::default()
        };
        assert_eq!(report.set_state(0, SourceState::Present), None);
        assert_eq!(
            report.set_state(0, missing("not mounted")),
            Some(Transition::Missing)
        );
        assert_eq!(report.set_state(0, missing("no answer")), None);
        assert_eq!(
            report.set_state(0, SourceState::Present),
            Some(Transition::Returned)
        );
        assert_eq!(report.set_state(0, SourceState::Present), None);
    }

    #[test]
    fn a_share_is_hung_only_while_one_question_stays_unanswered() {
        let (pulse, limit) = (Pulse::default(), Duration::from_secs(120));
        let at = Duration::from_secs;
        assert_eq!(pulse.hung(at(1000), limit), None);
        pulse.begin(2, at(0));
        assert_eq!(pulse.hung(at(120), limit), None);
        assert_eq!(pulse.hung(at(121), limit), Some(2));
        pulse.begin(2, at(121));
        assert_eq!(pulse.hung(at(200), limit), None);
        pulse.end();
        assert_eq!(pulse.hung(at(9000), limit), None);
    }

    #[test]
    fn the_status_says_what_is_wrong_and_counts_deviations_by_kind() {
        let mut source = SourceReport {
            name: "wards".to_owned(),
            state: missing("not mounted"),
            ..SourceReport::default()
        };
        source.count(ssmix2::deviations(ssmix2::Store::Dpc, b"other.txt"));
        let report = Report {
            sources: vec![source],
            ..Report::default()
        };
        let status = report.json(2, 300);
        assert_eq!(status["problem"], "source wards is missing: not mounted");
        assert_eq!(status["sources"][0]["deviations"]["unknown-name"], 1);
        assert_eq!(
            (&status["queued_bundles"], &status["queued_bytes"]),
            (&2.into(), &300.into())
        );
    }
}
