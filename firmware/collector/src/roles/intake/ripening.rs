//! Waiting for the second look, which only what has stayed the same for the quiet time comes to; and what is left for later: for
//! another walk, or another day.

use super::collection::lock;
use super::course::{Broken, Course};
use super::error::IntakeError;
use super::looks::Place;
use super::pacing::{Scope, day};
use super::walk::Walker;
use super::world::{Step, World};
use bundle::Signer;
use catalogue::Quota;
use spool::Disk;

impl<W: World + Sync + Clone, D: Disk, S: Signer> Walker<W, D, S> {
    /// Puts folders with candidates into the queue for their second look; waits where it is full.
    pub(super) fn enqueue(
        &mut self,
        course: &mut Course,
        mut looks: Vec<super::looks::FolderLook>,
        prints: Vec<u64>,
    ) -> Result<(), Broken> {
        if self.quota_is_used_up()? {
            for look in looks.extract_if(.., |look| !course.policy.is_recent(&look.path)) {
                self.defer(&look.path)?;
            }
        }
        if looks.is_empty() {
            return Ok(());
        }
        while !self.looks.has_room(looks.len(), prints.len()) {
            self.ripen_oldest()?;
        }
        let place = Place {
            folders: looks,
            prints,
            first_look: self.world.uptime(),
            walk: course.policy.scope() == Scope::Everything,
        };
        if self.looks.push(place).is_err() {
            // there was room a moment ago; without its second look the folder waits for the next walk
            course.whole = false;
        }
        Ok(())
    }

    /// Leaves what is old in a folder for another day.
    pub(super) fn defer(&mut self, path: &[u8]) -> Result<(), IntakeError> {
        self.shared.report().sources[self.source].deferred += 1;
        self.again.note(path);
        self.keep_due()
    }

    /// Lets the next walk ask again for all files in a folder.
    pub(super) fn note_again(&mut self, path: &[u8]) -> Result<(), IntakeError> {
        self.following
            .unsettled(&self.shared.hints[self.source], path);
        if self.again.note(path) {
            return Ok(());
        }
        self.keep_due()
    }

    /// What this walk asked about is asked about once more by the next one: something was left, and a restart, or its
    /// number, might make it forgotten.
    pub(super) fn keep_due(&mut self) -> Result<(), IntakeError> {
        if !std::mem::replace(&mut self.kept_due, true) {
            lock(&self.core).catalogue.keep_due(self.root)?;
        }
        Ok(())
    }

    pub(super) fn quota_is_used_up(&mut self) -> Result<bool, IntakeError> {
        let limit = self.settings.pacing.daily_quota;
        let today = day(self.world.unix_seconds());
        if self.quota.day != today {
            self.quota = Quota {
                day: today,
                taken: 0,
            };
        }
        if limit == 0 || self.quota.taken < limit {
            return Ok(false);
        }
        Ok(lock(&self.core)
            .catalogue
            .source_of(self.root)?
            .finished
            .is_some())
    }

    pub(super) fn ripe(&self) -> bool {
        self.looks.oldest().is_some_and(|place| {
            self.world.uptime().saturating_sub(place.first_look) >= self.settings.quiet
        })
    }

    /// Waits for everything in the queue and looks at it a second time.
    pub(super) fn ripen_all(&mut self) -> Result<(), IntakeError> {
        while self.ripen_oldest()? {}
        Ok(())
    }

    /// Looks a second time at what waits longest, once it is ripe. `false`: nothing waits.
    pub(super) fn ripen_oldest(&mut self) -> Result<bool, IntakeError> {
        let Some(first_look) = self.looks.oldest().map(|place| place.first_look) else {
            return Ok(false);
        };
        loop {
            let waited = self.world.uptime().saturating_sub(first_look);
            let Some(left) = self
                .settings
                .quiet
                .checked_sub(waited)
                .filter(|left| !left.is_zero())
            else {
                break;
            };
            self.world.step(Step::Waiting)?;
            self.world.pause(left);
        }
        if let Some(place) = self.looks.pop() {
            self.look_again(&place)?;
        }
        Ok(true)
    }
}
