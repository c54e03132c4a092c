//! The hospital's shares, as a pure state machine: each is mounted, looked at, and mounted again when it has gone.
//!
//! 1. Mounting and looking may block for as long as a silent server likes, so that each is an errand of its own
//!    process; nothing here or in PID 1 touches a share.
//! 2. A share has at most one errand. An errand that cannot be killed holds up only its own share.
//! 3. A share that failed [`MISSES`] looks in a row is detached, so that `intake` sees an empty folder of another
//!    file system instead of a stale one, and mounting starts anew.

use crate::supervise::{Millis, Pid};

const SHORTEST_REST: Millis = 1_000;
/// A server that comes back is noticed within this.
const LONGEST_REST: Millis = 30_000;
/// After a refused login: each further try may count towards the lock of the hospital's account.
const SHORTEST_DENIED_REST: Millis = 30_000;
const LONGEST_DENIED_REST: Millis = 600_000;
/// Between two looks at a mounted share.
pub const LOOK_PERIOD: Millis = 10_000;
/// Longest run of an errand: the file systems' own limits (`soft`, see `share_options`) end it before.
const ERRAND_LIMIT: Millis = 90_000;
/// One failed look may be a lost packet; three with their time-outs are an outage.
pub const MISSES: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    Mount,
    Look,
}

/// Why an errand failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// For the operator.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The server does not know us, or does not let us in.
    Denied,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start this errand for the share; answer with [`Shares::started`].
    Run(usize, Errand),
    Kill(Pid),
    Detach(usize),
    Report(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Resting { until: Millis },
    Mounting { pid: Option<Pid>, limit: Millis },
    Mounted { look_at: Millis },
    Looking { pid: Option<Pid>, limit: Millis },
}

struct Share {
    name: String,
    phase: Phase,
    failures: u32,
    misses: u32,
    reason: String,
}

/// A share's state for the published status.
#[derive(Debug, PartialEq, Eq)]
pub struct Glance<'a> {
    pub name: &'a str,
    pub mounted: bool,
    /// Why it is not mounted, or why the last look failed; empty when all is well.
    pub reason: &'a str,
}

#[derive(Default)]
pub struct Shares {
    shares: Vec<Share>,
}

impl Shares {
    pub fn new(now: Millis, names: impl Iterator<Item = String>) -> Self {
        let share = |name| Share {
            name,
            phase: Phase::Resting { until: now },
            failures: 0,
            misses: 0,
            reason: "not tried yet".to_owned(),
        };
        Self {
            shares: names.map(share).collect(),
        }
    }

    pub fn name(&self, index: usize) -> &str {
        &self.shares[index].name
    }

    pub fn glance(&self) -> impl Iterator<Item = Glance<'_>> {
        self.shares.iter().map(|share| Glance {
            name: &share.name,
            mounted: matches!(share.phase, Phase::Mounted { .. } | Phase::Looking { .. }),
            reason: &share.reason,
        })
    }

    pub fn next(&self) -> Option<Millis> {
        let due = |share: &Share| match share.phase {
            Phase::Resting { until } => until,
            Phase::Mounted { look_at } => look_at,
            Phase::Mounting { limit, .. } | Phase::Looking { limit, .. } => limit,
        };
        self.shares.iter().map(due).min()
    }

    pub fn tick(&mut self, now: Millis) -> Vec<Action> {
        let mut actions = Vec::new();
        for (index, share) in self.shares.iter_mut().enumerate() {
            let limit = now + ERRAND_LIMIT;
            match &mut share.phase {
                Phase::Resting { until } if now >= *until => {
                    share.phase = Phase::Mounting { pid: None, limit };
                    actions.push(Action::Run(index, Errand::Mount));
                }
                Phase::Mounted { look_at } if now >= *look_at => {
                    share.phase = Phase::Looking { pid: None, limit };
                    actions.push(Action::Run(index, Errand::Look));
                }
                Phase::Mounting {
                    pid: Some(pid),
                    limit,
                }
                | Phase::Looking {
                    pid: Some(pid),
                    limit,
                } if now >= *limit => {
                    *limit = now + ERRAND_LIMIT;
                    actions.push(Action::Kill(*pid));
                }
                _ => {}
            }
        }
        actions
    }

    pub fn started(&mut self, index: usize, process: Pid) {
        match &mut self.shares[index].phase {
            Phase::Mounting { pid, .. } | Phase::Looking { pid, .. } => *pid = Some(process),
            _ => {}
        }
    }

    /// An errand could not be started at all.
    pub fn not_started(&mut self, index: usize, now: Millis, reason: &str) -> Vec<Action> {
        self.failed(
            index,
            now,
            &Failure {
                kind: FailureKind::Other,
                reason: reason.to_owned(),
            },
        )
    }

    /// A process ended; `failure` is the errand's reason, or `None` when it went well. Not ours: nothing happens.
    pub fn ended(&mut self, pid: Pid, now: Millis, failure: Option<&Failure>) -> Vec<Action> {
        let is_its = |share: &Share| matches!(share.phase, Phase::Mounting { pid: Some(own), .. } | Phase::Looking { pid: Some(own), .. } if own == pid);
        let Some(index) = self.shares.iter().position(is_its) else {
            return Vec::new();
        };
        if let Some(failure) = failure {
            return self.failed(index, now, failure);
        }
        let share = &mut self.shares[index];
        let was_mounting = matches!(share.phase, Phase::Mounting { .. });
        let was_missed = share.misses > 0;
        share.phase = Phase::Mounted {
            look_at: now + LOOK_PERIOD,
        };
        (share.failures, share.misses) = (0, 0);
        share.reason.clear();
        match (was_mounting, was_missed) {
            (true, _) => vec![Action::Report(format!(
                "mount {}: mounted read-only",
                share.name
            ))],
            (false, true) => vec![Action::Report(format!(
                "mount {}: answers again",
                share.name
            ))],
            (false, false) => Vec::new(),
        }
    }

    fn failed(&mut self, index: usize, now: Millis, failure: &Failure) -> Vec<Action> {
        let reason = failure.reason.as_str();
        let share = &mut self.shares[index];
        // each reason once: a share that is away for a night shall not fill the log
        let is_news = share.reason != reason;
        reason.clone_into(&mut share.reason);
        let mut actions = Vec::new();
        if matches!(share.phase, Phase::Mounting { .. }) {
            let (shortest, longest) = match failure.kind {
                FailureKind::Denied => (SHORTEST_DENIED_REST, LONGEST_DENIED_REST),
                FailureKind::Other => (SHORTEST_REST, LONGEST_REST),
            };
            let rest = shortest
                .saturating_mul(1 << share.failures.min(10))
                .min(longest);
            share.failures = share.failures.saturating_add(1);
            share.phase = Phase::Resting { until: now + rest };
            if is_news {
                actions.push(Action::Report(format!(
                    "mount {}: {reason}; tried again until it works",
                    share.name
                )));
            }
            return actions;
        }
        share.misses += 1;
        if is_news {
            actions.push(Action::Report(format!(
                "mount {}: does not answer: {reason}",
                share.name
            )));
        }
        if share.misses >= MISSES {
            (share.failures, share.misses) = (0, 0);
            share.phase = Phase::Resting { until: now };
            actions.push(Action::Report(format!(
                "mount {}: taken away, to be mounted again",
                share.name
            )));
            actions.push(Action::Detach(index));
        } else {
            share.phase = Phase::Mounted {
                look_at: now + SHORTEST_REST,
            };
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(reason: &str) -> Failure {
        Failure {
            kind: FailureKind::Other,
            reason: reason.to_owned(),
        }
    }

    fn one() -> Shares {
        Shares::new(0, ["data".to_owned()].into_iter())
    }

    fn run(shares: &mut Shares, now: Millis, errand: Errand, pid: Pid) {
        assert_eq!(shares.tick(now), [Action::Run(0, errand)]);
        shares.started(0, pid);
    }

    fn mounted() -> Shares {
        let mut shares = one();
        run(&mut shares, 0, Errand::Mount, 5);
        shares.ended(5, 0, None);
        shares
    }

    #[test]
    fn a_share_is_tried_at_once_and_then_with_a_back_off_up_to_the_limit() {
        let mut shares = one();
        let mut now = 0;
        let mut rests = Vec::new();
        for pid in 1..9 {
            run(&mut shares, now, Errand::Mount, pid);
            shares.ended(pid, now, Some(&other("no route")));
            rests.push(shares.next().unwrap() - now);
            now = shares.next().unwrap();
        }
        assert_eq!(rests, [1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
    }

    #[test]
    fn a_refused_login_is_repeated_so_seldom_that_an_account_is_not_locked() {
        let mut shares = one();
        let mut now = 0;
        let denied = Failure {
            kind: FailureKind::Denied,
            reason: "access denied".to_owned(),
        };
        let mut rests = Vec::new();
        for pid in 1..8 {
            run(&mut shares, now, Errand::Mount, pid);
            shares.ended(pid, now, Some(&denied));
            rests.push((shares.next().unwrap() - now) / 1000);
            now = shares.next().unwrap();
        }
        assert_eq!(rests, [30, 60, 120, 240, 480, 600, 600]);
    }

    #[test]
    fn the_same_reason_is_reported_once_and_a_new_one_again() {
        let mut shares = one();
        let mut reports = Vec::new();
        for (pid, reason) in (1..).zip(["no route", "no route", "access denied"]) {
            let now = shares.next().unwrap();
            run(&mut shares, now, Errand::Mount, pid);
            reports.push(shares.ended(pid, now, Some(&other(reason))).len());
        }
        assert_eq!(reports, [1, 0, 1]);
    }

    #[test]
    fn a_share_that_misses_three_looks_is_detached_and_mounted_again() {
        let mut shares = mounted();
        for miss in 1..=MISSES {
            let now = shares.next().unwrap();
            run(&mut shares, now, Errand::Look, 6);
            let actions = shares.ended(6, now, Some(&other("input/output error")));
            assert_eq!(
                actions.contains(&Action::Detach(0)),
                miss == MISSES,
                "{miss}"
            );
        }
        let now = shares.next().unwrap();
        run(&mut shares, now, Errand::Mount, 7);
        assert_eq!(
            shares.ended(7, now, None),
            [Action::Report("mount data: mounted read-only".to_owned())]
        );
    }

    #[test]
    fn a_good_look_forgets_the_misses_before_it() {
        let mut shares = mounted();
        for _ in 0..3 {
            for failure in [Some(other("lost")), Some(other("lost")), None] {
                let now = shares.next().unwrap();
                run(&mut shares, now, Errand::Look, 6);
                assert!(
                    !shares
                        .ended(6, now, failure.as_ref())
                        .contains(&Action::Detach(0))
                );
            }
        }
        assert!(
            shares
                .glance()
                .all(|glance| glance.mounted && glance.reason.is_empty())
        );
    }

    #[test]
    fn an_errand_that_hangs_is_killed_and_no_other_is_started_until_it_is_reaped() {
        let mut shares = one();
        run(&mut shares, 0, Errand::Mount, 5);
        assert_eq!(shares.tick(ERRAND_LIMIT - 1), []);
        assert_eq!(shares.tick(ERRAND_LIMIT), [Action::Kill(5)]);
        assert_eq!(shares.tick(ERRAND_LIMIT + 1), []);
        shares.ended(5, ERRAND_LIMIT + 2, Some(&other("killed")));
        let now = shares.next().unwrap();
        run(&mut shares, now, Errand::Mount, 6);
    }

    #[test]
    fn the_end_of_a_strange_process_changes_nothing() {
        let mut shares = mounted();
        assert_eq!(shares.ended(99, 1, Some(&other("x"))), []);
        assert!(shares.glance().all(|glance| glance.mounted));
    }
}
