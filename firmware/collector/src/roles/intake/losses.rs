//! Losses are reported: what a rotten bundle held and the hospital no longer has goes by name into a later manifest, sealed,
//! and then the spool lets the rotten one go. FORMAT.md of `bundle` says what the data centre makes of it.
//!
//! The order: (a) the changes of the damaged bundle are taken back, durable ([`super::heal`]); (b) walks collect them
//! again, each version into a durable bundle; (c) a notice with the rest is sealed as any bundle is, and its commit notes
//! in the catalogue which losses it reports; (d) the damaged bundle is discarded.
//!
//! Invariants
//! 1. A notice names every version of the lost bundle that is not in a durable bundle when it is sealed: the catalogue is
//!    asked, not the share. What comes later all the same is sent as usual; so a loss is named too often, never too seldom.
//! 2. A damaged bundle is discarded only after the commit of its notice. A cut before it leaves the loss without a notice,
//!    and it is reported by the next one; a cut after it leaves (d) to the next round. So no number is without either its
//!    bundle or its notice.
//! 3. What a notice reports stays in the catalogue until the notice was erased against a receipt. A notice that rots is a
//!    loss like another, and the next notice reports both.
//! 4. A loss waits for its report only while walks may still bring something: [`ROUNDS`], or while a source that it is
//!    about is missing, [`LONGEST`]. Until then the data centre waits behind the gap.

use super::collection::{Batch, Intake, named};
use super::error::IntakeError;
use super::report::SourceState;
use super::world::{Step, World};
use bundle::{Draft, Extent, Lost, LostFile, PushError, Signer};
use catalogue::{Loss, LostVersion};
use serde_json::json;
use spool::{Disk, SpoolError};
use std::time::Duration;

/// Rounds that may bring what a lost bundle held: the first finds it, and the others what was being written meanwhile.
const ROUNDS: u64 = 3;
/// A missing source is waited for so long, counted from the first round after the loss.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Rows of the catalogue looked at together.
const TOGETHER: usize = 512;
/// Kind of a source that is no longer configured.
const FORMER: &str = "former";

impl<W: World, D: Disk, S: Signer> Intake<W, D, S> {
    /// After a round: seals what there is to report, and lets the damaged bundles go.
    pub(super) fn report_losses(&mut self) -> Result<(), IntakeError> {
        loop {
            let ripe = self.ripe()?;
            if ripe.is_empty() {
                return Ok(());
            }
            let (batch, told) = self.notice(&ripe)?;
            self.world.step(Step::LossFound)?;
            self.seal_batch(batch)?;
            self.world.step(Step::LossReported)?;
            for (number, files) in told {
                self.world
                    .audit("bundle-lost", json!({ "number": number, "files": files }))?;
            }
            self.let_go()?;
        }
    }

    /// Losses without a notice for which nothing more is waited, with what they lack; as many as one look finds.
    fn ripe(&mut self) -> Result<Vec<(Loss, Vec<LostVersion>)>, IntakeError> {
        let (mut ripe, mut after, mut rows) = (Vec::new(), 0, 0);
        loop {
            let losses = self.catalogue.losses(after, TOGETHER)?;
            let Some(last) = losses.last() else {
                return Ok(ripe);
            };
            after = last.sequence;
            for loss in losses.into_iter().filter(|loss| loss.notice.is_none()) {
                let versions = self.catalogue.lost_versions(loss.sequence)?;
                if self.waits_for(&loss, &versions) {
                    continue;
                }
                rows += 1 + versions.len();
                ripe.push((loss, versions));
                if rows > bundle::ENTRY_LIMIT {
                    return Ok(ripe);
                }
            }
        }
    }

    /// Whether a walk may still bring what is missing.
    fn waits_for(&self, loss: &Loss, versions: &[LostVersion]) -> bool {
        if versions.is_empty() {
            return false;
        }
        let now = self.world.uptime();
        let (round, since) = self.shared.ward.waits_since(loss.sequence, self.round, now);
        let report = self.shared.report();
        let is_missing = |place: usize| {
            !matches!(report.sources[place].state, SourceState::Present)
                && versions
                    .iter()
                    .any(|version| version.root == self.roots[place])
        };
        let missing = (0..self.roots.len()).any(is_missing);
        self.round - round + 1 < ROUNDS || (missing && now.saturating_sub(since) < LONGEST)
    }

    /// A batch that reports as many of these as one manifest holds, and their numbers with the count of lost files.
    fn notice(
        &self,
        ripe: &[(Loss, Vec<LostVersion>)],
    ) -> Result<(Batch, Vec<(u64, usize)>), IntakeError> {
        let mut sources = named(&self.settings.sources);
        for version in ripe.iter().flat_map(|(_, versions)| versions) {
            if !sources.iter().any(|source| source.name == version.source) {
                sources.push(bundle::Source {
                    name: version.source.clone(),
                    kind: FORMER.to_owned(),
                });
            }
        }
        let mut draft = Draft::new(sources.clone()).map_err(IntakeError::Draft)?;
        let mut told = Vec::new();
        for (loss, versions) in ripe {
            let files = versions.iter().filter_map(|version| {
                Some(LostFile {
                    source: sources
                        .iter()
                        .position(|source| source.name == version.source)?,
                    path: version.path.clone(),
                    size: version.size_bytes,
                    sha256: bundle::Digest(version.sha256),
                    extent: match version.whole {
                        true => Extent::Whole,
                        false => Extent::Beginning,
                    },
                })
            });
            let lost = Lost {
                number: loss.sequence,
                sha256: bundle::Digest(loss.sha256),
                files: files.collect(),
            };
            match draft.lose(&lost) {
                Ok(()) => told.push((lost.number, lost.files.len())),
                // what one bundle held fits into a manifest that has nothing else: its lines are shorter than entries
                Err(PushError::Full) if !told.is_empty() => break,
                Err(error) => return Err(IntakeError::Draft(error)),
            }
        }
        let batch = Batch {
            draft,
            changes: Vec::new(),
            losses: told.iter().map(|(number, _)| *number).collect(),
            since: None,
        };
        Ok((batch, told))
    }

    /// Discards what a durable notice reports. One that reads whole again stays and is sent: the data centre compares it
    /// with the notice.
    pub(super) fn let_go(&mut self) -> Result<(), IntakeError> {
        let mut after = 0;
        loop {
            let losses = self.catalogue.losses(after, TOGETHER)?;
            let Some(last) = losses.last() else { break };
            after = last.sequence;
            for loss in losses {
                let Some(notice) = loss.notice else { continue };
                let gone = {
                    let mut spool = self.shared.spool();
                    let queued = spool.is_queued(loss.sequence);
                    queued.then(|| spool.discard(loss.sequence, notice))
                };
                match gone {
                    Some(Ok(())) => self.world.step(Step::Discarded)?,
                    None | Some(Err(SpoolError::NotLost { .. })) => {}
                    Some(Err(error)) => return Err(error.into()),
                }
                self.shared.ward.settled(loss.sequence);
            }
        }
        self.shared.report().damaged = self.shared.ward.damaged();
        Ok(())
    }
}
