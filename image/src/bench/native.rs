//! What the measurements outside machines have in common: a working folder, release programs, and one rule for time and memory.
//!
//! 1. Both sides run as processes under the same `time` program: wall time by our clock around it, processor time and largest
//!    resident memory by its account. A pipeline counts as the shell that runs it and all that it waits for.
//! 2. Sides take turns, after one run each that is not counted, so that the machine's moods meet both.
//! 3. The working folder is new and is removed at the end, also after a failure.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::peers::Peers;
use crate::{image, step};

/// Folder of one measurement.
pub struct Workplace(PathBuf);

impl Workplace {
    /// An empty folder below `target/bench/`, on the disk of the checkout.
    pub fn new(name: &str) -> Result<Workplace, Box<dyn Error>> {
        let path = image::target().join("bench").join(format!("{name}.work"));
        if path.exists() {
            step::say("bench", "removes what an earlier run has left");
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        Ok(Workplace(path))
    }

    /// A place in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // minutes for millions of files
        step::say("bench", "removes its working folder");
        if let Err(error) = fs::remove_dir_all(&self.0) {
            step::say(
                "bench",
                &format!("cannot remove {}: {error}", self.0.display()),
            );
        }
    }
}

/// Builds native release programs (or examples) of a crate and gives their folder.
pub fn release(arguments: &[&str]) -> Result<PathBuf, Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(image::workspace())
        .args(["build", "--release", "--locked"])
        .args(arguments);
    if !command.status()?.success() {
        return Err(format!(
            "cargo build --release {} failed, see above",
            arguments.join(" ")
        )
        .into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(image::target, PathBuf::from);
    Ok(target.join("release"))
}

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub wall_seconds: f64,
    /// User and system time of the program and what it waited for.
    pub processor_seconds: f64,
    /// Of the largest single process.
    pub resident_mib: f64,
}

/// Runs a program to its end. It must succeed; its output goes to `log`.
pub fn timed(
    peers: &Peers,
    log: &Path,
    program: impl AsRef<OsStr>,
    arguments: &[&OsStr],
) -> Result<Taken, Box<dyn Error>> {
    let account = log.with_extension("time");
    let output = fs::File::create(log)?;
    let mut command = Command::new(peers.program("time"));
    command
        .args(["--format=%U %S %M", "--output"])
        .arg(&account)
        .arg(program.as_ref())
        .args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let begun = Instant::now();
    let status = command.status()?;
    let wall_seconds = begun.elapsed().as_secs_f64();
    if !status.success() {
        let program = program.as_ref().to_string_lossy().into_owned();
        let said = fs::read_to_string(log).unwrap_or_default();
        return Err(format!("{program} failed ({status}):\n{said}").into());
    }
    let account = fs::read_to_string(&account)?;
    let numbers: Vec<f64> = account
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let &[user, system, kibibytes] = numbers.as_slice() else {
        return Err(format!("`time` gave no account but: {account}").into());
    };
    Ok(Taken {
        wall_seconds,
        processor_seconds: user + system,
        resident_mib: kibibytes / 1024.0,
    })
}

/// Bytes that one core takes in a second of processor time by a digest or cipher of `openssl`, 1 MiB at a time.
pub fn bytes_per_second(peers: &Peers, algorithm: &str) -> Result<f64, Box<dyn Error>> {
    let output = Command::new(peers.program("openssl"))
        .args(["speed", "-mr", "-seconds", "1", "-bytes", "1048576", "-evp"])
        .arg(algorithm)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    // +F:25:sha256:1957341866.67
    let figure = said.lines().find_map(|line| line.strip_prefix("+F:"));
    let figure = figure.and_then(|line| line.rsplit(':').next()?.parse().ok());
    figure
        .ok_or_else(|| format!("`openssl speed` gave no figure of {algorithm} but: {said}").into())
}

/// Lets both sides take turns: one run each that does not count, then `runs` of each.
pub fn in_turns<T>(
    runs: usize,
    mut ours: impl FnMut() -> Result<T, Box<dyn Error>>,
    mut peer: impl FnMut() -> Result<T, Box<dyn Error>>,
) -> Result<(Vec<T>, Vec<T>), Box<dyn Error>> {
    ours()?;
    peer()?;
    let mut samples = (Vec::new(), Vec::new());
    for run in 1..=runs {
        step::say("bench", &format!("run {run} of {runs}"));
        samples.0.push(ours()?);
        samples.1.push(peer()?);
    }
    Ok(samples)
}
