//! Hints in real time, over a folder of this machine: inotify and a transaction storage's feed make a file durable while the
//! walk sleeps for an hour. Nothing is measured; a test waits for the event, and fails where it does not come.

use bundle::{LocalSigner, Recipient, Sealer};
use collector::roles::intake::collection::{Intake, Settings, Shared};
use collector::roles::intake::error::IntakeError;
use collector::roles::intake::hints::{Hints, Origin, local};
use collector::roles::intake::pacing::Pacing;
use collector::roles::intake::share::MountRule;
use collector::roles::intake::world::{Step, Stopped, World};
use datacentre::ca;
use serde_json::Value;
use site::{Source, SourceKind};
use spool::{Folder, Spool};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

const BOX: &str = "box-1";
const HOUR: Duration = Duration::from_secs(3600);
const QUIET: Duration = Duration::from_millis(200);
/// An event that has not come by then does not come.
const LIMIT: Duration = Duration::from_secs(60);

const SOURCES: [(&str, SourceKind, &str); 2] = [
    ("wards", SourceKind::Standardized, "std"),
    ("feed", SourceKind::Transaction, "tx"),
];

/// The world as it is; what the box says goes into a channel.
#[derive(Clone)]
struct Real {
    start: Instant,
    said: Sender<String>,
    stop: Arc<AtomicBool>,
}

impl World for Real {
    fn unix_seconds(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |time| time.as_secs())
    }
    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }
    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
    fn wait(&self, longest: Duration, hints: &Hints) {
        hints.wait(longest);
    }
    fn audit(&self, event: &str, fields: Value) -> Result<(), Stopped> {
        let _ = self.said.send(format!("{event} {fields}"));
        Ok(())
    }
    fn log(&self, text: &str) {
        let _ = self.said.send(text.to_owned());
    }
    fn step(&self, _: Step) -> Result<(), Stopped> {
        if self.stop.load(Ordering::Acquire) {
            return Err(Stopped);
        }
        Ok(())
    }
}

fn keys() -> &'static Path {
    static KEYS: OnceLock<tempfile::TempDir> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let options = ca::Options {
            box_name: BOX.to_owned(),
            recipient_bits: ca::RecipientBits::B2048,
            ..ca::Options::default()
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        ca::make(folder.path(), &options, now.unwrap().as_secs()).unwrap();
        folder
    })
    .path()
}

/// A running box that walks once an hour.
struct Box1 {
    folder: tempfile::TempDir,
    hints: Vec<Arc<Hints>>,
    said: Receiver<String>,
    stop: Arc<AtomicBool>,
    walking: Vec<JoinHandle<Result<(), IntakeError>>>,
}

impl Box1 {
    /// Starts the box, and waits until its first walks have come to their ends.
    fn start(inotify: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for (path, content) in [
            ("mnt/share/std/000/desktop.ini", ""),
            ("mnt/share/tx/2024/TR_20240401000000000_00001.DAT", ""),
        ] {
            std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            std::fs::write(at(path), content).unwrap();
        }
        std::fs::create_dir(at("spool")).unwrap();
        let sources = SOURCES.map(|(name, kind, path)| Source {
            name: name.to_owned(),
            kind,
            mount: "share".to_owned(),
            path: PathBuf::from(path),
            feed_of: None,
        });
        let settings = Settings {
            mounts: at("mnt"),
            mount_rule: MountRule::AnyFolder,
            sources: sources.to_vec(),
            quiet: QUIET,
            pacing: Pacing::eager(),
        };
        let (sender, said) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let world = Real {
            start: Instant::now(),
            said: sender,
            stop: Arc::clone(&stop),
        };
        let spool = Spool::open(Folder::open(&at("spool")).unwrap(), BOX, 0).unwrap();
        let shared = Shared::new(spool, &sources);
        let read = |name: &str| std::fs::read(keys().join(name)).unwrap();
        let sealer = Sealer::new(
            BOX.parse().unwrap(),
            vec![Recipient::from_pem(&read("recipient.pem")).unwrap()],
            &read("sealing-box.pem"),
            LocalSigner::from_pem(&read("sealing-box.key")).unwrap(),
        )
        .unwrap();
        let catalogue = at("catalogue.sqlite");
        let intake = Intake::open(
            world.clone(),
            settings.clone(),
            &catalogue,
            Arc::clone(&shared),
            sealer,
        );
        let one = Self {
            hints: shared.hints.clone(),
            said,
            stop,
            walking: Vec::new(),
            folder,
        };
        if inotify {
            local::start(&world, &settings, &one.hints[..1]);
            one.await_word("folders have inotify");
        }
        let mut walking = Vec::new();
        for mut walker in intake.unwrap().into_walkers() {
            walking.push(std::thread::spawn(move || {
                loop {
                    walker.turn(HOUR)?;
                }
            }));
        }
        let first = Instant::now();
        while shared
            .report()
            .sources
            .iter()
            .any(|source| source.walks == 0)
        {
            assert!(first.elapsed() < LIMIT);
            std::thread::yield_now();
        }
        Self { walking, ..one }
    }

    fn await_word(&self, word: &str) {
        let begin = Instant::now();
        loop {
            let left = LIMIT.saturating_sub(begin.elapsed());
            match self.said.recv_timeout(left) {
                Ok(said) if said.contains(word) => return,
                Ok(_) => {}
                Err(_) => panic!("no word of {word:?}"),
            }
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("mnt/share").join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // as hospital systems do
        let first = path.with_extension("tmp");
        std::fs::write(&first, content).unwrap();
        std::fs::rename(first, path).unwrap();
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for hints in &self.hints {
            hints.too_many(Origin::Unsettled);
        }
        for thread in self.walking {
            assert!(matches!(thread.join().unwrap(), Err(IntakeError::Stopped)));
        }
    }
}

fn file(patient: u32, flag: u8) -> String {
    let patient = format!("{patient:010}");
    format!(
        "std/000/{}/{patient}/20240401/OMP-01/{patient}_20240401_OMP-01_000000000000001_20240401101500123_01_{flag}",
        &patient[3..6]
    )
}

#[test]
fn by_inotify_a_new_a_replaced_and_a_renamed_file_are_durable_while_the_walk_sleeps() {
    let one = Box1::start(true);
    one.write(&file(1, 1), "in folders that are new");
    one.await_word("sealed");
    one.write(&file(2, 1), "another patient");
    one.await_word("sealed");
    std::fs::write(one.path(&file(1, 1)), "replaced in place").unwrap();
    one.await_word("sealed");
    std::fs::rename(one.path(&file(2, 1)), one.path(&file(2, 0))).unwrap();
    one.await_word("sealed");
    assert!(one.hints[0].counts().of(Origin::Local) > 0);
    one.stop();
}

#[test]
fn by_the_feed_of_its_transaction_storage_a_file_is_durable_while_the_walk_sleeps() {
    let one = Box1::start(false);
    for patient in 1..4 {
        one.write(&file(patient, 1), "written and told");
        let line = format!(
            "#SSMIX,2.00,1319999999,{patient:010},20240401,OMP-01,000000000000001,INS,01,20240401101500123\rMSH|\r"
        );
        let feed = one.path("tx/2024/TR_20240401000000000_00001.DAT");
        let mut feed = std::fs::File::options().append(true).open(feed).unwrap();
        feed.write_all(line.as_bytes()).unwrap();
        one.await_word("sealed");
    }
    let counts = one.hints[0].counts();
    assert_eq!((counts.of(Origin::Feed), counts.ignored), (3, 0));
    one.stop();
}
