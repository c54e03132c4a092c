//! Moves, and the journal that makes them happen exactly once.
//!
//! A move names the object by its inode. So a move that is done again after a crash can tell whether it was done: the
//! object is at its end, or at its start, or a later move took it on. Inodes are not reused meanwhile, because no move
//! deletes anything.
//!
//! Journal, as text: `<sequence> <digest>\n`, or of a lost bundle `<sequence>-<digest>\n`, then for each move `<inode>\t<from>\t<to>\n` in the manifest's spelling of
//! paths, then `end\n`. It is written beside its place, made durable, and renamed.

use super::tree::Tree;
use bundle::Digest;
use bundle::path::{escape_onto, unescape};
use std::io::{self, Write};

/// An object goes from one path to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub inode: u64,
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

impl Move {
    /// Does the move unless it was done.
    pub fn ensure(&self, tree: &Tree) -> io::Result<()> {
        let is_at = |path: &[u8]| {
            Ok::<_, io::Error>(
                tree.look(path)?
                    .is_some_and(|object| object.inode == self.inode),
            )
        };
        if is_at(&self.to)? || !is_at(&self.from)? {
            return Ok(());
        }
        let above = self
            .to
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(&b""[..], |at| &self.to[..at]);
        tree.make_folder(above)?;
        match tree.rename(&self.from, &self.to) {
            // folders that earlier moves left empty may stand there: the plan moved everything else away
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                tree.delete_empty_folders(&self.to)?;
                tree.rename(&self.from, &self.to)
            }
            done => done,
        }
    }
}

/// What became of a bundle of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Applied,
    /// A later bundle reported that it no longer exists.
    Lost,
}

impl Fate {
    /// What stands between number and digest.
    pub fn mark(self) -> char {
        match self {
            Self::Applied => ' ',
            Self::Lost => '-',
        }
    }
}

/// What is to be done for one bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    pub sequence: u64,
    pub digest: Digest,
    pub fate: Fate,
    pub moves: Vec<Move>,
}

impl Journal {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out =
            format!("{}{}{}\n", self.sequence, self.fate.mark(), self.digest).into_bytes();
        for Move { inode, from, to } in &self.moves {
            out.extend_from_slice(inode.to_string().as_bytes());
            out.push(b'\t');
            escape_onto(&mut out, from);
            out.push(b'\t');
            escape_onto(&mut out, to);
            out.push(b'\n');
        }
        out.extend_from_slice(b"end\n");
        out
    }

    /// Reads a journal; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix("end\n")?.lines();
        let head = lines.next()?;
        let (fate, (sequence, digest)) = [Fate::Applied, Fate::Lost]
            .into_iter()
            .find_map(|fate| Some((fate, head.split_once(fate.mark())?)))?;
        let mut moves = Vec::new();
        for line in lines {
            let mut fields = line.split('\t');
            let (inode, from, to) = (fields.next()?, fields.next()?, fields.next()?);
            moves.push(Move {
                inode: inode.parse().ok()?,
                from: unescape(from).ok()?,
                to: unescape(to).ok()?,
            });
        }
        Some(Self {
            sequence: sequence.parse().ok()?,
            digest: digest.parse().ok()?,
            fate,
            moves,
        })
    }

    /// Writes the journal to its place, whole or not at all.
    pub fn save(&self, tree: &Tree, path: &[u8]) -> io::Result<()> {
        let fresh = [path, b".new"].concat();
        if tree.look(&fresh)?.is_some() {
            tree.delete(&fresh)?;
        }
        let mut file = tree.create(&fresh)?;
        file.write_all(&self.to_bytes())?;
        file.sync_all()?;
        tree.replace(&fresh, path)
    }

    /// Does all moves that were not done, and makes them durable.
    pub fn execute(&self, tree: &Tree) -> io::Result<()> {
        self.moves.iter().try_for_each(|one| one.ensure(tree))?;
        tree.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(tree: &Tree, path: &[u8]) -> u64 {
        tree.look(path).unwrap().unwrap().inode
    }

    #[test]
    fn a_journal_reads_back_with_any_bytes_in_its_paths() {
        let one = Move {
            inode: 7,
            from: b"a\tb\n\xff".to_vec(),
            to: b"c %d".to_vec(),
        };
        for fate in [Fate::Applied, Fate::Lost] {
            let journal = Journal {
                sequence: 3,
                digest: Digest::of(b""),
                fate,
                moves: vec![one.clone()],
            };
            let text = String::from_utf8(journal.to_bytes()).unwrap();
            assert_eq!(Journal::parse(&text), Some(journal));
            assert_eq!(Journal::parse(text.strip_suffix("end\n").unwrap()), None);
        }
    }

    #[test]
    fn moves_that_are_cut_anywhere_and_done_again_end_the_same() {
        // given a swap of two files by way of a third name, and a new file in the first place
        let scene = || {
            let folder = tempfile::tempdir().unwrap();
            let tree = Tree::open(folder.path()).unwrap();
            for (path, content) in [(&b"a"[..], &b"A"[..]), (b"b", b"B"), (b"n", b"N")] {
                tree.create(path).unwrap().write_all(content).unwrap();
            }
            let (a, b, n) = (inode(&tree, b"a"), inode(&tree, b"b"), inode(&tree, b"n"));
            let one = |inode, from: &[u8], to: &[u8]| Move {
                inode,
                from: from.to_vec(),
                to: to.to_vec(),
            };
            let moves = vec![
                one(a, b"a", b"old/t"),
                one(b, b"b", b"a"),
                one(a, b"old/t", b"b"),
                one(b, b"a", b"old/b"),
                one(n, b"n", b"a"),
            ];
            (folder, tree, moves)
        };
        let state = |tree: &Tree| {
            [&b"a"[..], b"b", b"n", b"old/t", b"old/b"].map(|path| {
                tree.look(path)
                    .unwrap()
                    .map(|_| io::read_to_string(tree.read(path).unwrap()).unwrap())
            })
        };
        let whole = [
            Some("N".to_owned()),
            Some("A".to_owned()),
            None,
            None,
            Some("B".to_owned()),
        ];
        for cut in 0..=5 {
            let (_folder, tree, moves) = scene();
            moves[..cut]
                .iter()
                .try_for_each(|one| one.ensure(&tree))
                .unwrap();
            // when the journal is executed from its beginning
            Journal {
                sequence: 1,
                digest: Digest::of(b""),
                fate: Fate::Applied,
                moves,
            }
            .execute(&tree)
            .unwrap();
            assert_eq!(state(&tree), whole, "cut after {cut}");
        }
    }
}
