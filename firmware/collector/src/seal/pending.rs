//! Entries of the folders that wait to be read, shared out among the threads that read them.
//!
//! Each thread walks depth first with a stack of its own and takes nothing from others while that lasts. One that has
//! run out is given the far half of another's stack: whole subtrees that are reached last.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Other,
}

/// An entry of an open folder.
pub struct Item {
    pub source: usize,
    /// The folder that it is in. It stays open until its last entry is read.
    pub parent: Arc<OwnedFd>,
    /// Path below the source's root, raw bytes; empty for the root itself.
    pub path: Vec<u8>,
    /// Where in `path` its name begins.
    pub name_at: usize,
    pub kind: Kind,
}

impl Item {
    /// What to open below `parent`.
    pub fn name(&self) -> &[u8] {
        match &self.path[self.name_at..] {
            b"" => b".",
            name => name,
        }
    }
}

/// What is between the threads.
pub struct Pending {
    shared: Mutex<Shared>,
    wake: Condvar,
    hungry: AtomicBool,
    threads: usize,
}

struct Shared {
    items: Vec<Item>,
    waiting: usize,
    ended: bool,
}

impl Pending {
    pub fn new(items: Vec<Item>, threads: usize) -> Self {
        Self {
            shared: Mutex::new(Shared {
                items,
                waiting: 0,
                ended: false,
            }),
            wake: Condvar::new(),
            hungry: AtomicBool::new(false),
            threads,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // whoever panicked left whole items or took them
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for items. `None`: all threads wait, so nothing is left, or [`Pending::end`] was called.
    pub fn take(&self) -> Option<Vec<Item>> {
        let mut shared = self.lock();
        shared.waiting += 1;
        loop {
            if !shared.ended && !shared.items.is_empty() {
                shared.waiting -= 1;
                return Some(std::mem::take(&mut shared.items));
            }
            if shared.ended || shared.waiting == self.threads {
                drop(shared);
                self.end();
                return None;
            }
            self.hungry.store(true, Ordering::Relaxed);
            shared = self
                .wake
                .wait(shared)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether a thread waits.
    pub fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Relaxed)
    }

    /// Gives items to whoever waits.
    pub fn give(&self, items: impl Iterator<Item = Item>) {
        let mut shared = self.lock();
        shared.items.extend(items);
        self.hungry.store(shared.waiting > 1, Ordering::Relaxed);
        drop(shared);
        self.wake.notify_one();
    }

    /// Nothing more is wanted.
    pub fn end(&self) {
        self.lock().ended = true;
        self.wake.notify_all();
    }
}
