//! The quiet rule: a file is whole when two looks, at least the quiet time apart, saw the same size and time stamp.
//!
//! Parts of a store with candidates wait in a bounded queue for their second look. Where the queue is full the walk waits
//! too, so memory does not grow with the store. Some candidates need more patience than two looks: an empty file may be
//! about to be filled, and a receipt file without its last record is probably half written; they are remembered over
//! walks, in a bounded table as well.

use super::share::Ask;
use catalogue::Seen;
use heapless::Deque;
use heapless::index_map::FnvIndexMap;
use heapless::index_set::FnvIndexSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Parts that wait for their second look; one takes about 80 bytes, and what the next two bound.
const PLACES: usize = 2048;
/// Candidates in all of them, of 8 bytes. In one quiet time at most so many files become whole.
const PRINTS: usize = 1 << 20;
/// Folders in all of them, of about 150 bytes.
const FOLDERS: usize = 1 << 17;
/// Files that need patience. More than these wait for a later walk.
const PATIENT: usize = 1024;
/// Folders that are to be asked for everything in the next walk.
const AGAIN: usize = 1024;

/// Stands for folder, name, size and time of a file.
pub type Print = u64;

/// Stands for a path; the same in every run.
pub fn key(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

pub fn print(folder: &[u8], seen: &Seen) -> Print {
    let mut hasher = DefaultHasher::new();
    (folder, &seen.name, seen.size_bytes, seen.mtime_ns).hash(&mut hasher);
    hasher.finish()
}

/// A folder with candidates.
pub struct FolderLook {
    pub path: Vec<u8>,
    /// The folder that this one was before its flag changed.
    pub twin: Option<Vec<u8>>,
    /// What the first look asked.
    pub ask: Ask,
    /// Names greater than this one, and not greater than the other, were looked at.
    pub after: Vec<u8>,
    pub until: Option<Vec<u8>>,
    /// How many candidates the first look found.
    pub candidates: usize,
}

/// A part of a store with candidates.
pub struct Place {
    /// Never empty.
    pub folders: Vec<FolderLook>,
    /// Sorted.
    pub prints: Vec<Print>,
    /// Uptime of the first look.
    pub first_look: Duration,
    /// Where the walk over everything that found it goes on if it comes to nothing; `None`: another course did.
    pub walk: Option<Vec<u8>>,
}

impl Place {
    pub fn holds(&self, print: Print) -> bool {
        self.prints.binary_search(&print).is_ok()
    }
}

#[derive(Default)]
pub struct Looks {
    places: Box<Deque<Place, PLACES>>,
    prints: usize,
    folders: usize,
}

impl Looks {
    /// Whether another place with so many folders and candidates can wait. An empty queue takes any.
    pub fn has_room(&self, folders: usize, prints: usize) -> bool {
        self.places.is_empty()
            || (!self.places.is_full()
                && self.prints + prints <= PRINTS
                && self.folders + folders <= FOLDERS)
    }

    /// Takes a place; gives it back where there is no room.
    pub fn push(&mut self, mut place: Place) -> Result<(), Place> {
        place.prints.sort_unstable();
        let (prints, folders) = (place.prints.len(), place.folders.len());
        self.places.push_back(place)?;
        self.prints += prints;
        self.folders += folders;
        Ok(())
    }

    /// The place that waits longest.
    pub fn oldest(&self) -> Option<&Place> {
        self.places.front()
    }

    /// The first place of the walk over everything that waits.
    pub fn first_of_walk(&self) -> Option<&[u8]> {
        self.places.iter().find_map(|place| place.walk.as_deref())
    }

    pub fn pop(&mut self) -> Option<Place> {
        let place = self.places.pop_front()?;
        self.prints -= place.prints.len();
        self.folders -= place.folders.len();
        Some(place)
    }
}

/// Folders in which a file was seen changed and was not taken: the next walk asks for all of their files again.
#[derive(Default)]
pub struct Again {
    folders: Box<FnvIndexSet<u64, AGAIN>>,
}

impl Again {
    /// `false`: there is no room to remember it.
    pub fn note(&mut self, path: &[u8]) -> bool {
        self.folders.insert(key(path)).is_ok()
    }

    /// The folder was looked at again.
    pub fn clear(&mut self, path: &[u8]) {
        self.folders.remove(&key(path));
    }

    pub fn holds(&self, path: &[u8]) -> bool {
        !self.folders.is_empty() && self.folders.contains(&key(path))
    }
}

#[derive(Clone, Copy)]
struct Wait {
    since: Duration,
    round: u64,
}

/// Files that are waited for longer.
#[derive(Default)]
pub struct Patience {
    files: Box<FnvIndexMap<u64, Wait, PATIENT>>,
}

impl Patience {
    /// How long this version of a file, or this unit, has been waited for; it is remembered from the first call on.
    /// `None`: there is no room for it until another has left.
    pub fn waited(&mut self, key: u64, round: u64, now: Duration) -> Option<Duration> {
        if let Some(known) = self.files.get_mut(&key) {
            known.round = round;
            return Some(now.saturating_sub(known.since));
        }
        let inserted = self.files.insert(key, Wait { since: now, round });
        inserted.is_ok().then_some(Duration::ZERO)
    }

    /// Forgets what the round that ends did not see.
    pub fn sweep(&mut self, round: u64) {
        self.files.retain(|_, wait| wait.round >= round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(prints: Vec<Print>) -> Place {
        Place {
            folders: vec![],
            prints,
            first_look: Duration::ZERO,
            walk: None,
        }
    }

    #[test]
    fn the_queue_is_bounded_in_places_and_in_candidates() {
        let mut looks = Looks::default();
        assert!(
            looks.has_room(1, PRINTS * 2),
            "a single huge folder must not block for ever"
        );
        assert!(looks.push(place(vec![3, 1, 2])).is_ok());
        assert!(!looks.has_room(1, PRINTS));
        for _ in 1..PLACES {
            assert!(looks.has_room(1, 1));
            assert!(looks.push(place(vec![1])).is_ok());
        }
        assert!(!looks.has_room(1, 1));
        assert!(looks.push(place(vec![1])).is_err());
        let first = looks.pop();
        assert!(first.is_some_and(|place| place.holds(2) && !place.holds(4)));
        assert!(looks.has_room(1, 1));
    }

    #[test]
    fn a_patient_file_is_forgotten_when_a_round_does_not_see_it() {
        let (mut patience, seconds) = (Patience::default(), Duration::from_secs);
        assert_eq!(patience.waited(7, 1, seconds(0)), Some(seconds(0)));
        assert_eq!(patience.waited(7, 2, seconds(9)), Some(seconds(9)));
        patience.sweep(2);
        assert_eq!(patience.waited(7, 3, seconds(10)), Some(seconds(10)));
        patience.sweep(4);
        assert_eq!(patience.waited(7, 5, seconds(30)), Some(seconds(0)));
    }

    #[test]
    fn patience_is_bounded_and_says_whom_it_does_not_remember() {
        let mut patience = Patience::default();
        for key in 0..PATIENT as u64 {
            assert!(patience.waited(key, 1, Duration::ZERO).is_some());
        }
        assert!(patience.waited(u64::MAX, 1, Duration::ZERO).is_none());
        assert!(patience.waited(0, 1, Duration::ZERO).is_some());
    }
}
