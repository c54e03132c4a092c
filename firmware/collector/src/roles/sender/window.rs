//! Whether bundles may be sent at this time of the day. No clock: the time is a value.

use site::{Sending, Window};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 24 * 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    Closed { opens_in: Duration },
}

/// Open inside any window, and always where there is none.
pub fn gate(sending: &Sending, now: SystemTime) -> Gate {
    let second = second_of_day(now, sending.utc_offset_minutes);
    if sending.windows.is_empty() || sending.windows.iter().any(|window| holds(window, second)) {
        return Gate::Open;
    }
    let until = |window: &Window| (start(window) - second).rem_euclid(DAY_SECONDS);
    let seconds = sending.windows.iter().map(until).min().unwrap_or(0);
    Gate::Closed {
        opens_in: Duration::from_secs(seconds.unsigned_abs()),
    }
}

/// Seconds after the hospital's midnight.
fn second_of_day(now: SystemTime, utc_offset_minutes: i16) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let utc = i64::try_from(since % DAY_SECONDS.unsigned_abs()).unwrap_or(0);
    (utc + i64::from(utc_offset_minutes) * 60).rem_euclid(DAY_SECONDS)
}

fn start(window: &Window) -> i64 {
    i64::from(window.from_minute) * 60
}

fn holds(window: &Window, second: i64) -> bool {
    let (from, to) = (start(window), i64::from(window.to_minute) * 60);
    if from < to {
        (from..to).contains(&second)
    } else {
        // Over midnight, or the whole day.
        second >= from || second < to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sending(windows: &[(u16, u16)], utc_offset_minutes: i16) -> Sending {
        let window = |&(from_minute, to_minute): &(u16, u16)| Window {
            from_minute,
            to_minute,
        };
        Sending {
            windows: windows.iter().map(window).collect(),
            utc_offset_minutes,
            ..Sending::default()
        }
    }

    /// 2026-11-22 at this time UTC.
    fn utc(hours: u64, minutes: u64, seconds: u64) -> SystemTime {
        const MIDNIGHT: u64 = 1_795_305_600;
        UNIX_EPOCH + Duration::from_secs(MIDNIGHT + hours * 3600 + minutes * 60 + seconds)
    }

    fn closed(seconds: u64) -> Gate {
        Gate::Closed {
            opens_in: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn without_windows_it_is_always_open() {
        assert_eq!(gate(&sending(&[], 540), utc(3, 0, 0)), Gate::Open);
    }

    #[test]
    fn a_window_opens_with_its_first_second_and_is_closed_in_its_last_minute_s_successor() {
        let noon = sending(&[(12 * 60, 13 * 60)], 0);
        assert_eq!(gate(&noon, utc(11, 59, 59)), closed(1));
        assert_eq!(gate(&noon, utc(12, 0, 0)), Gate::Open);
        assert_eq!(gate(&noon, utc(12, 59, 59)), Gate::Open);
        assert_eq!(gate(&noon, utc(13, 0, 0)), closed(23 * 3600));
    }

    #[test]
    fn a_window_over_midnight_is_open_on_both_sides_of_it() {
        let night = sending(&[(19 * 60, 6 * 60 + 30)], 0);
        for (hours, minutes, open) in [
            (18, 59, false),
            (19, 0, true),
            (23, 59, true),
            (0, 0, true),
            (6, 29, true),
            (6, 30, false),
        ] {
            let state = gate(&night, utc(hours, minutes, 0));
            assert_eq!(state == Gate::Open, open, "{hours}:{minutes}");
        }
        assert_eq!(gate(&night, utc(6, 30, 0)), closed(12 * 3600 + 1800));
    }

    #[test]
    fn windows_are_in_the_hospital_s_time() {
        let night = |offset| sending(&[(19 * 60, 20 * 60)], offset);
        // 19:30 in Japan is 10:30 UTC; at -03:30 it is 23:00 UTC; at +14:00 it is 05:30 UTC of the same day.
        assert_eq!(gate(&night(540), utc(10, 30, 0)), Gate::Open);
        assert_eq!(gate(&night(540), utc(19, 30, 0)), closed(14 * 3600 + 1800));
        assert_eq!(gate(&night(-210), utc(23, 0, 0)), Gate::Open);
        assert_eq!(gate(&night(840), utc(5, 30, 0)), Gate::Open);
    }

    #[test]
    fn of_several_windows_the_next_one_counts_and_a_whole_day_has_no_end() {
        let two = sending(&[(600, 660), (1200, 1260)], 0);
        assert_eq!(gate(&two, utc(11, 0, 0)), closed(9 * 3600));
        assert_eq!(gate(&two, utc(21, 0, 0)), closed(13 * 3600));
        let day = sending(&[(0, 0)], 540);
        assert!((0..24).all(|hour| gate(&day, utc(hour, 59, 59)) == Gate::Open));
    }

    #[test]
    fn a_box_whose_clock_was_never_set_waits_no_longer_than_a_day() {
        let night = sending(&[(19 * 60, 20 * 60)], -720);
        for now in [UNIX_EPOCH, UNIX_EPOCH - Duration::from_secs(1)] {
            let Gate::Closed { opens_in } = gate(&night, now) else {
                panic!("open")
            };
            assert!(opens_in < Duration::from_secs(24 * 3600));
        }
    }
}
