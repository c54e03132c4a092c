//! How long to wait after a failure: pauses that grow up to a bound, and chance, so that boxes that lost the same
//! receiver do not all come back in the same instant.
//!
//! Each pause lies anywhere between the first one and three times the one before ("decorrelated jitter"): boxes that
//! failed together are apart after one pause, and further apart after each.

use std::time::Duration;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It may be over by itself at any moment: no way to the receiver, a cut, an overloaded server.
    Passing,
    /// Only people can cure it. Asking more often would not help them.
    Refused,
    /// The bundle has rotted. The intake finds it too and reports its loss.
    Damaged,
}

impl Kind {
    /// Shortest and longest pause.
    fn bounds(self) -> (Duration, Duration) {
        match self {
            Self::Passing => (Duration::from_millis(500), Duration::from_secs(10)),
            Self::Refused | Self::Damaged => (Duration::from_secs(2), Duration::from_secs(60)),
        }
    }
}

/// Failures in a row.
#[derive(Debug)]
pub struct Pace {
    last: Duration,
}

impl Pace {
    pub fn new() -> Self {
        Self {
            last: Duration::ZERO,
        }
    }

    /// The pause after one more failure.
    pub fn pause(&mut self, kind: Kind) -> Duration {
        self.pause_by(kind, chance())
    }

    /// As [`pause`](Self::pause), with the chance as a value.
    fn pause_by(&mut self, kind: Kind, chance: u32) -> Duration {
        let (first, longest) = kind.bounds();
        let most = (self.last.max(first) * 3).min(longest);
        let share = f64::from(chance) / f64::from(u32::MAX);
        self.last = first + (most - first).mul_f64(share);
        self.last
    }
}

fn chance() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness the boxes merely come back in step.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chances of a seed, as SplitMix64 makes them.
    fn chances(mut seed: u64) -> impl FnMut() -> u32 {
        move || {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32) as u32
        }
    }

    #[test]
    fn every_pause_lies_between_the_first_and_the_longest() {
        for kind in [Kind::Passing, Kind::Refused, Kind::Damaged] {
            let (first, longest) = kind.bounds();
            for seed in 0..200 {
                let (mut pace, mut chance) = (Pace::new(), chances(seed));
                let mut before = first;
                for _ in 0..50 {
                    let pause = pace.pause_by(kind, chance());
                    assert!(
                        first <= pause && pause <= longest.min(before * 3),
                        "{pause:?}"
                    );
                    before = pause;
                }
            }
        }
    }

    #[test]
    fn with_the_worst_luck_the_longest_pause_is_reached_and_kept() {
        for (kind, steps) in [(Kind::Passing, 3), (Kind::Refused, 4)] {
            let (mut pace, longest) = (Pace::new(), kind.bounds().1);
            let pauses: Vec<_> = (0..10).map(|_| pace.pause_by(kind, u32::MAX)).collect();
            assert!(
                pauses[steps - 1..].iter().all(|pause| *pause == longest),
                "{pauses:?}"
            );
        }
    }

    #[test]
    fn boxes_that_failed_together_come_back_apart() {
        let mut pauses: Vec<Duration> = (0..200)
            .map(|seed| Pace::new().pause_by(Kind::Passing, chances(seed)()))
            .collect();
        pauses.sort();
        // 200 boxes in one second: no tenth of it has more than a quarter of them.
        let crowd = |from: &Duration| {
            let end = *from + Duration::from_millis(100);
            pauses
                .iter()
                .filter(|pause| (*from..end).contains(pause))
                .count()
        };
        assert!(pauses.iter().map(crowd).max().unwrap() < 50);
    }

    #[test]
    fn a_failure_of_the_other_kind_goes_on_within_its_own_bounds() {
        let mut pace = Pace::new();
        for _ in 0..10 {
            pace.pause_by(Kind::Refused, u32::MAX);
        }
        assert_eq!(
            pace.pause_by(Kind::Passing, u32::MAX),
            Duration::from_secs(10)
        );
        assert_eq!(pace.pause_by(Kind::Passing, 0), Duration::from_millis(500));
    }
}
