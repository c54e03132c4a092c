//! Everything that the lab takes: the image, QEMU, the guests' root and the lab's own programs.
//!
//! 1. The lab tests the image that `cargo xtask image` makes, not parts made for the test.
//! 2. QEMU and its companions are found by name on the path, and are those of the machine root.

use std::env;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::process::{Command, ExitStatus};

use crate::cache::Cache;
use crate::machine::Machine;

/// Programs of the lab that run in its guests.
const PROGRAMS: [&str; 3] = ["hospital", "datacentre", "lab-guest"];

/// Why the lab cannot be prepared.
#[derive(Debug)]
pub enum Error {
    /// One part could not be made; the cause tells which.
    Part(Box<dyn StdError>),
    /// The path of programs has a folder that cannot stand in it.
    Path(env::JoinPathsError),
    /// This program could not be started again.
    Restart { cause: io::Error },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Part(_) => f.write_str("the lab cannot be prepared"),
            Error::Path(_) => f.write_str(
                "the cache's folder has a colon in its name; set COLLECTOR_CACHE to another",
            ),
            Error::Restart { .. } => f.write_str("cannot start again with QEMU on the path"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Part(cause) => Some(cause.as_ref()),
            Error::Path(cause) => Some(cause),
            Error::Restart { cause } => Some(cause),
        }
    }
}

fn part<E: StdError + 'static>(cause: E) -> Error {
    Error::Part(Box::new(cause))
}

/// Starts this program again with QEMU and its companions first on the path, unless it was started so.
/// `Some` is what became of the second start.
pub fn restart_with_machine(cache: &Cache) -> Result<Option<ExitStatus>, Error> {
    let machine = Machine::ensure(cache).map_err(part)?;
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).next() == Some(machine.programs()) {
        return Ok(None);
    }
    let folders = std::iter::once(machine.programs()).chain(env::split_paths(&path));
    let path = env::join_paths(folders).map_err(Error::Path)?;
    let own = env::current_exe().map_err(|cause| Error::Restart { cause })?;
    let mut again = Command::new(own);
    again.args(env::args_os().skip(1)).env("PATH", path);
    again
        .status()
        .map(Some)
        .map_err(|cause| Error::Restart { cause })
}
