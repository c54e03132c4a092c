//! The sender's view of the spool: bundles to read, receipts to write.

use super::queue::Listing;
use bundle::BundleName;
use rustix::io::Errno;
use std::cell::Cell;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use upload::Bundle;

/// A receipt is no secret, and `intake` reads it under another user id.
const RECEIPT_MODE: u32 = 0o644;

/// The disk refused. Worth another try: the cause may be a full disk.
#[derive(Debug)]
pub struct SpoolFault {
    pub action: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

impl fmt::Display for SpoolFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.action, self.path.display())
    }
}

impl std::error::Error for SpoolFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn fault(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolFault {
    move |source| SpoolFault {
        action,
        path: path.to_owned(),
        source,
    }
}

/// A bundle that was read from its first to its last byte.
pub enum Opened {
    Whole(Bundle),
    /// Its bytes are not those that its record says, or cannot be read.
    Rotten,
}

pub struct Spool {
    bundles: PathBuf,
    receipts: PathBuf,
    /// What the tests of long backlogs count: listings of the folder, and looks at single bundles.
    counted: Cell<(u64, u64)>,
}

impl Spool {
    pub fn new(bundles: PathBuf, receipts: PathBuf) -> Self {
        Self {
            bundles,
            receipts,
            counted: Cell::default(),
        }
    }

    #[cfg(test)]
    pub fn counted(&self) -> (u64, u64) {
        self.counted.get()
    }

    pub fn bundles(&self) -> &Path {
        &self.bundles
    }

    pub fn receipts(&self) -> &Path {
        &self.receipts
    }

    /// Lists what waits with a number in `range`. One pass; nothing of it is kept but sums and ends.
    pub fn list(&self, range: RangeInclusive<u64>) -> Result<Listing, SpoolFault> {
        let mut listing = Listing::default();
        let (listings, looks) = self.counted.get();
        self.counted.set((listings + 1, looks));
        for entry in fs::read_dir(&self.bundles).map_err(fault("list", &self.bundles))? {
            let entry = entry.map_err(fault("list", &self.bundles))?;
            let name = entry
                .file_name()
                .to_str()
                .and_then(|text| text.parse::<BundleName>().ok())
                .filter(|name| range.contains(&name.sequence()));
            let Some(name) = name else { continue };
            let Some(size) = self.waiting(&name)? else {
                continue;
            };
            listing.add(&name, size);
        }
        Ok(listing)
    }

    /// Size of a bundle that is there and has no receipt.
    pub fn waiting(&self, name: &BundleName) -> Result<Option<u64>, SpoolFault> {
        let (listings, looks) = self.counted.get();
        self.counted.set((listings, looks + 1));
        let path = self.bundles.join(name.to_string());
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault("look at", &path)(error)),
        };
        let receipt = self.receipt_path(name);
        match receipt.try_exists() {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(size)),
            Err(error) => Err(fault("look at", &receipt)(error)),
        }
    }

    /// Opens a bundle, with its name made durable first (invariant 2 of the role), and compares it with its record.
    pub fn open(&self, name: &BundleName) -> Result<Opened, SpoolFault> {
        sync_folder(&self.bundles)?;
        let path = self.bundles.join(name.to_string());
        let bundle = match Bundle::open(name.clone(), &path) {
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                return Ok(Opened::Rotten);
            }
            bundle => bundle.map_err(fault("read", &path))?,
        };
        let read = ::spool::Bundle {
            size_bytes: bundle.size(),
            sha256: *bundle.sha256(),
        };
        let recorded = match ::spool::recorded(&path) {
            // a file system without such records has none to compare with
            Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
            recorded => recorded.map_err(fault("read the record of", &path))?,
        };
        Ok(match recorded {
            Some(appended) if appended != read => Opened::Rotten,
            _ => Opened::Whole(bundle),
        })
    }

    fn receipt_path(&self, name: &BundleName) -> PathBuf {
        self.receipts.join(format!("{name}.receipt"))
    }

    /// Makes a receipt durable under a temporary name.
    pub fn write_receipt(
        &self,
        name: &BundleName,
        proof: &[u8],
    ) -> Result<Written<'_>, SpoolFault> {
        let (fresh, path) = (
            self.receipts.join(format!("{name}.receipt.new")),
            self.receipt_path(name),
        );
        let mut file = File::create(&fresh).map_err(fault("create", &fresh))?;
        file.set_permissions(Permissions::from_mode(RECEIPT_MODE))
            .map_err(fault("open up", &fresh))?;
        file.write_all(proof).map_err(fault("write", &fresh))?;
        file.sync_all().map_err(fault("sync", &fresh))?;
        Ok(Written {
            spool: self,
            fresh,
            path,
        })
    }
}

/// A receipt on the disk that `intake` does not see yet.
pub struct Written<'a> {
    spool: &'a Spool,
    fresh: PathBuf,
    path: PathBuf,
}

impl Written<'_> {
    /// Gives it its name.
    pub fn publish(self) -> Result<(), SpoolFault> {
        fs::rename(&self.fresh, &self.path).map_err(fault("rename", &self.fresh))?;
        sync_folder(&self.spool.receipts)
    }
}

fn sync_folder(folder: &Path) -> Result<(), SpoolFault> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(fault("sync", folder))
}
