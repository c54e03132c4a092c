//! Connections: limits, mutual TLS, and whose certificate it is.
//!
//! Invariants
//! 1. Nothing is read from a client before its certificate was verified under the pinned authority and a fresh
//!    revocation list. The files are looked at again for each connection, so a new list needs no restart.
//! 2. A box is the DNS name in its certificate, or the common name where there is none; nothing that it sends changes it.
//! 3. Every wait ends, and there are as many connections as [`Limits`] says: of one box and of all, and before the
//!    certificate is known of one address and of all. A newcomer is let in; whoever has most loses its oldest
//!    ([`Seats`]). So neither a box nor a machine without certificate keeps another box out.

use super::Settings;
use super::http::{self, Answer, Shared};
use super::limits::Limits;
use super::seats::Seats;
use crate::arguments::chain;
use bundle::BoxName;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{CertificateError, Error as TlsError, ServerConfig};
use tokio_rustls::server::TlsStream;
use upload::tls::server_config;
use upload::{CertificateFault, Identity, TlsFault, Trust, box_of};

const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// After a refused handshake: time for the client to read why, and what it may still send meanwhile.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;
/// Between two searches for uploads that nobody continues.
const EXPIRY_PERIOD: Duration = Duration::from_secs(3600);

/// Serves until it is dropped.
pub async fn serve(
    listener: TcpListener,
    settings: &Settings,
    shared: Arc<Shared>,
) -> Result<Infallible, TlsFault> {
    let tls = Tls::load(settings)?;
    let hall = Arc::new(Hall::new(&shared.limits));
    let mut connections = JoinSet::new();
    let mut expiry = interval(EXPIRY_PERIOD);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = expiry.tick() => {
                http::expire(&shared).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let (config, shared) = (tls.current(settings, &shared), shared.clone());
                connections.spawn(connection(stream, peer, config, hall.clone(), shared));
            }
            Err(error) => {
                (shared.log)(&format!("cannot accept a connection: {error}"));
                // Out of file descriptors: some are given back when connections end.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Who is here.
struct Hall {
    strangers: Arc<Seats<IpAddr>>,
    boxes: Arc<Seats<BoxName>>,
}

impl Hall {
    fn new(limits: &Limits) -> Self {
        Self {
            strangers: Seats::new(limits.handshakes, limits.handshakes),
            boxes: Seats::new(limits.connections, limits.connections_per_box),
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    config: Arc<ServerConfig>,
    hall: Arc<Hall>,
    shared: Arc<Shared>,
) {
    let seat = hall.strangers.take(peer.ip());
    let arrived = tokio::select! {
        arrived = arrive(stream, peer, config, &shared) => arrived,
        () = seat.gone() => return,
    };
    let Some((stream, client)) = arrived else {
        return;
    };
    let place = hall.boxes.take(client.clone());
    drop(seat);
    let served = tokio::select! {
        served = converse(stream, client.clone(), shared.clone()) => served,
        () = place.gone() => {
            return (shared.log)(&format!("{client} at {peer}: closed for a newer connection"));
        }
    };
    if let Err(error) = served
        && !error.is_incomplete_message()
        && !error.is_timeout()
    {
        (shared.log)(&format!("{client} at {peer}: {}", chain(&error)));
    }
}

/// The handshake: a box by its name, or nobody.
async fn arrive(
    stream: TcpStream,
    peer: SocketAddr,
    config: Arc<ServerConfig>,
    shared: &Shared,
) -> Option<(TlsStream<TcpStream>, BoxName)> {
    let refused = |why: &str| (shared.log)(&format!("refused {peer}: {why}"));
    if let Err(error) = bound_silence(&stream, shared.limits.unacknowledged) {
        refused(&chain(&error));
        return None;
    }
    let accept = TlsAcceptor::from(config).accept(stream).into_fallible();
    let stream = match timeout(shared.limits.handshake, accept).await {
        Err(_) => {
            refused("no TLS handshake in time");
            return None;
        }
        Ok(Err((error, stream))) => {
            refused(&why_refused(&error));
            linger(stream).await;
            return None;
        }
        Ok(Ok(stream)) => stream,
    };
    let client = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(box_of);
    if client.is_none() {
        refused("the client certificate names no box");
    }
    Some((stream, client?))
}

/// Small segments at once, and an end to a client that takes no answer.
fn bound_silence(stream: &TcpStream, limit: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, limit)?;
    Ok(())
}

/// Answers the requests of one box until its connection ends.
pub async fn converse<S>(stream: S, client: BoxName, shared: Arc<Shared>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head = shared.limits.head;
    let service = service_fn(|request: Request<Incoming>| {
        let (client, shared) = (client.clone(), shared.clone());
        async move { Ok::<_, Infallible>(detached(shared, client, request).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// A request goes on to its own end although its connection breaks, so that no writer is left behind without its lock.
async fn detached(shared: Arc<Shared>, client: BoxName, request: Request<Incoming>) -> Answer {
    let task = tokio::spawn(async move { http::answer(&shared, &client, request).await });
    task.await.unwrap_or_else(|_| {
        let mut answer = Response::new(Full::new(Bytes::new()));
        *answer.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
}

/// Keeps the refused connection until the client had time to read the alert: closing it with unread bytes would send a
/// reset, which throws the alert away.
async fn linger(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut rest = stream.take(LINGER_BYTES);
    let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    let _ = rest.read(&mut []).await;
}

fn why_refused(error: &std::io::Error) -> String {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>())
    {
        Some(TlsError::InvalidCertificate(fault)) => certificate_words(fault),
        Some(TlsError::InvalidCertRevocationList(_)) => {
            format!(
                "client certificate: {}",
                CertificateFault::BadRevocationList
            )
        }
        Some(TlsError::NoCertificatesPresented) => "no client certificate".to_owned(),
        Some(TlsError::AlertReceived(alert)) => {
            format!("the client refuses this server's certificate: {alert:?}")
        }
        Some(tls) => tls.to_string(),
        None => chain(error),
    }
}

fn certificate_words(fault: &CertificateError) -> String {
    format!("client certificate: {}", CertificateFault::from_tls(fault))
}

/// The configuration in use and the state of the files that it was made from.
struct Tls(Mutex<(Vec<Option<SystemTime>>, Arc<ServerConfig>)>);

impl Tls {
    fn load(settings: &Settings) -> Result<Self, TlsFault> {
        Ok(Self(Mutex::new((
            times(settings),
            Arc::new(make(settings)?),
        ))))
    }

    /// The configuration of the files as they are now; where they cannot be used, of those before.
    fn current(&self, settings: &Settings, shared: &Shared) -> Arc<ServerConfig> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = times(settings);
        if state.0 != now {
            match make(settings) {
                Ok(config) => {
                    (shared.log)("read certificates and revocation list again");
                    state.1 = Arc::new(config);
                }
                Err(error) => (shared.log)(&format!(
                    "kept the earlier certificates: {}",
                    chain(&error as &dyn Error)
                )),
            }
            state.0 = now;
        }
        state.1.clone()
    }
}

fn times(settings: &Settings) -> Vec<Option<SystemTime>> {
    [
        &settings.certificate,
        &settings.key,
        &settings.client_authority,
        &settings.revocation_list,
    ]
    .into_iter()
    .map(|path| {
        std::fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
    })
    .collect()
}

fn make(settings: &Settings) -> Result<ServerConfig, TlsFault> {
    let trust = Trust::load(&settings.client_authority, &settings.revocation_list)?;
    let identity = Identity::with_key_file(&settings.certificate, &settings.key)?;
    server_config(&trust, identity, settings.tls)
}
