//! What a box says to the receiver once its certificate was accepted: one connection, any bytes.
//!
//! The receiver holds a finished and an unfinished bundle of `box-1`, who speaks, and of `box-2`.
//!
//! 1. Nobody reads a bundle's bytes back, and nobody learns or changes anything of another box.
//! 2. Whatever is said, nothing appears but files of the speaker's own bundles.
//! 3. The receiver never fails: no answer is 500, and after every conversation it answers the next.
//! 4. A bundle that is finished has a receipt for the very bytes that are there.

use crate::{Verdict, keys, message, runtime};
use bundle::{BundleName, Digest};
use datacentre::receive::{Server, Settings};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;
use upload::{TlsProfile, UnverifiedReceipt, tus, verify_receipt};

/// Stands in every stored byte sequence, and must never be heard.
const SECRET: &[u8] = b"nobody-reads-this-back";

type Files = BTreeMap<PathBuf, Vec<u8>>;

pub fn tus_request(bytes: &[u8]) -> Verdict {
    let folder = runtime::folder();
    for (path, bytes) in stored() {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    let server = open(folder.path());
    let heard = runtime::run(converse(&server, "box-1", bytes));
    assert!(
        !heard.windows(SECRET.len()).any(|window| window == SECRET),
        "stored bytes were read back"
    );
    check_answers(&heard, bytes);
    check_files(&server, &read(folder.path()));
    let good = b"HTTP/1.1 20";
    Verdict::accepted_if(heard.windows(good.len()).any(|window| window == good))
}

fn open(folder: &Path) -> Server {
    let key = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("keys")
            .join(name)
    };
    let settings = Settings {
        certificate: PathBuf::new(),
        key: PathBuf::new(),
        client_authority: PathBuf::new(),
        revocation_list: PathBuf::new(),
        receipt_certificate: key("receipt.pem"),
        receipt_key: key("receipt.key"),
        folder: folder.to_owned(),
        max_bytes_per_box: Some(1 << 20),
        tls: TlsProfile::Modern,
    };
    Server::open(settings, Box::new(message::check_text)).expect("a receiver")
}

async fn converse(server: &Server, client: &str, words: &[u8]) -> Vec<u8> {
    let (ours, theirs) = runtime::pipe();
    let client = client.parse().expect("a name");
    let (heard, _) = tokio::join!(runtime::say(ours, words), server.serve_one(theirs, &client));
    runtime::rest().await;
    heard
}

/// Every file that the receiver has before a conversation.
fn stored() -> &'static Files {
    static STORED: LazyLock<Files> = LazyLock::new(|| {
        let folder: TempDir = runtime::folder();
        let server = open(folder.path());
        for client in ["box-1", "box-2"] {
            let bundle = [SECRET, client.as_bytes()].concat();
            let finished = [announce(client, 1, &bundle), send(client, 1, 0, &bundle)];
            runtime::run(converse(&server, client, &finished.concat()));
            let half = [announce(client, 2, &bundle), send(client, 2, 0, SECRET)];
            runtime::run(converse(&server, client, &half.concat()));
        }
        drop(server);
        let files = read(folder.path());
        assert!(
            files.len() >= 8,
            "the receiver stored {} files",
            files.len()
        );
        files
    });
    &STORED
}

/// The request that announces a bundle.
pub fn announce(client: &str, sequence: u64, bundle: &[u8]) -> Vec<u8> {
    let name = format!("{client}-{sequence:010}.cms");
    let digest = Digest::of(bundle).to_string();
    let metadata = tus::metadata(&[(tus::FILENAME, &name), (tus::SHA256, &digest)]);
    format!(
        "POST /files/ HTTP/1.1\r\nHost: r\r\nTus-Resumable: 1.0.0\r\nUpload-Length: {}\r\nUpload-Metadata: {metadata}\r\n\r\n",
        bundle.len()
    )
    .into_bytes()
}

/// The request that sends a chunk.
pub fn send(client: &str, sequence: u64, offset: usize, chunk: &[u8]) -> Vec<u8> {
    let head = format!(
        "PATCH /files/{client}-{sequence:010}.cms HTTP/1.1\r\nHost: r\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n\
         Content-Type: application/offset+octet-stream\r\nUpload-Checksum: {}\r\nContent-Length: {}\r\n\r\n",
        tus::checksum(&Digest::of(chunk).0),
        chunk.len()
    );
    [head.as_bytes(), chunk].concat()
}

/// The bundle that the corpus goes on sending: its second half is missing at the receiver.
pub fn half_sent() -> (Vec<u8>, usize) {
    ([SECRET, b"box-1"].concat(), SECRET.len())
}

fn check_answers(heard: &[u8], said: &[u8]) {
    // whoever says the words of an answer may hear them again, for example in metadata
    let begin = b"HTTP/1.1 500";
    let found = |bytes: &[u8]| bytes.windows(begin.len()).any(|window| window == begin);
    assert!(!found(heard) || found(said), "the receiver failed");
    assert!(
        heard.len() <= 4096 + 64 * said.len(),
        "an answer of {} bytes",
        heard.len()
    );
}

fn check_files(server: &Server, now: &Files) {
    let of_other = |path: &&PathBuf| path.iter().any(|part| part == "box-2");
    for (path, bytes) in stored().iter().filter(|(path, _)| of_other(path)) {
        assert_eq!(now.get(path), Some(bytes), "a file of another box changed");
    }
    for path in now.keys().filter(|path| !stored().contains_key(*path)) {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let own = path.iter().any(|part| part == "box-1") && name.starts_with("box-1-");
        assert!(own, "a file that no box has: {}", path.display());
    }
    let finished = now.iter().filter_map(|(path, bytes)| {
        let name = path.strip_prefix("box-1").ok()?.to_str()?;
        Some((name.parse::<BundleName>().expect("a bundle's name"), bytes))
    });
    for (name, bytes) in finished {
        let question =
            format!("GET /files/{name}/receipt HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
        let heard = runtime::run(converse(server, "box-1", question.as_bytes()));
        let end = b"\r\n\r\n";
        let at = heard.windows(end.len()).position(|window| window == end);
        let body = heard[at.expect("an answer") + end.len()..].to_vec();
        let (size, Digest(digest)) = (bytes.len() as u64, Digest::of(bytes));
        let receipt = verify_receipt(
            UnverifiedReceipt(body),
            keys::receiver_certificate(),
            &name,
            size,
            &digest,
        );
        assert!(receipt.is_ok(), "a finished bundle without its receipt");
    }
}

/// All files below a folder, without the lock.
fn read(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with(".lock") {
                let name = path.strip_prefix(folder).expect("below").to_owned();
                files.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    files
}
