//! The walk over one source, and the first and second look at a folder.
//!
//! Invariants
//! 1. A file is taken only in a second look that finds it as the first one did, at least the quiet time later; in one
//!    round each folder has at most one second look, and the round ends with a commit. So no version is taken twice.
//! 2. Known files count as missing only by whole listings. A walk with any failed listing, or over a mount that is not
//!    the same at its end, concludes nothing about removals.
//! 3. One listing is in memory at a time, plus the names of the folders on the way down.

use super::collection::Intake;
use super::decide::{Twin, decide, join, renamed};
use super::error::IntakeError;
use super::looks::{Place, print};
use super::report::SourceState;
use super::share::{self, Listing, Root, Trouble};
use super::world::{Step, World};
use bundle::Signer;
use catalogue::Directory;
use serde_json::json;
use spool::Disk;

/// Paths of missing files that are noted in one transaction.
const NOTES: usize = 256;

/// A mass disappearance: more known files than this, and more than one in `SUSPICIOUS_SHARE`, are missing.
const SUSPICIOUS_FILES: u64 = 20;
const SUSPICIOUS_SHARE: u64 = 10;

/// A folder still to be visited.
struct Folder {
    path: Vec<u8>,
    twin: Option<Vec<u8>>,
}

/// What a walk has found out.
struct Walk {
    source: usize,
    number: u64,
    /// Every listing so far was whole.
    whole: bool,
    missing: Vec<Vec<u8>>,
    missing_count: u64,
    /// More are not noted: beyond it the disappearance is suspicious anyway.
    missing_limit: u64,
}

/// Why a walk breaks off.
enum Broken {
    Share(&'static str),
    Intake(IntakeError),
}

impl<E: Into<IntakeError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Intake(error.into())
    }
}

impl<W: World, D: Disk, S: Signer> Intake<W, D, S> {
    /// Walks one source. Returns the walk's number if it saw everything.
    pub(super) fn walk(&mut self, source: usize) -> Result<Option<u64>, IntakeError> {
        let root_number = self.roots[source];
        let number = self.catalogue.begin_walk(root_number)?;
        let files = self.catalogue.files_of(root_number)?;
        let root = match self.open_root(source, files) {
            Ok(root) => root,
            Err(reason) => return self.source_missing(source, reason),
        };
        self.set_state(source, SourceState::Present)?;
        {
            let mut report = self.shared.report();
            let report = &mut report.sources[source];
            (
                report.ignored,
                report.alien,
                report.unreadable,
                report.unsettled,
            ) = (0, 0, 0, 0);
        }
        let missing_limit = SUSPICIOUS_FILES.max(files / SUSPICIOUS_SHARE) + 1;
        let mut walk = Walk {
            source,
            number,
            whole: true,
            missing: Vec::new(),
            missing_count: 0,
            missing_limit,
        };
        let broken = self.descend(&root, &mut walk);
        self.shared.pulse.end();
        match broken {
            Ok(()) => {}
            Err(Broken::Share(reason)) => return self.source_missing(source, reason),
            Err(Broken::Intake(error)) => return Err(error),
        }
        self.flush_missing(&mut walk)?;
        match self.open_root(source, files) {
            Ok(again) if again.same_mount(&root) => {}
            Ok(_) => return self.source_missing(source, "mounted anew during the walk"),
            Err(reason) => return self.source_missing(source, reason),
        }
        if !walk.whole {
            self.catalogue.forget_missing(root_number)?;
            return Ok(None);
        }
        self.conclude(&walk, files)
    }

    /// Opens a source's root; one that was filled and is empty now is missing.
    pub(super) fn open_root(&self, source: usize, known_files: u64) -> Result<Root, &'static str> {
        let plan = &self.settings.sources[source];
        self.shared.pulse.begin(source, self.world.uptime());
        let root = Root::open(
            &self.settings.mounts,
            self.settings.mount_rule,
            &plan.mount,
            &plan.path,
        );
        let filled = root
            .as_ref()
            .map(|root| known_files == 0 || root.is_filled() == Ok(true));
        self.shared.pulse.end();
        if filled == Ok(false) {
            Err("the root is empty")
        } else {
            root
        }
    }

    fn source_missing(
        &mut self,
        source: usize,
        reason: &'static str,
    ) -> Result<Option<u64>, IntakeError> {
        self.set_state(
            source,
            SourceState::Missing {
                reason: reason.to_owned(),
            },
        )?;
        self.catalogue.forget_missing(self.roots[source])?;
        Ok(None)
    }

    /// Ends a walk that saw everything: removals are for later, but a mass disappearance is seen here.
    fn conclude(&mut self, walk: &Walk, files: u64) -> Result<Option<u64>, IntakeError> {
        let noted = self
            .catalogue
            .end_whole_walk(self.roots[walk.source], walk.number)?;
        // more than the limit were counted and not noted
        let count = noted.max(walk.missing_count);
        let suspicious = count > SUSPICIOUS_FILES && count > files / SUSPICIOUS_SHARE;
        let before = {
            let mut report = self.shared.report();
            let report = &mut report.sources[walk.source];
            report.whole_walks += 1;
            std::mem::replace(&mut report.suspicious, suspicious)
        };
        if suspicious && !before {
            let name = &self.settings.sources[walk.source].name;
            self.world.audit(
                "source-suspicious",
                json!({ "source": name, "missing": count, "files": files }),
            )?;
        }
        Ok((!suspicious).then_some(walk.number))
    }

    fn descend(&mut self, root: &Root, walk: &mut Walk) -> Result<(), Broken> {
        let mut levels = vec![self.first_look(
            root,
            walk,
            &Folder {
                path: Vec::new(),
                twin: None,
            },
        )?];
        while let Some(level) = levels.last_mut() {
            let Some(folder) = level.pop() else {
                levels.pop();
                continue;
            };
            let below = self.first_look(root, walk, &folder)?;
            if !below.is_empty() {
                levels.push(below);
            }
        }
        Ok(())
    }

    /// Lists a folder, puts it into the queue for its second look if there are candidates, notes what is missing, and
    /// returns the folders in it, last first.
    fn first_look(
        &mut self,
        root: &Root,
        walk: &mut Walk,
        folder: &Folder,
    ) -> Result<Vec<Folder>, Broken> {
        self.world.step(Step::Folder)?;
        let Some(listing) = self.list(root, walk.source, &folder.path, &mut walk.whole)? else {
            return Ok(Vec::new());
        };
        {
            let mut report = self.shared.report();
            let report = &mut report.sources[walk.source];
            report.ignored += listing.ignored;
            report.alien += listing.alien;
            report.unreadable += listing.unreadable;
        }
        // a file that could not be asked about is neither there nor missing
        walk.whole &= listing.unreadable == 0;
        let source_root = self.roots[walk.source];
        let number = self.catalogue.directory(source_root, &folder.path)?;
        let known = match number {
            Some(number) => self.catalogue.files(number)?,
            None => Vec::new(),
        };
        let twin_known = self.twin_files(source_root, folder.twin.as_deref())?;
        let twin = folder.twin.as_deref().map(|path| Twin {
            path,
            known: &twin_known,
        });
        let decision = decide(&folder.path, &known, twin, &listing.files);
        for missing in &decision.missing {
            self.note_missing(walk, join(&folder.path, &known[*missing].name))?;
        }
        let prints: Vec<_> = decision
            .candidates
            .iter()
            .map(|candidate| print(&listing.files[candidate.seen]))
            .collect();
        let vanished = self.vanished_folders(number, &listing)?;
        let below = below(folder, listing.folders, &vanished);
        for name in vanished {
            if !below
                .iter()
                .any(|next| next.twin.as_ref() == Some(&join(&folder.path, &name)))
            {
                self.note_all_missing(walk, join(&folder.path, &name))?;
            }
        }
        if !prints.is_empty() {
            while !self.looks.has_room(prints.len()) {
                self.ripen_oldest()?;
            }
            let place = Place {
                source: walk.source,
                path: folder.path.clone(),
                twin: folder.twin.clone(),
                prints,
                first_look: self.world.uptime(),
            };
            if self.looks.push(place).is_err() {
                // there was room a moment ago; without its second look the folder waits for the next walk
                walk.whole = false;
            }
        }
        Ok(below)
    }

    /// Takes what a second look finds as the first one did.
    pub(super) fn look_again(&mut self, place: &Place) -> Result<(), IntakeError> {
        self.world.step(Step::Folder)?;
        let source_root = self.roots[place.source];
        let Ok(root) = self.open_root(place.source, 0) else {
            return Ok(());
        };
        let listing = match self.list(&root, place.source, &place.path, &mut true) {
            Ok(Some(listing)) => listing,
            Ok(None) | Err(Broken::Share(_)) => return Ok(()),
            Err(Broken::Intake(error)) => return Err(error),
        };
        let known = match self.catalogue.directory(source_root, &place.path)? {
            Some(number) => self.catalogue.files(number)?,
            None => Vec::new(),
        };
        let twin_known = self.twin_files(source_root, place.twin.as_deref())?;
        let twin = place.twin.as_deref().map(|path| Twin {
            path,
            known: &twin_known,
        });
        let decision = decide(&place.path, &known, twin, &listing.files);
        self.shared.pulse.begin(place.source, self.world.uptime());
        let folder = root.folder(&place.path);
        self.shared.pulse.end();
        let Ok(folder) = folder else { return Ok(()) };
        for candidate in decision.candidates {
            let seen = &listing.files[candidate.seen];
            if place.holds(print(seen)) {
                self.take(place.source, &place.path, &folder, seen, candidate.why)?;
            } else {
                self.shared.report().sources[place.source].unsettled += 1;
            }
        }
        Ok(())
    }

    fn list(
        &mut self,
        root: &Root,
        source: usize,
        path: &[u8],
        whole: &mut bool,
    ) -> Result<Option<Listing>, Broken> {
        self.shared.pulse.begin(source, self.world.uptime());
        let listing = root.folder(path).and_then(|folder| share::list(&folder));
        self.shared.pulse.end();
        match listing {
            Ok(listing) => Ok(Some(listing)),
            // it went away after its parent was listed; the next walk sees what is there then
            Err(Trouble::Gone) => {
                *whole = false;
                Ok(None)
            }
            Err(Trouble::Locked) => {
                *whole = false;
                self.shared.report().sources[source].unreadable += 1;
                Ok(None)
            }
            Err(Trouble::Share(reason)) => Err(Broken::Share(reason)),
        }
    }

    fn twin_files(
        &self,
        root: Directory,
        twin: Option<&[u8]>,
    ) -> Result<Vec<catalogue::Known>, IntakeError> {
        let Some(path) = twin else {
            return Ok(Vec::new());
        };
        match self.catalogue.directory(root, path)? {
            Some(number) => Ok(self.catalogue.files(number)?),
            None => Ok(Vec::new()),
        }
    }

    /// Names of known folders that a listing does not show.
    fn vanished_folders(
        &self,
        number: Option<Directory>,
        listing: &Listing,
    ) -> Result<Vec<Vec<u8>>, IntakeError> {
        let Some(number) = number else {
            return Ok(Vec::new());
        };
        let children = self.catalogue.children(number)?;
        let gone = children
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| listing.folders.binary_search(name).is_err());
        Ok(gone.collect())
    }

    /// Notes all known files below a vanished folder.
    fn note_all_missing(&mut self, walk: &mut Walk, path: Vec<u8>) -> Result<(), IntakeError> {
        let mut folders = vec![path];
        while let Some(path) = folders.pop() {
            if walk.missing_count > walk.missing_limit {
                return Ok(());
            }
            let Some(number) = self.catalogue.directory(self.roots[walk.source], &path)? else {
                continue;
            };
            for known in self.catalogue.files(number)? {
                self.note_missing(walk, join(&path, &known.name))?;
            }
            folders.extend(
                self.catalogue
                    .children(number)?
                    .into_iter()
                    .map(|(name, _)| join(&path, &name)),
            );
        }
        Ok(())
    }

    fn note_missing(&mut self, walk: &mut Walk, path: Vec<u8>) -> Result<(), IntakeError> {
        walk.missing_count += 1;
        if walk.missing_count > walk.missing_limit {
            return Ok(());
        }
        walk.missing.push(path);
        if walk.missing.len() >= NOTES {
            self.flush_missing(walk)
        } else {
            Ok(())
        }
    }

    fn flush_missing(&mut self, walk: &mut Walk) -> Result<(), IntakeError> {
        if !walk.missing.is_empty() {
            self.catalogue
                .note_missing(self.roots[walk.source], walk.number, &walk.missing)?;
            walk.missing.clear();
        }
        Ok(())
    }
}

/// The folders in a folder, last first, each with its earlier self where only the flag changed.
fn below(folder: &Folder, names: Vec<Vec<u8>>, vanished: &[Vec<u8>]) -> Vec<Folder> {
    let twin_of = |name: &[u8]| match &folder.twin {
        // below a renamed folder everything is where it was in the earlier one
        Some(twin) => Some(join(twin, name)),
        None => renamed(name, vanished).map(|before| join(&folder.path, before)),
    };
    names
        .into_iter()
        .rev()
        .map(|name| Folder {
            path: join(&folder.path, &name),
            twin: twin_of(&name),
        })
        .collect()
}
