//! Who may touch an upload now: one request at a time for each name, and the newest request wins.
//!
//! A box whose connection broke comes back on a new one while the old one still looks alive here. So a new request
//! evicts the old: the old one stops reading, leaves what it has on the disk, and gives the lock away. Only the same box
//! can do this, since names are bound to it.

use super::store::Partial;
use bundle::{BoxName, BundleName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{MutexGuard, watch};

/// Idle entries are dropped above this number; each holds one open file.
pub const IDLE_LIMIT: usize = 256;

#[derive(Default)]
pub struct Uploads {
    slots: Mutex<HashMap<BundleName, Arc<Slot>>>,
    /// One lock a box; there are as many as certificates.
    turns: Mutex<HashMap<BoxName, Arc<tokio::sync::Mutex<()>>>>,
}

/// One name.
pub struct Slot {
    newest: watch::Sender<u64>,
    partial: tokio::sync::Mutex<Option<Partial>>,
}

/// The right to touch one upload, until a newer request wants it.
pub struct Hold<'a> {
    partial: MutexGuard<'a, Option<Partial>>,
    ticket: u64,
    newest: watch::Receiver<u64>,
}

impl Uploads {
    pub fn slot(&self, name: &BundleName) -> Arc<Slot> {
        // A panic elsewhere cannot leave the map half-changed.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= IDLE_LIMIT {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        let fresh = || {
            Arc::new(Slot {
                newest: watch::Sender::new(0),
                partial: tokio::sync::Mutex::new(None),
            })
        };
        slots.entry(name.clone()).or_insert_with(fresh).clone()
    }

    /// A box announces one bundle at a time, so that two cannot both take the last of its share. Taken before a slot.
    pub fn turn(&self, client: &BoxName) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(client.clone()).or_default().clone()
    }
}

impl Slot {
    /// Evicts whoever holds the name, waits until it is free, and takes it.
    pub async fn hold(&self) -> Hold<'_> {
        let mut ticket = 0;
        self.newest.send_modify(|newest| {
            *newest += 1;
            ticket = *newest;
        });
        let newest = self.newest.subscribe();
        Hold {
            partial: self.partial.lock().await,
            ticket,
            newest,
        }
    }
}

impl Hold<'_> {
    /// The open upload, kept from an earlier request so that its digest need not be computed again.
    pub fn take(&mut self) -> Option<Partial> {
        self.partial.take()
    }

    pub fn put(&mut self, partial: Partial) {
        *self.partial = Some(partial);
    }

    /// Ends when a newer request wants the upload.
    pub async fn evicted(&mut self) {
        let ticket = self.ticket;
        // The sender lives in the slot, which outlives this borrow, so an error cannot come; and would mean the same.
        let _ = self.newest.wait_for(|newest| *newest != ticket).await;
    }
}
