//! 200 boxes at one receiver, which is a process of its own. Figures are for `datacentre load`; here only behaviour counts.
//!
//! `COLLECTOR_TEST_LENGTH=full`: more and larger bundles.

use datacentre::load::{self, Field, SERVER, Server, Settings, box_name, bundle_name};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use upload::tus::{hex, metadata};

const BOXES: usize = 200;
/// Longest wait for something that is bound to happen.
const EVENT_LIMIT: Duration = Duration::from_secs(60);

fn settings(folder: &Path, bundles: usize, bytes: usize) -> Settings {
    Settings {
        boxes: BOXES,
        bundles,
        bytes,
        chunk_bytes: upload::client::CHUNK_BYTES,
        folder: folder.join("load"),
        datacentre: PathBuf::from(env!("CARGO_BIN_EXE_datacentre")),
        nginx: None,
    }
}

#[test]
fn two_hundred_boxes_deliver_and_every_receipt_and_byte_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let full = std::env::var("COLLECTOR_TEST_LENGTH").is_ok_and(|length| length == "full");
    let (bundles, bytes) = if full { (10, 4 << 20) } else { (2, 64 << 10) };
    let report = load::run(&settings(folder.path(), bundles, bytes)).unwrap();
    assert_eq!(report.bundles, BOXES * bundles);
    assert!(report.server_resident_mib < 512.0, "{report}");
    eprintln!("{report}");
}

#[test]
fn two_hundred_uploads_are_in_flight_at_once_and_all_end_well() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), 1, 20_000);
    std::fs::create_dir(&settings.folder).unwrap();
    let field = Field::make(&settings).unwrap();
    let server = Server::start(&settings, &field).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut half_way = tokio::task::JoinSet::new();
        for number in 0..BOXES {
            let tls = field.tls(number).unwrap();
            let bytes = std::fs::read(field.content(number)).unwrap();
            let address = server.address;
            half_way.spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                let name = upload::ServerName::try_from(SERVER).unwrap();
                let connector = TlsConnector::from(Arc::new(tls));
                let mut stream = connector.connect(name, stream).await.unwrap();
                stream
                    .write_all(&announcement(number, &bytes))
                    .await
                    .unwrap();
                assert_eq!(status(&mut stream).await, 201);
                stream.write_all(&chunk(number, &bytes)).await.unwrap();
                stream.write_all(&bytes[..10_000]).await.unwrap();
                stream.flush().await.unwrap();
                (stream, bytes)
            });
        }
        let half_way = half_way.join_all().await;
        // Every upload has its place on the disk, and none has ended.
        assert_eq!(count(&field.received.join(".partial"), ".data"), BOXES);
        let mut ending = tokio::task::JoinSet::new();
        for (mut stream, bytes) in half_way {
            ending.spawn(async move {
                stream.write_all(&bytes[10_000..]).await.unwrap();
                assert_eq!(status(&mut stream).await, 204);
            });
        }
        ending.join_all().await;
    });
    field.check_stored(&settings).unwrap();
    // Files of finished uploads go a moment after the answer.
    let begun = Instant::now();
    while count(&field.received.join(".partial"), "") > 0 {
        assert!(begun.elapsed() < EVENT_LIMIT, "uploads are left over");
        std::thread::yield_now();
    }
    assert_eq!(count(&field.received.join(".receipts"), ".receipt"), BOXES);
}

fn announcement(number: usize, bytes: &[u8]) -> Vec<u8> {
    let digest = hex(&bundle::Digest::of(bytes).0);
    let name = bundle_name(number, 1).to_string();
    let metadata = metadata(&[("filename", &name), ("sha256", &digest)]);
    let length = bytes.len();
    format!(
        "POST /files/ HTTP/1.1\r\nHost: {SERVER}\r\nTus-Resumable: 1.0.0\r\nContent-Length: 0\r\nUpload-Length: {length}\r\nUpload-Metadata: {metadata}\r\n\r\n"
    )
    .into_bytes()
}

fn chunk(number: usize, bytes: &[u8]) -> Vec<u8> {
    let (name, length) = (bundle_name(number, 1), bytes.len());
    format!(
        "PATCH /files/{name} HTTP/1.1\r\nHost: {SERVER}\r\nTus-Resumable: 1.0.0\r\nContent-Length: {length}\r\nContent-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n\r\n"
    )
    .into_bytes()
}

/// Status of an answer without a body.
async fn status(stream: &mut TlsStream<TcpStream>) -> u16 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Files with an ending in the folders of all boxes.
fn count(folder: &Path, ending: &str) -> usize {
    let files = |number| std::fs::read_dir(folder.join(box_name(number))).unwrap();
    (0..BOXES)
        .flat_map(files)
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_str().unwrap().ends_with(ending)
        })
        .count()
}
