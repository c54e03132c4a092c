//! A later stretch of the hospital's life on an existing store.
//!
//! Invariants
//! 1. Updates and deletions follow the renaming rules of [`crate::record`]; between the two steps of an update no valid
//!    version exists, as in the field.
//! 2. The same seed on the same store does the same; no register beside the store is needed.
//! 3. What is told about it are counts: paths hold patient IDs.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::calendar::{Day, Moment};
use crate::descent::{self, Home, Name};
use crate::extended::Content;
use crate::fault::{Fault, Operation};
use crate::kinds::{KINDS, Kind};
use crate::life;
use crate::message;
use crate::monthly;
use crate::patient::Patient;
use crate::pen::{Pen, Writing};
use crate::plan::EARLIEST;
use crate::random::Random;
use crate::record::{Action, Flag, NO_ORDER, Record};
use crate::store::Store;
use crate::torn;
use crate::transaction;
use crate::words::DEPARTMENTS;

/// Purpose of the random stream.
const STREAM_CHANGE: u64 = 5;
/// Receipts and rows in regenerated monthly files.
const MONTHLY_ROWS: u64 = 40;

/// What is to happen.
#[derive(Clone, Debug)]
pub struct Change {
    pub seed: u64,
    /// The day it happens, in the story.
    pub day: Day,
    /// New orders, results and documents; some filed under old dates, some of new patients.
    pub add: u64,
    pub update: u64,
    pub delete: u64,
    /// Files written anew in place, under the same name.
    pub replace: u64,
    /// How many of the added files are left half-written.
    pub torn: u64,
    /// Where the missing parts of torn files are kept for [`crate::finish`]; needed with `torn`.
    pub unfinished: Option<PathBuf>,
    /// Also write the month's DPC files and the receipts, these over the old ones.
    pub monthly: bool,
    pub writing: Writing,
    /// Stamp files with the story's time instead of the clock's.
    pub story_time: bool,
}

impl Change {
    /// Nothing on the day after the default story of [`crate::Spec`].
    pub fn new(seed: u64) -> Change {
        Change {
            seed,
            day: Day(19_814 + 365),
            add: 0,
            update: 0,
            delete: 0,
            replace: 0,
            torn: 0,
            unfinished: None,
            monthly: false,
            writing: Writing::AtOnce,
            story_time: false,
        }
    }
}

/// What has happened, in counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changed {
    pub added: u64,
    pub updated: u64,
    pub deleted: u64,
    pub replaced: u64,
    /// Content folders of extended storage added, among `added`.
    pub contents: u64,
    /// Added into a date before the day of the change, among `added`.
    pub late: u64,
    /// Left half-written, among `added`.
    pub torn: u64,
    /// Files and content folders renamed.
    pub renamed: u64,
    /// Files written, new or anew.
    pub files: u64,
    pub bytes: u64,
}

/// Changes the store below `folder`.
pub fn change(wanted: &Change, folder: &Path) -> Result<Changed, Fault> {
    if wanted.torn > wanted.add || (wanted.torn > 0 && wanted.unfinished.is_none()) {
        let what = "torn files are part of the added ones and need a file for their missing parts";
        return Err(Fault::Request(what.to_owned()));
    }
    if wanted.day < EARLIEST {
        return Err(Fault::Request(
            "a change happens in 2000 or later".to_owned(),
        ));
    }
    let mut deeds = Vec::new();
    for (deed, count) in [
        (Deed::Add, wanted.add),
        (Deed::Update, wanted.update),
        (Deed::Delete, wanted.delete),
        (Deed::Replace, wanted.replace),
    ] {
        deeds.extend((0..count).map(|_| deed));
    }
    let mut random = Random::new(&[wanted.seed, STREAM_CHANGE]);
    for last in (1..deeds.len()).rev() {
        deeds.swap(last, random.below(last as u64 + 1) as usize);
    }
    let mut hospital = Hospital {
        store: Store::at(folder),
        wanted,
        pen: Pen {
            writing: wanted.writing,
            story_time: wanted.story_time,
        },
        now: wanted.day.at(8 * 3_600_000 + 30 * 60_000),
        step: 9 * 3_600_000 / (deeds.len() as u64 + 1) + 2,
        random,
        changed: Changed::default(),
    };
    for deed in deeds {
        hospital.now = hospital.now.plus(hospital.random.within(1, hospital.step));
        match deed {
            Deed::Add => hospital.add()?,
            Deed::Update => hospital.update()?,
            Deed::Delete => hospital.delete()?,
            Deed::Replace => hospital.replace()?,
        }
    }
    if wanted.monthly {
        hospital.monthly()?;
    }
    Ok(hospital.changed)
}

#[derive(Clone, Copy)]
enum Deed {
    Add,
    Update,
    Delete,
    Replace,
}

struct Hospital<'a> {
    store: Store,
    wanted: &'a Change,
    pen: Pen,
    now: Moment,
    /// Longest time between two deeds, in milliseconds of the story.
    step: u64,
    random: Random,
    changed: Changed,
}

impl Hospital<'_> {
    fn add(&mut self) -> Result<(), Fault> {
        self.changed.added += 1;
        let torn = self.changed.torn < self.wanted.torn;
        if !torn && self.random.chance(5) && self.add_content()? {
            return Ok(());
        }
        let mut home = descent::patient(&self.store.standard(), &mut self.random)?;
        let mut kind = &KINDS[life::daily_kind(&mut self.random)];
        if self.random.chance(3) {
            // New patients get numbers above all that `make` gives.
            let id = format!("{:010}", 9_100_000_000 + self.random.below(800_000_000));
            let root = self.store.standard().join(&home.facility);
            home = Home {
                path: root.join(&id[..3]).join(&id[3..6]).join(&id),
                id,
                facility: home.facility,
            };
            kind = &KINDS[0];
        }
        let mut record = self.new_record(kind, &home)?;
        let folder = home.path.join(record.day_folder()).join(record.kind.folder);
        self.displace(&folder, &mut record)?;
        fs::create_dir_all(&folder)
            .map_err(|cause| Fault::new(Operation::MakeFolder, &folder, cause))?;
        if torn {
            self.write_torn(&home, &folder, &record)
        } else {
            self.write(&home, &folder, &record)
        }
    }

    /// A second record of one identity (types without order numbers have but one a day) is an update by definition.
    fn displace(&mut self, folder: &Path, record: &mut Record) -> Result<(), Fault> {
        if !folder.exists() {
            return Ok(());
        }
        for name in descent::names(folder)?
            .iter()
            .filter(|name| name.order == record.order)
        {
            record.sent = record.sent.max(name.sent.plus(1));
            if name.flag == '1' {
                self.rename(folder, name, Flag::Past)?;
            }
        }
        Ok(())
    }

    fn new_record(&mut self, kind: &'static Kind, home: &Home) -> Result<Record, Fault> {
        let mut day = self.wanted.day;
        if home.path.exists() && self.random.chance(20) {
            // A late write into a date that the patient has already.
            let old = descent::subfolder(&home.path, &mut self.random)?;
            let old = old
                .as_deref()
                .and_then(Path::file_name)
                .and_then(|name| Day::parse(name.to_str()?));
            if let Some(old) = old.filter(|_| kind.dated && kind.ordered) {
                day = old;
                self.changed.late += 1;
            }
        }
        let order = self.random.within(1_000_000_000_000, 900_000_000_000_000);
        Ok(Record {
            kind,
            day: kind.dated.then_some(day),
            order: if kind.ordered { order } else { NO_ORDER },
            sent: self.now,
            department: if kind.department {
                self.random.pick(&DEPARTMENTS).0
            } else {
                "-"
            },
            flag: Flag::Valid,
            action: Action::Insert,
            content: self.random.word(),
        })
    }

    fn update(&mut self) -> Result<(), Fault> {
        self.changed.updated += 1;
        let found = descent::valid_file(&self.store.standard(), &mut self.random)?;
        self.rename(&found.folder, &found.name, Flag::Past)?;
        let record = self.successor(&found.name, Flag::Valid, Action::Insert);
        self.write(&found.home, &found.folder, &record)
    }

    fn delete(&mut self) -> Result<(), Fault> {
        self.changed.deleted += 1;
        if self.random.chance(8)
            && self.store.extended().exists()
            && let Some((_, content)) =
                descent::valid_content(&self.store.extended(), &mut self.random)?
            && self.delete_content(&content)?
        {
            return Ok(());
        }
        let found = descent::valid_file(&self.store.standard(), &mut self.random)?;
        let same = |name: &Name| {
            name.order == found.name.order && name.day == found.name.day && name.flag != '0'
        };
        for name in descent::names(&found.folder)?
            .iter()
            .filter(|name| same(name))
        {
            self.rename(&found.folder, name, Flag::Deleted)?;
        }
        let record = self.successor(&found.name, Flag::Deleted, Action::Delete);
        self.write(&found.home, &found.folder, &record)
    }

    /// Of extended storage only the content folder is renamed; false where one of that name was deleted before.
    fn delete_content(&mut self, content: &Path) -> Result<bool, Fault> {
        let fault = |cause| Fault::new(Operation::Rename, content, cause);
        let renamed = with_flag(content, Flag::Deleted);
        if renamed.exists() {
            return Ok(false);
        }
        fs::rename(content, renamed).map_err(fault)?;
        self.changed.renamed += 1;
        Ok(true)
    }

    fn replace(&mut self) -> Result<(), Fault> {
        self.changed.replaced += 1;
        let found = descent::valid_file(&self.store.standard(), &mut self.random)?;
        let mut record = self.successor(&found.name, Flag::Valid, Action::Insert);
        record.sent = found.name.sent;
        let bytes = message::render(&Patient::of(&found.home.id), &record, &[]);
        let path = found.folder.join(&found.name.text);
        self.pen
            .replace(&path, &bytes, self.now, &mut self.random)?;
        self.count(bytes.len());
        Ok(())
    }

    /// The record that follows the one named `name`.
    fn successor(&mut self, name: &Name, flag: Flag, action: Action) -> Record {
        let (now, content) = (self.now, self.random.word());
        name.successor(now, flag, action, content)
    }

    fn rename(&mut self, folder: &Path, name: &Name, flag: Flag) -> Result<(), Fault> {
        let from = folder.join(&name.text);
        let to = with_flag(&from, flag);
        fs::rename(&from, to).map_err(|cause| Fault::new(Operation::Rename, &from, cause))?;
        self.changed.renamed += 1;
        Ok(())
    }

    fn write(&mut self, home: &Home, folder: &Path, record: &Record) -> Result<(), Fault> {
        let bytes = message::render(&Patient::of(&home.id), record, &[]);
        self.pen.create(
            &folder.join(record.name(&home.id)),
            &bytes,
            record.sent,
            &mut self.random,
        )?;
        self.count(bytes.len());
        self.log(home, record)
    }

    fn count(&mut self, bytes: usize) {
        self.changed.files += 1;
        self.changed.bytes += bytes as u64;
    }

    /// Appends the message to transaction storage, where the hospital keeps one.
    fn log(&mut self, home: &Home, record: &Record) -> Result<(), Fault> {
        if !self.store.transaction().exists() {
            return Ok(());
        }
        let path = transaction::path(&self.store, self.wanted.day);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .map_err(|cause| Fault::new(Operation::MakeFolder, folder, cause))?;
        }
        let entry = transaction::Entry {
            id: home.id.clone(),
            record: record.clone(),
            markers: Vec::new(),
        };
        let mut bytes = Vec::new();
        transaction::append(&home.facility, &entry, &mut bytes);
        self.pen.append(&path, &bytes, self.now, &mut self.random)
    }

    /// A content folder for a patient of standardized storage; false where the hospital has no extended storage.
    fn add_content(&mut self) -> Result<bool, Fault> {
        let home = descent::patient(&self.store.standard(), &mut self.random)?;
        let root = self.store.extended().join(&home.facility);
        if !root.exists() {
            return Ok(false);
        }
        let department = self.random.below(DEPARTMENTS.len() as u64) as usize;
        let mut content = Content::invent(self.now, department, &mut self.random);
        content.flag = Flag::Valid;
        let patient = root.join(&home.id[..3]).join(&home.id[3..6]).join(&home.id);
        let folder = patient
            .join(content.day.to_string())
            .join(content.type_folder())
            .join(content.folder(&home.id));
        fs::create_dir_all(&folder)
            .map_err(|cause| Fault::new(Operation::MakeFolder, &folder, cause))?;
        let person = Patient::of(&home.id);
        for index in 0..content.files {
            let (name, bytes) = content.file(&person, index);
            self.pen
                .create(&folder.join(name), &bytes, content.sent, &mut self.random)?;
            self.count(bytes.len());
        }
        self.changed.contents += 1;
        Ok(true)
    }

    fn monthly(&mut self) -> Result<(), Fault> {
        let Some(&month) = monthly::months_before(self.wanted.day, 1).first() else {
            return Ok(());
        };
        let facility = descent::patient(&self.store.standard(), &mut self.random)?.facility;
        let mut files: Vec<(PathBuf, Vec<u8>)> =
            monthly::dpc(self.wanted.seed, &facility, month, MONTHLY_ROWS)
                .into_iter()
                .map(|(name, bytes)| (self.store.dpc().join(name), bytes))
                .collect();
        for (insurer, agency) in monthly::INSURERS {
            for (name, eof) in monthly::RECEIPTS {
                let bytes = monthly::receipts(
                    self.wanted.seed,
                    &facility,
                    agency,
                    eof,
                    month,
                    MONTHLY_ROWS / 4,
                );
                files.push((self.store.receipt().join(insurer).join(name), bytes));
            }
        }
        for (path, bytes) in files {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)
                    .map_err(|cause| Fault::new(Operation::MakeFolder, folder, cause))?;
            }
            self.pen
                .replace(&path, &bytes, self.now, &mut self.random)?;
            self.count(bytes.len());
        }
        Ok(())
    }

    /// Writes the first part of a file and notes the rest for [`torn::finish`].
    fn write_torn(&mut self, home: &Home, folder: &Path, record: &Record) -> Result<(), Fault> {
        let bytes = message::render(&Patient::of(&home.id), record, &[]);
        let cut = self.random.within(1, bytes.len() as u64 - 1) as usize;
        let path = folder.join(record.name(&home.id));
        if let Some(list) = &self.wanted.unfinished {
            torn::note(list, &path, &bytes, cut)?;
        }
        self.pen
            .create(&path, &bytes[..cut], self.now, &mut self.random)?;
        self.changed.torn += 1;
        self.count(cut);
        self.log(home, record)
    }
}

/// The path of a file or content folder with another condition flag.
fn with_flag(path: &Path, flag: Flag) -> PathBuf {
    let name = path.to_string_lossy();
    PathBuf::from(format!("{}{}", &name[..name.len() - 1], flag.digit()))
}
