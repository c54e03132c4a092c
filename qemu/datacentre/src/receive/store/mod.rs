//! The receiver's disk. Blocking: the server calls it from threads that may wait.
//!
//! ```text
//! DIR/<box>/<bundle>                    finished bundles: what `open` reads
//! DIR/.receipts/<box>/<bundle>.receipt  the receipt of each, CMS DER
//! DIR/.partial/<box>/<bundle>.info      announcement of an unfinished upload, JSON
//! DIR/.partial/<box>/<bundle>.data      its bytes so far; the length of this file is the upload's offset
//! DIR/.lock                             held while a server runs
//! ```
//!
//! Invariants
//! 1. An upload exists when its `.info` exists; `.info` appears by rename, after an empty `.data` is durable.
//! 2. An offset is told only after the bytes before it are on the disk ([`Partial::sync`]). Bytes beyond it may be there
//!    after a crash: they are the client's too, and the digest over all of them decides at the end.
//! 3. A bundle is acknowledged after these steps, each durable before the next: its bytes; its name in `DIR/<box>/`, by
//!    rename and with the announced digest; its receipt. After a crash between the last two the receipt is made anew
//!    from the bytes on the disk, once the name is durable for certain.
//! 4. A name that was received once is never overwritten, even if the bundle was moved away since: the receipt stays.
//! 5. A folder counts as durable only when this process has synced the one above it: an earlier one may have been
//!    killed between making and syncing it.
//!
//! Each is held by `power_cut`, which cuts at every change of [`disk`] and asks for what was acknowledged.

mod disk;
mod partial;
#[cfg(test)]
mod power_cut;
mod space;

use aws_lc_rs::digest::{Context, SHA256};
use bundle::signed::SigningError;
use bundle::{BoxName, BundleName, Signer};
use der::DateTime;
use disk::Disk;
pub use partial::{Announcement, Partial};
pub use space::{NoRoom, Shares};
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use upload::receipt::{self, Statement};
use upload::tus::hex;
use x509_cert::Certificate;

/// The disk refused something, or holds what it should not.
#[derive(Debug)]
pub enum StoreError {
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    Locked {
        path: PathBuf,
    },
    NoRoom(NoRoom),
    Receipt(SigningError),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, .. } => write!(f, "cannot {action} {}", path.display()),
            Self::Locked { path } => write!(f, "{} is in use by another server", path.display()),
            Self::NoRoom(_) => write!(f, "no room for a new upload"),
            Self::Receipt(_) => write!(f, "cannot make a receipt"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Locked { .. } => None,
            Self::NoRoom(source) => Some(source),
            Self::Receipt(source) => Some(source),
        }
    }
}

fn fault(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// What is known of a bundle's name.
pub enum Found {
    Nothing,
    Partial(Partial),
    Finished(Finished),
}

/// A received bundle.
#[derive(Clone, Debug)]
pub struct Finished {
    pub size: u64,
    pub sha256: String,
    pub receipt: Vec<u8>,
}

pub struct Store {
    root: PathBuf,
    disk: Arc<Disk>,
    certificate: Certificate,
    key: Box<dyn Signer + Send + Sync>,
    /// Folders of which this process knows that they survive a cut.
    durable: Mutex<HashSet<PathBuf>>,
    /// From the look at the free space until it is taken.
    allocating: Mutex<()>,
    /// Kept open for its lock.
    _lock: File,
}

impl Store {
    /// `certificate` and `key` sign the receipts.
    pub fn open(
        root: &Path,
        certificate: Certificate,
        key: Box<dyn Signer + Send + Sync>,
    ) -> Result<Self, StoreError> {
        fs::create_dir_all(root).map_err(fault("create", root))?;
        Self::over(Disk::default(), root, certificate, key)
    }

    fn over(
        disk: Disk,
        root: &Path,
        certificate: Certificate,
        key: Box<dyn Signer + Send + Sync>,
    ) -> Result<Self, StoreError> {
        let path = root.join(".lock");
        let lock = File::create(&path).map_err(fault("create", &path))?;
        lock.try_lock().map_err(|_| StoreError::Locked {
            path: root.to_owned(),
        })?;
        let store = Self {
            root: root.to_owned(),
            disk: Arc::new(disk),
            certificate,
            key,
            durable: Mutex::new(HashSet::from([root.to_owned()])),
            allocating: Mutex::new(()),
            _lock: lock,
        };
        store.sweep()?;
        Ok(store)
    }

    /// Removes what a crash left beside finished bundles and half-written files.
    fn sweep(&self) -> Result<(), StoreError> {
        for kind in [".partial", ".receipts"] {
            for folder in list(&self.root.join(kind))? {
                for entry in list(&folder.path())? {
                    let path = entry.path();
                    let half_written = path.extension().is_some_and(|ending| ending == "new");
                    let finished = kind == ".partial"
                        && upload_of(&path).is_some_and(|name| self.receipt_path(&name).exists());
                    if half_written || finished {
                        self.disk.remove(&path).map_err(fault("remove", &path))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn finished_path(&self, name: &BundleName) -> PathBuf {
        self.root
            .join(name.box_name().as_str())
            .join(name.to_string())
    }

    fn receipt_path(&self, name: &BundleName) -> PathBuf {
        self.root
            .join(".receipts")
            .join(name.box_name().as_str())
            .join(format!("{name}.receipt"))
    }

    fn partial_path(&self, name: &BundleName, ending: &str) -> PathBuf {
        self.root
            .join(".partial")
            .join(name.box_name().as_str())
            .join(format!("{name}.{ending}"))
    }

    /// Looks a name up. The caller holds the lock of the name.
    pub fn find(&self, name: &BundleName) -> Result<Found, StoreError> {
        if let Some(finished) = self.finished(name)? {
            return Ok(Found::Finished(finished));
        }
        let info = self.partial_path(name, "info");
        let text = match fs::read(&info) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            other => other.map_err(fault("read", &info))?,
        };
        match serde_json::from_slice(&text) {
            Ok(announcement) => {
                self.sync_folder_of(&info)?;
                let data = self.partial_path(name, "data");
                Partial::resume(self.disk.clone(), data, announcement).map(Found::Partial)
            }
            // Only a disk that lost synced bytes brings this about; nothing was promised for it yet.
            Err(_) => Ok(Found::Nothing),
        }
    }

    fn finished(&self, name: &BundleName) -> Result<Option<Finished>, StoreError> {
        let path = self.receipt_path(name);
        match fs::read(&path) {
            Ok(der) => {
                if let Some(statement) = receipt::statement(&der, &self.certificate) {
                    return Ok(Some(Finished {
                        size: statement.size,
                        sha256: statement.sha256,
                        receipt: der,
                    }));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault("read", &path)(error)),
        }
        let bundle = self.finished_path(name);
        match File::open(&bundle) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault("open", &bundle)(error)),
            Ok(mut file) => {
                // Its bytes were synced before it got this name; the name may not be.
                self.make_folder_of(&bundle)?;
                self.sync_folder_of(&bundle)?;
                let (size, context) = digest_of(&mut file).map_err(fault("read", &bundle))?;
                self.store_receipt(name, size, hex(context.finish().as_ref()))
                    .map(Some)
            }
        }
    }

    /// Makes room for a new upload within `shares`; an unfinished one of the same name is given up.
    pub fn create(
        &self,
        name: &BundleName,
        announcement: Announcement,
        shares: &Shares,
    ) -> Result<Partial, StoreError> {
        self.remove_partial(name)?;
        let (data, info) = (
            self.partial_path(name, "data"),
            self.partial_path(name, "info"),
        );
        self.make_folder_of(&data)?;
        // A struct of strings and a number always has a JSON form.
        let text = serde_json::to_vec(&announcement).unwrap_or_default();
        let partial = {
            let used = self.used_bytes(name.box_name())?;
            let _until_allocated = locked(&self.allocating);
            let disk = space::DiskSpace::of(&self.root).map_err(fault("measure", &self.root))?;
            let room = shares.room(announcement.size, used, disk);
            room.map_err(StoreError::NoRoom)?;
            let partial = Partial::create(self.disk.clone(), data.clone(), announcement);
            partial.inspect_err(|_| drop(self.disk.remove(&data)))?
        };
        let partial = partial.sync()?;
        self.write_durably(&info, &text)?;
        Ok(partial)
    }

    /// Gives up an unfinished upload.
    pub fn remove_partial(&self, name: &BundleName) -> Result<(), StoreError> {
        for ending in ["info", "data"] {
            let path = self.partial_path(name, ending);
            self.disk.remove(&path).map_err(fault("remove", &path))?;
        }
        Ok(())
    }

    /// Turns a complete upload into a finished bundle with its receipt, or finds its digest wrong (`None`) and gives it
    /// up.
    pub fn finish(
        &self,
        name: &BundleName,
        partial: Partial,
    ) -> Result<Option<Finished>, StoreError> {
        let partial = partial.sync()?;
        let sha256 = hex(partial.whole.finish().as_ref());
        if sha256 != partial.announcement.sha256 {
            self.remove_partial(name)?;
            return Ok(None);
        }
        let bundle = self.finished_path(name);
        self.make_folder_of(&bundle)?;
        let renamed = self.disk.rename(&partial.path, &bundle);
        renamed.map_err(fault("rename", &partial.path))?;
        self.sync_folder_of(&bundle)?;
        let finished = self.store_receipt(name, partial.announcement.size, sha256)?;
        self.remove_partial(name)?;
        Ok(Some(finished))
    }

    fn store_receipt(
        &self,
        name: &BundleName,
        size: u64,
        sha256: String,
    ) -> Result<Finished, StoreError> {
        let time = DateTime::from_system_time(SystemTime::now())
            .map(|time| time.to_string())
            .unwrap_or_default();
        let statement = Statement {
            bundle: name.to_string(),
            size,
            sha256: sha256.clone(),
            time,
        };
        let receipt = receipt::issue(&statement, &self.certificate, self.key.as_ref())
            .map_err(StoreError::Receipt)?;
        let path = self.receipt_path(name);
        self.make_folder_of(&path)?;
        self.write_durably(&path, &receipt)?;
        Ok(Finished {
            size,
            sha256,
            receipt,
        })
    }

    /// Bytes that a box has stored or announced.
    fn used_bytes(&self, box_name: &BoxName) -> Result<u64, StoreError> {
        let mut sum = 0;
        for entry in list(&self.root.join(box_name.as_str()))? {
            sum += entry.metadata().map(|metadata| metadata.len()).unwrap_or(0);
        }
        for entry in list(&self.root.join(".partial").join(box_name.as_str()))? {
            let info = entry.path();
            if info.extension().is_some_and(|ending| ending == "info") {
                let text = fs::read(&info).unwrap_or_default();
                sum += serde_json::from_slice::<Announcement>(&text)
                    .map(|a| a.size)
                    .unwrap_or(0);
            }
        }
        Ok(sum)
    }

    /// A box's unfinished uploads, the one that waits longest for a byte first.
    pub fn unfinished(&self, box_name: &BoxName) -> Result<Vec<BundleName>, StoreError> {
        let mut found = self.ages(&self.root.join(".partial").join(box_name.as_str()))?;
        found.sort_by_key(|(_, age)| std::cmp::Reverse(*age));
        Ok(found.into_iter().map(|(name, _)| name).collect())
    }

    /// Unfinished uploads of all boxes that got no byte for `age`.
    pub fn stale_partials(&self, age: Duration) -> Result<Vec<BundleName>, StoreError> {
        let mut stale = Vec::new();
        for folder in list(&self.root.join(".partial"))? {
            let found = self.ages(&folder.path())?;
            let old = found.into_iter().filter(|(_, of)| *of > age);
            stale.extend(old.map(|(name, _)| name));
        }
        Ok(stale)
    }

    /// The uploads in a folder, each once, and the time since each got a byte.
    fn ages(&self, folder: &Path) -> Result<Vec<(BundleName, Duration)>, StoreError> {
        let names: HashSet<_> = list(folder)?
            .iter()
            .filter_map(|entry| upload_of(&entry.path()))
            .collect();
        let age_of = |name: &BundleName, ending| {
            fs::metadata(self.partial_path(name, ending))?
                .modified()?
                .elapsed()
                .map_err(io::Error::other)
        };
        let age = |name: BundleName| {
            let ages = ["info", "data"].map(|ending| age_of(&name, ending).ok());
            let youngest = ages.into_iter().flatten().min()?;
            Some((name, youngest))
        };
        Ok(names.into_iter().filter_map(age).collect())
    }

    /// Creates the folder of a file, durably.
    fn make_folder_of(&self, path: &Path) -> Result<(), StoreError> {
        let Some(folder) = path.parent() else {
            return Ok(());
        };
        if locked(&self.durable).contains(folder) {
            return Ok(());
        }
        self.make_folder_of(folder)?;
        let made = self.disk.create_folder(folder);
        made.map_err(fault("create", folder))?;
        self.sync_folder_of(folder)?;
        locked(&self.durable).insert(folder.to_owned());
        Ok(())
    }

    fn sync_folder_of(&self, path: &Path) -> Result<(), StoreError> {
        let Some(folder) = path.parent() else {
            return Ok(());
        };
        let synced = self.disk.sync_folder(folder);
        synced.map_err(fault("sync", folder))
    }

    /// A file that is there whole or not at all.
    fn write_durably(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let file = self.disk.create_file(&fresh);
        let mut file = file.map_err(fault("create", &fresh))?;
        let written = self.disk.append(&fresh, &mut file, bytes);
        written.map_err(fault("write", &fresh))?;
        let synced = self.disk.sync_file(&fresh, &file);
        synced.map_err(fault("sync", &fresh))?;
        let renamed = self.disk.rename(&fresh, path);
        renamed.map_err(fault("rename", &fresh))?;
        self.sync_folder_of(path)
    }
}

/// The upload that a file of `.partial` belongs to.
fn upload_of(path: &Path) -> Option<BundleName> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole between any two steps of those who hold it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Size and running digest of a file; leaves the position at its end.
fn digest_of(file: &mut File) -> io::Result<(u64, Context)> {
    let (mut context, mut size, mut buffer) = (Context::new(&SHA256), 0, vec![0; 256 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, context)),
            got => {
                context.update(&buffer[..got]);
                size += got as u64;
            }
        }
    }
}

fn list(folder: &Path) -> Result<Vec<fs::DirEntry>, StoreError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other
            .and_then(Iterator::collect)
            .map_err(fault("list", folder)),
    }
}
