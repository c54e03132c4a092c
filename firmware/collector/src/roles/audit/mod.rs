//! Role `audit`: the trail of what the box did. Append-only, chained, durable before it is confirmed.
//!
//! 1. A record is confirmed after it is on the disk; what arrived together is synced once.
//! 2. Who wrote a record is what the kernel says of the peer, by the role table; a peer that claims another role is
//!    refused.
//! 3. Every record is mirrored on the serial log, as `audit: {record}` on one line.
//! 4. Nothing is ever deleted. `trail` has the argument for cuts and full disks, `record` the form and the proof.
//!
//! It needs no configuration, so that it runs before the box is commissioned. Signed checkpoints, which make a missing
//! end visible to somebody who has nothing but the disk, are not built yet; until then the mirror is the witness.

mod record;
mod trail;

pub use record::{Flaw, Head};
pub use trail::{VerifyError, verify};

use crate::role_table;
use crate::runtime::audit::SOCKET;
use crate::runtime::line_server::{LineServer, Request, refusal};
use crate::runtime::{Runtime, chain, time};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant, SystemTime};
use trail::{Disk, Entry, Found, Medium, Trail, TrailError};

/// Leaves room for what the trail adds to a record.
const LONGEST_REQUEST_BYTES: usize = 16 * 1024;
/// Between two attempts to get the reserve back, and between two publications of an unchanged state.
const MINUTE: Duration = Duration::from_secs(60);
/// What a record has by itself; an event's own fields have other names.
const RESERVED_FIELDS: &[&str] = &["sequence", "time", "previous"];

pub fn run(runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    let (mut trail, found) = Trail::open(&runtime.path("/state/audit"), Disk)?;
    let mut server = LineServer::bind(&runtime.path(SOCKET), LONGEST_REQUEST_BYTES)?;
    begin(&runtime, &mut trail, &found)?;
    runtime.ready();
    let mut reserve_tried = Instant::now();
    loop {
        let mut failed = None;
        server.turn(runtime.longest_wait(), |requests| {
            let (answers, error) = answer(&runtime, &mut trail, requests, role_of);
            failed = error;
            publish(&runtime, &trail, failed.as_ref());
            answers
        })?;
        runtime.alive();
        if let Some(error @ TrailError::Unknown { .. }) = failed {
            return Err(error.into());
        }
        if !trail.reserved() && reserve_tried.elapsed() > MINUTE {
            trail.reserve();
            reserve_tried = Instant::now();
        }
    }
}

/// The first records of a run: what was found on the disk, and that the box has booted.
fn begin(
    runtime: &Runtime,
    trail: &mut Trail<impl Medium>,
    found: &[Found],
) -> Result<(), TrailError> {
    for one in found {
        let (event, fields) = match one {
            Found::Torn { bytes } => ("trail-cut", json!({ "bytes": bytes })),
            Found::Broken {
                segment,
                after_sequence,
            } => (
                "trail-broken",
                json!({ "segment": segment, "after": after_sequence }),
            ),
        };
        append_own(runtime, trail, event, &fields)?;
    }
    append_own(
        runtime,
        trail,
        "boot",
        &json!({ "version": env!("CARGO_PKG_VERSION") }),
    )?;
    publish(runtime, trail, None);
    Ok(())
}

fn append_own(
    runtime: &Runtime,
    trail: &mut Trail<impl Medium>,
    event: &str,
    fields: &Value,
) -> Result<(), TrailError> {
    let empty = Map::new();
    let fields = fields.as_object().unwrap_or(&empty);
    let entry = Entry {
        role: runtime.name(),
        event,
        fields,
    };
    match trail.append(&[entry], &time::rfc3339(SystemTime::now())) {
        Ok(lines) => lines.iter().for_each(|line| runtime.log(line.trim_end())),
        // On a full disk the role still serves: it must answer, and go on when there is room.
        Err(error @ TrailError::Write { .. }) => runtime.log(&chain(&error)),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The role that a uid is, by the table; `init` is the only one with uid 0.
fn role_of(uid: u32) -> Option<&'static str> {
    if uid == 0 {
        return Some("init");
    }
    role_table::ROLES
        .iter()
        .find(|role| role.uid == uid)
        .map(|role| role.name)
}

struct Claimed {
    role: &'static str,
    event: String,
    fields: Map<String, Value>,
}

/// Appends what is right in form, with one sync, and answers every request.
fn answer(
    runtime: &Runtime,
    trail: &mut Trail<impl Medium>,
    requests: &[Request],
    role_of: impl Fn(u32) -> Option<&'static str>,
) -> (Vec<String>, Option<TrailError>) {
    let claimed: Vec<Result<Claimed, String>> = requests
        .iter()
        .map(|request| read(request, &role_of))
        .collect();
    let entries: Vec<Entry<'_>> = claimed
        .iter()
        .flatten()
        .map(|claimed| Entry {
            role: claimed.role,
            event: &claimed.event,
            fields: &claimed.fields,
        })
        .collect();
    if entries.is_empty() {
        return (
            claimed
                .into_iter()
                .filter_map(Result::err)
                .map(|why| refusal(&why))
                .collect(),
            None,
        );
    }
    let first = trail.head().sequence + 1;
    let outcome = trail.append(&entries, &time::rfc3339(SystemTime::now()));
    if let Ok(lines) = &outcome {
        lines.iter().for_each(|line| runtime.log(line.trim_end()));
    }
    let mut sequence = first..;
    let answers = claimed
        .iter()
        .map(|claimed| match (claimed, &outcome) {
            (Err(why), _) => refusal(why),
            (Ok(_), Err(error)) => refusal(&chain(error)),
            (Ok(_), Ok(_)) => json!({ "sequence": sequence.next() }).to_string(),
        })
        .collect();
    (answers, outcome.err())
}

/// The one function that makes a request a record.
fn read(
    request: &Request,
    role_of: impl Fn(u32) -> Option<&'static str>,
) -> Result<Claimed, String> {
    let role = role_of(request.uid).ok_or_else(|| format!("uid {} is no role", request.uid))?;
    let Ok(Value::Object(mut fields)) = serde_json::from_str(&request.line) else {
        return Err("this is no JSON object".to_owned());
    };
    if fields.remove("role").as_ref().and_then(Value::as_str) != Some(role) {
        return Err(format!(
            "field role must be {role:?}, which is uid {}",
            request.uid
        ));
    }
    let event = match fields.remove("event") {
        Some(Value::String(event)) if is_event(&event) => event,
        _ => return Err("field event must be 1 to 40 characters of a-z and -".to_owned()),
    };
    match RESERVED_FIELDS
        .iter()
        .find(|field| fields.contains_key(**field))
    {
        Some(field) => Err(format!("field {field} is the trail's own")),
        None => Ok(Claimed {
            role,
            event,
            fields,
        }),
    }
}

fn is_event(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

fn publish(runtime: &Runtime, trail: &Trail<impl Medium>, error: Option<&TrailError>) {
    let head = trail.head();
    let mut status = json!({
        "state": if trail.reserved() { "recording" } else { "recording on a full disk" },
        "sequence": head.sequence,
        "digest": head.digest,
        "reserve": trail.reserved(),
    });
    if let Some(error) = error {
        status["problem"] = chain(error).into();
        status["advice"] =
            "the box cannot record what it does and will stop collecting: call the operator".into();
    } else if !trail.reserved() {
        status["problem"] = "the state disk is full".into();
        status["advice"] = "let the box deliver what it holds, or call the operator".into();
    }
    runtime.publish(&status);
}

#[cfg(test)]
mod tests;
