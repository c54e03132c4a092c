//! `datacentre open` over a folder with every way to be wrong (`firmware/bundle/testdata/vectors`): nothing unverified
//! reaches the restored store, every refusal is named, and nothing that came in is changed.

use bundle::Digest;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn testdata(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../firmware/bundle/testdata")
        .join(below)
}

/// What a header says; `testdata/README.md` has the fields and what they mean where they are left out.
struct Vector {
    fields: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Vector {
    fn read(file: &[u8]) -> Self {
        let end = file.windows(2).position(|pair| pair == b"\n\n").unwrap();
        let head = std::str::from_utf8(&file[..end]).unwrap();
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        };
        Self {
            fields: head.lines().map(field).collect(),
            body: file[end + 2..].to_vec(),
        }
    }

    fn get<'a>(&'a self, field: &str, left_out: &'a str) -> &'a str {
        self.fields.get(field).map_or(left_out, String::as_str)
    }

    fn name(&self) -> &str {
        self.get("vector", "")
    }

    fn is_right(&self) -> bool {
        self.get("expect", "") == "opened"
    }
}

/// Every vector that is a bundle.
fn bundles() -> Vec<Vector> {
    let mut paths: Vec<PathBuf> = fs::read_dir(testdata("vectors"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let vectors = paths
        .iter()
        .map(|path| Vector::read(&fs::read(path).unwrap()));
    vectors
        .filter(|vector| vector.get("kind", "") == "bundle")
        .collect()
}

fn named(name: &str) -> Vector {
    Vector::read(&fs::read(testdata(&format!("vectors/{name}.vector"))).unwrap())
}

struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        fs::create_dir(scene.path("in")).unwrap();
        scene
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// Lays a vector's bundle into a folder of its own below the folder of arrivals.
    fn lay(&self, vector: &Vector) {
        let folder = self.path("in").join(vector.name());
        fs::create_dir(&folder).unwrap();
        let path = folder.join(vector.get("file", "box-1-0000000001.cms"));
        fs::write(&path, &vector.body).unwrap();
        let zeros: u64 = vector.get("zeros", "0").parse().unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(vector.body.len() as u64 + zeros).unwrap();
    }

    fn open(&self, revoked: &str) -> (Output, Value) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_datacentre"));
        command.arg("open");
        for (option, path) in [
            ("--cert", testdata("recipient.pem")),
            ("--key", testdata("recipient.key")),
            ("--trust", testdata("pki/authority.pem")),
            ("--in", self.path("in")),
            ("--out", self.path("out")),
            ("--report", self.path("report")),
        ] {
            command.arg(option).arg(path);
        }
        if revoked != "none" {
            command.arg("--revoked").arg(testdata("pki").join(revoked));
        }
        let output = command.output().unwrap();
        let report = fs::read(self.path("report")).unwrap_or_default();
        (output, serde_json::from_slice(&report).unwrap_or_default())
    }

    /// The one refusal of this vector.
    fn refusal<'a>(&self, report: &'a Value, vector: &Vector) -> Option<&'a str> {
        let folder = self.path("in").join(vector.name());
        let refused = report["refused"].as_array().unwrap().iter();
        let mut own =
            refused.filter(|r| Path::new(r["file"].as_str().unwrap()).starts_with(&folder));
        let reason = own.next()?["reason"].as_str();
        assert!(own.next().is_none(), "{}", vector.name());
        reason
    }
}

/// Files below a folder with the digests of their contents.
fn digests(root: &Path) -> BTreeMap<String, Digest> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let below = path.strip_prefix(root).unwrap().as_os_str();
                let below = below.as_bytes().escape_ascii().to_string();
                found.insert(below, Digest::of(&fs::read(path).unwrap()));
            }
        }
    }
    found
}

fn assert_nothing_restored(scene: &Scene) {
    for (path, digest) in digests(&scene.path("out")) {
        assert!(path.starts_with(".state/"), "{path} was written");
        assert!(
            path == ".state/lock" || path.ends_with("/history"),
            "{path} was left"
        );
        assert_eq!(digest, Digest::of(b""), "{path} holds something");
    }
}

#[test]
fn a_folder_of_every_wrong_bundle_restores_nothing_and_names_every_refusal() {
    // one run for each setting that a vector can ask of the command line
    let mut refused = 0;
    for revoked in ["none", "list.pem", "list-of-another.pem"] {
        let scene = Scene::new();
        let wrong: Vec<Vector> = bundles()
            .into_iter()
            .filter(|v| !v.is_right() && v.get("revoked", "none") == revoked)
            .filter(|v| v.get("previous", "none") == "none")
            .collect();
        wrong.iter().for_each(|vector| scene.lay(vector));
        let before = digests(&scene.path("in"));

        let (output, report) = scene.open(revoked);

        assert_eq!(output.status.code(), Some(1), "{revoked}");
        for vector in &wrong {
            let Some(reason) = scene.refusal(&report, vector) else {
                // it claims to be the second bundle and is never looked into while the first is missing
                assert_eq!(vector.name(), "wrong-sequence");
                assert_eq!(report["gaps"][0]["waiting"], 1);
                continue;
            };
            let says = vector.get("says", "");
            assert!(
                reason.starts_with(says),
                "{}: {reason}, not {says}",
                vector.name()
            );
            refused += 1;
        }
        assert_eq!(
            (&report["bundles"], &report["files"]),
            (&0.into(), &0.into())
        );
        assert_nothing_restored(&scene);
        assert_eq!(digests(&scene.path("in")), before);
    }
    assert!(refused > 150, "only {refused} were tried");
}

#[test]
fn a_revocation_list_that_has_ended_stops_the_run_before_anything() {
    let scene = Scene::new();
    scene.lay(&named("right"));
    let (output, _) = scene.open("list-ended.pem");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(
        words.contains("a revocation list ended at 2026-11-21T00:00:00Z"),
        "{words}"
    );
    assert!(!scene.path("out").exists());
}

#[test]
fn a_right_bundle_among_all_the_wrong_ones_is_restored_alone() {
    let scene = Scene::new();
    let wrong = bundles().into_iter().filter(|vector| {
        !vector.is_right()
            && vector.get("revoked", "none") == "none"
            && vector.name() != "too-large"
    });
    wrong.for_each(|vector| scene.lay(&vector));
    scene.lay(&named("right"));
    let (output, report) = scene.open("none");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        (&report["bundles"], &report["files"]),
        (&1.into(), &2.into())
    );
    // the one that follows another first bundle was judged after the right first one
    let reason = scene.refusal(&report, &named("wrong-previous")).unwrap();
    assert_eq!(reason, named("wrong-previous").get("says", ""));
    let restored = digests(&scene.path("out"));
    let store: Vec<_> = restored
        .iter()
        .filter(|(path, _)| !path.starts_with(".state/"))
        .collect();
    assert_eq!(
        store,
        [
            (&"box-1/dpc/a".to_owned(), &Digest::of(b"one")),
            (&"box-1/dpc/b".to_owned(), &Digest::of(b"two"))
        ]
    );
}

#[test]
fn every_bundle_with_nothing_wrong_is_restored() {
    let mut tried = 0;
    for vector in bundles().iter().filter(|vector| vector.is_right()) {
        let revoked = match vector.get("revoked", "none") {
            "list-ended.pem" => "none", // right at a clock that is past
            other => other,
        };
        let scene = Scene::new();
        let name = vector.name();
        // this one says that the first is lost too
        if vector.get("previous", "none") != "none" && name != "right-lost" {
            scene.lay(&named("right"));
        }
        scene.lay(vector);
        let (output, report) = scene.open(revoked);
        let (lost, status) = match name {
            "right-lost" => (2, 1),
            "right-lost-without-entries" => (1, 1),
            _ => (0, 0),
        };
        assert_eq!(output.status.code(), Some(status), "{name}: {report}");
        assert_eq!(report["lost"].as_array().unwrap().len(), lost, "{name}");
        let path = scene.path("out/box-1/dpc/a");
        let expected: &[u8] = if name == "right-path-twice" {
            b"two"
        } else {
            b"one"
        };
        assert_eq!(fs::read(path).unwrap(), expected, "{name}");
        tried += 1;
    }
    assert!(tried > 8, "only {tried} were tried");
}
