//! How hard a share may be asked, and what a walk asks: decisions from settings, time and what the source has shown.
//!
//! Invariants
//! 1. A folder's listing is spared only where its time is as remembered, the source's times have proven honest, and
//!    neither the sample nor the rolling look falls on it. One lie ends that for good.
//! 2. In the time `verify`, every file of a source is asked for its size and time at least once; those of recent dates,
//!    and of sources that are not arranged by date, in every walk.
//!
//! All days are those of Japan Standard Time, which has no daylight saving.

use super::bands::Band;
use super::looks::key;
use super::world::World;
use catalogue::Honesty;
use site::SourceKind;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the site configuration says about pacing.
#[derive(Clone, Debug)]
pub struct Pacing {
    /// Questions to one share in a second; 0: no limit.
    pub requests_per_second: u32,
    /// Hours of the day in which old dates are walked: from, to (exclusive); the same twice: all day.
    pub hours: (u8, u8),
    /// Dates so many days back are recent.
    pub recent_days: u32,
    /// In this time each file is asked for its size and time once. Zero: in every walk.
    pub verify: Duration,
    /// Files of old dates taken in a day, once a source was walked to its end; 0: no limit.
    pub daily_quota: u64,
    /// A folder's time is remembered only when it lies so far back: changes within one tick of a server's clock, and
    /// its distance from ours, must not hide anything.
    pub settle: Duration,
    /// Threads that ask one share.
    pub threads: usize,
}

impl Pacing {
    /// Asks for everything in every walk, with one thread.
    pub fn eager() -> Self {
        Self {
            requests_per_second: 0,
            hours: (0, 0),
            recent_days: 7,
            verify: Duration::ZERO,
            daily_quota: 0,
            settle: SETTLE,
            threads: 1,
        }
    }
}

pub const SETTLE: Duration = Duration::from_secs(600);
pub const THREADS: usize = 2;

/// Evidence after which a source's times are trusted: folders unchanged in both, and folders changed in both. Without
/// the second, a server that always gives the same time would look honest.
const AGREED: u64 = 1000;
const MOVED: u64 = 20;

/// While times are trusted, one part of this many is listed all the same in each walk.
const SAMPLE: u64 = 16;

const JAPAN_SECONDS: u64 = 9 * 3600;
const DAY_SECONDS: u64 = 86_400;

/// Days since 1970 in Japan.
pub fn day(unix_seconds: u64) -> u64 {
    (unix_seconds + JAPAN_SECONDS) / DAY_SECONDS
}

/// Whether old dates may be walked at this time.
pub fn within_hours(hours: (u8, u8), unix_seconds: u64) -> bool {
    let hour = ((unix_seconds + JAPAN_SECONDS) % DAY_SECONDS / 3600) as u8;
    let (from, to) = hours;
    match from.cmp(&to) {
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Less => (from..to).contains(&hour),
        std::cmp::Ordering::Greater => hour >= from || hour < to,
    }
}

/// The date of a day as a store writes it, `YYYYMMDD`.
pub fn written(day: u64) -> [u8; 8] {
    // days since 0000-03-01 in eras of 400 years
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (month, date) = (
        if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        },
        of_year - (153 * shifted + 2) / 5 + 1,
    );
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let mut text = [b'0'; 8];
    let mut rest = year * 10_000 + month * 100 + date;
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text
}

/// Which folders a walk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Everything,
    /// Folders of recent dates, and the way to them.
    Recent,
    /// Folders that were hinted, the way to them, and what is new in them.
    Hinted,
}

/// What one walk asks.
#[derive(Clone, Debug)]
pub struct Policy {
    scope: Scope,
    /// Dates that the walk is for now.
    pub(super) band: Band,
    /// The source is not arranged by date, or everything is asked always.
    eager: bool,
    pub trusted: bool,
    recent: Band,
    /// Share of the parts that is due, as a stretch of their hashes; `None`: all.
    window: Option<(u32, u32)>,
    sample: u64,
    pub remember_before_ns: i64,
    /// No walk has come to its end.
    first: bool,
    /// Paths, where the scope is that.
    pub hinted: BTreeSet<Vec<u8>>,
}

impl Policy {
    pub fn new(
        pacing: &Pacing,
        kind: SourceKind,
        scope: Scope,
        source: &catalogue::Source,
        now: u64,
    ) -> Self {
        let recent = Band::since(recent_from(pacing, now));
        let settle = i64::try_from(now.saturating_sub(pacing.settle.as_secs())).unwrap_or(i64::MAX);
        Self {
            scope,
            band: if scope == Scope::Recent {
                recent
            } else {
                Band::ALL
            },
            eager: !is_dated(kind) || pacing.verify.is_zero(),
            trusted: is_honest(source.honesty),
            recent,
            window: window(pacing.verify.as_secs(), source.finished, now),
            sample: source.walk % SAMPLE,
            remember_before_ns: settle.saturating_mul(1_000_000_000),
            first: source.finished.is_none(),
            hinted: BTreeSet::new(),
        }
    }

    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether all files of the part at this path are to be asked for.
    pub fn is_due(&self, path: &[u8]) -> bool {
        let hash = hash(path);
        self.eager
            || self.scope == Scope::Hinted
            || (self.scope == Scope::Everything
                && self.window.is_none_or(|(from, to)| {
                    if from <= to {
                        (from..to).contains(&hash)
                    } else {
                        hash >= from || hash < to
                    }
                }))
    }

    /// Whether the part at this path is listed whatever its times say.
    pub fn is_sampled(&self, path: &[u8]) -> bool {
        self.scope == Scope::Everything && u64::from(hash(path)) % SAMPLE == self.sample
    }

    /// Whether a path lies in a folder of a recent date.
    pub fn is_recent(&self, path: &[u8]) -> bool {
        self.recent.holds(path)
    }

    /// Whether a walk goes into a folder that it has seen in a listing.
    pub fn enters(&self, path: &[u8], known: bool) -> bool {
        match self.scope {
            // before a first walk has come to its end everything would be new
            Scope::Hinted => {
                self.leads_to_hinted(path) || (!known && !self.first && self.is_below_hinted(path))
            }
            Scope::Everything | Scope::Recent => self.covers(path),
        }
    }

    fn is_below_hinted(&self, path: &[u8]) -> bool {
        let ends = (0..path.len()).filter(|&at| path[at] == b'/');
        self.hinted.contains(&b""[..])
            || ends.into_iter().any(|at| self.hinted.contains(&path[..at]))
    }

    fn leads_to_hinted(&self, path: &[u8]) -> bool {
        let below = [path, b"/"].concat();
        let first = self.hinted.range(below.clone()..).next();
        self.hinted.contains(path) || first.is_some_and(|first| first.starts_with(&below))
    }

    /// Whether a folder belongs to what the walk is for now, or leads to it.
    pub fn covers(&self, path: &[u8]) -> bool {
        self.band.covers(path)
    }

    /// Whether what is in a folder is looked at now. If not, the folder is a way to others.
    pub fn accounts_for(&self, path: &[u8]) -> bool {
        self.band.holds(path)
    }
}

pub fn is_honest(honesty: Honesty) -> bool {
    !honesty.lied && honesty.agreed >= AGREED && honesty.moved >= MOVED
}

/// Whether a path lies in a folder of a date that is recent now.
pub fn is_recent(pacing: &Pacing, path: &[u8], now: u64) -> bool {
    Band::since(recent_from(pacing, now)).holds(path)
}

/// Whether a source is arranged by date.
pub fn is_dated(kind: SourceKind) -> bool {
    matches!(kind, SourceKind::Standardized | SourceKind::Extended)
}

fn recent_from(pacing: &Pacing, now: u64) -> [u8; 8] {
    written(day(now).saturating_sub(pacing.recent_days.into()))
}

/// The hashes whose turn comes between the last complete walk and now: they go round once in the time `verify`.
fn window(verify_seconds: u64, finished: Option<u64>, now: u64) -> Option<(u32, u32)> {
    let since = now.checked_sub(finished?)?;
    if since >= verify_seconds {
        return None;
    }
    let place = |time: u64| {
        (u128::from(time % verify_seconds) * (1 << 32) / u128::from(verify_seconds)) as u32
    };
    Some((place(finished?), place(now)))
}

/// Of a path; the same in every run.
pub fn hash(path: &[u8]) -> u32 {
    key(path) as u32
}

/// Keeps the questions to one share within its budget.
pub struct Pace {
    per_second: u64,
    asked: AtomicU64,
    /// Uptime at the first question, in milliseconds plus one.
    since_ms: AtomicU64,
}

/// Questions between two looks at the clock.
const BURST: u64 = 16;

impl Pace {
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.into(),
            asked: AtomicU64::new(0),
            since_ms: AtomicU64::new(0),
        }
    }

    /// Counts one question, and waits where the budget is used up.
    pub fn ask(&self, world: &impl World) {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if self.per_second == 0 || !asked.is_multiple_of(BURST) {
            return;
        }
        let now = u64::try_from(world.uptime().as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let since =
            match self
                .since_ms
                .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => now,
                Err(since) => since,
            };
        let due = asked * 1000 / self.per_second;
        let passed = now.saturating_sub(since);
        if passed > due + 1000 {
            // what was not used is not saved up
            self.asked.store(0, Ordering::Relaxed);
            self.since_ms.store(now, Ordering::Relaxed);
        } else if due > passed {
            world.pause(Duration::from_millis(due - passed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(finished: Option<u64>, honesty: Honesty) -> Option<catalogue::Source> {
        let folder = tempfile::tempdir().ok()?;
        let mut catalogue = catalogue::Catalogue::open(&folder.path().join("c")).ok()?;
        let source = catalogue.source("wards").ok()?;
        Some(catalogue::Source {
            finished,
            honesty,
            ..source
        })
    }

    #[test]
    fn a_day_is_written_as_the_store_writes_it() {
        for (day, text) in [
            (0, b"19700101"),
            (19_782, b"20240229"),
            (19_783, b"20240301"),
            (20_088, b"20241231"),
        ] {
            assert_eq!(&written(day), text);
        }
    }

    #[test]
    fn hours_may_reach_over_midnight() {
        let at = |hour: u64| (hour + 24 - 9) % 24 * 3600 + 86_400;
        assert!(within_hours((20, 6), at(23)) && within_hours((20, 6), at(5)));
        assert!(!within_hours((20, 6), at(6)) && !within_hours((20, 6), at(19)));
        assert!(within_hours((3, 3), at(12)));
    }

    #[test]
    fn every_part_is_due_once_in_the_time_of_the_rolling_look_whenever_walks_happen() {
        let verify = 1_000_000;
        let mut due = [0u32; 500];
        let (mut last, end) = (5_000_000, 5_000_000 + verify);
        for step in [1, 90_000, 300_000, 7, 123_456].iter().cycle() {
            let now = (last + step).min(end);
            let window = window(verify, Some(last), now);
            for (part, due) in due.iter_mut().enumerate() {
                let hash = hash(format!("part {part}").as_bytes());
                let (from, to) = window.unwrap_or((0, u32::MAX));
                *due += u32::from(if from <= to {
                    (from..to).contains(&hash)
                } else {
                    hash >= from || hash < to
                });
            }
            last = now;
            if now == end {
                break;
            }
        }
        assert!(due.iter().all(|due| *due == 1), "{due:?}");
        assert!(window(verify, None, 7).is_none(), "never walked: all");
        assert!(
            window(verify, Some(9), 7).is_none(),
            "the clock went back: all"
        );
    }

    #[test]
    fn times_are_trusted_after_evidence_of_both_kinds_and_never_after_a_lie() {
        let honest = Honesty {
            agreed: AGREED,
            moved: MOVED,
            lied: false,
        };
        assert!(is_honest(honest));
        assert!(!is_honest(Honesty {
            moved: MOVED - 1,
            ..honest
        }));
        assert!(!is_honest(Honesty {
            agreed: AGREED - 1,
            ..honest
        }));
        assert!(!is_honest(Honesty {
            lied: true,
            ..honest
        }));
    }

    #[test]
    fn a_hinted_look_goes_to_what_was_hinted_and_into_what_is_new_there() {
        let policy = |finished| {
            let source = source(finished, Honesty::default()).unwrap();
            let (kind, scope) = (SourceKind::Dpc, Scope::Hinted);
            let mut policy = Policy::new(&Pacing::eager(), kind, scope, &source, 7);
            policy.hinted = [b"1/a/x".to_vec(), b"1/a-b".to_vec(), b"3".to_vec()].into();
            policy
        };
        for (path, known, enters, at_first) in [
            ("1", true, true, true),
            ("1/a", true, true, true),
            ("1/a/x", true, true, true),
            ("1/a/x/old", true, false, false),
            ("1/a/x/new", false, true, false),
            ("1/a/x/new/er", false, true, false),
            ("1/a/y", false, false, false),
            ("1/a-b", true, true, true),
            ("2", false, false, false),
            ("3/new", false, true, false),
        ] {
            let path = path.as_bytes();
            assert_eq!(policy(Some(1)).enters(path, known), enters);
            assert_eq!(policy(None).enters(path, known), at_first);
        }
    }

    #[test]
    fn a_recent_walk_covers_recent_dates_and_the_way_to_them() {
        let now = 1_900_000_000; // 2030-03-18 in Japan
        let source = source(Some(now - 1), Honesty::default()).unwrap();
        let policy = Policy::new(
            &Pacing {
                verify: Duration::from_secs(999_999),
                ..Pacing::eager()
            },
            SourceKind::Standardized,
            Scope::Recent,
            &source,
            now,
        );
        assert!(
            policy.covers(b"1319999999/000/000/0000001234")
                && policy.covers(b"1/000/000/1/20300317/OMP-01")
        );
        assert!(!policy.covers(b"1/000/000/1/20300301") && !policy.covers(b"1/000/000/1/-"));
    }
}
