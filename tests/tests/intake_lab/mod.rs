//! A hospital's folder, a box with a disk that forgets, a sender that takes bundles at once, and a data centre that opens
//! them. Time is a number; the mains fail where a test says.

#![allow(dead_code)] // each test file uses its part

use bundle::{LocalSigner, NamedEvent, Opener, Recipient, Sealer, Trust, UnverifiedBundle};
use collector::roles::intake::collection::{Intake, Settings, Shared};
use collector::roles::intake::error::IntakeError;
use collector::roles::intake::pacing::Pacing;
use collector::roles::intake::share::MountRule;
use collector::roles::intake::walk::Walker;
use collector::roles::intake::world::{Step, Stopped, World};
use datacentre::{ca, open};
use serde_json::Value;
use site::{Source, SourceKind};
use spool::simulated::Simulated;
use spool::{Acknowledgement, Digest, Disk, Spool, digest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

pub const BOX: &str = "box-1";
pub const QUIET: Duration = Duration::from_secs(10);
const PERIOD: Duration = Duration::from_secs(60);

/// Sources of the lab: name, kind, folder.
pub const SOURCES: [(&str, SourceKind, &str); 4] = [
    ("wards", SourceKind::Standardized, "std"),
    ("documents", SourceKind::Extended, "ext"),
    ("monthly", SourceKind::Dpc, "dpc"),
    ("claims", SourceKind::Receipt, "uke"),
];

fn keys() -> &'static Path {
    static KEYS: OnceLock<tempfile::TempDir> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let options = ca::Options {
            box_name: BOX.to_owned(),
            recipient_bits: ca::RecipientBits::B2048,
            ..ca::Options::default()
        };
        ca::make(folder.path(), &options, now()).unwrap();
        folder
    })
    .path()
}

pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

struct State {
    uptime: Duration,
    steps: u64,
    cut_at: Option<u64>,
    trail: Vec<(String, Value)>,
    /// What the sender took, by name.
    received: BTreeMap<String, Vec<u8>>,
    /// Called with each step's number: a hospital that writes meanwhile.
    meanwhile: Option<Box<dyn FnMut(Step) + Send>>,
    eraser: Eraser,
    line: Line,
    free_after_pauses: Option<(u32, u64)>,
    /// The box's clock where it is not the host's.
    clock: Option<u64>,
    /// Unix time at which the box was switched on, where its clock goes with its uptime.
    epoch: Option<u64>,
    /// The mains fail at the next step of this kind.
    cut_on: Option<Step>,
    /// Bundles that have rotted: the sender sees that by their records.
    rotten: BTreeSet<String>,
    /// Threads that live at the same time, and until when those that pause do so; see [`Outside::together`].
    threads: usize,
    pausing: Vec<Duration>,
}

impl State {
    /// When all threads pause, time goes on to the end of the shortest pause.
    fn jump(&mut self, woken: &Condvar) {
        if let Some(next) = self.pausing.iter().min().copied()
            && self.pausing.len() == self.threads
        {
            self.uptime = self.uptime.max(next);
            self.pausing.retain(|end| *end > next);
            woken.notify_all();
        }
    }
}

/// Whether the sender's receipts come at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Eraser {
    Never,
    EveryStep,
}

/// Whether the sender reaches the data centre.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Up,
    Down,
}

/// The world of a test; clones are the same.
#[derive(Clone)]
pub struct Outside {
    state: Arc<Mutex<State>>,
    disk: Arc<Mutex<Simulated>>,
    shared: Arc<Mutex<Option<Arc<Shared<Simulated>>>>>,
    woken: Arc<Condvar>,
}

/// A thread that pauses together with others; see [`Outside::together`].
pub struct Pausing(Outside);

impl Drop for Pausing {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap();
        state.threads -= 1;
        state.jump(&self.0.woken);
    }
}

struct Proof {
    bundle: String,
    bytes: Vec<u8>,
}

impl Acknowledgement for Proof {
    fn bundle(&self) -> &str {
        &self.bundle
    }
    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
    fn sha256(&self) -> Digest {
        digest(&self.bytes)
    }
}

impl Outside {
    fn disk(&self) -> Simulated {
        self.disk.lock().unwrap().clone()
    }

    /// The sender takes all that it can see.
    pub fn send(&self) {
        let disk = self.disk();
        let Ok(names) = disk.list() else { return };
        let mut state = self.state.lock().unwrap();
        if state.line == Line::Down {
            return;
        }
        for (name, _) in names {
            if !name.ends_with(".cms") || state.rotten.contains(&name) {
                continue;
            }
            let Ok(file) = disk.read(&name) else { return };
            let Some(bytes) = spool::contents(&file).map(<[u8]>::to_vec) else {
                continue;
            };
            let before = state
                .received
                .entry(name.clone())
                .or_insert_with(|| bytes.clone());
            assert!(*before == bytes, "two bundles of one number: {name}");
            if state.eraser == Eraser::EveryStep {
                let shared = self.shared.lock().unwrap().clone();
                if let Some(shared) = shared {
                    let _ = shared.spool().erase(&Proof {
                        bundle: name,
                        bytes,
                    });
                }
            }
        }
    }

    pub fn events(&self, wanted: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state
            .trail
            .iter()
            .filter(|(event, _)| event == wanted)
            .map(|(_, fields)| fields.clone())
            .collect()
    }
}

impl Outside {
    pub fn all_events(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap().trail.clone()
    }

    /// From now on so many threads live in one time, which stands while any of them is at work. Each holds its part.
    pub fn together(&self, threads: usize) -> Vec<Pausing> {
        self.state.lock().unwrap().threads = threads;
        (0..threads).map(|_| Pausing(self.clone())).collect()
    }

    /// Sets the box's clock, in Unix seconds.
    pub fn set_clock(&self, clock: u64) {
        self.state.lock().unwrap().clock = Some(clock);
    }

    /// Sets the box's clock, in Unix seconds; it goes on with the pauses.
    pub fn start_clock(&self, clock: u64) {
        let mut state = self.state.lock().unwrap();
        state.epoch = Some(clock - state.uptime.as_secs());
    }
}

impl World for Outside {
    fn unix_seconds(&self) -> u64 {
        let state = self.state.lock().unwrap();
        let running = state.epoch.map(|epoch| epoch + state.uptime.as_secs());
        state.clock.or(running).unwrap_or_else(now)
    }

    fn uptime(&self) -> Duration {
        self.state.lock().unwrap().uptime
    }

    fn pause(&self, duration: Duration) {
        let mut state = self.state.lock().unwrap();
        let end = state.uptime + duration;
        if state.threads == 0 {
            state.uptime = end;
        } else {
            state.pausing.push(end);
            state.jump(&self.woken);
            while state.uptime < end {
                state = self.woken.wait(state).unwrap();
            }
        }
        if let Some((pauses, bytes)) = &mut state.free_after_pauses {
            *pauses -= 1;
            if *pauses == 0 {
                self.disk().set_free_bytes(*bytes);
                state.free_after_pauses = None;
            }
        }
    }

    fn audit(&self, event: &str, fields: Value) -> Result<(), Stopped> {
        self.state
            .lock()
            .unwrap()
            .trail
            .push((event.to_owned(), fields));
        Ok(())
    }

    fn log(&self, _: &str) {}

    fn step(&self, step: Step) -> Result<(), Stopped> {
        let meanwhile = self.state.lock().unwrap().meanwhile.take();
        if let Some(mut act) = meanwhile {
            act(step);
            self.state.lock().unwrap().meanwhile = Some(act);
        }
        let cut = {
            let mut state = self.state.lock().unwrap();
            let this = state.steps;
            state.steps += 1;
            state.cut_at == Some(this) || state.cut_on == Some(step)
        };
        if cut || self.disk().is_dead() {
            self.disk().cut_at(0);
            return Err(Stopped);
        }
        self.send();
        Ok(())
    }
}

/// Hospital, box and data centre.
pub struct Lab {
    folder: tempfile::TempDir,
    pub outside: Outside,
    pacing: Pacing,
}

pub type Box1 = Intake<Outside, Simulated, LocalSigner>;
pub type Walker1 = Walker<Outside, Simulated, LocalSigner>;

impl Lab {
    pub fn new() -> Self {
        Self::paced(Pacing::eager())
    }

    pub fn paced(pacing: Pacing) -> Self {
        // in memory where the host has such a folder: what the mains cut loses is decided by the simulated disk
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        for (_, _, path) in SOURCES {
            std::fs::create_dir_all(folder.path().join("mnt/share").join(path)).unwrap();
        }
        let state = State {
            uptime: Duration::from_secs(1),
            steps: 0,
            cut_at: None,
            trail: Vec::new(),
            received: BTreeMap::new(),
            meanwhile: None,
            eraser: Eraser::Never,
            line: Line::Up,
            free_after_pauses: None,
            clock: None,
            epoch: None,
            cut_on: None,
            rotten: BTreeSet::new(),
            threads: 0,
            pausing: Vec::new(),
        };
        let outside = Outside {
            state: Arc::new(Mutex::new(state)),
            disk: Arc::new(Mutex::new(Simulated::new())),
            shared: Arc::new(Mutex::new(None)),
            woken: Arc::default(),
        };
        Self {
            folder,
            outside,
            pacing,
        }
    }

    /// A path in the hospital.
    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("mnt/share").join(path)
    }

    pub fn write(&self, path: &str, content: &[u8]) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.at(from), self.at(to)).unwrap();
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.at(path)).unwrap();
    }

    pub fn meanwhile(&self, act: impl FnMut(Step) + Send + 'static) {
        self.outside.state.lock().unwrap().meanwhile = Some(Box::new(act));
    }

    pub fn erase(&self, eraser: Eraser) {
        self.outside.state.lock().unwrap().eraser = eraser;
    }

    pub fn line(&self, line: Line) {
        self.outside.state.lock().unwrap().line = line;
    }

    /// The disk is full until the box has waited so many times.
    pub fn full_disk(&self, pauses: u32) {
        self.disk().set_free_bytes(0);
        self.outside.state.lock().unwrap().free_after_pauses = Some((pauses, u64::MAX));
    }

    pub fn cut_at_step(&self, step: u64) {
        let mut state = self.outside.state.lock().unwrap();
        state.cut_at = Some(step);
    }

    /// The mains fail at the next step of this kind, if one comes.
    pub fn cut_on(&self, step: Option<Step>) {
        self.outside.state.lock().unwrap().cut_on = step;
    }

    pub fn disk(&self) -> Simulated {
        self.outside.disk()
    }

    /// Lets a bundle in the spool rot.
    pub fn rot(&self, name: &str, rot: impl FnOnce(&mut Vec<u8>)) {
        self.outside
            .state
            .lock()
            .unwrap()
            .rotten
            .insert(name.to_owned());
        self.disk().rot(name, rot);
    }

    /// What the threads of the running box share.
    pub fn shared(&self) -> Arc<Shared<Simulated>> {
        self.outside.shared.lock().unwrap().clone().unwrap()
    }

    pub fn catalogue(&self) -> PathBuf {
        self.folder.path().join("catalogue.sqlite")
    }

    pub fn steps(&self) -> u64 {
        self.outside.state.lock().unwrap().steps
    }

    /// Switches the box on.
    pub fn boot(&self) -> Result<Box1, IntakeError> {
        let sources: Vec<Source> = SOURCES
            .iter()
            .map(|(name, kind, path)| Source {
                name: (*name).to_owned(),
                kind: *kind,
                mount: "share".to_owned(),
                path: PathBuf::from(path),
                feed_of: None,
            })
            .collect();
        let spool = Spool::open(self.disk(), BOX, 0)?;
        let shared = Shared::new(spool, &sources);
        *self.outside.shared.lock().unwrap() = Some(Arc::clone(&shared));
        let settings = Settings {
            mounts: self.folder.path().join("mnt"),
            mount_rule: MountRule::AnyFolder,
            sources,
            quiet: QUIET,
            pacing: self.pacing.clone(),
        };
        let read = |name: &str| std::fs::read(keys().join(name)).unwrap();
        let recipient = Recipient::from_pem(&read("recipient.pem")).unwrap();
        let signer = LocalSigner::from_pem(&read("sealing-box.key")).unwrap();
        let sealer = Sealer::new(
            BOX.parse().unwrap(),
            vec![recipient],
            &read("sealing-box.pem"),
            signer,
        )
        .unwrap();
        let catalogue = self.folder.path().join("catalogue.sqlite");
        Intake::open(self.outside.clone(), settings, &catalogue, shared, sealer)
    }

    /// Mains come back: what was not flushed is lost as the seed says.
    pub fn mains_back(&self, seed: u64) {
        *self.outside.shared.lock().unwrap() = None;
        let survived = self.disk().restart(seed);
        *self.outside.disk.lock().unwrap() = survived;
        {
            let mut state = self.outside.state.lock().unwrap();
            (state.cut_at, state.cut_on) = (None, None);
        }
        self.outside.send();
    }

    /// Rounds of the running box, with the configured time between.
    pub fn rounds(&self, intake: &mut Box1, count: u32) -> Result<(), IntakeError> {
        for _ in 0..count {
            intake.round()?;
            self.outside.pause(PERIOD);
        }
        Ok(())
    }

    /// Boots and runs so many rounds, as a box that nothing happens to.
    pub fn run(&self, count: u32) {
        let mut intake = self.boot().unwrap();
        self.rounds(&mut intake, count).unwrap();
        self.outside.send();
    }

    /// The data centre opens all that was sent. Returns its report and the folder of the restored stores.
    pub fn open(&self) -> (open::Report, PathBuf) {
        self.outside.send();
        let input = self.folder.path().join("received");
        std::fs::create_dir_all(&input).unwrap();
        for (name, bytes) in &self.outside.state.lock().unwrap().received {
            std::fs::write(input.join(name), bytes).unwrap();
        }
        let output = self.folder.path().join("restored");
        let options = open::Options {
            certificate: keys().join("recipient.pem"),
            key: keys().join("recipient.key"),
            trust: keys().join("sealing-ca.pem"),
            revoked: Some(keys().join("sealing-crl.pem")),
            input,
            output: output.clone(),
        };
        let report = open::run(&options, &mut |_| {}).unwrap();
        (report, output.join(BOX))
    }

    /// Opens, and checks that the restored stores are the hospital's, byte for byte.
    pub fn open_identical(&self, ignored: &[&str], context: &str) -> open::Report {
        let report = self.open_with_losses(ignored, context);
        assert!(report.is_clean(), "{context}: {report}");
        report
    }

    /// As [`open_identical`](Self::open_identical), where bundles may be reported as lost.
    pub fn open_with_losses(&self, ignored: &[&str], context: &str) -> open::Report {
        let (report, restored) = self.open();
        let well = report.gaps.is_empty() && report.refused.is_empty() && report.faults.is_empty();
        assert!(well, "{context}: {report}");
        let ignored: Vec<_> = ignored.iter().map(std::ffi::OsString::from).collect();
        for (name, _, path) in SOURCES {
            let copy = restored.join(name);
            std::fs::create_dir_all(&copy).unwrap();
            let comparison = hospital::compare(&self.at(path), &copy, &ignored).unwrap();
            assert!(
                comparison.equal(),
                "{context}: source {name}: {comparison:?}"
            );
        }
        report
    }

    /// All that was told so far, entry by entry, in the order of the bundles: source and path as `source/path`.
    pub fn told(&self) -> Vec<(String, NamedEvent)> {
        self.outside.send();
        let read = |name: &str| std::fs::read(keys().join(name)).unwrap();
        let opener = Opener::from_pem(&read("recipient.pem"), &read("recipient.key")).unwrap();
        let trust = Trust::from_pem(&read("sealing-ca.pem")).unwrap();
        let mut told = Vec::new();
        for (name, bytes) in &self.outside.state.lock().unwrap().received {
            let opened = UnverifiedBundle::parse(bytes)
                .and_then(|bundle| bundle.decrypt(&opener))
                .and_then(|content| content.verify(&trust, &name.parse().unwrap()))
                .unwrap();
            told.extend(opened.entries().map(|(named, _)| {
                let path = String::from_utf8(named.path.clone()).unwrap();
                let (source, _, _) = SOURCES[named.source];
                (format!("{source}/{path}"), named.event.clone())
            }));
        }
        told
    }

    /// What the data centre has on record of a lost bundle.
    pub fn lost_record(&self, number: u64) -> Value {
        let path = format!("restored/.lost/{BOX}/{number:010}.json");
        serde_json::from_slice(&std::fs::read(self.folder.path().join(path)).unwrap()).unwrap()
    }
}
