//! The walk over one source: which parts are scanned when, what waits for its second look, what is concluded.
//!
//! Invariants
//! 1. A file is taken only in a second look that finds it as the first one did, at least the quiet time later. What is in
//!    the bundle in the making is not taken again before it is committed. So no version is taken twice.
//! 2. Known files count as missing only by whole listings. A walk with any failed listing, or over a mount that is not
//!    the same at its end, concludes nothing about removals.
//! 3. In memory are the folders on the way down, one chunk of parts, and what waits for its second look: all bounded, but
//!    for the names of the folders in one folder.
//! 4. A walk goes from the greatest name to the least, so newest dates of a patient come first, and remembers how far it
//!    has come: all that lies before the remembered place was scanned, and what was whole there is committed. After a
//!    restart or a lost share it goes on there.
//! 5. What a walk has left, for a quota or a share that failed at the second look, stays due for the rolling look.

use super::collection::{Core, Settings, Shared, announce, lock};
use super::decide::join;
use super::error::IntakeError;
use super::hints::feed::{self, Feed};
use super::hints::follow::Following;
use super::looks::{Again, Looks, Patience, Place};
use super::pacing::{Pace, Policy, Scope, day, is_honest, within_hours};
use super::report::{SourceState, Times};
use super::scan::{Folder, Found, Listed, Scan, Task, in_piece};
use super::share::{self, Ask, Buffer, Root, Trouble};
use super::world::{Step, World};
use bundle::Signer;
use catalogue::{Depth, Directory, Honesty, Quota, Stamps, Standing, Subtree};
use serde_json::json;
use spool::Disk;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Paths of missing files that are noted in one transaction.
const NOTES: usize = 256;

/// A mass disappearance: more known files than this, and more than one in `SUSPICIOUS_SHARE`, are missing.
const SUSPICIOUS_FILES: u64 = 20;
const SUSPICIOUS_SHARE: u64 = 10;

/// Parts scanned at a time, and bytes of what is known of them.
const CHUNK: usize = 256;
const CHUNK_BYTES: usize = 2 << 20;

/// A checkpoint is written after so many stamps, or so much time.
const STAMPS: usize = 16_384;
const CHECKPOINT: Duration = Duration::from_secs(10);

/// A walk under way.
pub struct Course {
    pub(super) root: Root,
    pub(super) policy: Policy,
    number: u64,
    /// Files known when it began.
    files: u64,
    /// Folders to be visited, the next one last.
    pub(super) stack: Vec<Folder>,
    /// Folders before this one have been visited, before a restart.
    resume: Option<Vec<u8>>,
    /// Every listing so far was whole.
    whole: bool,
    missing: Vec<Vec<u8>>,
    missing_count: u64,
    /// More are not noted: beyond it the disappearance is suspicious anyway.
    missing_limit: u64,
    stamps: Vec<Stamps>,
    stamp_count: usize,
    /// [`Core::taken_back`] before the first of them.
    as_of: u64,
    checkpoint: Duration,
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
    pub(super) quota: Quota,
    /// The place of the walk that is looked at a second time: there it goes on if that comes to nothing.
    pub(super) place: Option<Vec<u8>>,
    /// [`Core::taken_back`] when what the second look goes by was read.
    pub(super) as_of: u64,
    /// The walk has left something, which stays due.
    kept_due: bool,
    names: Buffer,
    pub(super) pace: Pace,
    honesty: Honesty,
    /// The walk that [`Walker::turn`] goes on with.
    course: Option<Course>,
    /// A walk may have been broken off, and has not been looked for yet.
    broken_off: bool,
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
            quota: known.quota,
            place: None,
            as_of: 0,
            kept_due: false,
            names: Buffer::new(),
            pace: Pace::new(settings.pacing.requests_per_second),
            honesty: known.honesty,
            following: Following::new(feed::target(&settings.sources, source).map(Feed::new)),
            settings,
            course: None,
            broken_off: true,
        }
    }

    /// A turn of at most about `period`: recent dates, then as much of the walk over everything as there is time and as
    /// the hours allow. Waits for what is left of the period when that walk has come to its end.
    pub fn turn(&mut self, period: Duration) -> Result<(), IntakeError> {
        let begin = self.world.uptime();
        lock(&self.core).heal(&self.world)?;
        let hours = self.settings.pacing.hours;
        let old = within_hours(hours, self.world.unix_seconds());
        let first = lock(&self.core)
            .catalogue
            .source_of(self.root)?
            .finished
            .is_none();
        if self.course.is_some() || first || !old {
            self.pass_recent()?;
        }
        if old {
            if self.course.is_none() {
                self.course = self.begin(Scope::Everything)?;
            }
            while let Some(mut course) = self.course.take() {
                self.attend()?;
                match self.advance(&mut course) {
                    Ok(true) => {
                        self.settle()?;
                        self.finish(Some(course))?;
                    }
                    Ok(false) if self.world.uptime().saturating_sub(begin) < period => {
                        self.course = Some(course);
                    }
                    Ok(false) => {
                        self.course = Some(course);
                        break;
                    }
                    Err(Broken::Share(reason)) => {
                        self.missing(reason)?;
                    }
                    Err(Broken::Intake(error)) => return Err(error),
                }
            }
        }
        // a walk under way outside its hours waits with all that it holds
        if self.course.is_none() || !old {
            self.settle()?;
            lock(&self.core).seal(&self.world)?;
            lock(&self.core).report_losses(&self.world)?;
            self.rest(begin, begin + period)?;
        }
        Ok(())
    }

    fn pass_recent(&mut self) -> Result<(), IntakeError> {
        let Some(mut course) = self.begin(Scope::Recent)? else {
            return Ok(());
        };
        loop {
            self.attend()?;
            match self.advance(&mut course) {
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
            match self.advance(&mut course) {
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
            stack: vec![Folder {
                path: Vec::new(),
                twin: None,
                after: Vec::new(),
            }],
            resume: None,
            whole: true,
            missing: Vec::new(),
            missing_count: 0,
            missing_limit: SUSPICIOUS_FILES.max(source.files / SUSPICIOUS_SHARE) + 1,
            stamps: Vec::new(),
            stamp_count: 0,
            as_of: lock(&self.core).taken_back,
            checkpoint: self.world.uptime(),
        };
        if scope != Scope::Everything {
            return Ok(Some(course));
        }
        let mut core = lock(&self.core);
        let next = if std::mem::take(&mut self.broken_off) {
            core.catalogue.next(self.root)?
        } else {
            None
        };
        match next.filter(|next| !next.is_empty()) {
            Some(next) => {
                course.whole = source.whole;
                course.resume = Some(next);
            }
            None => course.number = core.catalogue.begin_walk(self.root, now)?,
        }
        drop(core);
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

    fn missing(&mut self, reason: &'static str) -> Result<End, IntakeError> {
        self.set_state(SourceState::Missing {
            reason: reason.to_owned(),
        })?;
        self.course = None;
        self.broken_off = true;
        lock(&self.core)
            .catalogue
            .forget_missing(self.root, false)?;
        Ok(End::Partial)
    }

    /// Sets the source's state and puts it into the trail where it is news.
    fn set_state(&mut self, state: SourceState) -> Result<(), IntakeError> {
        let transition = self.shared.report().set_state(self.source, state.clone());
        let name = &self.settings.sources[self.source].name;
        announce(&self.world, name, transition, &state)
    }

    /// Scans the next parts, and takes what is ripe. `true`: all was visited.
    pub(super) fn advance(&mut self, course: &mut Course) -> Result<bool, Broken> {
        let mut tasks = Vec::new();
        let mut bytes = 0;
        while let Some(folder) = course.stack.last() {
            if tasks.len() >= CHUNK || bytes >= CHUNK_BYTES {
                break;
            }
            let core = lock(&self.core);
            let standing = core.catalogue.standing(self.root, &folder.path)?;
            let known = match standing {
                Standing::Open(_) if !tasks.is_empty() => break,
                Standing::Open(directory) => {
                    drop(core);
                    let folder = course.stack.pop();
                    if let Some(folder) = folder {
                        self.open_folder(course, &folder, directory)?;
                    }
                    break;
                }
                Standing::Within { directory, length } => {
                    let blob = core.catalogue.blob(directory)?;
                    bytes += blob.len();
                    Some((length, blob))
                }
                Standing::Unknown => None,
            };
            let twin = match &folder.twin {
                Some(twin) => core.catalogue.folder(self.root, twin)?,
                None => None,
            };
            drop(core);
            tasks.extend(course.stack.pop().map(|folder| Task {
                folder,
                known,
                twin,
            }));
        }
        self.scan(course, tasks)?;
        while self.ripe() {
            self.ripen_oldest()?;
            self.attend()?;
        }
        lock(&self.core).seal_if_old(&self.world)?;
        if course.policy.scope() == Scope::Everything {
            self.checkpoint(course)?;
        }
        Ok(course.stack.is_empty())
    }

    fn scan(&mut self, course: &mut Course, tasks: Vec<Task>) -> Result<(), Broken> {
        if tasks.is_empty() {
            return Ok(());
        }
        let found = self.scan_all(course, &tasks);
        self.pulse().end();
        let (mut looks, mut prints) = (Vec::new(), Vec::new());
        let mut rests = Vec::new();
        for (task, mut found) in tasks.into_iter().zip(found) {
            rests.push(std::mem::take(&mut found.rest));
            let length = task.known.map(|(length, _)| length);
            self.account(course, &task.folder.path, length, &mut found)?;
            looks.append(&mut found.looks);
            prints.append(&mut found.prints);
        }
        // the first task's rest comes first
        course.stack.extend(rests.into_iter().rev().flatten());
        self.enqueue(course, looks, prints)
    }

    /// Scans parts with the threads that the settings allow; results in the order of the tasks.
    fn scan_all(&mut self, course: &Course, tasks: &[Task]) -> Vec<Found> {
        let budget = AtomicUsize::new(0);
        let scan = Scan {
            world: &self.world,
            root: &course.root,
            source: self.source,
            policy: &course.policy,
            pace: &self.pace,
            pulse: &self.shared.pulses[self.source],
            again: &self.again,
            budget: &budget,
            interruption: self
                .following
                .interruption(&self.shared.hints[self.source], self.settings.quiet),
        };
        let threads = self.settings.pacing.threads.min(tasks.len() / 8).max(1);
        if threads == 1 {
            return tasks
                .iter()
                .map(|task| scan.part(task, &mut self.names))
                .collect();
        }
        let next = AtomicUsize::new(0);
        let results: Vec<Mutex<Found>> = tasks.iter().map(|_| Mutex::default()).collect();
        let work = |buffer: &mut Buffer| {
            while let Some((task, result)) = {
                let place = next.fetch_add(1, Ordering::Relaxed);
                tasks.get(place).zip(results.get(place))
            } {
                *lock(result) = scan.part(task, buffer);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| work(&mut Buffer::new()));
            }
            work(&mut self.names);
        });
        results
            .into_iter()
            .map(|result| {
                result
                    .into_inner()
                    .unwrap_or_else(|poison| poison.into_inner())
            })
            .collect()
    }

    /// Takes over what a scan has found, but for its candidates.
    fn account(
        &mut self,
        course: &mut Course,
        path: &[u8],
        length: Option<usize>,
        found: &mut Found,
    ) -> Result<(), Broken> {
        if found.stopped {
            return Err(Broken::Intake(IntakeError::Stopped));
        }
        {
            let mut report = self.shared.report();
            let report = &mut report.sources[self.source];
            report.ignored += found.ignored;
            report.alien += found.alien;
            report.unreadable += found.unreadable;
            report.listed += found.listed;
        }
        course.whole &= !found.partial;
        self.honesty.agreed += found.agreed;
        self.honesty.moved += found.moved;
        if found.lies > 0 && !std::mem::replace(&mut self.honesty.lied, true) {
            course.policy.trusted = false;
            self.shared.report().sources[self.source].times = Times::Lied;
            let name = &self.settings.sources[self.source].name;
            self.world
                .audit("source-times-lie", json!({ "source": name }))?;
            // at once: the evidence goes as soon as the file is taken
            lock(&self.core)
                .catalogue
                .set_honesty(self.root, self.honesty)?;
        }
        if course.policy.scope() == Scope::Everything {
            for path in found.missing.drain(..) {
                self.note_missing(course, path)?;
            }
            if let Some(length) = length.filter(|_| !found.stamps.is_empty()) {
                let folders: Vec<_> = found
                    .stamps
                    .drain(..)
                    .map(|(path, stamp)| (path[length..].to_vec(), stamp))
                    .collect();
                course.stamp_count += folders.len();
                course.stamps.push(Stamps {
                    path: path[..length].to_vec(),
                    folders,
                });
            }
        }
        match found.broken {
            Some(reason) => Err(Broken::Share(reason)),
            None => Ok(()),
        }
    }

    /// Puts folders with candidates into the queue for their second look; waits where it is full.
    fn enqueue(
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

    /// Lists a folder whose folders have rows of their own, and puts them on the stack.
    fn open_folder(
        &mut self,
        course: &mut Course,
        folder: &Folder,
        directory: Directory,
    ) -> Result<(), Broken> {
        let path = folder.path.as_slice();
        let children: Vec<Vec<u8>> = lock(&self.core)
            .catalogue
            .children(directory)?
            .into_iter()
            .map(|child| child.name)
            .collect();
        let mut after = Vec::new();
        let mut below = Vec::new();
        loop {
            self.world.step(Step::Folder)?;
            self.pulse().begin(self.source, self.world.uptime());
            self.pace.ask(&self.world);
            let opened = course.root.folder(path);
            let names = opened.and_then(|folder| {
                share::names(&folder, &after, &mut self.names).map(|names| (folder, names))
            });
            self.pulse().end();
            let mut found = Found::default();
            let (open, names) = match names {
                Ok(names) => names,
                Err(trouble) => {
                    found.fail(trouble);
                    self.account(course, path, None, &mut found)?;
                    break;
                }
            };
            let last = names.last.clone();
            let files = lock(&self.core).catalogue.files_within(
                directory,
                path,
                &after,
                last.as_deref(),
            )?;
            let ask = if course.policy.is_due(path) || self.again.holds(path) {
                Ask::Everything
            } else {
                Ask::NewNames
            };
            let listed = Listed {
                path,
                after: &after,
                names,
                files: &files,
                folders: children
                    .iter()
                    .map(Vec::as_slice)
                    .filter(|name| in_piece(name, &after, last.as_deref()))
                    .collect(),
                twin: None,
                ask,
            };
            let scan = Scan {
                world: &self.world,
                root: &course.root,
                source: self.source,
                policy: &course.policy,
                pace: &self.pace,
                pulse: &self.shared.pulses[self.source],
                again: &self.again,
                budget: &AtomicUsize::new(0),
                interruption: self
                    .following
                    .interruption(&self.shared.hints[self.source], self.settings.quiet),
            };
            let verdict = scan.examine(&open, listed, &mut found);
            self.pulse().end();
            let verdict = match verdict {
                Ok(verdict) => verdict,
                Err(trouble) => {
                    found.fail(trouble);
                    self.account(course, path, None, &mut found)?;
                    break;
                }
            };
            self.account(course, path, None, &mut found)?;
            self.enqueue(course, found.looks, found.prints)?;
            if course.policy.scope() == Scope::Everything {
                for name in verdict.vanished {
                    self.note_all_missing(course, join(path, &name))?;
                }
            }
            below.extend(verdict.folders);
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        for (name, earlier) in below {
            let next = join(path, &name);
            let visited = course
                .resume
                .as_ref()
                .is_some_and(|resume| is_before(&next, resume));
            let known = children.binary_search(&name).is_ok();
            if !visited && course.policy.enters(&next, known) {
                course.stack.push(Folder {
                    twin: earlier.map(|earlier| join(path, &earlier)),
                    path: next,
                    after: Vec::new(),
                });
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, course: &mut Course) -> Result<(), IntakeError> {
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
        let waiting = core.batch.firsts[self.source]
            .as_deref()
            .or_else(|| self.looks.first_of_walk())
            .or_else(|| course.stack.last().map(|folder| folder.path.as_slice()));
        let next = waiting.unwrap_or_default().to_vec();
        if std::mem::replace(&mut course.as_of, core.taken_back) != core.taken_back {
            // a folder whose files are no longer known must be listed, though its time stays
            for stamps in &mut course.stamps {
                stamps.folders.retain(|(_, stamp)| stamp.is_none());
            }
        }
        core.catalogue
            .checkpoint(self.root, &next, course.whole, self.honesty, &course.stamps)?;
        core.catalogue.set_quota(self.root, self.quota)?;
        course.stamps.clear();
        course.stamp_count = 0;
        Ok(())
    }

    /// Ends a walk that visited everything: removals are for later, but a mass disappearance is seen here.
    fn end(&mut self, mut course: Course) -> Result<End, IntakeError> {
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

    /// After a walk, once all it found has had its second look: seals, ends it, and concludes removals. A cut before
    /// that repeats what was not sealed.
    pub(super) fn finish(&mut self, course: Option<Course>) -> Result<(), IntakeError> {
        lock(&self.core).seal(&self.world)?;
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
            .set_quota(self.root, self.quota)?;
        self.patience.sweep(self.round);
        let mut report = self.shared.report();
        report.sources[self.source].walks += 1;
        let slowest = report.sources.iter().map(|source| source.walks).min();
        report.rounds = slowest.unwrap_or_default();
        Ok(())
    }

    pub(super) fn ripe(&self) -> bool {
        self.looks.oldest().is_some_and(|place| {
            self.world.uptime().saturating_sub(place.first_look) >= self.settings.quiet
        })
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

    /// Notes all known files below a vanished folder.
    fn note_all_missing(&mut self, course: &mut Course, path: Vec<u8>) -> Result<(), IntakeError> {
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

    fn note_missing(&mut self, course: &mut Course, path: Vec<u8>) -> Result<(), IntakeError> {
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

    /// What is known of the folder at a path; `cache` keeps the part that was read last.
    pub(super) fn known(
        &self,
        path: &[u8],
        cache: &mut Option<(Directory, usize, Subtree)>,
    ) -> Result<Subtree, IntakeError> {
        let core = lock(&self.core);
        let Standing::Within { directory, length } = core.catalogue.standing(self.root, path)?
        else {
            return Ok(core.catalogue.folder(self.root, path)?.unwrap_or_default());
        };
        if cache.as_ref().is_none_or(|(known, ..)| *known != directory) {
            let blob = core.catalogue.blob(directory)?;
            let part = Subtree::decode(&path[..length], &blob, Depth::Files)
                .ok_or(catalogue::CatalogueError::Damaged { table: "part" })?;
            *cache = Some((directory, length, part));
        }
        let part = cache
            .as_ref()
            .and_then(|(_, length, part)| part.at(&path[*length..]));
        Ok(part.map_or_else(Subtree::default, |folder| Subtree {
            files: folder.files.clone(),
            ..Subtree::default()
        }))
    }

    /// Whether a share's trouble ends a walk, for a single folder or file outside one.
    pub(super) fn count_trouble(&self, trouble: Trouble) {
        if trouble == Trouble::Locked {
            self.shared.report().sources[self.source].unreadable += 1;
        }
    }
}

fn times(honesty: Honesty) -> Times {
    match (honesty.lied, is_honest(honesty)) {
        (true, _) => Times::Lied,
        (false, true) => Times::Trusted,
        (false, false) => Times::Unproven,
    }
}

/// Whether a walk visits all of the folder at `path` before the one at `other`: it goes from greater to lesser names.
fn is_before(path: &[u8], other: &[u8]) -> bool {
    let (mut path, mut other) = (
        path.split(|&byte| byte == b'/'),
        other.split(|&byte| byte == b'/'),
    );
    loop {
        match (path.next(), other.next()) {
            (None, _) => return false,
            (Some(_), None) => return false,
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => return a > b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_goes_on_leaves_out_what_lies_before_and_not_the_way_to_the_place() {
        for (path, before) in [
            ("1/b", true),
            ("1/a", false),
            ("1", false),
            ("2", true),
            ("0", false),
            ("1/a/20240401/x", false),
            ("1/a/1", false),
        ] {
            assert_eq!(
                is_before(path.as_bytes(), b"1/a/20240401"),
                before,
                "{path}"
            );
        }
    }
}
