//! What waits to be sent, by number: whatever the backlog, a few spans of numbers are held and no names.
//!
//! Invariants
//! 1. The folder is listed at the start, after [`MISSES`] numbers in a row without a bundle, when events were lost, and
//!    when nothing else was to do for a while; not for each bundle. Between listings a bundle costs a fixed number of looks at single names.
//! 2. New bundles and lost receipts come as numbers from the watch; what it may have missed is found by the next listing.
//! 3. At most [`MOST_SPANS`] spans are held: beyond that two become one, which costs looks but loses nothing.

use super::spool::{Spool, SpoolFault};
use super::watch::Changes;
use bundle::{BoxName, BundleName};
use site::Order;
use std::collections::VecDeque;

/// Numbers in a row without a bundle before the folder is listed for the next one: a stray file with a number far away
/// must not be walked to.
const MISSES: u64 = 4096;
/// One for each time that newest-first was interrupted by something newer.
const MOST_SPANS: usize = 64;

/// Names that a box may have had while bundles of it wait.
pub const MOST_BOXES: usize = 8;

/// A bundle without receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub name: BundleName,
    pub size: u64,
}

/// Numbers of which some may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u64,
    last: u64,
}

/// What a listing tells.
#[derive(Debug, Default)]
pub struct Listing {
    pub count: u64,
    pub bytes: u64,
    /// Smallest and largest number that waits.
    pub ends: Option<(u64, u64)>,
    /// In whose names bundles were made: more than one where the box was renamed. At most [`MOST_BOXES`].
    pub boxes: Vec<BoxName>,
}

impl Listing {
    pub fn add(&mut self, name: &BundleName, size: u64) {
        self.count += 1;
        self.bytes += size;
        let number = name.sequence();
        let (first, last) = self.ends.unwrap_or((number, number));
        self.ends = Some((first.min(number), last.max(number)));
        if self.boxes.len() < MOST_BOXES && !self.boxes.contains(name.box_name()) {
            self.boxes.push(name.box_name().clone());
        }
    }
}

#[derive(Debug)]
pub struct Queue {
    order: Order,
    /// From the oldest to the newest; they do not overlap.
    spans: VecDeque<Span>,
    boxes: Vec<BoxName>,
    /// Largest number that was ever seen here.
    newest: u64,
    pub count: u64,
    pub bytes: u64,
}

impl Queue {
    /// `own` is the box's name as it is now.
    pub fn new(order: Order, own: BoxName) -> Self {
        Self {
            order,
            spans: VecDeque::new(),
            boxes: vec![own],
            newest: 0,
            count: 0,
            bytes: 0,
        }
    }

    /// Takes a whole listing.
    pub fn list(&mut self, spool: &Spool) -> Result<(), SpoolFault> {
        let listing = spool.list(0..=BundleName::LAST)?;
        let span = listing.ends.map(|(first, last)| Span { first, last });
        self.newest = span.map_or(self.newest, |span| span.last.max(self.newest));
        self.spans = span.into_iter().collect();
        (self.count, self.bytes) = (listing.count, listing.bytes);
        for name in listing.boxes {
            if !self.boxes.contains(&name) && self.boxes.len() < MOST_BOXES {
                self.boxes.push(name);
            }
        }
        Ok(())
    }

    /// Takes up what changed: appended bundles, and those that lost their receipts.
    pub fn look(&mut self, spool: &Spool, changes: &Changes) -> Result<(), SpoolFault> {
        if changes.all || changes.newest.saturating_sub(self.newest) > MISSES {
            return self.list(spool);
        }
        for number in self.newest + 1..=changes.newest {
            self.insert(spool, number)?;
        }
        self.newest = self.newest.max(changes.newest);
        for number in &changes.again {
            self.insert(spool, *number)?;
        }
        Ok(())
    }

    /// Adds a number, where a bundle of it waits.
    fn insert(&mut self, spool: &Spool, number: u64) -> Result<(), SpoolFault> {
        let after = self.spans.partition_point(|span| span.last < number);
        let known = self.spans.get(after);
        if known.is_some_and(|span| span.first <= number) {
            return Ok(());
        }
        let Some(queued) = self.at(spool, number)? else {
            return Ok(());
        };
        self.count += 1;
        self.bytes += queued.size;
        let before = after.checked_sub(1).and_then(|at| self.spans.get_mut(at));
        match before {
            Some(span) if span.last + 1 == number => span.last = number,
            _ => {
                let (first, last) = (number, number);
                self.spans.insert(after, Span { first, last });
            }
        }
        if self.spans.len() > MOST_SPANS
            && let Some(oldest) = self.spans.pop_front()
            && let Some(second) = self.spans.front_mut()
        {
            second.first = oldest.first;
        }
        Ok(())
    }

    /// The next bundle that waits and is not `passed` over. It stays the next until it has a receipt, is gone, or is
    /// passed over.
    pub fn next(
        &mut self,
        spool: &Spool,
        passed: impl Fn(&BundleName) -> bool,
    ) -> Result<Option<Queued>, SpoolFault> {
        let mut misses = 0;
        while let Some(number) = self.end() {
            match self.at(spool, number)? {
                Some(queued) if !passed(&queued.name) => return Ok(Some(queued)),
                Some(_) => misses = 0,
                None => misses += 1,
            }
            self.drop_end();
            if misses >= MISSES {
                misses = 0;
                self.jump(spool)?;
            }
        }
        Ok(None)
    }

    /// A bundle was delivered.
    pub fn delivered(&mut self, size: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
    }

    /// The number whose turn it is.
    fn end(&self) -> Option<u64> {
        match self.order {
            Order::OldestFirst => self.spans.front().map(|span| span.first),
            Order::NewestFirst => self.spans.back().map(|span| span.last),
        }
    }

    /// Leaves that number behind.
    fn drop_end(&mut self) {
        let (span, oldest) = match self.order {
            Order::OldestFirst => (self.spans.front_mut(), true),
            Order::NewestFirst => (self.spans.back_mut(), false),
        };
        let Some(span) = span else { return };
        match (span.first == span.last, oldest) {
            (false, true) => span.first += 1,
            (false, false) => span.last -= 1,
            (true, true) => drop(self.spans.pop_front()),
            (true, false) => drop(self.spans.pop_back()),
        }
    }

    /// Goes to the next number that the folder has, by listing it.
    fn jump(&mut self, spool: &Spool) -> Result<(), SpoolFault> {
        let (Some(oldest), Some(newest)) = (self.spans.front(), self.spans.back()) else {
            return Ok(());
        };
        let listing = spool.list(oldest.first..=newest.last)?;
        self.spans = listing
            .ends
            .map(|(first, last)| Span { first, last })
            .into_iter()
            .collect();
        Ok(())
    }

    /// The bundle of a number, under whichever box's name, where it waits.
    fn at(&self, spool: &Spool, number: u64) -> Result<Option<Queued>, SpoolFault> {
        for box_name in &self.boxes {
            let Ok(name) = BundleName::new(box_name.clone(), number) else {
                continue;
            };
            if let Some(size) = spool.waiting(&name)? {
                return Ok(Some(Queued { name, size }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    struct Rig {
        folder: TempDir,
        spool: Spool,
    }

    impl Rig {
        fn with(numbers: impl IntoIterator<Item = u64>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (bundles, receipts) = (folder.path().join("b"), folder.path().join("r"));
            fs::create_dir(&bundles).unwrap();
            fs::create_dir(&receipts).unwrap();
            let rig = Self {
                folder,
                spool: Spool::new(bundles, receipts),
            };
            for number in numbers {
                rig.append("north-1", number);
            }
            rig
        }

        fn append(&self, box_name: &str, number: u64) {
            let name = format!("{box_name}-{number:010}.cms");
            fs::write(self.folder.path().join("b").join(name), b"ten bytes.").unwrap();
        }

        fn receipt(&self, name: &BundleName) {
            fs::write(
                self.folder.path().join("r").join(format!("{name}.receipt")),
                b"",
            )
            .unwrap();
        }

        fn queue(&self, order: Order) -> Queue {
            let mut queue = Queue::new(order, "north-1".parse().unwrap());
            queue.list(&self.spool).unwrap();
            queue
        }

        /// Takes and delivers the next `most`.
        fn drain(&self, queue: &mut Queue, most: usize) -> Vec<u64> {
            let mut numbers = Vec::new();
            while numbers.len() < most {
                let Some(next) = queue.next(&self.spool, |_| false).unwrap() else {
                    break;
                };
                self.receipt(&next.name);
                queue.delivered(next.size);
                numbers.push(next.name.sequence());
            }
            numbers
        }
    }

    fn appended(newest: u64) -> Changes {
        Changes {
            newest,
            ..Changes::default()
        }
    }

    #[test]
    fn the_order_is_the_chosen_one_and_what_has_a_receipt_is_left_out() {
        for (order, expected) in [
            (Order::OldestFirst, [1, 2, 4, 5]),
            (Order::NewestFirst, [5, 4, 2, 1]),
        ] {
            let rig = Rig::with(1..=5);
            rig.receipt(&"north-1-0000000003.cms".parse().unwrap());
            let mut queue = rig.queue(order);
            assert_eq!((queue.count, queue.bytes), (4, 40));
            assert_eq!(rig.drain(&mut queue, 9), expected);
            assert_eq!((queue.count, queue.bytes), (0, 0));
        }
    }

    #[test]
    fn newest_first_turns_to_what_is_newer_and_comes_back() {
        let rig = Rig::with(1..=6);
        let mut queue = rig.queue(Order::NewestFirst);
        assert_eq!(rig.drain(&mut queue, 2), [6, 5]);
        rig.append("north-1", 7);
        rig.append("north-1", 8);
        queue.look(&rig.spool, &appended(8)).unwrap();
        assert_eq!(queue.count, 6);
        assert_eq!(rig.drain(&mut queue, 9), [8, 7, 4, 3, 2, 1]);
    }

    #[test]
    fn a_bundle_that_lost_its_receipt_is_sent_again_and_one_that_is_gone_is_not() {
        let rig = Rig::with(1..=3);
        let mut queue = rig.queue(Order::OldestFirst);
        assert_eq!(rig.drain(&mut queue, 9), [1, 2, 3]);
        for number in [1, 2] {
            let name = format!("north-1-{number:010}.cms.receipt");
            fs::remove_file(rig.folder.path().join("r").join(name)).unwrap();
        }
        fs::remove_file(rig.folder.path().join("b/north-1-0000000001.cms")).unwrap();
        let changes = Changes {
            again: vec![1, 2],
            ..Changes::default()
        };
        queue.look(&rig.spool, &changes).unwrap();
        assert_eq!((queue.count, rig.drain(&mut queue, 9)), (1, vec![2]));
    }

    #[test]
    fn an_empty_spool_that_had_thousands_finds_the_next_one_by_a_listing() {
        let rig = Rig::with([]);
        let mut queue = rig.queue(Order::OldestFirst);
        rig.append("north-1", 1_000_000);
        queue.look(&rig.spool, &appended(1_000_000)).unwrap();
        assert_eq!(rig.drain(&mut queue, 9), [1_000_000]);
    }

    #[test]
    fn a_name_far_away_is_jumped_to_and_a_renamed_box_keeps_its_turn() {
        let rig = Rig::with([2, BundleName::LAST]);
        rig.append("old-name", 1);
        let mut queue = rig.queue(Order::OldestFirst);
        assert_eq!(rig.drain(&mut queue, 9), [1, 2, BundleName::LAST]);
        let (listings, looks) = rig.spool.counted();
        assert!(listings <= 3 && looks < 3 * MISSES, "{listings} {looks}");
    }

    #[test]
    fn interruptions_without_end_keep_few_spans_and_lose_nothing() {
        let rig = Rig::with(1..=3);
        let (mut queue, mut sent) = (rig.queue(Order::NewestFirst), Vec::new());
        for round in 0..200 {
            for number in [4 + 2 * round, 5 + 2 * round] {
                rig.append("north-1", number);
            }
            queue.look(&rig.spool, &appended(5 + 2 * round)).unwrap();
            sent.extend(rig.drain(&mut queue, 1));
            assert!(queue.spans.len() <= MOST_SPANS);
        }
        sent.extend(rig.drain(&mut queue, 999));
        sent.sort_unstable();
        assert_eq!(sent, (1..=403).collect::<Vec<_>>());
    }

    /// `COLLECTOR_TEST_LENGTH=full` does it with a million, as long as a box that lost its line for years.
    #[test]
    fn a_long_backlog_is_listed_once_and_each_bundle_is_looked_at_a_fixed_number_of_times() {
        let full = std::env::var_os("COLLECTOR_TEST_LENGTH").is_some_and(|it| it == "full");
        let count = if full { 1_000_000 } else { 10_000 };
        let rig = Rig::with(1..=count);
        let mut queue = rig.queue(Order::OldestFirst);
        assert_eq!(queue.count, count);
        for number in 1..=count {
            let next = queue.next(&rig.spool, |_| false).unwrap().unwrap();
            assert_eq!(next.name.sequence(), number);
            // The receipt would only slow the test down: gone is as good as receipted.
            fs::remove_file(rig.folder.path().join("b").join(next.name.to_string())).unwrap();
            queue.delivered(next.size);
            assert_eq!(queue.spans.len(), 1);
        }
        assert_eq!(queue.next(&rig.spool, |_| false).unwrap(), None);
        let (listings, looks) = rig.spool.counted();
        assert_eq!((listings, looks), (1, 3 * count));
    }
}
