//! `datacentre load`: many boxes deliver to one receiver, which runs as a process of its own on the loopback interface.
//!
//! | module | what |
//! |---|---|
//! | `field` | certificates and bundles of the boxes |
//! | `server` | the receiver's process: `datacentre receive`, or nginx with its DAV module for comparison |
//! | `clients` | the boxes: our own sender, or one PUT a bundle |
//! | `ceiling` | what the machine can do at most: disk, digest, cipher |
//! | `report` | figures, as text and as JSON |
//!
//! Invariants
//! 1. A bundle counts when it is durable: against its verified receipt; of nginx, which syncs nothing, after this program
//!    has synced the file and its folder.
//! 2. At the end every bundle is on the disk, byte for byte, once, and nothing else is; else there are no figures.
//! 3. Both kinds of client use the same TLS configuration, and the report names version, cipher and key exchange.

mod ceiling;
mod clients;
mod field;
mod report;
mod server;

use crate::arguments::{self, Failure, chain};
pub use field::{Field, SERVER, box_name, bundle_name};
use lexopt::prelude::*;
pub use report::Report;
pub use server::Server;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
usage: datacentre load [OPTION]... DIR

Starts a receiver on the loopback interface, lets many boxes deliver bundles to it over mutual TLS at the same time, checks
every receipt and every byte on the disk, and prints what it took. DIR must not exist; it is removed at the end.

  --boxes N        boxes, each with its own certificate and connection (default 200)
  --bundles N      bundles of each box, one after the other             (default 5)
  --bytes N        bytes of a bundle                                    (default 1048576)
  --chunk N        bytes of one request of our sender                   (default 4194304)
  --nginx PROGRAM  nginx receives by PUT instead, and this program syncs each file and its folder
  --ceiling        also measure what the disk, SHA-256 and AES-256-GCM can do here at most
  --json FILE      the figures as JSON too
";

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Settings {
    pub boxes: usize,
    pub bundles: usize,
    pub bytes: usize,
    pub chunk_bytes: u64,
    pub folder: PathBuf,
    /// The program that has `receive`.
    pub datacentre: PathBuf,
    pub nginx: Option<PathBuf>,
}

/// There are no figures. All of these stop.
#[derive(Debug)]
pub enum LoadError {
    Certificates(crate::ca::CaError),
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    Server {
        said: String,
    },
    Tls(upload::TlsFault),
    Key {
        path: PathBuf,
        source: bundle::SignerError,
    },
    Signer {
        path: PathBuf,
        source: bundle::signed::SignedError,
    },
    Deliver {
        bundle: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A client's thread ended before its time.
    Thread,
    Stored {
        bundle: String,
        what: &'static str,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificates(_) => write!(f, "cannot make certificates"),
            Self::Io { action, path, .. } => write!(f, "cannot {action} {}", path.display()),
            Self::Server { said } => write!(f, "the receiver did not start or ended: {said}"),
            Self::Tls(_) => write!(f, "cannot set up TLS"),
            Self::Key { path, .. } => write!(f, "cannot use key {}", path.display()),
            Self::Signer { path, .. } => write!(f, "cannot use certificate {}", path.display()),
            Self::Deliver { bundle, .. } => write!(f, "cannot deliver {bundle}"),
            Self::Thread => write!(f, "a thread of the clients ended early"),
            Self::Stored { bundle, what } => write!(f, "{bundle} on the disk: {what}"),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Certificates(source) => Some(source),
            Self::Io { source, .. } => Some(source),
            Self::Tls(source) => Some(source),
            Self::Key { source, .. } => Some(source),
            Self::Signer { source, .. } => Some(source),
            Self::Deliver { source, .. } => Some(source.as_ref()),
            Self::Server { .. } | Self::Thread | Self::Stored { .. } => None,
        }
    }
}

fn fault(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LoadError {
    move |source| LoadError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    arguments::finish("load", HELP, command(lexopt::Parser::from_args(arguments)))
}

fn command(mut parser: lexopt::Parser) -> Result<ExitCode, Failure> {
    let (mut boxes, mut bundles, mut bytes, mut chunk_bytes) = (200, 5, 1 << 20, 4 << 20);
    let (mut nginx, mut json, mut folder) = (None, None, None::<PathBuf>);
    let mut with_ceiling = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Err(Failure::Help),
            Long("boxes") => boxes = parser.value()?.parse()?,
            Long("bundles") => bundles = parser.value()?.parse()?,
            Long("bytes") => bytes = parser.value()?.parse()?,
            Long("chunk") => chunk_bytes = parser.value()?.parse()?,
            Long("nginx") => nginx = Some(parser.value()?.into()),
            Long("ceiling") => with_ceiling = true,
            Long("json") => json = Some(PathBuf::from(parser.value()?)),
            Value(value) if folder.is_none() => folder = Some(value.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    let folder = folder.ok_or(Failure::Missing("DIR"))?;
    let own = std::env::current_exe();
    let settings = Settings {
        boxes,
        bundles,
        bytes,
        chunk_bytes,
        datacentre: own
            .map_err(|source| Failure::command(fault("find", Path::new("myself"))(source)))?,
        folder,
        nginx,
    };
    let mut report = run(&settings).map_err(Failure::command)?;
    if with_ceiling {
        let measured = ceiling::measure(&settings).map_err(Failure::command)?;
        report.ceiling = Some(measured);
    }
    print!("{report}");
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
        let written = std::fs::write(&path, text);
        written.map_err(|source| Failure::command(fault("write", &path)(source)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One run in a folder that is made for it and removed after it.
pub fn run(settings: &Settings) -> Result<Report, LoadError> {
    let folder = &settings.folder;
    std::fs::create_dir(folder).map_err(fault("create", folder))?;
    let result = run_in_folder(settings);
    if let Err(error) = std::fs::remove_dir_all(folder) {
        eprintln!("load: {}", chain(&fault("remove", folder)(error)));
    }
    result
}

/// Each box holds its bundles open and a connection. Where the limit cannot be raised, opening them will say so.
fn allow_files(settings: &Settings) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let needed = (settings.boxes * (settings.bundles + 2) + 100) as u64;
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |most| most.min(needed)));
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

fn run_in_folder(settings: &Settings) -> Result<Report, LoadError> {
    allow_files(settings);
    let field = field::Field::make(settings)?;
    let mut server = server::Server::start(settings, &field)?;
    let negotiated = clients::negotiated(&field, server.address)?;
    let driven = clients::drive(settings, &field, &server);
    let taken = server.stop();
    let driven = driven.map_err(|error| match taken.died {
        Some(ref said) => LoadError::Server { said: said.clone() },
        None => error,
    })?;
    field.check_stored(settings)?;
    Ok(Report::new(settings, driven, taken, negotiated))
}
