//! Compares two builds, file by file and byte by byte.
//!
//! 1. Every file of either folder counts; one that only one of them has is a difference.
//! 2. A difference tells where it begins, because that names its cause sooner than two digests do.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Read at once from each file.
const CHUNK_BYTES: usize = 1 << 20;

/// One file that is not the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    /// Only one folder has it.
    Missing { path: PathBuf },
    /// The contents part at this byte, counted from 0; a shorter file parts at its end.
    Byte { name: PathBuf, offset: u64 },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing { path } => write!(f, "{} is missing", path.display()),
            Difference::Byte { name, offset } => {
                write!(f, "{} from byte {offset}", name.display())
            }
        }
    }
}

/// A file or folder that cannot be read.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    cause: io::Error,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot compare {}", self.path.display())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// All differences of two folders of files.
pub fn folders(first: &Path, second: &Path) -> Result<Vec<Difference>, Error> {
    let (ours, theirs) = (names(first)?, names(second)?);
    let mut differences = Vec::new();
    for name in ours.union(&theirs) {
        let (one, other) = (first.join(name), second.join(name));
        if !ours.contains(name) {
            differences.push(Difference::Missing { path: one });
        } else if !theirs.contains(name) {
            differences.push(Difference::Missing { path: other });
        } else if let Some(offset) = first_difference(&one, &other)? {
            let name = PathBuf::from(name);
            differences.push(Difference::Byte { name, offset });
        }
    }
    Ok(differences)
}

fn names(dir: &Path) -> Result<BTreeSet<OsString>, Error> {
    let error = |cause| Error {
        path: dir.to_owned(),
        cause,
    };
    fs::read_dir(dir)
        .map_err(error)?
        .map(|entry| entry.map(|entry| entry.file_name()).map_err(error))
        .collect()
}

fn first_difference(one: &Path, other: &Path) -> Result<Option<u64>, Error> {
    let open = |path: &Path| {
        File::open(path).map_err(|cause| Error {
            path: path.to_owned(),
            cause,
        })
    };
    let (mut first, mut second) = (open(one)?, open(other)?);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut offset = 0;
    loop {
        fill(&mut first, &mut left, one)?;
        fill(&mut second, &mut right, other)?;
        if left != right {
            let same = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
            return Ok(Some(offset + same as u64));
        }
        if left.is_empty() {
            return Ok(None);
        }
        offset += left.len() as u64;
    }
}

/// A whole chunk, except at the end of the file.
fn fill(file: &mut File, chunk: &mut Vec<u8>, path: &Path) -> Result<(), Error> {
    chunk.clear();
    file.take(CHUNK_BYTES as u64)
        .read_to_end(chunk)
        .map(drop)
        .map_err(|cause| Error {
            path: path.to_owned(),
            cause,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_found_and_told_with_its_place() {
        let dir = std::env::temp_dir().join(format!("compare-{}", std::process::id()));
        let (first, second) = (dir.join("first"), dir.join("second"));
        fs::create_dir_all(&first).unwrap();
        fs::create_dir_all(&second).unwrap();
        let long = vec![7; CHUNK_BYTES + 10];
        let mut changed = long.clone();
        changed[CHUNK_BYTES + 3] = 8;
        for (name, one, other) in [
            ("changed", Some(&long[..]), Some(&changed[..])),
            ("same", Some(&long[..]), Some(&long[..])),
            ("shorter", Some(&long[..]), Some(&long[..9])),
            ("new", None, Some(&long[..])),
        ] {
            for (folder, bytes) in [(&first, one), (&second, other)] {
                if let Some(bytes) = bytes {
                    fs::write(folder.join(name), bytes).unwrap();
                }
            }
        }
        let at = |name: &str, offset: usize| Difference::Byte {
            name: PathBuf::from(name),
            offset: offset as u64,
        };
        assert_eq!(
            folders(&first, &second).unwrap(),
            [
                at("changed", CHUNK_BYTES + 3),
                Difference::Missing {
                    path: first.join("new")
                },
                at("shorter", 9),
            ]
        );
        fs::remove_dir_all(dir).unwrap();
    }
}
