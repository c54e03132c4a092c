//! Tells the story while it happens: scenes, what the harness does, and what the box itself puts into its trail.

use crate::events::Event;
use crate::limits::Limit;
use crate::serial::{Cursor, SerialLog, Why};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a line may be awaited before the wait is begun anew; nothing depends on it.
const NEXT_LINE: Limit = Limit {
    name: "NEXT_LINE",
    duration: Duration::from_secs(3_600),
};
/// How long the box may be off before the log is looked at again.
const OFF: Duration = Duration::from_millis(200);

pub struct Narrator {
    begun: Instant,
    colours: bool,
}

/// One line at a time, whoever tells it.
static VOICE: Mutex<()> = Mutex::new(());

impl Narrator {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            colours: std::io::stdout().is_terminal(),
        }
    }

    pub fn scene(&self, title: &str) {
        let title = match self.colours {
            true => format!("\x1b[1m{title}\x1b[0m"),
            false => title.to_owned(),
        };
        say(&format!("\n{title}"));
    }

    pub fn tell(&self, text: &str) {
        line(self.begun, text);
    }

    /// Retells the box's trail from now on, in the background, until the program ends.
    pub fn follow(&self, log: &SerialLog) {
        let (log, begun) = (log.clone(), self.begun);
        std::thread::spawn(move || {
            let mut cursor = Cursor::default();
            loop {
                match log.wait_for(cursor, NEXT_LINE, "an event", Event::in_line) {
                    Ok((event, next)) => {
                        cursor = next;
                        if let Some(text) = retold(&event) {
                            line(begun, &text);
                        }
                    }
                    // between two power-ons nothing comes that could be awaited
                    Err(error) if error.why == Why::Off => std::thread::sleep(OFF),
                    Err(_) => {}
                }
            }
        });
    }
}

fn line(begun: Instant, text: &str) {
    say(&format!("{:7.1} s  {text}", begun.elapsed().as_secs_f64()));
}

fn say(text: &str) {
    let _voice = VOICE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("{text}");
}

/// An event of the trail in words; `None` for what only an auditor wants.
fn retold(event: &Event) -> Option<String> {
    let text = match event.name.as_str() {
        "boot" => "box: up".to_owned(),
        "commissioned" => "box: commissioning disc accepted".to_owned(),
        "configuration-refused" => "box: configuration refused".to_owned(),
        "source-missing" => format!(
            "box: {} is missing: {}",
            event.text("source"),
            event.text("reason")
        ),
        "source-returned" => format!("box: {} is back", event.text("source")),
        "sealed" => format!(
            "box: sealed {} entries into {} ({} bytes)",
            event.number("files"),
            event.text("bundle"),
            event.number("bytes")
        ),
        "delivered" => format!("box: delivered {}, receipt verified", event.text("bundle")),
        "erased" => format!("box: erased {} from the spool", event.text("bundle")),
        "upload-refused" => format!(
            "box: {} waits: {}",
            event.text("bundle"),
            event.text("reason")
        ),
        "tunnel-up" => format!(
            "box: tunnel up, {}; {}",
            event.text("ike"),
            event.text("esp")
        ),
        "tunnel-down" => format!("box: tunnel down: {}", event.text("reason")),
        "usb-refused" => format!(
            "box: USB device {}:{} of class {} at {} refused",
            event.text("vendor"),
            event.text("product"),
            event.text("class"),
            event.text("path")
        ),
        "clock-stepped" => "box: clock set".to_owned(),
        "collecting-paused" => format!("box: collecting paused: {}", event.text("reason")),
        "collecting-resumed" => "box: collecting again".to_owned(),
        _ => return None,
    };
    Some(text)
}
