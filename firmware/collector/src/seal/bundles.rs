//! The output folder: the sequence in it, and bundles that appear whole.

use super::failure::SealFailure;
use super::order::read;
use bundle::{BoxName, BundleName, Closed, Digest, LocalSigner, Sealer};
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Seals and writes, in order. Holds the output folder's lock.
pub struct Bundles {
    sealer: Sealer<LocalSigner>,
    out: PathBuf,
    folder: File,
    sequence: u64,
    previous: Option<Digest>,
    written: u64,
}

impl Bundles {
    /// Makes the folder where it is not there, and goes on after the last bundle in it.
    pub fn open(sealer: Sealer<LocalSigner>, out: PathBuf) -> Result<Self, SealFailure> {
        let unusable = |source| SealFailure::Folder {
            path: out.clone(),
            source,
        };
        fs::create_dir_all(&out).map_err(unusable)?;
        let folder = File::open(&out).map_err(unusable)?;
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(SealFailure::Busy(out)),
            Err(error) => return Err(unusable(error.into())),
        }
        let (sequence, previous) = last_bundle(&out, sealer.box_name())?;
        Ok(Self {
            sealer,
            out,
            folder,
            sequence,
            previous,
            written: 0,
        })
    }

    /// Bundles written by this run.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Seals a draft as the next bundle. When this returns, the bundle is durable.
    pub fn write(&mut self, closed: Closed) -> Result<(), SealFailure> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let sealed = self
            .sealer
            .seal(&closed, self.sequence + 1, self.previous, now)
            .map_err(SealFailure::Seal)?;
        drop(closed);
        let name = sealed.name.to_string();
        self.write_durably(&name, &sealed.bytes)
            .map_err(|source| SealFailure::Write { name, source })?;
        self.sequence += 1;
        self.previous = Some(sealed.sha256);
        self.written += 1;
        Ok(())
    }

    fn write_durably(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // one of this name was left by a run that was cut
        let temporary = self.out.join(format!(".{name}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let place = self.out.join(name);
        rustix::fs::renameat_with(CWD, &temporary, CWD, &place, RenameFlags::NOREPLACE)?;
        self.folder.sync_all()
    }
}

/// Number and digest of the last bundle in a folder; 0 where there is none.
fn last_bundle(out: &Path, box_name: &BoxName) -> Result<(u64, Option<Digest>), SealFailure> {
    let unusable = |source| SealFailure::Folder {
        path: out.to_owned(),
        source,
    };
    let mut last: Option<BundleName> = None;
    for entry in fs::read_dir(out).map_err(unusable)? {
        let name = entry.map_err(unusable)?.file_name();
        if let Some(Ok(name)) = name.to_str().map(str::parse::<BundleName>)
            && name.box_name() == box_name
        {
            last = last.max(Some(name));
        }
    }
    match last {
        None => Ok((0, None)),
        Some(name) => Ok((
            name.sequence(),
            Some(Digest::of(&read(out.join(name.to_string()))?)),
        )),
    }
}
