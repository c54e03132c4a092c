//! A ceiling on bytes a second, for the bytes of bundles as they are handed to TLS.
//!
//! Invariants
//! 1. In any stretch of time no more is let through than the rate times its length, what [`CREDIT`] saves up, and one
//!    piece.
//! 2. Deciding ([`Ceiling::admit`]) takes the time as a value; [`PacedBody`] only waits until the decided moment.
//!
//! Headers, TLS and ESP add about 3 % on the line, which the operator's figure does not count.
//!
//! Source: the generic cell rate algorithm of ITU-T I.371.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// What an idle time saves up at most. It also makes up for timers that ring late.
const CREDIT: Duration = Duration::from_millis(100);
/// Bytes let through at once: one TLS record.
const MOST_AT_ONCE: usize = 16 * 1024;
/// A chunk is no more than this time's worth of bytes, so that a window's end is noticed soon.
const CHUNK_SECONDS: u64 = 5;

/// When the next bytes may go.
#[derive(Debug)]
struct Ceiling {
    bytes_per_second: NonZeroU32,
    /// Since some origin: when all that was let through has had its time.
    free_at: Duration,
}

impl Ceiling {
    /// Books `bytes` and gives the moment at which they may go: `now`, or later.
    fn admit(&mut self, now: Duration, bytes: usize) -> Duration {
        let start = self.free_at.max(now.saturating_sub(CREDIT));
        let nanos = bytes as u64 * 1_000_000_000 / u64::from(self.bytes_per_second.get());
        self.free_at = start + Duration::from_nanos(nanos);
        start.max(now)
    }
}

/// One ceiling, over all connections of a client.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    ceiling: Arc<Mutex<Ceiling>>,
    origin: Instant,
    most_at_once: usize,
    pub(crate) chunk_bytes: u64,
}

impl Pacer {
    pub(crate) fn new(bytes_per_second: NonZeroU32) -> Self {
        let rate = bytes_per_second.get();
        Self {
            ceiling: Arc::new(Mutex::new(Ceiling {
                bytes_per_second,
                free_at: Duration::ZERO,
            })),
            origin: Instant::now(),
            // A slow line is fed ten times a second.
            most_at_once: MOST_AT_ONCE.min(rate as usize / 10).max(1),
            chunk_bytes: u64::from(rate) * CHUNK_SECONDS,
        }
    }

    fn admit(&self, bytes: usize) -> Instant {
        // One assignment cannot be left half done.
        let mut ceiling = self.ceiling.lock().unwrap_or_else(PoisonError::into_inner);
        self.origin + ceiling.admit(self.origin.elapsed(), bytes)
    }
}

/// The body of a request, at the ceiling's pace where there is one.
pub(crate) struct PacedBody {
    left: Bytes,
    pacer: Option<Pacer>,
    due: Option<Pin<Box<Sleep>>>,
}

impl PacedBody {
    pub(crate) fn new(bytes: Bytes, pacer: Option<Pacer>) -> Self {
        Self {
            left: bytes,
            pacer,
            due: None,
        }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let piece = match &self.pacer {
            None => self.left.len(),
            Some(pacer) => {
                let piece = pacer.most_at_once.min(self.left.len());
                if self.due.is_none() {
                    self.due = Some(Box::pin(sleep_until(pacer.admit(piece))));
                }
                if let Some(due) = &mut self.due {
                    ready!(due.as_mut().poll(context));
                }
                self.due = None;
                piece
            }
        };
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn rate(bytes_per_second: u32) -> NonZeroU32 {
        NonZeroU32::new(bytes_per_second).unwrap()
    }

    #[test]
    fn no_stretch_of_time_has_more_than_the_rate_the_credit_and_one_piece() {
        let mut ceiling = Ceiling {
            bytes_per_second: rate(20_000),
            free_at: Duration::ZERO,
        };
        let (mut now, mut gone, mut state) = (Duration::ZERO, Vec::new(), 7_u64);
        for _ in 0..2000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let piece = (state >> 40) as usize % 2000 + 1;
            let at = ceiling.admit(now, piece);
            assert!(at >= now);
            // Sometimes whoever waits is late, or has nothing to send for a while.
            now = at
                + Duration::from_millis(if state >> 60 == 0 {
                    700
                } else {
                    state >> 32 & 3
                });
            gone.push((at, piece));
        }
        for (first, (from, _)) in gone.iter().enumerate() {
            let mut sum = 0.0;
            for (at, piece) in &gone[first..] {
                sum += *piece as f64;
                let allowed = 20_000.0 * ((*at - *from) + CREDIT).as_secs_f64() + 2000.0;
                assert!(sum <= allowed, "{sum} bytes from {from:?} to {at:?}");
            }
        }
    }

    #[test]
    fn a_late_riser_reaches_the_rate_all_the_same() {
        let mut ceiling = Ceiling {
            bytes_per_second: rate(100_000_000),
            free_at: Duration::ZERO,
        };
        let (mut now, mut sum) = (Duration::ZERO, 0);
        while now < Duration::from_secs(1) {
            let at = ceiling.admit(now, MOST_AT_ONCE);
            sum += MOST_AT_ONCE;
            if at > now {
                // A timer of whole milliseconds.
                now = Duration::from_millis(at.as_millis() as u64 + 1);
            }
        }
        assert!((99_000_000..112_000_000).contains(&sum), "{sum}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_takes_the_time_that_its_bytes_need_and_stays_whole() {
        let pacer = Pacer::new(rate(16_000));
        let bytes: Vec<u8> = (0..80_000).map(|i| i as u8).collect();
        let start = Instant::now();
        let body = PacedBody::new(bytes.clone().into(), Some(pacer));
        assert_eq!(body.size_hint().exact(), Some(80_000));
        let arrived = body.collect().await.unwrap().to_bytes();
        let took = start.elapsed();
        assert_eq!(arrived, bytes);
        assert!(
            took > Duration::from_millis(4700) && took < Duration::from_millis(5100),
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn two_bodies_of_one_client_share_its_ceiling() {
        let pacer = Pacer::new(rate(16_000));
        let start = Instant::now();
        let body = || PacedBody::new(vec![1; 16_000].into(), Some(pacer.clone())).collect();
        let (one, other) = tokio::join!(body(), body());
        assert_eq!(
            (
                one.unwrap().to_bytes().len(),
                other.unwrap().to_bytes().len()
            ),
            (16_000, 16_000)
        );
        assert!(
            start.elapsed() > Duration::from_millis(1700),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_ceiling_goes_at_once_and_in_one_piece() {
        let start = Instant::now();
        let mut body = PacedBody::new(vec![1; 100_000].into(), None);
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap().len(), 100_000);
        assert!(body.is_end_stream() && body.frame().await.is_none());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
