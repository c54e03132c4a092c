//! How long to wait after a failure: doubling pauses with a bound, and chance, so that boxes that lost the same receiver
//! do not all come back in the same instant.

use std::time::Duration;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It may be over by itself at any moment: no way to the receiver, a cut, an overloaded server.
    Passing,
    /// Only people can cure it. Asking more often would not help them.
    Refused,
}

impl Kind {
    /// First pause, and the longest.
    fn bounds(self) -> (Duration, Duration) {
        match self {
            Self::Passing => (Duration::from_millis(500), Duration::from_secs(10)),
            Self::Refused => (Duration::from_secs(2), Duration::from_secs(60)),
        }
    }
}

/// Failures in a row.
#[derive(Debug)]
pub struct Pace {
    failures: u32,
}

impl Pace {
    pub fn new() -> Self {
        Self { failures: 0 }
    }

    /// The pause after one more failure.
    pub fn pause(&mut self, kind: Kind) -> Duration {
        let pause = between(self.failures, kind, chance());
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

/// Between half and the whole of the pause that is due after `failures` earlier ones; `chance` is 0-255.
fn between(failures: u32, kind: Kind, chance: u8) -> Duration {
    let (first, longest) = kind.bounds();
    let whole = first
        .saturating_mul(2u32.saturating_pow(failures))
        .min(longest);
    whole / 2 + whole / 2 * u32::from(chance) / 255
}

fn chance() -> u8 {
    let mut byte = [0];
    // Without randomness the boxes merely come back in step.
    let _ = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::NONBLOCK);
    byte[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_the_first_to_the_longest_and_no_further() {
        for kind in [Kind::Passing, Kind::Refused] {
            let (first, longest) = kind.bounds();
            assert_eq!(between(0, kind, 255), first);
            assert_eq!(between(0, kind, 0), first / 2);
            assert_eq!(between(u32::MAX, kind, 255), longest);
            assert!((0..40).all(|n| between(n, kind, 255) <= between(n + 1, kind, 255)));
        }
    }
}
