//! The sealed bundle against stock tools, both ways: `openssl`, `zstd` and `tar` open what we seal, and we open what they
//! make by following `FORMAT.md`.

use bundle::{
    Body, BundleName, Digest, Draft, Entry, Event, LocalSigner, Manifest, Opener, Recipient,
    Sealer, Source, Trust, UnverifiedBundle,
};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;
use tempfile::TempDir;

/// Names as they come from hospitals: CP932, spaces, a newline, a quote, 255 bytes.
fn files() -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = b"MSH|^~\\&|HIS|1234567890||SS-MIX2\r".repeat(30);
    vec![
        (b"000/000/0000001/20110701/OMP-11/0000001_20110701_OMP-11_123456789012345_20110701113813225_01_1".to_vec(), text),
        (b"\x8a\xb3\x8e\xd2/\x83\x5c \"%41\"\n".to_vec(), (0..=255).collect()),
        (vec![b'n'; 255], b"\0".repeat(100_000)),
        (b"empty".to_vec(), Vec::new()),
    ]
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Runs a stock tool in a folder; its failure is this test's.
fn run(folder: &Path, tool: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(tool)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("{tool} is needed for this test; install it: {error}"));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {message}");
    output.stdout
}

/// A folder with the lab's certificates.
fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    datacentre::ca::make(folder.path(), &datacentre::ca::Options::default(), now()).unwrap();
    folder
}

fn seal(keys: &Path) -> Vec<u8> {
    let pem = |name: &str| fs::read(keys.join(name)).unwrap();
    let mut draft = Draft::new(vec![Source {
        name: "standard".into(),
        kind: "standardized".into(),
    }])
    .unwrap();
    for (path, content) in files() {
        let body = Body::new(content, Some(1_700_000_000), None);
        draft
            .push(&Entry {
                source: 0,
                path: &path,
                event: Event::Added(body),
            })
            .unwrap();
    }
    let sealer = Sealer::new(
        "box-1".parse().unwrap(),
        vec![Recipient::from_pem(&pem("recipient.pem")).unwrap()],
        &pem("sealing-box.pem"),
        LocalSigner::from_pem(&pem("sealing-box.key")).unwrap(),
    );
    sealer
        .unwrap()
        .seal(&draft.close().unwrap(), 1, None, now())
        .unwrap()
        .bytes
}

#[test]
fn stock_tools_open_and_verify_what_we_seal() {
    let keys = certificates();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("bundle.cms"), seal(keys.path())).unwrap();
    let key = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    let (recipient, secret, authority) = (
        key("recipient.pem"),
        key("recipient.key"),
        key("sealing-ca.pem"),
    );

    run(
        at,
        "openssl",
        &[
            "cms",
            "-decrypt",
            "-binary",
            "-inform",
            "DER",
            "-in",
            "bundle.cms",
            "-recip",
            &recipient,
            "-inkey",
            &secret,
            "-out",
            "archive.tar.zst",
        ],
    );
    run(at, "zstd", &["-q", "-d", "archive.tar.zst"]);
    run(at, "tar", &["-xf", "archive.tar"]);
    let verify = [
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        "manifest.p7s",
        "-content",
        "manifest.json",
        "-out",
        "verified",
        "-CAfile",
    ];
    run(
        at,
        "openssl",
        &[&verify[..], &[authority.as_str()]].concat(),
    );
    assert_eq!(
        fs::read(at.join("verified")).unwrap(),
        fs::read(at.join("manifest.json")).unwrap()
    );

    let manifest = Manifest::parse(&fs::read(at.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest.entries.len(), files().len());
    for (number, (named, (path, content))) in (1..).zip(manifest.entries.iter().zip(files())) {
        assert_eq!(named.path, path);
        let extracted = fs::read(at.join(format!("content/{number:06}"))).unwrap();
        assert_eq!(extracted, content);
        assert_eq!(named.facts().unwrap().sha256, Digest::of(&content));
    }

    // and they refuse another authority's signature and an altered manifest
    let other = key("wrong/sealing-ca.pem");
    let status = |arguments: &[&str]| {
        Command::new("openssl")
            .args(arguments)
            .current_dir(at)
            .output()
            .unwrap()
            .status
    };
    assert!(!status(&[&verify[..], &[other.as_str()]].concat()).success());
    fs::write(at.join("manifest.json"), b"{}").unwrap();
    assert!(!status(&[&verify[..], &[authority.as_str()]].concat()).success());
}

#[test]
fn the_shell_recipe_gives_the_names_back() {
    let mut manifest_path = Vec::new();
    let name = b"\x8a\xb3 \"%41\"\n\\x41";
    bundle::path::escape_onto(&mut manifest_path, name);
    let path = String::from_utf8(manifest_path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        run(
            folder.path(),
            "bash",
            &["-c", r#"path=$1; printf '%b' "${path//%/\\x}""#, "-", &path]
        ),
        name
    );
}

#[test]
fn a_bundle_made_by_stock_tools_alone_is_opened() {
    let keys = certificates();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("content")).unwrap();
    fs::write(at.join("content/000001"), "first\n").unwrap();
    fs::write(at.join("content/000002"), [0; 70_000]).unwrap();
    let sum =
        |file: &str| String::from_utf8(run(at, "sha256sum", &[file])).unwrap()[..64].to_owned();
    let time = String::from_utf8(run(at, "date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])).unwrap();
    let manifest = format!(
        r#"{{"format": "collector-bundle-1", "box": "box-1", "sequence": 1, "previous": null, "time": "{}",
  "sources": [{{"name": "dpc", "kind": "dpc"}}],
  "entries": [
    {{"event": "added", "source": "dpc", "path": "Dn%20file", "content": 1, "size": 6, "sha256": "{}"}},
    {{"event": "changed", "source": "dpc", "path": "zeros", "content": 2, "size": 70000, "sha256": "{}"}},
    {{"event": "removed", "source": "dpc", "path": "old"}} ] }}"#,
        time.trim(),
        sum("content/000001"),
        sum("content/000002"),
    );
    fs::write(at.join("manifest.json"), manifest).unwrap();
    let key = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    run(
        at,
        "openssl",
        &[
            "cms",
            "-sign",
            "-binary",
            "-noattr",
            "-md",
            "sha256",
            "-outform",
            "DER",
            "-signer",
            &key("sealing-box.pem"),
            "-inkey",
            &key("sealing-box.key"),
            "-in",
            "manifest.json",
            "-out",
            "manifest.p7s",
        ],
    );
    run(
        at,
        "tar",
        &[
            "--format=ustar",
            "-cf",
            "archive.tar",
            "manifest.json",
            "manifest.p7s",
            "content/000001",
            "content/000002",
        ],
    );
    run(at, "zstd", &["-q", "-1", "archive.tar"]);
    run(
        at,
        "openssl",
        &[
            "cms",
            "-encrypt",
            "-binary",
            "-aes-256-gcm",
            "-outform",
            "DER",
            "-recip",
            &key("recipient.pem"),
            "-keyopt",
            "rsa_padding_mode:oaep",
            "-keyopt",
            "rsa_oaep_md:sha256",
            "-in",
            "archive.tar.zst",
            "-out",
            "bundle.cms",
        ],
    );

    let pem = |name: &str| fs::read(keys.path().join(name)).unwrap();
    let opener = Opener::from_pem(&pem("recipient.pem"), &pem("recipient.key")).unwrap();
    let trust = Trust::from_pem(&pem("sealing-ca.pem")).unwrap();
    let name = BundleName::new("box-1".parse().unwrap(), 1).unwrap();
    let bytes = fs::read(at.join("bundle.cms")).unwrap();
    let opened = UnverifiedBundle::parse(&bytes)
        .unwrap()
        .decrypt(&opener)
        .unwrap()
        .verify(&trust, &name)
        .unwrap();
    let entries: Vec<(&[u8], &[u8])> = opened
        .entries()
        .map(|(named, content)| (&named.path[..], content))
        .collect();
    assert_eq!(
        entries,
        [
            (&b"Dn file"[..], &b"first\n"[..]),
            (b"zeros", &[0; 70_000]),
            (b"old", b"")
        ]
    );
}

#[test]
fn bundles_for_keys_of_every_size_open_with_openssl() {
    use datacentre::ca::{Options, RecipientBits};
    for recipient_bits in [RecipientBits::B2048, RecipientBits::B4096] {
        let keys = tempfile::tempdir().unwrap();
        datacentre::ca::make(
            keys.path(),
            &Options {
                recipient_bits,
                ..Options::default()
            },
            now(),
        )
        .unwrap();
        fs::write(keys.path().join("bundle.cms"), seal(keys.path())).unwrap();
        run(
            keys.path(),
            "openssl",
            &[
                "cms",
                "-decrypt",
                "-binary",
                "-inform",
                "DER",
                "-in",
                "bundle.cms",
                "-recip",
                "recipient.pem",
                "-inkey",
                "recipient.key",
                "-out",
                "archive.tar.zst",
            ],
        );
        run(keys.path(), "zstd", &["-q", "-t", "archive.tar.zst"]);
    }
}
