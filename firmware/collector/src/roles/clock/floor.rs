//! The floor: a time that has certainly passed, kept across boots.
//!
//! 1. It only grows. It grows with the time that this run lasts, measured by a clock that nobody sets, and with each time
//!    that a majority of servers agreed on; never with what the hardware's clock says, which may be years ahead and would
//!    then forbid the right time for ever.
//! 2. It is durable and whole: written beside, synced, renamed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub struct Floor {
    path: PathBuf,
    /// A time since 1970 that had passed at `at`.
    passed: Duration,
    at: Instant,
}

/// The floor could not be saved; the clock works on with the one in memory.
#[derive(Debug)]
pub struct SaveError {
    path: PathBuf,
    source: std::io::Error,
}

impl std::fmt::Display for SaveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot save the time floor {}", self.path.display())
    }
}

impl std::error::Error for SaveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Floor {
    /// The saved floor, at least the time at which the release was built. A missing or unreadable one is as good as none.
    pub fn load(path: &Path, built: Duration, at: Instant) -> Self {
        let saved = std::fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let saved = Duration::from_secs(saved.unwrap_or(0));
        Self {
            path: path.to_owned(),
            passed: saved.max(built),
            at,
        }
    }

    /// What has passed by `now`, since 1970.
    pub fn at(&self, now: Instant) -> Duration {
        self.passed
            .saturating_add(now.saturating_duration_since(self.at))
    }

    /// Raises the floor to a time that servers agreed on; an earlier one changes nothing.
    pub fn raise(&mut self, agreed: Duration, now: Instant) {
        self.passed = self.at(now).max(agreed);
        self.at = now;
    }

    pub fn save(&self, now: Instant) -> Result<(), SaveError> {
        let fresh = self.path.with_extension("new");
        let save = || {
            let mut file = File::create(&fresh)?;
            writeln!(file, "{}", self.at(now).as_secs())?;
            file.sync_all()?;
            std::fs::rename(&fresh, &self.path)?;
            self.path
                .parent()
                .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        save().map_err(|source| SaveError {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_floor_grows_with_the_run_and_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("floor");
        let start = Instant::now();
        let floor = Floor::load(&path, 1000 * SECOND, start);
        assert_eq!(floor.at(start), 1000 * SECOND);
        floor.save(start + 60 * SECOND).unwrap();
        assert_eq!(
            Floor::load(&path, 1000 * SECOND, start).at(start),
            1060 * SECOND
        );
        assert_eq!(
            Floor::load(&path, 5000 * SECOND, start).at(start),
            5000 * SECOND,
            "a newer release"
        );
    }

    #[test]
    fn agreed_times_raise_it_and_never_lower_it() {
        let start = Instant::now();
        let mut floor = Floor::load(Path::new("/nonexistent/floor"), 1000 * SECOND, start);
        floor.raise(9000 * SECOND, start + SECOND);
        assert_eq!(floor.at(start + 2 * SECOND), 9001 * SECOND);
        floor.raise(2000 * SECOND, start + 2 * SECOND);
        assert_eq!(floor.at(start + 2 * SECOND), 9001 * SECOND);
    }

    #[test]
    fn a_torn_floor_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("floor");
        let start = Instant::now();
        for content in ["", "12x", "-5", "99999999999999999999999"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(
                Floor::load(&path, 7 * SECOND, start).at(start),
                7 * SECOND,
                "{content:?}"
            );
        }
    }
}
