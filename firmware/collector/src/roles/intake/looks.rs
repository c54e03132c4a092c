//! The quiet rule: a file is whole when two looks, at least the quiet time apart, saw the same size and time stamp.
//!
//! A folder with candidates waits in a bounded queue for its second look. Where the queue is full the walk waits too,
//! so memory does not grow with the store. Some candidates need more patience than two looks: an empty file may be
//! about to be filled, and a receipt file without its last record is probably half written; they are remembered over
//! walks, in a bounded table as well.

use catalogue::Seen;
use heapless::Deque;
use heapless::index_map::FnvIndexMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Folders that wait for their second look; one takes about 150 bytes and 8 for each candidate.
const PLACES: usize = 4096;
/// Candidates in all of them.
const PRINTS: usize = 1 << 20;
/// Files that need patience. More than these wait for a later walk.
const PATIENT: usize = 1024;

/// Stands for name, size and time of a file.
pub type Print = u64;

pub fn print(seen: &Seen) -> Print {
    let mut hasher = DefaultHasher::new();
    (&seen.name, seen.size_bytes, seen.mtime_ns).hash(&mut hasher);
    hasher.finish()
}

/// A folder with candidates.
pub struct Place {
    pub source: usize,
    pub path: Vec<u8>,
    /// The folder that this one was before its flag changed.
    pub twin: Option<Vec<u8>>,
    /// Sorted.
    pub prints: Vec<Print>,
    /// Uptime of the first look.
    pub first_look: Duration,
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
}

impl Looks {
    /// Whether another place with so many candidates can wait. An empty queue takes any.
    pub fn has_room(&self, prints: usize) -> bool {
        self.places.is_empty() || (!self.places.is_full() && self.prints + prints <= PRINTS)
    }

    /// Takes a place; gives it back where there is no room.
    pub fn push(&mut self, mut place: Place) -> Result<(), Place> {
        place.prints.sort_unstable();
        let count = place.prints.len();
        self.places.push_back(place)?;
        self.prints += count;
        Ok(())
    }

    /// Uptime of the oldest first look.
    pub fn oldest(&self) -> Option<Duration> {
        self.places.front().map(|place| place.first_look)
    }

    pub fn pop(&mut self) -> Option<Place> {
        let place = self.places.pop_front()?;
        self.prints -= place.prints.len();
        Some(place)
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
    pub fn key(source: usize, folder: &[u8], print: Print) -> u64 {
        let mut hasher = DefaultHasher::new();
        (source, folder, print).hash(&mut hasher);
        hasher.finish()
    }

    /// Whether this version of a file has been seen for at least `wait`; it is remembered from the first call on.
    pub fn is_over(&mut self, key: u64, round: u64, now: Duration, wait: Duration) -> bool {
        match self.files.get_mut(&key) {
            Some(known) => {
                known.round = round;
                now.saturating_sub(known.since) >= wait
            }
            None => {
                // where the table is full, the file is remembered when another has left it
                let _ = self.files.insert(key, Wait { since: now, round });
                false
            }
        }
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
            source: 0,
            path: vec![],
            twin: None,
            prints,
            first_look: Duration::ZERO,
        }
    }

    #[test]
    fn the_queue_is_bounded_in_places_and_in_candidates() {
        let mut looks = Looks::default();
        assert!(
            looks.has_room(PRINTS * 2),
            "a single huge folder must not block for ever"
        );
        assert!(looks.push(place(vec![3, 1, 2])).is_ok());
        assert!(!looks.has_room(PRINTS));
        for _ in 1..PLACES {
            assert!(looks.has_room(1));
            assert!(looks.push(place(vec![1])).is_ok());
        }
        assert!(!looks.has_room(1));
        assert!(looks.push(place(vec![1])).is_err());
        let first = looks.pop();
        assert!(first.is_some_and(|place| place.holds(2) && !place.holds(4)));
        assert!(looks.has_room(1));
    }

    #[test]
    fn a_patient_file_is_forgotten_when_a_round_does_not_see_it() {
        let (mut patience, wait) = (Patience::default(), Duration::from_secs(10));
        assert!(!patience.is_over(7, 1, Duration::from_secs(0), wait));
        assert!(!patience.is_over(7, 2, Duration::from_secs(9), wait));
        patience.sweep(2);
        assert!(patience.is_over(7, 3, Duration::from_secs(10), wait));
        patience.sweep(4);
        assert!(!patience.is_over(7, 5, Duration::from_secs(30), wait));
    }
}
