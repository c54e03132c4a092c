//! What to do with the clock, from what the servers said. No I/O.
//!
//! 1. A majority of all configured servers must agree; one that lies or is lost among three changes nothing.
//! 2. The clock is never set before the floor, which only grows: an old time would make expired certificates and stale
//!    revocation lists good again.
//! 3. Nor is it set absurdly far ahead: a time from a broken server would make everything expire.
//! 4. Small offsets are worn off, large ones are stepped.

/// Signed milliseconds; the clock's error, positive when the clock is behind.
pub type Millis = i64;

/// Below this an offset is left alone: a tunnel's own jitter.
const SMALL_MS: Millis = 10;
/// From here on the clock is stepped: wearing off half a second at 500 parts in a million takes 17 minutes.
const STEP_MS: Millis = 500;
/// Servers agree when their offsets differ by no more than this beside their round trips.
const AGREE_MS: Millis = 1000;
/// The furthest that the clock is set beyond the floor. A box may lie in a store room for years, not for more than ten.
pub const FURTHEST_MS: Millis = 10 * 365 * 86_400_000;

/// A server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub offset_ms: Millis,
    pub round_trip_ms: Millis,
}

/// Why the clock is left as it is, though there were answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoMajority { agreeing: usize, configured: usize },
    BeforeFloor,
    TooFarAhead,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoMajority {
                agreeing,
                configured,
            } => {
                write!(f, "only {agreeing} of {configured} time servers agree")
            }
            Self::BeforeFloor => write!(
                f,
                "the time servers say a time before one that has passed already"
            ),
            Self::TooFarAhead => write!(f, "the time servers say a time more than ten years ahead"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    NoAnswer,
    Refuse(Refusal),
    Keep { offset_ms: Millis },
    Slew { offset_ms: Millis },
    Step { offset_ms: Millis },
}

/// `now_ms` and `floor_ms` are since 1970, `samples` the answers of `configured` servers.
pub fn decide(now_ms: Millis, floor_ms: Millis, samples: &[Sample], configured: usize) -> Decision {
    if samples.is_empty() {
        return Decision::NoAnswer;
    }
    let group = largest_group(samples);
    if group.len() * 2 <= configured {
        return Decision::Refuse(Refusal::NoMajority {
            agreeing: group.len(),
            configured,
        });
    }
    let offset_ms = median(&group);
    let time_ms = now_ms.saturating_add(offset_ms);
    if time_ms < floor_ms {
        return Decision::Refuse(Refusal::BeforeFloor);
    }
    if time_ms > floor_ms.saturating_add(FURTHEST_MS) {
        return Decision::Refuse(Refusal::TooFarAhead);
    }
    match offset_ms.saturating_abs() {
        small if small < SMALL_MS => Decision::Keep { offset_ms },
        middling if middling < STEP_MS => Decision::Slew { offset_ms },
        _ => Decision::Step { offset_ms },
    }
}

/// The most samples that agree with one of them.
fn largest_group(samples: &[Sample]) -> Vec<Sample> {
    let around = |centre: &Sample| -> Vec<Sample> {
        let agrees = |other: &&Sample| {
            let apart = centre
                .offset_ms
                .saturating_sub(other.offset_ms)
                .saturating_abs();
            apart
                <= AGREE_MS
                    .saturating_add(centre.round_trip_ms / 2)
                    .saturating_add(other.round_trip_ms / 2)
        };
        samples.iter().filter(agrees).copied().collect()
    };
    samples
        .iter()
        .map(around)
        .max_by_key(Vec::len)
        .unwrap_or_default()
}

fn median(group: &[Sample]) -> Millis {
    let mut offsets: Vec<Millis> = group.iter().map(|sample| sample.offset_ms).collect();
    offsets.sort_unstable();
    offsets.get(offsets.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_800_000_000_000;
    const DAY: Millis = 86_400_000;

    fn samples(offsets: &[Millis]) -> Vec<Sample> {
        offsets
            .iter()
            .map(|offset_ms| Sample {
                offset_ms: *offset_ms,
                round_trip_ms: 20,
            })
            .collect()
    }

    #[test]
    fn the_size_of_the_offset_decides_how_the_clock_is_moved() {
        for (offset_ms, expected) in [
            (0, Decision::Keep { offset_ms: 0 }),
            (-9, Decision::Keep { offset_ms: -9 }),
            (10, Decision::Slew { offset_ms: 10 }),
            (-499, Decision::Slew { offset_ms: -499 }),
            (500, Decision::Step { offset_ms: 500 }),
            (-DAY, Decision::Step { offset_ms: -DAY }),
            (
                900 * DAY,
                Decision::Step {
                    offset_ms: 900 * DAY,
                },
            ),
        ] {
            assert_eq!(
                decide(NOW, NOW - 2 * DAY, &samples(&[offset_ms]), 1),
                expected
            );
        }
    }

    #[test]
    fn the_clock_is_never_set_before_the_floor_nor_absurdly_far_ahead() {
        let floor = NOW - DAY;
        let at = |offset| decide(NOW, floor, &samples(&[offset]), 1);
        assert_eq!(at(-DAY), Decision::Step { offset_ms: -DAY });
        assert_eq!(at(-DAY - 1), Decision::Refuse(Refusal::BeforeFloor));
        assert_eq!(
            at(FURTHEST_MS - DAY),
            Decision::Step {
                offset_ms: FURTHEST_MS - DAY
            }
        );
        assert_eq!(
            at(FURTHEST_MS - DAY + 1),
            Decision::Refuse(Refusal::TooFarAhead)
        );
        assert_eq!(at(Millis::MAX), Decision::Refuse(Refusal::TooFarAhead));
        assert_eq!(at(Millis::MIN), Decision::Refuse(Refusal::BeforeFloor));
    }

    #[test]
    fn a_majority_of_all_configured_servers_must_agree() {
        let floor = NOW - DAY;
        let refused = |agreeing, configured| {
            Decision::Refuse(Refusal::NoMajority {
                agreeing,
                configured,
            })
        };
        assert_eq!(
            decide(NOW, floor, &samples(&[600, 610, 90_000]), 3),
            Decision::Step { offset_ms: 610 }
        );
        assert_eq!(
            decide(NOW, floor, &samples(&[600, 90_000]), 3),
            refused(1, 3)
        );
        assert_eq!(decide(NOW, floor, &samples(&[600, 601]), 4), refused(2, 4));
        assert_eq!(decide(NOW, floor, &samples(&[600]), 2), refused(1, 2));
        assert_eq!(decide(NOW, floor, &[], 3), Decision::NoAnswer);
    }

    #[test]
    fn one_liar_among_three_moves_nothing() {
        for lie in [-FURTHEST_MS, -90_000, 90_000, FURTHEST_MS] {
            let offsets = samples(&[lie, 3, 5]);
            assert_eq!(
                decide(NOW, NOW - DAY, &offsets, 3),
                Decision::Keep { offset_ms: 5 }
            );
        }
    }
}
