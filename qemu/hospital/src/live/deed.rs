//! What a hospital does, as values: they can be drawn from a seed, written into a test, and read in a counterexample.
//!
//! A `pick` chooses among what is there when the deed is done; any number is good. A deed that finds nothing to be
//! done to does nothing.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a file comes onto the disk. All of them write under the final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manner {
    AtOnce,
    /// In so many pieces, one every `gap_ms`; where several files or a rename are involved, they too are this far apart.
    Slow {
        pieces: u8,
        gap_ms: u32,
    },
    /// The first part only; the rest comes with [`Deed::Mend`], or never.
    Torn,
}

/// One deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// A new order or result; `late`: into a date that the patient has already.
    Order {
        pick: u16,
        late: bool,
        manner: Manner,
    },
    /// Renames the valid version to `_2`, then writes a new `_1`.
    Update { pick: u16, manner: Manner },
    /// Renames all versions to `_0`, then writes a `_0` with the delete message.
    Delete { pick: u16, manner: Manner },
    /// A content folder of extended storage with so many files.
    Document {
        pick: u16,
        files: u8,
        manner: Manner,
    },
    /// A new version of a content folder; the old one is renamed to `_2`.
    Supersede { pick: u16, manner: Manner },
    /// Renames a content folder to `_0`.
    Withdraw { pick: u16 },
    /// One more file into a content folder that exists.
    Enclose { pick: u16, manner: Manner },
    /// Writes a file anew in place, with other bytes.
    Replace { pick: u16, manner: Manner },
    /// A vendor's new output: up to so many files written anew in place; `same`: with the bytes that they had.
    Reoutput { pick: u16, files: u32, same: bool },
    /// Writes a DPC file of last month, over the earlier one.
    Dpc { pick: u16, manner: Manner },
    /// Writes a receipt file, over the earlier one.
    Receipt { pick: u16, manner: Manner },
    /// A file that fits no rule: see [`crate::Oddities`].
    Odd { pick: u16 },
    /// Removes a file.
    Remove { pick: u16 },
    /// Removes a folder with all that is in it.
    Discard { pick: u16 },
    /// Completes what was left torn.
    Mend,
    /// Sets the server's clock forward or back.
    Skew { seconds: i32 },
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Manner::AtOnce => f.write_str("at once"),
            Manner::Slow { pieces, gap_ms } => {
                write!(f, "in {pieces} pieces, one every {gap_ms} ms")
            }
            Manner::Torn => f.write_str("and leaves it half-written"),
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Order { pick, late, manner } => {
                let when = if *late { " under an old date" } else { "" };
                write!(f, "writes an order{when} (pick {pick}), {manner}")
            }
            Deed::Update { pick, manner } => write!(f, "updates record {pick}, {manner}"),
            Deed::Delete { pick, manner } => write!(f, "deletes record {pick}, {manner}"),
            Deed::Document {
                pick,
                files,
                manner,
            } => write!(
                f,
                "writes a document of {files} files (pick {pick}), {manner}"
            ),
            Deed::Supersede { pick, manner } => {
                write!(f, "supersedes document {pick}, {manner}")
            }
            Deed::Withdraw { pick } => write!(f, "withdraws document {pick}"),
            Deed::Enclose { pick, manner } => {
                write!(f, "adds a file to document {pick}, {manner}")
            }
            Deed::Replace { pick, manner } => {
                write!(f, "writes file {pick} anew in place, {manner}")
            }
            Deed::Reoutput { pick, files, same } => {
                let bytes = if *same { "the same" } else { "other" };
                write!(
                    f,
                    "writes {files} files from file {pick} on anew with {bytes} bytes"
                )
            }
            Deed::Dpc { pick, manner } => write!(f, "makes DPC file {pick}, {manner}"),
            Deed::Receipt { pick, manner } => write!(f, "makes receipt file {pick}, {manner}"),
            Deed::Odd { pick } => write!(f, "writes odd file {pick}"),
            Deed::Remove { pick } => write!(f, "removes file {pick}"),
            Deed::Discard { pick } => write!(f, "removes the folder of file {pick}"),
            Deed::Mend => f.write_str("completes its half-written files"),
            Deed::Skew { seconds } => write!(f, "sets its clock by {seconds} s"),
        }
    }
}
