//! From a full draft to a committed bundle, and the recovery of whatever a cut left between.
//!
//! The order: (a) the catalogue's intent, durable: bundle N with digest D will have these changes; (b) append to the
//! spool, durable; (c) `sealed` in the trail, durable; (d) the catalogue's commit, durable.
//!
//! Why every file version goes into exactly one durable bundle, whatever is cut:
//! - Cut before (a): catalogue and spool know nothing of N; the files are new to the next walk.
//! - Cut in (a)-(b): the intent is there; the spool says "never appended" (its own recovery removed the rest). The
//!   intent is rolled back, and N is given to the next bundle. Nobody ever saw the first N: the sender reads only names
//!   that exist after the rename inside (b), and then the spool's recovery adopts it, which is the next case.
//! - Cut in (b)-(d): the spool holds N with D, or held it and it was erased against a receipt; N's record answers
//!   either way. The trail may lack the record: it is written (again), marked as recovered; then (d) is made up for.
//! - Cut after (d): nothing is open.
//!
//! No other bundle can be appended before (d) of this one, since there is one writer and one intent. So N is the newest
//! bundle, whose record the spool never lets go.

use super::collection::{Batch, Core, Shared};
use super::error::IntakeError;
use super::world::{Step, World};
use bundle::{BoxName, Closed, Digest, SealError, SealedBundle, Sealer, Signer};
use catalogue::{Catalogue, CatalogueError, Change, Intent};
use serde_json::json;
use spool::{Advice, Disk, SpoolError, Standing};
use std::time::Duration;

/// Between two attempts at something that passes by itself.
const AGAIN: Duration = Duration::from_secs(5);

/// Settles an open intent; see the header.
pub(super) fn recover<D: Disk>(
    world: &impl World,
    catalogue: &mut Catalogue,
    shared: &Shared<D>,
    box_name: &BoxName,
) -> Result<(), IntakeError> {
    if let Some(intent) = catalogue.intent()? {
        let standing = shared.spool().standing(intent.sequence, intent.sha256)?;
        let losses = catalogue.reported()?;
        match standing {
            Standing::NeverAppended => {
                catalogue.roll_back()?;
                world.log(&format!(
                    "bundle {} was not yet durable when the box went down: rolled back",
                    intent.sequence
                ));
            }
            Standing::Queued | Standing::Erased | Standing::Forgotten => {
                tell_sealed(world, box_name, &intent, &losses, true)?;
                catalogue.commit()?;
                world.log(&format!(
                    "bundle {} was durable when the box went down: committed",
                    intent.sequence
                ));
            }
            Standing::OtherDigest => {
                return Err(IntakeError::OtherBundle {
                    sequence: intent.sequence,
                });
            }
        }
    }
    let next = shared.spool().next();
    match catalogue.last_committed()? {
        // a new catalogue beside an older spool: everything is collected anew, which loses nothing
        None => Ok(()),
        // where the newest bundle's file has rotted, the catalogue knows its number and digest
        Some((last, digest)) if shared.spool().recall(last, digest) => Ok(()),
        Some((last, _)) => Err(IntakeError::Disagree {
            catalogue: last,
            spool: next.sequence - 1,
        }),
    }
}

fn tell_sealed(
    world: &impl World,
    box_name: &BoxName,
    intent: &Intent,
    losses: &[u64],
    recovered: bool,
) -> Result<(), IntakeError> {
    let mut fields = json!({
        "bundle": spool::bundle_name(box_name.as_str(), intent.sequence),
        "number": intent.sequence,
        "files": intent.entries,
        "bytes": intent.bytes,
        "sha256": Digest(intent.sha256).to_string(),
    });
    if !losses.is_empty() {
        fields["lost"] = losses.into();
    }
    if recovered {
        fields["recovered"] = true.into();
    }
    Ok(world.audit("sealed", fields)?)
}

/// What came of offering a bundle.
enum Offer {
    Committed,
    /// The reason why not now; nothing was changed.
    NotNow(String),
}

impl<D: Disk, S: Signer> Core<D, S> {
    /// Seals and commits what has been gathered, if anything. Waits for room and for the keyholder.
    pub(super) fn seal(&mut self, world: &impl World) -> Result<(), IntakeError> {
        if self.batch.draft.is_empty() {
            return Ok(());
        }
        let fresh = Batch::new(&self.sources)?;
        let batch = std::mem::replace(&mut self.batch, fresh);
        self.seal_batch(world, batch)?;
        self.sealed += 1;
        self.sealed_at = Some(world.uptime());
        Ok(())
    }

    /// Seals and commits a batch that is not empty.
    pub(super) fn seal_batch(
        &mut self,
        world: &impl World,
        batch: Batch,
    ) -> Result<(), IntakeError> {
        let Batch {
            draft,
            changes,
            losses,
            ..
        } = batch;
        let closed = draft.close().map_err(IntakeError::Draft)?;
        world.step(Step::DraftClosed)?;
        loop {
            let offer = match self.seal_once(world, &closed) {
                Ok(sealed) => self.offer(world, &closed, &sealed, &changes, &losses)?,
                Err(error) if passes(&error) => Offer::NotNow(crate::runtime::chain(&error)),
                Err(error) => return Err(IntakeError::Seal(error)),
            };
            match offer {
                Offer::Committed => break,
                Offer::NotNow(reason) => self.wait(world, &reason)?,
            }
        }
        self.resume(world)?;
        let mut report = self.shared.report();
        report.sealed += 1;
        for (place, root) in self.roots.iter().enumerate() {
            report.sources[place].files = self.catalogue.files_of(*root)?;
        }
        Ok(())
    }

    fn seal_once(&self, world: &impl World, closed: &Closed) -> Result<SealedBundle, SealError> {
        let next = self.shared.spool().next();
        seal(&self.sealer, closed, next, world.unix_seconds())
    }

    fn offer(
        &mut self,
        world: &impl World,
        closed: &Closed,
        sealed: &SealedBundle,
        changes: &[Change],
        losses: &[u64],
    ) -> Result<Offer, IntakeError> {
        let sequence = sealed.name.sequence();
        let room = self.shared.spool().room_for(sealed.bytes.len() as u64);
        if let Err(error) = room {
            return not_now(error);
        }
        let intent = Intent {
            sequence,
            sha256: sealed.sha256.0,
            entries: closed.entries() as u64,
            bytes: closed.content_bytes(),
        };
        match self.catalogue.intend_report(intent, changes, losses) {
            Ok(()) => {}
            Err(error) if error.is_full() => return Ok(Offer::NotNow(error.to_string())),
            Err(error) => return Err(error.into()),
        }
        world.step(Step::IntentWritten)?;
        let appended = self
            .shared
            .spool()
            .append(sequence, sealed.sha256.0, &sealed.bytes);
        if let Err(error) = appended {
            if error.advice() == Advice::Retry {
                self.until_done(world, Catalogue::roll_back)?;
            }
            return not_now(error);
        }
        world.step(Step::Appended)?;
        tell_sealed(world, self.sealer.box_name(), &intent, losses, false)?;
        world.step(Step::Audited)?;
        self.until_done(world, |catalogue| catalogue.commit().map(drop))?;
        world.step(Step::Committed)?;
        Ok(Offer::Committed)
    }

    /// Repeats a transaction of the catalogue until the disk has room for it.
    fn until_done(
        &mut self,
        world: &impl World,
        act: impl Fn(&mut Catalogue) -> Result<(), CatalogueError>,
    ) -> Result<(), IntakeError> {
        loop {
            match act(&mut self.catalogue) {
                Err(error) if error.is_full() => self.wait(world, &error.to_string())?,
                result => return Ok(result?),
            }
        }
    }

    /// Says once why nothing is collected, and waits a little.
    fn wait(&mut self, world: &impl World, reason: &str) -> Result<(), IntakeError> {
        let news = {
            let mut report = self.shared.report();
            report.paused.replace(reason.to_owned()).is_none()
        };
        if news {
            world.audit("collecting-paused", json!({ "reason": reason }))?;
        }
        world.step(Step::Waiting)?;
        world.pause(AGAIN);
        Ok(())
    }

    fn resume(&mut self, world: &impl World) -> Result<(), IntakeError> {
        let was_paused = self.shared.report().paused.take().is_some();
        if was_paused {
            world.audit("collecting-resumed", json!({}))?;
        }
        Ok(())
    }
}

fn seal<S: Signer>(
    sealer: &Sealer<S>,
    closed: &Closed,
    next: spool::Next,
    time: u64,
) -> Result<SealedBundle, SealError> {
    sealer.seal(closed, next.sequence, next.previous.map(Digest), time)
}

/// Whether sealing waits rather than ends the role: the keyholder restarts, the clock is set, or a certificate has come
/// to its end and the site gets another. Until then the hospital keeps the files, and the status says why.
fn passes(error: &SealError) -> bool {
    matches!(
        error,
        SealError::Sign(_)
            | SealError::CertificateTime { .. }
            | SealError::RecipientTime { .. }
            | SealError::RecipientStrength { .. }
    )
}

fn not_now(error: SpoolError) -> Result<Offer, IntakeError> {
    match error.advice() {
        Advice::Retry => Ok(Offer::NotNow(crate::runtime::chain(&error))),
        Advice::Discard | Advice::Reopen | Advice::Stop => Err(error.into()),
    }
}
