//! Bundles of a box that is not ours any more, opened on the decryption server: what they name becomes files.
//!
//! The bytes are lines: `+PATH CONTENT` adds, `*PATH CONTENT` changes, `~FROM TO` changes a flag, `-PATH` removes, `=`
//! ends the bundle. Paths are spelled as in a manifest. The bundles are signed and sealed here, as that box could.
//!
//! 1. Nothing appears outside the folder of that box: not beside the output, not in another box's files, no symbolic link.
//! 2. The run ends well, so that a rogue box holds nobody up: the bundle of an honest box is opened in the same run.
//! 3. A second run finds nothing to do and changes nothing.

use crate::{Verdict, keys, runtime};
use bundle::{Body, Draft, Entry, Event, LocalSigner, Recipient, Sealer, Source, path};
use datacentre::open::{Options, run};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The fuzzer's bundles are short: a run costs a private RSA operation for each.
const MOST_BUNDLES: usize = 4;

pub fn restore(bytes: &[u8]) -> Verdict {
    let folder = runtime::folder();
    let input = folder.path().join("in");
    fs::create_dir(&input).expect("a folder");
    if !seal(bytes, &input) {
        return Verdict::Refused;
    }
    let honest = honest();
    fs::write(input.join(&honest.0), &honest.1).expect("a file");
    let options = options(folder.path());
    let report = run(&options, &mut |_| {}).unwrap_or_else(|error| {
        panic!(
            "the run ended early: {}",
            datacentre::arguments::chain(&error)
        )
    });
    assert!(report.refused.is_empty(), "a verified bundle was refused");
    let after = files(folder.path());
    check_places(&after);
    let again = run(&options, &mut |_| {}).expect("the second run ends well");
    assert_eq!(again.bundles, 0, "a bundle was applied twice");
    let changed = files(folder.path()) != after;
    assert!(!changed, "the second run changed something");
    Verdict::accepted_if(report.bundles > 1)
}

fn options(folder: &Path) -> Options {
    let key = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("keys")
            .join(name)
    };
    Options {
        certificate: key("recipient.pem"),
        key: key("recipient.key"),
        trust: key("sealing-ca.pem"),
        revoked: None,
        input: folder.join("in"),
        output: folder.join("out"),
    }
}

fn sources() -> Vec<Source> {
    let source = |name: &str| Source {
        name: name.to_owned(),
        kind: "standardized".to_owned(),
    };
    vec![source("main"), source("other")]
}

/// Writes the sealed bundles; `false` when the bytes make none.
fn seal(bytes: &[u8], folder: &Path) -> bool {
    static SEALER: LazyLock<Sealer<&'static LocalSigner>> = LazyLock::new(keys::sealer);
    let mut previous = None;
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    for (sequence, lines) in (1..).zip(lines.split(|line| *line == b"=").take(MOST_BUNDLES)) {
        let mut draft = Draft::new(sources()).expect("a draft");
        for line in lines {
            push(&mut draft, line);
        }
        if draft.is_empty() {
            return sequence > 1;
        }
        let closed = draft.close().expect("a closed draft");
        let sealed = SEALER
            .seal(&closed, sequence, previous, keys::NOW)
            .expect("a sealed bundle");
        previous = Some(sealed.sha256);
        fs::write(folder.join(sealed.name.to_string()), sealed.bytes).expect("a file");
    }
    true
}

fn push(draft: &mut Draft, line: &[u8]) -> Option<()> {
    let (&kind, rest) = line.split_first()?;
    let mut words = rest.splitn(2, |&byte| byte == b' ');
    let first = path::parse(std::str::from_utf8(words.next()?).ok()?).ok()?;
    let second = words.next().unwrap_or_default();
    let body = || Body::new(second, None, None);
    let from = first.clone();
    let (path, event) = match kind {
        b'+' => (first, Event::Added(body())),
        b'*' => (first, Event::Changed(body())),
        b'-' => (first, Event::Removed),
        b'~' => {
            let to = path::parse(std::str::from_utf8(second).ok()?).ok()?;
            (to, Event::FlagChanged { from: &from })
        }
        _ => return None,
    };
    let source = usize::from(path.first() == Some(&b'2'));
    let entry = Entry {
        source,
        path: &path,
        event,
    };
    draft.push(&entry).ok()
}

/// Name and bytes of another box's first bundle.
fn honest() -> &'static (String, Vec<u8>) {
    static HONEST: LazyLock<(String, Vec<u8>)> = LazyLock::new(|| {
        let recipient = Recipient::from_pem(keys::RECIPIENT).expect("a recipient");
        let signer = LocalSigner::from_pem(keys::OTHER_SEALING_KEY).expect("a key");
        let name = keys::OTHER_BOX.parse().expect("a name");
        let sealer =
            Sealer::new(name, vec![recipient], keys::OTHER_SEALING, signer).expect("a sealer");
        let mut draft = Draft::new(sources()).expect("a draft");
        push(&mut draft, b"+000/honest kept").expect("an entry");
        let closed = draft.close().expect("a closed draft");
        let sealed = sealer.seal(&closed, 1, None, keys::NOW).expect("a bundle");
        (sealed.name.to_string(), sealed.bytes)
    });
    &HONEST
}

fn check_places(files: &BTreeMap<PathBuf, Vec<u8>>) {
    let honest = Path::new("out")
        .join(keys::OTHER_BOX)
        .join("main/000/honest");
    assert_eq!(files.get(&honest).map(Vec::as_slice), Some(&b"kept"[..]));
    for path in files.keys().filter(|path| !path.starts_with("in")) {
        let below = path.strip_prefix("out").expect("a file beside the output");
        let mut parts = below.iter().filter_map(|part| part.to_str());
        let owner = match parts.next() {
            Some(".versions" | ".removed" | ".state") => parts.next(),
            other => other,
        };
        let known = [Some("box-1"), Some(keys::OTHER_BOX), Some("lock")].contains(&owner);
        assert!(
            known || path.ends_with("lock"),
            "a file at {}",
            path.display()
        );
        if owner == Some(keys::OTHER_BOX) && !below.starts_with(".state") {
            assert_eq!(*path, honest, "a file in another box's folder");
        }
    }
}

/// All files below a folder; a symbolic link is a fault.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let entry = entry.expect("an entry");
            let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
            assert!(!kind.is_symlink(), "a symbolic link was made");
            if kind.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").to_owned();
                files.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    files
}
