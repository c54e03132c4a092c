//! Hints by inotify, where a source is a folder of this machine. On a share of another machine inotify sees nothing of what
//! others write, so that none is set up there.
//!
//! Invariants
//! 1. At most [`WATCHES`] folders of a source are watched, each of which costs kernel memory; beyond it the walk is relied on,
//!    and that is said once.
//! 2. A folder is watched before it is hinted: whatever is put into it later is seen by the watch, and what was there
//!    already by the look.
//! 3. No link is followed. The events queue is bounded; one that overflows is the word "too many".

use super::super::collection::Settings;
use super::super::share::Root;
use super::super::world::World;
use super::{Hints, Origin};
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Config, Event, EventKind, INotifyWatcher, RecursiveMode, Watcher};
use std::collections::{HashSet, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Folders watched of one source: about 1 KiB of kernel memory each, and the path twice.
const WATCHES: usize = 8192;

/// Events that wait to be worked on.
const EVENTS: usize = 4096;

/// Local folders are there from the start, or soon after it.
const MOUNTING: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// File systems on which other machines write behind this kernel's back: NFS, SMB, and whatever a process serves.
const REMOTE: [i64; 4] = [0x6969, 0xFE53_4D42, 0xFF53_4D42, 0x6573_5546];

/// Watches those sources that are local, each in a thread of its own that ends with the process. Only that thread asks the
/// share, which may not answer.
pub fn start(
    world: &(impl World + Clone + Send + 'static),
    settings: &Settings,
    hints: &[Arc<Hints>],
) {
    for (source, hints) in settings.sources.iter().zip(hints) {
        let (world, hints, source) = (world.clone(), Arc::clone(hints), source.clone());
        let (mounts, rule) = (settings.mounts.clone(), settings.mount_rule);
        let watch = move || {
            let is_there = || Root::open(&mounts, rule, &source.mount, &source.path).is_ok();
            let root = mounts.join(&source.mount).join(&source.path);
            while !is_there() {
                if world.uptime() > MOUNTING {
                    return;
                }
                world.pause(LOOK_AGAIN);
            }
            if !is_local(&root) {
                return;
            }
            let name = &source.name;
            if let Err(error) = watch(&world, &root, name, &hints, WATCHES) {
                let why = error.kind;
                world.log(&format!(
                    "source {name}: no inotify ({why:?}); walks find everything"
                ));
            }
        };
        // without a thread there are no hints, and nothing is lost
        let _ = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(watch);
    }
}

/// Whether only this machine's kernel writes there. What cannot be told is taken for remote.
pub fn is_local(root: &Path) -> bool {
    rustix::fs::statfs(root).is_ok_and(|facts| {
        #[allow(clippy::useless_conversion)] // the field's width differs by machine
        let kind = i64::from(facts.f_type) & 0xFFFF_FFFF;
        !REMOTE.contains(&kind)
    })
}

/// Watches one root until the watcher breaks.
fn watch(
    world: &impl World,
    root: &Path,
    name: &str,
    hints: &Hints,
    most: usize,
) -> Result<(), notify::Error> {
    let (sender, receiver) = sync_channel(EVENTS);
    let lost = Arc::new(AtomicBool::new(false));
    let losing = Arc::clone(&lost);
    let tell = move |event: notify::Result<Event>| {
        let is_told = match event {
            Ok(event) if event.need_rescan() => false,
            Ok(event) => !is_change(event.kind) || sender.try_send(event).is_ok(),
            Err(_) => false,
        };
        if !is_told {
            // the kernel's queue or ours is full: what waits in ours is worked on after this is set
            losing.store(true, Ordering::Release);
        }
    };
    let config = Config::default().with_follow_symlinks(false);
    let mut watch = Watch {
        inotify: INotifyWatcher::new(tell, config)?,
        root,
        watched: HashSet::new(),
        most,
        full: false,
    };
    watch.add_tree(root.to_path_buf());
    world.log(&format!(
        "source {name}: {} folders have inotify",
        watch.watched.len()
    ));
    let mut told = false;
    loop {
        if watch.full && !told {
            told = true;
            world.log(&format!(
                "source {name}: there are more folders than may have inotify ({most}); walks find what changes in the others"
            ));
        }
        if !watch.next(&receiver, hints) {
            return Ok(());
        }
        if lost.swap(false, Ordering::Acquire) {
            // folders may have been made unseen; the walk that follows finds what is in them
            watch.add_tree(root.to_path_buf());
            hints.too_many(Origin::Local);
        }
    }
}

/// Our own reading makes events too.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        // a permission or a time of last access is no content
        EventKind::Modify(ModifyKind::Metadata(_)) => false,
        _ => true,
    }
}

struct Watch<'a> {
    inotify: INotifyWatcher,
    root: &'a Path,
    watched: HashSet<PathBuf>,
    most: usize,
    full: bool,
}

impl Watch<'_> {
    /// Works on the next event; `false`: none will come any more.
    fn next(&mut self, receiver: &Receiver<Event>, hints: &Hints) -> bool {
        let Ok(event) = receiver.recv() else {
            return false;
        };
        for path in &event.paths {
            if takes_a_name(event.kind) {
                self.watched.remove(path);
            }
            if makes_a_name(event.kind) && is_folder(path) {
                self.add_tree(path.clone());
            }
            if let Ok(below) = path.strip_prefix(self.root) {
                hints.changed(Origin::Local, below.as_os_str().as_bytes());
            }
        }
        true
    }

    /// Watches a folder and all in it, the upper ones first, as far as the limit goes.
    fn add_tree(&mut self, top: PathBuf) {
        let mut folders = VecDeque::from([top]);
        while let Some(folder) = folders.pop_front() {
            if !self.watched.contains(&folder) {
                if self.watched.len() >= self.most {
                    self.full = true;
                    return;
                }
                match self.inotify.watch(&folder, RecursiveMode::NonRecursive) {
                    Ok(()) => self.watched.insert(folder.clone()),
                    // it is gone again, or the kernel's own limit is reached
                    Err(_) if !is_folder(&folder) => continue,
                    Err(_) => {
                        self.full = true;
                        return;
                    }
                };
            }
            let room = self.most + 1 - folders.len().min(self.most);
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let is_folder =
                |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|of| of.is_dir());
            folders.extend(
                entries
                    .filter(is_folder)
                    .map(|entry| entry.path())
                    .take(room),
            );
        }
    }
}

fn is_folder(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|of| of.is_dir())
}

fn takes_a_name(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
    )
}

fn makes_a_name(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(_)
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Any))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_folder_is_local_and_what_is_not_there_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_local(folder.path()));
        assert!(!is_local(&folder.path().join("missing")));
    }

    #[test]
    fn reading_is_no_change() {
        assert!(!is_change(EventKind::Access(AccessKind::Open(
            AccessMode::Any
        ))));
        assert!(!is_change(EventKind::Access(AccessKind::Close(
            AccessMode::Read
        ))));
        assert!(is_change(EventKind::Access(AccessKind::Close(
            AccessMode::Write
        ))));
        assert!(is_change(EventKind::Create(
            notify::event::CreateKind::File
        )));
    }
}
