//! Certificates and keys of a run, made by `datacentre ca`.

use crate::process::{self, ProcessError};
use std::path::{Path, PathBuf};
use std::process::Command;

pub const BOX: &str = "box-lab";
pub const GATEWAY_NAME: &str = "gateway.example";
pub const RECEIVER_NAME: &str = "receiver.example";

/// The folder with one run's certificates and keys.
#[derive(Clone, Debug)]
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    pub fn make(datacentre: &Path, folder: PathBuf) -> Result<Self, ProcessError> {
        let mut command = Command::new(datacentre);
        command
            .args([
                "ca",
                "--box",
                BOX,
                "--tunnel-host",
                GATEWAY_NAME,
                "--receive-host",
                RECEIVER_NAME,
            ])
            .arg(&folder);
        process::run(&mut command)?;
        Ok(Self { folder })
    }

    /// A file by the name that `datacentre ca` gives it, `wrong/...` included.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
