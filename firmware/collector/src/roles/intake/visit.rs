//! What a walk visits: chunks of parts, scanned by several threads, and the folders above them, whose folders have rows of their
//! own. What they find is accounted for here, and what may be new or changed waits for its second look.

use super::collection::lock;
use super::course::{Broken, Course};
use super::decide::join;
use super::error::IntakeError;
use super::pacing::Scope;
use super::report::Times;
use super::scan::{Folder, Found, Listed, Scan, Task, in_piece};
use super::share::{self, Ask, Buffer};
use super::walk::Walker;
use super::world::{Step, World};
use bundle::Signer;
use catalogue::{Directory, Stamps, Standing};
use serde_json::json;
use spool::Disk;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Parts scanned at a time, and bytes of what is known of them.
const CHUNK: usize = 256;
const CHUNK_BYTES: usize = 2 << 20;

impl<W: World + Sync + Clone, D: Disk, S: Signer> Walker<W, D, S> {
    /// Scans the next parts, and takes what is ripe, at least one part's and more until then. `true`: all was visited.
    pub(super) fn advance(
        &mut self,
        course: &mut Course,
        until: Option<Duration>,
    ) -> Result<bool, Broken> {
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
            if until.is_some_and(|until| self.world.uptime() >= until) {
                break;
            }
        }
        lock(&self.core).seal_if_old(&self.world)?;
        self.next_band(course);
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
            store: self.store(),
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
    pub(super) fn account(
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
        course.old += found.old;
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
                store: self.store(),
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
