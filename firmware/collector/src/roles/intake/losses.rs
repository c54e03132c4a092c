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
//! 4. A loss waits for its report only while walks may still bring something: until each source that it is about has come
//!    to the end of [`WALKS`] further walks, and [`LONGEST`] where that source is missing or leaves old files for another
//!    day. Until then the data centre waits behind the gap. A source that lacks nothing of it is not waited for.
//!
//! Each walker asks at the end of its turn whether something is to be reported, so whoever ends the last walk that a loss
//! waits for reports it.

use super::collection::{Batch, Core, named};
use super::error::IntakeError;
use super::report::SourceState;
use super::world::{Step, World};
use bundle::{Draft, Extent, Lost, LostFile, PushError, Signer};
use catalogue::{Loss, LostVersion};
use serde_json::json;
use spool::{Disk, SpoolError};
use std::time::Duration;

/// Walks over one source that may bring what a lost bundle held. The first may be one that was under way, or goes on after
/// a restart, and has passed the place; the second finds it, and the third what was being written meanwhile.
const WALKS: u64 = 3;
/// A source that is missing, or that has used up its quota, is waited for so long, counted from the loss.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Rows of the catalogue looked at together.
const TOGETHER: usize = 512;
/// Kind of a source that is no longer configured.
const FORMER: &str = "former";

impl<D: Disk, S: Signer> Core<D, S> {
    /// After a walk: seals what there is to report, and lets the damaged bundles go.
    pub(super) fn report_losses(&mut self, world: &impl World) -> Result<(), IntakeError> {
        loop {
            let ripe = self.ripe(world)?;
            if ripe.is_empty() {
                return Ok(());
            }
            if !self.batch.draft.is_empty() {
                // what it lacks may be in the bundle in the making
                self.seal(world)?;
                continue;
            }
            let (batch, told) = self.notice(&ripe)?;
            world.step(Step::LossFound)?;
            self.seal_batch(world, batch)?;
            world.step(Step::LossReported)?;
            for (number, files) in told {
                world.audit("bundle-lost", json!({ "number": number, "files": files }))?;
            }
            self.let_go(world)?;
        }
    }

    /// Losses without a notice for which nothing more is waited, with what they lack; as many as one look finds.
    fn ripe(&self, world: &impl World) -> Result<Vec<(Loss, Vec<LostVersion>)>, IntakeError> {
        let (mut ripe, mut after, mut rows) = (Vec::new(), 0, 0);
        loop {
            let losses = self.catalogue.losses(after, TOGETHER)?;
            let Some(last) = losses.last() else {
                return Ok(ripe);
            };
            after = last.sequence;
            for loss in losses.into_iter().filter(|loss| loss.notice.is_none()) {
                let versions = self.catalogue.lost_versions(loss.sequence)?;
                if self.waits_for(world, &loss, &versions) {
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
    fn waits_for(&self, world: &impl World, loss: &Loss, versions: &[LostVersion]) -> bool {
        let now = world.uptime();
        let wait = self.shared.ward.wait(loss.sequence, now);
        let is_recent = now.saturating_sub(wait.since) < LONGEST;
        let report = self.shared.report();
        let lacks = |root| versions.iter().any(|version| version.root == root);
        let mut sources = self.roots.iter().zip(&report.sources).zip(&wait.walks);
        sources.any(|((root, source), walks)| {
            let is_held_up = !matches!(source.state, SourceState::Present) || walks.left;
            lacks(*root)
                && match is_held_up {
                    true => is_recent,
                    false => walks.ended < WALKS,
                }
        })
    }

    /// A batch that reports as many of these as one manifest holds, and their numbers with the count of lost files.
    fn notice(
        &self,
        ripe: &[(Loss, Vec<LostVersion>)],
    ) -> Result<(Batch, Vec<(u64, usize)>), IntakeError> {
        let mut sources = named(&self.sources);
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
        let mut batch = Batch::new(&self.sources)?;
        batch.draft = draft;
        batch.losses = told.iter().map(|(number, _)| *number).collect();
        Ok((batch, told))
    }

    /// Discards what a durable notice reports. One that reads whole again stays and is sent: the data centre compares it
    /// with the notice. From here on the others wait for theirs.
    pub(super) fn let_go(&mut self, world: &impl World) -> Result<(), IntakeError> {
        let mut after = 0;
        loop {
            let losses = self.catalogue.losses(after, TOGETHER)?;
            let Some(last) = losses.last() else { break };
            after = last.sequence;
            for loss in losses {
                let Some(notice) = loss.notice else {
                    self.shared.ward.wait(loss.sequence, world.uptime());
                    continue;
                };
                let gone = {
                    let mut spool = self.shared.spool();
                    let queued = spool.is_queued(loss.sequence);
                    queued.then(|| spool.discard(loss.sequence, notice))
                };
                match gone {
                    Some(Ok(())) => world.step(Step::Discarded)?,
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
