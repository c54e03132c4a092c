//! Client of the audit role: one JSON line out, one back when the record is durable.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

const SOCKET: &str = "/run/audit/append.sock";

/// The record was not confirmed.
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
            Self::Exchange(_) => write!(f, "the audit role broke off before it confirmed the record"),
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

pub fn append(role: &str, event: &str, fields: serde_json::Value) -> Result<u64, AuditError> {
    let mut record = serde_json::Map::new();
    record.insert("role".into(), role.into());
    record.insert("event".into(), event.into());
    if let serde_json::Value::Object(fields) = fields {
        record.extend(fields);
    }
    let mut stream = UnixStream::connect(SOCKET).map_err(AuditError::Connect)?;
    let line = format!("{}\n", serde_json::Value::Object(record));
    stream.write_all(line.as_bytes()).map_err(AuditError::Exchange)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(AuditError::Exchange)?;
    let answer: serde_json::Value =
        serde_json::from_str(&answer).map_err(|e| AuditError::Exchange(e.into()))?;
    match answer["sequence"].as_u64() {
        Some(sequence) => Ok(sequence),
        None => Err(AuditError::Refused(answer["error"].as_str().unwrap_or("no reason given").to_owned())),
    }
}
