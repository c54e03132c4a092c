//! Processes that end with their owner.
//!
//! 1. An [`Owned`] process is killed and reaped when the value is dropped.
//! 2. It is killed by the kernel when the harness dies without dropping anything (`setpriv --pdeathsig`). The kernel
//!    binds that to the thread which started it, so one thread that never ends starts them all.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};

/// A child process that does not outlive this value.
#[derive(Debug)]
pub struct Owned {
    name: String,
    child: Child,
}

impl Owned {
    /// Starts `program`; both its outputs go to the file `log`.
    pub fn start(program: &Path, arguments: &[OsString], log: &Path) -> Result<Self, ProcessError> {
        let name = program.display().to_string();
        let failed = |source| ProcessError::Start {
            program: name.clone(),
            source,
        };
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = start_from_lasting_thread(command).map_err(failed)?;
        Ok(Self { name, child })
    }

    pub fn identifier(&self) -> u32 {
        self.child.id()
    }

    /// `Some` once the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) -> Result<(), ProcessError> {
        let failed = |source| ProcessError::Kill {
            program: self.name.clone(),
            source,
        };
        self.child.kill().map_err(failed)?;
        self.child.wait().map_err(failed)?;
        Ok(())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Request = (Command, Sender<io::Result<Child>>);

fn start_from_lasting_thread(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (requests, inbox): (Sender<Request>, Receiver<Request>) = channel();
        std::thread::spawn(move || {
            while let Ok((mut command, answer)) = inbox.recv() {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(requests)
    });
    let (answer, result) = channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    starter
        .lock()
        .map_err(|_| gone())?
        .send((command, answer))
        .map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}

/// Runs a program of the host to its end; its output comes back, a failure carries its last words.
pub fn run(command: &mut Command) -> Result<Vec<u8>, ProcessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ProcessError::Start {
            program: program.clone(),
            source,
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words
        .lines()
        .rev()
        .take(5)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect::<Vec<_>>()
        .join(" / ");
    Err(ProcessError::Failed {
        program,
        status: output.status,
        words,
    })
}

/// A process could not be started, ended or relied on.
#[derive(Debug)]
pub enum ProcessError {
    Start {
        program: String,
        source: io::Error,
    },
    Kill {
        program: String,
        source: io::Error,
    },
    Failed {
        program: String,
        status: ExitStatus,
        words: String,
    },
}

impl std::fmt::Display for ProcessError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start { program, .. } => write!(f, "cannot start {program}; is it installed"),
            Self::Kill { program, .. } => write!(f, "cannot end {program}"),
            Self::Failed {
                program,
                status,
                words,
            } => write!(f, "{program} failed ({status}): {words}"),
        }
    }
}

impl std::error::Error for ProcessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } | Self::Kill { source, .. } => Some(source),
            Self::Failed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let process = Owned::start(
            Path::new("sleep"),
            &["1000".into()],
            &folder.path().join("log"),
        )
        .expect("starts");
        let entry = format!("/proc/{}", process.identifier());
        assert!(Path::new(&entry).exists());
        drop(process);
        assert!(!Path::new(&entry).exists());
    }

    #[test]
    fn a_failing_program_is_reported_with_its_last_words() {
        let error =
            run(Command::new("sh").args(["-c", "echo first; echo 'no such disc' >&2; exit 3"]))
                .unwrap_err();
        assert!(error.to_string().ends_with("no such disc"), "{error}");
    }
}
