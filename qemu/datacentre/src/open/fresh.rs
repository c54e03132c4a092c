//! What a bundle brings into folders that the store does not have: built as whole folders beside the store, on all cores.
//!
//! A new patient's folder then costs one move instead of one for each file. It goes well with the plan because of this:
//! 1. A fresh folder is known to the plan as an object with a move of its own, made before any later one.
//! 2. Only files of which nothing is known are written straight into it: no other file, folder or earlier move has to do
//!    with their path. The first entry for which that is not so ends it for this bundle ([`Place::Usual`]), and the caller
//!    tells the plan of every file written until then ([`Fresh::written`]).
//! 3. What is written lies in the stage until the journal is durable: an interrupted run removes it all.

use super::plan::Plan;
use super::tree::{Tree, set_modified};
use bundle::Digest;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

/// Folders above a file that are held open while it is written; deeper files take the usual way.
const DEPTH_LIMIT: usize = 64;

/// Fewer files than this are written by one thread.
const SHARE: usize = 64;

/// Where a new file goes.
pub enum Place {
    /// Into a fresh folder; taken note of.
    Fresh,
    /// Into a folder of the store, or whatever else the plan makes of it.
    Usual,
}

enum Known {
    /// A folder, in the fresh folder with this index.
    Folder(usize),
    File,
}

struct Folder {
    /// Where it will be.
    target: Vec<u8>,
    /// Where it is built.
    on_disk: Vec<u8>,
}

/// A file that is to be written.
pub struct Written<'a> {
    pub target: Vec<u8>,
    pub on_disk: Vec<u8>,
    pub digest: Digest,
    content: &'a [u8],
    modified: Option<i64>,
}

pub struct Fresh<'a> {
    known: HashMap<Vec<u8>, Known>,
    folders: Vec<Folder>,
    files: Vec<Written<'a>>,
    ended: bool,
}

/// Positions of the separators, from the nearest upwards.
fn separators(path: &[u8]) -> impl Iterator<Item = usize> {
    (0..path.len()).rev().filter(|&at| path[at] == b'/')
}

impl<'a> Fresh<'a> {
    pub fn new() -> Self {
        Self {
            known: HashMap::new(),
            folders: Vec::new(),
            files: Vec::new(),
            ended: false,
        }
    }

    /// Takes a new file, if its folder is fresh or can be. `stage` names a place for a new folder in the stage.
    #[allow(clippy::too_many_arguments, reason = "all of one entry")]
    pub fn put(
        &mut self,
        tree: &Tree,
        plan: &mut Plan<'_>,
        target: &[u8],
        digest: Digest,
        content: &'a [u8],
        modified: Option<i64>,
        stage: &mut dyn FnMut() -> Vec<u8>,
    ) -> io::Result<Place> {
        if self.ended || separators(target).count() > DEPTH_LIMIT {
            return Ok(Place::Usual);
        }
        let Some(folder) = self.folder_of(tree, plan, target, stage)? else {
            return Ok(Place::Usual);
        };
        if self.known.contains_key(target) {
            return Ok(Place::Usual);
        }
        for at in separators(target).take_while(|&at| at > self.folders[folder].target.len()) {
            if self.known.contains_key(&target[..at]) {
                break; // a folder, and so are those above it: `folder_of` has seen them
            }
            self.known
                .insert(target[..at].to_vec(), Known::Folder(folder));
        }
        self.known.insert(target.to_vec(), Known::File);
        let Folder {
            target: above,
            on_disk,
        } = &self.folders[folder];
        let on_disk = [on_disk, &target[above.len()..]].concat();
        self.files.push(Written {
            target: target.to_vec(),
            on_disk,
            digest,
            content,
            modified,
        });
        Ok(Place::Fresh)
    }

    /// The fresh folder above a path, made where no folder of the store is nearer.
    fn folder_of(
        &mut self,
        tree: &Tree,
        plan: &mut Plan<'_>,
        target: &[u8],
        stage: &mut dyn FnMut() -> Vec<u8>,
    ) -> io::Result<Option<usize>> {
        for at in separators(target) {
            match self.known.get(&target[..at]) {
                Some(Known::Folder(folder)) => return Ok(Some(*folder)),
                Some(Known::File) => return Ok(None),
                None => {}
            }
        }
        let mut top = None;
        for at in separators(target) {
            match plan.is_folder(&target[..at])? {
                None => top = Some(at),
                Some(true) => break,
                Some(false) => return Ok(None),
            }
        }
        let Some(top) = top.map(|at| &target[..at]) else {
            return Ok(None);
        };
        if plan.has_below(top) {
            return Ok(None);
        }
        let on_disk = stage();
        tree.make_folder(&on_disk)?;
        let object = tree.look(&on_disk)?.ok_or(io::ErrorKind::NotFound)?;
        plan.put_folder(top, on_disk.clone(), object);
        self.known
            .insert(top.to_vec(), Known::Folder(self.folders.len()));
        self.folders.push(Folder {
            target: top.to_vec(),
            on_disk,
        });
        Ok(Some(self.folders.len() - 1))
    }

    /// Whether a path is in a fresh folder, is one, or is above one.
    pub fn concerns(&self, path: &[u8]) -> bool {
        let is_above = |folder: &Folder| {
            folder
                .target
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with(b"/"))
        };
        self.known.contains_key(path)
            || separators(path).any(|at| self.known.contains_key(&path[..at]))
            || self.folders.iter().any(is_above)
    }

    /// Writes what is noted. Nothing more is taken; the caller tells the plan of the files if it goes on planning.
    pub fn written(&mut self, tree: &Tree) -> io::Result<Vec<Written<'a>>> {
        self.ended = true;
        self.known.clear();
        let files = std::mem::take(&mut self.files);
        let root = tree.root();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = files.len().div_ceil(threads).max(SHARE);
        thread::scope(|scope| {
            let writers: Vec<_> = files
                .chunks(share)
                .map(|files| scope.spawn(move || write(root, files)))
                .collect();
            writers.into_iter().try_for_each(|writer| {
                writer
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a writing thread panicked")))
            })
        })?;
        Ok(files)
    }
}

/// Writes files in their order; folders are made on the way and opened once each.
fn write(root: BorrowedFd<'_>, files: &[Written<'_>]) -> io::Result<()> {
    let mut descent = Descent {
        root,
        path: Vec::new(),
        open: Vec::new(),
    };
    for file in files {
        let at = separators(&file.on_disk).next().unwrap_or(0); // it is in the stage: there is one
        let (folder, name) = (&file.on_disk[..at], &file.on_disk[at + 1..]);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut open = File::from(rustix::fs::openat(descent.to(folder)?, name, flags, mode)?);
        open.write_all(file.content)?;
        if let Some(modified) = file.modified {
            set_modified(&open, modified)?;
        }
    }
    Ok(())
}

/// The folders from the root to where a thread writes, open.
struct Descent<'a> {
    root: BorrowedFd<'a>,
    path: Vec<u8>,
    /// Length of each folder's path, and the folder.
    open: Vec<(usize, OwnedFd)>,
}

impl Descent<'_> {
    /// Goes to a folder; what is missing is made.
    fn to(&mut self, folder: &[u8]) -> io::Result<BorrowedFd<'_>> {
        let is_above = |length: usize, path: &[u8]| {
            folder.get(..length) == Some(&path[..length])
                && folder.get(length).is_none_or(|&byte| byte == b'/')
        };
        while let Some((length, _)) = self.open.last()
            && !is_above(*length, &self.path)
        {
            self.open.pop();
        }
        let mut begin = self.open.last().map_or(0, |(length, _)| length + 1);
        while begin < folder.len() {
            let end = folder[begin..]
                .iter()
                .position(|&byte| byte == b'/')
                .map_or(folder.len(), |at| begin + at);
            let above = match self.open.last() {
                Some((_, folder)) => folder.as_fd(),
                None => self.root,
            };
            let name = &folder[begin..end];
            match rustix::fs::mkdirat(above, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next = rustix::fs::openat(above, name, flags, Mode::empty())?;
            self.open.push((end, next));
            begin = end + 1;
        }
        self.path.clear();
        self.path.extend_from_slice(folder);
        Ok(match self.open.last() {
            Some((_, folder)) => folder.as_fd(),
            None => self.root,
        })
    }
}
