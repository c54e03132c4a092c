//! Reading one file into the bundle in the making: whole, in parts, or as a change of flag; and concluding removals.

use super::collection::{Intake, PATIENCE_FACTOR, store};
use super::decide::{Why, join};
use super::error::IntakeError;
use super::looks::{Patience, print};
use super::report::SourceState;
use super::share::{OpenFile, ReadFault, Trouble};
use super::world::{Step, World};
use bundle::{Body, Entry, Event, Hasher, PART_LIMIT_BYTES, Part, Signer, VersionId};
use catalogue::{Action, Change, Seen};
use site::SourceKind;
use spool::Disk;
use std::os::fd::OwnedFd;

/// Removals in one bundle. The share is looked at again after each such number, before they are sealed.
const REMOVALS: usize = 256;

/// A file on its way into a bundle.
struct Taking<'a> {
    source: usize,
    path: Vec<u8>,
    seen: &'a Seen,
    file: OpenFile,
    /// The name is known with another version.
    changed: bool,
}

/// Why a file is left for later.
enum Left {
    Fault(ReadFault),
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

impl<W: World, D: Disk, S: Signer> Intake<W, D, S> {
    /// Takes a candidate that two looks have found the same. What cannot be read now is left for a later walk.
    pub(super) fn take(
        &mut self,
        source: usize,
        folder_path: &[u8],
        folder: &OwnedFd,
        seen: &Seen,
        why: Why,
    ) -> Result<(), IntakeError> {
        self.world.step(Step::FileRead)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        self.shared.pulse.begin(source, self.world.uptime());
        let taken = self.try_take(source, folder_path, folder, seen, why, &mut buffer);
        self.shared.pulse.end();
        self.buffer = buffer;
        match taken {
            Ok(()) | Err(Left::Fault(ReadFault::Trouble(Trouble::Gone))) => Ok(()),
            Err(Left::Fault(ReadFault::Changed)) => {
                self.shared.report().sources[source].unsettled += 1;
                Ok(())
            }
            Err(Left::Fault(ReadFault::Trouble(_))) => {
                self.shared.report().sources[source].unreadable += 1;
                Ok(())
            }
            Err(Left::Intake(error)) => Err(error),
        }
    }

    fn try_take(
        &mut self,
        source: usize,
        folder_path: &[u8],
        folder: &OwnedFd,
        seen: &Seen,
        why: Why,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Left> {
        if seen.size_bytes == 0 && !self.patience_is_over(source, folder_path, seen) {
            return Err(ReadFault::Changed.into());
        }
        let path = join(folder_path, &seen.name);
        let file = OpenFile::open(folder, seen)?;
        let mut changed = why == Why::Changed;
        if let Why::FlagChanged { origin, sha256 } = why {
            // the same size and time might still be another content
            if file.digest(buffer)? == sha256 {
                let entry = Entry {
                    source,
                    path: &path,
                    event: Event::FlagChanged { from: &origin },
                };
                let change = self.change(
                    source,
                    &path,
                    seen,
                    sha256,
                    Action::FlagChanged {
                        origin: origin.clone(),
                    },
                );
                return Ok(self.push(&entry, change)?);
            }
            changed = false;
        }
        let taking = Taking {
            source,
            path,
            seen,
            file,
            changed,
        };
        let taken = if seen.size_bytes > PART_LIMIT_BYTES {
            self.take_parts(&taking, buffer)
        } else {
            self.take_whole(&taking, folder_path, buffer)
        };
        if taken.is_ok() && !taking.changed {
            let found = ssmix2::deviations(store(self.settings.sources[source].kind), &taking.path);
            self.shared.report().sources[source].count(found);
        }
        taken
    }

    fn take_whole(
        &mut self,
        taking: &Taking<'_>,
        folder_path: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), Left> {
        let Taking {
            source,
            path,
            seen,
            file,
            ..
        } = taking;
        // one byte more than expected, so that a grown file is seen
        file.read(0, seen.size_bytes as usize + 1, buffer)?;
        if buffer.len() as u64 != seen.size_bytes {
            return Err(ReadFault::Changed.into());
        }
        file.check()?;
        if !self.is_whole_receipt(*source, path, buffer)
            && !self.patience_is_over(*source, folder_path, seen)
        {
            return Err(ReadFault::Changed.into());
        }
        let body = Body::new(
            buffer.as_slice(),
            Some(seen.mtime_ns.div_euclid(1_000_000_000)),
            None,
        );
        let action = if taking.changed {
            Action::Changed
        } else {
            Action::Added
        };
        let change = self.change(*source, path, seen, body.sha256().0, action);
        let event = if taking.changed {
            Event::Changed(body)
        } else {
            Event::Added(body)
        };
        Ok(self.push(
            &Entry {
                source: *source,
                path,
                event,
            },
            change,
        )?)
    }

    /// Sends a file in parts. What earlier bundles brought is not sent again, if it is still the file's beginning.
    fn take_parts(&mut self, taking: &Taking<'_>, buffer: &mut Vec<u8>) -> Result<(), Left> {
        let Taking {
            source,
            path,
            seen,
            file,
            ..
        } = taking;
        let (mut hasher, mut offset, version) = self.resume_parts(taking, buffer)?;
        let total = seen.size_bytes;
        while offset < total {
            self.world.step(Step::FileRead).map_err(IntakeError::from)?;
            self.shared.pulse.begin(*source, self.world.uptime());
            let size = (total - offset).min(PART_LIMIT_BYTES);
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
            let body = Body::new(
                buffer.as_slice(),
                Some(seen.mtime_ns.div_euclid(1_000_000_000)),
                Some(part),
            );
            let action = match (last, taking.changed) {
                (false, _) => Action::Part { version, next },
                (true, true) => Action::Changed,
                (true, false) => Action::Added,
            };
            let change = self.change(*source, path, seen, so_far.0, action);
            let event = if taking.changed {
                Event::Changed(body)
            } else {
                Event::Added(body)
            };
            self.push(
                &Entry {
                    source: *source,
                    path,
                    event,
                },
                change,
            )?;
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
        let (root, seen) = (self.roots[taking.source], taking.seen);
        if let Some(progress) = self
            .catalogue
            .progress(root, &taking.path)
            .map_err(IntakeError::from)?
        {
            if progress.size_bytes == seen.size_bytes && progress.mtime_ns == seen.mtime_ns {
                let hasher = taking.file.hash(progress.next, buffer)?;
                if hasher.clone().finish().0 == progress.before {
                    return Ok((hasher, progress.next, progress.version));
                }
            }
            self.catalogue
                .abandon(root, &taking.path)
                .map_err(IntakeError::from)?;
        }
        // the number of the bundle that will bring the first part tells apart two versions of equal size and time
        let next = self.shared.spool().next().sequence;
        let version = VersionId::of(&[seen.size_bytes, seen.mtime_ns as u64, next]);
        Ok((Hasher::default(), 0, version.0))
    }

    fn change(
        &self,
        source: usize,
        path: &[u8],
        seen: &Seen,
        sha256: [u8; 32],
        action: Action,
    ) -> Change {
        Change {
            root: self.roots[source],
            path: path.to_vec(),
            action,
            size_bytes: seen.size_bytes,
            mtime_ns: seen.mtime_ns,
            sha256,
        }
    }

    fn patience_is_over(&mut self, source: usize, folder_path: &[u8], seen: &Seen) -> bool {
        let key = Patience::key(source, folder_path, print(seen));
        self.patience.is_over(
            key,
            self.round,
            self.world.uptime(),
            self.settings.quiet * PATIENCE_FACTOR,
        )
    }

    /// `false` only for a claims file whose last record is missing.
    fn is_whole_receipt(&self, source: usize, path: &[u8], content: &[u8]) -> bool {
        let tail = &content[content
            .len()
            .saturating_sub(ssmix2::claims::RECEIPT_TAIL_BYTES)..];
        self.settings.sources[source].kind != SourceKind::Receipt
            || ssmix2::claims::receipt(path).0.is_none()
            || ssmix2::claims::receipt_is_whole(tail)
    }

    /// Reports the files that two whole walks in a row have missed, and that are still gone.
    pub(super) fn removals(&mut self, source: usize, walk: u64) -> Result<(), IntakeError> {
        let root = self.roots[source];
        let mut after = Vec::new();
        loop {
            let paths = self.catalogue.twice_missing(root, walk, &after, REMOVALS)?;
            let Some(last) = paths.last() else {
                return Ok(());
            };
            after.clone_from(last);
            let files = self.catalogue.files_of(root)?;
            let Ok(before) = self.open_root(source, files) else {
                return Ok(());
            };
            let mut gone = Vec::new();
            for path in paths {
                let Some(known) = self.catalogue.file(root, &path)? else {
                    continue;
                };
                match before.is_gone(&path) {
                    Ok(true) => gone.push((path, known)),
                    Ok(false) => {}
                    Err(_) => return Ok(()),
                }
            }
            // only now is it sure that all these answers came from a share that was there
            match self.open_root(source, files) {
                Ok(again) if again.same_mount(&before) => {}
                Ok(_) | Err(_) => return Ok(()),
            }
            if !matches!(
                self.shared.report().sources[source].state,
                SourceState::Present
            ) {
                return Ok(());
            }
            for (path, known) in gone {
                let seen = Seen {
                    name: known.name,
                    size_bytes: known.size_bytes,
                    mtime_ns: known.mtime_ns,
                };
                let change = self.change(source, &path, &seen, known.sha256, Action::Removed);
                self.push(
                    &Entry {
                        source,
                        path: &path,
                        event: Event::Removed,
                    },
                    change,
                )?;
            }
            self.seal()?;
        }
    }
}
