//! What every role shares: log line, readiness and watchdog, published status, audit trail, signatures by the keyholder.

pub mod audit;
pub mod keyholder;

use std::path::{Path, PathBuf};

/// A running role's handles to `init`, `audit` and `console`.
pub struct Runtime {
    name: &'static str,
}

impl Runtime {
    pub fn new(name: &'static str) -> Self {
        Self { name }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// One line on the serial log, in one write.
    pub fn log(&self, text: &str) {
        log(self.name, text);
    }

    /// Tells `init` that this role does its work now (`READY=1`).
    pub fn ready(&self) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    }

    /// Tells `init` that this role is alive (`WATCHDOG=1`); call it at least every half watchdog period.
    pub fn alive(&self) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }

    /// The validated site configuration.
    pub fn plan(&self) -> Result<site::Plan, PlanError> {
        let path = PathBuf::from("/run/site/plan.json");
        let bytes = std::fs::read(&path).map_err(|source| PlanError::Read { path: path.clone(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| PlanError::Parse { path, source })
    }

    /// Publishes this role's status for `console`: written beside and renamed, so that a reader sees a whole one.
    pub fn publish(&self, status: &serde_json::Value) {
        let folder = Path::new("/run/status").join(self.name);
        let fresh = folder.join("status.json.new");
        if std::fs::write(&fresh, status.to_string()).is_ok() {
            let _ = std::fs::rename(&fresh, folder.join("status.json"));
        }
    }

    /// Appends a record to the audit trail and returns when it is durable there.
    pub fn audit(&self, event: &str, fields: serde_json::Value) -> Result<u64, audit::AuditError> {
        audit::append(self.name, event, fields)
    }
}

/// Writes one line `<role>: text` to standard error in one write.
pub fn log(role: &str, text: &str) {
    use std::io::Write;
    let line = format!("{role}: {}\n", text.replace('\n', " / "));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// An error and its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// The plan could not be had.
#[derive(Debug)]
pub enum PlanError {
    Read { path: PathBuf, source: std::io::Error },
    Parse { path: PathBuf, source: serde_json::Error },
}

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read the plan {}", path.display()),
            Self::Parse { path, .. } => write!(f, "the plan {} is not one of this version", path.display()),
        }
    }
}

impl std::error::Error for PlanError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Parse { source, .. } => Some(source),
        }
    }
}
