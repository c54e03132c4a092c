//! What can go wrong with a store on a disk.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    MakeFolder,
    Write,
    Stamp,
    List,
    Read,
    Rename,
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::MakeFolder => "make folder",
            Operation::Write => "write",
            Operation::Stamp => "set the time stamp of",
            Operation::List => "list",
            Operation::Read => "read",
            Operation::Rename => "rename",
            Operation::Remove => "remove",
        })
    }
}

/// The error of this crate. All of them stop what was asked for; nothing is retried.
#[derive(Debug)]
pub enum Fault {
    /// The file system refused.
    Disk {
        operation: Operation,
        path: PathBuf,
        cause: io::Error,
    },
    /// The folder for a new store holds something already.
    NotEmpty(PathBuf),
    /// What was asked for contradicts itself; the text says what is allowed.
    Request(String),
    /// The store has nothing (left) to change in the way asked for.
    NothingToChange { wanted: &'static str, path: PathBuf },
}

impl Fault {
    pub(crate) fn new(operation: Operation, path: &Path, cause: io::Error) -> Fault {
        Fault::Disk {
            operation,
            path: path.to_owned(),
            cause,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Disk {
                operation, path, ..
            } => write!(f, "cannot {operation} {path:?}"),
            Fault::NotEmpty(path) => {
                write!(f, "{path:?} is not empty: give a new or an empty folder")
            }
            Fault::Request(what) => f.write_str(what),
            Fault::NothingToChange { wanted, path } => {
                write!(
                    f,
                    "found no {wanted} below {path:?}: give a store made by `hospital make`, or ask for fewer"
                )
            }
        }
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Fault::Disk { cause, .. } => Some(cause),
            Fault::NotEmpty(_) | Fault::Request(_) | Fault::NothingToChange { .. } => None,
        }
    }
}
