//! A hospital that writes, a box whose mains fail, a network that loses mounts, a sender that takes bundles and brings
//! receipts in any order, and a data centre. All time is a number.

mod keys;
mod mounts;
pub mod oracle;
pub mod story;

use bundle::{LocalSigner, NamedEvent, UnverifiedBundle};
use collector::roles::intake::collection::{Intake, Keeper, Settings, Shared};
use collector::roles::intake::error::IntakeError;
use collector::roles::intake::hints::Origin;
use collector::roles::intake::pacing::Pacing;
use collector::roles::intake::receipts::{Rule, process};
use collector::roles::intake::share::MountRule;
use collector::roles::intake::walk::Walker;
use collector::roles::intake::world::{Step, Stopped, World};
use datacentre::open;
use hospital::live::{Deed, Stamps, Writer};
use keys::{keys, now, sealer};
use mounts::Hospital;
use oracle::{Entry, Round, Told};
use serde_json::Value;
use site::{Source, SourceKind};
use spool::simulated::Simulated;
use spool::{Disk, Spool};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use story::{Act, Cut, Living, Story};

pub const BOX: &str = "box-1";
pub const QUIET: Duration = Duration::from_secs(10);
/// Time between two rounds, of a turn, and until a bundle in the making is old.
const PERIOD: Duration = Duration::from_secs(60);
/// Rounds of quiet at the end: patience for empty files takes two, a removal three after the last hidden root.
const QUIET_ROUNDS: u32 = 5;
/// Turns of one source in a row: a removal takes two walks, and the third may come before it is sealed.
const TURNS: u32 = 3;
const FACILITY: &str = "1319999999";

/// Name, kind and root below the share.
pub const SOURCES: [(&str, SourceKind, &str); 5] = [
    ("wards", SourceKind::Standardized, "std/1319999999"),
    ("documents", SourceKind::Extended, "ext/1319999999"),
    ("monthly", SourceKind::Dpc, "dpc"),
    ("claims", SourceKind::Receipt, "receipt"),
    ("feed", SourceKind::Transaction, "tx"),
];

struct Received {
    name: String,
    bytes: Vec<u8>,
    at: Duration,
    window: (usize, usize),
}

struct State {
    uptime: Duration,
    /// Steps of this round.
    step: u64,
    /// What is still to happen in this round, by step.
    meanwhile: Vec<(u8, Act)>,
    cut_at: Option<u64>,
    hospital: Hospital,
    received: BTreeMap<u64, Received>,
    round_mark: usize,
    hidden: [bool; SOURCES.len()],
    seals_at: Option<Step>,
}

type Shares = Arc<Mutex<Option<Arc<Shared<Simulated>>>>>;

/// The world of a history; clones are the same.
#[derive(Clone)]
pub struct Outside {
    state: Arc<Mutex<State>>,
    disk: Arc<Mutex<Simulated>>,
    shared: Shares,
    keeper: Arc<Mutex<Option<Keeper<Outside, Simulated, LocalSigner>>>>,
    receipts: PathBuf,
}

impl Outside {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn disk(&self) -> Simulated {
        self.disk.lock().unwrap().clone()
    }

    /// The sender takes all that it can see.
    fn send(&self) {
        let disk = self.disk();
        let Ok(names) = disk.list() else { return };
        let mut state = self.state();
        let (at, window) = (
            state.uptime,
            (
                state.round_mark,
                state.hospital.writer.truth().marks().len(),
            ),
        );
        for (name, _) in names {
            let Ok(bundle) = name.parse::<bundle::BundleName>() else {
                continue;
            };
            let Ok(file) = disk.read(&name) else { return };
            let Some(bytes) = spool::contents(&file).map(<[u8]>::to_vec) else {
                continue;
            };
            let received = Received {
                name: name.clone(),
                bytes: bytes.clone(),
                at,
                window,
            };
            let first = state.received.entry(bundle.sequence()).or_insert(received);
            assert!(first.bytes == bytes, "two bundles of one number: {name}");
        }
    }

    /// The bundle in the making becomes old and is sealed.
    fn seal(&self) -> Result<(), Stopped> {
        self.pause(PERIOD);
        match &*self.keeper.lock().unwrap() {
            Some(keeper) => keeper.beat().map_err(|_| Stopped),
            None => Ok(()),
        }
    }

    fn perform(&self, act: &Act) {
        match act {
            Act::Hospital(deed) => self.deed(deed),
            Act::Hide(source, hiding) => {
                let (source, mut state) = (usize::from(*source), self.state());
                if state.hospital.hidden[source].is_none() {
                    state.hospital.hide(source, *hiding);
                }
                state.hidden[source] = true;
            }
            Act::ShowAll => {
                let mut state = self.state();
                for source in 0..SOURCES.len() {
                    state.hospital.show(source);
                }
            }
            Act::Hint(pick) => self.hint(usize::from(*pick)),
            Act::Receipt(pick) => self.receipt(usize::from(*pick)),
            Act::Wait(seconds) => self.pause(Duration::from_secs((*seconds).into())),
            Act::Restart | Act::Round { .. } => unreachable!("only between rounds"),
        }
    }

    fn deed(&self, deed: &Deed) {
        let mut state = self.state();
        state.hospital.behind(|writer| writer.act(deed)).unwrap();
    }

    /// A hint about a place where something once was written; every seventh is a lie.
    fn hint(&self, pick: usize) {
        let Some(shared) = self.shared.lock().unwrap().clone() else {
            return;
        };
        let state = self.state();
        let marks = state.hospital.writer.truth().marks();
        let mark = marks.get(pick % marks.len().max(1));
        match mark.and_then(|mark| oracle::place(&mark.path)) {
            Some((source, path)) if !pick.is_multiple_of(7) => {
                shared.hints[source].changed(Origin::Server, &path);
            }
            _ => shared.hints[pick % SOURCES.len()].folder(Origin::Server, b"no/such/folder"),
        }
    }

    /// The sender leaves a receipt, and the intake's main thread works through it.
    fn receipt(&self, pick: usize) {
        let Some(shared) = self.shared.lock().unwrap().clone() else {
            return;
        };
        {
            let state = self.state();
            let Some((_, received)) = state
                .received
                .iter()
                .nth(pick % state.received.len().max(1))
            else {
                return;
            };
            let name: bundle::BundleName = received.name.parse().unwrap();
            let sha256 = spool::digest(&received.bytes);
            let size = received.bytes.len() as u64;
            std::fs::create_dir_all(&self.receipts).unwrap();
            std::fs::write(
                self.receipts.join(format!("{name}.receipt")),
                upload::receipt::unsigned_mark(&name, size, &sha256),
            )
            .unwrap();
        }
        // an error here is the cut of the mains, which the next step meets as well
        let _ = process(self, &self.receipts, &Rule::Unsigned, &shared.spool);
    }

    /// What was planned for a step that the round does not have happens at its end.
    fn perform_rest(&self) {
        let rest = std::mem::take(&mut self.state().meanwhile);
        rest.iter().for_each(|(_, act)| self.perform(act));
    }
}

impl World for Outside {
    fn unix_seconds(&self) -> u64 {
        now()
    }

    fn uptime(&self) -> Duration {
        self.state().uptime
    }

    fn pause(&self, duration: Duration) {
        let mut state = self.state();
        state.uptime += duration;
        let now = state.uptime;
        state.hospital.pass(now);
    }

    fn audit(&self, _: &str, _: Value) -> Result<(), Stopped> {
        Ok(())
    }

    fn log(&self, _: &str) {}

    fn step(&self, step: Step) -> Result<(), Stopped> {
        if matches!(step, Step::Appended | Step::Committed) {
            self.send();
        }
        let seals_at = self.state().seals_at;
        if seals_at == Some(step) {
            self.seal()?;
        }
        let (due, cut) = {
            let mut state = self.state();
            let this = state.step;
            state.step += 1;
            let due: Vec<Act> = state
                .meanwhile
                .extract_if(.., |(at, _)| u64::from(*at) == this)
                .map(|(_, act)| act)
                .collect();
            (due, state.cut_at == Some(this))
        };
        due.iter().for_each(|act| self.perform(act));
        if cut || self.disk().is_dead() {
            self.disk().cut_at(0);
            return Err(Stopped);
        }
        Ok(())
    }
}

/// A box that is switched on.
enum Box1 {
    Rounds(Box<Intake<Outside, Simulated, LocalSigner>>),
    Turns(Vec<Walker<Outside, Simulated, LocalSigner>>),
}

impl Box1 {
    fn round(&mut self) -> Result<(), IntakeError> {
        match self {
            Self::Rounds(intake) => intake.round(),
            Self::Turns(walkers) => walkers
                .iter_mut()
                .try_for_each(|walker| (0..TURNS).try_for_each(|_| walker.turn(PERIOD))),
        }
    }
}

/// Hospital, box and data centre of one history.
pub struct Lab {
    folder: tempfile::TempDir,
    outside: Outside,
    running: Option<Box1>,
    rounds: Vec<Round>,
    round: usize,
    living: Living,
    /// Mark of the truth when the last round began that went through.
    through: usize,
}

impl Lab {
    pub fn new(seed: u16, living: Living) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let root = folder.path().join("mnt/share");
        for (_, _, path) in SOURCES {
            std::fs::create_dir_all(root.join(path)).unwrap();
            // an empty root is a missing source by rule; this file keeps each root filled and is never collected
            std::fs::write(root.join(path).join("desktop.ini"), b"[.ShellClassInfo]").unwrap();
        }
        let away = folder.path().join("away");
        std::fs::create_dir(&away).unwrap();
        // a working day of the story; the box does not know its clock
        let start = hospital::Day(20_100).at(9 * 3_600_000);
        let writer = Writer::new(seed.into(), &root, FACILITY, start, Stamps::Story);
        let state = State {
            uptime: Duration::ZERO,
            step: 0,
            meanwhile: Vec::new(),
            cut_at: None,
            hospital: Hospital {
                writer,
                root,
                away,
                hidden: [None; SOURCES.len()],
            },
            received: BTreeMap::new(),
            round_mark: 0,
            hidden: [false; SOURCES.len()],
            seals_at: match living {
                Living::Rounds => None,
                Living::Turns(at) => at,
            },
        };
        let outside = Outside {
            state: Arc::new(Mutex::new(state)),
            disk: Arc::new(Mutex::new(Simulated::new())),
            shared: Arc::new(Mutex::new(None)),
            keeper: Arc::new(Mutex::new(None)),
            receipts: folder.path().join("receipts"),
        };
        Self {
            folder,
            outside,
            running: None,
            rounds: Vec::new(),
            round: 0,
            living,
            through: 0,
        }
    }

    /// Lives through the story, waits for quiet, and judges. `Err` says what is wrong.
    pub fn live(mut self, story: &Story) -> Result<Summary, String> {
        for act in &story.acts {
            match act {
                Act::Restart => self.switch_off(),
                Act::Round { meanwhile, cut } => {
                    self.outside.state().meanwhile.clone_from(meanwhile);
                    self.round(*cut)?;
                }
                act => self.outside.perform(act),
            }
        }
        self.outside.perform(&Act::ShowAll);
        for _ in 0..QUIET_ROUNDS {
            self.round(None)?;
        }
        let sealed = self.outside.seal();
        sealed.map_err(|Stopped| "the last bundle was not sealed".to_owned())?;
        self.outside.send();
        self.switch_off();
        self.judge()
    }

    fn switch_off(&mut self) {
        self.running = None;
        *self.outside.shared.lock().unwrap() = None;
        *self.outside.keeper.lock().unwrap() = None;
    }

    fn round(&mut self, cut: Option<Cut>) -> Result<(), String> {
        self.round += 1;
        let start = {
            let mut state = self.outside.state();
            state.step = 0;
            let marks = state.hospital.writer.truth().marks().len();
            // what lingers was found in the round before; and a bundle that a cut left unseen may appear after a restart
            state.round_mark = match (self.living, &self.running) {
                (Living::Rounds, Some(_)) => marks,
                _ => self.through,
            };
            state.hidden = state.hospital.hidden.map(|hidden| hidden.is_some());
            match cut {
                Some(Cut::Step(step)) => state.cut_at = Some(step.into()),
                Some(Cut::Disk(write, _)) => {
                    let disk = self.outside.disk();
                    disk.cut_at(disk.steps() + u64::from(write));
                }
                None => {}
            }
            marks
        };
        let booted = self.running.is_none();
        let lived = match self.running.take() {
            Some(running) => Ok(running),
            None => self.boot(),
        }
        .and_then(|mut running| running.round().map(|()| running));
        let dead = self.outside.disk().is_dead();
        match lived {
            Ok(running) if !dead => {
                self.outside.send();
                self.running = Some(running);
                self.through = start;
                let (end, hidden) = {
                    let state = self.outside.state();
                    (state.hospital.writer.truth().marks().len(), state.hidden)
                };
                let bundle = self.outside.state().received.keys().next_back().copied();
                self.rounds.push(Round {
                    number: self.round,
                    marks: (start, end),
                    bundle: bundle.unwrap_or(0),
                    hidden,
                    open: booted || self.living != Living::Rounds,
                });
            }
            Err(error) if !dead => return Err(format!("the intake ended: {error:?}")),
            _ => {
                self.switch_off();
                let seed = match cut {
                    Some(Cut::Disk(_, seed)) => seed.into(),
                    _ => 0,
                };
                let survived = self.outside.disk().restart(seed);
                *self.outside.disk.lock().unwrap() = survived;
                self.outside.send();
            }
        }
        self.outside.state().cut_at = None;
        self.outside.disk().cut_at(u64::MAX);
        self.outside.perform_rest();
        self.outside.pause(PERIOD);
        Ok(())
    }

    /// Switches the box on.
    fn boot(&self) -> Result<Box1, IntakeError> {
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
        let spool = Spool::open(self.outside.disk(), BOX, 0)?;
        let shared = Shared::new(spool, &sources);
        *self.outside.shared.lock().unwrap() = Some(Arc::clone(&shared));
        let settings = Settings {
            mounts: self.folder.path().join("mnt"),
            mount_rule: MountRule::AnyFolder,
            sources,
            quiet: QUIET,
            pacing: Pacing::eager(),
        };
        let catalogue = self.folder.path().join("catalogue.sqlite");
        let intake = Intake::open(self.outside.clone(), settings, &catalogue, shared, sealer())?;
        *self.outside.keeper.lock().unwrap() = Some(intake.keeper());
        Ok(match self.living {
            Living::Rounds => Box1::Rounds(Box::new(intake)),
            Living::Turns(_) => Box1::Turns(intake.into_walkers()),
        })
    }

    fn judge(self) -> Result<Summary, String> {
        let state = self.outside.state();
        let mut entries = Vec::new();
        for (sequence, received) in &state.received {
            let name = received.name.parse().unwrap();
            let opened = UnverifiedBundle::parse(&received.bytes)
                .and_then(|bundle| bundle.decrypt(&keys().opener))
                .and_then(|content| content.verify(&keys().trust, &name))
                .map_err(|error| format!("bundle {sequence} does not open: {error:?}"))?;
            for (named, _) in opened.entries() {
                let told = match &named.event {
                    NamedEvent::Added(facts) | NamedEvent::Changed(facts) => {
                        Told::Body(facts.sha256)
                    }
                    NamedEvent::FlagChanged { from } => Told::FlagChanged { from: from.clone() },
                    NamedEvent::Removed => Told::Removed,
                };
                entries.push(Entry {
                    bundle: *sequence,
                    place: (named.source, named.path.clone()),
                    told,
                    at: received.at,
                    window: received.window,
                });
            }
        }
        let marks = state.hospital.writer.truth().marks();
        let store = oracle::judge(marks, &entries, &self.rounds)?;
        let report = self.open(&state.received)?;
        let bodies = entries
            .iter()
            .filter(|entry| matches!(entry.told, Told::Body(_)))
            .count() as u64;
        if report.files != bodies {
            return Err(format!("{bodies} contents were sent: {report}"));
        }
        Ok(Summary {
            files: store.len(),
            bundles: state.received.len(),
            rounds: self.round,
        })
    }

    /// The data centre opens everything; the restored stores must be the hospital's, and no version may be missing.
    fn open(&self, received: &BTreeMap<u64, Received>) -> Result<open::Report, String> {
        let (input, output) = (
            self.folder.path().join("received"),
            self.folder.path().join("restored"),
        );
        std::fs::create_dir_all(&input).unwrap();
        for received in received.values() {
            std::fs::write(input.join(&received.name), &received.bytes).unwrap();
        }
        let at = |name: &str| keys().folder.path().join(name);
        let options = open::Options {
            certificate: at("recipient.pem"),
            key: at("recipient.key"),
            trust: at("sealing-ca.pem"),
            revoked: None,
            input,
            output: output.clone(),
        };
        let report = open::run(&options, &mut |_| {})
            .map_err(|error| format!("the data centre cannot open: {error:?}"))?;
        if !report.is_clean() || report.absent > 0 {
            return Err(format!("the data centre's report: {report}"));
        }
        let ignored: Vec<_> = hospital::LEFTOVERS
            .iter()
            .map(std::ffi::OsString::from)
            .collect();
        for (name, _, path) in SOURCES {
            let copy = output.join(BOX).join(name);
            std::fs::create_dir_all(&copy).unwrap();
            let original = self.folder.path().join("mnt/share").join(path);
            let comparison = hospital::compare(&original, &copy, &ignored).unwrap();
            if !comparison.equal() {
                return Err(format!("the restored source {name}: {comparison:?}"));
            }
        }
        let mut kept = 0;
        hospital::digest_lines(&output, &mut |line| {
            kept += u64::from(!line.path.starts_with(".state/"));
            Ok(())
        })
        .unwrap();
        if kept + report.unchanged != report.files {
            return Err(format!("{kept} versions are kept of {report}"));
        }
        Ok(report)
    }
}

/// What histories came to.
#[derive(Default)]
pub struct Summary {
    pub files: usize,
    pub bundles: usize,
    pub rounds: usize,
}
