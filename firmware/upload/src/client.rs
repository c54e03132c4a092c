//! The loop around [`Transfer`](crate::transfer): one keep-alive connection, one request at a time, each with a limit.
//!
//! Invariants
//! 1. At most one chunk of a bundle is in memory.
//! 2. Every wait has an end: connecting and handshake [`CONNECT_LIMIT`], a small request [`REQUEST_LIMIT`], a chunk
//!    [`CHUNK_LIMIT`]; and the kernel ends a connection whose bytes nobody acknowledged for [`UNACKNOWLEDGED_LIMIT`].
//! 3. A connection on which anything went wrong is not used again.

use crate::ceiling::{PacedBody, Pacer};
use crate::fault::{Advice, UploadError};
use crate::receipt::{Receipt, UnverifiedReceipt, verify_receipt};
use crate::tls_key::sha256;
use crate::transfer::{Acknowledgement, Answer, Step, Transfer};
use crate::tus;
use aws_lc_rs::digest;
use bundle::BundleName;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, LOCATION};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_cert::Certificate;

/// Bytes of one PATCH: what a cut loses at most where the server keeps only whole chunks, and the memory it takes.
pub const CHUNK_BYTES: u64 = 4 * 1024 * 1024;
/// TCP connection and TLS handshake, each.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A request without a body.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// One chunk and its answer: down to 14 kB/s.
pub const CHUNK_LIMIT: Duration = Duration::from_secs(300);
/// `TCP_USER_TIMEOUT`: a peer that vanished is noticed after this time, not after [`CHUNK_LIMIT`].
pub const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(20);

/// Where bundles go.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    /// Name in the server's certificate; also the `Host`.
    pub server_name: ServerName<'static>,
    /// Path of the tus creation resource.
    pub path: String,
    pub receipts: Receipts,
}

/// How the server confirms a bundle.
#[derive(Clone, Debug)]
pub enum Receipts {
    /// By a receipt signed under this certificate.
    Signed(Box<Certificate>),
    /// Not at all: a plain tus server.
    None,
}

/// A sealed bundle on the disk.
pub struct Bundle {
    pub name: BundleName,
    file: File,
    size: u64,
    sha256: [u8; 32],
}

impl Bundle {
    /// Opens a file that is the bundle and reads it once, for size and digest.
    pub fn open(name: BundleName, path: &Path) -> io::Result<Self> {
        Self::open_front(name, path, u64::MAX)
    }

    /// Opens a file whose first `limit_bytes` are the bundle; a shorter one is all of it.
    pub fn open_front(name: BundleName, path: &Path, limit_bytes: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut context = digest::Context::new(&digest::SHA256);
        let mut buffer = vec![0; 1024 * 1024];
        let mut size = 0;
        loop {
            let most = (limit_bytes - size).min(buffer.len() as u64) as usize;
            let got = file.read_at(&mut buffer[..most], size)?;
            if got == 0 {
                break;
            }
            context.update(&buffer[..got]);
            size += got as u64;
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(context.finish().as_ref());
        Ok(Self {
            name,
            file,
            size,
            sha256,
        })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    fn chunk(&self, from: u64, to: u64) -> io::Result<Bytes> {
        let length = usize::try_from(to - from).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut chunk = vec![0; length];
        self.file.read_exact_at(&mut chunk, from)?;
        Ok(Bytes::from(chunk))
    }
}

/// How a bundle was acknowledged.
#[derive(Debug)]
pub enum Delivered {
    Receipt(Box<Receipt>),
    /// The server holds every byte and gives no receipts.
    Unsigned,
}

/// A client of one server.
pub struct Client {
    target: Target,
    connection: Option<Connection>,
    /// Addresses of unfinished uploads. A server of ours names the same one again after a restart.
    locations: BTreeMap<BundleName, String>,
    chunk_bytes: u64,
    pacer: Option<Pacer>,
}

/// Whether to go on, asked before each chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    GoOn,
    Pause,
}

struct Connection {
    requests: SendRequest<PacedBody>,
    driver: JoinHandle<hyper::Result<()>>,
}

impl Connection {
    async fn over<S>(stream: S) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            requests,
            driver: tokio::spawn(driver),
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    pub fn new(target: Target) -> Self {
        Self {
            target,
            connection: None,
            locations: BTreeMap::new(),
            chunk_bytes: CHUNK_BYTES,
            pacer: None,
        }
    }

    /// Another chunk size than [`CHUNK_BYTES`].
    pub fn with_chunk_bytes(mut self, chunk_bytes: u64) -> Self {
        self.chunk_bytes = chunk_bytes;
        self
    }

    /// With a ceiling on the bytes of bundles a second, over all that this client sends.
    pub fn with_ceiling(mut self, bytes_per_second: NonZeroU32) -> Self {
        let pacer = Pacer::new(bytes_per_second);
        self.chunk_bytes = self.chunk_bytes.min(pacer.chunk_bytes);
        self.pacer = Some(pacer);
        self
    }

    /// Delivers one bundle, going on where an earlier attempt ended. `tls` is asked when a new connection is needed,
    /// so that new certificates and lists are used from then on; `progress` hears of each acknowledged offset.
    pub async fn deliver(
        &mut self,
        bundle: &Bundle,
        tls: &dyn Fn() -> Result<ClientConfig, crate::TlsFault>,
        mut progress: impl FnMut(u64),
    ) -> Result<Delivered, UploadError> {
        let go_on = |offset| {
            progress(offset);
            Course::GoOn
        };
        self.deliver_while(bundle, tls, go_on).await
    }

    /// As [`deliver`](Self::deliver), and `course` says before each chunk whether it is to be sent. A pause ends the
    /// attempt with [`UploadError::Paused`] between two chunks; the next attempt goes on there.
    pub async fn deliver_while(
        &mut self,
        bundle: &Bundle,
        tls: &dyn Fn() -> Result<ClientConfig, crate::TlsFault>,
        mut course: impl FnMut(u64) -> Course,
    ) -> Result<Delivered, UploadError> {
        let result = self.attempt(bundle, tls, &mut course).await;
        match &result {
            Ok(_) => {
                self.locations.remove(&bundle.name);
            }
            Err(error) => {
                let whole = matches!(
                    error,
                    UploadError::Answer(_) | UploadError::Receipt(_) | UploadError::Paused { .. }
                );
                if !whole {
                    self.connection = None;
                }
                if error.advice() != Advice::Retry {
                    self.locations.remove(&bundle.name);
                }
            }
        }
        result
    }

    /// A client whose first connection is this one, without TLS: a fuzz target plays the server on the other side.
    #[cfg(feature = "plain")]
    pub async fn on<S>(target: Target, stream: S) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut client = Self::new(target);
        client.connection = Some(Connection::over(stream).await?);
        Ok(client)
    }

    /// Closes the connection, if there is one.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    async fn attempt(
        &mut self,
        bundle: &Bundle,
        tls: &dyn Fn() -> Result<ClientConfig, crate::TlsFault>,
        course: &mut dyn FnMut(u64) -> Course,
    ) -> Result<Delivered, UploadError> {
        let acknowledgement = match self.target.receipts {
            Receipts::Signed(_) => Acknowledgement::Receipt,
            Receipts::None => Acknowledgement::CompleteUpload,
        };
        let location = self.locations.get(&bundle.name).cloned();
        let mut transfer = Transfer::new(bundle.size, self.chunk_bytes, acknowledgement, location);
        let mut receipt = None;
        loop {
            let step = transfer.next().clone();
            let (answer, body) = match &step {
                Step::Create => (self.create(bundle, tls).await?, Bytes::new()),
                Step::Ask { location } => {
                    self.locations.insert(bundle.name.clone(), location.clone());
                    (self.ask(location, tls).await?, Bytes::new())
                }
                Step::Send { location, from, to } => {
                    if course(*from) == Course::Pause {
                        return Err(UploadError::Paused { at: *from });
                    }
                    (
                        self.send(bundle, location, *from, *to, tls).await?,
                        Bytes::new(),
                    )
                }
                Step::FetchReceipt { location } => {
                    // Every byte is there; only its receipt is fetched.
                    course(bundle.size);
                    self.fetch_receipt(location, tls).await?
                }
                Step::Complete => break,
            };
            transfer.answered(&answer).map_err(UploadError::Answer)?;
            if matches!(step, Step::FetchReceipt { .. }) {
                receipt = Some(UnverifiedReceipt(body.to_vec()));
            }
        }
        match (&self.target.receipts, receipt) {
            (Receipts::Signed(receiver), Some(claim)) => {
                verify_receipt(claim, receiver, &bundle.name, bundle.size, &bundle.sha256)
                    .map(|receipt| Delivered::Receipt(Box::new(receipt)))
                    .map_err(UploadError::Receipt)
            }
            (Receipts::Signed(_), None) => {
                Err(UploadError::Answer(crate::transfer::Refusal::NoReceipt {
                    status: 0,
                }))
            }
            (Receipts::None, _) => Ok(Delivered::Unsigned),
        }
    }

    async fn create(&mut self, bundle: &Bundle, tls: Setup<'_>) -> Result<Answer, UploadError> {
        let digest = tus::hex(&bundle.sha256);
        let metadata = tus::metadata(&[
            (tus::FILENAME, &bundle.name.to_string()),
            (tus::SHA256, &digest),
        ]);
        let headers = [
            (tus::UPLOAD_LENGTH, bundle.size.to_string()),
            (tus::UPLOAD_METADATA, metadata),
        ];
        let path = self.target.path.clone();
        let question = Question {
            method: Method::POST,
            path: &path,
            headers: &headers,
            body: Bytes::new(),
        };
        let during = "the announcement of the bundle";
        Ok(self.exchange(during, REQUEST_LIMIT, question, tls).await?.0)
    }

    async fn ask(&mut self, location: &str, tls: Setup<'_>) -> Result<Answer, UploadError> {
        let question = Question {
            method: Method::HEAD,
            path: location,
            headers: &[],
            body: Bytes::new(),
        };
        Ok(self
            .exchange("the question for the offset", REQUEST_LIMIT, question, tls)
            .await?
            .0)
    }

    async fn send(
        &mut self,
        bundle: &Bundle,
        location: &str,
        from: u64,
        to: u64,
        tls: Setup<'_>,
    ) -> Result<Answer, UploadError> {
        let body = bundle
            .chunk(from, to)
            .map_err(|source| UploadError::ReadBundle { source })?;
        let mut headers = vec![
            (tus::UPLOAD_OFFSET, from.to_string()),
            (CONTENT_TYPE.as_str(), tus::OFFSET_OCTETS.to_owned()),
        ];
        // A receipt is over the digest of the whole bundle, and TLS keeps what is on its way: a digest of each chunk beside
        // them would be a third and fourth pass over every byte. A plain server checks nothing else.
        if let Receipts::None = self.target.receipts {
            headers.push((tus::UPLOAD_CHECKSUM, tus::checksum(&sha256(&body))));
        }
        let question = Question {
            method: Method::PATCH,
            path: location,
            headers: &headers,
            body,
        };
        Ok(self
            .exchange("a chunk", CHUNK_LIMIT, question, tls)
            .await?
            .0)
    }

    async fn fetch_receipt(
        &mut self,
        location: &str,
        tls: Setup<'_>,
    ) -> Result<(Answer, Bytes), UploadError> {
        let path = format!("{}/{}", location.trim_end_matches('/'), tus::RECEIPT);
        let headers = [(ACCEPT.as_str(), tus::RECEIPT_TYPE.to_owned())];
        let question = Question {
            method: Method::GET,
            path: &path,
            headers: &headers,
            body: Bytes::new(),
        };
        self.exchange("the request for the receipt", REQUEST_LIMIT, question, tls)
            .await
    }

    /// One request and its answer within `limit`, over a new connection where there is none.
    async fn exchange(
        &mut self,
        during: &'static str,
        limit: Duration,
        question: Question<'_>,
        tls: Setup<'_>,
    ) -> Result<(Answer, Bytes), UploadError> {
        let request = self.request(question)?;
        let mut connection = match self.connection.take() {
            Some(connection) if connection.requests.is_ready() => connection,
            _ => self.connect(tls).await?,
        };
        let answered = timeout(limit, async {
            let response = connection
                .requests
                .send_request(request)
                .await
                .map_err(Box::new)?;
            let answer = read_answer(&response);
            let body = read_body(response).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((answer, body))
        });
        match answered.await {
            Err(_) => Err(UploadError::Timeout { during }),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(UploadError::AnswerTooLong { during })
            }
            Ok(Err(error)) => Err(why_it_broke(during, connection, error).await),
            Ok(Ok((answer, body))) => {
                self.connection = Some(connection);
                Ok((answer, body))
            }
        }
    }

    fn request(&self, question: Question<'_>) -> Result<Request<PacedBody>, UploadError> {
        let mut request = Request::builder()
            .method(question.method)
            .uri(path_of(question.path))
            .header(HOST, self.host())
            .header(tus::RESUMABLE, tus::VERSION);
        if !question.body.is_empty() {
            request = request.header(CONTENT_LENGTH, question.body.len());
        }
        for (name, value) in question.headers {
            request = request.header(*name, value);
        }
        let body = PacedBody::new(question.body, self.pacer.clone());
        request.body(body).map_err(|_| {
            // Only a Location that is no path can bring this about: everything else is ours.
            UploadError::Answer(crate::transfer::Refusal::Incomplete {
                during: "the announcement of the bundle",
                header: "Location",
            })
        })
    }

    fn host(&self) -> String {
        match self.target.address.port() {
            443 => self.target.server_name.to_str().into_owned(),
            port => format!("{}:{port}", self.target.server_name.to_str()),
        }
    }

    async fn connect(&self, tls: Setup<'_>) -> Result<Connection, UploadError> {
        let address = self.target.address;
        let config = tls().map_err(UploadError::Setup)?;
        let stream = timeout(CONNECT_LIMIT, TcpStream::connect(address))
            .await
            .map_err(|_| UploadError::ConnectTimeout { address })?
            .map_err(|source| UploadError::Connect { address, source })?;
        bound_silence(&stream).map_err(|source| UploadError::Connect { address, source })?;
        let handshake =
            TlsConnector::from(Arc::new(config)).connect(self.target.server_name.clone(), stream);
        const HANDSHAKE: &str = "the TLS handshake";
        let stream = timeout(CONNECT_LIMIT, handshake)
            .await
            .map_err(|_| UploadError::Timeout { during: HANDSHAKE })?
            .map_err(|error| UploadError::from_exchange(HANDSHAKE, Box::new(error)))?;
        Connection::over(stream)
            .await
            .map_err(|error| UploadError::from_exchange(HANDSHAKE, Box::new(error)))
    }
}

type Setup<'a> = &'a dyn Fn() -> Result<ClientConfig, crate::TlsFault>;

struct Question<'a> {
    method: Method,
    /// A path, or the `Location` of an upload.
    path: &'a str,
    headers: &'a [(&'a str, String)],
    body: Bytes,
}

/// Small segments at once, and an end to waiting for acknowledgements that never come.
fn bound_silence(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let limit = u32::try_from(UNACKNOWLEDGED_LIMIT.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, limit)?;
    Ok(())
}

/// Path and query of a `Location`, which may be absolute. The host in it is ignored: there is only the pinned one.
fn path_of(location: &str) -> String {
    let path = location
        .parse::<Uri>()
        .ok()
        .and_then(|uri| uri.path_and_query().map(ToString::to_string));
    path.unwrap_or_else(|| location.to_owned())
}

fn read_answer(response: &Response<Incoming>) -> Answer {
    let number = |headers: &HeaderMap, name: &str| headers.get(name)?.to_str().ok()?.parse().ok();
    let headers = response.headers();
    Answer {
        status: response.status().as_u16(),
        location: headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        offset: number(headers, tus::UPLOAD_OFFSET),
        length: number(headers, tus::UPLOAD_LENGTH),
    }
}

async fn read_body(
    response: Response<Incoming>,
) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Limited::new(response.into_body(), tus::RECEIPT_BYTES)
        .collect()
        .await?
        .to_bytes())
}

/// What ended the exchange. An alert of the server reaches the driver of the connection, not always the request.
async fn why_it_broke(
    during: &'static str,
    mut connection: Connection,
    error: Box<dyn std::error::Error + Send + Sync>,
) -> UploadError {
    let first = UploadError::from_exchange(during, error);
    if !matches!(first, UploadError::CutOff { .. }) {
        return first;
    }
    match timeout(Duration::from_secs(1), &mut connection.driver).await {
        Ok(Ok(Err(error))) => match UploadError::from_exchange(during, Box::new(error)) {
            UploadError::CutOff { .. } => first,
            named => named,
        },
        _ => first,
    }
}
