//! What can go wrong in the spool, and what the caller does about it.

use std::io;

/// What the caller does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing was changed: try again later.
    Retry,
    /// Drop what was offered; the spool is as before.
    Discard,
    /// It is not known what is durable: open the spool anew, which finds out.
    Reopen,
    /// The spool is damaged or belongs to another history: stop and call for service.
    Stop,
}

#[derive(Debug)]
pub enum SpoolError {
    List(io::Error),
    Read {
        name: String,
        source: io::Error,
    },
    Write {
        name: String,
        source: io::Error,
    },
    Commit {
        name: String,
        source: io::Error,
    },
    Remove {
        name: String,
        source: io::Error,
    },
    Recover {
        name: String,
        source: io::Error,
    },
    FreeSpace(io::Error),
    Full {
        free: u64,
        needed: u64,
    },
    InDoubt,
    OutOfSequence {
        expected: u64,
        given: u64,
    },
    DigestOfAppend {
        sequence: u64,
    },
    UnknownBundle {
        name: String,
    },
    ReceiptOfOther {
        name: String,
    },
    /// A discard without a durable notice of the loss, or of a bundle that is not damaged.
    NotLost {
        sequence: u64,
    },
    Record {
        sequence: u64,
    },
    TwoOfOneNumber {
        sequence: u64,
    },
    /// There are bundles, but neither the list of erasures nor a record that can be read.
    OtherFormat,
}

impl SpoolError {
    pub fn advice(&self) -> Advice {
        match self {
            Self::List(_)
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::FreeSpace(_)
            | Self::Record { .. }
            | Self::Full { .. } => Advice::Retry,
            Self::Commit { .. } | Self::Remove { .. } | Self::Recover { .. } | Self::InDoubt => {
                Advice::Reopen
            }
            Self::OutOfSequence { .. }
            | Self::DigestOfAppend { .. }
            | Self::UnknownBundle { .. }
            | Self::NotLost { .. }
            | Self::ReceiptOfOther { .. } => Advice::Discard,
            Self::TwoOfOneNumber { .. } | Self::OtherFormat => Advice::Stop,
        }
    }
}

impl std::fmt::Display for SpoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::List(_) => write!(f, "cannot list the spool"),
            Self::Read { name, .. } => write!(f, "cannot read {name} in the spool"),
            Self::Write { name, .. } => {
                write!(f, "cannot write bundle {name}; nothing was appended")
            }
            Self::Commit { name, .. } => write!(
                f,
                "cannot make {name} durable; the spool must be opened anew"
            ),
            Self::Remove { name, .. } => write!(
                f,
                "cannot remove {name} durably; the spool must be opened anew"
            ),
            Self::Recover { name, .. } => write!(
                f,
                "cannot bring {name} to a durable state; the spool must be opened anew"
            ),
            Self::FreeSpace(_) => write!(f, "cannot ask for the free space of the spool"),
            Self::Full { free, needed } => {
                write!(
                    f,
                    "no room in the spool: {free} bytes free, {needed} needed with the reserve"
                )
            }
            Self::InDoubt => write!(
                f,
                "an earlier step failed half-way; the spool must be opened anew"
            ),
            Self::OutOfSequence { expected, given } => {
                write!(f, "bundle {given} offered where {expected} is next")
            }
            Self::DigestOfAppend { sequence } => {
                write!(f, "bundle {sequence} is not the one that was announced")
            }
            Self::UnknownBundle { name } => write!(f, "the spool never held a bundle {name}"),
            Self::ReceiptOfOther { name } => {
                write!(
                    f,
                    "the receipt for {name} is for other bytes; the bundle is kept"
                )
            }
            Self::NotLost { sequence } => write!(
                f,
                "bundle {sequence} is whole, or its loss is not yet reported; it is kept"
            ),
            Self::Record { sequence } => write!(
                f,
                "the record of bundle {sequence} is damaged; it waits to be collected again"
            ),
            Self::TwoOfOneNumber { sequence } => {
                write!(f, "the spool holds two bundles of number {sequence}")
            }
            Self::OtherFormat => write!(
                f,
                "the bundles in the spool are of another format; send them with the version that made them"
            ),
        }
    }
}

impl std::error::Error for SpoolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::List(source)
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Commit { source, .. }
            | Self::Remove { source, .. }
            | Self::Recover { source, .. }
            | Self::FreeSpace(source) => Some(source),
            _ => None,
        }
    }
}
