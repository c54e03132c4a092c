//! The status page and its summary, from what the roles have published. No I/O.
//!
//! What a role publishes may quote an operator, a server or a device. Nothing but printable ASCII reaches the screen, and
//! nothing longer than it.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A text screen without settings.
pub const COLUMNS: usize = 80;
pub const ROWS: usize = 25;

/// Whose problem is shown first: what keeps all others from working.
const ORDER: &[&str] = &[
    "maintenance",
    "audit",
    "init",
    "keyholder",
    "intake",
    "tunnel",
    "sender",
    "clock",
    "ports",
    "listener",
    "console",
];

/// What is published, by role.
pub type Published = BTreeMap<String, Value>;

/// Memory in KiB, as the kernel counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub total_kb: u64,
    pub available_kb: u64,
}

/// `MemTotal` and `MemAvailable` of `/proc/meminfo`.
pub fn memory(meminfo: &str) -> Memory {
    let value = |key: &str| {
        let mut lines = meminfo
            .lines()
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        lines
            .next()
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    Memory {
        total_kb: value("MemTotal"),
        available_kb: value("MemAvailable"),
    }
}

/// A problem and what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub role: String,
    pub text: String,
    pub advice: String,
}

/// All problems, the most important first.
pub fn problems(published: &Published) -> Vec<Problem> {
    let rank = |role: &str| {
        ORDER
            .iter()
            .position(|name| *name == role)
            .unwrap_or(ORDER.len())
    };
    let mut problems: Vec<Problem> = published
        .iter()
        .filter_map(|(role, status)| {
            let text = status["problem"].as_str()?.to_owned();
            let advice = status["advice"].as_str().unwrap_or_default().to_owned();
            Some(Problem {
                role: role.clone(),
                text,
                advice,
            })
        })
        .collect();
    problems.sort_by_key(|problem| rank(&problem.role));
    problems
}

/// The box in one object, without what changes all the time.
pub fn summary(published: &Published) -> Value {
    let init = published.get("init").unwrap_or(&Value::Null);
    let mut roles = Map::new();
    for role in init["roles"].as_array().into_iter().flatten() {
        if let (Some(name), Some(state)) = (role["name"].as_str(), role["state"].as_str()) {
            roles.insert(name.to_owned(), json!({ "process": state }));
        }
    }
    for (role, status) in published
        .iter()
        .filter(|(role, _)| !matches!(role.as_str(), "init" | "console"))
    {
        let entry = roles.entry(role.clone()).or_insert_with(|| json!({}));
        entry["state"] = status["state"].clone();
    }
    let of = |role: &str, key: &str| {
        published
            .get(role)
            .map_or(Value::Null, |status| status[key].clone())
    };
    let source = |source: &Value| json!({ "name": source["name"], "state": source["state"], "files": source["files"] });
    let sources: Vec<Value> = of("intake", "sources")
        .as_array()
        .map(|sources| sources.iter().map(source).collect())
        .unwrap_or_default();
    let first = problems(published).into_iter().next();
    json!({
        "commissioned": init["commissioned"],
        "roles": roles,
        "tunnel": of("tunnel", "state"),
        "queued_bundles": of("intake", "queued_bundles"),
        "queued_bytes": of("intake", "queued_bytes"),
        "sealed": of("intake", "sealed"),
        "delivered": of("sender", "delivered"),
        "sources": sources,
        "mounts": init["mounts"],
        "problem": first.as_ref().map(|problem| &problem.text),
        "advice": first.as_ref().map(|problem| &problem.advice),
    })
}

/// The page, at most [`ROWS`] lines of at most [`COLUMNS`] characters.
pub fn page(version: &str, time: &str, memory: Memory, published: &Published) -> Vec<String> {
    let mut lines = vec![
        format!(
            "COLLECTOR {version}    {time}    memory {}",
            megabytes(memory)
        ),
        String::new(),
    ];
    let problems = problems(published);
    if problems.is_empty() {
        lines.push("No problem is known.".to_owned());
    }
    for problem in &problems {
        lines.push(format!("PROBLEM ({}) {}", problem.role, problem.text));
        if !problem.advice.is_empty() {
            lines.push(format!("     TO DO: {}", problem.advice));
        }
    }
    // All faults of a configuration beside each other are what the operator came for.
    let faults = published
        .get("maintenance")
        .and_then(|status| status["faults"].as_array());
    lines.extend(
        faults
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .flat_map(wrapped),
    );
    lines.push(String::new());
    for (role, status) in published
        .iter()
        .filter(|(role, _)| role.as_str() != "console")
    {
        let state = status["state"]
            .as_str()
            .unwrap_or(if role == "init" { "running" } else { "" });
        lines.push(format!("{role:<12} {state}{}", figures(status)));
    }
    lines.truncate(ROWS - 1);
    lines.iter().map(|line| clean(line)).collect()
}

fn megabytes(memory: Memory) -> String {
    format!(
        "{} of {} MiB",
        memory.total_kb.saturating_sub(memory.available_kb) / 1024,
        memory.total_kb / 1024
    )
}

/// A fault over as many lines as it needs, with its later ones set in.
fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = COLUMNS - 4;
    let characters: Vec<char> = text.chars().collect();
    let mark = |index| if index == 0 { "  " } else { "    " };
    characters
        .chunks(WIDTH)
        .enumerate()
        .map(|(index, part)| mark(index).to_owned() + &part.iter().collect::<String>())
        .collect()
}

/// The numbers and short words that a role publishes beside the known keys.
fn figures(status: &Value) -> String {
    let known = ["state", "problem", "advice", "digest"];
    let mut text = String::new();
    for (key, value) in status
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !known.contains(&key.as_str()))
    {
        let value = match value {
            Value::Number(number) => number.to_string(),
            Value::String(word) if word.len() <= 24 => word.clone(),
            _ => continue,
        };
        text.push_str(&format!("  {key} {value}"));
    }
    text
}

/// Printable ASCII, as wide as the screen.
fn clean(line: &str) -> String {
    let printable = line.chars().map(|c| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    });
    printable.take(COLUMNS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(statuses: &[(&str, Value)]) -> Published {
        statuses
            .iter()
            .map(|(role, status)| ((*role).to_owned(), status.clone()))
            .collect()
    }

    fn shown(statuses: &[(&str, Value)]) -> String {
        page(
            "1.0",
            "2026-11-22T00:00:00Z",
            Memory {
                total_kb: 2048,
                available_kb: 1024,
            },
            &published(statuses),
        )
        .join("\n")
    }

    #[test]
    fn the_page_shows_states_figures_and_the_problem_with_its_advice() {
        let text = shown(&[
            (
                "intake",
                json!({ "state": "collecting", "queued_bundles": 3, "sources": [] }),
            ),
            (
                "ports",
                json!({ "state": "devices are refused", "problem": "a stick", "advice": "pull it out" }),
            ),
            (
                "audit",
                json!({ "state": "recording", "problem": "the state disk is full", "advice": "call" }),
            ),
        ]);
        let expected = "COLLECTOR 1.0    2026-11-22T00:00:00Z    memory 1 of 2 MiB\n\n\
             PROBLEM (audit) the state disk is full\n     TO DO: call\n\
             PROBLEM (ports) a stick\n     TO DO: pull it out\n\n\
             audit        recording\n\
             intake       collecting  queued_bundles 3\n\
             ports        devices are refused";
        assert_eq!(text, expected);
    }

    #[test]
    fn whatever_is_published_the_page_fits_and_holds_only_printable_ascii() {
        let nasty = "\u{1b}[2J\r\n\0\u{9b}\u{202e}患者".repeat(40);
        let statuses: Vec<(String, Value)> = (0..60)
            .map(|index| {
                let status = json!({ "state": nasty, "problem": nasty, "advice": nasty, "faults": [nasty, 3], "n": 1e300 });
                (format!("{index}{nasty}"), status)
            })
            .chain([("maintenance".to_owned(), json!({ "faults": vec![nasty.clone(); 50] }))])
            .chain([("init".to_owned(), json!([1, 2])), ("clock".to_owned(), json!("text"))])
            .collect();
        let published: Published = statuses.into_iter().collect();
        let lines = page(&nasty, "", Memory::default(), &published);
        assert!(lines.len() < ROWS);
        for line in lines {
            assert!(
                line.len() <= COLUMNS && line.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
                "{line:?}"
            );
        }
        summary(&published);
    }

    #[test]
    fn every_fault_of_a_configuration_stands_on_the_page() {
        let long = format!("site.toml:3:1: {}", "x".repeat(100));
        let text = shown(&[(
            "maintenance",
            json!({ "state": "not commissioned", "problem": long, "faults": [long, "site.toml:9:1: y"] }),
        )]);
        assert!(
            text.contains("  site.toml:3:1: xxx") && text.contains("\n  site.toml:9:1: y"),
            "{text}"
        );
    }

    #[test]
    fn the_summary_names_roles_queue_sources_and_the_first_problem() {
        let summary = summary(&published(&[
            (
                "init",
                json!({ "commissioned": true, "roles": [{ "name": "intake", "state": "ready", "pid": 7 }], "mounts": [] }),
            ),
            (
                "intake",
                json!({ "state": "collecting", "queued_bundles": 2, "queued_bytes": 9, "sealed": 5,
                "sources": [{ "name": "std", "state": "ok", "files": 4, "alien": 0 }] }),
            ),
            (
                "tunnel",
                json!({ "state": "down", "problem": "no answer", "advice": "look at the line" }),
            ),
        ]));
        assert_eq!(
            summary,
            json!({
                "commissioned": true,
                "roles": { "intake": { "process": "ready", "state": "collecting" }, "tunnel": { "state": "down" } },
                "tunnel": "down", "queued_bundles": 2, "queued_bytes": 9, "sealed": 5, "delivered": null,
                "sources": [{ "name": "std", "state": "ok", "files": 4 }], "mounts": [],
                "problem": "no answer", "advice": "look at the line",
            })
        );
    }

    #[test]
    fn memory_is_read_in_kib() {
        let text =
            "MemTotal:         495364 kB\nMemFree:          1 kB\nMemAvailable:     400000 kB\n";
        assert_eq!(
            memory(text),
            Memory {
                total_kb: 495_364,
                available_kb: 400_000
            }
        );
        assert_eq!(memory("nothing"), Memory::default());
    }
}
