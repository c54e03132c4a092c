//! What every role shares: log line, readiness and watchdog, published status, audit trail, signatures by the keyholder.
//!
//! 1. Nothing here ends a role: what fails is returned or, where the role's work goes on without it, dropped.
//! 2. A log line is written in one write, so that lines of two roles never mix.
//! 3. A published status is whole: written beside and renamed.
//!
//! **Published status.** Each role's object may hold these keys, which `console` knows; all others are shown as they
//! are: `state` (one word or short sentence), `problem` (what is wrong, absent when nothing is), `advice` (what a
//! person can do about it). Never a name or content of a hospital's file.

pub mod audit;
pub mod keyholder;
pub mod line_server;
pub mod time;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running role's handles to `init`, `audit` and `console`.
pub struct Runtime {
    name: &'static str,
    root: PathBuf,
}

impl Runtime {
    /// On the box.
    pub fn new(name: &'static str) -> Self {
        if let Ok(title) = std::ffi::CString::new(name) {
            let _ = rustix::thread::set_name(&title);
        }
        Self {
            name,
            root: PathBuf::from("/"),
        }
    }

    /// With every path below `root`, for tests.
    pub fn below(name: &'static str, root: impl Into<PathBuf>) -> Self {
        Self {
            name,
            root: root.into(),
        }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where the box's absolute path `path` is in this run.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
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

    /// The longest that a role may wait without calling [`Runtime::alive`]: a third of the watchdog's period.
    pub fn longest_wait(&self) -> Duration {
        const WITHOUT_WATCHDOG: Duration = Duration::from_secs(10);
        sd_notify::watchdog_enabled().map_or(WITHOUT_WATCHDOG, |period| period / 3)
    }

    /// The validated site configuration.
    pub fn plan(&self) -> Result<site::Plan, PlanError> {
        let path = self.path(PLAN);
        let bytes = std::fs::read(&path).map_err(|source| PlanError::Read {
            path: path.clone(),
            source,
        })?;
        serde_json::from_slice(&bytes).map_err(|source| PlanError::Parse { path, source })
    }

    /// Publishes this role's status for `console`: written beside and renamed, so that a reader sees a whole one.
    pub fn publish(&self, status: &serde_json::Value) {
        let folder = self.path("/run/status").join(self.name);
        let fresh = folder.join("status.json.new");
        if std::fs::write(&fresh, status.to_string()).is_ok() {
            let _ = std::fs::rename(&fresh, folder.join("status.json"));
        }
    }

    /// Appends a record to the audit trail and returns when it is durable there. Waits a few seconds for a trail that
    /// is just being restarted.
    pub fn audit(&self, event: &str, fields: serde_json::Value) -> Result<u64, audit::AuditError> {
        self.audit_with(event, fields, audit::Patience::Seconds(5))
    }

    /// As [`Runtime::audit`], with a chosen patience. Signs of life are given while waiting.
    pub fn audit_with(
        &self,
        event: &str,
        fields: serde_json::Value,
        patience: audit::Patience,
    ) -> Result<u64, audit::AuditError> {
        audit::append(
            &self.path(audit::SOCKET),
            self.name,
            event,
            fields,
            patience,
            || self.alive(),
        )
    }

    /// The DER signature of a SHA-256 digest by the box's key, made by the role `keyholder`.
    pub fn sign(
        &self,
        key: keyholder::Key,
        digest: &[u8; 32],
    ) -> Result<Vec<u8>, keyholder::SignError> {
        keyholder::sign(&self.path(keyholder::SOCKET), key, digest)
    }
}

/// Where `maintenance` leaves the validated configuration.
pub const PLAN: &str = "/run/site/plan.json";

/// Writes one line `<role>: text` to standard error in one write.
pub fn log(role: &str, text: &str) {
    use std::io::Write;
    let clean: String = text
        .chars()
        .map(|c| if c == '\n' { '/' } else { c })
        .filter(|c| !c.is_control())
        .collect();
    let _ = std::io::stderr().write_all(format!("{role}: {clean}\n").as_bytes());
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
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    Parse {
        path: PathBuf,
        source: serde_json::Error,
    },
}

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read the plan {}", path.display()),
            Self::Parse { path, .. } => {
                write!(f, "the plan {} is not one of this version", path.display())
            }
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
