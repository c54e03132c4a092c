//! From what is there and what a bundle says to a list of moves. Decides only: nothing is changed here.
//!
//! The plan keeps what the store will look like after the moves so far (`overlay`) above what it looks like now.

use super::moves::Move;
use super::tree::{Object, Tree};
use bundle::{Digest, Hasher};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// What will be at a path after the moves so far.
#[derive(Clone, Debug)]
enum Slot {
    Absent,
    /// An object, where it lies on the disk now, and its digest if it came with this bundle.
    Here {
        object: Object,
        on_disk: Vec<u8>,
        digest: Option<Digest>,
    },
}

/// A verified file on the disk that waits for its place.
pub struct Staged {
    pub object: Object,
    pub path: Vec<u8>,
    pub digest: Digest,
}

/// What came of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Written,
    Replaced,
    Unchanged,
    Renamed,
    Removed,
    /// There was nothing to rename or to remove.
    Absent,
}

/// Names that the plan gives to what it sets aside.
pub struct Aside {
    /// `.versions/<box>/<source>/<sequence>-<entry>`
    pub versions: Vec<u8>,
    /// `.removed/<box>/<source>/<sequence>-<entry>`
    pub removed: Vec<u8>,
}

pub struct Plan<'a> {
    tree: &'a Tree,
    overlay: BTreeMap<Vec<u8>, Slot>,
    moves: Vec<Move>,
}

fn join(folder: &[u8], path: &[u8]) -> Vec<u8> {
    [folder, b"/", path].concat()
}

impl<'a> Plan<'a> {
    pub fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            overlay: BTreeMap::new(),
            moves: Vec::new(),
        }
    }

    pub fn into_moves(self) -> Vec<Move> {
        self.moves
    }

    /// Puts a staged file at `root/path`; what is in its way is set aside.
    pub fn put(
        &mut self,
        root: &[u8],
        path: &[u8],
        staged: Staged,
        aside: &Aside,
    ) -> io::Result<Outcome> {
        self.clear_above(root, path, aside)?;
        let target = join(root, path);
        if let Slot::Here {
            object,
            on_disk,
            digest,
        } = self.slot(&target)?
            && !object.is_folder
            && object.bytes == staged.object.bytes
            && self.digest(&on_disk, digest)? == staged.digest
        {
            return Ok(Outcome::Unchanged);
        }
        let outcome = self.vacate(&target, path, aside)?;
        self.moves.push(Move {
            inode: staged.object.inode,
            from: staged.path.clone(),
            to: target.clone(),
        });
        let slot = Slot::Here {
            object: staged.object,
            on_disk: staged.path,
            digest: Some(staged.digest),
        };
        self.overlay.insert(target, slot);
        Ok(outcome)
    }

    /// What will be at a path: a folder, something else, or nothing.
    pub fn is_folder(&self, path: &[u8]) -> io::Result<Option<bool>> {
        Ok(match self.slot(path)? {
            Slot::Here { object, .. } => Some(object.is_folder),
            Slot::Absent => None,
        })
    }

    /// Whether a move so far has to do with a path or anything below it.
    pub fn has_below(&self, path: &[u8]) -> bool {
        let below = join(path, b"");
        let next = self.overlay.range(below.clone()..).next();
        self.overlay.contains_key(path) || next.is_some_and(|(next, _)| next.starts_with(&below))
    }

    /// Puts a folder from the stage where nothing is.
    pub fn put_folder(&mut self, target: &[u8], on_disk: Vec<u8>, object: Object) {
        self.moves.push(Move {
            inode: object.inode,
            from: on_disk.clone(),
            to: target.to_vec(),
        });
        let slot = Slot::Here {
            object,
            on_disk,
            digest: None,
        };
        self.overlay.insert(target.to_vec(), slot);
    }

    /// Takes note of a file that is in such a folder.
    pub fn know(&mut self, target: Vec<u8>, staged: Staged) {
        let slot = Slot::Here {
            object: staged.object,
            on_disk: staged.path,
            digest: Some(staged.digest),
        };
        self.overlay.insert(target, slot);
    }

    /// Renames a file within a root; what is at the new name is set aside.
    pub fn rename(
        &mut self,
        root: &[u8],
        from: &[u8],
        to: &[u8],
        aside: &Aside,
    ) -> io::Result<Outcome> {
        let (mut source, target) = (join(root, from), join(root, to));
        if from == to || !self.is_file(&source)? {
            return Ok(Outcome::Absent);
        }
        let below = |path: &[u8], folder: &[u8]| path.starts_with(&join(folder, b""));
        if below(&target, &source) || below(&source, &target) {
            // one stands where the other's folder is: out of the way first
            let place = join(&aside.versions, from);
            self.shift(&source, place.clone())?;
            source = place;
        }
        self.clear_above(root, to, aside)?;
        self.vacate(&target, to, aside)?;
        self.shift(&source, target)?;
        Ok(Outcome::Renamed)
    }

    /// Sets aside the file at `root/path`. A folder there is not meant: it holds files that were told of since.
    pub fn remove(&mut self, root: &[u8], path: &[u8], aside: &Aside) -> io::Result<Outcome> {
        let target = join(root, path);
        if !self.is_file(&target)? {
            return Ok(Outcome::Absent);
        }
        self.shift(&target, join(&aside.removed, path))?;
        Ok(Outcome::Removed)
    }

    /// Sets aside files that stand where folders are needed: the hospital must have removed them before.
    fn clear_above(&mut self, root: &[u8], path: &[u8], aside: &Aside) -> io::Result<()> {
        // from the nearest upwards: above a folder there are only folders
        for at in (0..path.len()).rev().filter(|&at| path[at] == b'/') {
            let folder = join(root, &path[..at]);
            match self.slot(&folder)? {
                Slot::Here { object, .. } if object.is_folder => return Ok(()),
                Slot::Here { .. } => {
                    return self.shift(&folder, join(&aside.removed, &path[..at]));
                }
                Slot::Absent => {}
            }
        }
        Ok(())
    }

    /// Sets aside what stands at a path: a file as a version, a folder with all that is in it as removed.
    fn vacate(&mut self, target: &[u8], path: &[u8], aside: &Aside) -> io::Result<Outcome> {
        let outcome = match self.slot(target)? {
            Slot::Here { object, .. } if object.is_folder => {
                self.shift(target, join(&aside.removed, path))?;
                Outcome::Written
            }
            Slot::Here { .. } => {
                self.shift(target, join(&aside.versions, path))?;
                Outcome::Replaced
            }
            Slot::Absent => Outcome::Written,
        };
        // a folder that only comes to be by the moves before has no object to move: its files go one by one
        for known in self.known_below(target) {
            let place = [&aside.removed, &b"/"[..], path, &known[target.len()..]].concat();
            self.shift(&known, place)?;
        }
        Ok(outcome)
    }

    /// Paths below a folder at which the overlay has an object.
    fn known_below(&self, folder: &[u8]) -> Vec<Vec<u8>> {
        let below = join(folder, b"");
        self.overlay
            .range(below.clone()..)
            .take_while(|(path, _)| path.starts_with(&below))
            .filter(|(_, slot)| matches!(slot, Slot::Here { .. }))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Moves what is at a path, and all that the overlay knows below it, to a path where nothing is.
    fn shift(&mut self, from: &[u8], to: Vec<u8>) -> io::Result<()> {
        let slot = self.slot(from)?;
        let Slot::Here { object, .. } = &slot else {
            return Ok(());
        };
        self.moves.push(Move {
            inode: object.inode,
            from: from.to_vec(),
            to: to.clone(),
        });
        let below = join(from, b"");
        let known: Vec<Vec<u8>> = self
            .overlay
            .range(below.clone()..)
            .take_while(|(path, _)| path.starts_with(&below))
            .map(|(path, _)| path.clone())
            .collect();
        for path in known {
            if let Some(slot) = self.overlay.remove(&path) {
                self.overlay.insert(join(&to, &path[below.len()..]), slot);
            }
        }
        self.overlay.insert(from.to_vec(), Slot::Absent);
        self.overlay.insert(to, slot);
        Ok(())
    }

    fn slot(&self, path: &[u8]) -> io::Result<Slot> {
        if let Some(slot) = self.overlay.get(path) {
            return Ok(slot.clone());
        }
        let mut on_disk = path.to_vec();
        for at in (0..path.len()).rev().filter(|&at| path[at] == b'/') {
            match self.overlay.get(&path[..at]) {
                None => {}
                Some(Slot::Here {
                    object,
                    on_disk: folder,
                    ..
                }) if object.is_folder => {
                    on_disk = join(folder, &path[at + 1..]);
                    break;
                }
                Some(_) => return Ok(Slot::Absent),
            }
        }
        Ok(match self.tree.look(&on_disk)? {
            Some(object) => Slot::Here {
                object,
                on_disk,
                digest: None,
            },
            None => Slot::Absent,
        })
    }

    fn is_file(&self, path: &[u8]) -> io::Result<bool> {
        Ok(matches!(self.slot(path)?, Slot::Here { object, .. } if !object.is_folder))
    }

    fn digest(&self, on_disk: &[u8], known: Option<Digest>) -> io::Result<Digest> {
        match known {
            Some(digest) => Ok(digest),
            None => digest_of(&mut self.tree.read(on_disk)?),
        }
    }
}

/// SHA-256 of a file from where it stands to its end.
pub fn digest_of(file: &mut impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&buffer[..length]),
        }
    }
}
