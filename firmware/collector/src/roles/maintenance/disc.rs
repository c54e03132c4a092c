//! What a commissioning disc holds: `site.toml` and the files beside it, within bounds.
//!
//! Only regular files in the disc's root are read; links, folders and whatever is too large are as if they were not
//! there, and the check of the configuration then says what is missing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A revocation list is the only file that grows; a thousand entries have about 40 kB.
const LONGEST_FILE_BYTES: u64 = 1024 * 1024;
/// The configuration can name fewer.
const MOST_FILES: usize = 64;

/// Text and files, not yet checked.
pub struct Unverified {
    pub text: String,
    pub files: BTreeMap<String, Vec<u8>>,
}

/// The disc could not be read, or is no commissioning disc.
#[derive(Debug)]
pub enum DiscError {
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    NoConfiguration,
    NotText,
    TooMany {
        most: usize,
    },
}

impl std::fmt::Display for DiscError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read {} of the disc", path.display()),
            Self::NoConfiguration => write!(f, "the disc has no site.toml in its root"),
            Self::NotText => write!(
                f,
                "site.toml:1:1: the file is not UTF-8 text, allowed: text as in the example"
            ),
            Self::TooMany { most } => write!(
                f,
                "the disc has too many files in its root, allowed: at most {most}"
            ),
        }
    }
}

impl std::error::Error for DiscError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Reads the disc mounted at `folder`; none when there is no disc, which is an absent or empty folder.
pub fn read(folder: &Path) -> Result<Option<Unverified>, DiscError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| DiscError::Read { path, source }
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed(folder))?,
    };
    let mut files = BTreeMap::new();
    let mut empty = true;
    for entry in entries {
        empty = false;
        let entry = entry.map_err(failed(folder))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry.file_type().map_err(failed(&entry.path()))?;
        if !kind.is_file() {
            continue;
        }
        if files.len() == MOST_FILES {
            return Err(DiscError::TooMany { most: MOST_FILES });
        }
        let path = entry.path();
        if let Some(content) = read_bounded(&path).map_err(failed(&path))? {
            files.insert(name, content);
        }
    }
    if empty {
        return Ok(None);
    }
    let text = files
        .remove(site::FILE_NAME)
        .ok_or(DiscError::NoConfiguration)?;
    let text = String::from_utf8(text).map_err(|_| DiscError::NotText)?;
    Ok(Some(Unverified { text, files }))
}

/// The whole file, when it is within the bound.
pub fn read_bounded(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(LONGEST_FILE_BYTES + 1)
        .read_to_end(&mut content)?;
    Ok((content.len() as u64 <= LONGEST_FILE_BYTES).then_some(content))
}
