//! Bundles that rot in the spool: found by a paced scrub, told in the trail, and collected again; what cannot be, is
//! reported to the data centre ([`super::losses`]).
//!
//! Two halves. The main thread reads the queue piece by piece ([`Scrubbing`]) and tells what is damaged. The walking
//! threads, which alone change the catalogue, take a damaged bundle's changes back, so that their next walks find them in
//! the hospital's store again and send them under a new number.
//!
//! Invariants
//! 1. Numbers and bytes of a bundle are never changed: the damaged one keeps its number, and nothing else is ever sent in
//!    its name. It keeps its place in the queue until a durable bundle reports its loss; a loss is never hidden.
//! 2. What a bundle has brought is in the catalogue until a receipt has erased it: the spool keeps the record of an
//!    erased bundle until the catalogue has noted it. A kept bundle that is neither queued nor erased has vanished.
//! 3. A bundle is collected again once. What the hospital has removed or changed since cannot be: it is reported lost.
//! 4. Nothing is decided by what was known before changes were taken back: the bundle in the making is sealed first, and what
//!    a walker has read of the catalogue is worth nothing after it ([`Core::taken_back`]).
//! 5. The scrub keeps one number over restarts. It begins a pass at most once a day and is done with one in at most
//!    [`PASS`], however long the queue is, as far as the disk can.

use super::collection::{Core, Shared};
use super::error::IntakeError;
use super::world::World;
use bundle::{Digest, Signer};
use catalogue::Catalogue;
use serde_json::json;
use spool::{Damage, Disk, Found, Progress, Scrub, Standing};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes read in a second at least: a tenth of what one disk reads beside its work.
const BYTES_A_SECOND: u64 = 1 << 20;
/// A pass over the longest queue is done in this time.
const PASS: Duration = Duration::from_secs(3 * 24 * 3600);
/// Between the beginnings of two passes.
const BETWEEN: Duration = Duration::from_secs(24 * 3600);
/// Read at once, so that the spool is not locked for long.
const STEP_BYTES: u64 = 1 << 20;
/// What even an empty bundle costs: a chunk of the scrub.
const LEAST_BYTES: u64 = 256 << 10;
/// Rows of the catalogue looked at together.
const TOGETHER: usize = 512;

/// What all threads know of damaged bundles.
pub struct Ward {
    sources: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where the pass begins; known once the catalogue is open.
    resume: Option<u64>,
    /// Number up to which it has come.
    place: u64,
    damaged: BTreeSet<u64>,
    /// Losses that wait for what further walks bring.
    waiting: BTreeMap<u64, Wait>,
}

/// What a loss has waited for so far.
#[derive(Clone, Default)]
pub(super) struct Wait {
    /// Uptime at which it was found.
    pub since: Duration,
    /// By source: what walks have done since.
    pub walks: Vec<Walks>,
}

/// Walks over one source.
#[derive(Clone, Copy, Default)]
pub(super) struct Walks {
    /// Those that came to their end and left nothing for another day.
    pub ended: u64,
    /// The last one left something.
    pub left: bool,
}

impl Ward {
    pub fn new(sources: usize) -> Self {
        Self {
            sources,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bundles that are known to be damaged and that no durable bundle reports as lost.
    pub fn damaged(&self) -> usize {
        self.state().damaged.len()
    }

    /// What this loss has waited for so far. The first call begins the wait.
    pub(super) fn wait(&self, sequence: u64, now: Duration) -> Wait {
        let begun = || Wait {
            since: now,
            walks: vec![Walks::default(); self.sources],
        };
        let mut state = self.state();
        state.waiting.entry(sequence).or_insert_with(begun).clone()
    }

    /// A walk over this source came to its end, and what it took is durable.
    pub(super) fn walked(&self, source: usize, left: bool) {
        for wait in self.state().waiting.values_mut() {
            if let Some(walks) = wait.walks.get_mut(source) {
                walks.ended += u64::from(!left);
                walks.left = left;
            }
        }
    }

    /// Nothing is left to do about this bundle.
    pub(super) fn settled(&self, sequence: u64) {
        let mut state = self.state();
        state.damaged.remove(&sequence);
        state.waiting.remove(&sequence);
    }
}

/// The pass of the main thread.
#[derive(Default)]
pub struct Scrubbing {
    scrub: Option<Scrub>,
    begun: Duration,
    last: Duration,
    credit_bytes: u64,
    resting: bool,
}

impl Scrubbing {
    /// Reads as much as the time since the last call allows, and tells what is damaged.
    pub fn beat<D: Disk>(
        &mut self,
        world: &impl World,
        shared: &Shared<D>,
    ) -> Result<(), IntakeError> {
        let now = world.uptime();
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.last, now));
        let Some(resume) = shared.ward.state().resume else {
            return Ok(());
        };
        let scrub = self.scrub.get_or_insert_with(|| Scrub::resume(resume));
        if self.resting && now.saturating_sub(self.begun) < BETWEEN {
            return Ok(());
        }
        if std::mem::take(&mut self.resting) {
            self.begun = now;
        }
        let rate = rate(&shared.spool());
        let earned = u128::from(rate) * elapsed.as_millis() / 1000;
        self.credit_bytes = self
            .credit_bytes
            .saturating_add(u64::try_from(earned).unwrap_or(u64::MAX))
            .min(rate.saturating_mul(10));
        while self.credit_bytes >= LEAST_BYTES {
            let budget = self.credit_bytes.min(STEP_BYTES);
            self.credit_bytes -= budget;
            let progress = scrub.step(&shared.spool(), budget)?;
            shared.ward.state().place = scrub.after();
            match progress {
                Progress::Going => {}
                Progress::Damaged(damage) => tell(world, shared, &damage)?,
                Progress::PassEnded => {
                    self.resting = true;
                    self.credit_bytes = 0;
                }
            }
        }
        Ok(())
    }
}

fn rate<D: Disk>(spool: &spool::Spool<D>) -> u64 {
    let bundles = spool.queued().len() as u64;
    let whole = spool.queued_bytes() + bundles * LEAST_BYTES;
    BYTES_A_SECOND.max(whole / PASS.as_secs())
}

/// Tells of a damaged bundle once while this process runs, and gives it to the walking thread.
fn tell<D: Disk>(
    world: &impl World,
    shared: &Shared<D>,
    damage: &Damage,
) -> Result<(), IntakeError> {
    let news = shared.ward.state().damaged.insert(damage.sequence);
    if !news {
        return Ok(());
    }
    let found = match damage.found {
        Found::Vanished => "nothing".to_owned(),
        Found::SizeBytes(bytes) => format!("{bytes} bytes"),
        Found::Sha256(sha256) => Digest(sha256).to_string(),
        Found::Unreadable(kind) => format!("unreadable: {kind}"),
        Found::NoRecord => "no record".to_owned(),
    };
    let expected = damage
        .expected
        .map(|bundle| Digest(bundle.sha256).to_string());
    shared.report().damaged = shared.ward.damaged();
    Ok(world.audit(
        "bundle-damaged",
        json!({ "number": damage.sequence, "found": found, "expected": expected }),
    )?)
}

/// Once, when the catalogue is open: finds what has vanished, and lets the scrub begin.
pub(super) fn begin<D: Disk>(
    world: &impl World,
    catalogue: &Catalogue,
    shared: &Shared<D>,
) -> Result<(), IntakeError> {
    let mut after = 0;
    loop {
        let losses = catalogue.losses(after, TOGETHER)?;
        let Some(last) = losses.last() else { break };
        after = last.sequence;
        // told before the box went down
        let known = losses.iter().filter(|loss| loss.notice.is_none());
        let known = known.map(|loss| loss.sequence);
        shared.ward.state().damaged.extend(known);
    }
    after = 0;
    loop {
        let kept = catalogue.kept(after, TOGETHER)?;
        let Some((last, _)) = kept.last() else { break };
        after = *last;
        for (sequence, sha256) in kept {
            let gone = {
                let spool = shared.spool();
                !spool.is_queued(sequence)
                    && matches!(spool.standing(sequence, sha256), Ok(Standing::Forgotten))
            };
            if gone {
                let damage = Damage {
                    sequence,
                    expected: Some(spool::Bundle {
                        size_bytes: 0,
                        sha256,
                    }),
                    found: Found::Vanished,
                };
                tell(world, shared, &damage)?;
            }
        }
    }
    let place = catalogue.scrub_place()?;
    let mut state = shared.ward.state();
    (state.resume, state.place) = (Some(place), place);
    Ok(())
}

impl<D: Disk, S: Signer> Core<D, S> {
    /// Before a walk: notes what was erased, and takes back what damaged bundles have brought. A full disk leaves it for
    /// the next walk.
    pub(super) fn heal(&mut self, world: &impl World) -> Result<(), IntakeError> {
        match self.try_heal(world) {
            Err(IntakeError::Catalogue(error)) if error.is_full() => Ok(()),
            result => result,
        }
    }

    fn try_heal(&mut self, world: &impl World) -> Result<(), IntakeError> {
        loop {
            let erased: Vec<u64> = self.shared.spool().erased().take(TOGETHER).collect();
            if erased.is_empty() {
                break;
            }
            self.catalogue.delivered(&erased)?;
            let mut spool = self.shared.spool();
            for sequence in &erased {
                spool.release(*sequence);
                self.shared.ward.settled(*sequence);
            }
        }
        // the newest first: each takes back what it has done to the state that the one before it made
        let damaged: Vec<u64> = self.shared.ward.state().damaged.iter().copied().collect();
        for number in damaged.iter().rev() {
            if !self.catalogue.is_kept(*number)? {
                continue;
            }
            // what is in the making may build on what is taken back, and that sees only what is known
            self.seal(world)?;
            if let Some(entries) = self.catalogue.recollect(*number)? {
                self.taken_back += 1;
                world.audit(
                    "bundle-recollected",
                    json!({ "number": number, "entries": entries }),
                )?;
            }
        }
        self.let_go(world)?;
        let place = self.shared.ward.state().place;
        if place != self.catalogue.scrub_place()? {
            self.catalogue.set_scrub_place(place)?;
        }
        Ok(())
    }
}
