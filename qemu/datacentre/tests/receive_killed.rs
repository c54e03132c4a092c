//! A receiver that is killed again and again loses nothing that it acknowledged, and every bundle lands once.
//!
//! The moments are chosen by bytes on its disk, so they fall everywhere in an upload. What a mains cut adds to a kill is
//! played by the store's own tests (`receive::store::power_cut`).
//!
//! `COLLECTOR_TEST_LENGTH=full`: 100 kills instead of 12.

use datacentre::load::{Field, SERVER, Settings, box_name};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use upload::client::Receipts;
use upload::{Bundle, Client, Delivered, ServerName, Target};

const BOXES: usize = 4;
const BUNDLE_BYTES: usize = 300_000;
const CHUNK_BYTES: u64 = 64 * 1024;
/// Longest wait for something that is bound to happen.
const EVENT_LIMIT: Duration = Duration::from_secs(60);

struct Receiver {
    child: Child,
    address: SocketAddr,
}

impl Receiver {
    fn start(field: &Field, address: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_datacentre"));
        command.args(["receive", "--listen", address, "--dir"]);
        command.arg(&field.received);
        for (option, file) in [
            ("--cert", "server.pem"),
            ("--key", "server.key"),
            ("--client-ca", "ca.pem"),
            ("--crl", "crl.pem"),
            ("--receipt-cert", "receipt.pem"),
            ("--receipt-key", "receipt.key"),
        ] {
            command.arg(option).arg(field.key_file(file));
        }
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let told = line.trim().strip_prefix("receive: listening at ");
        let address = told.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, address }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// One box: delivers its bundles in order, each until it has a receipt, and tells of each.
fn deliver_all(
    bundles: Vec<Bundle>,
    mut client: Client,
    tls: &upload::ClientConfig,
    told: &Mutex<Vec<String>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let begun = Instant::now();
    for bundle in bundles {
        loop {
            let tls = || Ok(tls.clone());
            match runtime.block_on(client.deliver(&bundle, &tls, |_| {})) {
                Ok(Delivered::Receipt(_)) => break,
                Ok(Delivered::Unsigned) => panic!("no receipt"),
                Err(error) => {
                    assert_eq!(error.advice(), upload::Advice::Retry, "{error}");
                    assert!(begun.elapsed() < EVENT_LIMIT, "{error}");
                    std::thread::yield_now();
                }
            }
        }
        told.lock().unwrap().push(bundle.name.to_string());
    }
}

#[test]
fn what_was_acknowledged_is_there_after_every_kill_and_all_land_once() {
    let full = std::env::var("COLLECTOR_TEST_LENGTH").is_ok_and(|length| length == "full");
    let kills: u64 = if full { 100 } else { 12 };
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        boxes: BOXES,
        bundles: usize::try_from(kills).unwrap().div_ceil(3),
        bytes: BUNDLE_BYTES,
        chunk_bytes: CHUNK_BYTES,
        folder: folder.path().join("run"),
        datacentre: PathBuf::new(),
        nginx: None,
    };
    std::fs::create_dir(&settings.folder).unwrap();
    let field = Field::make(&settings).unwrap();
    let mut receiver = Receiver::start(&field, "127.0.0.1:0");
    let address = receiver.address;
    let receipts = field.receipt_certificate().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let boxes: Vec<_> = (0..BOXES)
        .map(|number| {
            let client = Client::new(Target {
                address,
                server_name: ServerName::try_from(SERVER).unwrap(),
                path: "/files/".into(),
                receipts: Receipts::Signed(Box::new(receipts.clone())),
            });
            let client = client.with_chunk_bytes(CHUNK_BYTES);
            let bundles = field.bundles(&settings, number).unwrap();
            let (tls, told) = (field.tls(number).unwrap(), told.clone());
            std::thread::spawn(move || deliver_all(bundles, client, &tls, &told))
        })
        .collect();

    let all = (BOXES * settings.bundles * BUNDLE_BYTES) as u64;
    for kill in 1..=kills {
        let moment = all * kill / (kills + 1) + kill * 7919 % 60_000;
        let begun = Instant::now();
        while stored_bytes(&field.received) < moment {
            assert!(begun.elapsed() < EVENT_LIMIT, "nothing comes in");
            std::thread::yield_now();
        }
        drop(receiver);
        let acknowledged = told.lock().unwrap().clone();
        for name in &acknowledged {
            let path = field.received.join(&name[..8]).join(name);
            let bytes = std::fs::read(&path).unwrap_or_else(|_| panic!("{name} is lost"));
            let number: usize = name[4..8].parse().unwrap();
            let sent = std::fs::read(field.content(number)).unwrap();
            assert_eq!(bytes, sent, "{name}");
        }
        receiver = Receiver::start(&field, &address.to_string());
    }
    for one in boxes {
        one.join().unwrap();
    }
    drop(receiver);
    field.check_stored(&settings).unwrap();
    assert_eq!(told.lock().unwrap().len(), BOXES * settings.bundles);
}

/// Finished and unfinished.
fn stored_bytes(received: &Path) -> u64 {
    (0..BOXES)
        .flat_map(|number| {
            let name = box_name(number);
            [received.join(&name), received.join(".partial").join(&name)]
        })
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}
