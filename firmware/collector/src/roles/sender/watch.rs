//! Tells the sender what changed in the spool: numbers of bundles that were appended, and of receipts that were taken
//! away (with their bundles, or because `intake` did not accept them).
//!
//! A thread waits for the kernel's events, since the event loop's own way to wait for a bare descriptor is not free of
//! unsafe code. It keeps at most [`MOST_AGAIN`] numbers; where events were lost, it says that all is to be listed.

use super::SenderError;
use bundle::BundleName;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::mem::{MaybeUninit, take};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::Notify;

/// Longest time between two looks at the spool, should an event ever be missed.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Enough for a few dozen events at once.
const EVENTS_BYTES: usize = 4096;
/// Receipts taken away between two looks; more than that, and listing is cheaper.
const MOST_AGAIN: usize = 1024;

/// What changed since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Largest number that was appended.
    pub newest: u64,
    /// Numbers that lost their receipts, and may have to be sent again.
    pub again: Vec<u64>,
    /// Events were lost.
    pub all: bool,
}

impl Changes {
    fn event(&mut self, flags: ReadFlags, name: Option<&str>) {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.all = true;
        }
        let Some(name) = name else { return };
        if flags.contains(ReadFlags::MOVED_TO) {
            let number = name.parse::<BundleName>().map_or(0, |it| it.sequence());
            self.newest = self.newest.max(number);
        } else if let Some(bundle) = name.strip_suffix(".receipt")
            && let Ok(bundle) = bundle.parse::<BundleName>()
        {
            if self.again.len() < MOST_AGAIN {
                self.again.push(bundle.sequence());
            } else {
                self.all = true;
            }
        }
    }
}

pub struct Watch(Arc<(Mutex<Changes>, Notify)>);

impl Watch {
    pub fn new(bundles: &Path, receipts: &Path) -> Result<Self, SenderError> {
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |source: rustix::io::Errno| SenderError::Watch {
                path,
                source: source.into(),
            }
        };
        let events = inotify::init(CreateFlags::CLOEXEC).map_err(fault(bundles))?;
        inotify::add_watch(&events, bundles, WatchFlags::MOVED_TO).map_err(fault(bundles))?;
        inotify::add_watch(&events, receipts, WatchFlags::DELETE).map_err(fault(receipts))?;
        let shared = Arc::new((Mutex::new(Changes::default()), Notify::new()));
        let told = shared.clone();
        let spawned = thread::Builder::new()
            .name("sender-watch".into())
            .spawn(move || gather(&events, &told));
        spawned.map_err(|source| SenderError::Watch {
            path: bundles.to_owned(),
            source,
        })?;
        Ok(Self(shared))
    }

    /// What changed since the last call.
    pub fn take(&self) -> Changes {
        take(&mut *self.0.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends when something changed since the last call ended.
    pub async fn changed(&self) {
        self.0.1.notified().await;
    }
}

/// An error ends the thread; the spool is then listed every minute.
fn gather(events: &OwnedFd, told: &(Mutex<Changes>, Notify)) {
    let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
    let mut reader = inotify::Reader::new(events, &mut buffer);
    loop {
        match reader.next() {
            Ok(event) => {
                let name = event.file_name().and_then(|name| name.to_str().ok());
                // Numbers and a flag: no panic can leave them half changed.
                let mut changes = told.0.lock().unwrap_or_else(PoisonError::into_inner);
                changes.event(event.events(), name);
            }
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        told.1.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_bundles_and_receipts_become_numbers_and_others_nothing() {
        let mut changes = Changes::default();
        let appended = ReadFlags::MOVED_TO;
        changes.event(appended, Some("north-1-0000000007.cms"));
        changes.event(appended, Some("north-1-0000000003.cms"));
        changes.event(appended, Some(".head"));
        changes.event(ReadFlags::DELETE, Some("north-1-0000000002.cms.receipt"));
        changes.event(
            ReadFlags::DELETE,
            Some("north-1-0000000002.cms.receipt.new"),
        );
        let expected = Changes {
            newest: 7,
            again: vec![2],
            all: false,
        };
        assert_eq!(changes, expected);
    }

    #[test]
    fn lost_events_and_too_many_of_them_ask_for_a_listing() {
        let mut changes = Changes::default();
        for _ in 0..=MOST_AGAIN {
            assert!(!changes.all);
            changes.event(ReadFlags::DELETE, Some("north-1-0000000002.cms.receipt"));
        }
        assert!(changes.all && changes.again.len() == MOST_AGAIN);
        let mut changes = Changes::default();
        changes.event(ReadFlags::QUEUE_OVERFLOW, None);
        assert!(changes.all);
    }
}
