//! One chunk on its way from the network to the disk.
//!
//! 1. Never more than two batches of a chunk are in memory: one being received, one being written.
//! 2. A client that sends, but less than [`PACE_BYTES`] in each [`super::limits::Limits::pace`], is cut off: a slow line is
//!    faster, and somebody who trickles bytes to hold a place is not.
//! 3. What a broken-off chunk left is kept (TLS vouches for each byte, and the digest over all for the whole), so that an
//!    upload goes on at any byte; a chunk that arrived whole with a wrong checksum is taken back.

use super::http::{Refused, blocking};
use super::limits::PACE_BYTES;
use super::store::{Partial, StoreError};
use super::uploads::Hold;
use aws_lc_rs::digest;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use upload::tus;

/// Bytes that are written and hashed in one step while the next are received.
const BATCH_BYTES: usize = 256 * 1024;

/// Takes a chunk in and makes it durable. Writing and hashing one batch overlaps with receiving the next.
pub async fn receive(
    mut body: Incoming,
    partial: Partial,
    checksum: Option<Checksum>,
    hold: &mut Hold<'_>,
    pace: Duration,
) -> Result<Partial, Refused> {
    let mark = partial.mark();
    let room = partial.announcement().size - partial.offset();
    let mut writer = Writer::Idle(Box::new((partial, checksum)));
    let (mut batch, mut batched, mut received) = (Vec::new(), 0, 0u64);
    let (mut deadline, mut due) = (Instant::now() + pace, PACE_BYTES);
    let end = loop {
        let frame = tokio::select! {
            frame = timeout_at(deadline, body.frame()) => frame,
            () = hold.evicted() => break Err(Refused::BrokenOff("a newer request took over")),
        };
        let data = match frame {
            Err(_) => break Err(Refused::BrokenOff("too slow")),
            Ok(None) => break Ok(()),
            Ok(Some(Err(_))) => break Err(Refused::BrokenOff("the chunk broke off")),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        received += data.len() as u64;
        if received > room {
            break Err(Refused::Status(
                413,
                "the chunk goes beyond the announced length",
            ));
        }
        if received >= due {
            (deadline, due) = (Instant::now() + pace, received + PACE_BYTES);
        }
        batched += data.len();
        batch.push(data);
        if batched >= BATCH_BYTES {
            let begun = Instant::now();
            writer = writer.write(std::mem::take(&mut batch)).await?;
            batched = 0;
            // A slow disk is not the client's fault.
            deadline += begun.elapsed();
        }
    };
    let (mut partial, checksum) = writer.write(batch).await?.join().await?;
    match end {
        Err(Refused::Status(status, why)) => {
            hold.put(blocking(move || partial.roll_back(mark).map(|()| partial)).await?);
            return Err(Refused::Status(status, why));
        }
        Err(broken_off) => {
            hold.put(partial);
            return Err(broken_off);
        }
        Ok(()) => {}
    }
    if checksum.is_some_and(|checksum| !checksum.fits()) {
        partial = blocking(move || partial.roll_back(mark).map(|()| partial)).await?;
        hold.put(partial);
        return Err(Refused::Status(
            tus::CHECKSUM_MISMATCH,
            "the chunk's checksum is wrong",
        ));
    }
    if partial.is_complete() {
        // It is synced when it is finished.
        return Ok(partial);
    }
    Ok(blocking(move || partial.sync()).await?)
}

/// An upload that a thread may be writing to.
enum Writer {
    Idle(Box<(Partial, Option<Checksum>)>),
    Busy(tokio::task::JoinHandle<Result<(Partial, Option<Checksum>), StoreError>>),
}

impl Writer {
    /// Waits for the batch before, then starts this one.
    async fn write(self, batch: Vec<Bytes>) -> Result<Self, Refused> {
        let (mut partial, mut checksum) = self.join().await?;
        Ok(Self::Busy(tokio::task::spawn_blocking(move || {
            partial.append(&batch)?;
            if let Some(checksum) = &mut checksum {
                batch.iter().for_each(|part| checksum.context.update(part));
            }
            Ok((partial, checksum))
        })))
    }

    async fn join(self) -> Result<(Partial, Option<Checksum>), Refused> {
        match self {
            Self::Idle(both) => Ok(*both),
            Self::Busy(task) => Ok(task
                .await
                .map_err(|_| Refused::Status(500, "the writer ended"))??),
        }
    }
}

/// The digest that a client announced for a chunk, and the one so far.
pub struct Checksum {
    context: digest::Context,
    expected: Vec<u8>,
}

impl Checksum {
    pub fn expect(header: Option<&str>) -> Result<Self, Refused> {
        let parsed = header.and_then(tus::parse_checksum);
        let (algorithm, expected) = parsed.ok_or(Refused::Status(
            400,
            "Upload-Checksum is no algorithm and digest",
        ))?;
        let algorithm = match algorithm {
            "sha256" => &digest::SHA256,
            // The protocol obliges every server to know it.
            "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            _ => {
                return Err(Refused::Status(
                    400,
                    "Upload-Checksum knows sha256 and sha1",
                ));
            }
        };
        Ok(Self {
            context: digest::Context::new(algorithm),
            expected,
        })
    }

    /// Whether a SHA-256 of these hexadecimal digits is expected.
    pub fn is_sha256(&self, digits: &str) -> bool {
        *self.context.algorithm() == digest::SHA256 && tus::hex(&self.expected) == digits
    }

    fn fits(self) -> bool {
        self.context.finish().as_ref() == self.expected
    }
}
