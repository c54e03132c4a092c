//! One unfinished upload: its bytes so far, and their digest.

use super::disk::Disk;
use super::{StoreError, digest_of, fault};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use rustix::fs::FallocateFlags;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

/// What a client announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    pub size: u64,
    pub sha256: String,
    /// `Upload-Metadata` as sent: the protocol wants it back.
    pub metadata: String,
}

/// An unfinished upload, open for more.
pub struct Partial {
    pub(super) path: PathBuf,
    pub(super) announcement: Announcement,
    pub(super) whole: Context,
    pub(super) file: File,
    disk: Arc<Disk>,
    offset: u64,
}

/// Where an upload stood before a chunk.
pub struct Mark {
    offset: u64,
    whole: Context,
}

impl Partial {
    /// An empty one with room on the disk for all of it, where the file system can promise that. Not yet durable.
    pub(super) fn create(
        disk: Arc<Disk>,
        path: PathBuf,
        announcement: Announcement,
    ) -> Result<Self, StoreError> {
        let file = disk.create_file(&path).map_err(fault("create", &path))?;
        let partial = Self {
            path,
            announcement,
            whole: Context::new(&SHA256),
            file,
            disk,
            offset: 0,
        };
        partial.allocate()?;
        Ok(partial)
    }

    /// Takes an upload up again that an earlier process or request left.
    pub(super) fn resume(
        disk: Arc<Disk>,
        path: PathBuf,
        announcement: Announcement,
    ) -> Result<Self, StoreError> {
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let mut file = match file {
            // Only a disk that lost a synced name brings this about; nothing was promised for it yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::create(disk, path, announcement);
            }
            other => other.map_err(fault("open", &path))?,
        };
        let length = file.metadata().map_err(fault("read", &path))?.len();
        if length > announcement.size {
            disk.truncate(&path, &file, 0)
                .map_err(fault("truncate", &path))?;
        }
        let (offset, whole) = digest_of(&mut file).map_err(fault("read", &path))?;
        Ok(Self {
            path,
            announcement,
            whole,
            file,
            disk,
            offset,
        })
    }

    /// Blocks for the whole upload, without changing the file's length: a disk that fills up later refuses new
    /// announcements, not chunks of this one.
    fn allocate(&self) -> Result<(), StoreError> {
        let size = self.announcement.size;
        if size == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(error) => Err(fault("make room for", &self.path)(error.into())),
        }
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
            self.disk
                .append(&self.path, &mut self.file, part)
                .map_err(fault("write", &self.path))?;
            self.whole.update(part);
            self.offset += part.len() as u64;
        }
        Ok(())
    }

    /// Takes back what came after the mark.
    pub fn roll_back(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.disk
            .truncate(&self.path, &self.file, mark.offset)
            .map_err(fault("truncate", &self.path))?;
        self.file
            .seek(SeekFrom::Start(mark.offset))
            .map_err(fault("seek in", &self.path))?;
        self.offset = mark.offset;
        self.whole = mark.whole;
        self.allocate()
    }

    /// Makes the bytes so far durable. A disk that refuses this may have dropped them, and would say yes the next time:
    /// nothing is left of the upload then.
    pub fn sync(self) -> Result<Self, StoreError> {
        match self.disk.sync_file(&self.path, &self.file) {
            Ok(()) => Ok(self),
            Err(error) => {
                let _ = self.disk.remove(&self.path.with_extension("info"));
                let _ = self.disk.remove(&self.path);
                Err(fault("sync", &self.path)(error))
            }
        }
    }
}
