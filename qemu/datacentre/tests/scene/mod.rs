//! A box that seals, and a data centre that opens, in one temporary folder.

#![allow(dead_code)]

use bundle::{
    Body, BoxName, Closed, Digest, Draft, Entry, Event, LocalSigner, Lost, PART_LIMIT_BYTES, Part,
    Recipient, SealedBundle, Sealer, Source, VersionId,
};
use datacentre::open::{Options, Report, run};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// 2026-11-22T00:00:00Z
pub const NOW: u64 = 1_795_305_600;

/// The lab's certificates, made once.
pub fn keys() -> &'static Path {
    static KEYS: OnceLock<TempDir> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let options = datacentre::ca::Options {
            recipient_bits: datacentre::ca::RecipientBits::B2048,
            ..datacentre::ca::Options::default()
        };
        datacentre::ca::make(folder.path(), &options, NOW).unwrap();
        folder
    })
    .path()
}

/// What a test says of a file.
#[derive(Clone, Debug)]
pub enum Tell {
    Added(Vec<u8>, Vec<u8>),
    Changed(Vec<u8>, Vec<u8>),
    FlagChanged(Vec<u8>, Vec<u8>),
    Removed(Vec<u8>),
    /// Path, version, the whole file, offset and size of the part.
    Part(Vec<u8>, u64, Vec<u8>, usize, usize),
}

pub fn added(path: &[u8], content: &[u8]) -> Tell {
    Tell::Added(path.to_vec(), content.to_vec())
}

pub fn changed(path: &[u8], content: &[u8]) -> Tell {
    Tell::Changed(path.to_vec(), content.to_vec())
}

pub fn renamed(from: &[u8], to: &[u8]) -> Tell {
    Tell::FlagChanged(from.to_vec(), to.to_vec())
}

pub fn removed(path: &[u8]) -> Tell {
    Tell::Removed(path.to_vec())
}

pub fn part(path: &[u8], version: u64, whole: &[u8], offset: usize, size: usize) -> Tell {
    Tell::Part(path.to_vec(), version, whole.to_vec(), offset, size)
}

pub struct Scene {
    folder: TempDir,
    sealer: Sealer<LocalSigner>,
    pub sequence: u64,
    pub previous: Option<Digest>,
}

impl Scene {
    pub fn new() -> Self {
        Self::signed_by("sealing-box")
    }

    /// A box whose signing key and certificate are these.
    pub fn signed_by(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        let pem = |name: &str| fs::read(keys().join(name)).unwrap();
        let box_name: BoxName = "box-1".parse().unwrap();
        let recipient = Recipient::from_pem(&pem("recipient.pem")).unwrap();
        let signer = LocalSigner::from_pem(&pem(&format!("{name}.key"))).unwrap();
        let certificate = pem(&format!("{name}.pem"));
        let sealer = Sealer::new(box_name, vec![recipient], &certificate, signer).unwrap();
        Self {
            folder,
            sealer,
            sequence: 0,
            previous: None,
        }
    }

    pub fn input(&self) -> PathBuf {
        self.folder.path().join("in")
    }

    pub fn output(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Seals the next bundle without laying it anywhere.
    pub fn seal(&mut self, tellings: &[Tell]) -> SealedBundle {
        let sealed = self.seal_as(tellings, self.sequence + 1, self.previous);
        self.sequence += 1;
        self.previous = Some(sealed.sha256);
        sealed
    }

    /// Seals the next bundle, which tells of losses alone.
    pub fn notice(&mut self, losses: &[Lost]) -> SealedBundle {
        let mut draft = Draft::new(vec![source()]).unwrap();
        losses.iter().for_each(|lost| draft.lose(lost).unwrap());
        let closed = draft.close().unwrap();
        self.sequence += 1;
        let sealed = self.sealer.seal(&closed, self.sequence, self.previous, NOW);
        let sealed = sealed.unwrap();
        self.previous = Some(sealed.sha256);
        sealed
    }

    /// Seals a bundle with any place in the chain.
    pub fn seal_as(
        &self,
        tellings: &[Tell],
        sequence: u64,
        previous: Option<Digest>,
    ) -> SealedBundle {
        self.sealer
            .seal(&draft(tellings), sequence, previous, NOW)
            .unwrap()
    }

    pub fn lay(&self, sealed: &SealedBundle) {
        fs::write(self.input().join(sealed.name.to_string()), &sealed.bytes).unwrap();
    }

    /// Seals the next bundle and lays it into the folder of arrivals.
    pub fn send(&mut self, tellings: &[Tell]) {
        let sealed = self.seal(tellings);
        self.lay(&sealed);
    }

    pub fn options(&self) -> Options {
        Options {
            certificate: keys().join("recipient.pem"),
            key: keys().join("recipient.key"),
            trust: keys().join("sealing-ca.pem"),
            revoked: Some(keys().join("sealing-crl.pem")),
            input: self.input(),
            output: self.output(),
        }
    }

    pub fn open(&self) -> Report {
        run(&self.options(), &mut |_| {}).unwrap()
    }

    /// Files of the restored store by path below its one source.
    pub fn store(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        files_below(&self.output().join("box-1/dpc"))
    }

    pub fn below(&self, folder: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
        files_below(&self.output().join(folder))
    }
}

fn source() -> Source {
    Source {
        name: "dpc".into(),
        kind: "dpc".into(),
    }
}

fn draft(tellings: &[Tell]) -> Closed {
    let mut draft = Draft::new(vec![source()]).unwrap();
    for tell in tellings {
        let (path, event) = match tell {
            Tell::Added(path, content) => (path, Event::Added(Body::new(content, None, None))),
            Tell::Changed(path, content) => (path, Event::Changed(Body::new(content, None, None))),
            Tell::FlagChanged(from, path) => (path, Event::FlagChanged { from }),
            Tell::Removed(path) => (path, Event::Removed),
            Tell::Part(path, version, whole, offset, size) => {
                assert!(*size as u64 <= PART_LIMIT_BYTES);
                let content = &whole[*offset..offset + size];
                let part = Part {
                    version: VersionId::of(&[*version]),
                    total: whole.len() as u64,
                    offset: *offset as u64,
                    whole: (offset + size == whole.len()).then(|| Digest::of(whole)),
                };
                (path, Event::Added(Body::new(content, None, Some(part))))
            }
        };
        draft
            .push(&Entry {
                source: 0,
                path,
                event,
            })
            .unwrap();
    }
    draft.close().unwrap()
}

pub fn files_below(root: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let below = path
                    .strip_prefix(root)
                    .unwrap()
                    .as_os_str()
                    .as_bytes()
                    .to_vec();
                files.insert(below, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// A store for comparison.
pub fn tree(files: &[(&[u8], &[u8])]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    files
        .iter()
        .map(|(path, content)| (path.to_vec(), content.to_vec()))
        .collect()
}
