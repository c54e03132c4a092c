//! Wakes the sender when the spool changes: a bundle was appended, or a receipt was taken away with its bundle.
//!
//! A thread waits for the kernel's events, since the event loop's own way to wait for a bare descriptor is not free of
//! unsafe code.

use super::SenderError;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::Notify;

/// Longest time between two looks at the spool, should an event ever be missed.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Enough for a few dozen events; how many there were does not matter.
const EVENTS_BYTES: usize = 4096;

pub struct Watch(Arc<Notify>);

impl Watch {
    pub fn new(bundles: &Path, receipts: &Path) -> Result<Self, SenderError> {
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |source: rustix::io::Errno| SenderError::Watch {
                path,
                source: source.into(),
            }
        };
        let queue = inotify::init(CreateFlags::CLOEXEC).map_err(fault(bundles))?;
        inotify::add_watch(&queue, bundles, WatchFlags::MOVED_TO | WatchFlags::DELETE)
            .map_err(fault(bundles))?;
        inotify::add_watch(&queue, receipts, WatchFlags::DELETE).map_err(fault(receipts))?;
        let changed = Arc::new(Notify::new());
        let notify = changed.clone();
        let wait = move || {
            let mut events = [0; EVENTS_BYTES];
            // An error ends the thread; the spool is then looked at every minute.
            while rustix::io::retry_on_intr(|| rustix::io::read(&queue, &mut events))
                .is_ok_and(|got| got > 0)
            {
                notify.notify_one();
            }
        };
        let spawned = thread::Builder::new()
            .name("sender-watch".into())
            .spawn(wait);
        spawned.map_err(|source| SenderError::Watch {
            path: bundles.to_owned(),
            source,
        })?;
        Ok(Self(changed))
    }

    /// Ends when something changed since the last call ended.
    pub async fn changed(&self) {
        self.0.notified().await;
    }
}
