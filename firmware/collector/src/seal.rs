//! `collector seal`: seals folders natively, by hand, with the same code as on the box.
//!
//! Invariants
//! 1. Sequence numbers go on from the last bundle in the output folder, whose digest becomes the next one's `previous`.
//! 2. A bundle appears under its name only when it is whole and durable, and after the one before it: temporary name,
//!    fsync, rename, fsync of the folder. One run at a time writes into a folder.
//! 3. Memory is bounded whatever the folders hold: a bundle in the making for each reading thread, one that waits, one
//!    that is sealed. Their memory is used again. `tests/tests/large_file.rs` holds the figure.
//! 4. What cannot be sealed is told of, counted and left out; it stops nothing else.
//!
//! The threads that read also hash and compress, each for a bundle of its own (`reader`); this one encrypts, signs and
//! writes them in the order in which they come; another waits for the disk and gives them their names (`durable`). The
//! manifest's order is that of the folders within a thread's share.
//! Messages name sources and counts, not files: names in a store contain patient IDs.

mod bundles;
mod durable;
mod failure;
mod order;
mod pending;
mod progress;
mod reader;

use crate::runtime::chain;
use bundles::Bundles;
use failure::SealFailure;
use order::{HELP, Order};
use pending::{Item, Kind, Pending};
use progress::Progress;
use reader::{Common, Counts, Message, Rooms};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

/// Reading threads. Each holds a bundle in the making, so more of them need more memory.
const READERS_LIMIT: usize = 2;

/// Bundles that wait for being sealed.
const WAITING_BUNDLES: usize = 1;

/// The command.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let done = Order::parse(arguments).and_then(|order| order.map(seal).transpose());
    match done {
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some(0)) => ExitCode::SUCCESS,
        Ok(Some(_)) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("collector seal: {}", chain(&error));
            match error {
                SealFailure::Line(_) | SealFailure::Missing(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Seals what is ordered; the number of problems.
fn seal(order: Order) -> Result<u64, SealFailure> {
    allow_deep_folders();
    let bundles = Bundles::open(order.sealer, order.out)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(READERS_LIMIT);
    let (sender, receiver) = mpsc::sync_channel(WAITING_BUNDLES);
    let mut roots = Vec::new();
    let mut problems = 0;
    // the last is taken first
    for (source, folder) in order.folders.iter().enumerate().rev() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(folder, flags, Mode::empty()) {
            Ok(folder) => roots.push(Item {
                source,
                parent: Arc::new(folder),
                path: Vec::new(),
                name_at: 0,
                kind: Kind::Folder,
            }),
            Err(error) => {
                let folder = folder.display();
                eprintln!("collector seal: {folder} cannot be read and is left out: {error}");
                problems += 1;
            }
        }
    }
    let common = Common {
        pending: Pending::new(roots, threads),
        counts: Counts::default(),
        rooms: Rooms::default(),
        sources: order.sources,
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            let (common, sender) = (&common, sender.clone());
            scope.spawn(move || reader::run(common, sender));
        }
        drop(sender);
        // returning early drops the receiver, at which the readers end
        Work {
            common: &common,
            bundles,
            problems,
            progress: Progress::new(),
        }
        .take_all(receiver)
    })
}

/// A folder is open while what is below it is read, so paths of one-letter folders need many descriptors.
fn allow_deep_folders() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // without it, a folder that is too deep is a problem that is told of
    let _ = rustix::process::setrlimit(Resource::Nofile, wanted);
}

struct Work<'a> {
    common: &'a Common,
    bundles: Bundles,
    problems: u64,
    progress: Progress,
}

impl Work<'_> {
    fn take_all(mut self, messages: Receiver<Message>) -> Result<u64, SealFailure> {
        let taken = self.take_each(messages);
        // what is written becomes durable, whatever ended the rest
        let durable = self.bundles.finish();
        self.progress.clear();
        durable.and(taken)?;
        let (files, bytes) = self.counts();
        let (bundles, problems) = (self.bundles.durable(), self.problems);
        println!(
            "sealed {files} files with {bytes} bytes in {bundles} bundles; {problems} problems"
        );
        Ok(problems)
    }

    fn take_each(&mut self, messages: Receiver<Message>) -> Result<(), SealFailure> {
        loop {
            match messages.recv_timeout(progress::PERIOD) {
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let (files, bytes) = self.counts();
            self.progress.show(files, bytes, self.bundles.durable());
        }
    }

    fn counts(&self) -> (u64, u64) {
        let Counts { files, bytes } = &self.common.counts;
        (files.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }

    fn take(&mut self, message: Message) -> Result<(), SealFailure> {
        match message {
            Message::Closed(closed) => {
                let room = self.bundles.write(closed)?;
                self.common.rooms.give(room);
                Ok(())
            }
            Message::Problem { source, what, why } => {
                self.problems += 1;
                self.progress.clear();
                let source = &self.common.sources[source].name;
                eprintln!("collector seal: source {source}: {what}: {why}");
                Ok(())
            }
            Message::Failed(error) => Err(SealFailure::Draft(error)),
        }
    }
}
