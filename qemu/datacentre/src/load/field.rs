//! The boxes of a run: a certificate and a bundle file for each.

use super::{LoadError, Settings, fault};
use crate::arguments;
use crate::ca::issue::{self, Authority, Curve, Kind, Validity};
use aws_lc_rs::digest::{SHA256, digest};
use bundle::{BundleName, LocalSigner};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use upload::{Bundle, ClientConfig, Identity, TlsProfile, Trust};
use x509_cert::Certificate;

/// The receiver's name in its certificate.
pub const SERVER: &str = "receive.example";
/// Certificates are good from an hour ago, for a day.
const SLACK_SECONDS: u64 = 3600;
const DAY_SECONDS: u64 = 86_400;

/// Files of a run.
pub struct Field {
    pki: PathBuf,
    spool: PathBuf,
    pub received: PathBuf,
}

impl Field {
    pub fn make(settings: &Settings) -> Result<Self, LoadError> {
        let place = |name: &str| {
            let path = settings.folder.join(name);
            fs::create_dir(&path).map_err(fault("create", &path))?;
            Ok(path)
        };
        let field = Self {
            pki: place("pki")?,
            spool: place("spool")?,
            received: place("received")?,
        };
        field
            .certificates(settings.boxes)
            .map_err(LoadError::Certificates)?;
        for number in 0..settings.boxes {
            let path = field.content(number);
            let written = fs::write(&path, noise(number as u64, settings.bytes));
            written.map_err(fault("write", &path))?;
        }
        Ok(field)
    }

    fn certificates(&self, boxes: usize) -> Result<(), crate::ca::CaError> {
        let now = arguments::now();
        let valid = Validity {
            from: now - SLACK_SECONDS,
            to: now + DAY_SECONDS,
        };
        let mut files = Vec::new();
        let authority = Authority::make(&mut files, "ca", "Upload Authority", Curve::P256, valid)?;
        authority.revocation_list(&mut files, "crl", &[], valid.from, valid.to)?;
        authority.issue(&mut files, "server", SERVER, Kind::Server, valid)?;
        for number in 0..boxes {
            let name = box_name(number);
            authority.issue(&mut files, &name, &name, Kind::Client, valid)?;
        }
        issue::receipt(&mut files, "receipt", valid)?;
        crate::ca::write(&self.pki, files)
    }

    pub fn key_file(&self, name: &str) -> PathBuf {
        self.pki.join(name)
    }

    pub fn content(&self, number: usize) -> PathBuf {
        self.spool.join(box_name(number))
    }

    /// What signs the receiver's receipts.
    pub fn receipt_certificate(&self) -> Result<Certificate, LoadError> {
        let path = self.key_file("receipt.pem");
        let pem = fs::read(&path).map_err(fault("read", &path))?;
        bundle::signed::certificate_from_pem(&pem)
            .map_err(|source| LoadError::Signer { path, source })
    }

    /// The TLS of one box, for either kind of server.
    pub fn tls(&self, number: usize) -> Result<ClientConfig, LoadError> {
        let name = box_name(number);
        let path = self.key_file(&format!("{name}.key"));
        let pem = fs::read(&path).map_err(fault("read", &path))?;
        let key = LocalSigner::from_pem(&pem).map_err(|source| LoadError::Key { path, source })?;
        let identity = Identity::with_signer(&self.key_file(&format!("{name}.pem")), Arc::new(key));
        let trust = Trust::load(&self.key_file("ca.pem"), &self.key_file("crl.pem"));
        let made = identity
            .and_then(|identity| upload::tls::client_config(&trust?, identity, TlsProfile::Modern));
        made.map_err(LoadError::Tls)
    }

    /// The bundles of one box, in order. Each has a name of its own; the bytes are the box's.
    pub fn bundles(&self, settings: &Settings, number: usize) -> Result<Vec<Bundle>, LoadError> {
        let path = self.content(number);
        (1..=settings.bundles)
            .map(|sequence| Bundle::open(bundle_name(number, sequence), &path))
            .collect::<Result<_, _>>()
            .map_err(fault("read", &path))
    }

    /// Everything that was delivered is there, and nothing besides.
    pub fn check_stored(&self, settings: &Settings) -> Result<(), LoadError> {
        let folders = names(&self.received)?;
        let boxes = (0..settings.boxes).map(box_name).collect();
        let strange = |name: &&String| !name.starts_with('.');
        if let Some(other) = folders.difference(&boxes).find(strange) {
            return Err(LoadError::Stored {
                bundle: other.clone(),
                what: "is no folder of a box",
            });
        }
        for number in 0..settings.boxes {
            let folder = self.received.join(box_name(number));
            let path = self.content(number);
            let sent = fs::read(&path).map_err(fault("read", &path))?;
            let sent = digest(&SHA256, &sent);
            let mut expected = BTreeSet::new();
            for sequence in 1..=settings.bundles {
                let bundle = bundle_name(number, sequence).to_string();
                let stored = fs::read(folder.join(&bundle)).map_err(|_| LoadError::Stored {
                    bundle: bundle.clone(),
                    what: "is not there",
                })?;
                if digest(&SHA256, &stored).as_ref() != sent.as_ref() {
                    let what = "has other bytes";
                    return Err(LoadError::Stored { bundle, what });
                }
                expected.insert(bundle);
            }
            if let Some(other) = names(&folder)?.difference(&expected).next() {
                return Err(LoadError::Stored {
                    bundle: other.clone(),
                    what: "was never sent",
                });
            }
        }
        Ok(())
    }
}

fn names(folder: &Path) -> Result<BTreeSet<String>, LoadError> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    Ok(entries
        .map_err(fault("list", folder))?
        .iter()
        .map(name)
        .collect())
}

pub fn box_name(number: usize) -> String {
    format!("box-{number:04}")
}

pub fn bundle_name(number: usize, sequence: usize) -> BundleName {
    let name = box_name(number).parse();
    // Both are of the form that names have: four digits or more, and a sequence number from one.
    BundleName::new(name.expect("a box's name"), sequence as u64).expect("a bundle's name")
}

/// Bytes that no compression shortens, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
