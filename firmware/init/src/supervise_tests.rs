use super::*;
use crate::roles::{Network, ROLES};
use std::collections::BTreeMap;

/// The real table, driven by hand: starts are answered at once with a process number of 1000 + row.
struct Desk {
    supervisor: Supervisor,
    now: Millis,
    starts: BTreeMap<&'static str, u32>,
    log: Vec<Action>,
}

impl Desk {
    fn new() -> Self {
        let mut one = Self {
            supervisor: Supervisor::new(ROLES),
            now: 700,
            starts: BTreeMap::new(),
            log: Vec::new(),
        };
        one.event(Event::Tick);
        one
    }

    fn event(&mut self, event: Event) {
        let mut actions = self.supervisor.handle(self.now, event);
        while !actions.is_empty() {
            let mut more = Vec::new();
            for action in actions {
                if let Action::Start(index) = action {
                    *self.starts.entry(ROLES[index].name).or_default() += 1;
                    more.extend(
                        self.supervisor
                            .handle(self.now, Event::Started(index, pid_of(index))),
                    );
                }
                self.log.push(action);
            }
            actions = more;
        }
    }

    fn ready(&mut self, name: &str) {
        match ROLES[row(name)].readiness {
            Readiness::Notifies => self.event(Event::Ready(pid(name))),
            Readiness::Makes(_) => self.event(Event::Made(row(name))),
        }
    }

    fn after(&mut self, passed: Millis) {
        self.now += passed;
        self.event(Event::Tick);
    }

    fn all_ready() -> Self {
        let mut one = Self::new();
        for name in ["audit", "console", "maintenance", "ports"] {
            one.ready(name);
        }
        one.event(Event::Commissioned);
        one.after(1000);
        for name in [
            "keyholder",
            "charon",
            "tunnel",
            "clock",
            "intake",
            "listener",
            "sender",
        ] {
            one.ready(name);
        }
        one
    }

    fn count(&self, wanted: &Action) -> usize {
        self.log.iter().filter(|action| *action == wanted).count()
    }
}

fn row(name: &str) -> usize {
    ROLES.iter().position(|role| role.name == name).unwrap()
}

fn pid_of(index: usize) -> Pid {
    1000 + index as Pid
}

fn pid(name: &str) -> Pid {
    pid_of(row(name))
}

#[test]
fn before_commissioning_only_roles_that_need_no_configuration_are_started() {
    let mut one = Desk::new();
    assert_eq!(
        one.starts.keys().copied().collect::<Vec<_>>(),
        ["audit", "console"]
    );
    one.ready("audit");
    assert_eq!(
        one.starts.keys().copied().collect::<Vec<_>>(),
        ["audit", "console", "maintenance", "ports"]
    );
    one.ready("maintenance");
    assert_eq!(one.count(&Action::LoadPlan), 1);
    assert_eq!(one.starts.len(), 4);
}

#[test]
fn charon_is_not_started_in_the_first_second_of_the_clock() {
    let mut one = Desk::new();
    for name in ["audit", "maintenance"] {
        one.ready(name);
    }
    one.event(Event::Commissioned);
    assert!(one.starts.contains_key("keyholder"));
    assert!(!one.starts.contains_key("charon"));
    let due = one.supervisor.next().unwrap();
    assert_eq!(due, 1100);
    one.after(due - one.now);
    assert!(one.starts.contains_key("charon"));
}

#[test]
fn readiness_of_all_roles_is_announced_once() {
    let mut one = Desk::all_ready();
    assert_eq!(one.count(&Action::AllReady), 1);
    one.event(Event::Ended(pid("intake"), Ending::Status(1)));
    one.after(SHORTEST_REST);
    one.ready("intake");
    assert_eq!(one.count(&Action::AllReady), 1);
}

#[test]
fn a_role_that_keeps_failing_rests_twice_as_long_each_time_up_to_the_limit() {
    let mut one = Desk::all_ready();
    let mut rests = Vec::new();
    for _ in 0..9 {
        one.event(Event::Ended(pid("intake"), Ending::Status(1)));
        let Phase::Resting { until } = one.supervisor.records[row("intake")].phase else {
            panic!("not resting")
        };
        rests.push(until - one.now);
        // everybody else stays alive meanwhile
        one.now = until;
        for name in ROLES
            .iter()
            .map(|role| role.name)
            .filter(|name| *name != "intake")
        {
            one.event(Event::Alive(pid(name)));
        }
        one.event(Event::Tick);
    }
    assert_eq!(
        rests,
        [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    );
    assert_eq!(one.starts["intake"], 10);
}

#[test]
fn a_role_that_was_healthy_for_long_begins_its_back_off_anew() {
    let mut one = Desk::all_ready();
    for _ in 0..4 {
        one.event(Event::Ended(pid("intake"), Ending::Signal(11)));
        one.after(LONGEST_REST);
    }
    one.ready("intake");
    one.now += HEALTHY - 1;
    one.event(Event::Alive(pid("intake")));
    one.now += 1;
    one.event(Event::Ended(pid("intake"), Ending::Status(1)));
    assert_eq!(
        one.supervisor.records[row("intake")].phase,
        Phase::Resting {
            until: one.now + SHORTEST_REST
        }
    );
}

#[test]
fn a_role_without_a_sign_of_life_is_killed_and_started_again_only_when_reaped() {
    let mut one = Desk::all_ready();
    let limit = Millis::from(ROLES[row("sender")].watchdog_seconds.unwrap()) * 1000;
    one.after(limit - 1);
    assert_eq!(one.count(&Action::Kill(pid("sender"))), 0);
    one.event(Event::Alive(pid("sender")));
    one.after(limit - 1);
    assert_eq!(one.count(&Action::Kill(pid("sender"))), 0);
    one.after(1);
    assert_eq!(one.count(&Action::Kill(pid("sender"))), 1);
    one.after(LONGEST_REST * 10);
    assert_eq!(one.starts["sender"], 1);
    one.event(Event::Ended(pid("sender"), Ending::Signal(9)));
    one.after(LONGEST_REST);
    assert_eq!(one.starts["sender"], 2);
}

#[test]
fn a_role_that_is_not_ready_in_time_is_killed() {
    let mut one = Desk::new();
    one.after(START_LIMIT);
    assert_eq!(one.count(&Action::Kill(pid("audit"))), 1);
}

#[test]
fn a_faulty_configuration_starts_nothing_and_is_tried_again() {
    let mut one = Desk::new();
    one.ready("audit");
    for tries in 1..6 {
        assert_eq!(one.starts["maintenance"], tries);
        one.event(Event::Ended(pid("maintenance"), Ending::Status(1)));
        one.after(LONGEST_REST);
    }
    assert!(!one.starts.contains_key("intake"));
    assert_eq!(one.count(&Action::LoadPlan), 0);
}

#[test]
fn a_plan_that_cannot_be_used_ends_maintenance_so_that_it_is_tried_again() {
    let mut one = Desk::new();
    one.ready("audit");
    one.ready("maintenance");
    one.event(Event::Unusable("no such interface".to_owned()));
    assert_eq!(one.count(&Action::Kill(pid("maintenance"))), 1);
    one.event(Event::Ended(pid("maintenance"), Ending::Signal(9)));
    one.after(LONGEST_REST);
    assert_eq!(one.starts["maintenance"], 2);
}

#[test]
fn maintenance_that_ended_well_after_it_was_ready_counts_as_ready_and_stays_ended() {
    let mut one = Desk::new();
    one.ready("audit");
    one.ready("maintenance");
    one.event(Event::Ended(pid("maintenance"), Ending::Status(0)));
    one.after(LONGEST_REST);
    assert_eq!(one.starts["maintenance"], 1);
}

#[test]
fn a_message_of_a_process_that_is_no_role_changes_nothing() {
    let mut one = Desk::new();
    one.event(Event::Ready(77));
    one.event(Event::Alive(77));
    one.event(Event::Ended(77, Ending::Status(0)));
    assert_eq!(one.starts.len(), 2);
}

#[test]
fn the_socket_of_a_role_that_does_not_notify_is_looked_for_until_it_is_there() {
    let mut one = Desk::new();
    for name in ["audit", "maintenance"] {
        one.ready(name);
    }
    one.event(Event::Commissioned);
    one.after(1000);
    let look = Action::LookFor(row("charon"));
    for times in 1..4 {
        one.after(LOOK_PERIOD);
        assert_eq!(one.count(&look), times);
    }
    assert!(!one.starts.contains_key("tunnel"));
    one.event(Event::Made(row("charon")));
    assert!(one.starts.contains_key("tunnel"));
}

#[test]
fn on_stop_audit_ends_last_and_a_role_that_does_not_end_is_killed() {
    let mut one = Desk::all_ready();
    one.log.clear();
    one.event(Event::Stop);
    let terminated = one
        .log
        .iter()
        .filter(|action| matches!(action, Action::Terminate(_)))
        .count();
    assert_eq!(terminated, ROLES.len() - 1);
    for role in ROLES
        .iter()
        .filter(|role| role.name != "audit" && role.name != "intake")
    {
        one.event(Event::Ended(pid(role.name), Ending::Signal(15)));
    }
    assert_eq!(one.count(&Action::Terminate(pid("audit"))), 0);
    one.after(STOP_LIMIT);
    assert_eq!(one.count(&Action::Kill(pid("intake"))), 1);
    one.event(Event::Ended(pid("intake"), Ending::Signal(9)));
    assert_eq!(one.count(&Action::Terminate(pid("audit"))), 1);
    one.event(Event::Ended(pid("audit"), Ending::Signal(15)));
    assert_eq!(one.log.last(), Some(&Action::AllStopped));
}

#[test]
fn the_table_has_a_watchdog_for_every_role_that_speaks_the_protocol() {
    for role in ROLES {
        assert_eq!(
            role.watchdog_seconds.is_some(),
            role.readiness == Readiness::Notifies,
            "{}",
            role.name
        );
        assert!(role.name != "intake" || role.network == Network::None);
    }
}
