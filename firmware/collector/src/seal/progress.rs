//! What a person sees of long work: one line that is rewritten on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Time between two looks at how far the work is.
pub const PERIOD: Duration = Duration::from_millis(500);

/// Time between two lines where standard error is no terminal.
const LINE_PERIOD: Duration = Duration::from_secs(5);

pub struct Progress {
    period: Duration,
    last: Instant,
    terminal: bool,
    shown: bool,
}

impl Progress {
    pub fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            period: if terminal { PERIOD } else { LINE_PERIOD },
            last: Instant::now(),
            terminal,
            shown: false,
        }
    }

    /// Shows the counts, if the last time is long enough ago.
    pub fn show(&mut self, files: u64, bytes: u64, bundles: u64) {
        if self.last.elapsed() < self.period {
            return;
        }
        self.last = Instant::now();
        let megabytes = bytes / 1_000_000;
        let line = format!("{files} files, {megabytes} MB read, {bundles} bundles written");
        if self.terminal {
            eprint!("\r{line} \x1b[K");
            self.shown = true;
        } else {
            eprintln!("collector seal: {line}");
        }
    }

    /// Frees the line for something else.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}
