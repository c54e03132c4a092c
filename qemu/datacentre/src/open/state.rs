//! What was applied, durably, or is lost: one record of fixed length for each bundle of a box.

use super::moves::{Fate, Journal};
use super::tree::Tree;
use super::{OpenFailure, output};
use bundle::{BoxName, Digest};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;

/// `<sequence, 10 digits> <digest, 64 digits>\n`; of a lost bundle `-` in the place of the space.
const RECORD_BYTES: u64 = 76;

/// The state of one box. Holds the history open.
pub struct BoxState {
    box_name: BoxName,
    history: File,
    applied: u64,
}

impl BoxState {
    /// Loads the state; ends what an interrupted run had begun.
    pub fn load(tree: &Tree, box_name: BoxName) -> Result<Self, OpenFailure> {
        let failed = output("read the state");
        let folder = path_of(&box_name, "");
        tree.make_folder(&folder[..folder.len() - 1])
            .map_err(&failed)?;
        let history = tree.edit(&path_of(&box_name, "history")).map_err(&failed)?;
        let length = history.metadata().map_err(&failed)?.len();
        let mut state = Self {
            box_name,
            history,
            applied: length / RECORD_BYTES,
        };
        let journal = state.journal(tree)?;
        // A record that a cut left torn was never confirmed: its journal is still there. Any other damage is not ours.
        if state.applied > 0 && state.digest(state.applied).is_err() {
            match &journal {
                Some(journal) if journal.sequence == state.applied => state.applied -= 1,
                _ => return Err(state.damaged()),
            }
        }
        if let Some(journal) = journal
            && journal.sequence == state.applied + 1
        {
            journal
                .execute(tree)
                .map_err(output("continue an interrupted run"))?;
            state.commit(tree, journal.sequence, journal.digest, journal.fate)?;
        }
        state.clean(tree)?;
        Ok(state)
    }

    /// The journal of a bundle that was being applied when the last run ended.
    fn journal(&self, tree: &Tree) -> Result<Option<Journal>, OpenFailure> {
        let path = self.path("journal");
        let failed = output("read the journal");
        if tree.look(&path).map_err(&failed)?.is_none() {
            return Ok(None);
        }
        let mut text = String::new();
        tree.read(&path)
            .and_then(|mut file| file.read_to_string(&mut text))
            .map_err(&failed)?;
        let damaged = || OpenFailure::Journal {
            box_name: self.box_name.to_string(),
        };
        Journal::parse(&text).map(Some).ok_or_else(damaged)
    }

    /// Number of the last bundle that was applied or passed over as lost; 0 for none.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    pub fn box_name(&self) -> &BoxName {
        &self.box_name
    }

    /// A path in this box's folder of the state.
    pub fn path(&self, below: &str) -> Vec<u8> {
        path_of(&self.box_name, below)
    }

    /// The digest of an applied or lost bundle.
    pub fn digest(&self, sequence: u64) -> Result<Option<Digest>, OpenFailure> {
        Ok(self.record(sequence)?.map(|(digest, _)| digest))
    }

    /// Digest and fate of a bundle that was applied or passed over as lost.
    pub fn record(&self, sequence: u64) -> Result<Option<(Digest, Fate)>, OpenFailure> {
        if sequence == 0 || sequence > self.applied {
            return Ok(None);
        }
        let mut record = [0; RECORD_BYTES as usize];
        self.history
            .read_exact_at(&mut record, (sequence - 1) * RECORD_BYTES)
            .map_err(output("read the history"))?;
        let record = std::str::from_utf8(&record).map_err(|_| self.damaged())?;
        let known = [Fate::Applied, Fate::Lost].into_iter().find_map(|fate| {
            let digest = record
                .strip_prefix(&format!("{sequence:010}{}", fate.mark()))?
                .strip_suffix('\n')?;
            Some((digest.parse().ok()?, fate))
        });
        known.map(Some).ok_or_else(|| self.damaged())
    }

    /// Notes durably that the next bundle is lost. The journal makes a torn record whole again.
    pub fn pass_over(&mut self, tree: &Tree, digest: Digest) -> Result<(), OpenFailure> {
        let sequence = self.applied + 1;
        let journal = Journal {
            sequence,
            digest,
            fate: Fate::Lost,
            moves: Vec::new(),
        };
        journal
            .save(tree, &self.path("journal"))
            .map_err(output("write the journal"))?;
        self.commit(tree, sequence, digest, Fate::Lost)
    }

    fn damaged(&self) -> OpenFailure {
        OpenFailure::History {
            box_name: self.box_name.to_string(),
        }
    }

    /// Notes durably what became of a bundle, and ends its journal.
    pub fn commit(
        &mut self,
        tree: &Tree,
        sequence: u64,
        digest: Digest,
        fate: Fate,
    ) -> Result<(), OpenFailure> {
        let write = |history: &mut File| -> io::Result<()> {
            history.seek(io::SeekFrom::Start((sequence - 1) * RECORD_BYTES))?;
            history.write_all(format!("{sequence:010}{}{digest}\n", fate.mark()).as_bytes())?;
            history.sync_all()
        };
        write(&mut self.history).map_err(output("write the history"))?;
        self.applied = sequence;
        tree.delete(&self.path("journal"))
            .map_err(output("end the journal"))
    }

    /// Removes what an ended or interrupted bundle left in the stage.
    pub fn clean(&self, tree: &Tree) -> Result<(), OpenFailure> {
        let journal = self.path("journal");
        let failed = output("clean the stage");
        if tree.look(&journal).map_err(&failed)?.is_some() {
            tree.delete(&journal).map_err(&failed)?;
        }
        tree.delete_all(&self.path("stage")).map_err(failed)
    }
}

fn path_of(box_name: &BoxName, below: &str) -> Vec<u8> {
    format!(".state/{box_name}/{below}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::moves::Move;
    use super::*;

    #[test]
    fn a_record_torn_by_a_cut_is_written_again_from_the_journal() {
        for torn in [&b""[..], b"00000000", &[0; RECORD_BYTES as usize]] {
            // given a cut while the record of bundle 1 was written, before or after its file was moved
            for moved in [false, true] {
                let folder = tempfile::tempdir().unwrap();
                let tree = Tree::open(folder.path()).unwrap();
                let box_name: BoxName = "box-1".parse().unwrap();
                drop(BoxState::load(&tree, box_name.clone()).unwrap());
                tree.create(b"staged").unwrap();
                let inode = tree.look(b"staged").unwrap().unwrap().inode;
                let one = Move {
                    inode,
                    from: b"staged".to_vec(),
                    to: b"box-1/dpc/a".to_vec(),
                };
                let journal = Journal {
                    sequence: 1,
                    digest: Digest::of(b"bundle"),
                    fate: Fate::Applied,
                    moves: vec![one],
                };
                journal.save(&tree, &path_of(&box_name, "journal")).unwrap();
                if moved {
                    journal.execute(&tree).unwrap();
                }
                std::fs::write(folder.path().join(".state/box-1/history"), torn).unwrap();
                // when the next run begins
                let state = BoxState::load(&tree, box_name).unwrap();
                // then the bundle is applied
                assert_eq!(state.applied(), 1);
                assert_eq!(state.digest(1).unwrap(), Some(Digest::of(b"bundle")));
                assert!(tree.look(b"box-1/dpc/a").unwrap().is_some());
                assert!(tree.look(&state.path("journal")).unwrap().is_none());
            }
        }
    }

    #[test]
    fn a_record_of_a_loss_torn_by_a_cut_is_written_again_as_a_loss() {
        for torn in [&b""[..], b"00000000", &[0; RECORD_BYTES as usize]] {
            let folder = tempfile::tempdir().unwrap();
            let tree = Tree::open(folder.path()).unwrap();
            let box_name: BoxName = "box-1".parse().unwrap();
            drop(BoxState::load(&tree, box_name.clone()).unwrap());
            let journal = Journal {
                sequence: 1,
                digest: Digest::of(b"lost"),
                fate: Fate::Lost,
                moves: vec![],
            };
            journal.save(&tree, &path_of(&box_name, "journal")).unwrap();
            std::fs::write(folder.path().join(".state/box-1/history"), torn).unwrap();
            let state = BoxState::load(&tree, box_name).unwrap();
            assert_eq!(
                state.record(1).unwrap(),
                Some((Digest::of(b"lost"), Fate::Lost))
            );
        }
    }
}
