//! Runs a long command with its output in a log file, telling the elapsed time against an estimate.
//!
//! 1. All output of the command is in the log; on failure the log's path and its last lines are shown.
//! 2. A command that needs root is prefixed with `sudo` when we are not root, and says so first.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a running step tells that it lives.
const REPORT_EVERY: Duration = Duration::from_secs(20);
/// How often a finished command is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Lines of the log shown when a step fails.
const LAST_LINES: usize = 25;

/// Why a step did not succeed.
#[derive(Debug)]
pub enum Error {
    /// The log could not be written or read.
    Log { path: PathBuf, cause: io::Error },
    /// The program could not be started.
    Start { program: String, cause: io::Error },
    /// The program ended with a failure.
    Failed {
        what: String,
        status: ExitStatus,
        log: PathBuf,
        last: String,
    },
    /// The program's answer was asked for, and it failed.
    Answer {
        program: String,
        status: ExitStatus,
        text: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Log { path, .. } => write!(f, "cannot use the log file {}", path.display()),
            Error::Start { program, .. } => write!(f, "cannot start {program}"),
            Error::Failed {
                what,
                status,
                log,
                last,
            } => {
                write!(
                    f,
                    "{what} failed ({status}); the end of {}:\n{last}",
                    log.display()
                )
            }
            Error::Answer {
                program,
                status,
                text,
            } => write!(f, "{program} failed ({status}): {}", text.trim()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Log { cause, .. } | Error::Start { cause, .. } => Some(cause),
            Error::Failed { .. } | Error::Answer { .. } => None,
        }
    }
}

/// One long command.
pub struct Step<'a> {
    /// What is done, as the operator reads it.
    pub what: &'a str,
    /// How long it takes on this machine, as far as known.
    pub estimate: Duration,
    /// Where its output goes.
    pub log: &'a Path,
}

impl Step<'_> {
    /// Runs the command to its end.
    pub fn run(&self, command: &mut Command) -> Result<(), Error> {
        let log_error = |cause| Error::Log {
            path: self.log.to_owned(),
            cause,
        };
        if let Some(parent) = self.log.parent() {
            fs::create_dir_all(parent).map_err(log_error)?;
        }
        let log = File::create(self.log).map_err(log_error)?;
        let errors = log.try_clone().map_err(log_error)?;
        say(
            self.what,
            &format!("started, takes about {}", human(self.estimate)),
        );
        let begun = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|cause| start_error(command, cause))?;
        let mut reported = Instant::now();
        let status = loop {
            if let Some(status) = child
                .try_wait()
                .map_err(|cause| start_error(command, cause))?
            {
                break status;
            }
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                say(
                    self.what,
                    &format!(
                        "{} of about {}",
                        human(begun.elapsed()),
                        human(self.estimate)
                    ),
                );
            }
            thread::sleep(LOOK_EVERY);
        };
        if status.success() {
            say(self.what, &format!("done in {}", human(begun.elapsed())));
            return Ok(());
        }
        let last = last_lines(self.log).map_err(log_error)?;
        Err(Error::Failed {
            what: self.what.to_owned(),
            status,
            log: self.log.to_owned(),
            last,
        })
    }
}

/// One line of progress.
pub fn say(what: &str, text: &str) {
    println!("{what}: {text}");
}

/// Runs a short command and gives what it printed.
pub fn answer(command: &mut Command) -> Result<String, Error> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| start_error(command, cause))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Answer {
        program: name(command),
        status: output.status,
        text: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A command that runs as root: by itself when we are root, else through `sudo`.
pub fn as_root(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("--").arg(program);
    command
}

/// Whether this process has the rights of root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn start_error(command: &Command, cause: io::Error) -> Error {
    Error::Start {
        program: name(command),
        cause,
    }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn last_lines(log: &Path) -> io::Result<String> {
    let text = fs::read(log)?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"))
}

/// A duration as a person says it.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=59 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_shows_its_log_and_last_lines() {
        let dir = std::env::temp_dir().join(format!("step-{}", std::process::id()));
        let log = dir.join("step.log");
        let step = Step {
            what: "trial",
            estimate: Duration::from_secs(1),
            log: &log,
        };
        let error = step
            .run(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"]))
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("step.log") && text.ends_with("one\ntwo"),
            "{text}"
        );
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_program_that_is_absent_is_named() {
        let error = answer(&mut Command::new("no-such-program-here")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start no-such-program-here");
    }
}
