//! Compares two trees byte for byte, side by side, in the memory of one folder's listing.
//!
//! Invariants
//! 1. Every file of either tree is counted exactly once, or as ignored.
//! 2. Files are the same only if name, kind and all bytes are.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::Serialize;

use crate::fault::{Fault, Operation};
use crate::tree::{self, Entry, Species};

/// What two trees have in common, in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// In both, with the same bytes.
    pub identical: u64,
    /// Only in the first.
    pub missing: u64,
    /// Only in the second.
    pub extra: u64,
    /// In both under one name, with other bytes or of another kind.
    pub different: u64,
    /// In either, with a name that was to be ignored.
    pub ignored: u64,
}

impl Comparison {
    /// Nothing missing, extra or different.
    pub fn equal(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.different == 0
    }
}

/// Compares `first` (what there was) with `second` (what arrived). Files named as one of `ignored` are only counted.
pub fn compare(first: &Path, second: &Path, ignored: &[OsString]) -> Result<Comparison, Fault> {
    let mut comparison = Comparison::default();
    Pair {
        ignored,
        comparison: &mut comparison,
    }
    .folders(first, second)?;
    Ok(comparison)
}

struct Pair<'a> {
    ignored: &'a [OsString],
    comparison: &'a mut Comparison,
}

#[derive(Clone, Copy)]
enum Side {
    First,
    Second,
}

impl Pair<'_> {
    fn folders(&mut self, first: &Path, second: &Path) -> Result<(), Fault> {
        let (left, right) = (tree::list(first)?, tree::list(second)?);
        let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.name.as_encoded_bytes().cmp(b.name.as_encoded_bytes()),
            };
            let a = if order.is_le() { left.next() } else { None };
            let b = if order.is_ge() { right.next() } else { None };
            match (a, b) {
                (Some(a), Some(b)) => self.both(first, a, second, b)?,
                (Some(a), None) => self.one(first, a, Side::First)?,
                (None, Some(b)) => self.one(second, b, Side::Second)?,
                (None, None) => return Ok(()),
            }
        }
    }

    fn both(&mut self, first: &Path, a: &Entry, second: &Path, b: &Entry) -> Result<(), Fault> {
        let (left, right) = (first.join(&a.name), second.join(&b.name));
        match (a.species, b.species) {
            (Species::Folder, Species::Folder) => return self.folders(&left, &right),
            (Species::Folder, _) | (_, Species::Folder) => {
                self.one(first, a, Side::First)?;
                return self.one(second, b, Side::Second);
            }
            _ if self.is_ignored(&a.name) => self.comparison.ignored += 1,
            (Species::File, Species::File) if same_bytes(&left, &right)? => {
                self.comparison.identical += 1
            }
            _ => self.comparison.different += 1,
        }
        Ok(())
    }

    fn one(&mut self, folder: &Path, entry: &Entry, side: Side) -> Result<(), Fault> {
        if entry.species == Species::Folder {
            let below = folder.join(&entry.name);
            return tree::list(&below)?
                .iter()
                .try_for_each(|entry| self.one(&below, entry, side));
        }
        match side {
            _ if self.is_ignored(&entry.name) => self.comparison.ignored += 1,
            Side::First => self.comparison.missing += 1,
            Side::Second => self.comparison.extra += 1,
        }
        Ok(())
    }

    fn is_ignored(&self, name: &OsStr) -> bool {
        self.ignored.iter().any(|ignored| ignored == name)
    }
}

fn same_bytes(first: &Path, second: &Path) -> Result<bool, Fault> {
    let open =
        |path: &Path| File::open(path).map_err(|cause| Fault::new(Operation::Read, path, cause));
    let (left, right) = (open(first)?, open(second)?);
    let size = |file: &File, path: &Path| {
        file.metadata()
            .map(|m| m.len())
            .map_err(|cause| Fault::new(Operation::Read, path, cause))
    };
    if size(&left, first)? != size(&right, second)? {
        return Ok(false);
    }
    let (mut left, mut right) = (BufReader::new(left), BufReader::new(right));
    let (mut a, mut b) = ([0; 8192], [0; 8192]);
    loop {
        let count =
            fill(&mut left, &mut a).map_err(|cause| Fault::new(Operation::Read, first, cause))?;
        let other =
            fill(&mut right, &mut b).map_err(|cause| Fault::new(Operation::Read, second, cause))?;
        if a[..count] != b[..other] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// Reads until `buffer` is full or the file ends.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_counted_once() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |root: &Path, path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for (path, left, right) in [
            ("x/same", Some("1"), Some("1")),
            ("x/longer", Some("1"), Some("12")),
            ("x/other", Some("1"), Some("2")),
            ("gone/one", Some("1"), None),
            ("gone/two", Some("1"), None),
            ("x/new", None, Some("1")),
            ("x/Thumbs.db", Some("1"), None),
            ("kind", Some("1"), None),
            ("kind/inner", None, Some("1")),
        ] {
            left.into_iter()
                .for_each(|text| write(a.path(), path, text));
            right
                .into_iter()
                .for_each(|text| write(b.path(), path, text));
        }
        let comparison = compare(a.path(), b.path(), &["Thumbs.db".into()]).unwrap();
        assert_eq!(
            comparison,
            Comparison {
                identical: 1,
                missing: 3,
                extra: 2,
                different: 2,
                ignored: 1
            }
        );
        assert!(!comparison.equal());
        assert!(compare(a.path(), a.path(), &[]).unwrap().equal());
    }
}
