//! Seats at a table with a limit: a newcomer is always let in, and the greediest pays for it.
//!
//! Invariants
//! 1. Never more than `limit` seats are taken, nor more than `per_key` by one key.
//! 2. A key over its own limit loses its oldest seat. A full table takes the oldest seat of the key that has most, so
//!    nobody loses a seat to one who has more.
//!
//! The oldest, because a box that lost its line comes again while its old connection still looks alive here.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

pub struct Seats<K> {
    limit: usize,
    per_key: usize,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    next: u64,
    taken: usize,
    /// Oldest first; no key without a seat.
    held: HashMap<K, VecDeque<(u64, Arc<Notify>)>>,
}

/// One seat; dropped, it is free.
pub struct Seat<K: Eq + Hash + Clone> {
    seats: Arc<Seats<K>>,
    key: K,
    number: u64,
    gone: Arc<Notify>,
}

impl<K: Eq + Hash + Clone> Seats<K> {
    pub fn new(limit: usize, per_key: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.max(1),
            per_key: per_key.max(1),
            table: Mutex::new(Table {
                next: 0,
                taken: 0,
                held: HashMap::new(),
            }),
        })
    }

    pub fn take(self: &Arc<Self>, key: K) -> Seat<K> {
        let mut table = self.table();
        if table.held.get(&key).map_or(0, VecDeque::len) >= self.per_key {
            table.evict(&key);
        } else if table.taken >= self.limit {
            let most = table.held.iter().max_by_key(|(_, seats)| seats.len());
            if let Some(key) = most.map(|(key, _)| key.clone()) {
                table.evict(&key);
            }
        }
        let (number, gone) = (table.next, Arc::new(Notify::new()));
        table.next += 1;
        table.taken += 1;
        table
            .held
            .entry(key.clone())
            .or_default()
            .push_back((number, gone.clone()));
        Seat {
            seats: self.clone(),
            key,
            number,
            gone,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table<K>> {
        // Nothing between lock and unlock can panic half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Table<K> {
    fn evict(&mut self, key: &K) {
        let oldest = self.held.get_mut(key).and_then(VecDeque::pop_front);
        if let Some((_, gone)) = oldest {
            self.taken -= 1;
            gone.notify_one();
        }
        self.forget_if_empty(key);
    }

    fn forget_if_empty(&mut self, key: &K) {
        if self.held.get(key).is_some_and(VecDeque::is_empty) {
            self.held.remove(key);
        }
    }
}

impl<K: Eq + Hash + Clone> Seat<K> {
    /// Ends when the seat was given to another.
    pub async fn gone(&self) {
        self.gone.notified().await;
    }
}

impl<K: Eq + Hash + Clone> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut table = self.seats.table();
        let Some(seats) = table.held.get_mut(&self.key) else {
            return;
        };
        let before = seats.len();
        seats.retain(|(number, _)| *number != self.number);
        let freed = before - seats.len();
        table.taken -= freed;
        table.forget_if_empty(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_gone<K: Eq + Hash + Clone>(seat: &Seat<K>) -> bool {
        let table = seat.seats.table();
        !table
            .held
            .get(&seat.key)
            .is_some_and(|seats| seats.iter().any(|(number, _)| *number == seat.number))
    }

    #[test]
    fn a_key_over_its_limit_loses_its_own_oldest_seat() {
        let seats = Seats::new(10, 2);
        let other = seats.take("b");
        let [first, second, third] = [(); 3].map(|()| seats.take("a"));
        assert!(is_gone(&first));
        assert!(!is_gone(&second) && !is_gone(&third) && !is_gone(&other));
    }

    #[test]
    fn a_full_table_takes_from_the_one_who_has_most() {
        let seats = Seats::new(4, 4);
        let greedy = [(); 3].map(|()| seats.take("a"));
        let modest = seats.take("b");
        let newcomer = seats.take("c");
        assert!(is_gone(&greedy[0]));
        assert!(
            ![&greedy[1], &greedy[2], &modest, &newcomer]
                .into_iter()
                .any(is_gone)
        );
        assert_eq!(seats.table().taken, 4);
    }

    #[test]
    fn seats_that_were_given_back_are_free_and_nothing_is_left_of_their_keys() {
        let seats = Seats::new(2, 2);
        for round in 0..100 {
            let one = seats.take(round);
            let _two = seats.take(round);
            let _three = seats.take(round);
            assert!(is_gone(&one));
        }
        assert_eq!(seats.table().taken, 0);
        assert!(seats.table().held.is_empty());
    }

    #[tokio::test]
    async fn whoever_loses_a_seat_hears_of_it_even_if_it_listens_later() {
        let seats = Seats::new(1, 1);
        let first = seats.take("a");
        let second = seats.take("b");
        first.gone().await;
        assert!(!is_gone(&second));
    }
}
