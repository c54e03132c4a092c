//! What was applied, durably: one record of fixed length for each bundle of a box.

use super::moves::Journal;
use super::tree::Tree;
use super::{OpenFailure, output};
use bundle::{BoxName, Digest};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;

/// `<sequence, 10 digits> <digest, 64 digits>\n`
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
        // a torn last record was never confirmed: its journal is still there
        let mut state = Self {
            box_name,
            history,
            applied: length / RECORD_BYTES,
        };
        if state.applied > 0 && state.digest(state.applied)?.is_none() {
            return Err(state.damaged());
        }
        let journal = state.path("journal");
        if tree.look(&journal).map_err(&failed)?.is_some() {
            let mut text = String::new();
            tree.read(&journal)
                .and_then(|mut file| file.read_to_string(&mut text))
                .map_err(&failed)?;
            let journal = Journal::parse(&text).ok_or_else(|| OpenFailure::Journal {
                box_name: state.box_name.to_string(),
            })?;
            if journal.sequence == state.applied + 1 {
                journal
                    .execute(tree)
                    .map_err(output("continue an interrupted run"))?;
                state.commit(tree, journal.sequence, journal.digest)?;
            }
        }
        state.clean(tree)?;
        Ok(state)
    }

    /// Number of the last applied bundle; 0 for none.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// A path in this box's folder of the state.
    pub fn path(&self, below: &str) -> Vec<u8> {
        path_of(&self.box_name, below)
    }

    /// The digest of an applied bundle.
    pub fn digest(&self, sequence: u64) -> Result<Option<Digest>, OpenFailure> {
        if sequence == 0 || sequence > self.applied {
            return Ok(None);
        }
        let mut record = [0; RECORD_BYTES as usize];
        self.history
            .read_exact_at(&mut record, (sequence - 1) * RECORD_BYTES)
            .map_err(output("read the history"))?;
        let record = std::str::from_utf8(&record).map_err(|_| self.damaged())?;
        let digest = record
            .strip_prefix(&format!("{sequence:010} "))
            .and_then(|rest| rest.strip_suffix('\n'))
            .and_then(|digest| digest.parse().ok());
        digest.map(Some).ok_or_else(|| self.damaged())
    }

    fn damaged(&self) -> OpenFailure {
        OpenFailure::History {
            box_name: self.box_name.to_string(),
        }
    }

    /// Notes durably that a bundle was applied, and ends its journal.
    pub fn commit(
        &mut self,
        tree: &Tree,
        sequence: u64,
        digest: Digest,
    ) -> Result<(), OpenFailure> {
        let write = |history: &mut File| -> io::Result<()> {
            history.seek(io::SeekFrom::Start((sequence - 1) * RECORD_BYTES))?;
            history.write_all(format!("{sequence:010} {digest}\n").as_bytes())?;
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
        tree.delete_folder(&self.path("stage")).map_err(failed)
    }
}

fn path_of(box_name: &BoxName, below: &str) -> Vec<u8> {
    format!(".state/{box_name}/{below}").into_bytes()
}
