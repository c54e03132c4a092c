//! The digest of a tree: one line a file, the same for the same names and bytes.
//!
//! Invariants
//! 1. Names are escaped so that different names give different lines, and every line is printable ASCII: bytes outside
//!    `!`..`~`, and the backslash, become `\xHH`.
//! 2. Lines are sorted by the names of each folder as bytes, folder by folder. Folders themselves have no line.
//! 3. What is neither file nor folder is listed as `other`, never opened.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::fault::{Fault, Operation};
use crate::tree::{self, Species};

/// One line of a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// SHA-256 and size in bytes; `None` for what is neither file nor folder.
    pub content: Option<([u8; 32], u64)>,
    /// Path below the root, escaped.
    pub path: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Some((sha256, size)) => {
                sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                write!(f, " {size} {}", self.path)
            }
            None => write!(f, "other - {}", self.path),
        }
    }
}

/// `name` in printable ASCII.
pub fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for &byte in name {
        if (b'!'..=b'~').contains(&byte) && byte != b'\\' {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Calls `each` for every line of the tree below `root`.
pub fn digest_lines(
    root: &Path,
    each: &mut dyn FnMut(Line) -> Result<(), Fault>,
) -> Result<(), Fault> {
    walk(root, "", each)
}

/// Writes the digest of the tree below `root` to `out`.
pub fn digest(root: &Path, out: &mut dyn Write) -> Result<(), Fault> {
    digest_lines(root, &mut |line| {
        writeln!(out, "{line}")
            .map_err(|cause| Fault::new(Operation::Write, Path::new("the digest"), cause))
    })
}

fn walk(
    folder: &Path,
    prefix: &str,
    each: &mut dyn FnMut(Line) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for entry in tree::list(folder)? {
        let (path, name) = (
            folder.join(&entry.name),
            escape(entry.name.as_encoded_bytes()),
        );
        let shown = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        match entry.species {
            Species::Folder => walk(&path, &shown, each)?,
            Species::File => each(Line {
                content: Some(sha256(&path)?),
                path: shown,
            })?,
            Species::Other => each(Line {
                content: None,
                path: shown,
            })?,
        }
    }
    Ok(())
}

/// SHA-256 and size of a file, read in pieces.
fn sha256(path: &Path) -> Result<([u8; 32], u64), Fault> {
    let fault = |cause| Fault::new(Operation::Read, path, cause);
    let mut file = File::open(path).map_err(fault)?;
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, [0; 16 * 1024]);
    loop {
        let count = file.read(&mut buffer).map_err(fault)?;
        if count == 0 {
            return Ok((hasher.finalize().into(), size));
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_names_never_share_an_escaped_form() {
        let names: [&[u8]; 6] = [
            b"a b",
            b"a\\x20b",
            b"a\nb",
            b"\x83\x81",
            "メ".as_bytes(),
            b"a\\b",
        ];
        let escaped: std::collections::HashSet<String> =
            names.iter().map(|name| escape(name)).collect();
        assert_eq!(escaped.len(), names.len());
        assert!(
            escaped
                .iter()
                .all(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
        );
    }

    #[test]
    fn the_digest_of_a_known_file_is_the_known_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("abc"), "abc").unwrap();
        std::os::unix::fs::symlink("abc", folder.path().join("link")).unwrap();
        let mut text = Vec::new();
        digest(folder.path(), &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 3 abc\nother - link\n"
        );
    }
}
