//! What the sender tells: its published status, the trail, and the log. A reason is told when it appears, not each time.

use super::pace::Kind;
use super::spool::Queued;
use crate::runtime::{Runtime, chain};
use bundle::BundleName;
use serde_json::json;

pub struct Report<'a> {
    runtime: &'a Runtime,
    queued: usize,
    queued_bytes: u64,
    delivered: u64,
    current: Option<(String, u64)>,
    problem: Option<(Kind, String)>,
    /// The refusal that the trail has last, until a bundle is delivered.
    told: Option<String>,
}

impl<'a> Report<'a> {
    pub fn new(runtime: &'a Runtime) -> Self {
        Self {
            runtime,
            queued: 0,
            queued_bytes: 0,
            delivered: 0,
            current: None,
            problem: None,
            told: None,
        }
    }

    pub fn queue(&mut self, queue: &[Queued]) {
        self.queued = queue.len();
        self.queued_bytes = queue.iter().map(|queued| queued.size).sum();
        if queue.is_empty() {
            self.current = None;
            self.problem = None;
        }
        self.publish();
    }

    /// A chunk was acknowledged, or a question is about to be asked.
    pub fn progress(&mut self, name: &BundleName, offset: u64) {
        self.runtime.alive();
        self.current = Some((name.to_string(), offset));
        self.publish();
    }

    pub fn delivered(&mut self, name: &BundleName) {
        self.delivered += 1;
        self.current = None;
        if let Some((_, problem)) = self.problem.take() {
            self.runtime
                .log(&format!("delivering again with {name}; before: {problem}"));
        }
        self.told = None;
    }

    pub fn failed(&mut self, name: &BundleName, reason: &str, kind: Kind) {
        self.current = None;
        let new = self
            .problem
            .as_ref()
            .is_none_or(|(_, problem)| problem != reason);
        self.problem = Some((kind, reason.to_owned()));
        self.publish();
        if new {
            self.runtime
                .log(&format!("{name} is not delivered: {reason}"));
        }
        if kind == Kind::Refused && self.told.as_deref() != Some(reason) {
            let fields = json!({ "bundle": name.to_string(), "reason": reason });
            match self.runtime.audit("upload-refused", fields) {
                Ok(_) => self.told = Some(reason.to_owned()),
                Err(error) => self.runtime.log(&chain(&error)),
            }
        }
    }

    fn publish(&self) {
        let state = match (&self.current, &self.problem, self.queued) {
            (Some(_), ..) => "sending",
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
        if let Some((bundle, offset)) = &self.current {
            status["bundle"] = json!(bundle);
            status["bundle_bytes_sent"] = json!(offset);
        }
        if let Some((kind, problem)) = &self.problem {
            status["problem"] = json!(problem);
            status["advice"] = json!(match kind {
                Kind::Passing => "it is tried again by itself; look at the tunnel if it lasts",
                Kind::Refused => "ask the data centre; it is tried again by itself every minute",
            });
        }
        self.runtime.publish(&status);
    }
}
