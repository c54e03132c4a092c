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
//! 3. A bundle appears in `DIR/<box>/` by rename, complete and with the announced digest; its receipt follows. Between
//!    the two a crash leaves a bundle without receipt: the receipt is then made anew from the bytes on the disk.
//! 4. A name that was received once is never overwritten, even if the bundle was moved away since: the receipt stays.

use aws_lc_rs::digest::{Context, SHA256};
use bundle::signed::SigningError;
use bundle::{BundleName, Signer};
use bytes::Bytes;
use der::DateTime;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use upload::receipt::{self, Statement};
use upload::tus::hex;
use x509_cert::Certificate;

/// What a client announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    pub size: u64,
    pub sha256: String,
    /// `Upload-Metadata` as sent: the protocol wants it back.
    pub metadata: String,
}

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
    Receipt(SigningError),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, .. } => write!(f, "cannot {action} {}", path.display()),
            Self::Locked { path } => write!(f, "{} is in use by another server", path.display()),
            Self::Receipt(_) => write!(f, "cannot make a receipt"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Locked { .. } => None,
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
    certificate: Certificate,
    key: Box<dyn Signer + Send + Sync>,
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
        let path = root.join(".lock");
        let lock = File::create(&path).map_err(fault("create", &path))?;
        lock.try_lock().map_err(|_| StoreError::Locked {
            path: root.to_owned(),
        })?;
        Ok(Self {
            root: root.to_owned(),
            certificate,
            key,
            _lock: lock,
        })
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
                Partial::resume(self.partial_path(name, "data"), announcement).map(Found::Partial)
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
                let (size, context) = digest_of(&mut file).map_err(fault("read", &bundle))?;
                self.store_receipt(name, size, hex(context.finish().as_ref()))
                    .map(Some)
            }
        }
    }

    /// Makes room for a new upload; an unfinished one of the same name is given up.
    pub fn create(
        &self,
        name: &BundleName,
        announcement: Announcement,
    ) -> Result<Partial, StoreError> {
        self.remove_partial(name)?;
        let (data, info) = (
            self.partial_path(name, "data"),
            self.partial_path(name, "info"),
        );
        make_folder_of(&data)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&data);
        let file = file.map_err(fault("create", &data))?;
        file.sync_all().map_err(fault("sync", &data))?;
        // A struct of strings and a number always has a JSON form.
        write_durably(
            &info,
            &serde_json::to_vec(&announcement).unwrap_or_default(),
        )?;
        Ok(Partial {
            path: data,
            announcement,
            file,
            offset: 0,
            whole: Context::new(&SHA256),
        })
    }

    /// Gives up an unfinished upload.
    pub fn remove_partial(&self, name: &BundleName) -> Result<(), StoreError> {
        for ending in ["info", "data"] {
            let path = self.partial_path(name, ending);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(fault("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Turns a complete upload into a finished bundle with its receipt, or finds its digest wrong (`None`) and gives it
    /// up. The caller has synced it.
    pub fn finish(
        &self,
        name: &BundleName,
        partial: Partial,
    ) -> Result<Option<Finished>, StoreError> {
        let sha256 = hex(partial.whole.finish().as_ref());
        if sha256 != partial.announcement.sha256 {
            self.remove_partial(name)?;
            return Ok(None);
        }
        let bundle = self.finished_path(name);
        make_folder_of(&bundle)?;
        fs::rename(&partial.path, &bundle).map_err(fault("rename", &partial.path))?;
        sync_folder_of(&bundle)?;
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
        make_folder_of(&path)?;
        write_durably(&path, &receipt)?;
        Ok(Finished {
            size,
            sha256,
            receipt,
        })
    }

    /// Bytes that a box has stored or announced.
    pub fn used_bytes(&self, box_name: &str) -> Result<u64, StoreError> {
        let mut sum = 0;
        for entry in list(&self.root.join(box_name))? {
            sum += entry.metadata().map(|metadata| metadata.len()).unwrap_or(0);
        }
        for entry in list(&self.root.join(".partial").join(box_name))? {
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

    /// Unfinished uploads that got no byte for `age`.
    pub fn stale_partials(&self, age: Duration) -> Result<Vec<BundleName>, StoreError> {
        let mut stale = Vec::new();
        for folder in list(&self.root.join(".partial"))? {
            for entry in list(&folder.path())? {
                let name = entry.file_name();
                let name = name
                    .to_str()
                    .and_then(|text| text.rsplit_once('.'))
                    .and_then(|it| it.0.parse::<BundleName>().ok());
                let Some(name) = name else { continue };
                let age_of = |ending| {
                    fs::metadata(self.partial_path(&name, ending))?
                        .modified()?
                        .elapsed()
                        .map_err(io::Error::other)
                };
                let youngest = ["info", "data"]
                    .into_iter()
                    .filter_map(|ending| age_of(ending).ok())
                    .min();
                stale.extend(youngest.filter(|youngest| *youngest > age).map(|_| name));
            }
        }
        Ok(stale)
    }
}

/// An unfinished upload, open for more.
pub struct Partial {
    path: PathBuf,
    announcement: Announcement,
    file: File,
    offset: u64,
    whole: Context,
}

/// Where an upload stood before a chunk.
pub struct Mark {
    offset: u64,
    whole: Context,
}

impl Partial {
    fn resume(path: PathBuf, announcement: Announcement) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = file.map_err(fault("open", &path))?;
        let length = file.metadata().map_err(fault("read", &path))?.len();
        if length > announcement.size {
            file.set_len(0).map_err(fault("truncate", &path))?;
        }
        let (offset, whole) = digest_of(&mut file).map_err(fault("read", &path))?;
        Ok(Self {
            path,
            announcement,
            file,
            offset,
            whole,
        })
    }

    pub fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn is_complete(&self) -> bool {
        self.offset == self.announcement.size
    }

    pub fn mark(&self) -> Mark {
        Mark {
            offset: self.offset,
            whole: self.whole.clone(),
        }
    }

    /// Appends; the caller has made sure that it does not go beyond the announced size.
    pub fn append(&mut self, parts: &[Bytes]) -> Result<(), StoreError> {
        for part in parts {
            self.file
                .write_all(part)
                .map_err(fault("write", &self.path))?;
            self.whole.update(part);
            self.offset += part.len() as u64;
        }
        Ok(())
    }

    /// Takes back what came after the mark.
    pub fn roll_back(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.file
            .set_len(mark.offset)
            .map_err(fault("truncate", &self.path))?;
        self.file
            .seek(SeekFrom::Start(mark.offset))
            .map_err(fault("seek in", &self.path))?;
        self.offset = mark.offset;
        self.whole = mark.whole;
        Ok(())
    }

    /// Makes the bytes so far durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(fault("sync", &self.path))
    }
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

/// Creates the folder of a file, durably.
fn make_folder_of(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    if folder.is_dir() {
        return Ok(());
    }
    make_folder_of(folder)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(fault("create", folder)(error))
        }
        _ => sync_folder_of(folder),
    }
}

fn sync_folder_of(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(fault("sync", folder))
}

/// A file that is there whole or not at all.
fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let mut file = File::create(&fresh).map_err(fault("create", &fresh))?;
    file.write_all(bytes).map_err(fault("write", &fresh))?;
    file.sync_all().map_err(fault("sync", &fresh))?;
    fs::rename(&fresh, path).map_err(fault("rename", &fresh))?;
    sync_folder_of(path)
}
