//! The accepted configuration on the state partition: whole generations, of which one is current.
//!
//! A generation is a folder named by its digest, in each of three places: `/state/site` (site.toml, certificates and
//! `files.json`, which says where each file went), `/state/keys` (for the group of `keyholder`) and `/state/keys-ike`
//! (for the group of `tunnel`). In each place `current` is a link to one generation.
//!
//! 1. The link in `/state/site` alone decides which generation is accepted: replacing it by a rename is the commit.
//! 2. Before the commit the new generation is complete and synced in all three places, beside the old one.
//! 3. The other two links follow the first. A cut between them leaves them behind; `settle` makes them follow before
//!    anything else starts, so that no role ever sees a mix.
//! 4. What is not current is removed after that, and whatever a cut left.
//!
//! The three folders have the set-group-ID bit where a group reads, so that no right to give files away is needed.

use super::disc::{Unverified, read_bounded};
use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use site::{AcceptedFile, Reader};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const CURRENT: &str = "current";
const FRESH_LINK: &str = "current.new";
const LISTING: &str = "files.json";
const RECORDED: &str = "recorded";

/// Where one file of the disc lies, as `files.json` keeps it.
#[derive(Serialize, Deserialize)]
struct Listed {
    name: String,
    stored_name: String,
    place: String,
}

/// One of the three places, in the order in which they are written; the first decides.
const PLACES: [Reader; 3] = [Reader::Everyone, Reader::Keyholder, Reader::Tunnel];

fn word(reader: Reader) -> &'static str {
    match reader {
        Reader::Everyone => "site",
        Reader::Keyholder => "keys",
        Reader::Tunnel => "keys-ike",
    }
}

/// The stored configuration cannot be read or written.
#[derive(Debug)]
pub enum StoreError {
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// Commission the box again.
    Damaged { path: PathBuf },
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write { path, .. } => {
                write!(f, "cannot store the configuration in {}", path.display())
            }
            Self::Read { path, .. } => write!(
                f,
                "cannot read the stored configuration in {}",
                path.display()
            ),
            Self::Damaged { path } => write!(
                f,
                "the stored configuration is damaged at {}",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Write { source, .. } | Self::Read { source, .. } => Some(source),
            Self::Damaged { .. } => None,
        }
    }
}

fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Write { path, source }
}

fn reading(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Read { path, source }
}

/// SHA-256 over names and contents, in hex: the name of the generation.
pub fn digest(content: &Unverified, accepted: &[AcceptedFile]) -> String {
    let mut context = Context::new(&SHA256);
    let mut add = |name: &str, bytes: &[u8]| {
        for part in [name.as_bytes(), bytes] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    };
    add(site::FILE_NAME, content.text.as_bytes());
    for file in accepted {
        add(
            &file.stored_name,
            content.files.get(&file.name).map_or(&[], Vec::as_slice),
        );
    }
    crate::runtime::keyholder::to_hex(context.finish().as_ref())
}

/// The three places.
pub struct Store {
    places: [PathBuf; 3],
}

impl Store {
    /// `path` gives the folder of a path on the box.
    pub fn new(path: impl Fn(&str) -> PathBuf) -> Self {
        // The folders of `Reader` end in `current`, which is the link.
        Self {
            places: PLACES.map(|reader| path(reader.folder()).with_file_name("")),
        }
    }

    fn place(&self, reader: Reader) -> &Path {
        &self.places[PLACES
            .iter()
            .position(|place| *place == reader)
            .unwrap_or(0)]
    }

    /// The accepted generation.
    pub fn current(&self) -> Result<Option<String>, StoreError> {
        link_target(self.place(Reader::Everyone))
    }

    /// Makes the links follow the first one and removes what is not current.
    pub fn settle(&self) -> Result<(), StoreError> {
        let current = self.current()?;
        for place in &self.places[1..] {
            if let Some(generation) = &current
                && link_target(place)?.as_ref() != Some(generation)
            {
                link(place, generation)?;
            }
        }
        self.places
            .iter()
            .try_for_each(|place| clear(place, current.as_deref()))
    }

    /// Stores a generation and makes it the current one.
    pub fn commit(
        &self,
        generation: &str,
        content: &Unverified,
        accepted: &[AcceptedFile],
    ) -> Result<(), StoreError> {
        self.stage(generation, content, accepted)?;
        for place in &self.places {
            link(place, generation)?;
        }
        self.settle()
    }

    /// Whether the trail knows this generation.
    pub fn is_recorded(&self, generation: &str) -> bool {
        self.place(Reader::Everyone)
            .join(generation)
            .join(RECORDED)
            .exists()
    }

    /// Remembers that the trail knows it. Not synced: after a cut it is recorded again rather than never.
    pub fn mark_recorded(&self, generation: &str) {
        let _ = std::fs::write(
            self.place(Reader::Everyone).join(generation).join(RECORDED),
            "",
        );
    }

    /// Writes a generation beside the current one, durably.
    fn stage(
        &self,
        generation: &str,
        content: &Unverified,
        accepted: &[AcceptedFile],
    ) -> Result<(), StoreError> {
        for (place, reader) in self.places.iter().zip(PLACES) {
            let folder = place.join(generation);
            remove(&folder)?;
            let public = reader == Reader::Everyone;
            let mode = if public { 0o755 } else { 0o750 };
            DirBuilder::new()
                .mode(mode)
                .create(&folder)
                .map_err(writing(&folder))?;
            if public {
                write(
                    &folder.join(site::FILE_NAME),
                    content.text.as_bytes(),
                    0o400,
                )?;
                write(&folder.join(LISTING), listing(accepted).as_bytes(), 0o400)?;
            }
            for file in accepted.iter().filter(|file| file.reader == reader) {
                let bytes = content.files.get(&file.name).map_or(&[][..], Vec::as_slice);
                write(
                    &folder.join(&file.stored_name),
                    bytes,
                    if public { 0o444 } else { 0o440 },
                )?;
            }
            sync(&folder)?;
            sync(place)?;
        }
        Ok(())
    }

    /// The stored configuration as a disc would hold it, to be checked again.
    pub fn load(&self, generation: &str) -> Result<Unverified, StoreError> {
        let folder = self.place(Reader::Everyone).join(generation);
        let text = bounded(&folder.join(site::FILE_NAME))?;
        let text = String::from_utf8(text).map_err(|_| StoreError::Damaged {
            path: folder.join(site::FILE_NAME),
        })?;
        let damaged = || StoreError::Damaged {
            path: folder.join(LISTING),
        };
        let listed: Vec<Listed> =
            serde_json::from_slice(&bounded(&folder.join(LISTING))?).map_err(|_| damaged())?;
        let mut files = BTreeMap::new();
        for file in listed {
            let reader = PLACES
                .into_iter()
                .find(|reader| word(*reader) == file.place)
                .ok_or_else(damaged)?;
            let path = self.place(reader).join(generation).join(&file.stored_name);
            files.insert(file.name, bounded(&path)?);
        }
        Ok(Unverified { text, files })
    }
}

fn listing(accepted: &[AcceptedFile]) -> String {
    let listed: Vec<_> = accepted
        .iter()
        .map(|file| {
            serde_json::json!({ "name": file.name, "stored_name": file.stored_name, "place": word(file.reader) })
        })
        .collect();
    serde_json::Value::from(listed).to_string()
}

fn bounded(path: &Path) -> Result<Vec<u8>, StoreError> {
    let content = read_bounded(path).map_err(reading(path))?;
    content.ok_or_else(|| StoreError::Damaged {
        path: path.to_owned(),
    })
}

fn link_target(place: &Path) -> Result<Option<String>, StoreError> {
    let path = place.join(CURRENT);
    match std::fs::read_link(&path) {
        Ok(target) => match target.to_str() {
            Some(name) if is_generation(name) => Ok(Some(name.to_owned())),
            _ => Err(StoreError::Damaged { path }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Read { path, source }),
    }
}

fn is_generation(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Makes `current` lead to a generation, durably and at once.
fn link(place: &Path, generation: &str) -> Result<(), StoreError> {
    let fresh = place.join(FRESH_LINK);
    remove(&fresh)?;
    std::os::unix::fs::symlink(generation, &fresh).map_err(writing(&fresh))?;
    let current = place.join(CURRENT);
    std::fs::rename(&fresh, &current).map_err(writing(&current))?;
    sync(place)
}

/// Removes every generation but the current one, and what a cut left.
fn clear(place: &Path, current: Option<&str>) -> Result<(), StoreError> {
    for entry in std::fs::read_dir(place).map_err(reading(place))? {
        let entry = entry.map_err(reading(place))?;
        let name = entry.file_name();
        let ours = name
            .to_str()
            .is_some_and(|name| name == FRESH_LINK || is_generation(name));
        if ours && name.to_str() != current {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), StoreError> {
    let outcome = match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    outcome.map_err(writing(path))
}

pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let written = file.and_then(|mut file| {
        file.write_all(bytes)?;
        // The mode of creation is subject to the umask.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        file.sync_all()
    });
    written.map_err(writing(path))
}

fn sync(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(writing(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(mark: &str) -> (Unverified, Vec<AcceptedFile>) {
        let files = ["a.pem", "b.key", "c.key"]
            .map(|name| (name.to_owned(), format!("{name} {mark}").into_bytes()));
        let accepted = [
            ("a.pem", Reader::Everyone, "a.pem"),
            ("b.key", Reader::Keyholder, "sealing.key"),
            ("c.key", Reader::Tunnel, "ike.key"),
        ]
        .map(|(name, reader, stored_name)| AcceptedFile {
            name: name.to_owned(),
            reader,
            stored_name: stored_name.to_owned(),
        });
        (
            Unverified {
                text: format!("# {mark}"),
                files: files.into(),
            },
            accepted.to_vec(),
        )
    }

    fn store_in(folder: &Path) -> Store {
        for place in ["site", "keys", "keys-ike"] {
            std::fs::create_dir_all(folder.join("state").join(place)).unwrap();
        }
        Store::new(|path| folder.join(path.trim_start_matches('/')))
    }

    fn commit(store: &Store, mark: &str) -> String {
        let (content, accepted) = content(mark);
        let generation = digest(&content, &accepted);
        store.commit(&generation, &content, &accepted).unwrap();
        generation
    }

    /// What roles see through the links: all of one mark.
    fn seen(folder: &Path) -> Vec<String> {
        [
            "site/current/site.toml",
            "site/current/a.pem",
            "keys/current/sealing.key",
            "keys-ike/current/ike.key",
        ]
        .map(|path| std::fs::read_to_string(folder.join("state").join(path)).unwrap())
        .map(|text| text.split(' ').next_back().unwrap().to_owned())
        .to_vec()
    }

    #[test]
    fn what_was_stored_is_loaded_as_the_disc_held_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(folder.path());
        assert_eq!(store.current().unwrap(), None);
        let generation = commit(&store, "one");
        assert_eq!(store.current().unwrap(), Some(generation.clone()));
        let (expected, _) = content("one");
        let loaded = store.load(&generation).unwrap();
        assert_eq!((loaded.text, loaded.files), (expected.text, expected.files));
    }

    #[test]
    fn a_new_generation_replaces_the_old_one_and_leaves_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(folder.path());
        let old = commit(&store, "one");
        let new = commit(&store, "two");
        assert_ne!(old, new);
        assert_eq!(seen(folder.path()), ["two"; 4]);
        for place in &store.places {
            assert!(!place.join(&old).exists());
        }
    }

    #[test]
    fn a_cut_before_the_commit_leaves_the_old_and_after_it_the_new_never_a_mix() {
        for links_made in 0..=3 {
            let folder = tempfile::tempdir().unwrap();
            let store = store_in(folder.path());
            commit(&store, "one");
            let (content, accepted) = content("two");
            let generation = digest(&content, &accepted);
            store.stage(&generation, &content, &accepted).unwrap();
            for place in &store.places[..links_made] {
                link(place, &generation).unwrap();
            }
            std::os::unix::fs::symlink("half", store.places[1].join(FRESH_LINK)).unwrap();
            store_in(folder.path()).settle().unwrap();
            let expected = if links_made == 0 { "one" } else { "two" };
            assert_eq!(seen(folder.path()), [expected; 4], "{links_made} links");
            for place in &store.places {
                assert_eq!(
                    std::fs::read_dir(place).unwrap().count(),
                    2,
                    "one generation and its link"
                );
            }
        }
    }

    #[test]
    fn a_cut_while_the_new_generation_is_written_leaves_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(folder.path());
        commit(&store, "one");
        let (content, accepted) = content("two");
        let generation = digest(&content, &accepted);
        std::fs::create_dir(store.places[0].join(&generation)).unwrap();
        std::fs::write(store.places[0].join(&generation).join("site.toml"), "# ha").unwrap();
        store.settle().unwrap();
        assert_eq!(seen(folder.path()), ["one"; 4]);
        store.commit(&generation, &content, &accepted).unwrap();
        assert_eq!(seen(folder.path()), ["two"; 4]);
    }

    #[test]
    fn keys_are_readable_by_owner_and_group_alone() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        commit(&store_in(folder.path()), "one");
        let mode = |path: &str| {
            std::fs::metadata(folder.path().join("state").join(path))
                .unwrap()
                .mode()
                & 0o777
        };
        assert_eq!(mode("keys/current/sealing.key"), 0o440);
        assert_eq!(mode("keys-ike/current/ike.key"), 0o440);
        assert_eq!(mode("keys/current"), 0o750);
        assert_eq!(mode("site/current/a.pem"), 0o444);
        assert_eq!(
            mode("site/current/site.toml"),
            0o400,
            "it holds the passwords of shares"
        );
    }
}
