//! Seeded choice: the same seed makes the same run. SplitMix64 (Steele, Lea, Flood 2014), which passes through every
//! 64-bit value once and needs no state beyond a counter.

use std::time::{SystemTime, UNIX_EPOCH};

/// One step of the mixing function.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// From `LAB_SEED`, or a new one each time.
pub fn given_or_new() -> u64 {
    let given = std::env::var("LAB_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |now| mix(now.as_nanos() as u64) >> 16)
    })
}

/// A stream of choices.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        low + mix(self.0) % (high - low + 1)
    }
}
