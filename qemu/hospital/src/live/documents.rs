//! Deeds on extended storage: the content folder is the object.

use std::path::{Path, PathBuf};

use super::{Done, Manner, Writer};
use crate::descent;
use crate::extended::Content;
use crate::fault::Fault;
use crate::patient::Patient;
use crate::record::Flag;
use crate::words::DEPARTMENTS;

/// A content folder of this writer.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) folder: PathBuf,
    pub(super) id: String,
    pub(super) content: Content,
}

impl Writer {
    pub(super) fn document(
        &mut self,
        pick: usize,
        files: u8,
        manner: Manner,
    ) -> Result<Done, Fault> {
        let home = self.home(pick);
        let now = self.now();
        let department = self.random.below(DEPARTMENTS.len() as u64) as usize;
        let mut content = Content::invent(now, department, &mut self.random);
        (content.flag, content.files) = (Flag::Valid, files.max(1));
        let parent = [
            &home.id[..3],
            &home.id[3..6],
            &home.id,
            &content.day.to_string(),
            content.type_folder(),
        ]
        .iter()
        .fold(self.store.extended().join(&self.facility), |path, part| {
            path.join(part)
        });
        self.fill(parent, home.id, content, manner, 0)
    }

    pub(super) fn fill(
        &mut self,
        parent: PathBuf,
        id: String,
        content: Content,
        manner: Manner,
        delay_ms: u64,
    ) -> Result<Done, Fault> {
        let folder = parent.join(content.folder(&id));
        let (person, mut delay) = (Patient::of(&id), delay_ms);
        for index in 0..content.files {
            let (name, bytes) = content.file(&person, index);
            self.write(folder.join(name), bytes, manner, delay)?;
            if let Manner::Slow { gap_ms, .. } = manner {
                delay += u64::from(gap_ms);
            }
        }
        self.documents.push(Held {
            folder,
            id,
            content,
        });
        Ok(Done::Done)
    }

    /// Place of a valid content folder among the documents.
    pub(super) fn valid_document(&self, pick: usize) -> Option<usize> {
        let valid: Vec<usize> = (0..self.documents.len())
            .filter(|place| {
                let held = &self.documents[*place];
                held.content.flag == Flag::Valid && held.folder.is_dir()
            })
            .collect();
        (!valid.is_empty()).then(|| valid[pick % valid.len()])
    }

    pub(super) fn reflag_document(&mut self, place: usize, flag: Flag) -> Result<(), Fault> {
        let folder = self.documents[place].folder.clone();
        let renamed = self.reflag(&folder, flag)?;
        let held = &mut self.documents[place];
        (held.folder, held.content.flag) = (renamed, flag);
        Ok(())
    }

    pub(super) fn supersede(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
        let Some(place) = self.valid_document(pick) else {
            return Ok(Done::Nothing);
        };
        let now = self.now();
        let mut old = self.documents[place].clone();
        let next = old.content.superseded(now, &mut self.random);
        self.reflag_document(place, Flag::Past)?;
        let parent = old.folder.parent().unwrap_or(Path::new("")).to_owned();
        let delay = match manner {
            Manner::Slow { gap_ms, .. } => u64::from(gap_ms),
            _ => 0,
        };
        self.fill(parent, old.id, next, manner, delay)
    }

    pub(super) fn withdraw(&mut self, pick: usize) -> Result<Done, Fault> {
        if let Some(place) = self.valid_document(pick) {
            self.reflag_document(place, Flag::Deleted)?;
            return Ok(Done::Done);
        }
        if self.older
            && let Some((_, folder)) =
                descent::valid_content(&self.store.extended(), &mut self.random)?
        {
            self.reflag(&folder, Flag::Deleted)?;
            return Ok(Done::Done);
        }
        Ok(Done::Nothing)
    }

    pub(super) fn enclose(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
        let Some(place) = self.valid_document(pick) else {
            return Ok(Done::Nothing);
        };
        let name = format!("enclosed/scan_{}.txt", self.number);
        let path = self.documents[place].folder.join(name);
        let bytes = format!("scan {} {:x}", self.number, self.random.word()).into_bytes();
        self.write(path, bytes, manner, 0)?;
        Ok(Done::Done)
    }
}
