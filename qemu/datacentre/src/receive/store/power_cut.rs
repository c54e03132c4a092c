//! The store on a disk that forgets: every change of a run is recorded, the mains are cut after each, and a new store on
//! what such a disk may hold must have everything that was acknowledged.
//!
//! The disk is the plainest model of what [`super::disk`] assumes: a file's bytes are durable after its sync, a name
//! after the sync of its folder; of the rest anything may be there, files torn or filled with zeros included. A sync
//! that fails loses the bytes for good, and the next one claims success.
//!
//! `COLLECTOR_TEST_LENGTH=full`: more mixed states for each cut, and cuts after each change of the second run.

use super::disk::{Change, Disk};
use super::{Announcement, Finished, Found, Shares, Store, StoreError, hex};
use aws_lc_rs::digest::{SHA256, digest};
use bundle::{BundleName, LocalSigner};
use bytes::Bytes;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use upload::receipt::statement;
use x509_cert::Certificate;

/// Bytes of one chunk of the client in these tests.
const CHUNK: usize = 400;

fn is_full() -> bool {
    std::env::var("COLLECTOR_TEST_LENGTH").is_ok_and(|length| length == "full")
}

/// Name and bytes of what the client delivers, in this order.
fn bundles() -> Vec<(BundleName, Vec<u8>)> {
    [
        ("north-1-0000000001.cms", 1000),
        ("south-1-0000000001.cms", 300),
        ("north-1-0000000002.cms", 0),
    ]
    .into_iter()
    .map(|(name, length)| {
        let bytes = (0..length).map(|n| (n * 7 + length) as u8 | 1);
        (name.parse().unwrap(), bytes.collect())
    })
    .collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// What signs the receipts.
struct Signing(Certificate, String);

impl Signing {
    fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut parameters = CertificateParams::default();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "receipts");
        let pem = parameters.self_signed(&key).unwrap().pem();
        let certificate = bundle::signed::certificate_from_pem(pem.as_bytes()).unwrap();
        Self(certificate, key.serialize_pem())
    }

    fn store(&self, root: &Path, disk: Disk) -> Result<Store, StoreError> {
        let key = LocalSigner::from_pem(self.1.as_bytes()).unwrap();
        Store::over(disk, root, self.0.clone(), Box::new(key))
    }
}

/// What the server does for a client that goes on until it has a receipt, or until the disk refuses.
fn deliver(store: &Store, name: &BundleName, bytes: &[u8]) -> Result<Finished, StoreError> {
    let announcement = Announcement {
        size: bytes.len() as u64,
        sha256: sha256(bytes),
        metadata: String::new(),
    };
    // A torn upload is found by its digest and started over, once.
    for _ in 0..2 {
        let partial = match store.find(name)? {
            Found::Finished(finished) => return Ok(finished),
            Found::Partial(partial) => partial,
            Found::Nothing => store.create(name, announcement.clone(), &Shares::default())?,
        };
        let mut partial = partial.sync()?;
        while !partial.is_complete() {
            let from = usize::try_from(partial.offset()).unwrap();
            let to = bytes.len().min(from + CHUNK);
            partial.append(&[Bytes::copy_from_slice(&bytes[from..to])])?;
            if !partial.is_complete() {
                partial = partial.sync()?;
            }
        }
        if let Some(finished) = store.finish(name, partial)? {
            return Ok(finished);
        }
    }
    panic!("{name} was refused twice");
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    Folder,
    File(usize),
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// A sync failed: what was written before never reaches the disk.
    lost: bool,
}

/// Names are below the store's folder.
#[derive(Clone, Default)]
struct Model {
    files: Vec<File>,
    live: BTreeMap<PathBuf, Entry>,
    durable: BTreeMap<PathBuf, Entry>,
    acknowledged: BTreeSet<usize>,
}

/// A change or an acknowledgement, to be played again.
#[derive(Clone, Debug)]
enum Event {
    CreateFolder(PathBuf),
    CreateFile(PathBuf),
    Append(PathBuf, Vec<u8>),
    Truncate(PathBuf, usize),
    SyncFile(PathBuf),
    FailedSync(PathBuf),
    Rename(PathBuf, PathBuf),
    SyncFolder(PathBuf),
    Remove(PathBuf),
    Acknowledge(usize),
}

impl Event {
    fn of(change: Change<'_>, root: &Path) -> Self {
        let below = |path: &Path| path.strip_prefix(root).unwrap().to_owned();
        match change {
            Change::CreateFolder(path) => Self::CreateFolder(below(path)),
            Change::CreateFile(path) => Self::CreateFile(below(path)),
            Change::Append(path, bytes) => Self::Append(below(path), bytes.to_vec()),
            Change::Truncate(path, length) => {
                Self::Truncate(below(path), usize::try_from(length).unwrap())
            }
            Change::SyncFile(path) => Self::SyncFile(below(path)),
            Change::Rename(from, to) => Self::Rename(below(from), below(to)),
            Change::SyncFolder(path) => Self::SyncFolder(below(path)),
            Change::Remove(path) => Self::Remove(below(path)),
        }
    }
}

impl Model {
    fn file(&mut self, path: &Path) -> &mut File {
        match self.live[path] {
            Entry::File(number) => &mut self.files[number],
            Entry::Folder => panic!("{} is a folder", path.display()),
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::CreateFolder(path) => {
                self.live.entry(path.clone()).or_insert(Entry::Folder);
            }
            Event::CreateFile(path) if self.live.contains_key(path) => {
                let file = self.file(path);
                file.bytes.clear();
                file.lost = false;
            }
            Event::CreateFile(path) => {
                self.live
                    .insert(path.clone(), Entry::File(self.files.len()));
                self.files.push(File::default());
            }
            Event::Append(path, bytes) => self.file(path).bytes.extend(bytes),
            Event::Truncate(path, length) => self.file(path).bytes.truncate(*length),
            Event::SyncFile(path) => {
                let file = self.file(path);
                if !file.lost {
                    file.durable.clone_from(&file.bytes);
                }
            }
            Event::FailedSync(path) => self.file(path).lost = true,
            Event::Rename(from, to) => {
                let entry = self.live.remove(from).unwrap();
                self.live.insert(to.clone(), entry);
            }
            Event::SyncFolder(folder) => {
                let inside = |path: &PathBuf| path.parent() == Some(folder);
                self.durable.retain(|path, _| !inside(path));
                let now = self.live.iter().filter(|(path, _)| inside(path));
                self.durable
                    .extend(now.map(|(path, entry)| (path.clone(), *entry)));
            }
            Event::Remove(path) => drop(self.live.remove(path)),
            Event::Acknowledge(bundle) => drop(self.acknowledged.insert(*bundle)),
        }
    }

    /// Writes what a cut leaves into an empty folder.
    fn leave(&self, cut: Cut, root: &Path) {
        let mut dice = Dice(cut.seed());
        let names: BTreeSet<_> = self.live.keys().chain(self.durable.keys()).collect();
        for name in names {
            let (live, durable) = (self.live.get(name), self.durable.get(name));
            let entry = if dice.keeps(cut) { live } else { durable };
            let path = root.join(name);
            let has_folder = path.parent().is_some_and(Path::is_dir);
            match entry.filter(|_| has_folder) {
                None => {}
                Some(Entry::Folder) => fs::create_dir(path).unwrap(),
                Some(Entry::File(number)) => {
                    fs::write(path, dice.content(cut, &self.files[*number])).unwrap();
                }
            }
        }
    }
}

/// What becomes of changes that were not synced.
#[derive(Clone, Copy, Debug)]
enum Cut {
    AllLost,
    AllKept,
    Mixed(u64),
}

impl Cut {
    fn seed(self) -> u64 {
        match self {
            Self::Mixed(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            Self::AllLost | Self::AllKept => 1,
        }
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn keeps(&mut self, cut: Cut) -> bool {
        match cut {
            Cut::AllLost => false,
            Cut::AllKept => true,
            Cut::Mixed(_) => self.below(2) == 0,
        }
    }

    /// Durable bytes, all bytes, or the durable ones with some of the rest, torn or zero.
    fn content(&mut self, cut: Cut, file: &File) -> Vec<u8> {
        if !self.keeps(cut) || file.lost {
            return file.durable.clone();
        }
        let mut content = file.bytes.clone();
        if matches!(cut, Cut::Mixed(_)) && content.starts_with(&file.durable) {
            let unsure = content.len() - file.durable.len();
            let torn = file.durable.len() + self.below(unsure + 1);
            match self.below(3) {
                0 => content.truncate(torn),
                1 => content[torn..].fill(0),
                _ => {}
            }
        }
        content
    }
}

/// One recorded run of clients against a store in a folder that stays.
struct Record {
    root: PathBuf,
    events: Arc<Mutex<Vec<Event>>>,
}

/// What happens to the change with a given number.
#[derive(Clone, Copy)]
enum Blow {
    None,
    /// The process is killed before it.
    Kill(usize),
    /// It fails, and the process goes on.
    Fail(usize),
}

impl Record {
    fn disk(&self, blow: Blow) -> Disk {
        let (root, events) = (self.root.clone(), self.events.clone());
        let changes = Mutex::new(0);
        Disk::watched(Box::new(move |change| {
            let mut changes = changes.lock().unwrap();
            let number = *changes;
            *changes += 1;
            let event = Event::of(change, &root);
            let failed = match blow {
                Blow::None => false,
                Blow::Kill(at) => number >= at,
                Blow::Fail(at) => number == at,
            };
            if !failed {
                events.lock().unwrap().push(event);
                return Ok(());
            }
            if let (Blow::Fail(_), Event::SyncFile(path)) = (blow, event) {
                events.lock().unwrap().push(Event::FailedSync(path));
            }
            Err(io::Error::other("a blow of the test"))
        }))
    }

    /// Delivers all; with `attempts` each. The number of refusals.
    fn run(&self, signing: &Signing, blow: Blow, attempts: usize) -> usize {
        let mut refusals = 0;
        let Ok(store) = signing.store(&self.root, self.disk(blow)) else {
            return 1;
        };
        for (number, (name, bytes)) in bundles().iter().enumerate() {
            for _ in 0..attempts {
                if deliver(&store, name, bytes).is_ok() {
                    let event = Event::Acknowledge(number);
                    self.events.lock().unwrap().push(event);
                    break;
                }
                refusals += 1;
            }
        }
        refusals
    }

    fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

struct Bench {
    signing: Signing,
    folder: tempfile::TempDir,
    made: std::cell::Cell<u64>,
}

impl Bench {
    fn new() -> Self {
        // In memory where there is such a place: nothing here needs a disk, and there are thousands of folders.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self {
            signing: Signing::new(),
            folder: folder.unwrap(),
            made: std::cell::Cell::new(0),
        }
    }

    fn fresh_folder(&self) -> PathBuf {
        self.made.set(self.made.get() + 1);
        let path = self.folder.path().join(self.made.get().to_string());
        fs::create_dir(&path).unwrap();
        path
    }

    fn record(&self) -> Record {
        Record {
            root: self.fresh_folder(),
            events: Arc::default(),
        }
    }

    /// Cuts the mains in this state of the disk and starts again: what was acknowledged is there and confirmed anew, and
    /// what was not can be delivered.
    fn check(&self, model: &Model, cut: Cut, context: &str) {
        let root = self.fresh_folder();
        model.leave(cut, &root);
        let forgetful = || Disk::watched(Box::new(|_| Ok(())));
        let store = self.signing.store(&root, forgetful()).unwrap();
        for (number, (name, bytes)) in bundles().iter().enumerate() {
            if model.acknowledged.contains(&number) {
                let found = store.find(name).unwrap();
                assert!(
                    matches!(found, Found::Finished(_)),
                    "{context}, {cut:?}: {name} was acknowledged and is lost"
                );
            }
            let finished = deliver(&store, name, bytes).unwrap();
            let stated = statement(&finished.receipt, &self.signing.0).unwrap();
            assert_eq!(
                (stated.size, stated.sha256),
                (bytes.len() as u64, sha256(bytes)),
                "{context}, {cut:?}: {name}"
            );
            let stored = fs::read(store.finished_path(name)).unwrap_or_default();
            assert_eq!(stored, *bytes, "{context}, {cut:?}: {name}");
        }
        drop(store);
        fs::remove_dir_all(root).unwrap();
    }
}

fn cuts() -> impl Iterator<Item = Cut> {
    let mixed = if is_full() { 40 } else { 3 };
    [Cut::AllLost, Cut::AllKept]
        .into_iter()
        .chain((0..mixed).map(Cut::Mixed))
}

#[test]
fn what_was_acknowledged_survives_a_cut_after_any_change() {
    let bench = Bench::new();
    let record = bench.record();
    assert_eq!(record.run(&bench.signing, Blow::None, 1), 0);
    let mut model = Model::default();
    bench.check(&model, Cut::AllLost, "before all");
    for (number, event) in record.events().iter().enumerate() {
        model.apply(event);
        for cut in cuts() {
            bench.check(&model, cut, &format!("after {number}: {event:?}"));
        }
    }
    assert_eq!(model.acknowledged.len(), bundles().len());
}

#[test]
fn what_a_second_process_acknowledged_survives_a_cut_although_the_first_was_killed_at_any_change() {
    let bench = Bench::new();
    for kill in 0.. {
        let record = bench.record();
        let refusals = record.run(&bench.signing, Blow::Kill(kill), 1);
        let first = record.events();
        assert_eq!(record.run(&bench.signing, Blow::None, 1), 0);
        let mut model = Model::default();
        for (number, event) in record.events().iter().enumerate() {
            model.apply(event);
            let acknowledged = matches!(event, Event::Acknowledge(_));
            if number >= first.len() && (acknowledged || is_full()) {
                let context = format!("killed before {kill}, cut after {number}: {event:?}");
                bench.check(&model, Cut::AllLost, &context);
            }
        }
        fs::remove_dir_all(&record.root).unwrap();
        if refusals == 0 {
            return;
        }
    }
}

#[test]
fn a_change_that_fails_is_answered_with_a_refusal_and_the_next_attempt_succeeds() {
    let bench = Bench::new();
    for fail in 0.. {
        let record = bench.record();
        let refusals = record.run(&bench.signing, Blow::Fail(fail), 2);
        let mut model = Model::default();
        record.events().iter().for_each(|event| model.apply(event));
        if refusals > 0 {
            assert_eq!(model.acknowledged.len(), bundles().len(), "{fail}");
        }
        bench.check(&model, Cut::AllLost, &format!("change {fail} failed"));
        fs::remove_dir_all(&record.root).unwrap();
        if refusals == 0 {
            return;
        }
    }
}
