//! Where the parts of a hospital's store lie below one folder.

use std::path::{Path, PathBuf};

/// The layout that [`crate::make`] writes and [`crate::change`] expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store below `root`; nothing is read.
    pub fn at(root: &Path) -> Store {
        Store {
            root: root.to_owned(),
        }
    }

    /// The folder of everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Holds one root of standardized storage per facility.
    pub fn standard(&self) -> PathBuf {
        self.root.join("std")
    }

    /// Holds one root of extended storage per facility.
    pub fn extended(&self) -> PathBuf {
        self.root.join("ext")
    }

    /// DPC survey files.
    pub fn dpc(&self) -> PathBuf {
        self.root.join("dpc")
    }

    /// Receipt files, one folder per insurer.
    pub fn receipt(&self) -> PathBuf {
        self.root.join("receipt")
    }

    /// Transaction storage of the standardized storage.
    pub fn transaction(&self) -> PathBuf {
        self.root.join("tx")
    }
}
