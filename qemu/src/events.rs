//! Events of the box: records of its audit trail, mirrored on the serial log as `audit: {json}`.
//!
//! Trusts the kernel to interleave at most whole lines in front of a record; a record that is cut in two is no event.

use crate::serial::Line;
use serde_json::{Map, Value};
use std::time::Duration;

const MARK: &str = "audit: {";

/// One record of the trail.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When the lab saw it.
    pub at: Duration,
    pub role: String,
    pub name: String,
    pub fields: Map<String, Value>,
}

impl Event {
    /// The record in a line, if it holds one.
    pub fn in_line(line: &Line) -> Option<Self> {
        let start = line.text.find(MARK)? + MARK.len() - 1;
        let mut values = serde_json::Deserializer::from_str(&line.text[start..])
            .into_iter::<Map<String, Value>>();
        let mut fields = values.next()?.ok()?;
        let mut take = |key: &str| match fields.remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (role, name) = (take("role")?, take("event")?);
        Some(Self {
            at: line.at,
            role,
            name,
            fields,
        })
    }

    pub fn text(&self, field: &str) -> &str {
        self.fields
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub fn number(&self, field: &str) -> u64 {
        self.fields
            .get(field)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Option<Event> {
        Event::in_line(&Line {
            at: Duration::ZERO,
            text: text.to_owned(),
        })
    }

    #[test]
    fn a_record_is_read_with_its_fields() {
        let line = r#"audit: {"sequence":4,"time":"2026-11-22T01:00:00Z","previous":"ab","role":"intake","event":"sealed","bundle":"b-1","files":12}"#;
        let event = event(line).expect("an event");
        assert_eq!(
            (event.role.as_str(), event.name.as_str()),
            ("intake", "sealed")
        );
        assert_eq!((event.text("bundle"), event.number("files")), ("b-1", 12));
    }

    #[test]
    fn a_kernel_message_before_or_behind_does_not_hide_a_record() {
        assert!(event(r#"[    1.2] usb 1-1: new device audit: {"role":"ports","event":"usb-refused"}[    1.3] usb"#).is_some());
    }

    #[test]
    fn a_torn_record_and_other_lines_are_no_events() {
        assert!(event(r#"audit: {"role":"ports","eve"#).is_none());
        assert!(event("intake: sealed").is_none());
        assert!(event(r#"audit: {"sequence":1}"#).is_none());
    }
}
