//! A receiver whose disk is really full: a small file system in a mount namespace of its own.
//!
//! Where namespaces are not allowed the test says so and does nothing.

use datacentre::load::{Field, SERVER, Settings, box_name, bundle_name};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use upload::client::Receipts;
use upload::{Bundle, Client, Delivered, ServerName, Target, UploadError};

const BUNDLE_BYTES: usize = 1 << 20;
/// Eight bundles and what the file system itself needs; the receiver keeps a twentieth free.
const DISK: &str = "size=9m";

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn start(field: &Field) -> Option<(Killed, SocketAddr)> {
    let script = format!("mount -t tmpfs -o {DISK} none \"$0\" && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    command.arg(&field.received);
    command.arg(env!("CARGO_BIN_EXE_datacentre"));
    command.args(["receive", "--listen", "127.0.0.1:0", "--dir"]);
    command.arg(&field.received);
    // A named share, so that the disk's end comes before the box's.
    command.args(["--max-bytes-per-box", "1000000000"]);
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
    let mut child = command.stderr(Stdio::piped()).spawn().ok()?;
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let child = Killed(child);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let told = line.trim().strip_prefix("receive: listening at ");
    let address = told.and_then(|text| text.parse().ok());
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    Some((child, address?))
}

fn deliver(
    client: &mut Client,
    bundle: &Bundle,
    tls: &upload::ClientConfig,
) -> Result<Delivered, UploadError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let tls = || Ok(tls.clone());
    let result = runtime.block_on(client.deliver(bundle, &tls, |_| {}));
    // The connection belongs to this runtime.
    client.disconnect();
    result
}

#[test]
fn a_full_disk_refuses_with_no_space_loses_nothing_and_recovers_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        boxes: 1,
        bundles: 12,
        bytes: BUNDLE_BYTES,
        chunk_bytes: upload::client::CHUNK_BYTES,
        folder: folder.path().join("run"),
        datacentre: PathBuf::new(),
        nginx: None,
    };
    std::fs::create_dir(&settings.folder).unwrap();
    let field = Field::make(&settings).unwrap();
    let Some((receiver, address)) = start(&field) else {
        eprintln!(
            "skipped: mount namespaces are not allowed here; run where unshare --user --mount works"
        );
        return;
    };
    let mut client = Client::new(Target {
        address,
        server_name: ServerName::try_from(SERVER).unwrap(),
        path: "/files/".into(),
        receipts: Receipts::Signed(Box::new(field.receipt_certificate().unwrap())),
    });
    let tls = field.tls(0).unwrap();
    let bundles = field.bundles(&settings, 0).unwrap();
    let mut waiting = bundles.iter().peekable();
    let mut stored = 0;
    let error = loop {
        match deliver(&mut client, waiting.peek().unwrap(), &tls) {
            Ok(_) => waiting.next(),
            Err(error) => break error,
        };
        stored += 1;
    };
    assert_eq!(stored, 8, "{error}");
    assert!(error.to_string().contains("no space"), "{error}");

    // Seen through the process: its disk is in its own namespace.
    let inside = PathBuf::from(format!("/proc/{}/root", receiver.0.id()));
    let received = inside.join(field.received.strip_prefix("/").unwrap());
    let received = received.join(box_name(0));
    for sequence in 1..=stored {
        let path = received.join(bundle_name(0, sequence).to_string());
        assert_eq!(length(&path), BUNDLE_BYTES as u64);
    }
    // `open` takes three away.
    for sequence in 1..=3 {
        let path = received.join(bundle_name(0, sequence).to_string());
        std::fs::remove_file(path).unwrap();
    }
    for _ in 0..3 {
        deliver(&mut client, waiting.next().unwrap(), &tls).unwrap();
    }
    assert!(deliver(&mut client, waiting.next().unwrap(), &tls).is_err());
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
