//! Rules that hold for the whole project: licences of what is linked, where unsafe code may stand, what is banned.
//!
//! Advisories are not checked here: their database cannot be had offline. `cargo deny check advisories` does it where
//! there is Internet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Licences that allow linking into a product under Apache-2.0, as SPDX identifiers.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not come in, and why.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "a second TLS library beside aws-lc-rs"),
    ("native-tls", "a second TLS library beside aws-lc-rs"),
    ("ring", "a second cryptographic library, without ML-KEM"),
    (
        "rustables",
        "GPL-3.0: may not be linked into an Apache-2.0 program",
    ),
    ("chrono", "a second calendar; the box needs UTC only"),
];

/// The only folder with unsafe code.
const UNSAFE: &str = "firmware/sys";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Name and licence expression of every crate that is compiled for the target.
fn crates() -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--offline",
            "--prefix",
            "none",
        ])
        .args([
            "--target",
            "x86_64-unknown-linux-gnu",
            "--format",
            "{p}|{l}",
        ])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("text");
    let entries = text.lines().filter_map(|line| line.split_once('|'));
    entries
        .map(|(package, licence)| {
            let name = package.split(' ').next().unwrap_or(package);
            (name.to_owned(), licence.trim_end_matches(" (*)").to_owned())
        })
        .collect()
}

/// Whether an SPDX expression can be satisfied with allowed licences alone.
fn allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    alternatives(&words, &mut at) && at == words.len()
}

fn alternatives(words: &[&str], at: &mut usize) -> bool {
    let mut good = conjunction(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        good |= conjunction(words, at);
    }
    good
}

fn conjunction(words: &[&str], at: &mut usize) -> bool {
    let mut good = licence(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        good &= licence(words, at);
    }
    good
}

fn licence(words: &[&str], at: &mut usize) -> bool {
    let Some(first) = words.get(*at) else {
        return false;
    };
    *at += 1;
    if *first == "(" {
        let good = alternatives(words, at);
        *at += 1;
        return good;
    }
    if words.get(*at) == Some(&"WITH") {
        let whole = words[*at - 1..(*at + 2).min(words.len())].join(" ");
        *at += 2;
        return ALLOWED.contains(&whole.as_str());
    }
    ALLOWED.contains(first)
}

#[test]
fn licence_expressions_are_judged_by_their_meaning() {
    assert!(allowed("MIT OR GPL-3.0"));
    assert!(allowed("MIT/Apache-2.0"));
    assert!(allowed(
        "ISC AND (GPL-3.0 OR MIT) AND Apache-2.0 WITH LLVM-exception"
    ));
    assert!(!allowed("MIT AND GPL-3.0"));
    assert!(!allowed("MPL-2.0"));
    assert!(!allowed(""));
}

#[test]
fn every_linked_crate_has_a_licence_that_allows_it() {
    let all = crates();
    let refused: Vec<_> = all
        .iter()
        .filter(|(_, licence)| !allowed(licence))
        .collect();
    assert!(all.len() > 50, "only {} crates were found", all.len());
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn no_banned_crate_comes_in() {
    let all = crates();
    for (banned, reason) in BANNED {
        assert!(
            all.iter().all(|(name, _)| name != banned),
            "{banned} is banned: {reason}"
        );
    }
}

fn files(folder: &Path, wanted: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && name != ".git" {
                files(&path, wanted, found);
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == wanted)
        {
            found.push(path);
        }
    }
}

#[test]
fn every_crate_but_sys_forbids_unsafe_code() {
    let mut manifests = Vec::new();
    files(&workspace(), "toml", &mut manifests);
    let mut seen = 0;
    for manifest in manifests.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = std::fs::read_to_string(manifest).expect("manifest");
        if text.contains("[workspace]") {
            assert!(
                text.contains("unsafe_code = \"forbid\""),
                "the workspace must forbid unsafe code"
            );
            continue;
        }
        seen += 1;
        let is_sys = manifest
            .parent()
            .is_some_and(|folder| folder.ends_with(UNSAFE));
        assert!(
            is_sys || text.contains("[lints]\nworkspace = true"),
            "{} must take the workspace's lints",
            manifest.display()
        );
    }
    assert!(seen > 10, "only {seen} crates were found");
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut sources = Vec::new();
    files(&workspace().join(UNSAFE), "rs", &mut sources);
    for source in sources {
        let text = std::fs::read_to_string(&source).expect("source");
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            if code.starts_with("//") || !code.contains("unsafe {") {
                continue;
            }
            let above = &lines[number.saturating_sub(6)..number];
            assert!(
                above.iter().any(|line| line.contains("SAFETY:")),
                "{}:{}: an unsafe block without SAFETY note",
                source.display(),
                number + 1
            );
        }
    }
}

#[test]
fn no_source_file_is_too_long_to_have_one_subject() {
    const LONGEST_LINES: usize = 650;
    let mut sources = Vec::new();
    files(&workspace(), "rs", &mut sources);
    for source in sources {
        let lines = std::fs::read_to_string(&source)
            .expect("source")
            .lines()
            .count();
        assert!(
            lines <= LONGEST_LINES,
            "{} has {lines} lines",
            source.display()
        );
    }
}
