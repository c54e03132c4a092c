//! A fault of the configuration: where it stands, what is wrong, what is allowed; and all of them together.

use std::fmt;
use std::ops::Range;

/// Name of the configuration file on the disc; stands at the head of every fault.
pub const FILE_NAME: &str = "site.toml";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, then what is allowed.
    pub message: String,
    /// Advice to the operator, printed on a line of its own.
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{FILE_NAME}:{}:{}: {}",
            self.line, self.column, self.message
        )
    }
}

/// Every fault that was found, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// How many; at least one.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
            if let Some(hint) = &fault.hint {
                write!(f, "\nhint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Place in the text, in bytes.
pub(crate) type Span = Range<usize>;

/// Gathers faults while the text is read.
pub(crate) struct Collector<'a> {
    text: &'a str,
    /// Where each line begins, so that a text of nothing but faults is not searched from its start for each.
    lines: Vec<usize>,
    faults: Vec<Fault>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            text,
            lines: [0].into_iter().chain(ends.map(|(at, _)| at + 1)).collect(),
            faults: Vec::new(),
        }
    }

    pub(crate) fn fault(&mut self, at: &Span, message: String) {
        self.push(at, message, None);
    }

    pub(crate) fn fault_with_hint(&mut self, at: &Span, message: String, hint: impl Into<String>) {
        self.push(at, message, Some(hint.into()));
    }

    fn push(&mut self, at: &Span, message: String, hint: Option<String>) {
        let (line, column) = self.position(at.start);
        // What an operator wrote is quoted in messages: no line break or escape sequence may come through.
        let message = message
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        self.faults.push(Fault {
            line,
            column,
            message,
            hint,
        });
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        // the first line begins at 0, so at least one does at or before `end`
        let line = self.lines.partition_point(|begin| *begin <= end);
        let begin = self.lines[line - 1];
        (line, self.text[begin..end].chars().count() + 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// The faults in the order of the file, each once. For a text that was refused: where no fault was collected,
    /// that itself is one.
    pub(crate) fn finish(mut self) -> Faults {
        if self.faults.is_empty() {
            self.fault(
                &(0..0),
                "the file cannot be read to its end, allowed: a complete one".to_owned(),
            );
        }
        self.faults.sort();
        self.faults.dedup();
        Faults(self.faults)
    }
}
