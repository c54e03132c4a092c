//! The sender's view of the spool: bundles to read, receipts to write.

use bundle::BundleName;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
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

/// A bundle without receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub name: BundleName,
    pub size: u64,
}

pub struct Spool {
    bundles: PathBuf,
    receipts: PathBuf,
}

impl Spool {
    pub fn new(bundles: PathBuf, receipts: PathBuf) -> Self {
        Self { bundles, receipts }
    }

    pub fn bundles(&self) -> &Path {
        &self.bundles
    }

    pub fn receipts(&self) -> &Path {
        &self.receipts
    }

    /// Bundles without receipt, oldest first.
    pub fn queue(&self) -> Result<Vec<Queued>, SpoolFault> {
        let mut queue = Vec::new();
        for entry in fs::read_dir(&self.bundles).map_err(fault("list", &self.bundles))? {
            let entry = entry.map_err(fault("list", &self.bundles))?;
            let name = entry
                .file_name()
                .to_str()
                .and_then(|text| text.parse::<BundleName>().ok());
            let Some(name) = name else { continue };
            if self.receipt_path(&name).exists() {
                continue;
            }
            // One that `intake` erased since the listing needs nothing any more.
            if let Ok(metadata) = entry.metadata() {
                queue.push(Queued {
                    name,
                    size: metadata.len(),
                });
            }
        }
        queue.sort_by_key(|queued| queued.name.sequence());
        Ok(queue)
    }

    /// Opens a bundle, with its name made durable first (invariant 2 of the role).
    pub fn open(&self, name: &BundleName) -> Result<Bundle, SpoolFault> {
        sync_folder(&self.bundles)?;
        let path = self.bundles.join(name.to_string());
        Bundle::open(name.clone(), &path).map_err(fault("read", &path))
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
