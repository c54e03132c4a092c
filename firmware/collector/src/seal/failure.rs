//! Why `collector seal` ends early.

use bundle::{NameError, PushError, RecipientError, SealError, SignerError};
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

#[derive(Debug)]
pub enum SealFailure {
    Line(lexopt::Error),
    Missing(&'static str),
    Read {
        path: PathBuf,
        source: io::Error,
    },
    Name(NameError),
    Recipient {
        path: PathBuf,
        source: RecipientError,
    },
    Signer(SignerError),
    Seal(SealError),
    Draft(PushError),
    /// The output folder.
    Folder {
        path: PathBuf,
        source: io::Error,
    },
    /// The bundles would be sealed into bundles.
    OutInside {
        out: PathBuf,
        folder: PathBuf,
    },
    Busy(PathBuf),
    Write {
        name: String,
        source: io::Error,
    },
}

impl fmt::Display for SealFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(_) => write!(f, "the command line is wrong; see collector seal --help"),
            Self::Missing(what) => write!(f, "{what} is missing; see collector seal --help"),
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::Name(_) => write!(f, "--box is refused"),
            Self::Recipient { path, .. } => write!(f, "{} cannot be a recipient", path.display()),
            Self::Signer(_) => write!(f, "--signer-key is refused"),
            Self::Seal(_) => write!(f, "cannot seal"),
            Self::Draft(_) => write!(f, "cannot put a file into a bundle"),
            Self::Folder { path, .. } => {
                write!(f, "cannot use the output folder {}", path.display())
            }
            Self::OutInside { out, folder } => write!(
                f,
                "the output folder {} lies in {}, which is to be sealed; give --out a folder elsewhere",
                out.display(),
                folder.display()
            ),
            Self::Busy(path) => write!(
                f,
                "another run writes bundles into {}; wait for its end or give --out another folder",
                path.display()
            ),
            Self::Write { name, .. } => write!(
                f,
                "cannot write the bundle {name}; the bundles before it are whole, and all folders must be sealed again"
            ),
        }
    }
}

impl Error for SealFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Line(source) => Some(source),
            Self::Read { source, .. }
            | Self::Folder { source, .. }
            | Self::Write { source, .. } => Some(source),
            Self::Name(source) => Some(source),
            Self::Recipient { source, .. } => Some(source),
            Self::Signer(source) => Some(source),
            Self::Seal(source) => Some(source),
            Self::Draft(source) => Some(source),
            Self::Missing(_) | Self::OutInside { .. } | Self::Busy(_) => None,
        }
    }
}

impl From<lexopt::Error> for SealFailure {
    fn from(source: lexopt::Error) -> Self {
        Self::Line(source)
    }
}
