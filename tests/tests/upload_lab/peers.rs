//! Programs nobody here wrote, as `cargo xtask test` provides them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A peer's program; `None`, with a word about it, where there are no peers.
pub fn program(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("COLLECTOR_PEERS") else {
        eprintln!("skipped: COLLECTOR_PEERS is not set; run by cargo xtask test native");
        return None;
    };
    Some(PathBuf::from(folder).join(name))
}

/// One of our drivers for node, with the packages beside it.
pub fn driver(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.join("peers").join(name)
}

/// A program that says what it does in lines; killed when dropped.
pub struct Talking {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Talking {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Reads until a line starts with `word`; gives the rest of it.
    pub fn await_word(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let got = self.lines.read_line(&mut line).unwrap();
            assert!(got > 0, "the peer ended before it said {word}");
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
