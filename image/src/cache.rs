//! What was built once and is needed again: roots, kernels, charon.
//!
//! 1. An entry's name carries the digest of all its inputs; an entry is never changed.
//! 2. An entry appears by one rename of a finished folder: an interrupted build is never taken for a finished one.
//! 3. Two commands at the same time do not build the same kind twice: the second waits.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::step;

/// End of the name of an entry that is being built.
const UNFINISHED: &str = ".unfinished";

/// Why the cache cannot be used.
#[derive(Debug)]
pub enum Error {
    /// Neither variable that tells the place is set.
    NoPlace,
    /// An operation on a file or folder of the cache failed.
    File { path: PathBuf, cause: io::Error },
    /// The left-over of an interrupted build could not be removed.
    LeftOver { path: PathBuf, cause: step::Error },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoPlace => f.write_str("no place for the cache: set COLLECTOR_CACHE or HOME"),
            Error::File { path, .. } => write!(f, "cannot use {} in the cache", path.display()),
            Error::LeftOver { path, .. } => {
                write!(
                    f,
                    "cannot remove {}, left by an interrupted build; remove it by hand",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::NoPlace => None,
            Error::File { cause, .. } => Some(cause),
            Error::LeftOver { cause, .. } => Some(cause),
        }
    }
}

/// The folder of finished builds.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens `$COLLECTOR_CACHE`, else `~/.cache/collector-box`.
    pub fn open() -> Result<Cache, Error> {
        let dir = match (env::var_os("COLLECTOR_CACHE"), env::var_os("HOME")) {
            (Some(dir), _) => PathBuf::from(dir),
            (None, Some(home)) => Path::new(&home).join(".cache/collector-box"),
            (None, None) => return Err(Error::NoPlace),
        };
        fs::create_dir_all(&dir).map_err(|cause| Error::File {
            path: dir.clone(),
            cause,
        })?;
        let dir = dir.canonicalize().map_err(|cause| Error::File {
            path: dir.clone(),
            cause,
        })?;
        Ok(Cache { dir })
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// Where the log of a step is kept.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    /// Gives the entry for `kind` and `key`, building it when it is not there. `build` fills the folder that it is given.
    pub fn entry<E: From<Error>>(
        &self,
        kind: &str,
        key: &Digest,
        build: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let finished = self.dir.join(format!("{kind}-{}", key.short()));
        if finished.exists() {
            return Ok(finished);
        }
        let _lock = self.lock(kind)?;
        if finished.exists() {
            return Ok(finished);
        }
        self.remove_unfinished(kind)?;
        let unfinished = self.dir.join(format!("{kind}-{}{UNFINISHED}", key.short()));
        fs::create_dir(&unfinished).map_err(|cause| Error::File {
            path: unfinished.clone(),
            cause,
        })?;
        build(&unfinished)?;
        fs::rename(&unfinished, &finished).map_err(|cause| Error::File {
            path: finished.clone(),
            cause,
        })?;
        Ok(finished)
    }

    /// Removes what interrupted builds of this kind left, whatever their inputs were. The caller holds the kind's lock.
    fn remove_unfinished(&self, kind: &str) -> Result<(), Error> {
        let file_error = |cause| Error::File {
            path: self.dir.clone(),
            cause,
        };
        for entry in fs::read_dir(&self.dir).map_err(file_error)? {
            let entry = entry.map_err(file_error)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let key = name
                .strip_prefix(kind)
                .and_then(|rest| rest.strip_prefix('-')?.strip_suffix(UNFINISHED));
            // `root-a` must not take what belongs to `root-a-b`
            if key.is_some_and(|key| {
                key.len() == Digest::SHORT && key.bytes().all(|byte| byte.is_ascii_hexdigit())
            }) {
                step::answer(
                    step::as_root("rm")
                        .args(["-rf", "--one-file-system"])
                        .arg(entry.path()),
                )
                .map_err(|cause| Error::LeftOver {
                    path: entry.path(),
                    cause,
                })?;
            }
        }
        Ok(())
    }

    /// Holds a lock until the returned file is dropped.
    pub fn lock(&self, name: &str) -> Result<File, Error> {
        let path = self.dir.join(format!("{name}.lock"));
        let file = File::create(&path).map_err(|cause| Error::File {
            path: path.clone(),
            cause,
        })?;
        file.lock().map_err(|cause| Error::File { path, cause })?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> Cache {
        let dir = env::temp_dir().join(format!("cache-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Cache { dir }
    }

    #[test]
    fn an_interrupted_build_is_not_taken_for_a_finished_one() {
        let cache = scratch("interrupted");
        let key = Digest::of(b"inputs");
        let refused = cache.entry("thing", &key, |dir| {
            fs::write(dir.join("half"), b"").unwrap();
            Err(Error::NoPlace)
        });
        assert!(refused.is_err());
        let path = cache
            .entry::<Error>("thing", &key, |dir| {
                assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
                fs::write(dir.join("whole"), b"").unwrap();
                Ok(())
            })
            .unwrap();
        assert!(path.join("whole").exists());
        fs::remove_dir_all(&cache.dir).unwrap();
    }

    #[test]
    fn what_an_interrupted_build_left_goes_even_when_its_inputs_changed() {
        let cache = scratch("left");
        let _ = cache.entry("thing", &Digest::of(b"old"), |_| Err(Error::NoPlace));
        let _ = cache.entry("thing-other", &Digest::of(b"old"), |_| Err(Error::NoPlace));
        cache
            .entry::<Error>("thing", &Digest::of(b"new"), |_| Ok(()))
            .unwrap();
        let names = fs::read_dir(&cache.dir)
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name());
        let left: Vec<_> = names
            .filter(|name| name.to_string_lossy().ends_with(UNFINISHED))
            .collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].to_string_lossy().starts_with("thing-other-"));
        fs::remove_dir_all(&cache.dir).unwrap();
    }

    #[test]
    fn a_finished_entry_is_not_built_again() {
        let cache = scratch("finished");
        let key = Digest::of(b"inputs");
        cache.entry::<Error>("thing", &key, |_| Ok(())).unwrap();
        cache
            .entry::<Error>("thing", &key, |_| panic!("built twice"))
            .unwrap();
        fs::remove_dir_all(&cache.dir).unwrap();
    }
}
