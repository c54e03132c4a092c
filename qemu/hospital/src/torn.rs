//! Files left half-written, and their completion.
//!
//! A list beside the store, one JSON object a line, keeps what is missing: the store itself shows nothing but half a file.
//! The list holds hospital paths: it is as confidential as the store, which here means invented.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Operation};
use crate::record::Flag;

/// The missing part of a torn file.
#[derive(Serialize, Deserialize)]
struct Rest {
    path: PathBuf,
    /// Bytes that are there.
    length: u64,
    bytes: Vec<u8>,
}

/// Notes in `list` that of `bytes` only the first `cut` are in the file at `path`.
pub(crate) fn note(list: &Path, path: &Path, bytes: &[u8], cut: usize) -> Result<(), Fault> {
    let fault = |cause| Fault::new(Operation::Write, list, cause);
    let rest = Rest {
        path: path.to_owned(),
        length: cut as u64,
        bytes: bytes[cut..].to_vec(),
    };
    let line = serde_json::to_string(&rest).map_err(|cause| fault(cause.into()))?;
    let mut list = OpenOptions::new()
        .append(true)
        .create(true)
        .open(list)
        .map_err(fault)?;
    writeln!(list, "{line}").map_err(fault)
}

/// Completes the files that a change left torn, and removes the list of them. Gives their number. A file that has more
/// or fewer bytes than were left is not touched and not counted.
pub fn finish(unfinished: &Path) -> Result<u64, Fault> {
    let fault = |cause| Fault::new(Operation::Read, unfinished, cause);
    let text = fs::read_to_string(unfinished).map_err(fault)?;
    let mut finished = 0;
    for line in text.lines() {
        let rest: Rest = serde_json::from_str(line).map_err(|cause| fault(cause.into()))?;
        let path = current_name(&rest.path);
        let broken = |cause| Fault::new(Operation::Write, &path, cause);
        let mut file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(broken)?;
        if file.metadata().map_err(broken)?.len() == rest.length {
            file.write_all(&rest.bytes).map_err(broken)?;
            finished += 1;
        }
    }
    fs::remove_file(unfinished).map_err(fault)?;
    Ok(finished)
}

/// Where the file that was begun at `path` is now: its flag may have changed since.
fn current_name(path: &Path) -> PathBuf {
    let name = path.to_string_lossy();
    let stem = &name[..name.len().saturating_sub(1)];
    [Flag::Valid, Flag::Past, Flag::Deleted]
        .map(|flag| PathBuf::from(format!("{stem}{}", flag.digit())))
        .into_iter()
        .find(|renamed| renamed.exists())
        .unwrap_or_else(|| path.to_owned())
}
