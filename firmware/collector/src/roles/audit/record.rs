//! The form of a record, and the proof that a trail is whole.
//!
//! A record is one line: a JSON object that begins with `sequence`, `time`, `previous`, `role` and `event`, in this order,
//! followed by the event's own fields in alphabetical order, and ends with a line feed. `previous` is the SHA-256, in
//! hex, of the line before without its line feed; in the first record it is 64 zeros. Sequence numbers begin with 1 and
//! have no gap. So a line that was changed, removed, put in or moved breaks the chain at that place. What the chain alone
//! cannot show is that lines are missing at its very end: that shows against a [`Head`] known from elsewhere (the mirror
//! on the serial log, later signed checkpoints).

use crate::runtime::keyholder::to_hex;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};

/// Longest record, with its line feed: one disk block could not hold a whole list of faults.
pub const LONGEST_RECORD_BYTES: usize = 32 * 1024;

/// What the next record is chained to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of the last record; zero before the first.
    pub sequence: u64,
    /// Digest of the last line.
    pub digest: String,
}

impl Head {
    /// Before the first record.
    pub fn start() -> Self {
        Self {
            sequence: 0,
            digest: "0".repeat(64),
        }
    }
}

/// A line that does not follow from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is no record: torn, or something else.
    NotARecord,
    /// The sequence number is not the next one.
    Sequence { expected: u64, found: u64 },
    /// It is chained to another line than the one before.
    Chain { sequence: u64 },
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotARecord => write!(f, "the line is no record"),
            Self::Sequence { expected, found } => {
                write!(f, "record {expected} is expected, {found} stands there")
            }
            Self::Chain { sequence } => write!(
                f,
                "record {sequence} is chained to another line than the one before"
            ),
        }
    }
}

impl std::error::Error for Flaw {}

/// The line, with its line feed, that follows `head`, and the head after it.
pub fn compose(
    head: &Head,
    time: &str,
    role: &str,
    event: &str,
    fields: &Map<String, Value>,
) -> (String, Head) {
    let sequence = head.sequence + 1;
    let text = |text: &str| Value::from(text).to_string();
    let mut line = format!(
        "{{\"sequence\":{sequence},\"time\":{},\"previous\":\"{}\",\"role\":{},\"event\":{}",
        text(time),
        head.digest,
        text(role),
        text(event)
    );
    for (key, value) in fields {
        line.push_str(&format!(",{}:{value}", text(key)));
    }
    line.push('}');
    let digest = to_hex(digest(&SHA256, line.as_bytes()).as_ref());
    line.push('\n');
    (line, Head { sequence, digest })
}

/// The head after `line` (without its line feed), when it follows from `head`.
pub fn follow(head: &Head, line: &[u8]) -> Result<Head, Flaw> {
    let record: Value = serde_json::from_slice(line).map_err(|_| Flaw::NotARecord)?;
    let (Some(sequence), Some(previous)) =
        (record["sequence"].as_u64(), record["previous"].as_str())
    else {
        return Err(Flaw::NotARecord);
    };
    let expected = head.sequence + 1;
    if sequence != expected {
        return Err(Flaw::Sequence {
            expected,
            found: sequence,
        });
    }
    if previous != head.digest {
        return Err(Flaw::Chain { sequence });
    }
    Ok(Head {
        sequence,
        digest: to_hex(digest(&SHA256, line).as_ref()),
    })
}

/// What a run of lines is worth.
pub struct Followed {
    /// After the last line that follows.
    pub head: Head,
    /// Bytes up to and with that line.
    pub good_bytes: usize,
    /// The first flaw; none when every byte belongs to a record that follows.
    pub flaw: Option<Flaw>,
    /// Whether a whole record stands behind the flaw: then it is no torn end.
    pub records_behind: bool,
}

/// Follows the chain through the bytes of a segment.
pub fn follow_all(mut head: Head, bytes: &[u8]) -> Followed {
    let mut good_bytes = 0;
    let mut flaw = None;
    let mut records_behind = false;
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        offset += line.len();
        let whole = line.strip_suffix(b"\n");
        if flaw.is_some() {
            // A line may have run into the torn one, so only its beginning counts as a record's.
            records_behind |= whole
                .is_some_and(|line| line.starts_with(b"{\"sequence\":") && line.ends_with(b"}"));
            continue;
        }
        match whole
            .ok_or(Flaw::NotARecord)
            .and_then(|line| follow(&head, line))
        {
            Ok(next) => (head, good_bytes) = (next, offset),
            Err(found) => {
                // A whole record that is wrong, unlike a torn line, is evidence by itself.
                records_behind |= found != Flaw::NotARecord;
                flaw = Some(found);
            }
        }
    }
    Followed {
        head,
        good_bytes,
        flaw,
        records_behind,
    }
}
