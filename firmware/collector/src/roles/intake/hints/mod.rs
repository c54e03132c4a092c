//! Hints: folders of a source that are worth looking at now, because somebody said that something changed there.
//!
//! A hint makes a change seen soon; it is never needed, and never believed. The walk finds everything without one, so a
//! hint may be lost, late, doubled or a lie. They come from transaction storage ([`feed`]), from inotify where a source
//! is a local folder ([`local`]), from the role `listener`, which waits for a server's word ([`socket`]), and from a
//! hinted look that found a file still growing. [`follow`] is what a walker does with them.
//!
//! Invariants
//! 1. Memory is bounded: [`FOLDERS`] folders and [`BYTES`] a source. What is beyond becomes one word, "too many", on which
//!    the next walk begins early.
//! 2. A hint says where to look and nothing else: the look is the walk's own, below the root, with its quiet time.
//! 3. Names are in no log and no status; only counts are.

pub mod feed;
pub mod follow;
pub mod local;
pub mod socket;

use heapless::index_set::FnvIndexSet;
use serde_json::{Value, json};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Folders of one source that wait to be looked at. More at once is a mass change, for which the walk is cheaper.
pub const FOLDERS: usize = 1024;
/// Bytes of their paths.
pub const BYTES: usize = 256 * 1024;
/// Longest path of a hint, and longest name in it, as the kernel takes them.
const PATH_BYTES: usize = 4095;
const NAME_BYTES: usize = 255;

/// Who hinted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Header lines of a transaction storage.
    Feed,
    /// inotify on a local folder.
    Local,
    /// The share's server.
    Server,
    /// A look that found a file not yet quiet.
    Unsettled,
}

/// What each origin is called in the status.
const ORIGINS: [(Origin, &str); 4] = [
    (Origin::Feed, "feed"),
    (Origin::Local, "local"),
    (Origin::Server, "server"),
    (Origin::Unsettled, "unsettled"),
];

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    by_origin: [u64; ORIGINS.len()],
    /// Hints that led nowhere: no such folder, outside the root, through a link, or under a name that is never collected.
    pub ignored: u64,
    /// Hints for which there was no room, and words of "too many".
    pub overflowed: u64,
}

impl Counts {
    pub fn of(&self, origin: Origin) -> u64 {
        self.by_origin[origin as usize]
    }

    pub fn json(&self) -> Value {
        let mut counts = json!({ "ignored": self.ignored, "overflowed": self.overflowed });
        for (origin, word) in ORIGINS {
            counts[word] = self.of(origin).into();
        }
        counts
    }
}

/// What waits.
#[derive(Default)]
pub struct Waiting {
    /// Paths below the root, without a `/` at either end; the empty one is the root.
    pub folders: Box<FnvIndexSet<Vec<u8>, FOLDERS>>,
    /// More changed than is in `folders`.
    pub too_many: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.folders.is_empty() && !self.too_many
    }
}

#[derive(Default)]
struct State {
    waiting: Waiting,
    bytes: usize,
    counts: Counts,
}

/// The hints of one source: any thread puts them in, the source's walker takes them out.
#[derive(Default)]
pub struct Hints {
    state: Mutex<State>,
    bell: Condvar,
}

impl Hints {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changed in this folder.
    pub fn folder(&self, origin: Origin, path: &[u8]) {
        let mut state = self.state();
        state.counts.by_origin[origin as usize] += 1;
        if !is_plausible(path) {
            state.counts.ignored += 1;
            return;
        }
        if state.waiting.folders.contains(path) {
            return;
        }
        if state.bytes + path.len() > BYTES || state.waiting.folders.insert(path.to_vec()).is_err()
        {
            state.counts.overflowed += 1;
            state.waiting.too_many = true;
        } else {
            state.bytes += path.len();
        }
        drop(state);
        self.bell.notify_all();
    }

    /// Something changed at this path: worth a look is the folder that holds it.
    pub fn changed(&self, origin: Origin, path: &[u8]) {
        let (folder, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&b""[..], path),
        };
        // what is never collected changes all the time
        if ssmix2::ignored(name).is_none() {
            self.folder(origin, folder);
        }
    }

    /// More changed than whoever hints can tell.
    pub fn too_many(&self, origin: Origin) {
        {
            let mut state = self.state();
            state.counts.by_origin[origin as usize] += 1;
            state.counts.overflowed += 1;
            state.waiting.too_many = true;
        }
        self.bell.notify_all();
    }

    pub fn take(&self) -> Waiting {
        let mut state = self.state();
        state.bytes = 0;
        std::mem::take(&mut state.waiting)
    }

    pub fn is_empty(&self) -> bool {
        self.state().waiting.is_empty()
    }

    /// Waits until there is a hint, at most for this long.
    pub fn wait(&self, longest: Duration) {
        let begin = Instant::now();
        let mut state = self.state();
        while state.waiting.is_empty() {
            let Some(left) = longest.checked_sub(begin.elapsed()) else {
                return;
            };
            state = match self.bell.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poison) => poison.into_inner().0,
            };
        }
    }

    /// So many hints led nowhere.
    pub fn ignore(&self, count: u64) {
        self.state().counts.ignored += count;
    }

    pub fn counts(&self) -> Counts {
        self.state().counts
    }
}

/// Whether a path can be that of a folder below the root which is collected. What it leads to is another question.
fn is_plausible(path: &[u8]) -> bool {
    let name = |name: &[u8]| {
        !name.is_empty()
            && name.len() <= NAME_BYTES
            && name != b"."
            && name != b".."
            && !name.contains(&0)
            && ssmix2::ignored(name).is_none()
    };
    path.is_empty() || (path.len() <= PATH_BYTES && path.split(|&byte| byte == b'/').all(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_waits_once_however_often_it_is_hinted() {
        let hints = Hints::default();
        for _ in 0..3 {
            hints.changed(Origin::Server, b"000/a/file_1");
        }
        hints.changed(Origin::Feed, b"file_1");
        let waiting = hints.take();
        let folders: Vec<&[u8]> = waiting.folders.iter().map(Vec::as_slice).collect();
        assert_eq!(folders, [&b"000/a"[..], b""]);
        assert!(!waiting.too_many && hints.is_empty());
        let counts = hints.counts();
        assert_eq!((counts.of(Origin::Server), counts.of(Origin::Feed)), (3, 1));
    }

    #[test]
    fn a_flood_of_hints_stays_within_its_room_and_becomes_one_word() {
        let hints = Hints::default();
        for number in 0..100_000 {
            hints.folder(Origin::Local, format!("000/{number}").as_bytes());
        }
        for number in 0..1000 {
            let long = format!("{number}/{}", vec!["x".repeat(200); 15].join("/"));
            hints.folder(Origin::Local, long.as_bytes());
        }
        assert!(hints.state().bytes <= BYTES);
        let waiting = hints.take();
        assert!(waiting.folders.len() <= FOLDERS && waiting.too_many);
        assert_eq!(
            hints.counts().overflowed,
            101_000 - waiting.folders.len() as u64
        );
        // there is room again
        hints.folder(Origin::Local, b"later");
        assert!(!hints.take().too_many);
    }

    #[test]
    fn long_paths_fill_the_room_before_many_do() {
        let hints = Hints::default();
        for number in 0..200 {
            let long = format!("{number}/{}", vec!["x".repeat(200); 15].join("/"));
            hints.folder(Origin::Local, long.as_bytes());
        }
        assert!(hints.state().bytes <= BYTES);
        assert!(hints.take().too_many);
    }

    #[test]
    fn what_cannot_be_a_folder_below_the_root_is_counted_and_dropped() {
        let hints = Hints::default();
        let long = "x".repeat(NAME_BYTES + 1);
        let lies: [&[u8]; 9] = [
            b"/etc",
            b"../other",
            b"a/../../other",
            b"a//b",
            b"a/",
            b"./a",
            b"a\0b",
            b"a/$RECYCLE.BIN/b",
            long.as_bytes(),
        ];
        for lie in lies {
            hints.folder(Origin::Server, lie);
        }
        assert!(hints.is_empty());
        assert_eq!(hints.counts().ignored, lies.len() as u64);
    }

    #[test]
    fn a_waiting_walker_is_woken_by_a_hint() {
        let hints = Hints::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| hints.wait(Duration::from_secs(3600)));
            hints.folder(Origin::Feed, b"a");
            waiting.join().unwrap();
        });
        assert!(!hints.is_empty());
    }
}
