//! One walk over a source: how it begins or goes on, what of it is remembered, how it ends.

use super::bands::Band;
use super::collection::lock;
use super::decide::join;
use super::error::IntakeError;
use super::pacing::{Policy, Scope, is_honest};
use super::report::{SourceState, Times};
use super::scan::Folder;
use super::share::Root;
use super::walk::Walker;
use super::world::World;
use bundle::Signer;
use catalogue::{Honesty, Stamps};
use serde_json::json;
use spool::Disk;
use std::time::Duration;

/// Paths of missing files that are noted in one transaction.
const NOTES: usize = 256;

/// A mass disappearance: more known files than this, and more than one in `SUSPICIOUS_SHARE`, are missing.
const SUSPICIOUS_FILES: u64 = 20;
const SUSPICIOUS_SHARE: u64 = 10;

/// A checkpoint is written after so many stamps, or so much time.
const STAMPS: usize = 16_384;
const CHECKPOINT: Duration = Duration::from_secs(10);

/// A walk under way.
pub struct Course {
    pub(super) root: Root,
    pub(super) policy: Policy,
    pub(super) number: u64,
    /// Files known when it began.
    pub(super) files: u64,
    /// Folders to be visited, the next one last.
    pub(super) stack: Vec<Folder>,
    /// Folders of the band before this one have been visited, before a restart.
    pub(super) resume: Option<Vec<u8>>,
    /// Every listing so far was whole.
    pub(super) whole: bool,
    pub(super) missing: Vec<Vec<u8>>,
    pub(super) missing_count: u64,
    /// More are not noted: beyond it the disappearance is suspicious anyway.
    pub(super) missing_limit: u64,
    pub(super) stamps: Vec<Stamps>,
    pub(super) stamp_count: usize,
    /// [`taken_back`](super::collection::Core::taken_back) before the first of them.
    pub(super) as_of: u64,
    pub(super) checkpoint: Duration,
    /// Files of old dates that may be new or changed, found since it began to go over the source.
    pub(super) old: u64,
    /// They are to be taken in bands, and it does not go so yet.
    pub(super) crowded: bool,
}

impl Course {
    /// Goes over the source from the root on, for the folders of this band.
    pub(super) fn go_over(&mut self, band: Band) {
        self.policy.band = band;
        self.stack = top();
        self.resume = None;
    }

    /// As if it had not met anything yet. What it has noted as missing it misses again, under the same number.
    pub(super) fn begin_again(&mut self, band: Band) {
        self.go_over(band);
        self.old = 0;
        self.missing.clear();
        self.missing_count = 0;
    }

    /// A place to go on from; `None`: this course does not go on anywhere.
    pub(super) fn place(&self, path: &[u8]) -> Option<Vec<u8>> {
        (self.policy.scope() == Scope::Everything).then(|| self.policy.band.place(path))
    }
}

fn top() -> Vec<Folder> {
    vec![Folder {
        path: Vec::new(),
        twin: None,
        after: Vec::new(),
    }]
}

/// Why a walk breaks off.
pub(super) enum Broken {
    Share(&'static str),
    Intake(IntakeError),
}

impl<E: Into<IntakeError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Intake(error.into())
    }
}

/// What a walk has come to.
pub enum End {
    /// Its number, if it saw everything: removals may be concluded.
    Whole(u64),
    Partial,
}

impl<W: World + Sync + Clone, D: Disk, S: Signer> Walker<W, D, S> {
    /// Begins a walk, or goes on with one that a restart or a lost share broke off. `None`: the source is missing.
    pub(super) fn begin(&mut self, scope: Scope) -> Result<Option<Course>, IntakeError> {
        let source = lock(&self.core).catalogue.source_of(self.root)?;
        let root = match self.open_root(source.files) {
            Ok(root) => root,
            Err(reason) => {
                self.missing(reason)?;
                return Ok(None);
            }
        };
        self.set_state(SourceState::Present)?;
        let now = self.world.unix_seconds();
        let kind = self.settings.sources[self.source].kind;
        let policy = Policy::new(&self.settings.pacing, kind, scope, &source, now);
        let mut course = Course {
            root,
            policy,
            number: source.walk,
            files: source.files,
            stack: top(),
            resume: None,
            whole: true,
            missing: Vec::new(),
            missing_count: 0,
            missing_limit: SUSPICIOUS_FILES.max(source.files / SUSPICIOUS_SHARE) + 1,
            stamps: Vec::new(),
            stamp_count: 0,
            as_of: lock(&self.core).taken_back,
            checkpoint: self.world.uptime(),
            old: 0,
            crowded: false,
        };
        self.quota.know(source.finished);
        if scope != Scope::Everything {
            return Ok(Some(course));
        }
        let next = if std::mem::take(&mut self.broken_off) {
            lock(&self.core).catalogue.next(self.root)?
        } else {
            None
        };
        course.policy.band = self.first_band();
        match next.filter(|next| !next.is_empty()) {
            Some(next) => {
                let (band, path) = Band::of_place(&next);
                course.whole = source.whole;
                course.policy.band = band;
                course.resume = Some(path.to_vec()).filter(|path| !path.is_empty());
                if band != Band::ALL {
                    self.quota.go_on();
                }
            }
            None => course.number = lock(&self.core).catalogue.begin_walk(self.root, now)?,
        }
        self.kept_due = false;
        self.round += 1;
        let mut report = self.shared.report();
        let report = &mut report.sources[self.source];
        (report.ignored, report.alien, report.unreadable) = (0, 0, 0);
        (
            report.unsettled,
            report.unnameable,
            report.deferred,
            report.listed,
        ) = (0, 0, 0, 0);
        report.times = times(self.honesty);
        Ok(Some(course))
    }

    pub(super) fn checkpoint(&mut self, course: &mut Course) -> Result<(), IntakeError> {
        let now = self.world.uptime();
        if course.stamp_count < STAMPS
            && now.saturating_sub(course.checkpoint) < CHECKPOINT
            && !course.stack.is_empty()
        {
            return Ok(());
        }
        course.checkpoint = now;
        self.flush_missing(course)?;
        let mut core = lock(&self.core);
        let waiting = core.batch.firsts[self.source].as_deref();
        let waiting = waiting.or_else(|| self.looks.first_of_walk());
        let next = match (waiting, course.stack.last()) {
            (Some(place), _) => place.to_vec(),
            (None, Some(folder)) => course.place(&folder.path).unwrap_or_default(),
            (None, None) => Vec::new(),
        };
        if std::mem::replace(&mut course.as_of, core.taken_back) != core.taken_back {
            // a folder whose files are no longer known must be listed, though its time stays
            for stamps in &mut course.stamps {
                stamps.folders.retain(|(_, stamp)| stamp.is_none());
            }
        }
        core.catalogue
            .checkpoint(self.root, &next, course.whole, self.honesty, &course.stamps)?;
        core.catalogue.set_quota(self.root, self.quota.spent())?;
        course.stamps.clear();
        course.stamp_count = 0;
        Ok(())
    }

    /// Ends a walk that visited everything: removals are for later, but a mass disappearance is seen here.
    pub(super) fn end(&mut self, mut course: Course) -> Result<End, IntakeError> {
        self.checkpoint(&mut course)?;
        match self.open_root(course.files) {
            Ok(again) if again.same_mount(&course.root) => {}
            Ok(_) => return self.missing("mounted anew during the walk"),
            Err(reason) => return self.missing(reason),
        }
        if !course.whole {
            lock(&self.core).catalogue.forget_missing(self.root, true)?;
            return Ok(End::Partial);
        }
        let noted = lock(&self.core)
            .catalogue
            .end_whole_walk(self.root, course.number)?;
        // more than the limit were counted and not noted
        let count = noted.max(course.missing_count);
        let suspicious = count > SUSPICIOUS_FILES && count > course.files / SUSPICIOUS_SHARE;
        let before = {
            let mut report = self.shared.report();
            let report = &mut report.sources[self.source];
            report.whole_walks += 1;
            std::mem::replace(&mut report.suspicious, suspicious)
        };
        if suspicious && !before {
            let name = &self.settings.sources[self.source].name;
            self.world.audit(
                "source-suspicious",
                json!({ "source": name, "missing": count, "files": course.files }),
            )?;
        }
        if suspicious {
            return Ok(End::Partial);
        }
        Ok(End::Whole(course.number))
    }

    /// After a walk, once all it found has had its second look and is durable: ends it, and concludes removals. A cut before
    /// that goes on with the walk where its first find was not durable. Removals need no such care: what was noted as missing
    /// stays noted until a walk has seen it again, so a cut that loses them leaves them to the next walk.
    pub(super) fn finish(&mut self, course: Option<Course>) -> Result<(), IntakeError> {
        if let Some(course) = course {
            if let End::Whole(walk) = self.end(course)? {
                self.removals(walk)?;
            }
            let (present, left) = {
                let report = self.shared.report();
                let source = &report.sources[self.source];
                (source.state == SourceState::Present, source.deferred > 0)
            };
            if present {
                self.shared.ward.walked(self.source, left);
            }
        }
        lock(&self.core)
            .catalogue
            .set_quota(self.root, self.quota.spent())?;
        self.patience.sweep(self.round);
        let mut report = self.shared.report();
        report.sources[self.source].walks += 1;
        let slowest = report.sources.iter().map(|source| source.walks).min();
        report.rounds = slowest.unwrap_or_default();
        Ok(())
    }

    /// Notes all known files below a vanished folder.
    pub(super) fn note_all_missing(
        &mut self,
        course: &mut Course,
        path: Vec<u8>,
    ) -> Result<(), IntakeError> {
        let mut folders = vec![path];
        while let Some(path) = folders.pop() {
            if course.missing_count > course.missing_limit {
                return Ok(());
            }
            let (files, names) = {
                let core = lock(&self.core);
                (
                    core.catalogue.files(self.root, &path)?,
                    core.catalogue.folders(self.root, &path)?,
                )
            };
            for known in files {
                self.note_missing(course, join(&path, &known.name))?;
            }
            folders.extend(names.iter().map(|name| join(&path, name)));
        }
        Ok(())
    }

    pub(super) fn note_missing(
        &mut self,
        course: &mut Course,
        path: Vec<u8>,
    ) -> Result<(), IntakeError> {
        course.missing_count += 1;
        if course.missing_count > course.missing_limit {
            return Ok(());
        }
        course.missing.push(path);
        if course.missing.len() >= NOTES {
            self.flush_missing(course)
        } else {
            Ok(())
        }
    }

    fn flush_missing(&mut self, course: &mut Course) -> Result<(), IntakeError> {
        if !course.missing.is_empty() {
            lock(&self.core)
                .catalogue
                .note_missing(self.root, course.number, &course.missing)?;
            course.missing.clear();
        }
        Ok(())
    }
}

fn times(honesty: Honesty) -> Times {
    match (honesty.lied, is_honest(honesty)) {
        (true, _) => Times::Lied,
        (false, true) => Times::Trusted,
        (false, false) => Times::Unproven,
    }
}
