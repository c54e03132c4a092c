//! `datacentre receive`: takes sealed bundles from boxes and answers with signed receipts. It cannot open them.
//!
//! | module | what |
//! |---|---|
//! | `listener` | connections, mutual TLS |
//! | `limits` | how much one box and all together may take |
//! | `seats` | who gets a connection when there are many |
//! | `http` | tus 1.0 and the receipts |
//! | `chunk` | one chunk, from the network to the disk |
//! | `uploads` | one request at a time for each upload |
//! | `store` | the disk: layout, durability, crash recovery, room |
//!
//! Trusted: its own files. Boxes are known by certificate and may each do no more than hand in their own bundles.

mod chunk;
mod http;
mod limits;
mod listener;
mod seats;
mod store;
mod uploads;

use crate::arguments::{self, Failure};
use bundle::{BoxName, LocalSigner};
pub use http::Log;
use http::Shared;
use lexopt::prelude::*;
pub use limits::Limits;
use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use store::{Shares, Store, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
pub use upload::box_of;
use upload::{TlsFault, TlsProfile};

const HELP: &str = "\
usage: datacentre receive OPTION...

Receives sealed bundles by tus 1.0 over mutual TLS at https://ADDRESS:PORT/files/ and gives signed receipts for them.

  --listen ADDRESS:PORT   where to listen; port 0 takes a free one
  --cert FILE             this server's certificate, PEM
  --key FILE              and its private key
  --client-ca FILE        authority of the boxes' certificates; a box's DNS name is its name
  --crl FILE              revocation lists of that authority, PEM; past its next update everyone is refused
  --receipt-cert FILE     certificate of the key that signs receipts
  --receipt-key FILE      that key, ECDSA P-256 in PKCS #8
  --dir DIR               finished bundles go to DIR/<box>/, the rest to hidden folders beside
  --max-bytes-per-box N   most bytes that one box may have there (default: as many as stay free for the others)
  --disk-reserve N        bytes of the disk that no upload takes (default: a twentieth of it, at most 1 GiB)
  --max-connections N     boxes at a time, at most 4 connections each (default 512)
  --tls-compat            allow TLS 1.2 with ECDHE-ECDSA and AEAD beside TLS 1.3

A disk without room is answered with 507 and nothing is lost: boxes come again. Each finished bundle gives one line: receive: stored <bundle> <bytes> sha256 <hex>
";

/// Threads that write, hash and sync. More syncs at a time than this only wait in the disk's own queue.
const DISK_THREADS: usize = 64;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Settings {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_authority: PathBuf,
    pub revocation_list: PathBuf,
    pub receipt_certificate: PathBuf,
    pub receipt_key: PathBuf,
    pub folder: PathBuf,
    pub max_bytes_per_box: Option<u64>,
    pub tls: TlsProfile,
}

/// The server cannot start. All of these stop.
#[derive(Debug)]
pub enum ReceiveError {
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    Runtime {
        source: io::Error,
    },
    Descriptors {
        needed: usize,
        most: u64,
    },
    Tls(TlsFault),
    Store(StoreError),
    ReceiptCertificate {
        path: PathBuf,
        source: bundle::signed::SignedError,
    },
    ReceiptKey {
        path: PathBuf,
        source: bundle::SignerError,
    },
    Read {
        path: PathBuf,
        source: io::Error,
    },
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, .. } => write!(f, "cannot listen at {address}"),
            Self::Runtime { .. } => write!(f, "cannot start threads"),
            Self::Descriptors { needed, most } => write!(
                f,
                "needs {needed} open files where at most {most} are allowed; raise ulimit -Hn or lower --max-connections"
            ),
            Self::Tls(_) => write!(f, "cannot set up TLS"),
            Self::Store(_) => write!(f, "cannot use the folder for bundles"),
            Self::ReceiptCertificate { path, .. } => {
                write!(f, "cannot use receipt certificate {}", path.display())
            }
            Self::ReceiptKey { path, .. } => write!(f, "cannot use receipt key {}", path.display()),
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
        }
    }
}

impl std::error::Error for ReceiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { source, .. } | Self::Runtime { source } | Self::Read { source, .. } => {
                Some(source)
            }
            Self::Descriptors { .. } => None,
            Self::Tls(source) => Some(source),
            Self::Store(source) => Some(source),
            Self::ReceiptCertificate { source, .. } => Some(source),
            Self::ReceiptKey { source, .. } => Some(source),
        }
    }
}

pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    arguments::finish(
        "receive",
        HELP,
        command(lexopt::Parser::from_args(arguments)),
    )
}

fn command(parser: lexopt::Parser) -> Result<ExitCode, Failure> {
    let (address, settings, limits) = parse(parser)?;
    let claimed = limits.claim_descriptors();
    claimed.map_err(|most| {
        let needed = limits.descriptors();
        Failure::command(ReceiveError::Descriptors { needed, most })
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(DISK_THREADS)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| Failure::command(ReceiveError::Runtime { source }))?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ReceiveError::Listen { address, source })?;
        let local = listener
            .local_addr()
            .map_err(|source| ReceiveError::Listen { address, source })?;
        let server = Server::limited(settings, limits, Box::new(log))?;
        log(&format!("listening at {local}"));
        server.serve(listener).await
    });
    match served {
        Ok(never) => match never {},
        Err(error) => Err(Failure::command(error)),
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<(SocketAddr, Settings, Limits), Failure> {
    let mut listen = None;
    let [
        mut certificate,
        mut key,
        mut authority,
        mut list,
        mut receipt_certificate,
        mut receipt_key,
        mut folder,
    ] = [const { None::<PathBuf> }; 7];
    let (mut max_bytes_per_box, mut tls) = (None, TlsProfile::Modern);
    let mut limits = Limits::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Err(Failure::Help),
            Long("listen") => listen = Some(parser.value()?.parse()?),
            Long("cert") => certificate = Some(parser.value()?.into()),
            Long("key") => key = Some(parser.value()?.into()),
            Long("client-ca") => authority = Some(parser.value()?.into()),
            Long("crl") => list = Some(parser.value()?.into()),
            Long("receipt-cert") => receipt_certificate = Some(parser.value()?.into()),
            Long("receipt-key") => receipt_key = Some(parser.value()?.into()),
            Long("dir") => folder = Some(parser.value()?.into()),
            Long("max-bytes-per-box") => max_bytes_per_box = Some(parser.value()?.parse()?),
            Long("disk-reserve") => limits.disk_reserve_bytes = Some(parser.value()?.parse()?),
            Long("max-connections") => limits.connections = parser.value()?.parse()?,
            Long("tls-compat") => tls = TlsProfile::Compat,
            other => return Err(other.unexpected().into()),
        }
    }
    let settings = Settings {
        certificate: certificate.ok_or(Failure::Missing("--cert"))?,
        key: key.ok_or(Failure::Missing("--key"))?,
        client_authority: authority.ok_or(Failure::Missing("--client-ca"))?,
        revocation_list: list.ok_or(Failure::Missing("--crl"))?,
        receipt_certificate: receipt_certificate.ok_or(Failure::Missing("--receipt-cert"))?,
        receipt_key: receipt_key.ok_or(Failure::Missing("--receipt-key"))?,
        folder: folder.ok_or(Failure::Missing("--dir"))?,
        max_bytes_per_box,
        tls,
    };
    let listen = listen.ok_or(Failure::Missing("--listen"))?;
    Ok((listen, settings, limits))
}

/// A receiver with its folder, not yet listening.
pub struct Server {
    settings: Settings,
    shared: Arc<Shared>,
}

impl Server {
    /// With the usual limits. `log` gets each line that an operator should see.
    pub fn open(settings: Settings, log: Log) -> Result<Self, ReceiveError> {
        Self::limited(settings, Limits::default(), log)
    }

    pub fn limited(settings: Settings, limits: Limits, log: Log) -> Result<Self, ReceiveError> {
        let path = settings.receipt_certificate.clone();
        let certificate = bundle::signed::certificate_from_pem(&read(&path)?)
            .map_err(|source| ReceiveError::ReceiptCertificate { path, source })?;
        let path = settings.receipt_key.clone();
        let key = LocalSigner::from_pem(&read(&path)?)
            .map_err(|source| ReceiveError::ReceiptKey { path, source })?;
        let store = Store::open(&settings.folder, certificate, Box::new(key))
            .map_err(ReceiveError::Store)?;
        let shared = Shared {
            store: Arc::new(store),
            uploads: uploads::Uploads::default(),
            shares: Shares {
                bytes_per_box: settings.max_bytes_per_box,
                disk_reserve_bytes: limits.disk_reserve_bytes,
            },
            limits,
            log,
        };
        Ok(Self {
            settings,
            shared: Arc::new(shared),
        })
    }

    /// Serves one connection of a box that is known already, until it ends.
    pub async fn serve_one<S>(&self, stream: S, client: &BoxName) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        listener::converse(stream, client.clone(), self.shared.clone()).await
    }

    /// Serves until it is dropped. A runtime that ends then waits for what is being written.
    pub async fn serve(self, listener: TcpListener) -> Result<Infallible, ReceiveError> {
        listener::serve(listener, &self.settings, self.shared)
            .await
            .map_err(ReceiveError::Tls)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ReceiveError> {
    std::fs::read(path).map_err(|source| ReceiveError::Read {
        path: path.to_owned(),
        source,
    })
}

/// One line in one write.
fn log(text: &str) {
    let _ = io::stderr().write_all(format!("receive: {text}\n").as_bytes());
}
