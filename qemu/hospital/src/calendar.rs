//! Days and moments of the hospital's local time (Japan, UTC+9, no summer time), in the digits of SS-MIX2.
//!
//! Pure arithmetic on the Gregorian calendar; nothing here reads a clock.

use std::fmt;
use std::time::{Duration, SystemTime};

const MILLIS_PER_DAY: u64 = 86_400_000;
/// Japan is ahead of UTC by this much; file time stamps are UTC.
const JAPAN_AHEAD_MILLIS: u64 = 9 * 3_600_000;

/// A day, counted from 1970-01-01. Shown as `YYYYMMDD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

impl Day {
    /// Reads eight digits `YYYYMMDD` of the years 1970 to 2199; `None` for anything else, also for 31 February.
    pub fn parse(digits: &str) -> Option<Day> {
        if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number: u32 = digits.parse().ok()?;
        let day = Day::of(number / 10_000, number / 100 % 100, number % 100)?;
        (day.to_string() == digits).then_some(day)
    }

    fn of(year: u32, month: u32, day: u32) -> Option<Day> {
        if !(1970..2200).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March.
        let y = if month <= 2 { year - 1 } else { year };
        let (era, of_era) = (y / 400, y % 400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        Some(Day(days.checked_sub(719_468)?))
    }

    /// Year, month, day of month.
    pub fn parts(self) -> (u32, u32, u32) {
        let z = self.0 + 719_468;
        let (era, of_era) = (z / 146_097, z % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        (era * 400 + year_of_era + u32::from(month <= 2), month, day)
    }

    /// The day `days` later.
    pub fn plus(self, days: u32) -> Day {
        Day(self.0 + days)
    }

    /// A moment of this day; `millis` may run over into the next days.
    pub fn at(self, millis: u64) -> Moment {
        Moment(u64::from(self.0) * MILLIS_PER_DAY + millis)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.parts();
        write!(f, "{year:04}{month:02}{day:02}")
    }
}

/// A moment of local time in milliseconds since 1970-01-01 00:00 Japan time. Shown as `YYYYMMDDHHMMSSFFF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Reads 17 digits `YYYYMMDDHHMMSSFFF`; hours up to 47 are met in the field and taken.
    pub fn parse(digits: &str) -> Option<Moment> {
        if digits.len() != 17 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let field = |from: usize, to: usize| digits[from..to].parse::<u64>().ok();
        let (hour, minute, second, milli) = (
            field(8, 10)?,
            field(10, 12)?,
            field(12, 14)?,
            field(14, 17)?,
        );
        let valid = hour < 48 && minute < 60 && second < 60;
        valid.then_some(
            Day::parse(&digits[..8])?.at(((hour * 60 + minute) * 60 + second) * 1000 + milli),
        )
    }

    /// The day it falls on.
    pub fn day(self) -> Day {
        Day((self.0 / MILLIS_PER_DAY) as u32)
    }

    /// Later by `millis`.
    pub fn plus(self, millis: u64) -> Moment {
        Moment(self.0 + millis)
    }

    /// The same moment as a time stamp of a file system.
    pub fn system_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.saturating_sub(JAPAN_AHEAD_MILLIS))
    }

    /// `YYYYMMDDHHMMSS`, as HL7 fields have it.
    pub fn seconds(self) -> String {
        let mut digits = self.to_string();
        digits.truncate(14);
        digits
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.0 % MILLIS_PER_DAY;
        let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
        write!(
            f,
            "{}{hour:02}{minute:02}{:02}{:03}",
            self.day(),
            of_day / 1000 % 60,
            of_day % 1000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_days_agree_over_two_centuries() {
        for day in (0..80_000).map(Day) {
            assert_eq!(Day::parse(&day.to_string()), Some(day));
        }
        assert_eq!(
            Day::parse("20240229")
                .map(|d| d.plus(1).to_string())
                .as_deref(),
            Some("20240301")
        );
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for wrong in [
            "20230229", "20241301", "2024010", "-", "2024010a", "19691231",
        ] {
            assert_eq!(Day::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_moment_has_seventeen_digits_and_is_nine_hours_ahead_of_utc() {
        let moment = Day::parse("20240401")
            .map(|d| d.at(9 * 3_600_000 + 7))
            .unwrap();
        assert_eq!(moment.to_string(), "20240401090000007");
        assert_eq!(Moment::parse("20240401090000007"), Some(moment));
        assert_eq!(Moment::parse("20240401096000007"), None);
        let unix = moment
            .system_time()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(unix.as_millis(), 1_711_929_600_007);
    }
}
