//! Deeds on any file: written anew in place, made every month, fitting no rule, removed, completed.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Done, Manner, Writer};
use crate::descent::Name;
use crate::fault::{Fault, Operation};
use crate::tree::{self, Species};
use crate::{monthly, odd};

/// Rows of DPC files, receipts in receipt files.
const MONTHLY_ROWS: u64 = 4;

impl Writer {
    pub(super) fn any_file(&self, pick: usize) -> Option<PathBuf> {
        let files = self.truth.files();
        let path = files.keys().nth(pick % files.len().max(1))?;
        Some(self.absolute(path))
    }

    pub(super) fn replace(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
        let Some(path) = self.any_file(pick) else {
            return Ok(Done::Nothing);
        };
        if !self.may_rewrite(&self.relative(&path)) {
            return Ok(Done::Nothing);
        }
        let mut bytes =
            fs::read(&path).map_err(|cause| Fault::new(Operation::Read, &path, cause))?;
        bytes.extend_from_slice(
            format!("\rNTE|{}|{:x}\r", self.number, self.random.word()).as_bytes(),
        );
        self.write(path, bytes, manner, 0)?;
        Ok(Done::Done)
    }

    pub(super) fn reoutput(&mut self, pick: usize, files: u32, same: bool) -> Result<Done, Fault> {
        let mut paths: Vec<PathBuf> = Vec::new();
        if self.older {
            regular_files(&self.standard(), files as usize, &mut paths)?;
        } else {
            let known: Vec<&Vec<u8>> = self
                .truth
                .files()
                .keys()
                .filter(|path| self.may_rewrite(path))
                .collect();
            let count = known.len().min(files as usize);
            paths.extend((0..count).map(|n| self.absolute(known[(pick + n) % known.len()])));
        }
        for path in &paths {
            let mut bytes =
                fs::read(path).map_err(|cause| Fault::new(Operation::Read, path, cause))?;
            if !same {
                bytes.extend_from_slice(format!("NTE|{}|\r", self.number).as_bytes());
            }
            self.write(path.clone(), bytes, Manner::AtOnce, 0)?;
        }
        Ok(if paths.is_empty() {
            Done::Nothing
        } else {
            Done::Done
        })
    }

    pub(super) fn dpc(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
        let seed = self.random.word();
        let months = monthly::months_before(self.now().day(), 1);
        let Some(&month) = months.first() else {
            return Ok(Done::Nothing);
        };
        let mut files = monthly::dpc(seed, &self.facility, month, MONTHLY_ROWS);
        let (name, bytes) = files.swap_remove(pick % files.len());
        self.write(self.store.dpc().join(name), bytes, manner, 0)?;
        Ok(Done::Done)
    }

    pub(super) fn receipt(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
        let seed = self.random.word();
        let months = monthly::months_before(self.now().day(), 1);
        let Some(&month) = months.first() else {
            return Ok(Done::Nothing);
        };
        let (insurer, agency) = monthly::INSURERS[pick % monthly::INSURERS.len()];
        let (name, eof) = monthly::RECEIPTS[pick / 2 % monthly::RECEIPTS.len()];
        let bytes = monthly::receipts(seed, &self.facility, agency, eof, month, MONTHLY_ROWS / 2);
        let path = self.store.receipt().join(insurer).join(name);
        self.write(path, bytes, manner, 0)?;
        Ok(Done::Done)
    }

    pub(super) fn odd(&mut self, pick: usize) -> Result<Done, Fault> {
        let (home, day) = (self.home(pick), self.now().day().to_string());
        let mut files = odd::files(self.odd, &home.id, &day);
        if files.is_empty() {
            return Ok(Done::Nothing);
        }
        let odd = files.swap_remove(pick % files.len());
        self.write(self.standard().join(odd.path), odd.bytes, Manner::AtOnce, 0)?;
        Ok(Done::Done)
    }

    pub(super) fn remove(&mut self, pick: usize) -> Result<Done, Fault> {
        let Some(path) = self.any_file(pick) else {
            return Ok(Done::Nothing);
        };
        fs::remove_file(&path).map_err(|cause| Fault::new(Operation::Remove, &path, cause))?;
        self.unfinished.retain(|file| file.path != path);
        let path = self.relative(&path);
        self.truth.removed(self.passed_ms, path)?;
        Ok(Done::Done)
    }

    pub(super) fn discard(&mut self, pick: usize) -> Result<Done, Fault> {
        // a patient's folder: nobody removes a root
        let Some(folder) = self
            .any_file(pick)
            .and_then(|path| path.parent().map(Path::to_owned))
            .filter(|folder| self.relative(folder).split(|byte| *byte == b'/').count() > 4)
        else {
            return Ok(Done::Nothing);
        };
        fs::remove_dir_all(&folder)
            .map_err(|cause| Fault::new(Operation::Remove, &folder, cause))?;
        self.unfinished
            .retain(|file| !file.path.starts_with(&folder));
        self.documents
            .retain(|held| !held.folder.starts_with(&folder));
        let below = [&self.relative(&folder)[..], b"/"].concat();
        for path in self.known_below(&below) {
            self.truth.removed(self.passed_ms, path)?;
        }
        Ok(Done::Done)
    }

    pub(super) fn mend(&mut self) -> Result<Done, Fault> {
        let torn = self.unfinished.iter().filter(|file| file.due_ms.is_none());
        if torn.count() == 0 {
            return Ok(Done::Nothing);
        }
        while let Some(place) = self
            .unfinished
            .iter()
            .position(|file| file.due_ms.is_none())
        {
            self.piece(place, true, false)?;
        }
        Ok(Done::Done)
    }
}

/// The first `limit` regular names below a folder.
fn regular_files(folder: &Path, limit: usize, found: &mut Vec<PathBuf>) -> Result<(), Fault> {
    for entry in tree::list(folder)? {
        if found.len() >= limit {
            break;
        }
        let path = folder.join(&entry.name);
        match entry.species {
            Species::Folder => regular_files(&path, limit, found)?,
            Species::File if entry.name.to_str().and_then(Name::parse).is_some() => {
                found.push(path);
            }
            _ => {}
        }
    }
    Ok(())
}
