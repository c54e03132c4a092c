//! The walker over one source, and its turns: which walks come when, and what it does between them. A walk is a course
//! ([`super::course`]) that visits folders ([`super::visit`]) and waits for second looks ([`super::ripening`], [`super::take`]).
//!
//! Invariants
//! 1. A file is taken only in a second look that finds it as the first one did, at least the quiet time later. What is in
//!    the bundle in the making is not taken again before it is committed, and nothing is told by a state of the catalogue
//!    that a commit has changed meanwhile. So no version is taken twice, and no removal or change of flag told twice.
//! 2. Known files count as missing only by whole listings. A walk with any failed listing, or over a mount that is not
//!    the same at its end, concludes nothing about removals.
//! 3. In memory are the folders on the way down, one chunk of parts, and what waits for its second look: all bounded, but
//!    for the names of the folders in one folder.
//! 4. Recent dates come first, in each turn in which they do not take more than half of the time, so that today's records
//!    wait for no walk; what came just after a look at its folder is durable within a period of that. A walk goes from the
//!    greatest name to the least, so newest dates of a patient come first; where it has much to take, in bands of dates over
//!    all patients ([`super::bands`]). It remembers how far it has come: all that lies before the remembered place was
//!    scanned, and what was whole there is committed. After a restart or a lost share it goes on there. A walk ends when all
//!    that it found is durable; until then it waits.
//! 5. A source without dates has no recent ones: only walks over everything visit it, at any hour, and only they conclude
//!    anything about what is missing.
//! 6. What a walk has left, for a quota or a share that failed at the second look, stays due for the rolling look.

use super::collection::{AsOf, Core, LINGER, SPACING, Settings, Shared, announce, lock};
use super::course::{Broken, Course, End};
use super::error::IntakeError;
use super::hints::feed::{self, Feed};
use super::hints::follow::Following;
use super::looks::{Again, Looks, Patience};
use super::pacing::{Pace, Scope, is_dated, within_hours};
use super::quota::Allowance;
use super::report::SourceState;
use super::share::{Buffer, Root};
use super::world::World;
use bundle::Signer;
use catalogue::{Directory, Honesty, Known};
use spool::Disk;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A walk that visited everything, and waits until what it found is durable.
struct Ending {
    course: Course,
    /// The bundle in the making that has the last of it, by [`Core::sealed`].
    batch: u64,
}

pub struct Walker<W, D, S> {
    pub(super) world: W,
    pub(super) settings: Arc<Settings>,
    pub(super) core: Arc<Mutex<Core<D, S>>>,
    pub(super) shared: Arc<Shared<D>>,
    /// Place of the source in the settings.
    pub(super) source: usize,
    pub(super) root: Directory,
    pub(super) looks: Looks,
    pub(super) patience: Patience,
    pub(super) again: Again,
    pub(super) round: u64,
    /// For the bytes of a file.
    pub(super) buffer: Vec<u8>,
    pub(super) quota: Allowance,
    /// The place of the walk that is looked at a second time: there it goes on if that comes to nothing.
    pub(super) place: Option<Vec<u8>>,
    /// [`Core::as_of`] when what the second look goes by was read.
    pub(super) as_of: AsOf,
    /// Files that were written again with the content that is known, until the catalogue has their times.
    pub(super) rewritten: Vec<(Vec<u8>, Known)>,
    /// The walk has left something, which stays due.
    pub(super) kept_due: bool,
    pub(super) names: Buffer,
    pub(super) pace: Pace,
    pub(super) honesty: Honesty,
    /// The walk that [`Walker::turn`] goes on with.
    course: Option<Course>,
    /// Uptime before which recent dates are not looked at again beside a walk: where the budget is small they would take all
    /// of it.
    recent_again: Duration,
    /// The last walk began and ended in one turn: it looked at recent dates soon enough.
    is_short: bool,
    /// A walk may have been broken off, and has not been looked for yet.
    pub(super) broken_off: bool,
    pub(super) following: Following,
}

impl<W: World + Sync + Clone, D: Disk, S: Signer> Walker<W, D, S> {
    pub(super) fn new(
        world: W,
        settings: Arc<Settings>,
        core: Arc<Mutex<Core<D, S>>>,
        shared: Arc<Shared<D>>,
        source: usize,
        known: catalogue::Source,
    ) -> Self {
        Self {
            world,
            core,
            shared,
            source,
            root: known.root,
            looks: Looks::default(),
            patience: Patience::default(),
            again: Again::default(),
            round: 0,
            buffer: Vec::new(),
            quota: Allowance::new(settings.pacing.daily_quota, known.quota),
            place: None,
            as_of: AsOf::default(),
            rewritten: Vec::new(),
            kept_due: false,
            names: Buffer::new(),
            pace: Pace::new(settings.pacing.requests_per_second),
            honesty: known.honesty,
            following: Following::new(feed::target(&settings.sources, source).map(Feed::new)),
            settings,
            course: None,
            recent_again: Duration::ZERO,
            is_short: false,
            broken_off: true,
        }
    }

    /// A turn of about `period`: recent dates, then as much of the walk over everything as there is time and as the hours
    /// allow. Waits for what is left of the period when that walk has come to its end.
    pub fn turn(&mut self, period: Duration) -> Result<(), IntakeError> {
        let begin = self.world.uptime();
        {
            let mut core = lock(&self.core);
            core.linger = LINGER.min(period);
            core.heal(&self.world)?;
        }
        let mut until = begin + period;
        let mut ending = None;
        self.following.all_is_walked();
        let old = self.may_walk();
        let in_turn = !old || begin >= self.recent_again;
        if self.is_dated() && in_turn && !(old && self.is_short) {
            self.pass_recent()?;
            let end = self.world.uptime();
            self.recent_again = end + end.saturating_sub(begin);
            until = self.again_at(begin, period).max(self.recent_again);
        }
        if old {
            self.is_short = self.course.is_none();
            if self.is_short {
                self.course = self.begin(Scope::Everything)?;
            }
            while let Some(mut course) = self.course.take() {
                self.attend()?;
                match self.advance(&mut course, Some(until)) {
                    Ok(true) => {
                        until = self.again_at(begin, period);
                        if !self.settle(until)? {
                            self.course = Some(course);
                            break;
                        }
                        ending = self.finish_when_durable(course)?;
                    }
                    Ok(false) => {
                        self.course = Some(course);
                        if self.world.uptime() >= until || !self.may_walk() {
                            break;
                        }
                    }
                    Err(Broken::Share(reason)) => {
                        self.missing(reason)?;
                    }
                    Err(Broken::Intake(error)) => return Err(error),
                }
            }
        }
        self.is_short &= self.course.is_none();
        // a walk under way outside its hours waits with all that it holds
        if self.course.is_none() || !old {
            self.settle(until)?;
            lock(&self.core).report_losses(&self.world)?;
            self.rest(begin, until, ending)?;
        }
        Ok(())
    }

    /// When to begin again, so that what comes just after a look at its folder is durable within the period: so much sooner
    /// as the look at all that there is took until now, and the second look and the sealing take. But not before half of it.
    fn again_at(&self, begin: Duration, period: Duration) -> Duration {
        let looked = self.world.uptime().saturating_sub(begin);
        let durable_after = looked + self.settings.quiet + SPACING;
        begin + period - durable_after.min(period / 2)
    }

    pub(super) fn is_dated(&self) -> bool {
        is_dated(self.settings.sources[self.source].kind)
    }

    /// Whether old dates may be walked now. A source without dates has none, and is walked at any hour.
    fn may_walk(&self) -> bool {
        !self.is_dated() || within_hours(self.settings.pacing.hours, self.world.unix_seconds())
    }

    /// Ends a walk whose finds are all durable; gives back one whose finds are not, with the bundle that they wait for.
    fn finish_when_durable(&mut self, course: Course) -> Result<Option<Ending>, IntakeError> {
        let waits_for = {
            let core = lock(&self.core);
            core.batch.firsts[self.source].as_ref().map(|_| core.sealed)
        };
        match waits_for {
            Some(batch) => Ok(Some(Ending { course, batch })),
            None => self.finish(Some(course)).map(|()| None),
        }
    }

    /// Waits until then, and longer for a walk that is ending; seals meanwhile what has become old, and follows hints.
    fn rest(
        &mut self,
        began: Duration,
        until: Duration,
        mut ending: Option<Ending>,
    ) -> Result<(), IntakeError> {
        lock(&self.core).rests(self.source);
        loop {
            self.attend()?;
            let until = self.following.not_later(began, until);
            let (sealed, left) = {
                let mut core = lock(&self.core);
                core.seal_if_old(&self.world)?;
                (core.sealed, core.left(&self.world))
            };
            if let Some(ended) = ending.take_if(|ending| ending.batch < sealed) {
                self.finish(Some(ended.course))?;
                lock(&self.core).report_losses(&self.world)?;
                continue;
            }
            let rest = until.saturating_sub(self.world.uptime());
            let pause = match (rest.is_zero(), &ending, left) {
                (false, _, left) => rest.min(left.unwrap_or(rest)),
                (true, Some(_), Some(left)) => left,
                (true, _, _) => return Ok(()),
            };
            self.doze(self.world.uptime() + pause)?;
        }
    }

    fn pass_recent(&mut self) -> Result<(), IntakeError> {
        let Some(mut course) = self.begin(Scope::Recent)? else {
            return Ok(());
        };
        loop {
            self.attend()?;
            match self.advance(&mut course, None) {
                Ok(false) => {}
                Ok(true) => return Ok(()),
                Err(Broken::Share(reason)) => return self.missing(reason).map(drop),
                Err(Broken::Intake(error)) => return Err(error),
            }
        }
    }

    /// Walks the whole source. `None`: it is missing.
    pub(super) fn walk(&mut self) -> Result<Option<Course>, IntakeError> {
        let Some(mut course) = self.begin(Scope::Everything)? else {
            return Ok(None);
        };
        loop {
            self.attend()?;
            match self.advance(&mut course, None) {
                Ok(false) => {}
                Ok(true) => return Ok(Some(course)),
                Err(Broken::Share(reason)) => {
                    self.missing(reason)?;
                    return Ok(None);
                }
                Err(Broken::Intake(error)) => return Err(error),
            }
        }
    }

    /// Opens the source's root; one that was filled and is empty now is missing.
    pub(super) fn open_root(&self, known_files: u64) -> Result<Root, &'static str> {
        let plan = &self.settings.sources[self.source];
        self.pulse().begin(self.source, self.world.uptime());
        let root = Root::open(
            &self.settings.mounts,
            self.settings.mount_rule,
            &plan.mount,
            &plan.path,
        );
        let filled = root
            .as_ref()
            .map(|root| known_files == 0 || root.is_filled() == Ok(true));
        self.pulse().end();
        if filled == Ok(false) {
            Err("the root is empty")
        } else {
            root
        }
    }

    pub(super) fn pulse(&self) -> &super::report::Pulse {
        &self.shared.pulses[self.source]
    }

    pub(super) fn missing(&mut self, reason: &'static str) -> Result<End, IntakeError> {
        self.set_state(SourceState::Missing {
            reason: reason.to_owned(),
        })?;
        self.course = None;
        self.is_short = false;
        self.broken_off = true;
        lock(&self.core)
            .catalogue
            .forget_missing(self.root, false)?;
        Ok(End::Partial)
    }

    /// Sets the source's state and puts it into the trail where it is news.
    pub(super) fn set_state(&mut self, state: SourceState) -> Result<(), IntakeError> {
        let transition = self.shared.report().set_state(self.source, state.clone());
        let name = &self.settings.sources[self.source].name;
        announce(&self.world, name, transition, &state)
    }
}
