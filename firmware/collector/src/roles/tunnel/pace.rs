//! Pauses between attempts: they grow up to a bound, with jitter, so that many boxes do not knock at once after an outage.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// First pause, in milliseconds. An attempt against a silent peer has already taken 46 s by then.
const FIRST_MS: u64 = 2_000;
/// Longest pause, in milliseconds: a cure is noticed within this time.
const LONGEST_MS: u64 = 60_000;

pub struct Pace {
    next_ms: u64,
}

impl Pace {
    pub fn new() -> Self {
        Self { next_ms: FIRST_MS }
    }

    /// The pause now due: between half of the step and the whole.
    pub fn pause(&mut self) -> Duration {
        let step = self.next_ms;
        self.next_ms = (step * 2).min(LONGEST_MS);
        // the hasher's keys are random for each process and each call
        let random = RandomState::new().hash_one(step);
        Duration::from_millis(step / 2 + random % (step / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_bound_and_never_vanish() {
        let mut pace = Pace::new();
        for _ in 0..20 {
            let pause = pace.pause().as_millis() as u64;
            assert!((FIRST_MS / 2..=LONGEST_MS).contains(&pause), "{pause}");
        }
        assert!(pace.pause().as_millis() as u64 >= LONGEST_MS / 2);
    }
}
