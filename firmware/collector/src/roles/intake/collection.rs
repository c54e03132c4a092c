//! One round of collecting: all sources are walked, candidates looked at twice, whole files sealed, removals concluded.

use super::error::IntakeError;
use super::looks::{Looks, Patience};
use super::report::{Pulse, Report, SourceReport, SourceState, Transition};
use super::share::MountRule;
use super::world::{Step, World};
use bundle::{Draft, Entry, PushError, Sealer, Signer};
use catalogue::{Catalogue, Change, Directory};
use serde_json::json;
use site::{Source, SourceKind};
use spool::{Disk, Spool};
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
}

/// How many times the quiet time an empty file, or a receipt file without its last record, is waited for.
pub const PATIENCE_FACTOR: u32 = 5;

/// A draft is sealed at the latest this long after its first entry, however slow the walk is.
const LINGER: Duration = Duration::from_secs(60);

/// What the walking thread and the main thread share.
pub struct Shared<D> {
    pub spool: Mutex<Spool<D>>,
    pub report: Mutex<Report>,
    pub pulse: Pulse,
    pub ward: super::heal::Ward,
}

impl<D> Shared<D> {
    pub fn new(spool: Spool<D>, sources: &[Source]) -> Arc<Self> {
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
            pulse: Pulse::default(),
            ward: super::heal::Ward::default(),
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
}

pub struct Intake<W, D, S> {
    pub(super) world: W,
    pub(super) settings: Settings,
    pub(super) catalogue: Catalogue,
    pub(super) shared: Arc<Shared<D>>,
    pub(super) sealer: Sealer<S>,
    /// Numbers of the sources' roots, in the order of the settings.
    pub(super) roots: Vec<Directory>,
    pub(super) batch: Batch,
    pub(super) looks: Looks,
    pub(super) patience: Patience,
    pub(super) round: u64,
    /// For the bytes of a file.
    pub(super) buffer: Vec<u8>,
}

impl<W: World, D: Disk, S: Signer> Intake<W, D, S> {
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
        let mut roots = Vec::with_capacity(settings.sources.len());
        for (place, source) in settings.sources.iter().enumerate() {
            let known = catalogue.source(&source.name)?;
            shared.report().sources[place].files = known.files;
            roots.push(known.root);
        }
        let batch = Batch {
            draft: new_draft(&settings.sources)?,
            changes: Vec::new(),
            losses: Vec::new(),
            since: None,
        };
        Ok(Self {
            world,
            settings,
            catalogue,
            shared,
            sealer,
            roots,
            batch,
            looks: Looks::default(),
            patience: Patience::default(),
            round: 0,
            buffer: Vec::new(),
        })
    }

    /// Walks all sources once. When this returns, everything that was found whole is in durable bundles.
    pub fn round(&mut self) -> Result<(), IntakeError> {
        self.round += 1;
        self.heal()?;
        let mut whole = Vec::with_capacity(self.roots.len());
        for source in 0..self.roots.len() {
            whole.push(self.walk(source)?);
        }
        while self.ripen_oldest()? {}
        self.seal()?;
        for (source, walk) in whole.into_iter().enumerate() {
            if let Some(walk) = walk {
                self.removals(source, walk)?;
            }
        }
        self.report_losses()?;
        self.patience.sweep(self.round);
        self.shared.report().rounds = self.round;
        Ok(())
    }

    /// Takes an entry into the bundle in the making; seals first where that is full.
    pub(super) fn push(&mut self, entry: &Entry<'_>, change: Change) -> Result<(), IntakeError> {
        if self
            .batch
            .since
            .is_some_and(|since| self.world.uptime().saturating_sub(since) > LINGER)
        {
            self.seal()?;
        }
        match self.batch.draft.push(entry) {
            Err(PushError::Full) => {
                self.seal()?;
                self.batch.draft.push(entry).map_err(IntakeError::Draft)?;
            }
            result => result.map_err(IntakeError::Draft)?,
        }
        self.batch.since.get_or_insert(self.world.uptime());
        self.batch.changes.push(change);
        Ok(())
    }

    /// Looks a second time at the folder that waits longest, once it is ripe. `false`: none waits.
    pub(super) fn ripen_oldest(&mut self) -> Result<bool, IntakeError> {
        let Some(first_look) = self.looks.oldest() else {
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

    /// Sets a source's state and puts it into the trail where it is news.
    pub(super) fn set_state(
        &mut self,
        source: usize,
        state: SourceState,
    ) -> Result<(), IntakeError> {
        let transition = self.shared.report().set_state(source, state.clone());
        announce(
            &self.world,
            &self.settings.sources[source].name,
            transition,
            &state,
        )
    }
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
