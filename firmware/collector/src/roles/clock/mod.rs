//! Role `clock`: keeps the time, by servers inside the tunnel, never before the floor.
//!
//! 1. A clock that stands before the floor at start is set to it.
//! 2. What to do with answers is `decide`'s; what has certainly passed is `floor`'s.
//! 3. Each step is in the trail, and each reason for which answers are not followed, once while it lasts.
//!
//! It trusts the servers as far as a majority of them agrees and the floor allows; they are reached through the tunnel
//! only, since the role's network has nothing else. NTP's client is `rsntp` (RFC 4330).

mod decide;
mod floor;

use crate::runtime::audit::Patience;
use crate::runtime::{Runtime, chain, time};
use decide::{Decision, Millis, Refusal, Sample, decide};
use floor::Floor;
use rsntp::{Config, SntpClient};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use sys::clock::{Direction, slew};

/// Until servers have answered.
const IMPATIENT: Duration = Duration::from_secs(5);
/// A quartz drifts by about 10 ms in this time.
const PATIENT: Duration = Duration::from_secs(300);
/// One answer through a tunnel takes far less.
const ANSWER: Duration = Duration::from_secs(3);
/// After a cut the floor is at most this much behind.
const SAVE: Duration = Duration::from_secs(300);
/// RFC 5905.
const NTP_PORT: u16 = 123;

pub fn run(runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    let servers = runtime.plan()?.clock.servers;
    let floor = Floor::load(
        &runtime.path("/state/clock/floor"),
        built(&runtime),
        Instant::now(),
    );
    let mut keeper = Keeper {
        runtime,
        servers,
        floor,
        refused: None,
        saved: None,
        last_agreed: None,
    };
    keeper.obey_floor();
    keeper.publish(None);
    keeper.runtime.ready();
    loop {
        let synchronised = keeper.turn();
        let until = Instant::now() + if synchronised { PATIENT } else { IMPATIENT };
        while let Some(left) = until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            keeper.runtime.alive();
            std::thread::sleep(left.min(keeper.runtime.longest_wait()));
        }
    }
}

/// When the release was built; nothing is older than the box's own program.
fn built(runtime: &Runtime) -> Duration {
    let text = std::fs::read(runtime.path("/etc/release.json")).unwrap_or_default();
    let release: Value = serde_json::from_slice(&text).unwrap_or_default();
    Duration::from_secs(release["built"].as_u64().unwrap_or(0))
}

struct Keeper {
    runtime: Runtime,
    servers: Vec<Ipv4Addr>,
    floor: Floor,
    refused: Option<Refusal>,
    saved: Option<Instant>,
    last_agreed: Option<SystemTime>,
}

impl Keeper {
    /// Sets a clock that stands before the floor.
    fn obey_floor(&mut self) {
        let (now, floor) = (now(), self.floor.at(Instant::now()));
        if now < floor {
            self.step(
                floor,
                floor
                    .saturating_sub(now)
                    .as_millis()
                    .try_into()
                    .unwrap_or(Millis::MAX),
                "floor",
            );
        }
    }

    /// Asks all servers and follows them, if they are to be followed. False when it should be tried again soon.
    fn turn(&mut self) -> bool {
        let samples = self.ask();
        let at = Instant::now();
        let decision = decide(
            millis(now()),
            millis(self.floor.at(at)),
            &samples,
            self.servers.len(),
        );
        let offset_ms = match decision {
            Decision::NoAnswer => {
                self.publish(Some(("no time server answers", None)));
                self.save(false);
                return false;
            }
            Decision::Refuse(refusal) => {
                self.refuse(refusal);
                return false;
            }
            Decision::Keep { offset_ms }
            | Decision::Slew { offset_ms }
            | Decision::Step { offset_ms } => offset_ms,
        };
        let agreed = Duration::from_millis(
            millis(now())
                .saturating_add(offset_ms)
                .try_into()
                .unwrap_or(0),
        );
        match decision {
            Decision::Slew { .. } => self.slew(offset_ms),
            Decision::Step { .. } => self.step(agreed, offset_ms, "servers"),
            _ => {}
        }
        // Two seconds less: the answers agreed to within a second, and the floor must never be too high.
        self.floor.raise(
            agreed.saturating_sub(Duration::from_secs(2)),
            Instant::now(),
        );
        self.refused = None;
        self.last_agreed = Some(SystemTime::now());
        self.save(true);
        self.publish(Some(("synchronised", Some(offset_ms))));
        true
    }

    fn ask(&self) -> Vec<Sample> {
        let client = SntpClient::with_config(Config::default().timeout(ANSWER).connect_ip(true));
        let mut samples = Vec::new();
        for server in &self.servers {
            self.runtime.alive();
            let millis = |seconds: f64| (seconds * 1000.0) as Millis;
            if let Ok(answer) = client.synchronize((*server, NTP_PORT)) {
                samples.push(Sample {
                    offset_ms: millis(answer.clock_offset().as_secs_f64()),
                    round_trip_ms: millis(answer.round_trip_delay().as_secs_f64().max(0.0)),
                });
            }
        }
        samples
    }

    fn refuse(&mut self, refusal: Refusal) {
        if self.refused != Some(refusal) {
            self.runtime.log(&refusal.to_string());
            self.record("clock-refused", json!({ "reason": refusal.to_string() }));
            self.refused = Some(refusal);
        }
        self.publish(Some(("the time servers are not followed", None)));
        self.save(false);
    }

    fn slew(&mut self, offset_ms: Millis) {
        let direction = if offset_ms > 0 {
            Direction::Forward
        } else {
            Direction::Backward
        };
        if let Err(error) = slew(Duration::from_millis(offset_ms.unsigned_abs()), direction) {
            self.runtime
                .log(&format!("the clock cannot be slewed: {error}"));
        }
    }

    fn step(&mut self, to: Duration, by_ms: Millis, reason: &str) {
        let time = rustix::time::Timespec {
            tv_sec: i64::try_from(to.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: to.subsec_nanos().into(),
        };
        match rustix::time::clock_settime(rustix::time::ClockId::Realtime, time) {
            Ok(()) => self.record(
                "clock-stepped",
                json!({ "milliseconds": by_ms, "reason": reason }),
            ),
            Err(error) => self
                .runtime
                .log(&format!("the clock cannot be set: {error}")),
        }
    }

    fn record(&self, event: &str, fields: Value) {
        if let Err(error) = self
            .runtime
            .audit_with(event, fields, Patience::Seconds(20))
        {
            self.runtime.log(&chain(&error));
        }
    }

    fn save(&mut self, now: bool) {
        if !now && self.saved.is_some_and(|saved| saved.elapsed() < SAVE) {
            return;
        }
        match self.floor.save(Instant::now()) {
            Ok(()) => self.saved = Some(Instant::now()),
            Err(error) => self.runtime.log(&chain(&error)),
        }
    }

    fn publish(&self, news: Option<(&str, Option<Millis>)>) {
        let (state, offset_ms) = news.unwrap_or(("asking the time servers", None));
        let mut status = json!({
            "state": state,
            "offset_ms": offset_ms,
            "synchronised": self.last_agreed.map(time::rfc3339),
            "floor": time::rfc3339(UNIX_EPOCH + self.floor.at(Instant::now())),
        });
        if let Some(refusal) = self.refused {
            status["problem"] = refusal.to_string().into();
            status["advice"] = "the data centre must look at its time servers".into();
        }
        self.runtime.publish(&status);
    }
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

fn millis(duration: Duration) -> Millis {
    duration.as_millis().try_into().unwrap_or(Millis::MAX)
}
