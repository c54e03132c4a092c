//! Client of the audit role: one JSON line out, one back when the record is durable.
//!
//! A record is appended at least once: where the connection breaks between record and answer, a patient caller may
//! append it a second time. A reader of the trail knows events by their fields (bundle, sequence), not by their count.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

pub const SOCKET: &str = "/run/audit/append.sock";

/// How long one exchange may take; a disk that syncs slower than this is as good as broken.
const EXCHANGE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// What to do when the trail cannot be reached at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Fail at once.
    None,
    /// Try again for this long.
    Seconds(u64),
    /// Try until it works: for steps that must not be taken unrecorded.
    Endless,
}

/// The record was not confirmed. `Refused` will be refused again; the others may pass.
#[derive(Debug)]
pub enum AuditError {
    Connect(std::io::Error),
    Exchange(std::io::Error),
    Refused(String),
}

impl std::fmt::Display for AuditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(_) => write!(f, "cannot reach the audit role at {SOCKET}"),
            Self::Exchange(_) => {
                write!(f, "the audit role broke off before it confirmed the record")
            }
            Self::Refused(why) => write!(f, "the audit role refused the record: {why}"),
        }
    }
}

impl std::error::Error for AuditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(source) | Self::Exchange(source) => Some(source),
            Self::Refused(_) => None,
        }
    }
}

/// Appends one record; `waiting` is called before each further attempt.
pub fn append(
    socket: &Path,
    role: &str,
    event: &str,
    fields: serde_json::Value,
    patience: Patience,
    waiting: impl Fn(),
) -> Result<u64, AuditError> {
    let mut record = serde_json::Map::new();
    if let serde_json::Value::Object(fields) = fields {
        record.extend(fields);
    }
    record.insert("role".into(), role.into());
    record.insert("event".into(), event.into());
    let line = format!("{}\n", serde_json::Value::Object(record));
    let begun = Instant::now();
    loop {
        let error = match exchange(socket, &line) {
            Ok(sequence) => return Ok(sequence),
            Err(error) => error,
        };
        let patient = match patience {
            Patience::None => false,
            Patience::Seconds(seconds) => begun.elapsed() < Duration::from_secs(seconds),
            Patience::Endless => true,
        };
        if !patient || matches!(error, AuditError::Refused(_)) {
            return Err(error);
        }
        waiting();
        std::thread::sleep(PAUSE);
    }
}

fn exchange(socket: &Path, line: &str) -> Result<u64, AuditError> {
    let mut stream = UnixStream::connect(socket).map_err(AuditError::Connect)?;
    stream
        .set_read_timeout(Some(EXCHANGE))
        .map_err(AuditError::Exchange)?;
    stream
        .set_write_timeout(Some(EXCHANGE))
        .map_err(AuditError::Exchange)?;
    stream
        .write_all(line.as_bytes())
        .map_err(AuditError::Exchange)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .map_err(AuditError::Exchange)?;
    let answer: serde_json::Value =
        serde_json::from_str(&answer).map_err(|e| AuditError::Exchange(e.into()))?;
    match answer["sequence"].as_u64() {
        Some(sequence) => Ok(sequence),
        None => Err(AuditError::Refused(
            answer["error"]
                .as_str()
                .unwrap_or("no reason given")
                .to_owned(),
        )),
    }
}
