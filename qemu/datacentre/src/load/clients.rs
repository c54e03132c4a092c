//! The boxes: as many as wanted on a thread for each processor, every box with one connection.

use super::field::{Field, SERVER, box_name};
use super::server::Server;
use super::{LoadError, Settings};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_LENGTH, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll};
use std::thread;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use upload::client::Receipts;
use upload::{Bundle, Client, ClientConfig, Delivered, ServerName, Target};
use x509_cert::Certificate;

/// What the TLS of this run is.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Negotiated {
    pub version: String,
    pub cipher: String,
    pub key_exchange: String,
}

/// One box before its first connection.
struct Sender {
    number: usize,
    tls: ClientConfig,
    content: PathBuf,
    bundles: Vec<Bundle>,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How long it took.
pub struct Driven {
    pub seconds: f64,
    /// Of each bundle, from its first byte until it was durable.
    pub latencies: Vec<f64>,
}

/// Lets all boxes deliver at the same time.
pub fn drive(settings: &Settings, field: &Field, server: &Server) -> Result<Driven, LoadError> {
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(settings.boxes.max(1));
    let mut shares: Vec<Vec<Sender>> = (0..threads).map(|_| Vec::new()).collect();
    for number in 0..settings.boxes {
        shares[number % threads].push(Sender {
            number,
            tls: field.tls(number)?,
            content: field.content(number),
            bundles: field.bundles(settings, number)?,
        });
    }
    let way = Way {
        address: server.address,
        receipts: field.receipt_certificate()?,
        chunk_bytes: settings.chunk_bytes,
        put_into: settings.nginx.as_ref().map(|_| field.received.clone()),
    };
    let start = Arc::new(Barrier::new(threads + 1));
    let threads: Vec<_> = shares
        .into_iter()
        .map(|share| {
            let (way, start) = (way.clone(), start.clone());
            thread::spawn(move || {
                start.wait();
                on_this_thread(share, &way)
            })
        })
        .collect();
    start.wait();
    let begun = Instant::now();
    let mut latencies = Vec::new();
    for thread in threads {
        latencies.extend(thread.join().map_err(|_| LoadError::Thread)??);
    }
    Ok(Driven {
        seconds: begun.elapsed().as_secs_f64(),
        latencies,
    })
}

fn on_this_thread(share: Vec<Sender>, way: &Way) -> Result<Vec<f64>, LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| LoadError::Thread)?;
    let set = LocalSet::new();
    set.block_on(&runtime, async {
        let boxes: Vec<_> = share
            .into_iter()
            .map(|sender| tokio::task::spawn_local(way.clone().deliver_all(sender)))
            .collect();
        let mut latencies = Vec::new();
        for one in boxes {
            latencies.extend(one.await.map_err(|_| LoadError::Thread)??);
        }
        Ok(latencies)
    })
}

/// Where and how bundles go.
#[derive(Clone)]
struct Way {
    address: SocketAddr,
    receipts: Certificate,
    chunk_bytes: u64,
    /// By PUT; the files appear here.
    put_into: Option<PathBuf>,
}

impl Way {
    async fn deliver_all(self, sender: Sender) -> Result<Vec<f64>, LoadError> {
        let Sender {
            number,
            tls,
            content,
            bundles,
        } = sender;
        let mut seconds = Vec::new();
        let mut client = Client::new(Target {
            address: self.address,
            server_name: server_name(),
            path: "/files/".to_owned(),
            receipts: Receipts::Signed(Box::new(self.receipts.clone())),
        })
        .with_chunk_bytes(self.chunk_bytes);
        let mut putter = None;
        for bundle in bundles {
            let begun = Instant::now();
            let delivered: Result<(), Cause> = match &self.put_into {
                None => receipted(client.deliver(&bundle, &|| Ok(tls.clone()), |_| {}).await),
                Some(folder) => {
                    let folder = folder.join(box_name(number));
                    let body = FileBody::open(&content, bundle.size());
                    put(&mut putter, (self.address, &tls), &bundle, body, &folder).await
                }
            };
            delivered.map_err(|source| LoadError::Deliver {
                bundle: bundle.name.to_string(),
                source,
            })?;
            seconds.push(begun.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }
}

fn receipted(result: Result<Delivered, upload::UploadError>) -> Result<(), Cause> {
    match result? {
        Delivered::Receipt(_) => Ok(()),
        Delivered::Unsigned => Err("no receipt was given".into()),
    }
}

fn server_name() -> ServerName<'static> {
    ServerName::try_from(SERVER).expect("a constant DNS name")
}

async fn connect(
    address: SocketAddr,
    tls: &ClientConfig,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(Arc::new(tls.clone()))
        .connect(server_name(), stream)
        .await
}

/// What a first connection agrees on.
pub fn negotiated(field: &Field, address: SocketAddr) -> Result<Negotiated, LoadError> {
    let tls = field.tls(0)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| LoadError::Thread)?;
    let connected = runtime.block_on(connect(address, &tls));
    let stream = connected.map_err(|error| LoadError::Server {
        said: error.to_string(),
    })?;
    let (_, connection) = stream.get_ref();
    let group = connection.negotiated_key_exchange_group();
    Ok(Negotiated {
        version: format!("{:?}", connection.protocol_version()),
        cipher: format!(
            "{:?}",
            connection
                .negotiated_cipher_suite()
                .map(|suite| suite.suite())
        ),
        key_exchange: format!("{:?}", group.map(|group| group.name())),
    })
}

/// One PUT; then the file and its folder are synced, because nginx does neither.
async fn put(
    connection: &mut Option<SendRequest<FileBody>>,
    (address, tls): (SocketAddr, &ClientConfig),
    bundle: &Bundle,
    body: io::Result<FileBody>,
    folder: &Path,
) -> Result<(), Cause> {
    let requests = match connection {
        Some(requests) => requests,
        None => {
            let stream = connect(address, tls).await?;
            let (requests, driver) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::task::spawn_local(driver);
            connection.insert(requests)
        }
    };
    requests.ready().await?;
    let box_name = bundle.name.box_name();
    let request = Request::builder()
        .method(Method::PUT)
        .uri(format!("/{box_name}/{}", bundle.name))
        .header(HOST, SERVER)
        .header(CONTENT_LENGTH, bundle.size())
        .body(body?)?;
    let answer = requests.send_request(request).await?;
    let status = answer.status();
    answer.into_body().collect().await?;
    if status != hyper::StatusCode::CREATED {
        return Err(format!("answered with {status}").into());
    }
    let (file, folder) = (folder.join(bundle.name.to_string()), folder.to_owned());
    tokio::task::spawn_blocking(move || {
        File::open(file)?.sync_data()?;
        File::open(folder)?.sync_all()
    })
    .await??;
    Ok(())
}

/// A file as a body, read in the pieces in which our sender reads its chunks.
struct FileBody {
    file: File,
    offset: u64,
    size: u64,
}

/// As [`upload::client::CHUNK_BYTES`].
const PIECE_BYTES: u64 = 4 * 1024 * 1024;

impl FileBody {
    fn open(path: &Path, size: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self {
            file,
            offset: 0,
            size,
        })
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let length = PIECE_BYTES.min(self.size - self.offset);
        if length == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = self.file.read_exact_at(&mut piece, self.offset);
        self.offset += length;
        Poll::Ready(Some(read.map(|()| Frame::data(Bytes::from(piece)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size - self.offset)
    }
}
