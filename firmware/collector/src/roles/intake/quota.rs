//! What may be taken of old dates on one day, and that it goes to the newest of them.
//!
//! Invariants
//! 1. Before a first walk has come to its end nothing is limited. After it at most the daily quota of files of old dates is
//!    taken in a day; recent dates are neither limited nor counted.
//! 2. A walk in the order of the names, and hints, take at most about one part in [`CROWD`] of a quota. A walk that finds
//!    more begins again in bands of dates ([`super::bands`]), and finds it again; what hints lead to is left to it.
//! 3. What a walk in bands has left is newer than all that it comes to later. So it takes nothing old any more, not even on
//!    the next day: then the next walk does, from the newest on. It goes to its end all the same, so that
//!    removals do not wait for the quota.
//! 4. Where the quota was crowded on this day or the day before, a walk begins in bands. A restart forgets nothing of this:
//!    the catalogue keeps what was taken.

use super::bands::Band;
use super::course::Course;
use super::error::IntakeError;
use super::pacing::{Scope, day};
use super::walk::Walker;
use super::world::World;
use bundle::Signer;
use catalogue::Quota;
use spool::Disk;

/// More than one part in so many of a daily quota is a crowd, to be taken newest first.
const CROWD: u64 = 16;

/// How much of the quota is used.
pub(super) struct Allowance {
    /// Files a day; 0: no limit.
    limit: u64,
    /// On the last day on which any were counted.
    spent: Quota,
    /// No walk has come to its end.
    first: bool,
    /// The walk under way has left something for another day.
    left: bool,
}

/// What becomes of the files of old dates that were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Old {
    Take,
    /// For another day, or another walk.
    Leave,
    /// By this walk, in bands.
    InBands,
}

impl Allowance {
    pub fn new(limit: u64, spent: Quota) -> Self {
        Self {
            limit,
            spent,
            first: true,
            left: false,
        }
    }

    /// As the catalogue keeps it.
    pub fn spent(&self) -> Quota {
        self.spent
    }

    /// When the last walk began that came to its end.
    pub fn know(&mut self, finished: Option<u64>) {
        self.first = finished.is_none();
    }

    /// A walk begins. Whether it goes in bands.
    pub fn begin(&mut self, today: u64) -> bool {
        self.left = false;
        let lately = self.spent.day + 1 >= today;
        self.first || (self.limit > 0 && lately && self.is_crowd(self.spent.taken))
    }

    /// A walk in bands goes on after a restart: that it has left something shows in what was taken.
    pub fn go_on(&mut self) {
        self.left = self.is_limited() && self.spent.taken >= self.limit;
    }

    pub fn is_used_up(&self, today: u64) -> bool {
        self.is_limited() && (self.left || self.taken_on(today) >= self.limit)
    }

    fn is_limited(&self) -> bool {
        self.limit > 0 && !self.first
    }

    fn is_crowd(&self, files: u64) -> bool {
        files.saturating_mul(CROWD) > self.limit
    }

    fn taken_on(&self, day: u64) -> u64 {
        if self.spent.day == day {
            self.spent.taken
        } else {
            0
        }
    }

    /// Something old stays where it is, perhaps because the quota is used up.
    fn leave(&mut self, today: u64) {
        self.left |= self.is_used_up(today);
    }

    /// An old file was taken.
    fn count(&mut self, today: u64) {
        if self.is_limited() {
            self.spent = Quota {
                day: today,
                taken: self.taken_on(today) + 1,
            };
        }
    }

    /// `found`: old files that the course has found so far.
    fn old(&self, scope: Scope, band: Band, found: u64, today: u64) -> Old {
        if self.is_used_up(today) {
            return Old::Leave;
        }
        let crowd = self.is_limited() && self.is_crowd(self.taken_on(today) + found);
        match scope {
            Scope::Everything if crowd && band == Band::ALL => Old::InBands,
            Scope::Hinted if crowd => Old::Leave,
            Scope::Everything | Scope::Hinted | Scope::Recent => Old::Take,
        }
    }
}

impl<W: World + Sync + Clone, D: Disk, S: Signer> Walker<W, D, S> {
    fn today(&self) -> u64 {
        day(self.world.unix_seconds())
    }

    /// The band in which a walk begins.
    pub(super) fn first_band(&mut self) -> Band {
        let today = self.today();
        if self.quota.begin(today) && self.is_dated() {
            Band::newest(today)
        } else {
            Band::ALL
        }
    }

    /// When a course has visited everything in its band: goes on in the next one, if there is one. When it met a crowd: begins
    /// again in bands.
    pub(super) fn next_band(&self, course: &mut Course) {
        let today = self.today();
        if std::mem::take(&mut course.crowded) {
            course.begin_again(Band::newest(today));
        } else if course.stack.is_empty()
            && course.policy.scope() == Scope::Everything
            && let Some(older) = course.policy.band.older(today)
        {
            course.go_over(older);
        }
    }

    pub(super) fn quota_is_used_up(&self) -> bool {
        self.quota.is_used_up(self.today())
    }

    /// What becomes of the old files that a course has just found.
    pub(super) fn old(&self, course: &Course) -> Old {
        let (policy, today) = (&course.policy, self.today());
        match self
            .quota
            .old(policy.scope(), policy.band, course.old, today)
        {
            // without dates there is no order but that of the names
            Old::InBands if !self.is_dated() => Old::Take,
            old => old,
        }
    }

    pub(super) fn count_old(&mut self) {
        self.quota.count(self.today());
    }

    /// Leaves what is old in a folder for another day or walk.
    pub(super) fn defer(&mut self, path: &[u8]) -> Result<(), IntakeError> {
        self.quota.leave(self.today());
        self.shared.report().sources[self.source].deferred += 1;
        self.again.note(path);
        self.keep_due()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: u64 = 20_000;

    fn spent(taken: u64) -> Allowance {
        let mut allowance = Allowance::new(160, Quota { day: TODAY, taken });
        allowance.know(Some(1));
        allowance
    }

    #[test]
    fn a_first_walk_goes_in_bands_and_is_neither_limited_nor_counted() {
        let mut allowance = Allowance::new(160, Quota::default());
        assert!(allowance.begin(TODAY));
        for _ in 0..1000 {
            allowance.count(TODAY);
        }
        assert_eq!(
            allowance.old(Scope::Everything, Band::newest(TODAY), 1000, TODAY),
            Old::Take
        );
        allowance.know(Some(1));
        assert!(!allowance.begin(TODAY), "nothing was counted");
    }

    #[test]
    fn a_walk_in_the_order_of_names_takes_a_part_of_the_quota_and_then_goes_in_bands() {
        let (plain, bands) = (Band::ALL, Band::newest(TODAY));
        for (taken, found, band, old) in [
            (0, 10, plain, Old::Take),
            (0, 11, plain, Old::InBands),
            (10, 1, plain, Old::InBands),
            (0, 9999, bands, Old::Take),
            (159, 1, bands, Old::Take),
            (160, 1, bands, Old::Leave),
            (160, 1, plain, Old::Leave),
        ] {
            let verdict = spent(taken).old(Scope::Everything, band, found, TODAY);
            assert_eq!(verdict, old, "{taken} taken, {found} found");
        }
        assert_eq!(spent(0).old(Scope::Hinted, plain, 11, TODAY), Old::Leave);
        assert_eq!(spent(0).old(Scope::Hinted, plain, 10, TODAY), Old::Take);
        let mut unlimited = Allowance::new(0, Quota::default());
        unlimited.know(Some(1));
        assert_eq!(
            unlimited.old(Scope::Everything, plain, 9999, TODAY),
            Old::Take
        );
        assert!(!unlimited.begin(TODAY));
    }

    #[test]
    fn a_walk_that_has_left_something_takes_nothing_old_on_the_next_day_the_walk_after_it_does() {
        let mut allowance = spent(159);
        allowance.leave(TODAY);
        assert!(!allowance.is_used_up(TODAY), "left to the walk by a hint");
        allowance.count(TODAY);
        allowance.leave(TODAY);
        assert!(allowance.is_used_up(TODAY) && allowance.is_used_up(TODAY + 1));
        let mut restarted = spent(allowance.spent().taken);
        restarted.go_on();
        assert!(restarted.is_used_up(TODAY + 1));
        assert!(allowance.begin(TODAY + 1), "in bands");
        assert!(!allowance.is_used_up(TODAY + 1));
        allowance.count(TODAY + 1);
        assert_eq!(allowance.spent().taken, 1);
        assert!(!allowance.begin(TODAY + 1), "the crowd is gone");
    }

    #[test]
    fn two_days_after_a_crowd_walks_go_in_the_order_of_names_again() {
        assert!(spent(160).begin(TODAY) && spent(160).begin(TODAY + 1));
        assert!(!spent(160).begin(TODAY + 2));
    }
}
