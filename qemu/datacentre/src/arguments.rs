//! How every command of this program ends: help, a wrong command line, a failure with its causes, or its own status.

use std::error::Error;
use std::process::ExitCode;
use std::time::SystemTime;

/// Why a command did not come to its own end.
pub enum Failure {
    Help,
    Line(lexopt::Error),
    Missing(&'static str),
    Command(Box<dyn Error>),
}

impl Failure {
    pub fn command(error: impl Error + 'static) -> Self {
        Self::Command(Box::new(error))
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Line(error)
    }
}

/// Exit status of a command; what is wrong goes to standard error with all its causes.
pub fn finish(name: &str, help: &str, result: Result<ExitCode, Failure>) -> ExitCode {
    match result {
        Ok(status) => status,
        Err(Failure::Help) => {
            print!("{help}");
            ExitCode::SUCCESS
        }
        Err(Failure::Line(error)) => {
            eprintln!("datacentre {name}: {error}; see datacentre {name} --help");
            ExitCode::from(2)
        }
        Err(Failure::Missing(what)) => {
            eprintln!("datacentre {name}: {what} is missing; see datacentre {name} --help");
            ExitCode::from(2)
        }
        Err(Failure::Command(error)) => {
            eprintln!("datacentre {name}: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// The host's clock in Unix seconds: commands read it once and hand it on.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
