//! Who shares what: one walker a source, the core that they all feed, and a keeper that seals in time. A walker asks its
//! share and waits for it; the core holds the catalogue and the bundle in the making, and is locked for short, and never while
//! a share is asked.

use super::error::IntakeError;
use super::hints::Hints;
use super::pacing::Pacing;
use super::report::{Pulse, Report, SourceReport, SourceState, Transition};
use super::share::MountRule;
use super::walk::Walker;
use super::world::World;
use bundle::{Draft, Entry, PushError, Sealer, Signer};
use catalogue::{Action, Catalogue, Change, Directory, Known, mark};
use serde_json::json;
use site::{Source, SourceKind};
use spool::{Disk, Spool};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the site configuration and the box's layout say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder in which the shares are mounted.
    pub mounts: PathBuf,
    pub mount_rule: MountRule,
    pub sources: Vec<Source>,
    /// Time between the two looks that find a file unchanged.
    pub quiet: Duration,
    pub pacing: Pacing,
}

/// How many times the quiet time is waited for an empty file, a receipt file without its last record, or a unit that does
/// not come to rest.
pub const PATIENCE_FACTOR: u32 = 5;

/// A draft is sealed at the latest this long after its first entry, however slow the walks are; where the configured period
/// is shorter, after that period. Sooner when it is full, or when a source has said all that it had to say.
pub(super) const LINGER: Duration = Duration::from_secs(60);

/// What nothing is waited for is sealed so long after the bundle before it: in a busy hospital the box makes one bundle a
/// second, whatever the number of sources, and each has what gathered meanwhile.
pub(super) const SPACING: Duration = Duration::from_secs(1);

/// What the walking threads and the main thread share.
pub struct Shared<D> {
    pub spool: Mutex<Spool<D>>,
    pub report: Mutex<Report>,
    /// By source.
    pub pulses: Vec<Pulse>,
    pub ward: super::heal::Ward,
    /// By source.
    pub hints: Vec<Arc<Hints>>,
}

impl<D> Shared<D> {
    pub fn new(spool: Spool<D>, sources: &[Source]) -> Arc<Self> {
        let hints = sources.iter().map(|_| Arc::default()).collect();
        let pulses = sources.iter().map(|_| Pulse::default()).collect();
        let ward = super::heal::Ward::new(sources.len());
        let sources = sources
            .iter()
            .map(|source| SourceReport {
                name: source.name.clone(),
                ..SourceReport::default()
            })
            .collect();
        let report = Mutex::new(Report {
            sources,
            ..Report::default()
        });
        Arc::new(Self {
            spool: Mutex::new(spool),
            report,
            pulses,
            ward,
            hints,
        })
    }

    pub fn spool(&self) -> MutexGuard<'_, Spool<D>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries for the next bundle, and what they will have changed.
pub(super) struct Batch {
    pub draft: Draft,
    pub changes: Vec<Change>,
    /// Numbers of the lost bundles that it reports.
    pub losses: Vec<u64>,
    /// Uptime of the first entry.
    pub since: Option<Duration>,
    /// By source.
    pub entries: Vec<u64>,
    /// Nothing is waited for that should be in it too.
    is_due: bool,
    /// Hashes of the paths that it concerns, old names of files too: of what is not yet committed the catalogue knows the
    /// state before, by which nothing more is decided.
    taken: HashSet<u64>,
    /// By source: the folder with the first entry of the walk that is under way.
    pub firsts: Vec<Option<Vec<u8>>>,
}

impl Batch {
    pub fn new(sources: &[Source]) -> Result<Self, IntakeError> {
        Ok(Self {
            draft: new_draft(sources)?,
            changes: Vec::new(),
            losses: Vec::new(),
            since: None,
            entries: vec![0; sources.len()],
            is_due: false,
            taken: HashSet::new(),
            firsts: vec![None; sources.len()],
        })
    }
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Taken,
    /// It is in the bundle in the making already.
    Twice,
    /// No bundle can hold such a path.
    Unnameable,
    /// It was decided on by what the catalogue no longer says.
    Stale,
}

/// A state of the catalogue, by which something is decided.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AsOf {
    taken_back: u64,
    sealed: u64,
}

/// Catalogue, bundle in the making, and sealer.
pub struct Core<D, S> {
    pub(super) catalogue: Catalogue,
    pub(super) shared: Arc<Shared<D>>,
    pub(super) sealer: Sealer<S>,
    pub(super) sources: Vec<Source>,
    /// Numbers of the sources' roots.
    pub(super) roots: Vec<Directory>,
    pub(super) batch: Batch,
    /// How many times changes of a damaged bundle were taken back.
    pub(super) taken_back: u64,
    /// How many bundles were in the making before this one; all of them are durable.
    pub(super) sealed: u64,
    /// Uptime at which the last of them was.
    pub(super) sealed_at: Option<Duration>,
    /// See [`LINGER`].
    pub(super) linger: Duration,
}

impl<D: Disk, S: Signer> Core<D, S> {
    /// Whether this path is in the bundle in the making. If so, a walk that has found it at this place has to go on there
    /// if this bundle is lost.
    pub(super) fn holds(
        &mut self,
        source: usize,
        root: Directory,
        path: &[u8],
        place: Option<&[u8]>,
    ) -> bool {
        let holds = self.batch.taken.contains(&key(root, path));
        if let Some(place) = place.filter(|_| holds) {
            self.batch.firsts[source].get_or_insert_with(|| place.to_vec());
        }
        holds
    }

    pub(super) fn as_of(&self) -> AsOf {
        AsOf {
            taken_back: self.taken_back,
            sealed: self.sealed,
        }
    }

    /// Takes an entry into the bundle in the making; seals first where that is full or old. `place` is where the walk
    /// goes on if this bundle is lost, `as_of` is [`Core::as_of`] when the catalogue was asked.
    pub(super) fn push(
        &mut self,
        world: &impl World,
        entry: &Entry<'_>,
        change: Change,
        place: Option<&[u8]>,
        as_of: AsOf,
    ) -> Result<Pushed, IntakeError> {
        if let Some(refused) = self.refused(entry.source, &change, place, as_of)? {
            return Ok(refused);
        }
        self.seal_if_old(world)?;
        self.enter(world, entry, change, place)
    }

    /// Why a change is not to be told, if so.
    pub(super) fn refused(
        &mut self,
        source: usize,
        change: &Change,
        place: Option<&[u8]>,
        as_of: AsOf,
    ) -> Result<Option<Pushed>, IntakeError> {
        if self.taken_back != as_of.taken_back {
            return Ok(Some(Pushed::Stale));
        }
        for path in concerned(change) {
            if self.holds(source, change.root, path, place) {
                return Ok(Some(Pushed::Twice));
            }
        }
        // the bundle that held it may have been committed while the share was asked
        let stands = self.sealed == as_of.sealed || self.stands(change)?;
        Ok((!stands).then_some(Pushed::Stale))
    }

    /// Takes an entry that is not refused; seals first where the bundle in the making is full.
    pub(super) fn enter(
        &mut self,
        world: &impl World,
        entry: &Entry<'_>,
        change: Change,
        place: Option<&[u8]>,
    ) -> Result<Pushed, IntakeError> {
        match self.batch.draft.push(entry) {
            Err(PushError::Full) => {
                self.seal(world)?;
                self.batch.draft.push(entry).map_err(IntakeError::Draft)?;
            }
            Err(PushError::Path(_)) => return Ok(Pushed::Unnameable),
            result => result.map_err(IntakeError::Draft)?,
        }
        if let Some(place) = place {
            self.batch.firsts[entry.source].get_or_insert_with(|| place.to_vec());
        }
        self.batch.since.get_or_insert(world.uptime());
        self.batch.entries[entry.source] += 1;
        if !matches!(change.action, Action::Part { .. }) {
            let keys = concerned(&change).map(|path| key(change.root, path));
            self.batch.taken.extend(keys);
        }
        self.batch.changes.push(change);
        Ok(Pushed::Taken)
    }

    /// Whether what the catalogue says now is still what such a change goes out from.
    fn stands(&self, change: &Change) -> Result<bool, IntakeError> {
        let known = |path| self.catalogue.file(change.root, path);
        let version = |known: &Known| (known.size_bytes, known.mtime_ns);
        let this = (change.size_bytes, change.mtime_ns);
        let is_this = |known: Known| version(&known) == this && known.mark == mark(&change.sha256);
        let here = known(&change.path)?;
        Ok(match &change.action {
            Action::Added => here.is_none(),
            Action::Changed => here.is_some_and(|known| version(&known) != this),
            Action::FlagChanged { origin } => here.is_none() && known(origin)?.is_some_and(is_this),
            Action::Removed => here.is_some_and(is_this),
            Action::Part { .. } => here.is_none_or(|known| version(&known) != this),
        })
    }

    /// Time until the bundle in the making is to be sealed; `None`: nothing is in it.
    pub(super) fn left(&self, world: &impl World) -> Option<Duration> {
        let now = world.uptime();
        let old = self.batch.since? + self.linger;
        let spaced = self.sealed_at.map_or(now, |sealed| sealed + SPACING);
        let due = if self.batch.is_due {
            old.min(spaced)
        } else {
            old
        };
        Some(due.saturating_sub(now))
    }

    /// What is in the bundle in the making shall wait for nothing else.
    pub(super) fn hurry(&mut self) {
        self.batch.is_due |= self.batch.since.is_some();
    }

    /// A walker has done its turn's work: what it put in waits for nothing.
    pub(super) fn rests(&mut self, source: usize) {
        if self.batch.entries[source] > 0 {
            self.hurry();
        }
    }

    /// Seals a bundle that has been in the making for long, or waits for nothing.
    pub(super) fn seal_if_old(&mut self, world: &impl World) -> Result<(), IntakeError> {
        if self.left(world) == Some(Duration::ZERO) {
            self.seal(world)?;
        }
        Ok(())
    }
}

/// The paths whose known state a change changes.
fn concerned(change: &Change) -> impl Iterator<Item = &[u8]> {
    let origin = match &change.action {
        Action::FlagChanged { origin } => Some(origin.as_slice()),
        _ => None,
    };
    std::iter::once(change.path.as_slice()).chain(origin)
}

fn key(root: Directory, path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (root, path).hash(&mut hasher);
    hasher.finish()
}

/// Seals what has become old while walkers wait: for a share that hangs or is not asked often, for the quiet time, for the
/// next turn.
pub struct Keeper<W, D, S> {
    core: Arc<Mutex<Core<D, S>>>,
    world: W,
}

impl<W: World, D: Disk, S: Signer> Keeper<W, D, S> {
    /// To be called again and again, by a thread of its own: sealing waits for room and for the keyholder.
    pub fn beat(&self) -> Result<(), IntakeError> {
        lock(&self.core).seal_if_old(&self.world)
    }
}

/// All walkers.
pub struct Intake<W, D, S> {
    walkers: Vec<Walker<W, D, S>>,
    core: Arc<Mutex<Core<D, S>>>,
    world: W,
}

impl<W: World + Sync + Clone, D: Disk, S: Signer> Intake<W, D, S> {
    /// Opens the catalogue and settles what a cut has left open.
    pub fn open(
        world: W,
        settings: Settings,
        catalogue: &Path,
        shared: Arc<Shared<D>>,
        sealer: Sealer<S>,
    ) -> Result<Self, IntakeError> {
        let mut catalogue = Catalogue::open(catalogue)?;
        super::sealing::recover(&world, &mut catalogue, &shared, sealer.box_name())?;
        super::heal::begin(&world, &catalogue, &shared)?;
        let mut known = Vec::with_capacity(settings.sources.len());
        for (place, source) in settings.sources.iter().enumerate() {
            let source = catalogue.source(&source.name)?;
            shared.report().sources[place].files = source.files;
            known.push(source);
        }
        let core = Arc::new(Mutex::new(Core {
            catalogue,
            shared: Arc::clone(&shared),
            sealer,
            batch: Batch::new(&settings.sources)?,
            sources: settings.sources.clone(),
            roots: known.iter().map(|source| source.root).collect(),
            taken_back: 0,
            sealed: 0,
            sealed_at: None,
            linger: LINGER,
        }));
        let settings = Arc::new(settings);
        let walkers = known
            .into_iter()
            .enumerate()
            .map(|(place, source)| {
                Walker::new(
                    world.clone(),
                    Arc::clone(&settings),
                    Arc::clone(&core),
                    Arc::clone(&shared),
                    place,
                    source,
                )
            })
            .collect();
        Ok(Self {
            walkers,
            core,
            world,
        })
    }

    pub fn keeper(&self) -> Keeper<W, D, S> {
        Keeper {
            core: Arc::clone(&self.core),
            world: self.world.clone(),
        }
    }

    /// One walker a source, each for a thread of its own.
    pub fn into_walkers(self) -> Vec<Walker<W, D, S>> {
        self.walkers
    }

    /// Walks all sources once. When this returns, everything that was found whole is in durable bundles.
    pub fn round(&mut self) -> Result<(), IntakeError> {
        lock(&self.core).heal(&self.world)?;
        let mut courses = Vec::with_capacity(self.walkers.len());
        for walker in &mut self.walkers {
            courses.push(walker.walk()?);
        }
        for walker in &mut self.walkers {
            walker.ripen_all()?;
        }
        lock(&self.core).seal(&self.world)?;
        for (walker, course) in self.walkers.iter_mut().zip(courses) {
            walker.finish(course)?;
        }
        let mut core = lock(&self.core);
        core.seal(&self.world)?;
        core.report_losses(&self.world)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a change of state into the trail.
pub(super) fn announce(
    world: &impl World,
    source: &str,
    transition: Option<Transition>,
    state: &SourceState,
) -> Result<(), IntakeError> {
    match (transition, state) {
        (Some(Transition::Missing), SourceState::Missing { reason }) => {
            world.audit(
                "source-missing",
                json!({ "source": source, "reason": reason }),
            )?;
        }
        (Some(Transition::Returned), _) => {
            world.audit("source-returned", json!({ "source": source }))?
        }
        _ => {}
    }
    Ok(())
}

pub(super) fn new_draft(sources: &[Source]) -> Result<Draft, IntakeError> {
    Draft::new(named(sources)).map_err(IntakeError::Draft)
}

/// The sources as manifests name them.
pub(super) fn named(sources: &[Source]) -> Vec<bundle::Source> {
    let named = |source: &Source| bundle::Source {
        name: source.name.clone(),
        kind: kind_name(source.kind).to_owned(),
    };
    sources.iter().map(named).collect()
}

/// The kind's word in manifests.
fn kind_name(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Standardized => "standardized",
        SourceKind::Extended => "extended",
        SourceKind::Transaction => "transaction",
        SourceKind::Dpc => "dpc",
        SourceKind::Receipt => "receipt",
    }
}

pub(super) fn store(kind: SourceKind) -> ssmix2::Store {
    match kind {
        SourceKind::Standardized => ssmix2::Store::Standardized,
        SourceKind::Extended => ssmix2::Store::Extended,
        SourceKind::Transaction => ssmix2::Store::Transaction,
        SourceKind::Dpc => ssmix2::Store::Dpc,
        SourceKind::Receipt => ssmix2::Store::Receipt,
    }
}
