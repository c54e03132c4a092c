//! The output folder: every path in it is resolved beneath it and through no symbolic link.
//!
//! Paths are raw bytes relative to the folder. They may be longer than the kernel takes at once: folders are opened in
//! steps.

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Timespec,
    Timestamps,
};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

/// Bytes of a path that are resolved in one step; below the kernel's `PATH_MAX` of 4096.
const STEP_BYTES: usize = 2048;

/// Folders are restored so that only their owner reads them: patients' data.
const FOLDER_MODE: Mode = Mode::RWXU;

/// Open folders that are kept: those of a few patients, since entries come in the order of a walk.
const FOLDER_LIMIT: usize = 64;

pub struct Tree {
    root: OwnedFd,
    folders: RefCell<BTreeMap<Vec<u8>, Rc<OwnedFd>>>,
}

/// Something that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    pub inode: u64,
    pub is_folder: bool,
    pub bytes: u64,
}

/// Folder and name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

impl Tree {
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: rustix::fs::open(root, flags, Mode::empty())?,
            folders: RefCell::new(BTreeMap::new()),
        })
    }

    /// The folder itself.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The lock that one run holds; `None` where another has it.
    pub fn lock(&self) -> io::Result<Option<File>> {
        self.make_folder(b".state")?;
        let flags = OFlags::CREATE | OFlags::RDWR;
        let file = self.open_file(b".state/lock", flags)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn folder(&self, path: &[u8]) -> io::Result<Rc<OwnedFd>> {
        if let Some(folder) = self.folders.borrow().get(path) {
            return Ok(Rc::clone(folder));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let step = |from: &OwnedFd, path: &[u8]| {
            rustix::fs::openat2(from, path, flags, Mode::empty(), resolve)
        };
        let mut rest = if path.is_empty() { b"." } else { path };
        let mut folder: Option<OwnedFd> = None;
        let folder = loop {
            let end = if rest.len() <= STEP_BYTES {
                rest.len()
            } else {
                // components are shorter than a step, so there is a separator
                rest[..STEP_BYTES]
                    .iter()
                    .rposition(|&byte| byte == b'/')
                    .unwrap_or(rest.len())
            };
            let next = step(folder.as_ref().unwrap_or(&self.root), &rest[..end])?;
            match rest.get(end + 1..) {
                Some(more) => rest = more,
                None => break next,
            }
            folder = Some(next);
        };
        let folder = Rc::new(folder);
        let mut folders = self.folders.borrow_mut();
        if folders.len() >= FOLDER_LIMIT {
            folders.clear();
        }
        folders.insert(path.to_vec(), Rc::clone(&folder));
        Ok(folder)
    }

    /// Makes a folder and those above it.
    pub fn make_folder(&self, path: &[u8]) -> io::Result<()> {
        if path.is_empty() || self.folder(path).is_ok() {
            return Ok(());
        }
        let (above, name) = split(path);
        self.make_folder(above)?;
        match rustix::fs::mkdirat(&*self.folder(above)?, name, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => self.folder(path).map(|_| ()),
            Err(error) => Err(error.into()),
        }
    }

    /// What is at a path, if anything.
    pub fn look(&self, path: &[u8]) -> io::Result<Option<Object>> {
        let (above, name) = split(path);
        let absent = |error: &io::Error| {
            let code = error.raw_os_error();
            code == Some(Errno::NOENT.raw_os_error()) || code == Some(Errno::NOTDIR.raw_os_error())
        };
        let folder = match self.folder(above) {
            Ok(folder) => folder,
            Err(error) if absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        match rustix::fs::statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Object {
                inode: stat.st_ino,
                is_folder: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
                bytes: stat.st_size as u64,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open_file(&self, path: &[u8], flags: OFlags) -> io::Result<File> {
        let (above, name) = split(path);
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(File::from(rustix::fs::openat(
            &*self.folder(above)?,
            name,
            flags,
            mode,
        )?))
    }

    pub fn read(&self, path: &[u8]) -> io::Result<File> {
        self.open_file(path, OFlags::RDONLY)
    }

    /// A new, empty file for writing.
    pub fn create(&self, path: &[u8]) -> io::Result<File> {
        self.open_file(path, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY)
    }

    /// A file for reading and writing at any place, made if it is not there.
    pub fn edit(&self, path: &[u8]) -> io::Result<File> {
        self.open_file(path, OFlags::CREATE | OFlags::RDWR)
    }

    /// Moves to a place where nothing is.
    pub fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        let (from_above, from_name) = split(from);
        let (to_above, to_name) = split(to);
        let from_folder = self.folder(from_above)?;
        let to_folder = self.folder(to_above)?;
        rustix::fs::renameat_with(
            &*from_folder,
            from_name,
            &*to_folder,
            to_name,
            RenameFlags::NOREPLACE,
        )?;
        self.forget(from);
        Ok(())
    }

    /// Replaces a file of our own state by another, durably.
    pub fn replace(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        let (above, from_name) = split(from);
        let folder = self.folder(above)?;
        rustix::fs::renameat(&*folder, from_name, &*folder, split(to).1)?;
        rustix::fs::fsync(self.listing(above)?)?;
        Ok(())
    }

    /// Deletes a file of our own state.
    pub fn delete(&self, path: &[u8]) -> io::Result<()> {
        let (above, name) = split(path);
        rustix::fs::unlinkat(&*self.folder(above)?, name, AtFlags::empty())?;
        Ok(())
    }

    /// Deletes the files in a folder of our own state, and the folder.
    pub fn delete_folder(&self, path: &[u8]) -> io::Result<()> {
        let listing = match self.listing(path) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for name in names(&listing)? {
            rustix::fs::unlinkat(&listing, name, AtFlags::empty())?;
        }
        self.forget(path);
        let (above, name) = split(path);
        rustix::fs::unlinkat(&*self.folder(above)?, name, AtFlags::REMOVEDIR)?;
        Ok(())
    }

    /// Deletes a folder of our own state with all that is in it.
    pub fn delete_all(&self, path: &[u8]) -> io::Result<()> {
        let listing = match self.listing(path) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for name in names(&listing)? {
            match rustix::fs::unlinkat(&listing, &*name, AtFlags::empty()) {
                Ok(()) => {}
                Err(Errno::ISDIR) => self.delete_all(&[path, b"/", &name].concat())?,
                Err(error) => return Err(error.into()),
            }
        }
        self.forget(path);
        let (above, name) = split(path);
        rustix::fs::unlinkat(&*self.folder(above)?, name, AtFlags::REMOVEDIR)?;
        Ok(())
    }

    /// Deletes a folder that holds nothing but empty folders. The kernel refuses to delete any other.
    pub fn delete_empty_folders(&self, path: &[u8]) -> io::Result<()> {
        for name in names(&self.listing(path)?)? {
            self.delete_empty_folders(&[path, b"/", &name].concat())?;
        }
        self.forget(path);
        let (above, name) = split(path);
        rustix::fs::unlinkat(&*self.folder(above)?, name, AtFlags::REMOVEDIR)?;
        Ok(())
    }

    fn listing(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(
            &*self.folder(path)?,
            c".",
            flags,
            Mode::empty(),
        )?)
    }

    /// Forgets a folder and those below it, because they are no longer there.
    fn forget(&self, gone: &[u8]) {
        self.folders.borrow_mut().retain(|path, _| {
            !path
                .strip_prefix(gone)
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        });
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Sets a file's time of modification, in Unix seconds.
pub fn set_modified(file: impl AsFd, seconds: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Ok(rustix::fs::futimens(
        file,
        &Timestamps {
            last_access: time,
            last_modification: time,
        },
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbolic_link_is_never_followed() {
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        assert!(tree.create(b"link/file").is_err());
        assert!(tree.make_folder(b"link/below").is_err());
        assert!(tree.look(b"link/file").is_err());
        assert!(tree.create(b"link").is_err());
        assert!(tree.look(b"../x").is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_path_longer_than_the_kernel_takes_at_once_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        let long = [vec![b'a'; 250].as_slice(); 30].join(&b'/');
        tree.make_folder(&long).unwrap();
        let file = [&long[..], b"/f"].concat();
        tree.create(&file).unwrap();
        assert_eq!(
            tree.look(&file).unwrap().map(|object| object.is_folder),
            Some(false)
        );
    }

    #[test]
    fn a_rename_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        tree.create(b"a").unwrap();
        tree.create(b"b").unwrap();
        assert_eq!(
            tree.rename(b"a", b"b").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
    }
}
