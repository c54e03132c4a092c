//! Folders listed in the order of the bytes of their names, so that walks of two trees run side by side.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::fault::{Fault, Operation};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Species {
    File,
    Folder,
    /// A link, socket, device: never followed or opened.
    Other,
}

/// One entry of a folder.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub name: OsString,
    pub species: Species,
}

/// The entries of `folder`, sorted by the bytes of their names. Links are not followed.
pub(crate) fn list(folder: &Path) -> Result<Vec<Entry>, Fault> {
    let fault = |cause| Fault::new(Operation::List, folder, cause);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let species = match entry.file_type().map_err(fault)? {
            kind if kind.is_file() => Species::File,
            kind if kind.is_dir() => Species::Folder,
            _ => Species::Other,
        };
        entries.push(Entry {
            name: entry.file_name(),
            species,
        });
    }
    entries.sort_unstable_by(|a, b| a.name.as_encoded_bytes().cmp(b.name.as_encoded_bytes()));
    Ok(entries)
}
