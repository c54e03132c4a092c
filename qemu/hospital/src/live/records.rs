//! Deeds on standardized storage: orders, updates, deletions, and the feed that tells of them.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Done, Manner, Writer};
use crate::calendar::Moment;
use crate::descent::{self, Found, Home, Name};
use crate::fault::Fault;
use crate::kinds::KINDS;
use crate::patient::Patient;
use crate::record::{Action, Flag, NO_ORDER, Record};
use crate::words::DEPARTMENTS;
use crate::{life, message, transaction};

/// Patients that this writer invents; few, so that deeds meet.
const PATIENTS: u64 = 5;

impl Writer {
    pub(super) fn standard(&self) -> PathBuf {
        self.store.standard().join(&self.facility)
    }

    pub(super) fn home(&self, pick: usize) -> Home {
        let id = format!("{:010}", 9_900_000_001 + pick as u64 % PATIENTS);
        Home {
            path: self.standard().join(&id[..3]).join(&id[3..6]).join(&id),
            id,
            facility: self.facility.clone(),
        }
    }

    pub(super) fn order(&mut self, pick: usize, late: bool, manner: Manner) -> Result<Done, Fault> {
        let home = if self.older && self.random.chance(60) {
            descent::patient(&self.store.standard(), &mut self.random)?
        } else {
            self.home(pick)
        };
        let kind = &KINDS[life::daily_kind(&mut self.random)];
        let mut day = self.now().day();
        if late {
            day = Moment(self.now().0 - self.random.within(1, 900) * 86_400_000).day();
        }
        let order = self.random.within(1_000_000_000_000, 900_000_000_000_000);
        let mut record = Record {
            kind,
            day: kind.dated.then_some(day),
            order: if kind.ordered { order } else { NO_ORDER },
            sent: self.now(),
            department: if kind.department {
                self.random.pick(&DEPARTMENTS).0
            } else {
                "-"
            },
            flag: Flag::Valid,
            action: Action::Insert,
            content: self.random.word(),
        };
        let folder = home.path.join(record.day_folder()).join(kind.folder);
        // a second record of one identity is an update by definition
        let mut renamed = false;
        for name in self.names(&folder)? {
            if name.order == record.order {
                record.sent = record.sent.max(name.sent.plus(1));
                if name.flag == '1' {
                    self.reflag(&folder.join(&name.text), Flag::Past)?;
                    renamed = true;
                }
            }
        }
        self.file_record(&home, &folder, &record, manner, renamed)
    }

    pub(super) fn names(&self, folder: &Path) -> Result<Vec<Name>, Fault> {
        if folder.is_dir() {
            descent::names(folder)
        } else {
            Ok(Vec::new())
        }
    }

    /// Writes a record; after a rename a slow writer pauses first.
    pub(super) fn file_record(
        &mut self,
        home: &Home,
        folder: &Path,
        record: &Record,
        manner: Manner,
        renamed: bool,
    ) -> Result<Done, Fault> {
        let bytes = message::render(&Patient::of(&home.id), record, &[]);
        let delay = match manner {
            Manner::Slow { gap_ms, .. } if renamed => u64::from(gap_ms),
            _ => 0,
        };
        self.write(folder.join(record.name(&home.id)), bytes, manner, delay)?;
        self.log(home, record)?;
        Ok(Done::Done)
    }

    /// A valid file of standardized storage.
    pub(super) fn valid(&mut self, pick: usize) -> Result<Option<Found>, Fault> {
        let root = self.relative(&self.store.standard());
        let own: Vec<&Vec<u8>> = self
            .truth
            .files()
            .keys()
            .filter(|path| path.starts_with(&root) && path.ends_with(b"_1"))
            .collect();
        if own.is_empty() || (self.older && self.random.chance(50)) {
            return if self.older {
                descent::valid_file(&self.store.standard(), &mut self.random).map(Some)
            } else {
                Ok(None)
            };
        }
        let path = self.absolute(own[pick % own.len()]);
        let found = || {
            let folder = path.parent()?;
            let home = folder.parent()?.parent()?;
            let name = Name::parse(path.file_name()?.to_str()?)?;
            let id = home.file_name()?.to_str()?.to_owned();
            let home = Home {
                path: home.to_owned(),
                id,
                facility: self.facility.clone(),
            };
            Some(Found {
                home,
                folder: folder.to_owned(),
                name,
            })
        };
        Ok(found())
    }

    pub(super) fn successor(&mut self, name: &Name, flag: Flag, action: Action) -> Record {
        let (now, content) = (self.now(), self.random.word());
        name.successor(now, flag, action, content)
    }

    pub(super) fn update(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
        let Some(found) = self.valid(pick)? else {
            return Ok(Done::Nothing);
        };
        self.reflag(&found.folder.join(&found.name.text), Flag::Past)?;
        let mut record = self.successor(&found.name, Flag::Valid, Action::Insert);
        record.sent = self.after_all(&found, record.sent)?;
        self.file_record(&found.home, &found.folder, &record, manner, true)
    }

    pub(super) fn delete(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
        let Some(found) = self.valid(pick)? else {
            return Ok(Done::Nothing);
        };
        let mut record = self.successor(&found.name, Flag::Deleted, Action::Delete);
        record.sent = self.after_all(&found, record.sent)?;
        for name in self.names(&found.folder)? {
            let same = name.order == found.name.order && name.day == found.name.day;
            if same && name.flag != '0' {
                self.reflag(&found.folder.join(&name.text), Flag::Deleted)?;
            }
        }
        self.file_record(&found.home, &found.folder, &record, manner, true)
    }

    /// A time after that of every version of the object, so that names never collide, however the clock is set.
    pub(super) fn after_all(&self, found: &Found, sent: Moment) -> Result<Moment, Fault> {
        let versions = self.names(&found.folder)?;
        let same = versions
            .iter()
            .filter(|name| name.order == found.name.order && name.day == found.name.day);
        Ok(same.fold(sent, |sent, name| sent.max(name.sent.plus(1))))
    }

    /// Renames a file or a content folder to another condition flag.
    pub(super) fn reflag(&mut self, path: &Path, flag: Flag) -> Result<PathBuf, Fault> {
        let text = path.to_string_lossy();
        let to = PathBuf::from(format!("{}{}", &text[..text.len() - 1], flag.digit()));
        self.rename(path, &to)?;
        Ok(to)
    }

    /// Appends the message to transaction storage, where the hospital keeps one.
    pub(super) fn log(&mut self, home: &Home, record: &Record) -> Result<(), Fault> {
        if !self.feed {
            return Ok(());
        }
        let path = transaction::path(&self.store, self.now().day());
        let mut bytes = fs::read(&path).unwrap_or_default();
        let entry = transaction::Entry {
            id: home.id.clone(),
            record: record.clone(),
            markers: Vec::new(),
        };
        transaction::append(&home.facility, &entry, &mut bytes);
        self.write(path, bytes, Manner::AtOnce, 0)
    }
}
