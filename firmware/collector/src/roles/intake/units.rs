//! The second look at a content folder of extended storage, which is one unit: its files are taken together, or none is.
//!
//! Invariants
//! 1. What is new or changed in a unit is taken when the second look at all of it finds the same names, sizes and times as
//!    the first one did, and can read every file. Otherwise the unit waits for another walk, or for its hint. What is known
//!    and was not asked for needs no second look.
//! 2. A unit that moves between two looks waits, until it still does so in looks that begin when patience is over. Then, and
//!    where nothing has room to remember the wait, what is whole is taken file by file.
//! 3. All that is taken of a unit together goes into one bundle: it is read first, entered in one go, and nothing is
//!    sealed between.
//! 4. Memory is bounded. A unit with more than a bundle's contents or entries to send waits as a whole, and is then taken
//!    file by file into as many bundles as it fills. One of more than [`FILES`] files or [`FOLDERS`] folders is looked at
//!    in pieces, each at another time: it is taken file by file from the beginning.
//!
//! Where the manifest's room ends before the other bounds of a bundle, by very long names, a unit is cut there.

use super::collection::{Core, PATIENCE_FACTOR, Pushed, lock, store};
use super::decide::{Candidate, Decision, Twin, Why, decide, join};
use super::error::IntakeError;
use super::looks::{FolderLook, Place, key, print};
use super::scan::FOLDERS;
use super::share::{self, Ask, PIECE, ReadFault, Root, Trouble};
use super::take::{Caches, Left, Reads};
use super::walk::Walker;
use super::world::{Step, World};
use bundle::{CONTENT_LIMIT_BYTES, ENTRY_LIMIT, Entry, Event, PART_LIMIT_BYTES, Signer};
use catalogue::{Action, Change, Seen, Standing, Subtree};
use spool::Disk;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Files of a unit that are in memory for its second look.
const FILES: usize = PIECE;

/// What waits to be entered into one bundle.
pub(super) struct Told {
    pub(super) change: Change,
    /// `None`: a change of flag.
    pub(super) event: Option<Event<'static>>,
    pub(super) bytes: u64,
}

/// What was read of a unit.
#[derive(Default)]
pub(super) struct Gathering {
    told: Vec<Told>,
    bytes: u64,
}

impl Gathering {
    /// Takes an entry; gives it up where no bundle can hold all of the unit.
    pub(super) fn take(&mut self, told: Told) -> Result<(), Left> {
        self.bytes += told.bytes;
        if self.bytes > CONTENT_LIMIT_BYTES || self.told.len() == ENTRY_LIMIT {
            return Err(Left::Large);
        }
        self.told.push(told);
        Ok(())
    }
}

/// A folder of a unit, and what is to be taken of it.
struct Part {
    path: Vec<u8>,
    candidates: Vec<(Seen, Why)>,
}

/// What the second look at a unit says.
enum Survey {
    /// The same as the first look.
    AtRest(Vec<Part>),
    Moving,
    /// See invariant 4.
    Huge,
}

/// What becomes of a unit.
enum Verdict {
    Taken,
    Later,
    OneByOne,
}

impl<W: World + Sync + Clone, D: Disk, S: Signer> Walker<W, D, S> {
    pub(super) fn store(&self) -> ssmix2::Store {
        store(self.settings.sources[self.source].kind)
    }

    /// Takes what is to be taken of a unit, or leaves all of it for later. `false`: file by file, if at all.
    pub(super) fn look_at_unit(
        &mut self,
        root: &Root,
        unit: &[u8],
        looks: &[FolderLook],
        place: &Place,
        caches: &mut Caches,
    ) -> Result<Result<bool, Trouble>, IntakeError> {
        let survey = match self.survey(root, unit, looks, place, caches)? {
            Ok(survey) => survey,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let verdict = match survey {
            Survey::Huge => Verdict::OneByOne,
            Survey::Moving => Verdict::Later,
            Survey::AtRest(parts) if parts.is_empty() => Verdict::Taken,
            Survey::AtRest(parts) => {
                if !self.is_recent(unit) && self.quota_is_used_up() {
                    for look in looks {
                        self.defer(&look.path)?;
                    }
                    return Ok(Ok(true));
                }
                self.take_together(root, &parts)?
            }
        };
        Ok(Ok(match verdict {
            Verdict::Taken => true,
            Verdict::OneByOne => false,
            Verdict::Later => {
                let now = self.world.uptime();
                let waited = self.patience.waited(key(unit), self.round, now);
                // a look that had to wait for its second one says nothing of how the unit has been since
                let age = now.saturating_sub(place.first_look);
                let is_over = waited.is_none_or(|waited| {
                    waited.saturating_sub(age) >= self.settings.quiet * PATIENCE_FACTOR
                });
                if !is_over {
                    self.leave(looks)?;
                }
                !is_over
            }
        }))
    }

    fn leave(&mut self, looks: &[FolderLook]) -> Result<(), IntakeError> {
        for look in looks {
            self.note_again(&look.path)?;
            self.shared.report().sources[self.source].unsettled += look.candidates as u64;
        }
        Ok(())
    }

    /// Lists all of a unit, and says whether it is as its first look found it.
    fn survey(
        &mut self,
        root: &Root,
        unit: &[u8],
        looks: &[FolderLook],
        place: &Place,
        caches: &mut Caches,
    ) -> Result<Result<Survey, Trouble>, IntakeError> {
        let in_pieces = |look: &FolderLook| !look.after.is_empty() || look.until.is_some();
        let standing = lock(&self.core).catalogue.standing(self.root, unit)?;
        if looks.iter().any(in_pieces) || matches!(standing, Standing::Open(_)) {
            return Ok(Ok(Survey::Huge));
        }
        let first: BTreeMap<&[u8], &FolderLook> = looks
            .iter()
            .map(|look| (look.path.as_slice(), look))
            .collect();
        let expected: usize = looks.iter().map(|look| look.candidates).sum();
        let (mut at_rest, mut held, mut files, mut folders) = (true, 0, 0, 0);
        let mut parts = Vec::new();
        let mut waiting = vec![unit.to_vec()];
        while let Some(path) = waiting.pop() {
            self.world.step(Step::Folder)?;
            let look = first.get(path.as_slice()).copied();
            let known = self.known(&path, &mut caches.known)?;
            let twin = look.and_then(|look| look.twin.as_deref());
            let twin_known = match twin {
                Some(twin) => self.known(twin, &mut caches.twins)?,
                None => Subtree::default(),
            };
            let ask = look.map_or(Ask::NewNames, |look| look.ask);
            self.pulse().begin(self.source, self.world.uptime());
            let listed = root.folder(&path).and_then(|folder| {
                let mut names = share::names(&folder, b"", &mut self.names)?;
                let found = std::mem::take(&mut names.files);
                let listing = share::listing(&folder, found, &known.files, ask)?;
                Ok((names, listing))
            });
            self.pulse().end();
            let (names, listing) = match listed {
                Ok(listed) => listed,
                Err(trouble @ (Trouble::Gone | Trouble::Locked)) if path != unit => {
                    self.count_trouble(trouble);
                    at_rest = false;
                    continue;
                }
                Err(trouble) => return Ok(Err(trouble)),
            };
            for _ in 0..listing.asked {
                self.pace.ask(&self.world);
            }
            (files, folders) = (files + listing.files.len(), folders + 1);
            if names.last.is_some() || files > FILES || folders > FOLDERS {
                return Ok(Ok(Survey::Huge));
            }
            self.again.clear(&path);
            at_rest &= names.unreadable + listing.unreadable == 0;
            // known by now are those that another look has found as well
            let holds = |seen: &Seen| place.holds(print(&path, seen));
            held += listing.files.iter().filter(|seen| holds(seen)).count();
            let twin = twin.map(|path| Twin {
                path,
                known: &twin_known.files,
            });
            let Decision { candidates, .. } = decide(&path, &known.files, twin, &listing.files);
            let mut files: Vec<Option<Seen>> = listing.files.into_iter().map(Some).collect();
            let mut taken = Vec::with_capacity(candidates.len());
            for Candidate { seen, why } in candidates {
                if let Some(seen) = files[seen].take() {
                    at_rest &= place.holds(print(&path, &seen));
                    taken.push((seen, why));
                }
            }
            waiting.extend(names.folders.iter().map(|name| join(&path, name)));
            if !taken.is_empty() {
                parts.push(Part {
                    path,
                    candidates: taken,
                });
            }
        }
        Ok(Ok(if at_rest && held == expected {
            Survey::AtRest(parts)
        } else {
            Survey::Moving
        }))
    }

    /// Reads all of a unit, and enters it into the bundle in the making, or leaves it.
    fn take_together(&mut self, root: &Root, parts: &[Part]) -> Result<Verdict, IntakeError> {
        if !fits(parts) {
            return Ok(Verdict::OneByOne);
        }
        let mut reads = Reads {
            buffer: std::mem::take(&mut self.buffer),
            unit: Some(Gathering::default()),
        };
        let gathered = self.gather(root, parts, &mut reads);
        self.pulse().end();
        self.buffer = reads.buffer;
        match gathered {
            Ok(()) => {}
            Err(Left::Large) => return Ok(Verdict::OneByOne),
            Err(Left::Fault(fault)) => {
                if matches!(
                    fault,
                    ReadFault::Trouble(Trouble::Locked | Trouble::Share(_))
                ) {
                    self.shared.report().sources[self.source].unreadable += 1;
                }
                return Ok(Verdict::Later);
            }
            Err(Left::Intake(error)) => return Err(error),
        }
        let told = reads.unit.map(|unit| unit.told).unwrap_or_default();
        self.enter_together(told)
    }

    fn gather(&mut self, root: &Root, parts: &[Part], reads: &mut Reads) -> Result<(), Left> {
        for part in parts {
            self.pulse().begin(self.source, self.world.uptime());
            let folder = root.folder(&part.path).map_err(ReadFault::Trouble)?;
            self.pulse().end();
            for (seen, why) in &part.candidates {
                self.world.step(Step::FileRead).map_err(IntakeError::from)?;
                let why = why.clone();
                self.try_take(&part.path, root.reading(), &folder, seen, why, reads)?;
            }
        }
        Ok(())
    }

    fn enter_together(&mut self, gathered: Vec<Told>) -> Result<Verdict, IntakeError> {
        let (source, place) = (self.source, self.place.clone());
        let core = Arc::clone(&self.core);
        let mut core = lock(&core);
        let mut told = Vec::with_capacity(gathered.len());
        for one in gathered {
            match core.refused(source, &one.change, place.as_deref(), self.as_of)? {
                None => told.push(one),
                Some(Pushed::Twice) => {}
                Some(_) => return Ok(Verdict::Later),
            }
        }
        core.make_room(&self.world, &told)?;
        for Told { change, event, .. } in told {
            let (path, action) = (change.path.clone(), change.action.clone());
            let event = match (event, &action) {
                (Some(event), _) => event,
                (None, Action::FlagChanged { origin }) => Event::FlagChanged { from: origin },
                (None, _) => continue,
            };
            let entry = Entry {
                source,
                path: &path,
                event,
            };
            let pushed = core.enter(&self.world, &entry, change, place.as_deref())?;
            self.entered(&path, &action, pushed);
        }
        Ok(Verdict::Taken)
    }
}

/// Whether one bundle may hold all of it.
fn fits(parts: &[Part]) -> bool {
    let (mut entries, mut bytes) = (0, 0_u64);
    for (seen, why) in parts.iter().flat_map(|part| &part.candidates) {
        let is_sent = !matches!(why, Why::FlagChanged { .. });
        let size = if is_sent { seen.size_bytes } else { 0 };
        bytes = bytes.saturating_add(size);
        entries += size.div_ceil(PART_LIMIT_BYTES).max(1);
    }
    bytes <= CONTENT_LIMIT_BYTES && entries <= ENTRY_LIMIT as u64
}

impl<D: Disk, S: Signer> Core<D, S> {
    /// Seals first where the bundle in the making is old, or cannot hold all of a unit beside what it has.
    fn make_room(&mut self, world: &impl World, told: &[Told]) -> Result<(), IntakeError> {
        self.seal_if_old(world)?;
        let bytes: u64 = told.iter().map(|one| one.bytes).sum();
        let draft = &self.batch.draft;
        if draft.entries() + told.len() > ENTRY_LIMIT
            || draft.content_bytes() + bytes > CONTENT_LIMIT_BYTES
        {
            self.seal(world)?;
        }
        Ok(())
    }
}
