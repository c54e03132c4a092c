//! Does deeds to a store.
//!
//! Files are chosen among those that this writer has written; where there are none of the kind, and the store is older
//! than the writer, by a walk down at random.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::written::{Unfinished, make_parent};
use super::{Deed, Manner, Truth};
use crate::calendar::Moment;
use crate::descent::{self, Found, Home, Name};
use crate::extended::Content;
use crate::fault::{Fault, Operation};
use crate::kinds::KINDS;
use crate::odd::{self, Oddities};
use crate::patient::Patient;
use crate::random::Random;
use crate::record::{Action, Flag, NO_ORDER, Record};
use crate::store::Store;
use crate::tree::{self, Species};
use crate::words::DEPARTMENTS;
use crate::{life, message, monthly, transaction};

/// Purpose of the random streams.
const STREAM_LIVE: u64 = 6;
/// Patients that this writer invents; few, so that deeds meet.
const PATIENTS: u64 = 5;
/// Rows of DPC files, receipts in receipt files.
const MONTHLY_ROWS: u64 = 4;

/// Time stamps of written files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// As the file system gives them.
    Clock,
    /// As the story's clock has it, with its skew; no two are the same while the clock is not set back.
    Story,
}

/// Whether a deed found something to be done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Done,
    Nothing,
}

/// A content folder of this writer.
#[derive(Clone)]
struct Held {
    folder: PathBuf,
    id: String,
    content: Content,
}

/// The hospital's system at work.
pub struct Writer {
    store: Store,
    facility: String,
    seed: u64,
    /// Deeds so far.
    number: u64,
    /// Time that has passed, in milliseconds.
    passed_ms: u64,
    start: Moment,
    skew_seconds: i64,
    /// Writes so far: makes story stamps differ.
    writes: u32,
    stamps: Stamps,
    /// The store holds files that this writer does not know of.
    older: bool,
    feed: bool,
    odd: Oddities,
    documents: Vec<Held>,
    unfinished: Vec<Unfinished>,
    truth: Truth,
    random: Random,
}

impl Writer {
    /// A system that begins to write at `start` in the store below `folder`, for this facility.
    pub fn new(seed: u64, folder: &Path, facility: &str, start: Moment, stamps: Stamps) -> Writer {
        let store = Store::at(folder);
        Writer {
            older: fs::read_dir(store.standard().join(facility)).is_ok_and(|mut entries| {
                entries.any(|entry| entry.is_ok_and(|at| at.path().is_dir()))
            }),
            feed: store.transaction().exists(),
            store,
            facility: facility.to_owned(),
            seed,
            number: 0,
            passed_ms: 0,
            start,
            skew_seconds: 0,
            writes: 0,
            stamps,
            odd: Oddities::All,
            documents: Vec::new(),
            unfinished: Vec::new(),
            truth: Truth::default(),
            random: Random::new(&[seed, STREAM_LIVE]),
        }
    }

    /// Which odd files [`Deed::Odd`] writes: not every share carries every name.
    pub fn set_oddities(&mut self, odd: Oddities) {
        self.odd = odd;
    }

    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Keeps the truth in a file from now on.
    pub fn log_truth(&mut self, path: &Path) -> Result<(), Fault> {
        self.truth.log_to(path)
    }

    /// Time that has passed, in milliseconds.
    pub fn passed_ms(&self) -> u64 {
        self.passed_ms
    }

    /// When the next piece of a slow file falls due.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.unfinished.iter().filter_map(|file| file.due_ms).min()
    }

    /// Lets time pass up to `until_ms`; pieces of slow files are written as they fall due.
    pub fn pass(&mut self, until_ms: u64) -> Result<(), Fault> {
        while let Some(due) = self.next_due_ms().filter(|due| *due <= until_ms) {
            self.passed_ms = self.passed_ms.max(due);
            if let Some(place) = self
                .unfinished
                .iter()
                .position(|file| file.due_ms == Some(due))
            {
                self.piece(place, false, false)?;
            }
        }
        self.passed_ms = self.passed_ms.max(until_ms);
        Ok(())
    }

    /// Lets time pass until no file is on its way, and completes what was left torn.
    pub fn finish(&mut self) -> Result<(), Fault> {
        while let Some(due) = self.next_due_ms() {
            self.pass(due)?;
        }
        self.mend().map(drop)
    }

    /// Does a deed, now.
    pub fn act(&mut self, deed: &Deed) -> Result<Done, Fault> {
        self.number += 1;
        let pick = match *deed {
            Deed::Order { pick, .. }
            | Deed::Update { pick, .. }
            | Deed::Delete { pick, .. }
            | Deed::Document { pick, .. }
            | Deed::Supersede { pick, .. }
            | Deed::Withdraw { pick }
            | Deed::Enclose { pick, .. }
            | Deed::Replace { pick, .. }
            | Deed::Reoutput { pick, .. }
            | Deed::Dpc { pick, .. }
            | Deed::Receipt { pick, .. }
            | Deed::Odd { pick }
            | Deed::Remove { pick }
            | Deed::Discard { pick } => usize::from(pick),
            Deed::Mend | Deed::Skew { .. } => 0,
        };
        self.random = Random::new(&[self.seed, STREAM_LIVE, self.number, pick as u64]);
        match *deed {
            Deed::Order { late, manner, .. } => self.order(pick, late, manner),
            Deed::Update { manner, .. } => self.update(pick, manner),
            Deed::Delete { manner, .. } => self.delete(pick, manner),
            Deed::Document { files, manner, .. } => self.document(pick, files, manner),
            Deed::Supersede { manner, .. } => self.supersede(pick, manner),
            Deed::Withdraw { .. } => self.withdraw(pick),
            Deed::Enclose { manner, .. } => self.enclose(pick, manner),
            Deed::Replace { manner, .. } => self.replace(pick, manner),
            Deed::Reoutput { files, same, .. } => self.reoutput(pick, files, same),
            Deed::Dpc { manner, .. } => self.dpc(pick, manner),
            Deed::Receipt { manner, .. } => self.receipt(pick, manner),
            Deed::Odd { .. } => self.odd(pick),
            Deed::Remove { .. } => self.remove(pick),
            Deed::Discard { .. } => self.discard(pick),
            Deed::Mend => self.mend(),
            Deed::Skew { seconds } => {
                self.skew_seconds += i64::from(seconds);
                Ok(Done::Done)
            }
        }
    }

    /// The story's time, as this server's clock shows it.
    fn now(&self) -> Moment {
        let shifted = self
            .start
            .plus(self.passed_ms)
            .0
            .saturating_add_signed(self.skew_seconds * 1000);
        Moment(shifted)
    }

    // --- standardized storage

    fn standard(&self) -> PathBuf {
        self.store.standard().join(&self.facility)
    }

    fn home(&self, pick: usize) -> Home {
        let id = format!("{:010}", 9_900_000_001 + pick as u64 % PATIENTS);
        Home {
            path: self.standard().join(&id[..3]).join(&id[3..6]).join(&id),
            id,
            facility: self.facility.clone(),
        }
    }

    fn order(&mut self, pick: usize, late: bool, manner: Manner) -> Result<Done, Fault> {
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

    fn names(&self, folder: &Path) -> Result<Vec<Name>, Fault> {
        if folder.is_dir() {
            descent::names(folder)
        } else {
            Ok(Vec::new())
        }
    }

    /// Writes a record; after a rename a slow writer pauses first.
    fn file_record(
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
    fn valid(&mut self, pick: usize) -> Result<Option<Found>, Fault> {
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

    fn successor(&mut self, name: &Name, flag: Flag, action: Action) -> Record {
        let (now, content) = (self.now(), self.random.word());
        name.successor(now, flag, action, content)
    }

    fn update(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
        let Some(found) = self.valid(pick)? else {
            return Ok(Done::Nothing);
        };
        self.reflag(&found.folder.join(&found.name.text), Flag::Past)?;
        let mut record = self.successor(&found.name, Flag::Valid, Action::Insert);
        record.sent = self.after_all(&found, record.sent)?;
        self.file_record(&found.home, &found.folder, &record, manner, true)
    }

    fn delete(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
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
    fn after_all(&self, found: &Found, sent: Moment) -> Result<Moment, Fault> {
        let versions = self.names(&found.folder)?;
        let same = versions
            .iter()
            .filter(|name| name.order == found.name.order && name.day == found.name.day);
        Ok(same.fold(sent, |sent, name| sent.max(name.sent.plus(1))))
    }

    /// Renames a file or a content folder to another condition flag.
    fn reflag(&mut self, path: &Path, flag: Flag) -> Result<PathBuf, Fault> {
        let text = path.to_string_lossy();
        let to = PathBuf::from(format!("{}{}", &text[..text.len() - 1], flag.digit()));
        self.rename(path, &to)?;
        Ok(to)
    }

    /// Appends the message to transaction storage, where the hospital keeps one.
    fn log(&mut self, home: &Home, record: &Record) -> Result<(), Fault> {
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

    // --- extended storage

    fn document(&mut self, pick: usize, files: u8, manner: Manner) -> Result<Done, Fault> {
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

    fn fill(
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
    fn valid_document(&self, pick: usize) -> Option<usize> {
        let valid: Vec<usize> = (0..self.documents.len())
            .filter(|place| {
                let held = &self.documents[*place];
                held.content.flag == Flag::Valid && held.folder.is_dir()
            })
            .collect();
        (!valid.is_empty()).then(|| valid[pick % valid.len()])
    }

    fn reflag_document(&mut self, place: usize, flag: Flag) -> Result<(), Fault> {
        let folder = self.documents[place].folder.clone();
        let renamed = self.reflag(&folder, flag)?;
        let held = &mut self.documents[place];
        (held.folder, held.content.flag) = (renamed, flag);
        Ok(())
    }

    fn supersede(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
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

    fn withdraw(&mut self, pick: usize) -> Result<Done, Fault> {
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

    fn enclose(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
        let Some(place) = self.valid_document(pick) else {
            return Ok(Done::Nothing);
        };
        let name = format!("enclosed/scan_{}.txt", self.number);
        let path = self.documents[place].folder.join(name);
        let bytes = format!("scan {} {:x}", self.number, self.random.word()).into_bytes();
        self.write(path, bytes, manner, 0)?;
        Ok(Done::Done)
    }

    // --- files in place, monthly files, odd files

    fn any_file(&self, pick: usize) -> Option<PathBuf> {
        let files = self.truth.files();
        let path = files.keys().nth(pick % files.len().max(1))?;
        Some(self.absolute(path))
    }

    fn replace(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
        let Some(path) = self.any_file(pick) else {
            return Ok(Done::Nothing);
        };
        let mut bytes =
            fs::read(&path).map_err(|cause| Fault::new(Operation::Read, &path, cause))?;
        bytes.extend_from_slice(
            format!("\rNTE|{}|{:x}\r", self.number, self.random.word()).as_bytes(),
        );
        self.write(path, bytes, manner, 0)?;
        Ok(Done::Done)
    }

    fn reoutput(&mut self, pick: usize, files: u32, same: bool) -> Result<Done, Fault> {
        let mut paths: Vec<PathBuf> = Vec::new();
        if self.older {
            regular_files(&self.standard(), files as usize, &mut paths)?;
        } else {
            let known: Vec<&Vec<u8>> = self.truth.files().keys().collect();
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

    fn dpc(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
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

    fn receipt(&mut self, pick: usize, manner: Manner) -> Result<Done, Fault> {
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

    fn odd(&mut self, pick: usize) -> Result<Done, Fault> {
        let (home, day) = (self.home(pick), self.now().day().to_string());
        let mut files = odd::files(self.odd, &home.id, &day);
        if files.is_empty() {
            return Ok(Done::Nothing);
        }
        let odd = files.swap_remove(pick % files.len());
        self.write(self.standard().join(odd.path), odd.bytes, Manner::AtOnce, 0)?;
        Ok(Done::Done)
    }

    fn remove(&mut self, pick: usize) -> Result<Done, Fault> {
        let Some(path) = self.any_file(pick) else {
            return Ok(Done::Nothing);
        };
        fs::remove_file(&path).map_err(|cause| Fault::new(Operation::Remove, &path, cause))?;
        self.unfinished.retain(|file| file.path != path);
        let path = self.relative(&path);
        self.truth.removed(self.passed_ms, path)?;
        Ok(Done::Done)
    }

    fn discard(&mut self, pick: usize) -> Result<Done, Fault> {
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

    fn mend(&mut self) -> Result<Done, Fault> {
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

    // --- the disk

    fn write(
        &mut self,
        path: PathBuf,
        bytes: Vec<u8>,
        manner: Manner,
        delay_ms: u64,
    ) -> Result<(), Fault> {
        self.unfinished.retain(|file| file.path != path);
        let start = self.passed_ms + delay_ms;
        self.unfinished
            .push(Unfinished::new(path, bytes, manner, start));
        if delay_ms > 0 {
            return Ok(());
        }
        let place = self.unfinished.len() - 1;
        self.piece(place, false, manner == Manner::Torn)
    }

    /// Writes the next piece, or with `all` the rest, of an unfinished file.
    fn piece(&mut self, place: usize, all: bool, torn: bool) -> Result<(), Fault> {
        let stamp = self.stamp();
        let file = &mut self.unfinished[place];
        let path = file
            .path
            .strip_prefix(self.store.root())
            .unwrap_or(&file.path)
            .as_os_str()
            .as_bytes()
            .to_vec();
        let (bytes, whole) = file.write(all, torn, stamp)?;
        self.truth.written(self.passed_ms, path, bytes, whole)?;
        if whole {
            self.unfinished.swap_remove(place);
        }
        Ok(())
    }

    fn stamp(&mut self) -> Option<SystemTime> {
        self.writes += 1;
        // the count in the digits below a millisecond: two writes in one are told apart, as file systems do
        let fine = Duration::from_nanos(u64::from(self.writes % 10_000) * 100);
        (self.stamps == Stamps::Story).then(|| self.now().system_time() + fine)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Fault> {
        // a folder whose first file is still to come
        if !from.exists() {
            make_parent(to)?;
        } else {
            fs::rename(from, to).map_err(|cause| Fault::new(Operation::Rename, from, cause))?;
        }
        for file in &mut self.unfinished {
            if let Ok(rest) = file.path.strip_prefix(from) {
                file.path = if rest.as_os_str().is_empty() {
                    to.to_owned()
                } else {
                    to.join(rest)
                };
            }
        }
        let (from, to) = (self.relative(from), self.relative(to));
        let mut moved = self.known_below(&[&from[..], b"/"].concat());
        if self.truth.files().contains_key(&from) {
            moved.push(from.clone());
        }
        for path in moved {
            let target = [&to[..], &path[from.len()..]].concat();
            self.truth.renamed(self.passed_ms, path, target)?;
        }
        Ok(())
    }

    fn known_below(&self, below: &[u8]) -> Vec<Vec<u8>> {
        let known: &BTreeMap<Vec<u8>, bool> = self.truth.files();
        known
            .range(below.to_vec()..)
            .take_while(|(path, _)| path.starts_with(below))
            .map(|(path, _)| path.clone())
            .collect()
    }

    fn relative(&self, path: &Path) -> Vec<u8> {
        let below = path.strip_prefix(self.store.root()).unwrap_or(path);
        below.as_os_str().as_bytes().to_vec()
    }

    fn absolute(&self, path: &[u8]) -> PathBuf {
        self.store.root().join(std::ffi::OsStr::from_bytes(path))
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
