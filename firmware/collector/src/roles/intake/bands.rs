//! Newest first over all patients of a source: walks in bands of dates.
//!
//! A store is arranged by patient and then by date, so a walk from the greatest name to the least takes all the years of one
//! patient before last month's records of the next. That matters where there is much to take: before a first walk has come to
//! its end, and when a vendor writes old records anew ([`super::quota`]). Such a walk goes over the patients once for each
//! band of dates: back to 90 days, a year, three years, and for all the rest. It is one walk all the same, with one number
//! and one checkpoint. Separate passes by date before a walk over everything would be less to write, but that walk would
//! list each folder and ask about each file once more, half as many questions again as a first scan takes.
//!
//! Invariants
//! 1. The bands of a walk share out its paths: each path is in one of them, by the date in it; one without a date is in the
//!    last. A folder is accounted for in its own band only: its files, what is missing in it, its stamp, the counts. In the
//!    other bands the folders above dates are a way, of which nothing but the names of folders is asked for. So a walk in
//!    bands concludes what one without them does, once.
//! 2. What it costs more is a listing of the folders above dates for each band but one.
//! 3. A place in a walk is a band and a folder. The mains' failing loses neither.
//! 4. Only sources that are arranged by date are walked so.
//!
//! Within a band the order is that of the names. Recent dates come before all this, in each turn ([`super::walk`]).

use super::pacing::written;

/// Where bands end, in days back.
const BACK: [u64; 3] = [90, 365, 3 * 365];

/// Lesser and greater than all dates.
const LEAST: [u8; 8] = *b"00000000";
const GREATEST: [u8; 8] = [0xff; 8];

/// Folders above the dates of a store, at most: facility, two groups, patient.
const ABOVE_DATES: usize = 5;

/// Begins a place that has a band; no path does.
const MARK: u8 = 0;

/// Dates of a store that a walk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    from: [u8; 8],
    /// Exclusive.
    until: [u8; 8],
}

impl Band {
    /// Everything, whether it has a date or not.
    pub const ALL: Self = Self {
        from: LEAST,
        until: GREATEST,
    };

    pub fn since(from: [u8; 8]) -> Self {
        Self {
            from,
            until: GREATEST,
        }
    }

    /// The first band of a walk that begins on this day.
    pub fn newest(today: u64) -> Self {
        Self::since(written(today.saturating_sub(BACK[0])))
    }

    /// The band that follows in a walk; `None`: this was the last.
    pub fn older(self, today: u64) -> Option<Self> {
        let ends = BACK.map(|days| written(today.saturating_sub(days)));
        (self.from > LEAST).then(|| Self {
            from: ends
                .into_iter()
                .find(|end| *end < self.from)
                .unwrap_or(LEAST),
            until: self.from,
        })
    }

    /// Whether a path belongs to it.
    pub fn holds(self, path: &[u8]) -> bool {
        self == Self::ALL
            || match date_in(path) {
                Some(date) => (&self.from[..]..&self.until[..]).contains(&date),
                None => self.from == LEAST,
            }
    }

    /// Whether a folder belongs to it, or may lead to one that does.
    pub fn covers(self, path: &[u8]) -> bool {
        self.holds(path) || (date_in(path).is_none() && may_lead_to_dates(path))
    }

    /// A place in a walk, as the catalogue keeps it.
    pub fn place(self, path: &[u8]) -> Vec<u8> {
        if self == Self::ALL {
            return path.to_vec();
        }
        [&[MARK], &self.from[..], &self.until[..], path].concat()
    }

    /// Band and folder of a place.
    pub fn of_place(place: &[u8]) -> (Self, &[u8]) {
        let parts = place.strip_prefix(&[MARK]).and_then(|rest| {
            let (from, rest) = rest.split_first_chunk()?;
            let (until, path) = rest.split_first_chunk()?;
            let (from, until) = (*from, *until);
            Some((Self { from, until }, path))
        });
        parts.unwrap_or((Self::ALL, place))
    }
}

fn may_lead_to_dates(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').count() <= ABOVE_DATES
        && !path.ends_with(b"/-")
        && !path.windows(3).any(|part| part == b"/-/")
}

/// The first component that is a date. A patient's number may look like one, but lies below two groups that begin it.
fn date_in(path: &[u8]) -> Option<&[u8]> {
    let mut above: [&[u8]; 2] = [b"", b""];
    for name in path.split(|&byte| byte == b'/') {
        let is_patient = above[0].len() == 3
            && name
                .strip_prefix(above[0])
                .is_some_and(|rest| rest.starts_with(above[1]) && above[1].len() == 3);
        if name.len() == 8 && name.iter().all(u8::is_ascii_digit) && !is_patient {
            return Some(name);
        }
        above = [above[1], name];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2030-03-18.
    const TODAY: u64 = 21_991;

    fn bands() -> Vec<Band> {
        std::iter::successors(Some(Band::newest(TODAY)), |band| band.older(TODAY)).collect()
    }

    #[test]
    fn each_path_is_in_one_band_and_bands_go_back_in_time() {
        let bands = bands();
        assert_eq!(bands.len(), 4);
        for (path, place) in [
            ("1/209/912/1/20310101/OMP-01/x", 0),
            ("1/20300318", 0),
            ("1/20291218/OMP-01", 0),
            ("1/20291217", 1),
            ("1/20290318", 1),
            ("1/20290317", 2),
            ("1/20270319", 2),
            ("1/20270318", 3),
            ("1/19990101/x", 3),
            ("1/00000000", 3),
            ("1/99999999", 0),
            ("", 3),
            ("1/000/000/1", 3),
            ("1/000/000/1/-/ADT-00", 3),
            ("a/b/c/d/e/f/g", 3),
        ] {
            let path = path.as_bytes();
            let holding: Vec<_> = (0..bands.len())
                .filter(|band| bands[*band].holds(path))
                .collect();
            assert_eq!(holding, [place], "{}", path.escape_ascii());
            assert!(Band::ALL.holds(path) && Band::ALL.covers(path));
        }
    }

    #[test]
    fn days_that_pass_between_two_bands_leave_nothing_out() {
        let (mut band, mut today) = (Band::newest(TODAY), TODAY);
        while let Some(older) = {
            today += 400;
            band.older(today)
        } {
            assert_eq!(older.until, band.from);
            band = older;
        }
        assert_eq!(band.from, LEAST);
    }

    #[test]
    fn a_band_covers_the_way_to_its_dates_and_no_other() {
        let band = bands()[1];
        for way in ["", "1319999999", "1319999999/000/000/0000001234"] {
            assert!(band.covers(way.as_bytes()));
        }
        for other in [
            "1/000/000/1/-",
            "1/000/000/1/-/ADT-00",
            "1/000/000/1/20300318",
            "1/000/000/1/20200318",
            "1/2/3/4/5/6",
        ] {
            assert!(!band.covers(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_place_is_read_back_with_its_band_and_one_without_is_a_path() {
        for band in bands().into_iter().chain([Band::ALL]) {
            for path in [&b""[..], b"000/000/1", &[0xff, b'/', 1]] {
                assert_eq!(Band::of_place(&band.place(path)), (band, path));
            }
        }
        assert!(!Band::newest(TODAY).place(b"").is_empty());
    }

    #[test]
    fn the_number_of_a_patient_is_no_date() {
        for (path, date) in [
            ("000/012/00001234", None),
            ("1319999999/203/003/20300318", None),
            (
                "1319999999/203/003/20300318/20240101/OMP-01",
                Some("20240101"),
            ),
            ("203/003/19990101", Some("19990101")),
            ("0000001234/20240101", Some("20240101")),
        ] {
            assert_eq!(date_in(path.as_bytes()), date.map(str::as_bytes), "{path}");
        }
    }
}
