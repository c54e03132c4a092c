//! What surrounds the intake: clock, trail, and the places where a run can end. Tests replace it.

use super::hints::Hints;
use serde_json::Value;
use std::time::Duration;

/// Places in the way of a bundle between which the mains may fail. A test cuts at each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Folder,
    FileRead,
    /// Files that two walks have missed were asked for and are gone; they are about to be told as removed.
    Gone,
    DraftClosed,
    IntentWritten,
    Appended,
    Audited,
    Committed,
    /// A notice of lost bundles is about to be sealed, is durable, and its bundles are gone one by one.
    LossFound,
    LossReported,
    Discarded,
    Waiting,
}

/// The run ends here: the role was asked to stop, or a test cuts the mains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

pub trait World {
    /// Wall clock.
    fn unix_seconds(&self) -> u64;
    /// Time that only goes forward; the quiet rule counts in it.
    fn uptime(&self) -> Duration;
    /// Waits for this long or a little less.
    fn pause(&self, duration: Duration);
    /// Waits for this long or a little less, and not longer than until there is a hint.
    fn wait(&self, longest: Duration, _hints: &Hints) {
        self.pause(longest);
    }
    /// Appends to the trail and returns once the record is durable, however long that takes.
    fn audit(&self, event: &str, fields: Value) -> Result<(), Stopped>;
    /// One line on the log. Never a name or content of a hospital's file.
    fn log(&self, text: &str);
    /// Passed at each of the named places.
    fn step(&self, step: Step) -> Result<(), Stopped>;
}
