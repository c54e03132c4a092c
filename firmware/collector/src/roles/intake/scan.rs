//! Looking over one part of a store: which folders are listed, and what their listings say against what is known. Asks the
//! share, changes nothing; several threads may scan different parts of one source.
//!
//! Invariants
//! 1. Work and memory of one [`Scan::part`] are bounded: what is beyond comes back as folders still to be visited. A
//!    content folder is looked at as a whole, whatever led to it, unless it alone is beyond the bounds.
//! 2. A stamp is proposed for a folder only when its listing was whole and exactly what is known, and its time lies
//!    back far enough; one that no longer holds is withdrawn.
//! 3. A listing that changed under an unchanged time, asked for anew from the server, is a lie and counted as such.

use super::decide::{Decision, Twin, Why, decide, join, renamed};
use super::hints::follow::Interruption;
use super::looks::{Again, FolderLook, Print, print};
use super::pacing::{Pace, Policy, Scope};
use super::report::Pulse;
use super::share::{self, Ask, Buffer, Fresh, Names, Root, Trouble};
use super::world::{Step, Stopped, World};
use catalogue::{Depth, Known, Seen, Stamp, Subtree};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Folders listed, and candidates found, before a scan hands back the rest.
pub const FOLDERS: usize = 8192;
pub const CANDIDATES: usize = 1 << 16;

/// A folder still to be visited.
#[derive(Clone)]
pub struct Folder {
    pub path: Vec<u8>,
    /// The folder that this one was before its flag changed.
    pub twin: Option<Vec<u8>>,
    /// Names up to this one have been visited.
    pub after: Vec<u8>,
}

/// A part to be scanned.
pub struct Task {
    pub folder: Folder,
    /// The blob that holds what is known below the folder, and how much of the path is the blob's own.
    pub known: Option<(usize, Vec<u8>)>,
    pub twin: Option<Subtree>,
}

/// What came of one folder or part.
#[derive(Default)]
pub struct Found {
    pub looks: Vec<FolderLook>,
    pub prints: Vec<Print>,
    /// Paths of known files that whole listings did not show.
    pub missing: Vec<Vec<u8>>,
    /// Paths below the task's, and the stamps to set.
    pub stamps: Vec<(Vec<u8>, Option<Stamp>)>,
    pub rest: Vec<Folder>,
    /// Some listing was not whole.
    pub partial: bool,
    pub broken: Option<&'static str>,
    pub stopped: bool,
    pub ignored: u64,
    pub alien: u64,
    pub unreadable: u64,
    pub listed: u64,
    /// Candidates in folders of old dates.
    pub old: u64,
    pub agreed: u64,
    pub moved: u64,
    pub lies: u64,
}

/// A folder, or a piece of one, that was just listed, and what is known of it.
pub struct Listed<'a> {
    pub path: &'a [u8],
    pub after: &'a [u8],
    pub names: Names,
    /// Within the piece.
    pub files: &'a [Known],
    /// Names within the piece, sorted.
    pub folders: Vec<&'a [u8]>,
    pub twin: Option<Twin<'a>>,
    pub ask: Ask,
}

/// What the listing of one folder says.
pub struct Verdict {
    /// Names of the folders in it, each with its earlier name where only the flag changed.
    pub folders: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Known folders that are gone, and are not the earlier self of one that is there.
    pub vanished: Vec<Vec<u8>>,
    /// The names are those that are known.
    same_names: bool,
    /// So is all else, and all of the folder was seen.
    exact: bool,
}

impl Verdict {
    /// Of a folder that is a way to others: nothing is said of what is in it.
    fn of_way(names: Names) -> Self {
        Self {
            folders: names.folders.into_iter().map(|name| (name, None)).collect(),
            vanished: Vec::new(),
            same_names: false,
            exact: false,
        }
    }
}

pub struct Scan<'a, W> {
    pub world: &'a W,
    pub root: &'a Root,
    pub source: usize,
    pub store: ssmix2::Store,
    pub policy: &'a Policy,
    pub pace: &'a Pace,
    pub pulse: &'a Pulse,
    pub again: &'a Again,
    /// Candidates found by all threads.
    pub budget: &'a AtomicUsize,
    /// Whether something else comes first.
    pub interruption: Interruption<'a>,
}

/// A folder on the way through a part.
#[derive(Clone)]
struct Visit<'t> {
    path: Vec<u8>,
    known: Option<&'t Subtree>,
    twin: Option<(Vec<u8>, Option<&'t Subtree>)>,
    after: Vec<u8>,
}

/// Why a part cannot be gone on with.
enum Left {
    Trouble(Trouble),
    Stopped,
}

impl From<Trouble> for Left {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<Stopped> for Left {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Found {
    /// Takes note of a failure.
    pub fn fail(&mut self, trouble: Trouble) {
        self.partial = true;
        match trouble {
            // it went away after its parent was listed; the next walk sees what is there then
            Trouble::Gone => {}
            Trouble::Locked => self.unreadable += 1,
            Trouble::Share(reason) => self.broken = Some(reason),
        }
    }
}

impl<W: World> Scan<'_, W> {
    pub fn part(&self, task: &Task, buffer: &mut Buffer) -> Found {
        let mut found = Found::default();
        if self.interruption.is_due(self.world) {
            found.rest.push(task.folder.clone());
            return found;
        }
        match self.try_part(task, buffer, &mut found) {
            Ok(()) => {}
            Err(Left::Trouble(trouble)) => found.fail(trouble),
            Err(Left::Stopped) => found.stopped = true,
        }
        found
    }

    fn try_part(&self, task: &Task, buffer: &mut Buffer, found: &mut Found) -> Result<(), Left> {
        let top = task.folder.path.as_slice();
        let due = self.policy.is_due(top);
        let spare = self.policy.trusted && !due && !self.policy.is_sampled(top);
        self.ask();
        let folder = self.root.folder(top)?;
        let decoded = |depth| {
            task.known.as_ref().and_then(|(length, blob)| {
                Subtree::decode(&top[..*length], blob, depth).map(|part| (*length, part))
            })
        };
        let quick = (spare || self.policy.scope() == Scope::Recent) && task.folder.after.is_empty();
        if quick
            && let Some((length, part)) = decoded(Depth::Folders)
            && let Some(known) = part.at(&top[length..])
        {
            let mut path = top.to_vec();
            if self.is_settled(&folder, top.len(), known, &mut path, spare, buffer, found)? {
                return Ok(());
            }
        }
        let part = decoded(Depth::Files);
        let known = part
            .as_ref()
            .and_then(|(length, part)| part.at(&top[*length..]));
        let mut visits = vec![Visit {
            path: top.to_vec(),
            known,
            twin: task
                .folder
                .twin
                .clone()
                .map(|path| (path, task.twin.as_ref())),
            after: task.folder.after.clone(),
        }];
        let mut folders = 0;
        let (mut unit, mut before) = (None, (0, 0));
        while let Some(visit) = visits.pop() {
            let this = self.content_folder(&visit.path);
            let full = if this.is_some() && this == unit.as_deref() {
                folders - before.0 >= FOLDERS || found.prints.len() - before.1 >= CANDIDATES
            } else {
                unit = this.map(<[u8]>::to_vec);
                before = (folders, found.prints.len());
                folders >= FOLDERS
                    || self.budget.load(Ordering::Relaxed) >= CANDIDATES
                    || self.interruption.is_due(self.world)
            };
            if full || found.broken.is_some() {
                visits.push(visit);
                break;
            }
            folders += 1;
            match self.visit(
                &folder,
                top.len(),
                &visit,
                due,
                spare,
                buffer,
                found,
                &mut visits,
            ) {
                Ok(()) => {}
                Err(Left::Trouble(trouble)) => found.fail(trouble),
                Err(stopped) => return Err(stopped),
            }
        }
        found.rest.extend(visits.into_iter().map(|visit| Folder {
            path: visit.path,
            twin: visit.twin.map(|(path, _)| path),
            after: visit.after,
        }));
        Ok(())
    }

    fn content_folder<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        ssmix2::content_folder(self.store, path)
    }

    fn ask(&self) {
        self.pulse.begin(self.source, self.world.uptime());
        self.pace.ask(self.world);
    }

    /// Whether nothing in the scope needs a closer look, as far as times tell.
    #[allow(clippy::too_many_arguments)] // the state of one recursion
    fn is_settled(
        &self,
        top: &OwnedFd,
        length: usize,
        known: &Subtree,
        path: &mut Vec<u8>,
        spare: bool,
        buffer: &mut Buffer,
        found: &mut Found,
    ) -> Result<bool, Left> {
        let recent_only = self.policy.scope() == Scope::Recent;
        if !self.policy.covers(path) {
            return Ok(true);
        }
        if self.policy.is_recent(path) || self.again.holds(path) {
            return Ok(false);
        }
        self.world.step(Step::Folder)?;
        self.ask();
        let below = below(path, length);
        let same = match (spare, known.stamp) {
            (true, Some(stamp)) => {
                let time = share::folder_time(top, below, Fresh::Remembered);
                time.is_ok_and(|time| Stamp::of(time) == stamp)
            }
            _ => false,
        };
        if !same {
            if !recent_only {
                return Ok(false);
            }
            let folder = share::below(top, below)?;
            let names = share::names(&folder, b"", buffer)?;
            found.listed += 1;
            let news = names
                .folders
                .iter()
                .any(|name| known.folder(name).is_none() && self.policy.covers(&join(path, name)));
            if news || names.last.is_some() {
                return Ok(false);
            }
        }
        for (name, below) in &known.folders {
            let before = path.len();
            path.push(b'/');
            path.extend_from_slice(name);
            let settled = self.is_settled(top, length, below, path, spare, buffer, found);
            path.truncate(before);
            if !settled? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    #[allow(clippy::too_many_arguments)] // the state of one loop
    fn visit<'t>(
        &self,
        top: &OwnedFd,
        length: usize,
        visit: &Visit<'t>,
        due: bool,
        spare: bool,
        buffer: &mut Buffer,
        found: &mut Found,
        visits: &mut Vec<Visit<'t>>,
    ) -> Result<(), Left> {
        self.world.step(Step::Folder)?;
        self.ask();
        let path = visit.path.as_slice();
        let below = below(path, length);
        let recent = self.policy.is_recent(path);
        let again = self.again.holds(path);
        if let (true, false, false, Some(known), true) =
            (spare, recent, again, visit.known, visit.after.is_empty())
            && let Some(stamp) = known.stamp
            && share::folder_time(top, below, Fresh::Remembered)
                .is_ok_and(|time| Stamp::of(time) == stamp)
        {
            for (name, folder) in &known.folders {
                let path = join(path, name);
                if self.policy.covers(&path) {
                    visits.push(Visit {
                        path,
                        known: Some(folder),
                        twin: None,
                        after: Vec::new(),
                    });
                }
            }
            return Ok(());
        }
        let folder = share::below(top, below)?;
        let accounted = self.policy.accounts_for(path);
        let time = share::folder_time(&folder, b"", Fresh::Remembered)?;
        let names = share::names(&folder, &visit.after, buffer)?;
        let last = names.last.clone();
        let ask = if due || recent || again {
            Ask::Everything
        } else {
            Ask::NewNames
        };
        let known_folders = visit
            .known
            .into_iter()
            .flat_map(|known| known.folders.iter().map(|(name, _)| name.as_slice()))
            .filter(|name| in_piece(name, &visit.after, last.as_deref()));
        let listed = Listed {
            path,
            after: &visit.after,
            names,
            files: visit.known.map_or(&[][..], |known| {
                piece(&known.files, &visit.after, last.as_deref())
            }),
            folders: known_folders.collect(),
            twin: visit.twin.as_ref().map(|(path, twin)| Twin {
                path,
                known: twin.map_or(&[][..], |twin| {
                    piece(&twin.files, &visit.after, last.as_deref())
                }),
            }),
            ask,
        };
        let verdict = self.examine(&folder, listed, found)?;
        if accounted && let Some(known) = visit.known {
            let stamp = self.judge(&folder, time, known.stamp, &verdict, found)?;
            if stamp != known.stamp {
                found.stamps.push((path.to_vec(), stamp));
            }
            for name in &verdict.vanished {
                if let Some(gone) = known.folder(name) {
                    all_files(gone, &mut join(path, name), &mut found.missing);
                }
            }
        }
        // folders of the earlier self that did not come along
        if let Some((before, Some(part))) = &visit.twin {
            for (name, gone) in &part.folders {
                let came = verdict.folders.iter().any(|(there, _)| there == name);
                if in_piece(name, &visit.after, last.as_deref()) && !came {
                    all_files(gone, &mut join(before, name), &mut found.missing);
                }
            }
        }
        if let Some(last) = last {
            visits.push(Visit {
                path: path.to_vec(),
                known: visit.known,
                twin: visit.twin.clone(),
                after: last,
            });
        }
        for (name, earlier) in verdict.folders {
            let path = join(path, &name);
            let known = visit.known.and_then(|known| known.folder(&name));
            let within = self.content_folder(&visit.path).is_some();
            if !within && !self.policy.enters(&path, known.is_some()) {
                continue;
            }
            let twin = match (&visit.twin, earlier) {
                // below a renamed folder everything is where it was in the earlier one
                (Some((before, part)), _) => Some((
                    join(before, &name),
                    part.and_then(|part| part.folder(&name)),
                )),
                (None, Some(earlier)) => Some((
                    join(&visit.path, &earlier),
                    visit.known.and_then(|known| known.folder(&earlier)),
                )),
                (None, None) => None,
            };
            visits.push(Visit {
                known,
                path,
                twin,
                after: Vec::new(),
            });
        }
        Ok(())
    }

    /// Compares a listing with what is known: candidates and missing files go into `found`.
    pub fn examine(
        &self,
        folder: &OwnedFd,
        listed: Listed<'_>,
        found: &mut Found,
    ) -> Result<Verdict, Trouble> {
        let Listed {
            path, after, names, ..
        } = listed;
        found.listed += 1;
        if !self.policy.accounts_for(path) {
            return Ok(Verdict::of_way(names));
        }
        let twinned = listed.twin.as_ref().map(|twin| twin.path.to_vec());
        let earlier_files = listed.twin.as_ref().map_or(&[][..], |twin| twin.known);
        let listing = share::listing(folder, names.files, listed.files, listed.ask)?;
        for _ in 0..listing.asked {
            self.ask();
        }
        let Decision {
            candidates,
            missing,
            left,
        } = decide(path, listed.files, listed.twin, &listing.files);
        let unreadable = names.unreadable + listing.unreadable;
        found.unreadable += unreadable;
        // a file that could not be asked about is neither there nor missing
        found.partial |= unreadable > 0;
        if after.is_empty() {
            found.ignored += names.ignored;
            found.alien += names.alien;
        }
        let (mut vanished, mut fresh) = (Vec::new(), 0);
        for name in &listed.folders {
            if names
                .folders
                .binary_search_by(|seen| seen.as_slice().cmp(name))
                .is_err()
            {
                vanished.push(name.to_vec());
            }
        }
        let mut folders = Vec::with_capacity(names.folders.len());
        let mut earlier = Vec::new();
        for name in names.folders {
            let known = listed.folders.binary_search(&name.as_slice()).is_ok();
            fresh += u64::from(!known);
            // one that is known may still lack files of its earlier self
            let before = renamed(&name, &vanished)
                .filter(|before| !earlier.contains(*before))
                .cloned();
            earlier.extend(before.clone());
            folders.push((name, before));
        }
        let same_names = missing.is_empty()
            && vanished.is_empty()
            && fresh == 0
            && candidates
                .iter()
                .all(|candidate| matches!(candidate.why, Why::Changed { .. }));
        let exact = same_names
            && candidates.is_empty()
            && names.last.is_none()
            && after.is_empty()
            && names.ignored + names.alien + unreadable == 0;
        vanished.retain(|name| !earlier.contains(name));
        found.missing.extend(
            missing
                .iter()
                .map(|place| join(path, &listed.files[*place].name)),
        );
        if let Some(before) = &twinned {
            let gone = left.iter().map(|place| &earlier_files[*place].name);
            found.missing.extend(gone.map(|name| join(before, name)));
        }
        if !candidates.is_empty() {
            self.budget.fetch_add(candidates.len(), Ordering::Relaxed);
            if !self.policy.is_recent(path) {
                found.old += candidates.len() as u64;
            }
            found.looks.push(FolderLook {
                path: path.to_vec(),
                twin: twinned,
                ask: listed.ask,
                after: after.to_vec(),
                until: names.last,
                candidates: candidates.len(),
            });
            let print = |seen: &Seen| print(path, seen);
            found.prints.extend(
                candidates
                    .iter()
                    .map(|candidate| print(&listing.files[candidate.seen])),
            );
        }
        Ok(Verdict {
            folders,
            vanished,
            same_names,
            exact,
        })
    }

    /// Weighs a folder's time against its listing, and gives the stamp that it should have.
    fn judge(
        &self,
        folder: &OwnedFd,
        time: i64,
        before: Option<Stamp>,
        verdict: &Verdict,
        found: &mut Found,
    ) -> Result<Option<Stamp>, Trouble> {
        let same_time = before == Some(Stamp::of(time));
        match (before.is_some(), verdict.same_names, same_time) {
            (true, true, true) => found.agreed += 1,
            (true, false, false) => found.moved += 1,
            // the change may have come between the two questions: only the server's present answer is a lie
            (true, false, true) => {
                let now = share::folder_time(folder, b"", Fresh::FromServer)?;
                if before == Some(Stamp::of(now)) {
                    found.lies += 1;
                } else {
                    found.moved += 1;
                }
            }
            _ => {}
        }
        let holds = verdict.exact && time < self.policy.remember_before_ns;
        Ok(holds.then(|| Stamp::of(time)))
    }
}

/// The path below the task's folder.
fn below(path: &[u8], length: usize) -> &[u8] {
    let rest = &path[length..];
    rest.strip_prefix(b"/").unwrap_or(rest)
}

pub fn in_piece(name: &[u8], after: &[u8], last: Option<&[u8]>) -> bool {
    (after.is_empty() || name > after) && last.is_none_or(|last| name <= last)
}

/// The known files with names in a piece.
fn piece<'a>(files: &'a [Known], after: &[u8], last: Option<&[u8]>) -> &'a [Known] {
    let from = if after.is_empty() {
        0
    } else {
        files.partition_point(|file| file.name.as_slice() <= after)
    };
    let to = last.map_or(files.len(), |last| {
        files.partition_point(|file| file.name.as_slice() <= last)
    });
    &files[from..to.max(from)]
}

/// Paths of all files in a known part.
pub fn all_files(part: &Subtree, path: &mut Vec<u8>, paths: &mut Vec<Vec<u8>>) {
    paths.extend(part.files.iter().map(|file| join(path, &file.name)));
    for (name, below) in &part.folders {
        let before = path.len();
        path.push(b'/');
        path.extend_from_slice(name);
        all_files(below, path, paths);
        path.truncate(before);
    }
}
