//! The intake over a local store, for measurements: the modules of the role, with the clock and the pace of a command.
//!
//! `scan STORE STATE KEYS [--days N] [--list-everything] [--walks N] [--threads N]`: walks the store that `hospital make` made,
//! with catalogue and spool in the folder STATE and the keys that `datacentre ca` made in KEYS. Each walk prints one line of
//! JSON. `--days N`: the clock is so many days ahead, as if the last walk had been a day ago. `--list-everything`: asks
//! for every file, whatever the folders' times say.

use bundle::{LocalSigner, Recipient, Sealer};
use collector::roles::intake::collection::{Intake, Settings, Shared};
use collector::roles::intake::pacing::Pacing;
use collector::roles::intake::share::MountRule;
use collector::roles::intake::world::{Step, Stopped, World};
use serde_json::{Value, json};
use site::{Source, SourceKind};
use spool::{Folder, Spool};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

#[derive(Clone)]
struct Command {
    start: Instant,
    days: u64,
}

impl World for Command {
    fn unix_seconds(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |time| time.as_secs()) + self.days * 86_400
    }
    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }
    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
    fn audit(&self, event: &str, fields: Value) -> Result<(), Stopped> {
        if event != "sealed" {
            eprintln!("{event}: {fields}");
        }
        Ok(())
    }
    fn log(&self, text: &str) {
        eprintln!("{text}");
    }
    fn step(&self, _: Step) -> Result<(), Stopped> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut folders, mut days, mut everything, mut walks, mut threads) =
        (Vec::new(), 0, false, 1, 2);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            arguments
                .next()
                .ok_or("a number is missing")?
                .parse::<u64>()
                .map_err(Box::<dyn Error>::from)
        };
        match argument.as_str() {
            "--days" => days = number()?,
            "--walks" => walks = number()?,
            "--threads" => threads = number()?,
            "--list-everything" => everything = true,
            folder => folders.push(PathBuf::from(folder)),
        }
    }
    let [store, state, keys] = folders.as_slice() else {
        return Err(
            "usage: scan STORE STATE KEYS [--days N] [--list-everything] [--walks N] [--threads N]"
                .into(),
        );
    };
    std::fs::create_dir_all(state.join("spool"))?;
    let world = Command {
        start: Instant::now(),
        days,
    };
    let mut intake = open(&world, store, state, keys, everything, threads as usize)?;
    for walk in 1..=walks {
        let begun = Instant::now();
        intake.0.round()?;
        let seconds = begun.elapsed().as_secs_f64();
        let mut status = intake.1.report().json(0, 0);
        status["walk"] = walk.into();
        status["seconds"] = json!(seconds);
        status["resident_mib"] = json!(resident_mib());
        println!("{status}");
    }
    Ok(())
}

type Open = (
    Intake<Command, Folder, LocalSigner>,
    std::sync::Arc<Shared<Folder>>,
);

fn open(
    world: &Command,
    store: &Path,
    state: &Path,
    keys: &Path,
    everything: bool,
    threads: usize,
) -> Result<Open, Box<dyn Error>> {
    let mount = store
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or("STORE has no name")?;
    let kinds = [
        ("standardized", SourceKind::Standardized, "std"),
        ("extended", SourceKind::Extended, "ext"),
        ("dpc", SourceKind::Dpc, "dpc"),
        ("receipt", SourceKind::Receipt, "receipt"),
    ];
    let sources: Vec<Source> = kinds
        .iter()
        .map(|(name, kind, path)| Source {
            name: (*name).to_owned(),
            kind: *kind,
            mount: mount.to_owned(),
            path: PathBuf::from(path),
            feed_of: None,
        })
        .collect();
    let read = |name: &str| std::fs::read(keys.join(name));
    let sealer = Sealer::new(
        "box-1".parse()?,
        vec![Recipient::from_pem(&read("recipient.pem")?)?],
        &read("sealing-box.pem")?,
        LocalSigner::from_pem(&read("sealing-box.key")?)?,
    )?;
    let shared = Shared::new(
        Spool::open(Folder::open(&state.join("spool"))?, "box-1", 0)?,
        &sources,
    );
    let pacing = Pacing {
        verify: Duration::from_secs(if everything { 0 } else { 30 * 86_400 }),
        threads,
        ..Pacing::eager()
    };
    let settings = Settings {
        mounts: store.parent().unwrap_or(Path::new("/")).to_path_buf(),
        mount_rule: MountRule::AnyFolder,
        sources,
        quiet: Duration::ZERO,
        pacing,
    };
    let catalogue = state.join("catalogue.sqlite");
    let intake = Intake::open(
        world.clone(),
        settings,
        &catalogue,
        std::sync::Arc::clone(&shared),
        sealer,
    )?;
    Ok((intake, shared))
}

/// Largest resident memory so far.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kibibytes.unwrap_or_default() / 1024.0
}
