//! tus 1.0 as a server: core, creation, checksum, expiration; and the receipt below each finished upload.
//!
//! ```text
//! OPTIONS /files/                 what we speak
//! POST    /files/                 announce a bundle        201 Location, 409 another bundle of this name was received
//! HEAD    /files/<bundle>         how far                  200 Upload-Offset
//! PATCH   /files/<bundle>         a chunk                  204 when durable, 409 wrong offset, 460 wrong digest
//! GET     /files/<bundle>/receipt the signed receipt       200, 404 not finished
//! any                             no room, no descriptors  507, 503 with Retry-After; the client comes again
//! ```
//!
//! Invariants
//! 1. Only the box itself reaches its uploads: the name in its certificate is the first part of the bundle's name. To
//!    anyone else they do not exist.
//! 2. Nothing stored can be read back except offsets, announcements and receipts.
//! 3. 204 is sent only after the chunk is durable; to the last chunk of a bundle after its receipt is.
//! 4. A box has at most [`Limits::uploads_per_box`] unfinished uploads: one more gives up its own oldest.

use super::chunk::{Checksum, receive};
use super::limits::Limits;
use super::store::{Announcement, Finished, Found, NoRoom, Partial, Shares, Store, StoreError};
use super::uploads::{Hold, Uploads};
use crate::arguments::chain;
use bundle::{BoxName, BundleName};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use hyper::http::response::Builder;
use hyper::{Method, Request, Response, StatusCode};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::SystemTime;
use upload::tus;

/// Where uploads are announced and found.
pub const BASE: &str = "/files/";
/// Largest bundle (DESIGN section 3).
pub const MAX_BUNDLE_BYTES: u64 = 64 * 1024 * 1024;
/// Seconds after which a client that found no room may ask again.
const RETRY_SECONDS: &str = "60";
const EXTENSIONS: &str = "creation,checksum,expiration";
const ALGORITHMS: &str = "sha256,sha1";
const OVERRIDE: &str = "x-http-method-override";

pub type Answer = Response<Full<Bytes>>;

/// What all connections share.
pub struct Shared {
    pub store: Arc<Store>,
    pub uploads: Uploads,
    pub shares: Shares,
    pub limits: Limits,
    pub log: Log,
}

/// Takes one line of text.
pub type Log = Box<dyn Fn(&str) + Send + Sync>;

/// Why a request is not carried out.
pub enum Refused {
    /// With words for whoever reads the client's log.
    Status(u16, &'static str),
    Store(StoreError),
    /// The client went away, fell silent, or came again on a newer connection.
    BrokenOff(&'static str),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

type Reply = Result<Answer, Refused>;

/// Answers one request of the box `client`.
pub async fn answer(shared: &Shared, client: &BoxName, request: Request<Incoming>) -> Answer {
    let reply = route(shared, client, request).await;
    let mut answer = reply.unwrap_or_else(|refused| match refused {
        Refused::Status(status, why) => text(status, why),
        Refused::BrokenOff(why) => text(400, why),
        Refused::Store(error) => {
            (shared.log)(&format!("{client}: {}", chain(&error)));
            disk_refused(&error)
        }
    });
    let version = HeaderValue::from_static(tus::VERSION);
    answer.headers_mut().insert(tus::RESUMABLE, version);
    answer
}

/// What the client hears when the store refused. Nothing of the disk's own words: they name paths.
fn disk_refused(error: &StoreError) -> Answer {
    /// `ENFILE`, `EMFILE`: the host's and this process's files.
    const OUT_OF_FILES: [i32; 2] = [23, 24];
    let (status, why) = match error {
        StoreError::NoRoom(NoRoom::ForThisBox) => (507, "this box has used its share of the disk"),
        StoreError::NoRoom(NoRoom::ForAnyone) => (507, "the receiver's disk is full"),
        StoreError::Io { source, .. } => match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                (507, "the receiver's disk is full")
            }
            _ if source
                .raw_os_error()
                .is_some_and(|code| OUT_OF_FILES.contains(&code)) =>
            {
                (503, "the receiver has too many files open")
            }
            _ => (500, "the receiver's disk refused"),
        },
        StoreError::Locked { .. } | StoreError::Receipt(_) => (500, "the receiver's disk refused"),
    };
    let mut answer = text(status, why);
    if matches!(status, 503 | 507) {
        let seconds = HeaderValue::from_static(RETRY_SECONDS);
        answer.headers_mut().insert(RETRY_AFTER, seconds);
    }
    answer
}

async fn route(shared: &Shared, client: &BoxName, request: Request<Incoming>) -> Reply {
    let method = match request.headers().get(OVERRIDE) {
        Some(value) => Method::from_bytes(value.as_bytes())
            .map_err(|_| Refused::Status(400, "no such method"))?,
        None => request.method().clone(),
    };
    if method == Method::OPTIONS {
        return Ok(options());
    }
    let path = request.uri().path();
    let rest = if path == BASE.trim_end_matches('/') {
        Some("")
    } else {
        path.strip_prefix(BASE)
    };
    let rest = rest.ok_or(Refused::Status(404, "nothing here"))?;
    let name = rest
        .strip_suffix(tus::RECEIPT)
        .and_then(|rest| rest.strip_suffix('/'));
    if let Some(name) = name {
        let name = own(client, name)?;
        return if method == Method::GET {
            receipt(shared, name).await
        } else {
            Ok(not_allowed("GET, OPTIONS"))
        };
    }
    if text_of(request.headers(), tus::RESUMABLE) != Some(tus::VERSION) {
        let answer = plain(412).header("tus-version", tus::VERSION);
        return finish(
            answer,
            Bytes::from_static(b"only tus 1.0.0 is spoken here\n"),
        );
    }
    if rest.is_empty() {
        return if method == Method::POST {
            create(shared, client, &request).await
        } else {
            Ok(not_allowed("POST, OPTIONS"))
        };
    }
    let name = own(client, rest)?;
    match method {
        Method::HEAD => head(shared, name).await,
        Method::PATCH => patch(shared, name, request).await,
        _ => Ok(not_allowed("HEAD, PATCH, OPTIONS")),
    }
}

/// The name, if it is one of this box's.
fn own(client: &BoxName, text: &str) -> Result<BundleName, Refused> {
    text.parse()
        .ok()
        .filter(|name: &BundleName| name.box_name() == client)
        .ok_or(Refused::Status(404, "no such upload"))
}

fn options() -> Answer {
    let answer = plain(204)
        .header("tus-version", tus::VERSION)
        .header("tus-extension", EXTENSIONS)
        .header("tus-max-size", MAX_BUNDLE_BYTES)
        .header("tus-checksum-algorithm", ALGORITHMS);
    finish(answer, Bytes::new()).unwrap_or_default()
}

fn not_allowed(allowed: &'static str) -> Answer {
    finish(plain(405).header(ALLOW, allowed), Bytes::new()).unwrap_or_default()
}

async fn create(shared: &Shared, client: &BoxName, request: &Request<Incoming>) -> Reply {
    let headers = request.headers();
    let size = text_of(headers, tus::UPLOAD_LENGTH).and_then(|text| text.parse::<u64>().ok());
    let size = size.ok_or(Refused::Status(400, "Upload-Length is needed"))?;
    let metadata = text_of(headers, tus::UPLOAD_METADATA).unwrap_or_default();
    let sha256 =
        tus::metadata_value(metadata, tus::SHA256).filter(|text| tus::parse_digest(text).is_some());
    let sha256 = sha256.ok_or(Refused::Status(
        400,
        "Upload-Metadata needs sha256, in lower-case hexadecimal",
    ))?;
    let name = tus::metadata_value(metadata, tus::FILENAME)
        .and_then(|text| text.parse::<BundleName>().ok());
    let name = name.ok_or(Refused::Status(
        400,
        "Upload-Metadata needs filename, the name of a bundle",
    ))?;
    if name.box_name() != client {
        return Err(Refused::Status(403, "a box announces its own bundles only"));
    }
    if size > MAX_BUNDLE_BYTES {
        return Err(Refused::Status(413, "a bundle has at most 64 MiB"));
    }
    let announcement = Announcement {
        size,
        sha256,
        metadata: metadata.to_owned(),
    };
    let turn = shared.uploads.turn(client);
    let _turn = turn.lock().await;
    let slot = shared.uploads.slot(&name);
    let mut hold = slot.hold().await;
    let created = plain(201).header(LOCATION, format!("{BASE}{name}"));
    match find(shared, &name, &mut hold).await? {
        Found::Finished(finished)
            if finished.sha256 == announcement.sha256 && finished.size == size =>
        {
            return finish(created, Bytes::new());
        }
        Found::Finished(_) => {
            return Err(Refused::Status(
                409,
                "another bundle of this name was received",
            ));
        }
        Found::Partial(partial) if same(partial.announcement(), &announcement) => hold.put(partial),
        Found::Partial(_) | Found::Nothing => {
            limit_unfinished(shared, client, &name).await?;
            let (store, named) = (shared.store.clone(), name.clone());
            let shares = shared.shares.clone();
            let partial = blocking(move || store.create(&named, announcement, &shares)).await?;
            if partial.is_complete() {
                complete(shared, &name, partial).await?;
            } else {
                hold.put(partial);
            }
        }
    }
    finish(
        created.header("upload-expires", expires(shared)),
        Bytes::new(),
    )
}

fn same(one: &Announcement, other: &Announcement) -> bool {
    one.size == other.size && one.sha256 == other.sha256
}

/// Gives up the box's oldest uploads where there are too many beside the new one. The box's turn is taken, so nobody else
/// waits for the new one's slot while holding one of these.
async fn limit_unfinished(
    shared: &Shared,
    client: &BoxName,
    fresh: &BundleName,
) -> Result<(), Refused> {
    let (store, named) = (shared.store.clone(), client.clone());
    let mut others = blocking(move || store.unfinished(&named)).await?;
    others.retain(|name| name != fresh);
    let surplus = (others.len() + 1).saturating_sub(shared.limits.uploads_per_box);
    for name in others.into_iter().take(surplus) {
        give_up(shared, &name).await?;
        (shared.log)(&format!(
            "gave up {name}: the box announced too many others"
        ));
    }
    Ok(())
}

/// Ends an upload, whoever is filling it.
async fn give_up(shared: &Shared, name: &BundleName) -> Result<(), StoreError> {
    let slot = shared.uploads.slot(name);
    let mut hold = slot.hold().await;
    hold.take();
    let (store, named) = (shared.store.clone(), name.clone());
    blocking(move || store.remove_partial(&named)).await
}

async fn head(shared: &Shared, name: BundleName) -> Reply {
    let slot = shared.uploads.slot(&name);
    let mut hold = slot.hold().await;
    let answer = plain(200).header(CACHE_CONTROL, "no-store");
    match find(shared, &name, &mut hold).await? {
        Found::Nothing => Err(Refused::Status(404, "no such upload")),
        Found::Finished(Finished { size, sha256, .. }) => {
            let metadata =
                tus::metadata(&[(tus::FILENAME, &name.to_string()), (tus::SHA256, &sha256)]);
            let answer = answer
                .header(tus::UPLOAD_OFFSET, size)
                .header(tus::UPLOAD_LENGTH, size);
            finish(answer.header(tus::UPLOAD_METADATA, metadata), Bytes::new())
        }
        Found::Partial(partial) => {
            // After a crash or a cut, bytes may be there that are not yet durable; the offset promises them.
            let partial = blocking(move || partial.sync()).await?;
            let answer = answer
                .header(tus::UPLOAD_OFFSET, partial.offset())
                .header(tus::UPLOAD_LENGTH, partial.announcement().size)
                .header(tus::UPLOAD_METADATA, &partial.announcement().metadata)
                .header("upload-expires", expires(shared));
            hold.put(partial);
            finish(answer, Bytes::new())
        }
    }
}

async fn receipt(shared: &Shared, name: BundleName) -> Reply {
    let slot = shared.uploads.slot(&name);
    let mut hold = slot.hold().await;
    match find(shared, &name, &mut hold).await? {
        Found::Finished(finished) => finish(
            plain(200).header(CONTENT_TYPE, tus::RECEIPT_TYPE),
            Bytes::from(finished.receipt),
        ),
        Found::Partial(partial) => {
            hold.put(partial);
            Err(Refused::Status(404, "not finished"))
        }
        Found::Nothing => Err(Refused::Status(404, "no such upload")),
    }
}

async fn patch(shared: &Shared, name: BundleName, request: Request<Incoming>) -> Reply {
    let headers = request.headers();
    if text_of(headers, CONTENT_TYPE.as_str()) != Some(tus::OFFSET_OCTETS) {
        return Err(Refused::Status(
            415,
            "a chunk has the type application/offset+octet-stream",
        ));
    }
    let offset = text_of(headers, tus::UPLOAD_OFFSET).and_then(|text| text.parse::<u64>().ok());
    let offset = offset.ok_or(Refused::Status(400, "Upload-Offset is needed"))?;
    let checksum = headers
        .get(tus::UPLOAD_CHECKSUM)
        .map(|value| Checksum::expect(value.to_str().ok()))
        .transpose()?;
    let slot = shared.uploads.slot(&name);
    let mut hold = slot.hold().await;
    let partial = match find(shared, &name, &mut hold).await? {
        Found::Nothing => return Err(Refused::Status(404, "no such upload")),
        Found::Finished(_) => {
            return Err(Refused::Status(409, "finished already; ask for the offset"));
        }
        Found::Partial(partial) => partial,
    };
    if partial.offset() != offset {
        hold.put(partial);
        return Err(Refused::Status(409, "the upload is at another offset"));
    }
    let body = request.into_body();
    if body.size_hint().lower() > partial.announcement().size - offset {
        hold.put(partial);
        return Err(Refused::Status(
            413,
            "the chunk goes beyond the announced length",
        ));
    }
    // Of a chunk that is the whole bundle, the announced digest is the checksum; it is computed once.
    let Announcement { size, sha256, .. } = partial.announcement();
    let whole = offset == 0 && body.size_hint().exact() == Some(*size);
    let checksum = checksum.filter(|checksum| !(whole && checksum.is_sha256(sha256)));
    let partial = receive(body, partial, checksum, &mut hold, shared.limits.pace).await?;
    let offset = partial.offset();
    if partial.is_complete() {
        complete(shared, &name, partial).await?;
        return finish(plain(204).header(tus::UPLOAD_OFFSET, offset), Bytes::new());
    }
    hold.put(partial);
    finish(
        plain(204)
            .header(tus::UPLOAD_OFFSET, offset)
            .header("upload-expires", expires(shared)),
        Bytes::new(),
    )
}

/// Finishes a complete upload and says so on the log.
async fn complete(shared: &Shared, name: &BundleName, partial: Partial) -> Result<(), Refused> {
    let (store, named) = (shared.store.clone(), name.clone());
    match blocking(move || store.finish(&named, partial)).await? {
        Some(finished) => {
            (shared.log)(&format!(
                "stored {name} {} sha256 {}",
                finished.size, finished.sha256
            ));
            Ok(())
        }
        None => {
            (shared.log)(&format!(
                "gave up {name}: its bytes do not have the announced digest"
            ));
            Err(Refused::Status(
                tus::CHECKSUM_MISMATCH,
                "the bundle does not have the announced digest",
            ))
        }
    }
}

/// Looks a name up. An upload whose last byte came before a crash or a cut is finished now: its client sees that every
/// byte is there, and will only ask for the receipt.
async fn find(shared: &Shared, name: &BundleName, hold: &mut Hold<'_>) -> Result<Found, Refused> {
    let found = match hold.take() {
        Some(partial) => Found::Partial(partial),
        None => look_up(shared, name).await?,
    };
    match found {
        Found::Partial(partial) if partial.is_complete() => {
            match complete(shared, name, partial).await {
                Err(Refused::Status(tus::CHECKSUM_MISMATCH, _)) => Ok(Found::Nothing),
                Err(other) => Err(other),
                Ok(()) => Ok(look_up(shared, name).await?),
            }
        }
        other => Ok(other),
    }
}

async fn look_up(shared: &Shared, name: &BundleName) -> Result<Found, StoreError> {
    let (store, name) = (shared.store.clone(), name.clone());
    blocking(move || store.find(&name)).await
}

/// Gives up what nobody has continued for [`Limits::unfinished`].
pub async fn expire(shared: &Shared) {
    let (store, age) = (shared.store.clone(), shared.limits.unfinished);
    let stale = blocking(move || store.stale_partials(age))
        .await
        .unwrap_or_default();
    for name in stale {
        match give_up(shared, &name).await {
            Ok(()) => (shared.log)(&format!(
                "gave up {name}: nothing came for {} hours",
                age.as_secs() / 3600
            )),
            Err(error) => (shared.log)(&chain(&error)),
        }
    }
}

pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(ended) => Err(StoreError::Io {
            action: "finish work on",
            path: "the store".into(),
            source: std::io::Error::other(ended),
        }),
    }
}

fn expires(shared: &Shared) -> String {
    httpdate::fmt_http_date(SystemTime::now() + shared.limits.unfinished)
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn plain(status: u16) -> Builder {
    Response::builder().status(status)
}

fn finish(builder: Builder, body: Bytes) -> Reply {
    builder
        .body(Full::new(body))
        .map_err(|_| Refused::Status(500, "no answer could be made"))
}

fn text(status: u16, why: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{why}\n"))));
    *answer.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}
