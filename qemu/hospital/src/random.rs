//! Reproducible randomness: the same seed gives the same store on every machine and in every release.
//!
//! Not for secrets. Invariant: the sequence of a given stream never changes, because a pinned digest of a whole
//! store depends on it. Sources: SplitMix64 (Steele, Lea, Flood 2014) and xoshiro256++ (Blackman, Vigna 2019).

/// One step of SplitMix64's output function: spreads every bit of `value` over the whole word.
pub(crate) fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A word that depends on all `parts` and their order.
pub(crate) fn mix_all(parts: &[u64]) -> u64 {
    parts
        .iter()
        .fold(0x5353_4d49_5832, |state, &part| mix(state ^ mix(part)))
}

/// A word that depends on a text, for profiles that follow from a patient ID alone.
pub(crate) fn mix_text(text: &str) -> u64 {
    text.bytes().fold(0x0070_6174_6965_6e74, |state, byte| {
        mix(state ^ u64::from(byte))
    })
}

/// A stream of numbers (xoshiro256++).
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream that belongs to `parts`, for example seed, purpose and index.
    pub fn new(parts: &[u64]) -> Self {
        let start = mix_all(parts);
        Random {
            state: [mix(start), mix(start ^ 1), mix(start ^ 2), mix(start ^ 3)],
        }
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number from 0 to `limit - 1`; 0 where `limit` is 0. The bias (below 2^-32 for our limits) does not matter here.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(limit)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Fills `bytes` with noise that no compressor shrinks.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.word().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_give_the_same_stream_and_others_another() {
        let take = |parts: &[u64]| {
            let mut random = Random::new(parts);
            [random.word(), random.word(), random.word()]
        };
        assert_eq!(take(&[1, 2]), take(&[1, 2]));
        assert_ne!(take(&[1, 2]), take(&[2, 1]));
    }

    #[test]
    fn limits_are_kept_and_reached() {
        let mut random = Random::new(&[7]);
        let seen: Vec<u64> = (0..1000).map(|_| random.within(3, 5)).collect();
        assert!(
            seen.iter().all(|n| (3..=5).contains(n)) && [3, 4, 5].iter().all(|n| seen.contains(n))
        );
        assert_eq!(random.below(0), 0);
    }
}
