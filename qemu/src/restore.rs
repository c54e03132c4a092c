//! What the data centre received, opened natively by `datacentre open` and compared with the hospital's store.
//!
//! 1. The hospital's digest is made in the hospital, the restored one here; the bundles in between are opened by the
//!    program that a data centre uses, with the only private key.
//! 2. What the box ignores by its published table (`ssmix2::ignored`) is counted, not compared.

use crate::Inputs;
use crate::pki::{BOX, Pki};
use crate::site_disc::Root;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fmt, fs, io};

/// Two stores side by side, in files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The hospital's files in the collected roots.
    pub hospital: u64,
    pub restored: u64,
    pub identical: u64,
    /// The hospital's files that are not restored.
    pub lost: u64,
    /// Restored with other bytes.
    pub different: u64,
    /// Restored, and not in the hospital.
    pub invented: u64,
    /// Files that came again with the bytes they had.
    pub duplicated: u64,
    /// Files of the hospital that nobody collects by rule.
    pub ignored: u64,
    pub bundles: u64,
    /// Why a bundle or an entry was refused, and which numbers are missing.
    pub complaints: Vec<String>,
}

impl Comparison {
    /// Byte for byte the same, each once.
    pub fn complete(&self) -> bool {
        self.duplicated == 0 && self.same()
    }

    /// Byte for byte the same, however often it came.
    pub fn same(&self) -> bool {
        self.identical == self.hospital
            && self.restored == self.hospital
            && self.complaints.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            hospital,
            restored,
            identical,
            lost,
            different,
            invented,
            duplicated,
            bundles,
            ..
        } = self;
        write!(
            f,
            "{hospital} files in the hospital, {restored} restored from {bundles} bundles: {identical} identical, "
        )?;
        write!(
            f,
            "{lost} lost, {different} different, {invented} invented, {duplicated} duplicated"
        )?;
        self.complaints
            .iter()
            .try_for_each(|complaint| write!(f, "; {complaint}"))
    }
}

/// What `datacentre open` says about one run, as far as it is judged.
#[derive(Debug, Deserialize)]
struct Report {
    unchanged: u64,
    gaps: Vec<serde_json::Value>,
    refused: Vec<serde_json::Value>,
    faults: Vec<serde_json::Value>,
}

/// Keeps received bundles and the restored store of one run.
#[derive(Debug)]
pub struct Restorer {
    program: PathBuf,
    keys: [PathBuf; 3],
    received: PathBuf,
    restored: PathBuf,
    report: PathBuf,
    roots: &'static [Root],
    duplicated: u64,
}

impl Restorer {
    pub fn new(inputs: &Inputs, pki: &Pki, run: &Path, roots: &'static [Root]) -> Self {
        Self {
            program: inputs.programs.datacentre.clone(),
            keys: ["recipient.pem", "recipient.key", "sealing-ca.pem"].map(|name| pki.file(name)),
            received: run.join("received"),
            restored: run.join("restored"),
            report: run.join("open.json"),
            roots,
            duplicated: 0,
        }
    }

    /// Opens from now on with the key of this recipient.
    pub fn use_recipient(&mut self, pki: &Pki, name: &str) {
        let [certificate, key, _] = &mut self.keys;
        *certificate = pki.file(&format!("{name}.pem"));
        *key = pki.file(&format!("{name}.key"));
    }

    /// The folder with the restored store of the box.
    pub fn folder(&self) -> PathBuf {
        self.restored.join(BOX)
    }

    /// Opens the bundles in the archive and compares what is restored with the hospital's digest.
    pub fn compare(
        &mut self,
        bundles: &[u8],
        hospital: &[String],
    ) -> Result<Comparison, RestoreError> {
        fs::create_dir_all(&self.received).map_err(|source| failed(&self.received, source))?;
        if !bundles.is_empty() {
            tar::Archive::new(bundles)
                .unpack(&self.received)
                .map_err(|source| failed(&self.received, source))?;
        }
        let complaints = self.open()?;
        let store = self.folder();
        fs::create_dir_all(&store).map_err(|source| failed(&store, source))?;
        let mut text = Vec::new();
        hospital::digest(&store, &mut text)
            .map_err(|fault| RestoreError::Digest(fault.to_string()))?;
        let text = String::from_utf8_lossy(&text);
        let mut comparison = compare_digests(self.roots, hospital, text.lines());
        comparison.duplicated = self.duplicated;
        comparison.complaints = complaints;
        let entries =
            fs::read_dir(&self.received).map_err(|source| failed(&self.received, source))?;
        comparison.bundles = entries
            .flatten()
            .filter(|entry| is_bundle(&entry.path()))
            .count() as u64;
        Ok(comparison)
    }

    fn open(&mut self) -> Result<Vec<String>, RestoreError> {
        let [certificate, key, trust] = &self.keys;
        let mut command = Command::new(&self.program);
        command
            .arg("open")
            .arg("--cert")
            .arg(certificate)
            .arg("--key")
            .arg(key)
            .arg("--trust")
            .arg(trust);
        command
            .arg("--in")
            .arg(&self.received)
            .arg("--out")
            .arg(&self.restored)
            .arg("--report")
            .arg(&self.report);
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|source| failed(&self.program, source))?;
        // Status 1 means that something was refused or is missing; the report says what.
        if !matches!(output.status.code(), Some(0 | 1)) {
            return Err(RestoreError::Open(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ));
        }
        let bytes = fs::read(&self.report).map_err(|source| failed(&self.report, source))?;
        let report: Report = serde_json::from_slice(&bytes).map_err(RestoreError::Report)?;
        self.duplicated += report.unchanged;
        let lists = [
            ("gap", &report.gaps),
            ("refused", &report.refused),
            ("fault", &report.faults),
        ];
        Ok(lists
            .iter()
            .flat_map(|(what, list)| list.iter().map(move |item| format!("{what} {item}")))
            .collect())
    }
}

fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cms")
}

/// Compares digests: paths of the hospital's are below the share, of the restored ones below their root's name. A file is
/// asked for once in each root that it lies in.
fn compare_digests<'a>(
    roots: &[Root],
    hospital: &'a [String],
    restored: impl Iterator<Item = &'a str>,
) -> Comparison {
    let mut comparison = Comparison::default();
    let mut there: BTreeMap<&str, &str> = restored
        .filter_map(split)
        .map(|(content, path)| (path, content))
        .collect();
    comparison.restored = there.len() as u64;
    let files = hospital.iter().filter_map(|line| split(line));
    let asked = files.flat_map(|(content, path)| {
        let collected = roots.iter().filter_map(|root| collected_path(root, path));
        collected.map(move |path| (content, path))
    });
    for (content, path) in asked {
        if path
            .split('/')
            .any(|name| ssmix2::ignored(name.as_bytes()).is_some())
        {
            comparison.ignored += 1;
            continue;
        }
        comparison.hospital += 1;
        match there.remove(path.as_str()) {
            Some(same) if same == content => comparison.identical += 1,
            Some(_) => comparison.different += 1,
            None => comparison.lost += 1,
        }
    }
    comparison.invented = there.len() as u64;
    comparison
}

/// A digest's line, `<sha256> <bytes> <path>`, as content and path. What is no file has no digest.
fn split(line: &str) -> Option<(&str, &str)> {
    let (content, path) = line
        .match_indices(' ')
        .nth(1)
        .map(|(at, _)| (&line[..at], &line[at + 1..]))?;
    (!content.starts_with("other")).then_some((content, path))
}

/// Where a path of the share is restored, if it lies in this root.
fn collected_path(root: &Root, path: &str) -> Option<String> {
    let below = path.strip_prefix(root.path)?.strip_prefix('/')?;
    Some(format!("{}/{below}", root.name))
}

fn failed(path: &Path, source: io::Error) -> RestoreError {
    RestoreError::File {
        path: path.to_owned(),
        source,
    }
}

/// The comparison could not be made.
#[derive(Debug)]
pub enum RestoreError {
    File { path: PathBuf, source: io::Error },
    Digest(String),
    Open(String),
    Report(serde_json::Error),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "cannot use {}", path.display()),
            Self::Digest(why) => write!(f, "cannot make the digest of the restored store: {why}"),
            Self::Open(words) => write!(f, "datacentre open failed: {words}"),
            Self::Report(_) => write!(f, "the report of datacentre open is not of this version"),
        }
    }
}

impl std::error::Error for RestoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Report(source) => Some(source),
            Self::Digest(_) | Self::Open(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site_disc::ROOTS;

    fn judged(hospital: &[&str], restored: &[&str]) -> Comparison {
        let hospital: Vec<String> = hospital.iter().map(|line| (*line).to_owned()).collect();
        compare_digests(ROOTS, &hospital, restored.iter().copied())
    }

    #[test]
    fn the_same_files_under_the_names_of_their_roots_are_complete() {
        let comparison = judged(
            &["aa 1 std/1/x", "bb 2 dpc/y"],
            &["bb 2 dpc/y", "aa 1 standardized/1/x"],
        );
        assert!(comparison.complete(), "{comparison}");
    }

    #[test]
    fn each_way_of_being_wrong_is_counted_by_its_name() {
        let comparison = judged(
            &["aa 1 std/x", "bb 2 std/y", "cc 3 std/z"],
            &["aa 1 standardized/x", "b0 2 standardized/y", "dd 4 dpc/w"],
        );
        assert_eq!(
            (
                comparison.identical,
                comparison.different,
                comparison.lost,
                comparison.invented
            ),
            (1, 1, 1, 1)
        );
        assert!(!comparison.complete());
    }

    #[test]
    fn files_outside_the_roots_and_ignored_ones_are_not_asked_for() {
        let comparison = judged(
            &["aa 1 tx/x", "bb 2 std/Thumbs.db", "other - std/link"],
            &[],
        );
        assert_eq!(
            (
                comparison.hospital,
                comparison.ignored,
                comparison.complete()
            ),
            (0, 1, true)
        );
    }
}
