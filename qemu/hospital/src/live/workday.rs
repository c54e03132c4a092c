//! The deeds of a hospital's days, from a seed: most of them in working hours, reports and files of the month in the
//! night, a clock that is set now and then.

use super::{Deed, Manner};
use crate::random::Random;

/// Purpose of the random stream.
const STREAM_DAYS: u64 = 7;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How much a hospital writes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Deeds a day. A hospital of 500 beds has 8 000 to 20 000 file events.
    pub deeds_a_day: u32,
    /// Longest pause of a slow writer between two pieces.
    pub longest_gap_ms: u32,
    /// Leave some files half-written for a while.
    pub torn: bool,
    /// Write odd files and remove some.
    pub odd: bool,
}

/// Gives deeds, each with the time at which it is due, in milliseconds since midnight of the first day. Endless.
#[derive(Clone, Debug)]
pub struct Workday {
    pace: Pace,
    random: Random,
    at_ms: u64,
    /// Monthly files that are still to be written in this night.
    monthly: u16,
    torn: u8,
}

impl Workday {
    /// Days that begin at this time of the first one.
    pub fn new(seed: u64, pace: Pace, from_ms: u64) -> Workday {
        Workday {
            pace,
            random: Random::new(&[seed, STREAM_DAYS]),
            at_ms: from_ms,
            monthly: 0,
            torn: 0,
        }
    }

    /// Nine tenths of the deeds fall into the ten working hours.
    fn pause_ms(&mut self) -> u64 {
        let hour = self.at_ms % DAY_MS / HOUR_MS;
        let deeds = u64::from(self.pace.deeds_a_day.max(1));
        let mean = if (8..18).contains(&hour) {
            10 * HOUR_MS * 10 / (9 * deeds)
        } else {
            14 * HOUR_MS * 10 / deeds
        };
        self.random.below(2 * mean + 1)
    }

    fn manner(&mut self) -> Manner {
        match self.random.below(100) {
            0..75 => Manner::AtOnce,
            75..98 => Manner::Slow {
                pieces: self.random.within(2, 6) as u8,
                gap_ms: self
                    .random
                    .within(10, u64::from(self.pace.longest_gap_ms.max(10)))
                    as u32,
            },
            _ if self.pace.torn => {
                self.torn += 1;
                Manner::Torn
            }
            _ => Manner::AtOnce,
        }
    }

    fn draw(&mut self) -> Deed {
        let pick = self.random.word() as u16;
        if self.torn > 0 && self.random.chance(20) {
            self.torn = 0;
            return Deed::Mend;
        }
        if self.monthly > 0 {
            self.monthly -= 1;
            let (pick, manner) = (self.monthly, self.manner());
            return if pick < 4 {
                Deed::Receipt { pick, manner }
            } else {
                Deed::Dpc {
                    pick: pick - 4,
                    manner,
                }
            };
        }
        let manner = self.manner();
        match self.random.below(1000) {
            0..720 => Deed::Order {
                pick,
                late: self.random.chance(20),
                manner,
            },
            720..850 => Deed::Update { pick, manner },
            850..880 => Deed::Delete { pick, manner },
            880..940 => Deed::Document {
                pick,
                files: self.random.within(1, 6) as u8,
                manner,
            },
            940..955 => Deed::Supersede { pick, manner },
            955..962 => Deed::Withdraw { pick },
            962..970 => Deed::Enclose { pick, manner },
            970..985 => Deed::Replace { pick, manner },
            985..990 => Deed::Reoutput {
                pick,
                files: self.random.within(5, 50) as u32,
                same: self.random.chance(50),
            },
            990..996 if self.pace.odd => Deed::Odd { pick },
            996..998 if self.pace.odd => Deed::Remove { pick },
            998 => Deed::Skew {
                seconds: self.random.below(240) as i32 - 120,
            },
            _ => Deed::Order {
                pick,
                late: false,
                manner,
            },
        }
    }
}

impl Iterator for Workday {
    type Item = (u64, Deed);

    fn next(&mut self) -> Option<(u64, Deed)> {
        let before = self.at_ms / DAY_MS;
        self.at_ms += self.pause_ms();
        // the night in which the files of the month are made: every thirtieth, the first one too
        if (self.at_ms / DAY_MS != before || self.at_ms == 0) && before.is_multiple_of(30) {
            self.monthly = 9;
        }
        let deed = self.draw();
        Some((self.at_ms, deed))
    }
}
