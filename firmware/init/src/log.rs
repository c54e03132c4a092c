//! Lines of `init` on the console, each in one write, so that two processes do not mix theirs.

use std::io::Write;

pub fn line(text: &str) {
    let line = format!("init: {}\n", text.replace('\n', " / "));
    // a console that does not take the line leaves nothing better to do
    let _ = std::io::stderr().write_all(line.as_bytes());
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

pub fn error(error: &dyn std::error::Error) {
    line(&chain(error));
}
