//! Role `console`: shows what the others have published, on the screen and as lines on the serial log.
//!
//! 1. It can change nothing: it reads status files and writes to the screen.
//! 2. `console: {summary}` is printed when the summary has changed, at most every two seconds.
//! 3. What others publish is not trusted to be fit for a screen: see `page`.
//! 4. A screen that is absent or blocked stops nothing.

mod page;

use crate::runtime::{Runtime, time};
use page::{Memory, Published, memory, page, summary};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Fast enough for a person who waits, slow enough for a serial line.
const BEAT: Duration = Duration::from_secs(2);
/// A role's status has a few kilobytes.
const LONGEST_STATUS_BYTES: u64 = 256 * 1024;
/// There are ten roles and `init`.
const MOST_ROLES: usize = 16;

pub fn run(runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    let release = read_json(&runtime.path("/etc/release.json")).unwrap_or_default();
    let version = release["version"]
        .as_str()
        .unwrap_or(env!("CARGO_PKG_VERSION"))
        .to_owned();
    let mut screen = screen(&runtime.path("/dev/tty1"));
    runtime.ready();
    let mut printed = Value::Null;
    loop {
        let published = gather(&runtime.path("/run/status"));
        let memory =
            memory(&std::fs::read_to_string(runtime.path("/proc/meminfo")).unwrap_or_default());
        let summary = summary(&published);
        if summary != printed {
            runtime.log(&with_memory(&summary, memory).to_string());
            printed = summary;
        }
        if let Some(screen) = &mut screen {
            // A screen that takes nothing now gets the next page.
            let _ = draw(
                screen,
                &page(
                    &version,
                    &time::rfc3339(SystemTime::now()),
                    memory,
                    &published,
                ),
            );
        }
        runtime.alive();
        std::thread::sleep(BEAT);
    }
}

fn with_memory(summary: &Value, memory: Memory) -> Value {
    let mut line = summary.clone();
    line["mem_total_kb"] = memory.total_kb.into();
    line["mem_available_kb"] = memory.available_kb.into();
    line
}

/// Never blocks, so that a stopped terminal stops nobody; never becomes the controlling terminal.
fn screen(path: &Path) -> Option<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .ok()
}

/// Draws over what is there (ECMA-48): home, each line with the rest of it erased, then all below.
fn draw(screen: &mut impl Write, lines: &[String]) -> std::io::Result<()> {
    let body: String = lines
        .iter()
        .map(|line| format!("{line}\x1b[K\r\n"))
        .collect();
    screen.write_all(format!("\x1b[H{body}\x1b[J").as_bytes())
}

/// Every role's status; what cannot be read is left out.
fn gather(folder: &Path) -> Published {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Published::new();
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .take(MOST_ROLES);
    names
        .filter_map(|name| {
            Some((
                name.clone(),
                read_json(&folder.join(&name).join("status.json"))?,
            ))
        })
        .collect()
}

fn read_json(path: &Path) -> Option<Value> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(LONGEST_STATUS_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_roles_publish_is_gathered_and_what_is_torn_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        for role in ["intake", "sender", "clock"] {
            std::fs::create_dir_all(root.path().join("run/status").join(role)).unwrap();
        }
        Runtime::below("intake", root.path()).publish(&json!({ "state": "collecting" }));
        std::fs::write(
            root.path().join("run/status/sender/status.json"),
            "{\"state\":",
        )
        .unwrap();
        let published = gather(&root.path().join("run/status"));
        assert_eq!(
            published,
            [("intake".to_owned(), json!({ "state": "collecting" }))].into()
        );
    }

    #[test]
    fn a_page_is_drawn_over_the_last_one() {
        let mut screen = Vec::new();
        draw(&mut screen, &["one".to_owned(), "two".to_owned()]).unwrap();
        assert_eq!(
            String::from_utf8(screen).unwrap(),
            "\x1b[Hone\x1b[K\r\ntwo\x1b[K\r\n\x1b[J"
        );
    }

    #[test]
    fn a_line_of_the_serial_log_has_the_memory_in_use() {
        let line = with_memory(
            &json!({ "tunnel": "up" }),
            Memory {
                total_kb: 10,
                available_kb: 4,
            },
        );
        assert_eq!(
            line,
            json!({ "tunnel": "up", "mem_total_kb": 10, "mem_available_kb": 4 })
        );
    }
}
