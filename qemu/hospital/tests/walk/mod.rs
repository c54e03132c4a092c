//! Reading a store for the tests of this crate, independent of the code under test.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A folder that vanishes with the test.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// All files below `root`, sorted.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

/// The flags of each identity (patient, date, type, order number) in the order of sending.
pub fn histories(root: &Path) -> BTreeMap<(PathBuf, String), String> {
    let mut versions: BTreeMap<(PathBuf, String), Vec<(String, String)>> = BTreeMap::new();
    for path in files(root) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let fields: [&str; 7] = name.split('_').collect::<Vec<_>>().try_into().unwrap();
        let key = (path.parent().unwrap().to_owned(), fields[..4].join("_"));
        versions
            .entry(key)
            .or_default()
            .push((fields[4].to_owned(), fields[6].to_owned()));
    }
    let flags = |mut versions: Vec<(String, String)>| {
        versions.sort();
        versions.into_iter().map(|(_, flag)| flag).collect()
    };
    versions
        .into_iter()
        .map(|(key, versions)| (key, flags(versions)))
        .collect()
}

/// Holds every history to the renaming rules: deleted versions, then past ones, then the valid one; past versions only
/// before a valid one.
pub fn assert_histories(root: &Path) {
    for ((folder, identity), flags) in histories(root) {
        let rest = flags.trim_start_matches('0').trim_start_matches('2');
        let past = flags.contains('2');
        assert!(
            rest == "1" || (rest.is_empty() && !past),
            "{flags} of {identity} in {folder:?}"
        );
    }
}
