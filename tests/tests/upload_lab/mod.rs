//! One box and one receiver on the loopback interface, with certificates made for the test, and a wire that can be cut.

#![allow(dead_code, reason = "each test file uses its own part of the lab")]

pub mod peers;
pub mod pki;
pub mod raw;
pub mod wire;

use bundle::BundleName;
use datacentre::receive::{Server, Settings};
use pki::Pki;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use upload::client::Receipts;
use upload::{
    Bundle, Client, Delivered, Identity, ServerName, Target, TlsProfile, Trust, UploadError,
};

pub const BOX: &str = "north-1";
pub const SERVER: &str = "receive.example";

/// Everything of one test; gone with it.
pub struct Lab {
    pub folder: TempDir,
    pub pki: Pki,
}

impl Lab {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::make(folder.path());
        Self { folder, pki }
    }

    /// What the receiver is given unless a test wants otherwise.
    pub fn settings(&self) -> Settings {
        Settings {
            certificate: self.pki.file("server.pem"),
            key: self.pki.file("server.key"),
            client_authority: self.pki.file("ca.pem"),
            revocation_list: self.pki.file("crl.pem"),
            receipt_certificate: self.pki.file("receipt.pem"),
            receipt_key: self.pki.file("receipt.key"),
            folder: self.store(),
            max_bytes_per_box: None,
            tls: TlsProfile::Modern,
        }
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub fn start(&self) -> Running {
        Running::start(self.settings())
    }

    /// The box's files, all good ones.
    pub fn sender(&self) -> Sender {
        Sender {
            certificate: self.pki.file("box.pem"),
            key: self.pki.file("box.key"),
            authority: self.pki.file("ca.pem"),
            revocation_list: self.pki.file("crl.pem"),
            server_name: SERVER,
            profile: TlsProfile::Modern,
            receipts: Receipts::Signed(Box::new(certificate(&self.pki.file("receipt.pem")))),
        }
    }

    /// A sealed bundle on the box's disk. Its bytes need not be CMS: nothing on this way may look into them.
    pub fn bundle(&self, name: &str, bytes: &[u8]) -> Bundle {
        let folder = self.folder.path().join("spool");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
        Bundle::open(name.parse::<BundleName>().unwrap(), &folder.join(name)).unwrap()
    }

    /// Waits until the receiver has written at least `bytes` of an unfinished upload; returns how many it has.
    pub fn await_partial(&self, name: &str, bytes: u64) -> u64 {
        let path = self
            .store()
            .join(".partial")
            .join(BOX)
            .join(format!("{name}.data"));
        let limit = std::time::Instant::now() + EVENT_LIMIT;
        loop {
            let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            if length >= bytes {
                return length;
            }
            assert!(
                std::time::Instant::now() < limit,
                "{length} bytes of {name} after all that time"
            );
            std::thread::yield_now();
        }
    }

    pub fn stored(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.store().join(BOX).join(name)).ok()
    }
}

pub fn certificate(path: &Path) -> x509_cert::Certificate {
    bundle::signed::certificate_from_pem(&std::fs::read(path).unwrap()).unwrap()
}

/// A box's files and expectations.
pub struct Sender {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
    pub revocation_list: PathBuf,
    pub server_name: &'static str,
    pub profile: TlsProfile,
    pub receipts: Receipts,
}

impl Sender {
    pub fn client(&self, address: SocketAddr) -> Client {
        Client::new(Target {
            address,
            server_name: ServerName::try_from(self.server_name).unwrap(),
            path: "/files/".into(),
            receipts: self.receipts.clone(),
        })
    }

    pub fn tls(&self) -> Result<upload::ClientConfig, upload::TlsFault> {
        let key = bundle::LocalSigner::from_pem(&std::fs::read(&self.key).unwrap()).unwrap();
        let identity = Identity::with_signer(&self.certificate, Arc::new(key))?;
        upload::tls::client_config(
            &Trust::load(&self.authority, &self.revocation_list)?,
            identity,
            self.profile,
        )
    }

    /// One attempt over a new connection.
    pub fn deliver(&self, address: SocketAddr, bundle: &Bundle) -> Result<Delivered, UploadError> {
        let mut client = self.client(address);
        attempt(&mut client, self, bundle)
    }
}

/// One attempt with a client that may have a connection and a past.
pub fn attempt(
    client: &mut Client,
    sender: &Sender,
    bundle: &Bundle,
) -> Result<Delivered, UploadError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let result = runtime.block_on(client.deliver(bundle, &|| sender.tls(), |_| {}));
    // The connection belongs to this runtime.
    client.disconnect();
    result
}

/// A receiver in this process. Dropped, it is gone from one moment to the next as far as its clients can tell.
pub struct Running {
    pub address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Running {
    pub fn start(settings: Settings) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), settings)
    }

    pub fn start_at(address: SocketAddr, settings: Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let server = Server::open(
            settings,
            Box::new(move |line| sink.lock().unwrap().push(line.to_owned())),
        )
        .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(address))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(server.serve(listener));
        Self {
            address,
            lines,
            runtime: Some(runtime),
        }
    }

    pub fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits until a line contains `words`: the server writes it after the client was already told.
    pub fn await_line(&self, words: &str) {
        let limit = std::time::Instant::now() + EVENT_LIMIT;
        while !self.log().iter().any(|line| line.contains(words)) {
            assert!(
                std::time::Instant::now() < limit,
                "no line with {words:?} in {:#?}",
                self.log()
            );
            std::thread::yield_now();
        }
    }
}

/// Longest wait for something that is bound to happen.
pub const EVENT_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

impl Drop for Running {
    fn drop(&mut self) {
        // Waits for writers, so that the folder is free for the next server.
        drop(self.runtime.take());
    }
}

/// Bytes that no compression and no luck can reproduce; the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next)
        .flatten()
        .take(length)
        .collect()
}
