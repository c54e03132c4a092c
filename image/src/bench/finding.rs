//! What the measurements of finding share: a store on disk, a box that has collected it, and the walk as a program.
//!
//! `COLLECTOR_BENCH_FILES` sets another number of files, for trials. A large store takes minutes to make and 16 GB, so it
//! stays in `target/bench/store-FILES` for the next measurement, with the changes that were made to it, and so does the state
//! of a box that has collected it, in `state-FILES`; remove them by hand.
//! The walk is the role's own code (`collector`, example `scan`), started as a program each time, its catalogue opened and
//! closed included. Each measured walk believes that the last one was a day ago, so that a thirtieth of the files falls to
//! its rolling look.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

use super::native::{self, Taken, Workplace};
use super::store;
use crate::cache::Cache;
use crate::peers::Peers;
use crate::{image, step};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SIZE: &str = "COLLECTOR_BENCH_FILES";
/// Walks until the times of a store at rest are trusted, at most.
const WALKS: u64 = 6;

pub struct Ground {
    place: Workplace,
    pub peers: Peers,
    release: PathBuf,
}

/// Files of a measurement.
pub fn size(usual: u64) -> Result<u64> {
    match std::env::var(SIZE) {
        Ok(text) => Ok(text
            .parse()
            .map_err(|_| format!("{SIZE} is not a number"))?),
        Err(_) => Ok(usual),
    }
}

impl Ground {
    pub fn new(cache: &Cache, name: &str) -> Result<Ground> {
        let peers = Peers::ensure(cache)?;
        native::release(&["-p", "datacentre", "-p", "hospital"])?;
        let release = native::release(&["-p", "collector", "--example", "scan"])?;
        let ground = Ground {
            place: Workplace::new(name)?,
            peers,
            release,
        };
        step::answer(
            Command::new(ground.release.join("datacentre"))
                .arg("ca")
                .arg(ground.join("keys")),
        )?;
        Ok(ground)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.release.join(name)
    }

    /// A store of ten years, at rest: no folder's time is of the last hour. It is kept for the measurements after this one.
    pub fn kept_store(&self, files: u64) -> Result<PathBuf> {
        let store = image::target().join("bench").join(format!("store-{files}"));
        if store.exists() {
            self.rest(&store)?;
        } else {
            // its name says that it is whole
            fs::rename(self.store(files)?, &store)?;
        }
        Ok(store)
    }

    /// A kept store, and the state of a box that has collected it and trusts its times. Both are kept.
    pub fn collected(&self, files: u64) -> Result<[PathBuf; 2]> {
        let store = self.kept_store(files)?;
        let kept = store.with_file_name(format!("state-{files}"));
        if kept.exists() {
            self.collect(&store, &kept)?;
        } else {
            let state = self.join("state");
            self.collect(&store, &state)?;
            // its name says that it is whole
            fs::rename(days(&state), days(&kept))?;
            fs::rename(&state, &kept)?;
        }
        Ok([store, kept])
    }

    /// A store only for this measurement.
    pub fn store(&self, files: u64) -> Result<PathBuf> {
        let store = self.join("store");
        step::say("bench", &format!("makes a store of {files} files"));
        let count = files.to_string();
        let arguments = [
            "make", "--seed", "1", "--start", "20160401", "--days", "3600", "--files", &count,
        ];
        step::answer(
            Command::new(self.release.join("hospital"))
                .args(arguments)
                .arg("--out")
                .arg(&store),
        )?;
        self.rest(&store)?;
        Ok(store)
    }

    /// How many files a walk must know at the least and at the most: not the generator's leftovers of other programs, and an empty
    /// file only when it has stayed so.
    pub fn due(&self, store: &Path) -> Result<RangeInclusive<u64>> {
        let count = |name: &str, more: &str| -> Result<u64> {
            let list = self.join(name);
            let script = format!(
                r#"cd "$STORE"
"$PEERS/find" std ext dpc receipt -type f -not -name Thumbs.db -not -name desktop.ini -not -name '~$*' {more} -printf . > "$LIST""#
            );
            let variables = [("STORE", store.as_os_str()), ("LIST", list.as_os_str())];
            self.script("count", &script, &variables)?;
            Ok(fs::metadata(list)?.len())
        };
        Ok(count("filled", "-not -empty")?..=count("all", "")?)
    }

    /// Sets back the times of all folders that were written in the last hour.
    pub fn rest(&self, store: &Path) -> Result<()> {
        self.script(
            "rest",
            r#""$PEERS/find" "$STORE" -type d -mmin -60 -print0 | "$PEERS/xargs" -0 -r touch -d '2 hours ago'"#,
            &[("STORE", store.as_os_str())],
        )?;
        Ok(())
    }

    /// A day in the life of the store's hospital; another one in each measurement, since a kept store has seen the earlier ones.
    pub fn change(
        &self,
        store: &Path,
        seed: u64,
        add: u64,
        update: u64,
        delete: u64,
    ) -> Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let seed = now.as_secs() * 1000 + seed;
        let numbers = [seed, add, update, delete].map(|number| number.to_string());
        let [seed, add, update, delete] = &numbers;
        step::answer(
            Command::new(self.release.join("hospital"))
                .args([
                    "change", "--seed", seed, "--add", add, "--update", update, "--delete", delete,
                ])
                .args(["--day", "20260210", "--dir"])
                .arg(store),
        )?;
        Ok(())
    }

    /// One walk; its account, and the box's status after it. Its clock is a day further than the last one's.
    pub fn scan(&self, store: &Path, state: &Path, more: &[&str]) -> Result<(Taken, Value)> {
        let day = match fs::read_to_string(days(state)) {
            Ok(last) => last.trim().parse::<u64>()? + 1,
            Err(_) => 1,
        };
        fs::write(days(state), day.to_string())?;
        let days = day.to_string();
        let keys = self.join("keys");
        let mut arguments: Vec<&OsStr> = vec![store.as_ref(), state.as_ref(), keys.as_ref()];
        arguments.extend(["--days".as_ref(), OsStr::new(&days)]);
        arguments.extend(more.iter().map(OsStr::new));
        let log = self.join("scan.log");
        let program = self.release.join("examples/scan");
        let taken = native::timed(&self.peers, &log, program, &arguments)?;
        let said = fs::read_to_string(&log)?;
        let line = said
            .lines()
            .rfind(|line| line.starts_with('{'))
            .ok_or("the walk gave no status")?;
        Ok((taken, serde_json::from_str(line)?))
    }

    /// Collects a store, and walks it until the times of its folders are trusted.
    pub fn collect(&self, store: &Path, state: &Path) -> Result<()> {
        step::say(
            "bench",
            "collects the store, and walks it until its times are trusted",
        );
        self.scan(store, state, &[])?;
        let mut status = self.scan(store, state, &[])?.1;
        for seed in 1..=WALKS {
            if status["sources"][0]["times"] == "trusted" {
                self.rest(store)?;
                // notes the times that were set back
                self.scan(store, state, &["--walks", "2"])?;
                return Ok(());
            }
            self.change(store, seed, 60, 20, 5)?;
            status = self.scan(store, state, &[])?.1;
        }
        Err("the times of the store's folders were never trusted".into())
    }

    /// Empties the kernel's caches of files, where this is allowed.
    pub fn chill(&self) -> bool {
        rustix::fs::sync();
        fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
    }

    /// Runs a script of stock tools under the same account as ours.
    pub fn script(&self, name: &str, text: &str, variables: &[(&str, &OsStr)]) -> Result<Taken> {
        store::script(&self.peers, &self.join(""), name, text, variables)
    }

    /// Seals the store by stock tools.
    pub fn stock_seal(&self, store: &Path, out: &Path, files: u64) -> Result<Taken> {
        store::stock_seal(&self.peers, &self.join(""), store, out, files)
    }
}

/// Where it is written how many days ahead the clock of the last walk was.
fn days(state: &Path) -> PathBuf {
    state.with_extension("days")
}

/// Wall times of runs.
pub fn walls(taken: &[Taken]) -> Vec<f64> {
    taken.iter().map(|taken| taken.wall_seconds).collect()
}
