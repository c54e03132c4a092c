//! Applies one verified bundle: stage its files, plan, write the journal, move, note it in the history.

use super::fresh::{Fresh, Place};
use super::losses;
use super::moves::{Fate, Journal};
use super::plan::{Aside, Outcome, Plan, Staged, digest_of};
use super::report::{Fault, Report};
use super::state::BoxState;
use super::tree::{Tree, set_modified};
use super::{OpenFailure, output};
use bundle::{Digest, Facts, Named, NamedEvent, Part, VerifiedBundle};
use std::collections::BTreeSet;
use std::io::{self, Seek, Write};
use std::os::unix::fs::FileExt;

/// `NAME_MAX` of Linux' file systems.
const NAME_LIMIT_BYTES: usize = 255;

const ORPHAN: &str = "a part that continues nothing that is here; its file waits for a new version";
const BROKEN: &str =
    "the parts together do not have the digest of the whole file; it waits for a new version";
const LONG_NAME: &str = "its name is longer than this file system takes; its content is in the bundle only, so keep that";
const NO_RENAME: &str = "there is nothing to rename; a file is missing under its new name";

/// Applies the bundle after the last one.
pub fn apply(
    tree: &Tree,
    state: &mut BoxState,
    bundle: &VerifiedBundle,
    report: &mut Report,
) -> Result<(), OpenFailure> {
    let mut work = Work {
        tree,
        state,
        bundle,
        plan: Plan::new(tree),
        fresh: Fresh::new(),
        counts: Report::default(),
        done_with: BTreeSet::new(),
        any_parts: None,
        staged: 0,
    };
    work.prepare().map_err(output("stage a bundle"))?;
    let Work {
        plan,
        counts,
        done_with,
        ..
    } = work;
    let sequence = bundle.manifest().name.sequence();
    let journal = Journal {
        sequence,
        digest: bundle.sha256(),
        fate: Fate::Applied,
        moves: plan.into_moves(),
    };
    losses::record(tree, state, bundle)?;
    // everything staged is durable before the journal that refers to it
    tree.sync().map_err(output("make a bundle durable"))?;
    journal
        .save(tree, &state.path("journal"))
        .map_err(output("write the journal"))?;
    journal
        .execute(tree)
        .map_err(output("move a bundle's files into place"))?;
    state.commit(tree, sequence, bundle.sha256(), Fate::Applied)?;
    state.clean(tree)?;
    for folder in done_with {
        tree.delete_folder(&folder)
            .map_err(output("clean up parts"))?;
    }
    add(report, counts);
    Ok(())
}

/// Adds the counts of one bundle to the report of the run.
fn add(report: &mut Report, counts: Report) {
    report.bundles += 1;
    report.files += counts.files;
    report.bytes += counts.bytes;
    report.replaced += counts.replaced;
    report.unchanged += counts.unchanged;
    report.parts += counts.parts;
    report.renamed += counts.renamed;
    report.removed += counts.removed;
    report.absent += counts.absent;
    report.faults.extend(counts.faults);
}

struct Work<'a> {
    tree: &'a Tree,
    state: &'a BoxState,
    bundle: &'a VerifiedBundle,
    plan: Plan<'a>,
    fresh: Fresh<'a>,
    counts: Report,
    /// Folders of parts that are no longer needed once the bundle is applied.
    done_with: BTreeSet<Vec<u8>>,
    /// Whether there is a folder of parts, once it was looked for.
    any_parts: Option<bool>,
    staged: usize,
}

impl<'a> Work<'a> {
    /// Writes what the bundle brings beside the store and plans where it goes.
    fn prepare(&mut self) -> io::Result<()> {
        self.tree.make_folder(&self.state.path("stage"))?;
        let bundle = self.bundle;
        for (number, (named, content)) in (1..).zip(bundle.entries()) {
            self.entry(number, named, content)?;
        }
        // in the order of moves they come with their folders, so the plan need not know
        self.fresh.written(self.tree)?;
        Ok(())
    }

    /// Writes the files of fresh folders and goes on without such folders.
    fn settle(&mut self) -> io::Result<()> {
        for file in self.fresh.written(self.tree)? {
            let object = self
                .tree
                .look(&file.on_disk)?
                .ok_or(io::ErrorKind::NotFound)?;
            let staged = Staged {
                object,
                path: file.on_disk,
                digest: file.digest,
            };
            self.plan.know(file.target, staged);
        }
        Ok(())
    }

    /// Takes a whole new file into a fresh folder where that can be.
    fn is_fresh(&mut self, target: &[u8], facts: &Facts, content: &'a [u8]) -> io::Result<bool> {
        let (state, staged) = (self.state, &mut self.staged);
        let mut stage = || {
            *staged += 1;
            state.path(&format!("stage/{staged:06}"))
        };
        let place = self.fresh.put(
            self.tree,
            &mut self.plan,
            target,
            facts.sha256,
            content,
            facts.modified,
            &mut stage,
        )?;
        Ok(matches!(place, Place::Fresh))
    }

    fn entry(&mut self, number: usize, named: &Named, content: &'a [u8]) -> io::Result<()> {
        let long = |path: &[u8]| {
            path.split(|&b| b == b'/')
                .any(|c| c.len() > NAME_LIMIT_BYTES)
        };
        let from = match &named.event {
            NamedEvent::FlagChanged { from } => from.as_slice(),
            _ => b"",
        };
        if long(&named.path) || long(from) {
            self.fault(number, LONG_NAME);
            return Ok(());
        }
        let name = &self.bundle.manifest().name;
        let source = &self.bundle.manifest().sources[named.source].name;
        let root = format!("{}/{source}", name.box_name()).into_bytes();
        let place = format!("{source}/{:010}-{number:06}", name.sequence());
        let aside = Aside {
            versions: format!(".versions/{}/{place}", name.box_name()).into_bytes(),
            removed: format!(".removed/{}/{place}", name.box_name()).into_bytes(),
        };
        let target = [&root[..], b"/", &named.path].concat();
        let outcome = match &named.event {
            NamedEvent::Added(facts) | NamedEvent::Changed(facts) => {
                let whole = facts.part.is_none() && !self.continues_parts(named)?;
                if whole && self.is_fresh(&target, facts, content)? {
                    self.counts.files += 1;
                    self.counts.bytes += facts.size;
                    return Ok(());
                }
                if self.fresh.concerns(&target) {
                    self.settle()?;
                }
                let Some(staged) = self.stage(number, named, facts, content)? else {
                    return Ok(());
                };
                self.counts.files += 1;
                self.counts.bytes += staged.object.bytes;
                self.plan.put(&root, &named.path, staged, &aside)?
            }
            NamedEvent::FlagChanged { from } => {
                self.settle()?;
                let outcome = self.plan.rename(&root, from, &named.path, &aside)?;
                if outcome == Outcome::Absent {
                    self.fault(number, NO_RENAME);
                    return Ok(());
                }
                outcome
            }
            NamedEvent::Removed => {
                self.settle()?;
                self.plan.remove(&root, &named.path, &aside)?
            }
        };
        match outcome {
            Outcome::Written => {}
            Outcome::Replaced => self.counts.replaced += 1,
            Outcome::Unchanged => self.counts.unchanged += 1,
            Outcome::Renamed => self.counts.renamed += 1,
            Outcome::Removed => self.counts.removed += 1,
            Outcome::Absent => self.counts.absent += 1,
        }
        Ok(())
    }

    fn fault(&mut self, entry: usize, what: &'static str) {
        let bundle = self.bundle.manifest().name.to_string();
        self.counts.faults.push(Fault {
            bundle,
            entry,
            what,
        });
    }

    /// Writes a content beside the store. `None` where it is a part and its file is not complete.
    fn stage(
        &mut self,
        number: usize,
        named: &Named,
        facts: &Facts,
        content: &[u8],
    ) -> io::Result<Option<Staged>> {
        let parts = self.parts_of(named);
        if let Some(part) = &facts.part {
            return self.stage_part(number, facts, part, content, parts);
        }
        if self.any_parts == Some(true) && self.tree.look(&parts)?.is_some() {
            self.done_with.insert(parts);
        }
        self.staged += 1;
        let path = self.state.path(&format!("stage/{:06}", self.staged));
        let mut file = self.tree.create(&path)?;
        file.write_all(content)?;
        if let Some(modified) = facts.modified {
            set_modified(&file, modified)?;
        }
        self.staged_at(path, facts.sha256)
    }

    fn staged_at(&self, path: Vec<u8>, digest: Digest) -> io::Result<Option<Staged>> {
        let object = self.tree.look(&path)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Some(Staged {
            object,
            path,
            digest,
        }))
    }

    /// Writes a part at its place in its file. It may be there already, from a run that was interrupted.
    fn stage_part(
        &mut self,
        number: usize,
        facts: &Facts,
        part: &Part,
        content: &[u8],
        folder: Vec<u8>,
    ) -> io::Result<Option<Staged>> {
        self.counts.parts += 1;
        let version = part.version.to_string().into_bytes();
        let path = [&folder[..], b"/", &version].concat();
        let here = self.tree.look(&path)?.map_or(0, |object| object.bytes);
        if part.offset > here {
            self.fault(number, ORPHAN);
            return Ok(None);
        }
        self.any_parts = Some(true);
        self.tree.make_folder(&folder)?;
        let mut file = self.tree.edit(&path)?;
        file.write_all_at(content, part.offset)?;
        let Some(whole) = part.whole else {
            return Ok(None);
        };
        self.done_with.insert(folder);
        file.rewind()?;
        if digest_of(&mut file)? != whole {
            self.fault(number, BROKEN);
            return Ok(None);
        }
        if let Some(modified) = facts.modified {
            set_modified(&file, modified)?;
        }
        self.staged_at(path, whole)
    }

    /// Whether parts of an older version of a file are kept.
    fn continues_parts(&mut self, named: &Named) -> io::Result<bool> {
        let any = match self.any_parts {
            Some(any) => any,
            None => self.tree.look(&self.state.path("parts"))?.is_some(),
        };
        self.any_parts = Some(any);
        Ok(any && self.tree.look(&self.parts_of(named))?.is_some())
    }

    fn parts_of(&self, named: &Named) -> Vec<u8> {
        self.state.path(&format!("parts/{}", self.key(named)))
    }

    /// Name of the folder for parts of a file: neutral, of fixed length.
    fn key(&self, named: &Named) -> Digest {
        let source = self.bundle.manifest().sources[named.source].name.as_bytes();
        Digest::of(&[source, b"\0", &named.path].concat())
    }
}
