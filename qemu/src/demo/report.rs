//! The table at the end, and the same facts as `target/demo/report.json`.

use crate::Inputs;
use serde_json::{Map, Value, json};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

/// Collects times while the story runs.
pub struct Report {
    folder: PathBuf,
    begun: Instant,
    last: Instant,
    /// Phases in their order.
    seconds: Vec<(String, Value)>,
}

impl Report {
    pub fn begin(inputs: &Inputs) -> Self {
        let now = Instant::now();
        Self {
            folder: inputs.target.join("demo"),
            begun: now,
            last: now,
            seconds: Vec::new(),
        }
    }

    /// A part of the story has ended.
    pub fn phase(&mut self, name: &str) {
        self.seconds.push((name.to_owned(), tenths(self.last)));
        self.last = Instant::now();
    }

    pub fn rows(mut self) -> Rows {
        self.seconds.push(("total".to_owned(), tenths(self.begun)));
        Rows {
            folder: self.folder,
            seconds: self.seconds,
            rows: Vec::new(),
        }
    }
}

fn tenths(since: Instant) -> Value {
    json!((since.elapsed().as_secs_f64() * 10.0).round() / 10.0)
}

struct Row {
    title: &'static str,
    key: &'static str,
    count: u64,
    holds: bool,
}

/// What was counted.
pub struct Rows {
    folder: PathBuf,
    /// Phases in their order.
    seconds: Vec<(String, Value)>,
    rows: Vec<Row>,
}

impl Rows {
    pub fn count(&mut self, title: &'static str, key: &'static str, count: u64, holds: bool) {
        self.rows.push(Row {
            title,
            key,
            count,
            holds,
        });
    }

    /// Writes the report and gives the verdict.
    pub fn finish(self) -> Result<Verdict, (PathBuf, io::Error)> {
        let mut values: Map<String, Value> = self
            .rows
            .iter()
            .map(|row| (row.key.to_owned(), row.count.into()))
            .collect();
        let verdict = Verdict {
            rows: self.rows,
            seconds: self.seconds,
        };
        values.insert(
            "seconds".to_owned(),
            Value::Object(verdict.seconds.iter().cloned().collect()),
        );
        values.insert("good".to_owned(), verdict.good().into());
        let path = self.folder.join("report.json");
        let text = format!("{:#}\n", Value::Object(values));
        let written =
            std::fs::create_dir_all(&self.folder).and_then(|()| std::fs::write(&path, text));
        written.map(|()| verdict).map_err(|error| (path, error))
    }
}

/// The outcome, as a table.
pub struct Verdict {
    rows: Vec<Row>,
    /// Phases in their order.
    seconds: Vec<(String, Value)>,
}

impl Verdict {
    pub fn good(&self) -> bool {
        self.rows.iter().all(|row| row.holds)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let mark = if row.holds { "holds" } else { "DOES NOT HOLD" };
            writeln!(f, "  {:<46} {:>10}  {mark}", row.title, row.count)?;
        }
        writeln!(f)?;
        for (phase, seconds) in &self.seconds {
            writeln!(
                f,
                "  {:<46} {seconds:>10} s",
                format!("time: {}", phase.replace('_', " "))
            )?;
        }
        write!(
            f,
            "\n{}",
            if self.good() {
                "Everything held."
            } else {
                "Something did not hold: see above."
            }
        )
    }
}
