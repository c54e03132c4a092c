//! Waiting for the second look, which only what has stayed the same for the quiet time comes to; and what is left for a later
//! walk.

use super::collection::lock;
use super::course::{Broken, Course};
use super::error::IntakeError;
use super::looks::{FolderLook, Place};
use super::pacing::Scope;
use super::quota::Old;
use super::walk::Walker;
use super::world::{Step, World};
use bundle::Signer;
use spool::Disk;

impl<W: World + Sync + Clone, D: Disk, S: Signer> Walker<W, D, S> {
    /// Puts folders with candidates into the queue for their second look; waits where it is full.
    pub(super) fn enqueue(
        &mut self,
        course: &mut Course,
        mut looks: Vec<FolderLook>,
        prints: Vec<u64>,
    ) -> Result<(), Broken> {
        let is_old = |look: &FolderLook| !course.policy.is_recent(&look.path);
        if looks.iter().any(is_old) {
            match self.old(course) {
                Old::Take => {}
                Old::Leave => {
                    for look in looks.extract_if(.., |look| is_old(look)) {
                        self.defer(&look.path)?;
                    }
                }
                Old::InBands => {
                    // all of this is found again
                    course.crowded = true;
                    return Ok(());
                }
            }
        }
        let Some(first) = looks.first() else {
            return Ok(());
        };
        let walk = course.place(&first.path);
        if course.policy.scope() == Scope::Recent {
            // not behind a first scan
            return self.with_hinted_looks(|walker| walker.line_up(course, looks, prints, walk));
        }
        self.line_up(course, looks, prints, walk)
    }

    fn line_up(
        &mut self,
        course: &mut Course,
        folders: Vec<FolderLook>,
        prints: Vec<u64>,
        walk: Option<Vec<u8>>,
    ) -> Result<(), Broken> {
        while !self.looks.has_room(folders.len(), prints.len()) {
            self.ripen_oldest()?;
        }
        let place = Place {
            folders,
            prints,
            first_look: self.world.uptime(),
            walk,
        };
        if self.looks.push(place).is_err() {
            // there was room a moment ago; without its second look the folder waits for the next walk
            course.whole = false;
        }
        Ok(())
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
