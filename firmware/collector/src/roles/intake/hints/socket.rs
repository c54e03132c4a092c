//! Hints from the role `listener`: a socket that takes paths at which a server has said that something changed.
//!
//! 1. Only the listener's uid is heard, as the kernel knows it; requests and connections are bounded.
//! 2. What it says is a claim: a path is a hint like any other, for a source by its name.
//!
//! Protocol, one line each: `{"source":"<name>","changed":["<hex of a path below the root>",...],"too_many":false}` gives
//! `{"taken":true}` or `{"error":"..."}`.

use super::{Hints, Origin};
use crate::runtime::line_server::{LineServer, Request, refusal};
use crate::runtime::{chain, keyholder};
use serde::{Deserialize, Serialize};
use site::Source;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const SOCKET: &str = "/run/intake/hints.sock";

/// Longest request, in bytes.
pub const LONGEST_LINE: usize = 64 * 1024;

/// The thread has nothing else to do.
const TURN: Duration = Duration::from_secs(60);

/// Paths at which something changed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    pub source: String,
    /// In hex: they are bytes, not text.
    pub changed: Vec<String>,
    /// More changed than is listed.
    pub too_many: bool,
}

/// Serves in a thread that ends with the process. Without it hints of servers are missed, and nothing else.
pub fn start(
    path: &Path,
    listener: u32,
    sources: &[Source],
    hints: &[Arc<Hints>],
    log: impl Fn(&str) + Send + 'static,
) {
    let sources: Vec<_> = sources
        .iter()
        .map(|source| source.name.clone())
        .zip(hints.iter().cloned())
        .collect();
    let mut server = match LineServer::bind(path, LONGEST_LINE) {
        Ok(server) => server,
        Err(error) => return log(&chain(&error)),
    };
    let serve = move || {
        loop {
            let turn = server.turn(TURN, |requests| {
                requests
                    .iter()
                    .map(|request| answer(request, listener, &sources))
                    .collect()
            });
            if let Err(error) = turn {
                return log(&chain(&error));
            }
        }
    };
    let _ = std::thread::Builder::new()
        .name("hints".to_owned())
        .spawn(serve);
}

fn answer(request: &Request, listener: u32, sources: &[(String, Arc<Hints>)]) -> String {
    if request.uid != listener {
        return refusal(&format!("uid {} gives no hints", request.uid));
    }
    let Ok(changed) = serde_json::from_str::<Changed>(&request.line) else {
        return refusal(
            "this is no request; it takes exactly the fields source, changed and too_many",
        );
    };
    let Some((_, hints)) = sources.iter().find(|(name, _)| *name == changed.source) else {
        return refusal("there is no such source");
    };
    for path in &changed.changed {
        match keyholder::from_hex(path) {
            Some(path) => hints.changed(Origin::Server, &path),
            None => hints.ignore(1),
        }
    }
    if changed.too_many {
        hints.too_many(Origin::Server);
    }
    serde_json::json!({ "taken": true }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listener_is_heard_and_only_for_sources_that_there_are() {
        let hints = Arc::new(Hints::default());
        let sources = [("wards".to_owned(), Arc::clone(&hints))];
        let ask = |uid, line: &str| {
            let request = Request {
                uid,
                line: line.to_owned(),
            };
            answer(&request, 111, &sources)
        };
        let line = |source: &str| {
            let changed = vec![keyholder::to_hex(b"000/a/file"), "no hex".to_owned()];
            serde_json::to_string(&Changed {
                source: source.to_owned(),
                changed,
                too_many: false,
            })
            .unwrap()
        };
        for (uid, line) in [
            (101, line("wards")),
            (0, line("wards")),
            (111, line("other")),
            (111, "{}".to_owned()),
        ] {
            assert!(ask(uid, &line).contains("error"), "{uid} {line}");
        }
        assert!(hints.is_empty());
        assert!(ask(111, &line("wards")).contains("taken"));
        assert!(hints.take().folders.contains(&b"000/a"[..]));
        assert_eq!(hints.counts().ignored, 1);
    }
}
