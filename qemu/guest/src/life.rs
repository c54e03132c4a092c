//! The hospital's system at work in its guest: deeds as the harness asks for them, slow files by the guest's own clock.
//!
//! 1. The system writes through links in a folder of its own, one for each root. So it goes on writing while a root is hidden from
//!    the shares: the root is moved away and its link follows, both while nothing is written.
//! 2. Times are read from the clock at each write: a guest that was stopped for a while says so in its truth.

use hospital::live::{Deed, Stamps, Writer};
use hospital::{Moment, Oddities};
use lab_guest::Home;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Japan is ahead of UTC by this much; the hospital's dates are Japan's.
const JAPAN_AHEAD: Duration = Duration::from_secs(9 * 3600);

/// A living hospital.
pub struct Life {
    home: Home,
    shared: Arc<Shared>,
}

struct Shared {
    begun: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    writer: Writer,
    /// What the thread that completes slow files could not do.
    fault: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Writes what is due.
    fn catch_up(&self, state: &mut State) -> Result<(), hospital::Fault> {
        let now = self.now_ms();
        state.writer.late(now);
        state.writer.pass(now)
    }

    /// Writes the pieces of slow files as they fall due, for ever.
    fn keep_writing(&self) {
        let mut state = self.lock();
        loop {
            if let Err(fault) = self.catch_up(&mut state) {
                state.fault = Some(crate::chain(&fault));
                return;
            }
            self.changed.notify_all();
            state = match state.writer.next_due_ms() {
                Some(due) => {
                    let left = Duration::from_millis(due.saturating_sub(self.now_ms()).max(1));
                    self.changed
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Life {
    /// Begins with empty roots; the day is today.
    pub fn begin(home: &Home, seed: u64) -> Outcome<Self> {
        for folder in [&home.desk, &home.away] {
            fs::create_dir_all(folder)?;
        }
        for root in &home.roots {
            fs::create_dir_all(home.share.join(root))?;
            // a root that is empty counts as missing; this file is never collected
            fs::write(
                home.share.join(root).join("desktop.ini"),
                "[.ShellClassInfo]\r\n",
            )?;
            link(&home.share.join(root), &home.desk.join(root))?;
        }
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let now = Moment(u64::try_from((unix + JAPAN_AHEAD).as_millis())?);
        let mut writer = Writer::new(seed, &home.desk, &home.facility, now, Stamps::Story);
        writer.set_oddities(Oddities::Portable);
        // a clock that is set back over midnight writes under yesterday
        writer.spare_before(hospital::Day(now.day().0 - 1));
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            state: Mutex::new(State {
                writer,
                fault: None,
            }),
            changed: Condvar::new(),
        });
        let thread = Arc::clone(&shared);
        std::thread::spawn(move || thread.keep_writing());
        Ok(Self {
            home: home.clone(),
            shared,
        })
    }

    /// Does a deed at its time, or now if that has passed. Gives the time when it is done.
    pub fn act(&self, at_ms: u64, deed: &Deed) -> Outcome<u64> {
        std::thread::sleep(Duration::from_millis(
            at_ms.saturating_sub(self.shared.now_ms()),
        ));
        let mut state = self.sound()?;
        self.shared.catch_up(&mut state)?;
        state.writer.act(deed)?;
        self.shared.changed.notify_all();
        drop(state);
        Ok(self.shared.now_ms())
    }

    /// Waits until no file is on its way, and completes what was left torn. Gives the time after which nothing happens.
    pub fn rest(&self) -> Outcome<u64> {
        let mut state = self.sound()?;
        while state.writer.next_due_ms().is_some() && state.fault.is_none() {
            state = self
                .shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.act(0, &Deed::Mend)
    }

    /// Takes a root away from the shares; with `empty` its folder is still there.
    pub fn hide(&self, root: &Path, empty: bool) -> Outcome<u64> {
        let state = self.sound()?;
        let (here, away) = self.places(root);
        fs::rename(&here, &away)?;
        if empty {
            fs::create_dir(&here)?;
        }
        link(&away, &self.home.desk.join(root))?;
        drop(state);
        Ok(self.shared.now_ms())
    }

    /// Brings a hidden root back.
    pub fn show(&self, root: &Path) -> Outcome<u64> {
        let state = self.sound()?;
        let (here, away) = self.places(root);
        if here.exists() {
            fs::remove_dir(&here)?;
        }
        fs::rename(&away, &here)?;
        link(&here, &self.home.desk.join(root))?;
        drop(state);
        Ok(self.shared.now_ms())
    }

    /// What every file was at which time, as JSON, and what time it is.
    pub fn truth(&self) -> Outcome<(u64, Vec<u8>)> {
        let state = self.sound()?;
        let marks = serde_json::to_vec(state.writer.truth().marks())?;
        Ok((self.shared.now_ms(), marks))
    }

    fn places(&self, root: &Path) -> (PathBuf, PathBuf) {
        (self.home.share.join(root), self.home.away.join(root))
    }

    fn sound(&self) -> Outcome<MutexGuard<'_, State>> {
        let state = self.shared.lock();
        match &state.fault {
            Some(fault) => Err(format!("a slow file could not be written: {fault}").into()),
            None => Ok(state),
        }
    }
}

/// Makes a link, in place of an earlier one.
fn link(to: &Path, at: &Path) -> Outcome<()> {
    let fresh = at.with_extension("new");
    std::os::unix::fs::symlink(to, &fresh)?;
    Ok(fs::rename(&fresh, at)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hospital::live::{Event, Manner, Mark};

    fn home(folder: &Path) -> Home {
        Home {
            desk: folder.join("desk"),
            share: folder.join("share"),
            away: folder.join("away"),
            facility: "1319999999".to_owned(),
            roots: ["std", "ext", "dpc", "receipt", "tx"]
                .map(Into::into)
                .into(),
        }
    }

    #[test]
    fn a_hidden_root_is_written_on_and_comes_back_with_all_of_it() {
        let folder = tempfile::tempdir().expect("folder");
        let home = home(folder.path());
        let life = Life::begin(&home, 3).expect("begins");
        let order = Deed::Order {
            pick: 1,
            late: false,
            manner: Manner::Slow {
                pieces: 3,
                gap_ms: 5,
            },
        };
        life.act(0, &order).expect("written");
        life.hide(Path::new("std"), true).expect("hidden");
        life.act(10, &order).expect("written behind");
        life.rest().expect("rests");
        let seen = fs::read_dir(home.share.join("std")).expect("there");
        assert_eq!(seen.count(), 0, "the share shows what is hidden");
        life.show(Path::new("std")).expect("shown");

        let (_, text) = life.truth().expect("truth");
        let marks: Vec<Mark> = serde_json::from_slice(&text).expect("marks");
        let whole: Vec<_> = marks
            .iter()
            .filter(|mark| matches!(mark.event, Event::Written { whole: true, .. }))
            .map(|mark| {
                home.share
                    .join(String::from_utf8_lossy(&mark.path).as_ref())
            })
            .collect();
        assert!(whole.len() >= 2 && whole.iter().all(|path| path.is_file()));
    }
}
