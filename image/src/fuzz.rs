//! `cargo xtask fuzz`: the targets of `tests/fuzz` under libFuzzer, by cargo-fuzz.
//!
//! 1. Any stable Rust will do: `RUSTC_BOOTSTRAP` lets it take the sanitizer's flag, and the sanitizer's library comes with it.
//! 2. cargo-fuzz itself, everything built, and what a run explores stay in the cache; only `--merge` writes into the corpus.
//! 3. An input that fails is kept in `tests/fuzz/artifacts/TARGET/`, and the command then fails.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cache::Cache;
use crate::step::{self, Step};
use crate::{Outcome, image};

pub const HELP: &str = "\
cargo xtask fuzz [TARGET] [--seconds N | --merge]

Feeds bytes that nobody chose to the parsers of outside bytes; tests/fuzz/README.md tells what each target holds to be true.

  TARGET       one of tests/fuzz/fuzz_targets/; without it all of them, one after another
  --seconds N  how long each target runs (default 60)
  --merge      adds to tests/fuzz/corpus/ what earlier runs found that reaches new code, and nothing else
";

/// Version of cargo-fuzz that is installed into the cache.
const CARGO_FUZZ: &str = "0.13.2";
/// Seconds of a target where none are given.
const SECONDS: u64 = 60;
/// Memory of a run, and of one allocation, in MiB. A bundle has at most 64 MiB, and twice that once decompressed.
const MEMORY_MIB: u32 = 1024;
const ALLOCATION_MIB: u32 = 200;
/// Longest input in bytes, and longest time for one in seconds: what no input of the corpus comes near.
const INPUT_BYTES: u32 = 16 << 10;
const INPUT_SECONDS: u32 = 20;

/// What to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    target: Option<String>,
    work: Work,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    Run { seconds: u64 },
    Merge,
}

impl Choice {
    /// Reads the words after `fuzz`; `None` when they do not fit.
    pub fn parse(words: &[String]) -> Option<Choice> {
        let mut choice = Choice {
            target: None,
            work: Work::Run { seconds: SECONDS },
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--seconds" => {
                    let seconds = words.next()?.parse().ok().filter(|seconds| *seconds > 0)?;
                    choice.work = Work::Run { seconds };
                }
                "--merge" => choice.work = Work::Merge,
                option if option.starts_with('-') => return None,
                _ if choice.target.is_some() => return None,
                target => choice.target = Some(target.to_owned()),
            }
        }
        Some(choice)
    }
}

/// There is no such target.
#[derive(Debug)]
struct UnknownTarget {
    target: String,
    known: Vec<String>,
}

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known.join(", ");
        write!(
            f,
            "there is no fuzz target {:?}; there are {known}",
            self.target
        )
    }
}

impl Error for UnknownTarget {}

/// Runs the chosen targets; one that fails does not keep the others from running.
pub fn run(cache: &Cache, choice: &Choice) -> Result<Outcome, Box<dyn Error>> {
    let folder = image::workspace().join("tests/fuzz");
    let known = targets(&folder)?;
    let chosen = match &choice.target {
        None => known,
        Some(target) if known.contains(target) => vec![target.clone()],
        Some(target) => {
            let target = target.clone();
            return Err(UnknownTarget { target, known }.into());
        }
    };
    let program = cargo_fuzz(cache)?;
    let mut outcome = Outcome::Good;
    for target in chosen {
        step::say("fuzz", &target);
        let mut command = prepared(cache, &program, &folder, &target, choice.work)?;
        if !command.status()?.success() {
            outcome = Outcome::Bad;
        }
    }
    Ok(outcome)
}

fn targets(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut targets = Vec::new();
    for entry in fs::read_dir(folder.join("fuzz_targets"))? {
        let path = entry?.path();
        targets.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    targets.sort();
    Ok(targets)
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

/// cargo-fuzz, installed into the cache where it is not yet there.
fn cargo_fuzz(cache: &Cache) -> Result<PathBuf, Box<dyn Error>> {
    let root = cache.folder().join(format!("cargo-fuzz-{CARGO_FUZZ}"));
    let program = root.join("bin/cargo-fuzz");
    let _lock = cache.lock("cargo-fuzz")?;
    if !program.exists() {
        let log = cache.log("cargo-fuzz");
        let step = Step {
            what: "cargo-fuzz",
            estimate: Duration::from_secs(60),
            log: &log,
        };
        step.run(
            Command::new(cargo())
                .args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ])
                .arg("--root")
                .arg(&root)
                .arg("--target-dir")
                .arg(cache.folder().join("fuzz-target/cargo-fuzz")),
        )?;
    }
    Ok(program)
}

fn prepared(
    cache: &Cache,
    program: &Path,
    folder: &Path,
    target: &str,
    work: Work,
) -> Result<Command, Box<dyn Error>> {
    let found = cache.folder().join("fuzz-corpus").join(target);
    fs::create_dir_all(&found)?;
    let committed = folder.join("corpus").join(target);
    let mut command = Command::new(program);
    command
        .current_dir(image::workspace())
        .env("RUSTC_BOOTSTRAP", "1")
        // names in a trace of calls: the product's own profile has none
        .env("CARGO_PROFILE_RELEASE_STRIP", "false")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only")
        .args([
            "fuzz",
            "run",
            "--debug-assertions",
            "--features",
            "libfuzzer",
        ])
        .arg("--fuzz-dir")
        .arg(folder)
        .arg("--target-dir")
        .arg(cache.folder().join("fuzz-target"))
        .arg(target);
    let (first, second, how) = match work {
        Work::Run { seconds } => (found, committed, format!("-max_total_time={seconds}")),
        Work::Merge => (committed, found, "-merge=1".to_owned()),
    };
    command.args([first, second]).arg("--").arg(how).args([
        format!("-rss_limit_mb={MEMORY_MIB}"),
        format!("-malloc_limit_mb={ALLOCATION_MIB}"),
        format!("-max_len={INPUT_BYTES}"),
        format!("-timeout={INPUT_SECONDS}"),
        "-print_final_stats=1".to_owned(),
    ]);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Option<Choice> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Choice::parse(&words)
    }

    #[test]
    fn a_target_and_its_seconds_can_be_named_in_any_order() {
        let expected = Choice {
            target: Some("manifest".to_owned()),
            work: Work::Run { seconds: 5 },
        };
        assert_eq!(
            parse(&["manifest", "--seconds", "5"]),
            Some(expected.clone())
        );
        assert_eq!(parse(&["--seconds", "5", "manifest"]), Some(expected));
    }

    #[test]
    fn two_targets_no_seconds_and_unknown_options_are_refused() {
        for words in [
            &["a", "b"][..],
            &["--seconds"],
            &["--seconds", "0"],
            &["--minutes"],
        ] {
            assert_eq!(parse(words), None, "{words:?}");
        }
    }

    #[test]
    fn the_targets_are_those_of_the_crate() {
        let targets = targets(&image::workspace().join("tests/fuzz")).unwrap();
        assert!(targets.contains(&"manifest".to_owned()), "{targets:?}");
    }
}
