//! Makes written bundles durable and gives them their names, beside the sealing of the next ones.
//!
//! Invariants
//! 1. A bundle gets its name only after its bytes are durable, and after the name of the one before it is.
//! 2. The first fault is the last change: nothing after it gets a name, and it is what [`Durable::finish`] returns.
//! 3. What waits here lies in the page cache, not in this process: at most [`WAITING`] files beside the one that is synced.

use super::failure::SealFailure;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

/// Written bundles that wait for the disk. One keeps it busy; more would only be more to seal again after a cut.
const WAITING: usize = 1;

/// What is asked of the output folder, one change a call, so that a test can see their order and refuse each.
pub trait Folder: Send + Sync + 'static {
    type File: Send;

    /// Writes a bundle under its temporary name.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<Self::File>;
    fn sync(&self, file: &Self::File) -> io::Result<()>;
    /// From the temporary to the final name, which nothing else may have.
    fn rename(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync_names(&self) -> io::Result<()>;
}

struct Written<F> {
    name: String,
    file: F,
}

/// The thread that syncs, and the way to it.
pub struct Durable<F: Folder> {
    folder: Arc<F>,
    /// Both are gone after [`Durable::finish`].
    sender: Option<SyncSender<Written<F::File>>>,
    thread: Option<JoinHandle<Result<(), SealFailure>>>,
    count: Arc<AtomicU64>,
}

impl<F: Folder> Durable<F> {
    pub fn over(folder: F) -> Self {
        let folder = Arc::new(folder);
        let count = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        let thread = thread::spawn({
            let (folder, count) = (Arc::clone(&folder), Arc::clone(&count));
            move || name_all(&*folder, &receiver, &count)
        });
        Self {
            folder,
            sender: Some(sender),
            thread: Some(thread),
            count,
        }
    }

    /// Bundles that are durable under their names.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Writes the next bundle; it becomes durable later. Returns the fault of an earlier one, if there is one by now.
    pub fn put(&mut self, name: String, bytes: &[u8]) -> Result<(), SealFailure> {
        let file = match self.folder.write(&name, bytes) {
            Ok(file) => file,
            Err(source) => {
                // those before it are to become durable; where one of them cannot, that is what there is to tell
                self.finish()?;
                return Err(SealFailure::Write { name, source });
            }
        };
        match &self.sender {
            Some(sender) if sender.send(Written { name, file }).is_ok() => Ok(()),
            // the thread ends early only with a fault
            _ => self.finish(),
        }
    }

    /// Waits until everything is durable, or says what is not. Nothing can be put any more.
    pub fn finish(&mut self) -> Result<(), SealFailure> {
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

fn name_all<F: Folder>(
    folder: &F,
    written: &Receiver<Written<F::File>>,
    count: &AtomicU64,
) -> Result<(), SealFailure> {
    for Written { name, file } in written {
        folder
            .sync(&file)
            .and_then(|()| folder.rename(&name))
            .and_then(|()| folder.sync_names())
            .map_err(|source| SealFailure::Write { name, source })?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    /// Notes every change, and refuses the one with the given number and all after it: the mains are cut there.
    struct Noted {
        changes: Arc<Mutex<Vec<String>>>,
        cut_at: usize,
    }

    impl Noted {
        fn change(&self, change: String) -> io::Result<()> {
            let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
            // writing runs beside syncing, so only the changes that matter for a cut are counted
            let counted = |change: &&String| !change.starts_with("write");
            if !change.starts_with("write") && changes.iter().filter(counted).count() == self.cut_at
            {
                return Err(io::Error::other("refused"));
            }
            changes.push(change);
            Ok(())
        }
    }

    impl Folder for Noted {
        type File = String;

        fn write(&self, name: &str, _: &[u8]) -> io::Result<String> {
            self.change(format!("write {name}"))?;
            Ok(name.to_owned())
        }
        fn sync(&self, file: &String) -> io::Result<()> {
            self.change(format!("sync {file}"))
        }
        fn rename(&self, name: &str) -> io::Result<()> {
            self.change(format!("rename {name}"))
        }
        fn sync_names(&self) -> io::Result<()> {
            self.change("sync names".to_owned())
        }
    }

    const BUNDLES: usize = 5;
    const CHANGES_A_BUNDLE: usize = 3;

    /// Puts all bundles until a fault; the changes that were made beside writing, how many are durable, and the fault.
    fn run(cut_at: usize) -> (Vec<String>, u64, Result<(), SealFailure>) {
        let changes = Arc::default();
        let mut durable = Durable::over(Noted {
            changes: Arc::clone(&changes),
            cut_at,
        });
        let put = (1..=BUNDLES).try_for_each(|number| durable.put(number.to_string(), b"bytes"));
        let ended = durable.finish().and(put);
        let changes = changes.lock().unwrap().clone();
        let changes = changes.into_iter().filter(|c| !c.starts_with("write"));
        (changes.collect(), durable.count(), ended)
    }

    #[test]
    fn a_bundle_gets_its_name_after_its_bytes_are_durable_and_after_the_one_before() {
        let expected: Vec<String> = (1..=BUNDLES)
            .flat_map(|number| {
                [
                    format!("sync {number}"),
                    format!("rename {number}"),
                    "sync names".to_owned(),
                ]
            })
            .collect();
        let (changes, count, ended) = run(usize::MAX);
        assert_eq!((changes, count), (expected, BUNDLES as u64));
        assert!(ended.is_ok());
    }

    #[test]
    fn wherever_the_disk_refuses_nothing_follows_and_the_fault_names_the_bundle() {
        let (all, ..) = run(usize::MAX);
        for cut_at in 0..BUNDLES * CHANGES_A_BUNDLE {
            let (changes, count, ended) = run(cut_at);
            assert_eq!(changes, all[..cut_at]);
            assert_eq!(count as usize, cut_at / CHANGES_A_BUNDLE);
            let refused = (cut_at / CHANGES_A_BUNDLE + 1).to_string();
            assert!(matches!(ended, Err(SealFailure::Write { name, .. }) if name == refused));
        }
    }

    #[test]
    fn a_bundle_that_cannot_be_written_leaves_those_before_it_durable() {
        struct Full(Noted);
        impl Folder for Full {
            type File = String;
            fn write(&self, name: &str, bytes: &[u8]) -> io::Result<String> {
                match name {
                    "3" => Err(io::ErrorKind::StorageFull.into()),
                    _ => self.0.write(name, bytes),
                }
            }
            fn sync(&self, file: &String) -> io::Result<()> {
                self.0.sync(file)
            }
            fn rename(&self, name: &str) -> io::Result<()> {
                self.0.rename(name)
            }
            fn sync_names(&self) -> io::Result<()> {
                self.0.sync_names()
            }
        }
        let mut durable = Durable::over(Full(Noted {
            changes: Arc::default(),
            cut_at: usize::MAX,
        }));
        let put = (1..=BUNDLES).try_for_each(|number| durable.put(number.to_string(), b"bytes"));
        assert!(matches!(put, Err(SealFailure::Write { name, .. }) if name == "3"));
        assert_eq!(durable.count(), 2);
        assert!(durable.finish().is_ok());
    }
}
