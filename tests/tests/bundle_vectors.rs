//! The vectors that must be taken are right by the judgement of stock tools too: `openssl`, `zstd` and `tar` open every
//! one of them. So what our opener takes is what the format says, not what our sealer happens to write.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// 2026-11-22T00:00:00Z, when the vectors were sealed: `-attime` of `openssl cms -verify`.
const SEALED: &str = "1795305600";

fn testdata(below: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware/bundle/testdata");
    folder.join(below).to_str().unwrap().to_owned()
}

/// Runs a stock tool in a folder; its failure is this test's.
fn run(folder: &Path, tool: &str, arguments: &[&str]) {
    let output = Command::new(tool)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("{tool} is needed for this test; install it: {error}"));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {message}");
}

/// Opens a bundle by hand as FORMAT.md says, and gives the contents of its archive, joined.
fn open_by_hand(bundle: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("bundle.cms"), bundle).unwrap();
    let (certificate, key) = (testdata("recipient.pem"), testdata("recipient.key"));
    let der = ["-binary", "-inform", "DER", "-in"];
    let decrypt = [
        "bundle.cms",
        "-recip",
        &certificate,
        "-inkey",
        &key,
        "-out",
        "archive.tar.zst",
    ];
    run(
        at,
        "openssl",
        &[&["cms", "-decrypt"], &der[..], &decrypt].concat(),
    );
    run(at, "zstd", &["-q", "-d", "archive.tar.zst"]);
    run(at, "tar", &["-xf", "archive.tar"]);
    let authority = testdata("pki/authority.pem");
    let verify = [
        "manifest.p7s",
        "-content",
        "manifest.json",
        "-CAfile",
        &authority,
        "-attime",
        SEALED,
        "-out",
        "verified",
    ];
    run(
        at,
        "openssl",
        &[&["cms", "-verify"], &der[..], &verify].concat(),
    );
    assert_eq!(
        fs::read(at.join("verified")).unwrap(),
        fs::read(at.join("manifest.json")).unwrap()
    );
    // there is no such folder where the manifest has no entries
    let mut contents: Vec<PathBuf> = fs::read_dir(at.join("content"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    contents.sort();
    contents
        .iter()
        .flat_map(|path| fs::read(path).unwrap())
        .collect()
}

#[test]
fn stock_tools_open_every_vector_with_nothing_wrong() {
    let mut opened = 0;
    for entry in fs::read_dir(testdata("vectors")).unwrap() {
        let path = entry.unwrap().path();
        let file = fs::read(&path).unwrap();
        let end = file.windows(2).position(|pair| pair == b"\n\n").unwrap();
        let head = std::str::from_utf8(&file[..end]).unwrap();
        let says = |line: &str| head.lines().any(|other| other == line);
        if says("kind: bundle") && says("expect: opened") {
            let contents: &[u8] = match says("says: 0 entries, 0 bytes") {
                true => b"",
                false => b"onetwo",
            };
            assert_eq!(
                open_by_hand(&file[end + 2..]),
                contents,
                "{}",
                path.display()
            );
            opened += 1;
        }
    }
    assert!(opened >= 10, "only {opened} vectors must be taken");
}
