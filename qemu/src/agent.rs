//! The harness's side of a guest's agent.

use lab_guest::{Action, Answer, Service};
use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::limits::{GUEST_ACTION, GUEST_BOOTS};

/// A guest that obeys.
#[derive(Debug)]
pub struct Agent {
    machine: &'static str,
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Agent {
    pub fn new(machine: &'static str, stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(GUEST_BOOTS.duration))?;
        Ok(Self {
            machine,
            writer: stream.try_clone()?,
            reader: BufReader::new(stream),
        })
    }

    /// Waits until the guest has booted.
    pub fn wait_until_up(&mut self) -> Result<(), AgentError> {
        self.ask(&Action::Ping, &[])?;
        let failed = |source| AgentError::Broken {
            machine: self.machine,
            doing: "ping".to_owned(),
            source,
        };
        self.writer
            .set_read_timeout(Some(GUEST_ACTION.duration))
            .map_err(failed)
    }

    pub fn start(&mut self, service: Service) -> Result<(), AgentError> {
        self.ask(&Action::Start { service }, &[]).map(drop)
    }

    pub fn stop(&mut self, service: Service) -> Result<(), AgentError> {
        self.ask(&Action::Stop { service }, &[]).map(drop)
    }

    /// Lines of the tree's digest, as `hospital digest` prints them.
    pub fn digest(&mut self, folder: &Path) -> Result<Vec<String>, AgentError> {
        let (_, text) = self.ask(
            &Action::Digest {
                folder: folder.to_owned(),
            },
            &[],
        )?;
        Ok(lines(&text))
    }

    pub fn list(&mut self, folder: &Path) -> Result<Vec<String>, AgentError> {
        let (_, text) = self.ask(
            &Action::List {
                folder: folder.to_owned(),
            },
            &[],
        )?;
        Ok(lines(&text))
    }

    pub fn write(&mut self, path: &Path, content: &[u8]) -> Result<(), AgentError> {
        self.ask(
            &Action::Write {
                path: path.to_owned(),
                renamed_from: None,
            },
            content,
        )
        .map(drop)
    }

    /// One action and its answer; an answer of failure is an error.
    pub fn ask(
        &mut self,
        action: &Action,
        payload: &[u8],
    ) -> Result<(Answer, Vec<u8>), AgentError> {
        let doing = || format!("{action:?}");
        let broken = |source| AgentError::Broken {
            machine: self.machine,
            doing: doing(),
            source,
        };
        lab_guest::send(&mut self.writer, action, payload).map_err(broken)?;
        match lab_guest::receive::<Answer>(&mut self.reader).map_err(broken)? {
            (Answer::Failed(why), _) => Err(AgentError::Failed {
                machine: self.machine,
                doing: doing(),
                why,
            }),
            answer => Ok(answer),
        }
    }
}

fn lines(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// A guest did not do it.
#[derive(Debug)]
pub enum AgentError {
    Broken {
        machine: &'static str,
        doing: String,
        source: io::Error,
    },
    Failed {
        machine: &'static str,
        doing: String,
        why: String,
    },
}

impl std::fmt::Display for AgentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken { machine, doing, .. } => write!(
                f,
                "the agent of {machine} gave no answer to {doing}; see its serial log"
            ),
            Self::Failed {
                machine,
                doing,
                why,
            } => write!(f, "{machine} could not do {doing}: {why}"),
        }
    }
}

impl std::error::Error for AgentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken { source, .. } => Some(source),
            Self::Failed { .. } => None,
        }
    }
}
