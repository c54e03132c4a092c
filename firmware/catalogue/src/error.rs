//! What can go wrong in the catalogue.

#[derive(Debug)]
pub enum CatalogueError {
    /// SQLite failed; [`CatalogueError::is_full`] tells a full disk from the rest.
    Store(rusqlite::Error),
    Version {
        found: i64,
        known: i64,
    },
    /// A second intent while one is open.
    IntentOpen {
        sequence: u64,
    },
    NoIntent,
    /// A row holds what this version never writes.
    Damaged {
        table: &'static str,
    },
}

impl CatalogueError {
    /// Nothing was changed, and it can be tried again once there is room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Store(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }
}

impl From<rusqlite::Error> for CatalogueError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error)
    }
}

impl std::fmt::Display for CatalogueError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(_) if self.is_full() => write!(f, "no room for the catalogue"),
            Self::Store(_) => write!(f, "the catalogue's store failed"),
            Self::Version { found, known } => {
                write!(
                    f,
                    "the catalogue has layout version {found}, this program knows {known}; install the version that made it, or erase it: \
                     then everything is collected anew"
                )
            }
            Self::IntentOpen { sequence } => {
                write!(
                    f,
                    "the intent of bundle {sequence} must be committed or rolled back first"
                )
            }
            Self::NoIntent => write!(f, "there is no intent to commit"),
            Self::Damaged { table } => write!(f, "a row of {table} in the catalogue is damaged"),
        }
    }
}

impl std::error::Error for CatalogueError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(source) => Some(source),
            _ => None,
        }
    }
}
