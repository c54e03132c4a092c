//! What a walker does with hints: it looks at hinted folders first, between the pieces of its walk and while it waits for
//! the next one, and seals what came of it soon.
//!
//! Invariants
//! 1. A hinted look is a walk over few folders, by the same code, with the same quiet time and the same budget of questions.
//!    It concludes nothing about what is missing.
//! 2. A hinted folder is reached from the nearest one that is known and carries no flag: only there can a renamed content
//!    folder be told from a new one. Then it goes down to what was hinted, and into what is new there.
//! 3. Hints take at most half of a walker's time from its walk.
//! 4. What a hinted look found, or one at recent dates, waits in a queue of its own, so that it does not stand behind a first
//!    scan, and is sealed soon.

use super::super::collection::{Core, lock};
use super::super::course::Broken;
use super::super::error::IntakeError;
use super::super::looks::Looks;
use super::super::pacing::Scope;
use super::super::scan::Folder;
use super::super::share::Trouble;
use super::super::walk::Walker;
use super::super::world::{Step, World};
use super::feed::Feed;
use super::{Hints, Origin};
use bundle::Signer;
use site::SourceKind;
use spool::Disk;
use std::collections::BTreeSet;
use std::time::Duration;

/// Between two hinted looks, so that hints that come one by one are followed together.
const BREATH: Duration = Duration::from_millis(200);

/// After a word of "too many" the next walk begins, but not sooner than this after the last one did.
const SOON: Duration = Duration::from_secs(60);

/// A walker's state of following hints.
#[derive(Default)]
pub struct Following {
    /// Found by hinted looks and by those at recent dates, for the second one.
    looks: Looks,
    /// Uptime before which no hint is followed.
    not_before: Duration,
    /// Uptime at which the bundle in the making is to be sealed.
    sealing: Option<Duration>,
    /// Hints were lost: all is to be walked soon.
    soon: bool,
    /// A hinted look is under way.
    looking: bool,
    /// Where the source is a transaction storage that tells about another source.
    feed: Option<Feed>,
}

/// Says when a walk's scan shall hand back the rest of its parts, because a hint waits, or what one led to.
#[derive(Clone, Copy)]
pub struct Interruption<'a> {
    hints: Option<&'a Hints>,
    not_before: Duration,
    moment: Option<Duration>,
}

impl Interruption<'_> {
    pub fn is_due(&self, world: &impl World) -> bool {
        let is_hinted = || self.hints.is_some_and(|hints| !hints.is_empty());
        let now = world.uptime();
        self.moment.is_some_and(|moment| now >= moment) || (now >= self.not_before && is_hinted())
    }
}

impl Following {
    pub fn new(feed: Option<Feed>) -> Self {
        Self {
            feed,
            ..Self::default()
        }
    }

    /// What lets a scan break off for hints. A hinted one does not.
    pub fn interruption<'a>(&self, hints: &'a Hints, quiet: Duration) -> Interruption<'a> {
        Interruption {
            hints: (!self.looking).then_some(hints),
            not_before: self.not_before,
            moment: self.moment(quiet).filter(|_| !self.looking),
        }
    }

    /// Uptime at which something is to be done for hints that came before.
    fn moment(&self, quiet: Duration) -> Option<Duration> {
        let moments = [
            self.looks.oldest().map(|place| place.first_look + quiet),
            self.sealing,
            self.feed.as_ref().map(Feed::next),
        ];
        moments.into_iter().flatten().min()
    }

    /// When to walk again: then, or sooner where so many hints came that only a walk can look at everything.
    pub fn not_later(&self, began: Duration, until: Duration) -> Duration {
        if self.soon {
            until.min(began + SOON)
        } else {
            until
        }
    }

    /// A walk begins, and finds whatever was hinted.
    pub fn all_is_walked(&mut self) {
        self.soon = false;
    }

    /// A file was not yet as it will stay: if a hint led to it, it is looked at once more before the next walk.
    pub fn unsettled(&self, hints: &Hints, folder: &[u8]) {
        if self.looking {
            hints.folder(Origin::Unsettled, folder);
        }
    }
}

impl<W: World + Sync + Clone, D: Disk, S: Signer> Walker<W, D, S> {
    fn hints(&self) -> &Hints {
        &self.shared.hints[self.source]
    }

    /// Takes what hints led to and is ripe, seals it, and follows those that have come. Never waits but for the share, and
    /// for the sealing.
    pub(in super::super) fn attend(&mut self) -> Result<(), IntakeError> {
        if self.following.looking {
            return Ok(());
        }
        self.read_feed()?;
        self.ripen_hinted()?;
        self.seal_in_time()?;
        if self.world.uptime() >= self.following.not_before && !self.hints().is_empty() {
            let begin = self.world.uptime();
            self.follow()?;
            let end = self.world.uptime();
            self.following.not_before = end + BREATH.max(end.saturating_sub(begin));
        }
        Ok(())
    }

    fn seal_in_time(&mut self) -> Result<(), IntakeError> {
        let mut core = lock(&self.core);
        core.seal_if_old(&self.world)?;
        let now = self.world.uptime();
        self.following.sealing = core.left(&self.world).map(|left| now + left);
        Ok(())
    }

    /// Waits for the walk's second looks, until the turn is over; goes on following hints meanwhile. `true`: none is left.
    pub(in super::super) fn settle(&mut self, until: Duration) -> Result<bool, IntakeError> {
        loop {
            self.attend()?;
            let Some(oldest) = self.looks.oldest().map(|place| place.first_look) else {
                return Ok(true);
            };
            if self.world.uptime() >= until {
                return Ok(false);
            }
            if self.ripe() {
                self.ripen_oldest()?;
            } else {
                self.doze(until.min(oldest + self.settings.quiet))?;
            }
        }
    }

    /// Waits for this uptime, or for whatever of hints is to be done before.
    pub(in super::super) fn doze(&mut self, until: Duration) -> Result<(), IntakeError> {
        self.world.step(Step::Waiting)?;
        let following = &self.following;
        let pending = !self.hints().is_empty();
        let moments = [
            following.moment(self.settings.quiet),
            pending.then_some(following.not_before),
        ];
        let next = moments.into_iter().flatten().fold(until, Duration::min);
        let left = next.saturating_sub(self.world.uptime());
        if left.is_zero() {
            return Ok(());
        }
        if pending {
            self.world.pause(left);
        } else {
            self.world.wait(left, self.hints());
        }
        Ok(())
    }

    fn follow(&mut self) -> Result<(), IntakeError> {
        let waiting = self.hints().take();
        if self.settings.sources[self.source].kind == SourceKind::Transaction {
            // its own files have no hurry: the newest one grows all day. But there is something to read in it.
            if let Some(feed) = &mut self.following.feed {
                feed.hurry();
            }
            return Ok(());
        }
        self.following.soon |= waiting.too_many;
        if waiting.folders.is_empty() {
            return Ok(());
        }
        // a source that is missing is reported there, and walked when it is back
        let Some(mut course) = self.begin(Scope::Hinted)? else {
            return Ok(());
        };
        let (mut hinted, mut starts) = (BTreeSet::new(), BTreeSet::new());
        for path in &*waiting.folders {
            self.pulse().begin(self.source, self.world.uptime());
            self.pace.ask(&self.world);
            let opened = course.root.folder(path);
            self.pulse().end();
            match opened {
                Ok(_) => {}
                Err(Trouble::Gone | Trouble::Locked) => {
                    self.hints().ignore(1);
                    continue;
                }
                Err(Trouble::Share(_)) => {
                    // the walk finds out what is the matter
                    self.following.soon = true;
                    return Ok(());
                }
            }
            starts.insert(self.start_of(path)?);
            hinted.insert(path.clone());
        }
        course.policy.hinted = hinted;
        course.stack = starts
            .into_iter()
            .map(|path| Folder {
                path,
                twin: None,
                after: Vec::new(),
            })
            .collect();
        self.with_hinted_looks(|walker| {
            while !course.stack.is_empty() {
                match walker.advance(&mut course, None) {
                    Ok(_) => {}
                    Err(Broken::Share(_)) => {
                        walker.following.soon = true;
                        return Ok(());
                    }
                    Err(Broken::Intake(error)) => return Err(error),
                }
            }
            Ok(())
        })
    }

    /// The folder from which one is looked at: invariant 2.
    fn start_of(&self, path: &[u8]) -> Result<Vec<u8>, IntakeError> {
        let mut path = path;
        // above the first flag
        let mut end = 0;
        for name in path.split(|&byte| byte == b'/') {
            if ssmix2::Flagged::parse(name).is_some() {
                path = &path[..end.max(1) - 1];
                break;
            }
            end += name.len() + 1;
        }
        let core = lock(&self.core);
        while !path.is_empty() && core.catalogue.folder(self.root, path)?.is_none() {
            let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            path = &path[..end];
        }
        Ok(path.to_vec())
    }

    fn ripen_hinted(&mut self) -> Result<(), IntakeError> {
        self.with_hinted_looks(|walker| {
            while walker.ripe() {
                walker.ripen_oldest()?;
            }
            Ok(())
        })
    }

    /// Works on the queue of what hints led to, in place of the walk's.
    pub(in super::super) fn with_hinted_looks<T, E>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let source = self.source;
        let gathered = |core: &Core<D, S>| (core.sealed, core.batch.entries[source]);
        let before = gathered(&lock(&self.core));
        std::mem::swap(&mut self.looks, &mut self.following.looks);
        self.following.looking = true;
        let result = work(self);
        self.following.looking = false;
        std::mem::swap(&mut self.looks, &mut self.following.looks);
        let mut core = lock(&self.core);
        // what was in a bundle that was sealed meanwhile is durable
        let (sealed, entries) = gathered(&core);
        if entries > 0 && (sealed, entries) != before {
            core.hurry();
        }
        drop(core);
        result
    }

    fn read_feed(&mut self) -> Result<(), IntakeError> {
        let Some(mut feed) = self.following.feed.take() else {
            return Ok(());
        };
        let read = if self.world.uptime() >= feed.next() {
            self.read_feed_now(&mut feed)
        } else {
            Ok(())
        };
        self.following.feed = Some(feed);
        read
    }

    fn read_feed_now(&mut self, feed: &mut Feed) -> Result<(), IntakeError> {
        // trouble with the share is the walk's to report
        let Ok(root) = self.open_root(0) else {
            feed.later(self.world.uptime());
            return Ok(());
        };
        self.pulse().begin(self.source, self.world.uptime());
        let news = feed.read(&root, || self.pace.ask(&self.world));
        self.pulse().end();
        feed.later(self.world.uptime());
        if news.folders.is_empty() && !news.too_many {
            return Ok(());
        }
        // the root of the other source may be a facility's folder, or hold several of them
        let facilities = {
            let core = lock(&self.core);
            core.catalogue.folders(core.roots[feed.target()], b"")?
        };
        let hints = &self.shared.hints[feed.target()];
        for (facility, folder) in &news.folders {
            if facilities.contains(facility) {
                hints.folder(Origin::Feed, &super::super::decide::join(facility, folder));
            } else {
                hints.folder(Origin::Feed, folder);
            }
        }
        if news.too_many {
            hints.too_many(Origin::Feed);
        }
        Ok(())
    }
}
