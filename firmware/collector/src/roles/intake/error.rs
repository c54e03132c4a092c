//! Why the intake ends. Everything that may pass by itself is waited for and is not here.

use super::world::Stopped;
use bundle::{PushError, SealError};
use catalogue::CatalogueError;
use spool::SpoolError;

#[derive(Debug)]
pub enum IntakeError {
    /// Asked to stop; no fault.
    Stopped,
    Catalogue(CatalogueError),
    Spool(SpoolError),
    Draft(PushError),
    Seal(SealError),
    /// The catalogue ends at one bundle and the spool at another: one of them is not from this box's history.
    Disagree {
        catalogue: u64,
        spool: u64,
    },
    /// The spool holds another bundle under the number of the open intent.
    OtherBundle {
        sequence: u64,
    },
}

impl From<Stopped> for IntakeError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<CatalogueError> for IntakeError {
    fn from(error: CatalogueError) -> Self {
        Self::Catalogue(error)
    }
}

impl From<SpoolError> for IntakeError {
    fn from(error: SpoolError) -> Self {
        Self::Spool(error)
    }
}

impl std::fmt::Display for IntakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopped => write!(f, "the intake was asked to stop"),
            Self::Catalogue(_) => write!(f, "the intake cannot go on without its catalogue"),
            Self::Spool(_) => write!(f, "the intake cannot go on without its spool"),
            Self::Draft(_) => write!(f, "a bundle could not be made"),
            Self::Seal(_) => write!(f, "a bundle could not be sealed"),
            Self::Disagree { catalogue, spool } => write!(
                f,
                "the catalogue ends with bundle {catalogue} and the spool with bundle {spool}; call for service"
            ),
            Self::OtherBundle { sequence } => {
                write!(
                    f,
                    "the spool holds another bundle {sequence} than the catalogue announced; call for service"
                )
            }
        }
    }
}

impl std::error::Error for IntakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Catalogue(source) => Some(source),
            Self::Spool(source) => Some(source),
            Self::Draft(source) => Some(source),
            Self::Seal(source) => Some(source),
            Self::Stopped | Self::Disagree { .. } | Self::OtherBundle { .. } => None,
        }
    }
}
