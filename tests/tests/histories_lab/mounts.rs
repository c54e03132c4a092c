//! The hospital's shares: roots that vanish, become empty and come back, while the server goes on writing.

use super::SOURCES;
use super::story::Hiding;
use hospital::live::Writer;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The hospital's server and its shares.
pub struct Hospital {
    pub writer: Writer,
    pub root: PathBuf,
    pub away: PathBuf,
    pub hidden: [Option<Hiding>; SOURCES.len()],
}

impl Hospital {
    fn paths(&self, source: usize) -> (PathBuf, PathBuf) {
        let away = self.away.join(source.to_string());
        (self.root.join(SOURCES[source].2), away)
    }

    pub fn hide(&mut self, source: usize, hiding: Hiding) {
        let (here, away) = self.paths(source);
        match hiding {
            Hiding::Gone => std::fs::rename(here, away).unwrap(),
            Hiding::Empty => {
                std::fs::create_dir(&away).unwrap();
                move_entries(&here, &away);
            }
        }
        self.hidden[source] = Some(hiding);
    }

    pub fn show(&mut self, source: usize) -> Option<Hiding> {
        let (here, away) = self.paths(source);
        let hiding = self.hidden[source].take()?;
        match hiding {
            Hiding::Gone => std::fs::rename(away, here).unwrap(),
            Hiding::Empty => {
                move_entries(&away, &here);
                std::fs::remove_dir(away).unwrap();
            }
        }
        Some(hiding)
    }

    /// The server goes on writing while the box does not see it.
    pub fn behind<T>(&mut self, act: impl FnOnce(&mut Writer) -> T) -> T {
        let hidden: Vec<_> = (0..SOURCES.len()).map(|source| self.show(source)).collect();
        let result = act(&mut self.writer);
        for (source, hiding) in hidden.into_iter().enumerate() {
            if let Some(hiding) = hiding {
                self.hide(source, hiding);
            }
        }
        result
    }

    pub fn pass(&mut self, until: Duration) {
        let until = until.as_millis() as u64;
        if self.writer.next_due_ms().is_some_and(|due| due <= until) {
            self.behind(|writer| writer.pass(until)).unwrap();
        } else {
            self.writer.pass(until).unwrap();
        }
    }
}

fn move_entries(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        std::fs::rename(from.join(&name), to.join(&name)).unwrap();
    }
}
