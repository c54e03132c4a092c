//! The serial log of a machine: every line kept, written to a file as it comes, and awaited by what it says.
//!
//! 1. Lines of successive power-ons of one machine form one log; a [`Cursor`] is a place in it.
//! 2. A wait ends with its event, with the machine's end, or with its named limit; it never polls.

use crate::limits::Limit;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A place in the log: everything before it has been judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(usize);

#[derive(Clone, Debug)]
pub struct Line {
    /// Since the log was opened.
    pub at: Duration,
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct SerialLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    machine: String,
    path: PathBuf,
    opened: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    lines: Vec<Line>,
    powered: usize,
    copy: File,
}

impl SerialLog {
    pub fn create(machine: &str, path: PathBuf) -> std::io::Result<Self> {
        let state = State {
            lines: Vec::new(),
            powered: 0,
            copy: File::create(&path)?,
        };
        let shared = Shared {
            machine: machine.to_owned(),
            path,
            opened: Instant::now(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Takes in what a serial port says until it closes. Each power-on attaches its own.
    pub fn attach(&self, port: impl Read + Send + 'static) {
        self.shared.lock().powered += 1;
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(port);
            let mut bytes = Vec::new();
            while matches!(reader.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
                shared.take_line(&bytes);
                bytes.clear();
            }
            shared.lock().powered -= 1;
            shared.changed.notify_all();
        });
    }

    /// Time since the log was opened, as its lines have it.
    pub fn clock(&self) -> Duration {
        self.shared.opened.elapsed()
    }

    /// The end of the log as it is now: waiting from here sees only what comes later.
    pub fn now(&self) -> Cursor {
        Cursor(self.shared.lock().lines.len())
    }

    pub fn lines_from(&self, cursor: Cursor) -> Vec<Line> {
        self.shared
            .lock()
            .lines
            .get(cursor.0..)
            .unwrap_or_default()
            .to_vec()
    }

    pub fn path(&self) -> &PathBuf {
        &self.shared.path
    }

    /// Waits for the first line at or after `from` in which `wanted` finds something; the cursor stands behind it.
    pub fn wait_for<T>(
        &self,
        from: Cursor,
        limit: Limit,
        what: &str,
        mut wanted: impl FnMut(&Line) -> Option<T>,
    ) -> Result<(T, Cursor), WaitError> {
        let deadline = Instant::now() + limit.duration;
        let mut next = from.0;
        let mut state = self.shared.lock();
        loop {
            while let Some(line) = state.lines.get(next) {
                next += 1;
                if let Some(found) = wanted(line) {
                    return Ok((found, Cursor(next)));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let why = match (state.powered, left.is_zero()) {
                (0, _) => Why::Off,
                (_, true) => Why::Expired(limit),
                _ => {
                    let waited = self.shared.changed.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
            };
            let last = state
                .lines
                .iter()
                .rev()
                .take(3)
                .rev()
                .map(|line| line.text.clone())
                .collect();
            return Err(WaitError {
                machine: self.shared.machine.clone(),
                what: what.to_owned(),
                why,
                last,
            });
        }
    }

    /// Waits until no port is attached any more.
    pub fn wait_until_off(&self, limit: Limit) -> Result<(), WaitError> {
        match self.wait_for(self.now(), limit, "power off", |_| None::<()>) {
            Err(WaitError { why: Why::Off, .. }) => Ok(()),
            Err(other) => Err(other),
            Ok(_) => Ok(()),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_line(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes)
            .trim_end_matches(['\r', '\n'])
            .to_owned();
        let at = self.opened.elapsed();
        let mut state = self.lock();
        // The copy is for people; a full disk must not stop the judging.
        let _ = writeln!(state.copy, "{:9.3} {text}", at.as_secs_f64());
        state.lines.push(Line { at, text });
        drop(state);
        self.changed.notify_all();
    }
}

/// What was waited for did not come.
#[derive(Debug)]
pub struct WaitError {
    pub machine: String,
    pub what: String,
    pub why: Why,
    pub last: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Off,
    Expired(Limit),
}

impl std::fmt::Display for WaitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.why {
            Why::Off => write!(f, "{} went off before: {}", self.machine, self.what)?,
            Why::Expired(limit) => {
                let seconds = limit.duration.as_secs();
                write!(
                    f,
                    "{} did not show within {} ({seconds} s): {}",
                    self.machine, limit.name, self.what
                )?;
            }
        }
        write!(f, "; its last lines: {}", self.last.join(" / "))
    }
}

impl std::error::Error for WaitError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    const SHORT: Limit = Limit {
        name: "SHORT",
        duration: Duration::from_millis(20),
    };
    const LONG: Limit = Limit {
        name: "LONG",
        duration: Duration::from_secs(60),
    };

    fn log() -> (SerialLog, UnixStream, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("folder");
        let log = SerialLog::create("box", folder.path().join("serial.log")).expect("created");
        let (ours, theirs) = UnixStream::pair().expect("pair");
        log.attach(ours);
        (log, theirs, folder)
    }

    fn containing(word: &'static str) -> impl FnMut(&Line) -> Option<String> {
        move |line| line.text.contains(word).then(|| line.text.clone())
    }

    #[test]
    fn a_line_is_found_whether_it_came_before_or_comes_later() {
        let (log, mut port, _folder) = log();
        port.write_all(b"init: one\r\ninit: t").expect("writes");
        let (line, cursor) = log
            .wait_for(Cursor::default(), LONG, "one", containing("one"))
            .expect("came before");
        assert_eq!(line, "init: one");
        let waiting = std::thread::spawn(move || {
            log.wait_for(cursor, LONG, "two", containing("two"))
                .expect("comes")
                .0
        });
        port.write_all(b"wo\n").expect("writes");
        assert_eq!(waiting.join().expect("no panic"), "init: two");
    }

    #[test]
    fn a_limit_that_runs_out_is_named_with_what_was_missing() {
        let (log, mut port, _folder) = log();
        port.write_all(b"init: ready\n").expect("writes");
        log.wait_for(Cursor::default(), LONG, "ready", containing("ready"))
            .expect("seen");
        let error = log
            .wait_for(
                Cursor::default(),
                SHORT,
                "tunnel-up",
                containing("tunnel-up"),
            )
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("box did not show within SHORT (0 s): tunnel-up"),
            "{text}"
        );
        assert!(text.ends_with("init: ready"), "{text}");
    }

    #[test]
    fn a_machine_that_went_off_ends_the_wait_at_once() {
        let (log, port, _folder) = log();
        drop(port);
        let error = log
            .wait_for(Cursor::default(), LONG, "sealed", containing("sealed"))
            .unwrap_err();
        assert_eq!(error.why, Why::Off);
    }

    #[test]
    fn the_log_goes_on_over_a_second_power_on() {
        let (log, port, _folder) = log();
        drop(port);
        log.wait_until_off(LONG).expect("off");
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        log.attach(ours);
        theirs.write_all(b"init: again\n").expect("writes");
        log.wait_for(Cursor::default(), LONG, "again", containing("again"))
            .expect("seen");
    }
}
