//! What the sender tells: its published status, the trail, and the log. A reason is told when it appears, not each time.

use super::pace::Kind;
use super::queue::Queue;
use crate::runtime::{Runtime, chain};
use bundle::BundleName;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a problem concerns: one bundle, or (`None`) every one.
type Concern = Option<BundleName>;

struct Problem {
    kind: Kind,
    reason: String,
    /// The last refusal in the trail. It outlives other reasons, so that two that alternate are told once each time.
    told: Option<String>,
}

pub struct Report<'a> {
    runtime: &'a Runtime,
    queued: u64,
    queued_bytes: u64,
    delivered: u64,
    current: Option<(String, u64)>,
    problems: BTreeMap<Concern, Problem>,
    /// Time until the next sending window, outside of all.
    outside: Option<Duration>,
}

impl<'a> Report<'a> {
    pub fn new(runtime: &'a Runtime) -> Self {
        Self {
            runtime,
            queued: 0,
            queued_bytes: 0,
            delivered: 0,
            current: None,
            problems: BTreeMap::new(),
            outside: None,
        }
    }

    /// How much waits; `held` says of which bundles a problem is still one.
    pub fn queue(&mut self, queue: &Queue, held: impl Fn(&BundleName) -> bool) {
        (self.queued, self.queued_bytes) = (queue.count, queue.bytes);
        let waits = queue.count > 0;
        self.problems
            .retain(|concern, _| concern.as_ref().map_or(waits, &held));
        self.outside = None;
        self.publish();
    }

    /// It is not the time of the day to send.
    pub fn outside_windows(&mut self, opens_in: Duration) {
        self.current = None;
        self.outside = Some(opens_in);
        self.publish();
    }

    /// A chunk was acknowledged, or the first one is about to be sent.
    pub fn progress(&mut self, name: &BundleName, offset: u64) {
        self.runtime.alive();
        self.current = Some((name.to_string(), offset));
        self.publish();
    }

    pub fn delivered(&mut self, name: &BundleName) {
        self.delivered += 1;
        self.current = None;
        let own = self.problems.remove(&Some(name.clone()));
        if let Some(problem) = self.problems.remove(&None).or(own) {
            self.runtime.log(&format!(
                "delivering again with {name}; before: {}",
                problem.reason
            ));
        }
    }

    pub fn failed(&mut self, name: &BundleName, concern: Concern, reason: &str, kind: Kind) {
        self.current = None;
        let before = self.problems.remove(&concern);
        if before
            .as_ref()
            .is_none_or(|problem| problem.reason != reason)
        {
            self.runtime
                .log(&format!("{name} is not delivered: {reason}"));
        }
        let mut told = before.and_then(|problem| problem.told);
        if kind != Kind::Passing && told.as_deref() != Some(reason) {
            let fields = json!({ "bundle": name.to_string(), "reason": reason });
            match self.runtime.audit("upload-refused", fields) {
                Ok(_) => told = Some(reason.to_owned()),
                Err(error) => self.runtime.log(&chain(&error)),
            }
        }
        self.problems.insert(
            concern,
            Problem {
                kind,
                reason: reason.to_owned(),
                told,
            },
        );
        self.publish();
    }

    fn publish(&self) {
        // What concerns every bundle comes first.
        let problem = self.problems.values().next();
        let state = match (&self.current, problem, self.queued) {
            (Some(_), ..) => "sending",
            _ if self.outside.is_some() => "outside the sending windows",
            (None, Some(_), _) => "waiting to try again",
            (None, None, 0) => "all delivered",
            (None, None, _) => "starting to send",
        };
        let mut status = json!({
            "state": state,
            "queued": self.queued,
            "queued_bytes": self.queued_bytes,
            "delivered": self.delivered,
        });
        if let Some(opens_in) = self.outside {
            status["minutes_to_window"] = json!(opens_in.as_secs().div_ceil(60));
        }
        if let Some((bundle, offset)) = &self.current {
            status["bundle"] = json!(bundle);
            status["bundle_bytes_sent"] = json!(offset);
        }
        if let Some(problem) = problem {
            status["problem"] = json!(problem.reason);
            status["advice"] = json!(match problem.kind {
                Kind::Passing => "it is tried again by itself; look at the tunnel if it lasts",
                Kind::Refused => "ask the data centre; it is tried again by itself every minute",
                Kind::Damaged =>
                    "its files are collected again by themselves; if it happens often, the disk is at its end",
            });
        }
        self.runtime.publish(&status);
    }
}
