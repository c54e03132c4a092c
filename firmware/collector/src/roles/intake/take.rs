//! The second look: reading what it finds as the first one did into the bundle in the making, whole, in parts, or as a
//! change of flag; and concluding removals. What was written again with the bytes that are known is told by nothing.

use super::collection::{PATIENCE_FACTOR, Pushed, lock};
use super::decide::{Twin, Why, decide, join};
use super::error::IntakeError;
use super::looks::{FolderLook, Place, print};
use super::pacing::is_recent;
use super::report::SourceState;
use super::scan::in_piece;
use super::share::{self, OpenFile, ReadFault, Reading, Root, Trouble};
use super::units::{Gathering, Told};
use super::walk::Walker;
use super::world::{Step, World};
use bundle::{Body, Digest, Entry, Event, Hasher, PART_LIMIT_BYTES, Part, Signer, VersionId};
use catalogue::{Action, Change, Depth, Directory, Known, Mark, Seen, Standing, Subtree};
use site::SourceKind;
use spool::Disk;
use ssmix2::content_folder;
use std::os::fd::OwnedFd;

/// Removals concluded together. The share is looked at again after each such number, before they go into a bundle.
const REMOVALS: usize = 256;

/// Files written again with the content that is known, of which the catalogue is told together.
const REWRITTEN: usize = 1024;

/// A file on its way into a bundle.
struct Taking<'a> {
    path: Vec<u8>,
    seen: &'a Seen,
    file: OpenFile,
    /// The name is known with another version.
    changed: bool,
    /// The mark of that version, where it has the same size.
    mark: Option<Mark>,
}

impl Taking<'_> {
    fn event<'b>(&self, body: Body<'b>) -> Event<'b> {
        if self.changed {
            Event::Changed(body)
        } else {
            Event::Added(body)
        }
    }
}

/// Why a file is left for later.
pub(super) enum Left {
    Fault(ReadFault),
    /// No bundle can hold all of its unit.
    Large,
    Intake(IntakeError),
}

impl From<ReadFault> for Left {
    fn from(fault: ReadFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<IntakeError> for Left {
    fn from(error: IntakeError) -> Self {
        Self::Intake(error)
    }
}

type Cache = Option<(Directory, usize, Subtree)>;

/// Parts of the catalogue that were read last.
#[derive(Default)]
pub(super) struct Caches {
    pub(super) known: Cache,
    pub(super) twins: Cache,
}

/// Room for what is read, and where it goes.
pub(super) struct Reads {
    pub(super) buffer: Vec<u8>,
    /// `None`: into the bundle in the making at once.
    pub(super) unit: Option<Gathering>,
}

impl<W: World + Sync + Clone, D: Disk, S: Signer> Walker<W, D, S> {
    /// Takes what a second look finds as the first one did.
    pub(super) fn look_again(&mut self, place: &Place) -> Result<(), IntakeError> {
        let before = std::mem::replace(&mut self.place, place.walk.clone());
        let looked = self.look_at(place);
        self.place = before;
        looked.and_then(|()| self.know_rewritten())
    }

    fn look_at(&mut self, place: &Place) -> Result<(), IntakeError> {
        let Ok(root) = self.open_root(0) else {
            return self.keep_due();
        };
        let (store, mut caches) = (self.store(), Caches::default());
        let unit = |look: &FolderLook| content_folder(store, &look.path).map(<[u8]>::to_vec);
        let is_same = |one: &FolderLook, next: &FolderLook| {
            let one = content_folder(store, &one.path);
            one.is_some() && one == content_folder(store, &next.path)
        };
        for looks in place.folders.chunk_by(is_same) {
            let as_of = self.as_of;
            if self.rewritten.len() >= REWRITTEN {
                self.know_rewritten()?;
            }
            self.attend()?;
            if self.as_of != as_of {
                caches = Caches::default();
            }
            if let Some(unit) = looks.first().and_then(unit) {
                self.refresh(&mut caches);
                match self.look_at_unit(&root, &unit, looks, place, &mut caches)? {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(Trouble::Share(_)) => return self.keep_due(),
                    Err(trouble) => {
                        self.count_trouble(trouble);
                        continue;
                    }
                }
            }
            for look in looks {
                self.refresh(&mut caches);
                self.world.step(Step::Folder)?;
                match self.look_into(&root, look, place, &mut caches)? {
                    Ok(()) => {}
                    Err(Trouble::Share(_)) => return self.keep_due(),
                    Err(trouble) => self.count_trouble(trouble),
                }
            }
        }
        Ok(())
    }

    /// From here on the catalogue is as it is now.
    fn refresh(&mut self, caches: &mut Caches) {
        let as_of = lock(&self.core).as_of();
        if std::mem::replace(&mut self.as_of, as_of) != as_of {
            *caches = Caches::default();
        }
    }

    fn look_into(
        &mut self,
        root: &Root,
        look: &FolderLook,
        place: &Place,
        caches: &mut Caches,
    ) -> Result<Result<(), Trouble>, IntakeError> {
        let known = self.known(&look.path, &mut caches.known)?;
        let files: Vec<_> = known
            .files
            .into_iter()
            .filter(|known| in_piece(&known.name, &look.after, look.until.as_deref()))
            .collect();
        let twin_known = match &look.twin {
            Some(twin) => self.known(twin, &mut caches.twins)?,
            None => Subtree::default(),
        };
        let twin = look.twin.as_deref().map(|path| Twin {
            path,
            known: &twin_known.files,
        });
        self.pulse().begin(self.source, self.world.uptime());
        let mut names = Vec::new();
        let listed = root.folder(&look.path).and_then(|folder| {
            let mut found = share::names(&folder, &look.after, &mut names)?;
            if let Some(until) = &look.until {
                found.files.retain(|name| name <= until);
            }
            let listing = share::listing(&folder, found.files, &files, look.ask)?;
            Ok((folder, listing))
        });
        self.pulse().end();
        let (folder, listing) = match listed {
            Ok(listed) => listed,
            Err(trouble) => return Ok(Err(trouble)),
        };
        for _ in 0..listing.asked {
            self.pace.ask(&self.world);
        }
        self.again.clear(&look.path);
        let old = !self.is_recent(&look.path);
        for candidate in decide(&look.path, &files, twin, &listing.files).candidates {
            let seen = &listing.files[candidate.seen];
            if old && self.quota_is_used_up() {
                self.defer(&look.path)?;
                break;
            }
            if place.holds(print(&look.path, seen)) {
                self.take(&look.path, root.reading(), &folder, seen, candidate.why)?;
            } else {
                self.note_again(&look.path)?;
                self.shared.report().sources[self.source].unsettled += 1;
            }
        }
        Ok(Ok(()))
    }

    /// Takes a candidate that two looks have found the same. What cannot be read now is left for a later walk.
    fn take(
        &mut self,
        folder_path: &[u8],
        reading: Reading,
        folder: &OwnedFd,
        seen: &Seen,
        why: Why,
    ) -> Result<(), IntakeError> {
        let source = self.source;
        self.world.step(Step::FileRead)?;
        let mut reads = Reads {
            buffer: std::mem::take(&mut self.buffer),
            unit: None,
        };
        let taken = self.try_take(folder_path, reading, folder, seen, why, &mut reads);
        self.pulse().end();
        self.buffer = reads.buffer;
        match taken {
            Ok(()) | Err(Left::Fault(ReadFault::Trouble(Trouble::Gone))) => Ok(()),
            Err(Left::Fault(ReadFault::Changed) | Left::Large) => {
                self.shared.report().sources[source].unsettled += 1;
                self.note_again(folder_path)
            }
            Err(Left::Fault(ReadFault::Trouble(_))) => {
                self.shared.report().sources[source].unreadable += 1;
                self.note_again(folder_path)
            }
            Err(Left::Intake(error)) => Err(error),
        }
    }

    pub(super) fn try_take(
        &mut self,
        folder_path: &[u8],
        reading: Reading,
        folder: &OwnedFd,
        seen: &Seen,
        why: Why,
        reads: &mut Reads,
    ) -> Result<(), Left> {
        if seen.size_bytes == 0 && !self.patience_is_over(folder_path, seen) {
            return Err(ReadFault::Changed.into());
        }
        let source = self.source;
        let path = join(folder_path, &seen.name);
        if lock(&self.core).holds(source, self.root, &path, self.place.as_deref()) {
            return Ok(());
        }
        // only while the share is asked: the lock of the core may wait for room
        self.pulse().begin(source, self.world.uptime());
        let file = OpenFile::open(folder, seen, reading)?;
        let (mut changed, mut before) = (false, None);
        if let Why::Changed { mark } = why {
            (changed, before) = (true, mark);
        }
        if let Why::FlagChanged { origin, mark } = why {
            // the same size and time might still be another content
            let sha256 = file.digest(&mut reads.buffer)?;
            if catalogue::mark(&sha256) == mark {
                let action = Action::FlagChanged {
                    origin: origin.clone(),
                };
                let change = self.change(&path, seen, sha256, action);
                if let Some(unit) = &mut reads.unit {
                    return unit.take(Told {
                        change,
                        event: None,
                        bytes: 0,
                    });
                }
                let entry = Entry {
                    source,
                    path: &path,
                    event: Event::FlagChanged { from: &origin },
                };
                return self.push(&entry, change);
            }
        }
        let taking = Taking {
            path,
            seen,
            file,
            changed,
            mark: before,
        };
        if seen.size_bytes > PART_LIMIT_BYTES {
            self.take_parts(&taking, reads)
        } else {
            self.take_whole(&taking, folder_path, reads)
        }
    }

    fn take_whole(
        &mut self,
        taking: &Taking<'_>,
        folder_path: &[u8],
        reads: &mut Reads,
    ) -> Result<(), Left> {
        let Taking {
            path, seen, file, ..
        } = taking;
        let buffer = &mut reads.buffer;
        // one byte more than expected, so that a grown file is seen
        file.read(0, seen.size_bytes as usize + 1, buffer)?;
        if buffer.len() as u64 != seen.size_bytes {
            return Err(ReadFault::Changed.into());
        }
        file.check()?;
        if !self.is_whole_receipt(path, buffer) && !self.patience_is_over(folder_path, seen) {
            return Err(ReadFault::Changed.into());
        }
        if let Some(mark) = taking
            .mark
            .filter(|mark| *mark == catalogue::mark(&Digest::of(buffer).0))
        {
            self.note_rewritten(taking, mark);
            return Ok(());
        }
        self.deliver(taking, reads, None)
    }

    /// Takes note of a file that was written again with the content that is known: nothing is to be told. It was read all the
    /// same, and is counted by the quota. One that came in parts is sent again: by its size and time the catalogue tells which
    /// known file the parts in a bundle are of, when that bundle rots.
    fn note_rewritten(&mut self, taking: &Taking<'_>, mark: Mark) {
        let Taking { path, seen, .. } = taking;
        let known = Known {
            name: seen.name.clone(),
            size_bytes: seen.size_bytes,
            mtime_ns: seen.mtime_ns,
            mark,
        };
        self.rewritten.push((path.clone(), known));
        self.shared.report().sources[self.source].rewritten += 1;
        if !self.is_recent(path) {
            self.count_old();
        }
    }

    /// Makes the times known of what was written again. Where a cut comes first, it is read once more.
    fn know_rewritten(&mut self) -> Result<(), IntakeError> {
        if !self.rewritten.is_empty() {
            lock(&self.core)
                .catalogue
                .rewritten(self.root, &self.rewritten)?;
            self.rewritten.clear();
        }
        Ok(())
    }

    /// Puts what was read, a file or a part of one, to where it goes. With a part comes the digest of the file so far.
    fn deliver(
        &mut self,
        taking: &Taking<'_>,
        reads: &mut Reads,
        part: Option<(Part, [u8; 32])>,
    ) -> Result<(), Left> {
        let Taking {
            path,
            seen,
            changed,
            ..
        } = taking;
        let modified = Some(seen.mtime_ns.div_euclid(1_000_000_000));
        let bytes = reads.buffer.len() as u64;
        let action = match (&part, *changed) {
            (
                Some((
                    Part {
                        whole: None,
                        version,
                        offset,
                        ..
                    },
                    _,
                )),
                _,
            ) => Action::Part {
                version: version.0,
                next: offset + bytes,
            },
            (_, true) => Action::Changed,
            (_, false) => Action::Added,
        };
        let (part, so_far) = part.unzip();
        if let Some(unit) = &mut reads.unit {
            let body = Body::new(std::mem::take(&mut reads.buffer), modified, part);
            let sha256 = so_far.unwrap_or(body.sha256().0);
            let change = self.change(path, seen, sha256, action);
            return unit.take(Told {
                change,
                event: Some(taking.event(body)),
                bytes,
            });
        }
        let body = Body::new(reads.buffer.as_slice(), modified, part);
        let sha256 = so_far.unwrap_or(body.sha256().0);
        let change = self.change(path, seen, sha256, action);
        let entry = Entry {
            source: self.source,
            path,
            event: taking.event(body),
        };
        self.push(&entry, change)
    }

    /// Sends a file in parts. What earlier bundles brought is not sent again, if it is still the file's beginning.
    fn take_parts(&mut self, taking: &Taking<'_>, reads: &mut Reads) -> Result<(), Left> {
        let Taking { seen, file, .. } = taking;
        let (mut hasher, mut offset, version) = self.resume_parts(taking, &mut reads.buffer)?;
        let total = seen.size_bytes;
        while offset < total {
            self.world.step(Step::FileRead).map_err(IntakeError::from)?;
            self.pulse().begin(self.source, self.world.uptime());
            let size = (total - offset).min(PART_LIMIT_BYTES);
            let buffer = &mut reads.buffer;
            file.read(offset, size as usize, buffer)?;
            if buffer.len() as u64 != size {
                return Err(ReadFault::Changed.into());
            }
            file.check()?;
            hasher.update(buffer);
            let next = offset + size;
            let so_far = hasher.clone().finish();
            let last = next == total;
            let part = Part {
                version: VersionId(version),
                total,
                offset,
                whole: last.then_some(so_far),
            };
            self.deliver(taking, reads, Some((part, so_far.0)))?;
            offset = next;
        }
        Ok(())
    }

    /// Hasher, offset and version to go on with.
    fn resume_parts(
        &mut self,
        taking: &Taking<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<(Hasher, u64, [u8; 16]), Left> {
        let (root, seen) = (self.root, taking.seen);
        self.pulse().end();
        let progress = lock(&self.core)
            .catalogue
            .progress(root, &taking.path)
            .map_err(IntakeError::from)?;
        if let Some(progress) = progress {
            if progress.size_bytes == seen.size_bytes && progress.mtime_ns == seen.mtime_ns {
                self.pulse().begin(self.source, self.world.uptime());
                let hasher = taking.file.hash(progress.next, buffer)?;
                self.pulse().end();
                if hasher.clone().finish().0 == progress.before {
                    return Ok((hasher, progress.next, progress.version));
                }
            }
            lock(&self.core)
                .catalogue
                .abandon(root, &taking.path)
                .map_err(IntakeError::from)?;
        }
        // the number of the bundle that will bring the first part tells apart two versions of equal size and time
        let next = self.shared.spool().next().sequence;
        let version = VersionId::of(&[seen.size_bytes, seen.mtime_ns as u64, next]);
        Ok((Hasher::default(), 0, version.0))
    }

    fn change(&self, path: &[u8], seen: &Seen, sha256: [u8; 32], action: Action) -> Change {
        Change {
            root: self.root,
            path: path.to_vec(),
            action,
            size_bytes: seen.size_bytes,
            mtime_ns: seen.mtime_ns,
            sha256,
        }
    }

    pub(super) fn is_recent(&self, path: &[u8]) -> bool {
        is_recent(&self.settings.pacing, path, self.world.unix_seconds())
    }

    /// Puts an entry into the bundle in the making.
    fn push(&mut self, entry: &Entry<'_>, change: Change) -> Result<(), Left> {
        // from here on nothing waits for the share, but perhaps for room
        self.pulse().end();
        let place = self.place.as_deref();
        let action = change.action.clone();
        let pushed = lock(&self.core).push(&self.world, entry, change, place, self.as_of)?;
        if pushed == Pushed::Stale {
            return Err(ReadFault::Changed.into());
        }
        self.entered(entry.path, &action, pushed);
        Ok(())
    }

    /// Counts what became of an entry.
    pub(super) fn entered(&mut self, path: &[u8], action: &Action, pushed: Pushed) {
        match pushed {
            Pushed::Taken => {
                let is_whole = !matches!(action, Action::Part { .. } | Action::Removed);
                if is_whole && !self.is_recent(path) {
                    self.count_old();
                }
                if *action == Action::Added {
                    let found = ssmix2::deviations(self.store(), path);
                    self.shared.report().sources[self.source].count(found);
                }
            }
            Pushed::Unnameable => {
                self.shared.report().sources[self.source].unnameable += 1;
            }
            Pushed::Twice | Pushed::Stale => {}
        }
    }

    fn patience_is_over(&mut self, folder_path: &[u8], seen: &Seen) -> bool {
        let (print, now) = (print(folder_path, seen), self.world.uptime());
        // where it is not remembered, it is when another has left
        let waited = self.patience.waited(print, self.round, now);
        waited.is_some_and(|waited| waited >= self.settings.quiet * PATIENCE_FACTOR)
    }

    /// `false` only for a claims file whose last record is missing.
    fn is_whole_receipt(&self, path: &[u8], content: &[u8]) -> bool {
        let tail = &content[content
            .len()
            .saturating_sub(ssmix2::claims::RECEIPT_TAIL_BYTES)..];
        self.settings.sources[self.source].kind != SourceKind::Receipt
            || ssmix2::claims::receipt(path).0.is_none()
            || ssmix2::claims::receipt_is_whole(tail)
    }

    /// What is known of the folder at a path; `cache` keeps the part that was read last.
    pub(super) fn known(&self, path: &[u8], cache: &mut Cache) -> Result<Subtree, IntakeError> {
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

    /// Reports the files that two whole walks in a row have missed, and that are still gone.
    pub(super) fn removals(&mut self, walk: u64) -> Result<(), IntakeError> {
        let (root, source) = (self.root, self.source);
        let mut after = Vec::new();
        loop {
            let paths = {
                let core = lock(&self.core);
                self.as_of = core.as_of();
                core.catalogue.twice_missing(root, walk, &after, REMOVALS)?
            };
            let Some(last) = paths.last() else {
                return Ok(());
            };
            after.clone_from(last);
            let files = lock(&self.core).catalogue.files_of(root)?;
            let Ok(before) = self.open_root(files) else {
                return Ok(());
            };
            let mut gone = Vec::new();
            for path in paths {
                let Some(known) = lock(&self.core).catalogue.file(root, &path)? else {
                    continue;
                };
                match before.is_gone(&path) {
                    Ok(true) => gone.push((path, known)),
                    Ok(false) => {}
                    Err(_) => return Ok(()),
                }
            }
            // only now is it sure that all these answers came from a share that was there
            match self.open_root(files) {
                Ok(again) if again.same_mount(&before) => {}
                Ok(_) | Err(_) => return Ok(()),
            }
            if !matches!(
                self.shared.report().sources[source].state,
                SourceState::Present
            ) {
                return Ok(());
            }
            self.world.step(Step::Gone)?;
            for (path, known) in gone {
                let seen = Seen {
                    name: known.name,
                    size_bytes: known.size_bytes,
                    mtime_ns: known.mtime_ns,
                };
                // of what was sent only this much of the digest is known
                let mut sha256 = [0; 32];
                sha256[..known.mark.len()].copy_from_slice(&known.mark);
                let change = self.change(&path, &seen, sha256, Action::Removed);
                let entry = Entry {
                    source,
                    path: &path,
                    event: Event::Removed,
                };
                match self.push(&entry, change) {
                    // what is stale the next walk misses again, if it is still known
                    Ok(()) | Err(Left::Fault(_) | Left::Large) => {}
                    Err(Left::Intake(error)) => return Err(error),
                }
            }
        }
    }
}
