//! Supervision of the roles, as a pure state machine: events and a clock value in, actions out.
//!
//! 1. A role has at most one process: it is started again only after its last one has been reaped.
//! 2. A role that ends, hangs or is not ready in time is started again after a back-off that doubles up to
//!    [`LONGEST_REST`] and begins anew after [`HEALTHY`] of being ready.
//! 3. Roles that need the site configuration start only after [`Event::Commissioned`].
//! 4. Nothing here waits: what is due next is [`Supervisor::next`].

use crate::roles::{Readiness, Restart, Role, Start};
use std::fmt;

/// Milliseconds of the monotonic clock.
pub type Millis = u64;
/// A process number.
pub type Pid = i32;

const SHORTEST_REST: Millis = 500;
/// A faulty configuration is tried again this often at the latest, so that a corrected disc is noticed in a minute.
pub const LONGEST_REST: Millis = 60_000;
pub const HEALTHY: Millis = 60_000;
/// From start to readiness. Recovery of a large catalogue is within it; a role that reports life meanwhile gets more.
pub const START_LIMIT: Millis = 120_000;
/// From the request to end until the process is killed.
pub const STOP_LIMIT: Millis = 5_000;
/// How often the socket of a role that does not notify is looked for.
const LOOK_PERIOD: Millis = 50;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Tick,
    Started(usize, Pid),
    NotStarted(usize, String),
    /// The role's process said or showed that it works.
    Ready(Pid),
    /// The socket of a role that does not notify is there.
    Made(usize),
    Alive(Pid),
    Status(Pid, String),
    Ended(Pid, Ending),
    /// The site configuration is valid and loaded.
    Commissioned,
    /// `maintenance` was ready, but what it wrote cannot be used.
    Unusable(String),
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Status(i32),
    Signal(i32),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Start(usize),
    /// Ask to end.
    Terminate(Pid),
    Kill(Pid),
    /// Look for the socket of this role; answer with [`Event::Made`].
    LookFor(usize),
    /// `maintenance` is ready for the first time: load what it wrote.
    LoadPlan,
    Report(String),
    AllReady,
    /// After [`Event::Stop`]: no role runs any more.
    AllStopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its conditions are not met yet.
    Waiting,
    /// Its process is being made.
    Launching,
    Starting {
        pid: Pid,
        since: Millis,
        limit: Millis,
    },
    Ready {
        pid: Pid,
        since: Millis,
        limit: Option<Millis>,
    },
    /// Told to end, or killed; not reaped yet.
    Ending { pid: Pid, kill_at: Option<Millis> },
    /// Back-off.
    Resting { until: Millis },
    /// Ended well and shall not run again, or the box is going down.
    Done,
}

struct Record {
    role: &'static Role,
    phase: Phase,
    failures: u32,
    was_ready: bool,
    status: String,
}

pub struct Supervisor {
    records: Vec<Record>,
    commissioned: bool,
    announced: bool,
    stopping: bool,
}

/// A role's state for the published status.
#[derive(Debug, PartialEq, Eq)]
pub struct Glance<'a> {
    pub name: &'static str,
    pub state: &'static str,
    pub pid: Option<Pid>,
    pub failures: u32,
    pub status: &'a str,
}

impl Supervisor {
    pub fn new(roles: &'static [Role]) -> Self {
        let record = |role| Record {
            role,
            phase: Phase::Waiting,
            failures: 0,
            was_ready: false,
            status: String::new(),
        };
        Self {
            records: roles.iter().map(record).collect(),
            commissioned: false,
            announced: false,
            stopping: false,
        }
    }

    /// Takes an event at the time `now` and returns what is to be done, in order.
    pub fn handle(&mut self, now: Millis, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => {}
            Event::Started(index, pid) => {
                self.records[index].phase = Phase::Starting {
                    pid,
                    since: now,
                    limit: now + START_LIMIT,
                };
            }
            Event::NotStarted(index, reason) => {
                let name = self.records[index].role.name;
                self.rest(
                    index,
                    now,
                    format!("role {name} could not be started: {reason}"),
                    &mut actions,
                );
            }
            Event::Ready(pid) => {
                if let Some(index) = self.of(pid) {
                    self.ready(index, now, &mut actions);
                }
            }
            Event::Made(index) => self.ready(index, now, &mut actions),
            Event::Alive(pid) => self.alive(pid, now),
            Event::Status(pid, text) => {
                if let Some(index) = self.of(pid) {
                    self.records[index].status = text;
                }
            }
            Event::Ended(pid, ending) => {
                if let Some(index) = self.of(pid) {
                    self.ended(index, now, ending, &mut actions);
                }
            }
            Event::Commissioned => self.commissioned = true,
            Event::Unusable(reason) => self.unusable(&reason, &mut actions),
            Event::Stop => self.stopping = true,
        }
        if self.stopping {
            self.stop(now, &mut actions);
        } else {
            self.advance(now, &mut actions);
        }
        actions
    }

    /// When [`Event::Tick`] is due, if at all.
    pub fn next(&self) -> Option<Millis> {
        self.records
            .iter()
            .enumerate()
            .filter_map(|(index, record)| self.due(index, record))
            .min()
    }

    pub fn commissioned(&self) -> bool {
        self.commissioned
    }

    pub fn glance(&self) -> impl Iterator<Item = Glance<'_>> {
        self.records.iter().map(|record| {
            let (state, pid) = match record.phase {
                Phase::Waiting => ("waiting", None),
                Phase::Launching => ("starting", None),
                Phase::Starting { pid, .. } => ("starting", Some(pid)),
                Phase::Ready { pid, .. } => ("ready", Some(pid)),
                Phase::Ending { pid, .. } => ("ending", Some(pid)),
                Phase::Resting { .. } => ("resting", None),
                Phase::Done => ("done", None),
            };
            Glance {
                name: record.role.name,
                state,
                pid,
                failures: record.failures,
                status: &record.status,
            }
        })
    }

    fn of(&self, pid: Pid) -> Option<usize> {
        self.records.iter().position(|record| match record.phase {
            Phase::Starting { pid: own, .. }
            | Phase::Ready { pid: own, .. }
            | Phase::Ending { pid: own, .. } => own == pid,
            _ => false,
        })
    }

    fn due(&self, index: usize, record: &Record) -> Option<Millis> {
        match record.phase {
            Phase::Starting { limit, since, .. } => match record.role.readiness {
                Readiness::Notifies => Some(limit),
                // looked for at every period since its start
                Readiness::Makes(_) => Some(limit.min(since + LOOK_PERIOD)),
            },
            Phase::Ready { limit, .. } => limit,
            Phase::Ending { kill_at, .. } => kill_at,
            Phase::Resting { until } => Some(until.max(record.role.earliest_ms)),
            Phase::Waiting if self.may_start(index) => Some(record.role.earliest_ms),
            Phase::Waiting | Phase::Launching | Phase::Done => None,
        }
    }

    fn may_start(&self, index: usize) -> bool {
        let role = self.records[index].role;
        let condition = role.start == Start::Always || self.commissioned;
        let was_ready = |name: &&str| {
            self.records
                .iter()
                .any(|other| other.role.name == *name && other.was_ready)
        };
        condition && role.after.iter().all(was_ready)
    }

    fn ready(&mut self, index: usize, now: Millis, actions: &mut Vec<Action>) {
        let record = &mut self.records[index];
        let Phase::Starting { pid, .. } = record.phase else {
            return;
        };
        record.phase = Phase::Ready {
            pid,
            since: now,
            limit: watch(record.role, now),
        };
        let is_first = !record.was_ready;
        record.was_ready = true;
        if !is_first {
            actions.push(Action::Report(format!(
                "role {} is ready again",
                record.role.name
            )));
        }
        if record.role.name == "maintenance" && !self.commissioned {
            actions.push(Action::LoadPlan);
        }
    }

    fn alive(&mut self, pid: Pid, now: Millis) {
        let Some(index) = self.of(pid) else { return };
        let record = &mut self.records[index];
        match &mut record.phase {
            Phase::Starting { limit, .. } => *limit = now + START_LIMIT,
            Phase::Ready { limit, .. } => *limit = watch(record.role, now),
            _ => {}
        }
    }

    fn ended(&mut self, index: usize, now: Millis, ending: Ending, actions: &mut Vec<Action>) {
        let record = &mut self.records[index];
        let name = record.role.name;
        let is_done = record.role.restart == Restart::OnFailure
            && ending == Ending::Status(0)
            && matches!(record.phase, Phase::Ready { .. });
        if is_done || self.stopping {
            record.phase = Phase::Done;
            return;
        }
        if let Phase::Ready { since, .. } = record.phase
            && now.saturating_sub(since) >= HEALTHY
        {
            record.failures = 0;
        }
        let before = match record.phase {
            Phase::Starting { .. } => " before it was ready",
            _ => "",
        };
        self.rest(index, now, format!("role {name} {ending}{before}"), actions);
    }

    fn unusable(&mut self, reason: &str, actions: &mut Vec<Action>) {
        actions.push(Action::Report(format!(
            "the site configuration cannot be used: {reason}"
        )));
        let maintenance = self
            .records
            .iter_mut()
            .find(|record| record.role.name == "maintenance");
        if let Some(record) = maintenance {
            // its row is done once it was ready; what it did was not enough
            match record.phase {
                Phase::Ready { pid, .. } => {
                    record.phase = Phase::Ending { pid, kill_at: None };
                    actions.push(Action::Kill(pid));
                }
                Phase::Done => record.phase = Phase::Waiting,
                _ => {}
            }
        }
    }

    fn rest(&mut self, index: usize, now: Millis, what: String, actions: &mut Vec<Action>) {
        let record = &mut self.records[index];
        let rest = SHORTEST_REST
            .saturating_mul(1 << record.failures.min(10))
            .min(LONGEST_REST);
        record.failures = record.failures.saturating_add(1);
        record.phase = Phase::Resting { until: now + rest };
        actions.push(Action::Report(format!("{what}; next try in {rest} ms")));
    }

    fn advance(&mut self, now: Millis, actions: &mut Vec<Action>) {
        for index in 0..self.records.len() {
            let may_start = self.may_start(index);
            let record = &mut self.records[index];
            match record.phase {
                Phase::Waiting if may_start && now >= record.role.earliest_ms => {
                    record.phase = Phase::Launching;
                    actions.push(Action::Start(index));
                }
                Phase::Resting { until } if now >= until.max(record.role.earliest_ms) => {
                    record.phase = Phase::Launching;
                    actions.push(Action::Start(index));
                }
                Phase::Starting { pid, limit, .. } if now >= limit => {
                    record.phase = Phase::Ending { pid, kill_at: None };
                    let text = format!(
                        "role {} was not ready in time and is killed",
                        record.role.name
                    );
                    actions.extend([Action::Report(text), Action::Kill(pid)]);
                }
                Phase::Starting { pid, limit, since }
                    if matches!(record.role.readiness, Readiness::Makes(_))
                        && now >= since + LOOK_PERIOD =>
                {
                    record.phase = Phase::Starting {
                        pid,
                        limit,
                        since: now,
                    };
                    actions.push(Action::LookFor(index));
                }
                Phase::Ready {
                    pid,
                    limit: Some(limit),
                    ..
                } if now >= limit => {
                    record.phase = Phase::Ending { pid, kill_at: None };
                    let text = format!(
                        "role {} gave no sign of life in time and is killed",
                        record.role.name
                    );
                    actions.extend([Action::Report(text), Action::Kill(pid)]);
                }
                _ => {}
            }
        }
        let is_ready = |record: &Record| matches!(record.phase, Phase::Ready { .. } | Phase::Done);
        if self.commissioned && !self.announced && self.records.iter().all(is_ready) {
            self.announced = true;
            actions.push(Action::AllReady);
        }
    }

    /// First everything but `audit`, then `audit`, so that the last records reach the trail.
    fn stop(&mut self, now: Millis, actions: &mut Vec<Action>) {
        for wave in [false, true] {
            for record in self
                .records
                .iter_mut()
                .rev()
                .filter(|record| (record.role.name == "audit") == wave)
            {
                match record.phase {
                    Phase::Starting { pid, .. } | Phase::Ready { pid, .. } => {
                        record.phase = Phase::Ending {
                            pid,
                            kill_at: Some(now + STOP_LIMIT),
                        };
                        actions.push(Action::Terminate(pid));
                    }
                    Phase::Ending {
                        pid,
                        kill_at: Some(at),
                    } if now >= at => {
                        record.phase = Phase::Ending { pid, kill_at: None };
                        actions.push(Action::Kill(pid));
                    }
                    Phase::Waiting | Phase::Resting { .. } => record.phase = Phase::Done,
                    Phase::Ending { .. } | Phase::Launching | Phase::Done => {}
                }
            }
            let is_done = |record: &Record| record.phase == Phase::Done;
            if !self
                .records
                .iter()
                .filter(|record| (record.role.name == "audit") == wave)
                .all(is_done)
            {
                return;
            }
        }
        actions.push(Action::AllStopped);
    }
}

fn watch(role: &Role, now: Millis) -> Option<Millis> {
    role.watchdog_seconds
        .map(|seconds| now + Millis::from(seconds) * 1000)
}

#[cfg(test)]
#[path = "supervise_tests.rs"]
mod tests;
