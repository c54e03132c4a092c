//! QEMU's control protocol: JSON lines, a greeting, one command at a time, events in between.
//!
//! Source: QEMU's "QEMU Machine Protocol Specification". Trusts QEMU to answer in order.

use crate::limits::QMP_COMMAND;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

/// A connection over which commands go out one at a time.
#[derive(Debug)]
pub struct Qmp<S = UnixStream> {
    reader: BufReader<S>,
    writer: S,
    events: VecDeque<Value>,
}

impl Qmp {
    /// Takes the greeting and leaves negotiation mode.
    pub fn greet(stream: UnixStream) -> Result<Self, QmpError> {
        stream
            .set_read_timeout(Some(QMP_COMMAND.duration))
            .map_err(QmpError::Connection)?;
        let writer = stream.try_clone().map_err(QmpError::Connection)?;
        Self::greet_over(stream, writer)
    }
}

impl<S: Read + Write> Qmp<S> {
    fn greet_over(reader: S, writer: S) -> Result<Self, QmpError> {
        let mut qmp = Self {
            reader: BufReader::new(reader),
            writer,
            events: VecDeque::new(),
        };
        let greeting = qmp.read_message()?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Unexpected(greeting.to_string()));
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Sends one command and returns what it returns. Events that arrive meanwhile are kept.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let line = format!(
            "{}\n",
            json!({ "execute": command, "arguments": arguments })
        );
        self.writer
            .write_all(line.as_bytes())
            .map_err(QmpError::Connection)?;
        loop {
            let mut message = self.read_message()?;
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = message.get("error") {
                let why = error["desc"]
                    .as_str()
                    .unwrap_or("no reason given")
                    .to_owned();
                return Err(QmpError::Refused {
                    command: command.to_owned(),
                    why,
                });
            }
            if message.get("event").is_none() {
                return Err(QmpError::Unexpected(message.to_string()));
            }
            self.events.push_back(message);
        }
    }

    /// The next event of this name, among those kept or still to come.
    pub fn wait_for_event(&mut self, name: &str) -> Result<Value, QmpError> {
        loop {
            while let Some(event) = self.events.pop_front() {
                if event["event"] == name {
                    return Ok(event);
                }
            }
            let message = self.read_message()?;
            self.events.push_back(message);
        }
    }

    fn read_message(&mut self) -> Result<Value, QmpError> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Err(QmpError::Closed),
            Ok(_) => serde_json::from_str(&line).map_err(|_| QmpError::Unexpected(line)),
            Err(source) => Err(QmpError::Connection(source)),
        }
    }
}

/// A command did not succeed.
#[derive(Debug)]
pub enum QmpError {
    Connection(io::Error),
    Closed,
    Unexpected(String),
    Refused { command: String, why: String },
}

impl std::fmt::Display for QmpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connection(_) => write!(
                f,
                "the control connection failed or gave no answer within {}",
                QMP_COMMAND.name
            ),
            Self::Closed => write!(f, "QEMU closed its control connection"),
            Self::Unexpected(what) => write!(
                f,
                "QEMU said what its protocol does not provide for: {}",
                what.trim_end()
            ),
            Self::Refused { command, why } => write!(f, "QEMU refused {command}: {why}"),
        }
    }
}

impl std::error::Error for QmpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connection(source) => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Plays QEMU: greets, and answers each command with the next line of the script.
    fn qemu_that_says(script: &'static [&'static str]) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("pair");
        thread::spawn(move || {
            let mut writer = theirs.try_clone().expect("clone");
            writer
                .write_all(b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n")
                .expect("greets");
            let mut commands = BufReader::new(theirs).lines();
            for answer in std::iter::once(&"{\"return\": {}}").chain(script) {
                commands.next();
                writer
                    .write_all(format!("{answer}\n").as_bytes())
                    .expect("answers");
            }
        });
        ours
    }

    #[test]
    fn an_answer_is_found_behind_events_and_the_events_are_kept() {
        let stream = qemu_that_says(&[
            "{\"event\": \"RESET\"}\n{\"event\": \"STOP\"}\n{\"return\": {\"running\": true}}",
        ]);
        let mut qmp = Qmp::greet(stream).expect("greeted");
        assert_eq!(
            qmp.execute("query-status", json!({})).expect("answered")["running"],
            true
        );
        assert_eq!(qmp.wait_for_event("STOP").expect("kept")["event"], "STOP");
    }

    #[test]
    fn a_refusal_names_the_command_and_the_reason() {
        let stream = qemu_that_says(&[
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such bus\"}}",
        ]);
        let mut qmp = Qmp::greet(stream).expect("greeted");
        let error = qmp
            .execute("device_add", json!({ "driver": "usb-kbd" }))
            .unwrap_err();
        assert_eq!(error.to_string(), "QEMU refused device_add: no such bus");
    }

    #[test]
    fn a_machine_that_is_gone_is_told_from_one_that_is_silent() {
        let stream = qemu_that_says(&[]);
        let mut qmp = Qmp::greet(stream).expect("greeted");
        assert!(matches!(
            qmp.execute("stop", json!({})),
            Err(QmpError::Closed | QmpError::Connection(_))
        ));
    }

    #[test]
    fn anything_but_a_greeting_is_refused() {
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        theirs.write_all(b"{\"return\": {}}\n").expect("writes");
        assert!(matches!(Qmp::greet(ours), Err(QmpError::Unexpected(_))));
    }
}
