//! The delivery against software nobody here wrote: our sender and npm's `@tus/server`, our receiver and npm's
//! `tus-js-client`, and curl as a person with the protocol's text would use it.

mod upload_lab;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use upload::client::Receipts;
use upload::tus::{checksum, hex, metadata};
use upload::{Advice, Delivered, UnverifiedReceipt, verify_receipt};
use upload_lab::peers::{Talking, driver, program};
use upload_lab::wire::{Cut, Wire};
use upload_lab::{BOX, Lab, SERVER, attempt, certificate, noise};

const FIRST: &str = "north-1-0000000001.cms";

fn tus_server(lab: &Lab, node: &Path) -> (Talking, SocketAddr) {
    let folder = lab.folder.path().join("peer");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new(node);
    command.arg(driver("tus-server.mjs"));
    for (option, file) in [
        ("--cert", lab.pki.file("server.pem")),
        ("--key", lab.pki.file("server.key")),
        ("--ca", lab.pki.file("ca.pem")),
        ("--crl", lab.pki.file("crl.pem")),
        ("--dir", folder),
        ("--port", "0".into()),
    ] {
        command.arg(option).arg(file);
    }
    let mut server = Talking::start(&mut command);
    let port: u16 = server.await_word("listening ").parse().unwrap();
    (server, SocketAddr::from(([127, 0, 0, 1], port)))
}

#[test]
fn the_sender_delivers_to_an_independent_server_through_cuts_and_a_restart() {
    let Some(node) = program("node") else { return };
    let lab = Lab::new();
    let (mut server, address) = tus_server(&lab, &node);
    let mut sender = lab.sender();
    sender.receipts = Receipts::None;
    let wire = Wire::to(address);
    let mut client = sender.client(wire.address).with_chunk_bytes(100_000);
    let mut bundles = BTreeMap::new();
    for sequence in 1..=3_u64 {
        let name = format!("{BOX}-{sequence:010}.cms");
        let bytes = noise(sequence, 500_000);
        let bundle = lab.bundle(&name, &bytes);
        for cut in [
            Cut::Requests(150_000),
            Cut::Answers(2_500),
            Cut::Requests(90_000),
            Cut::Answers(3_300),
        ] {
            wire.order(cut);
        }
        if sequence == 2 {
            let (again, address) = tus_server(&lab, &node);
            server = again;
            wire.lead_to(address);
        }
        for tries in 1.. {
            assert!(tries < 50, "{name} does not get through");
            match attempt(&mut client, &sender, &bundle) {
                Ok(delivered) => {
                    assert!(matches!(delivered, Delivered::Unsigned));
                    break;
                }
                Err(error) => assert_eq!(error.advice(), Advice::Retry, "{error}"),
            }
        }
        assert!(server.await_word("finished ").ends_with(&name));
        bundles.insert(name, bytes);
    }
    assert!(wire.cuts() >= 9, "only {} cuts", wire.cuts());
    let mut whole = BTreeMap::new();
    for entry in std::fs::read_dir(lab.folder.path().join("peer")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read(path.with_extension("json")) else {
            continue;
        };
        let upload: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        if path.extension().is_none() && upload["size"] == bytes.len() {
            let name = upload["metadata"]["filename"].as_str().unwrap().to_owned();
            assert!(whole.insert(name, bytes).is_none(), "a bundle landed twice");
        }
    }
    assert_eq!(whole, bundles);
}

fn receipt_is_good(lab: &Lab, bytes: &[u8], receipt: Vec<u8>) {
    let receiver = certificate(&lab.pki.file("receipt.pem"));
    let digest = bundle::Digest::of(bytes).0;
    let name = FIRST.parse().unwrap();
    let claim = UnverifiedReceipt(receipt);
    verify_receipt(claim, &receiver, &name, bytes.len() as u64, &digest).unwrap();
}

#[test]
fn an_independent_client_delivers_to_the_receiver_and_resumes_after_a_restart() {
    let Some(node) = program("node") else { return };
    let lab = Lab::new();
    let server = lab.start();
    let bytes = noise(4, 700_000);
    let file = lab.folder.path().join("bundle");
    std::fs::write(&file, &bytes).unwrap();
    let run = |address: SocketAddr, more: &[&str]| {
        let endpoint = format!("https://{address}/files/");
        let digest = hex(&bundle::Digest::of(&bytes).0);
        let mut command = Command::new(&node);
        command.arg(driver("tus-client.mjs")).args(more);
        for (option, value) in [
            ("--cert", lab.pki.file("box.pem")),
            ("--key", lab.pki.file("box.key")),
            ("--ca", lab.pki.file("ca.pem")),
            ("--file", file.clone()),
            ("--server", SERVER.into()),
            ("--endpoint", endpoint.into()),
            ("--name", FIRST.into()),
            ("--sha256", digest.into()),
            ("--chunk", "100000".into()),
        ] {
            command.arg(option).arg(value);
        }
        Talking::start(&mut command)
    };
    let url = run(server.address, &["--stop", "300000"]).await_word("url ");
    let kept = lab.await_partial(FIRST, 300_000);
    assert!(kept < 700_000 && lab.stored(FIRST).is_none());
    drop(server);
    let server = lab.start();
    let path = url.rsplit_once("/files/").unwrap().1;
    let url = format!("https://{}/files/{path}", server.address);
    let mut client = run(server.address, &["--resume", &url]);
    let receipt = client.await_word("receipt ");
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
    receipt_is_good(&lab, &bytes, STANDARD.decode(receipt).unwrap());
}

struct Curl<'a> {
    program: std::path::PathBuf,
    lab: &'a Lab,
    port: u16,
}

impl Curl<'_> {
    /// Status, headers and body of one request.
    fn ask(&self, path: &str, more: &[&str]) -> (u16, BTreeMap<String, String>, Vec<u8>) {
        let output = Command::new(&self.program)
            .args(["-sS", "-i", "--max-time", "30", "--tlsv1.3"])
            .arg("--resolve")
            .arg(format!("{SERVER}:{}:127.0.0.1", self.port))
            .arg("--cacert")
            .arg(self.lab.pki.file("ca.pem"))
            .arg("--cert")
            .arg(self.lab.pki.file("box.pem"))
            .arg("--key")
            .arg(self.lab.pki.file("box.key"))
            .args(more)
            .arg(format!("https://{SERVER}:{}{path}", self.port))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "curl {path} {more:?}: {said}");
        let end = output.stdout.windows(4).position(|it| it == b"\r\n\r\n");
        let (head, body) = output.stdout.split_at(end.unwrap() + 4);
        let head = String::from_utf8(head.to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = head.lines().filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        (status, headers.collect(), body.to_vec())
    }

    fn tus(&self, path: &str, more: &[&str]) -> (u16, BTreeMap<String, String>) {
        let version = ["-H", "Tus-Resumable: 1.0.0"];
        let (status, headers, _) = self.ask(path, &[&version, more].concat());
        (status, headers)
    }

    fn patch(&self, path: &str, offset: usize, part: &[u8], checksum: &str) -> (u16, String) {
        let file = self.lab.folder.path().join("part");
        std::fs::write(&file, part).unwrap();
        let more = [
            "-X",
            "PATCH",
            "-H",
            "Content-Type: application/offset+octet-stream",
            "-H",
            &format!("Upload-Offset: {offset}"),
            "-H",
            &format!("Upload-Checksum: {checksum}"),
            "--data-binary",
            &format!("@{}", file.display()),
        ];
        let (status, headers) = self.tus(path, &more);
        (
            status,
            headers.get("upload-offset").cloned().unwrap_or_default(),
        )
    }
}

#[test]
fn curl_delivers_step_by_step_and_each_mistake_has_its_status() {
    let Some(program) = program("curl") else {
        return;
    };
    let lab = Lab::new();
    let server = lab.start();
    let port = server.address.port();
    let curl = Curl {
        program,
        lab: &lab,
        port,
    };
    let bytes = noise(5, 50_000);
    let (one, two) = bytes.split_at(20_000);
    let sum = |part: &[u8]| checksum(&bundle::Digest::of(part).0);

    let (status, headers) = curl.tus("/files/", &["-X", "OPTIONS"]);
    assert_eq!((status, headers["tus-version"].as_str()), (204, "1.0.0"));
    let digest = hex(&bundle::Digest::of(&bytes).0);
    let names = metadata(&[("filename", FIRST), ("sha256", &digest)]);
    let announce = [
        "-X",
        "POST",
        "-H",
        "Upload-Length: 50000",
        "-H",
        &format!("Upload-Metadata: {names}"),
    ];
    let (status, headers) = curl.tus("/files/", &announce);
    assert_eq!(status, 201);
    let path = headers["location"].clone();
    let offset = || {
        let (status, headers) = curl.tus(&path, &["-I"]);
        assert_eq!(status, 200);
        headers["upload-offset"].clone()
    };
    assert_eq!(offset(), "0");
    assert_eq!(curl.patch(&path, 0, one, &sum(one)), (204, "20000".into()));
    assert_eq!(
        curl.patch(&path, 0, one, &sum(one)).0,
        409,
        "a chunk of the past"
    );
    assert_eq!(
        curl.patch(&path, 30_000, two, &sum(two)).0,
        409,
        "and of the future"
    );
    assert_eq!(
        curl.patch(&path, 20_000, two, &sum(one)).0,
        460,
        "another checksum"
    );
    assert_eq!(offset(), "20000");
    assert_eq!(
        curl.patch(&path, 20_000, two, &sum(two)),
        (204, "50000".into())
    );
    assert_eq!(offset(), "50000");
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
    let (status, _, receipt) = curl.ask(&format!("{path}/receipt"), &[]);
    assert_eq!(status, 200);
    receipt_is_good(&lab, &bytes, receipt);
    let (status, ..) = curl.ask(&path, &["-X", "DELETE", "-H", "Tus-Resumable: 1.0.0"]);
    assert_eq!(status, 405);
}
