//! Client of the keyholder: a digest goes out, a signature comes back; the private key never leaves its role.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub const SOCKET: &str = "/run/keyholder/sign.sock";

/// A signature takes less than a millisecond; this is for a box that is short of everything.
const EXCHANGE: Duration = Duration::from_secs(10);

/// The box's private keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Signs bundles; for `intake`.
    Sealing,
    /// Signs TLS handshakes; for `sender`.
    Upload,
}

impl Key {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sealing => "sealing",
            Self::Upload => "upload",
        }
    }
}

/// There is no signature. `Refused` will be refused again; the others may pass.
#[derive(Debug)]
pub enum SignError {
    Connect(std::io::Error),
    Exchange(std::io::Error),
    Refused(String),
}

impl std::fmt::Display for SignError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(_) => write!(f, "cannot reach the keyholder at {SOCKET}"),
            Self::Exchange(_) => write!(f, "the keyholder broke off before it gave a signature"),
            Self::Refused(why) => write!(f, "the keyholder refused to sign: {why}"),
        }
    }
}

impl std::error::Error for SignError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(source) | Self::Exchange(source) => Some(source),
            Self::Refused(_) => None,
        }
    }
}

/// The DER ECDSA signature of a SHA-256 digest.
pub fn sign(socket: &Path, key: Key, digest: &[u8; 32]) -> Result<Vec<u8>, SignError> {
    let mut stream = UnixStream::connect(socket).map_err(SignError::Connect)?;
    stream
        .set_read_timeout(Some(EXCHANGE))
        .map_err(SignError::Exchange)?;
    stream
        .set_write_timeout(Some(EXCHANGE))
        .map_err(SignError::Exchange)?;
    let request = serde_json::json!({ "key": key.name(), "digest": to_hex(digest) });
    stream
        .write_all(format!("{request}\n").as_bytes())
        .map_err(SignError::Exchange)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .map_err(SignError::Exchange)?;
    let answer: serde_json::Value =
        serde_json::from_str(&answer).map_err(|e| SignError::Exchange(e.into()))?;
    match answer["signature"].as_str().and_then(from_hex) {
        Some(signature) => Ok(signature),
        None => Err(SignError::Refused(
            answer["error"]
                .as_str()
                .unwrap_or("no reason given")
                .to_owned(),
        )),
    }
}

/// Lower-case hex.
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Bytes of an even number of hex digits.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
