//! `datacentre open`: opens bundles offline, with the only private key, and restores the hospital's store.
//!
//! | below OUT | what |
//! |---|---|
//! | `<box>/<source>/<path>` | the store as the hospital has it, byte for byte, under its raw names |
//! | `.versions/<box>/<source>/<sequence>-<entry>/<path>` | what this entry of this bundle replaced |
//! | `.removed/<box>/<source>/<sequence>-<entry>/<path>` | what the hospital removed |
//! | `.state/<box>/history` | digest of every applied bundle, one record of fixed length each |
//! | `.state/<box>/journal` | the moves of the bundle that is being applied |
//! | `.state/<box>/stage/`, `.state/<box>/parts/` | verified files on their way; parts of files that are not complete |
//!
//! Invariants
//! 1. Only what `bundle` verified is ever written; the store itself changes by renames alone, so a file in it is whole.
//! 2. Bundles of a box are applied in order without a gap; what comes after a gap waits and is reported.
//! 3. A bundle is applied once: its digest is in the history, and the journal makes the renames of an interrupted one end
//!    as they would have. A run that finds nothing new changes nothing.
//! 4. Another bundle with a number that was applied is refused as an alarm; refused bundles stay where they are.
//! 5. Nothing is deleted or overwritten in the store: what goes is moved to `.versions` or `.removed`.
//! 6. No symbolic link below OUT is ever followed.
//!
//! Trusts: the recipient's key, the authorities in the trust file, and the file system below OUT to keep what `syncfs`
//! and `fsync` confirmed. Messages name bundles and entry numbers, never files: names contain patient IDs.

mod apply;
mod find;
mod moves;
mod plan;
mod report;
mod state;
mod tree;

pub use report::{Fault, Gap, Refused, Report};

use crate::arguments::{self, chain};
use bundle::{
    Digest, OpenError, Opener, OpenerError, Trust, TrustError, UnverifiedBundle, VerifiedBundle,
};
use find::Found;
use state::BoxState;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tree::Tree;

const HELP: &str = "\
usage: datacentre open --cert CERT.pem --key KEY.pem --trust CA.pem [--revoked CRL.pem] --in DIR --out DIR
                       [--report FILE]

Opens all bundles (*.cms) below the folder --in, checks them, and restores the hospital's files below --out.

  --cert CERT.pem   certificate of a recipient of the bundles
  --key KEY.pem     its RSA key, PKCS #8
  --trust CA.pem    authorities whose certificates may sign bundles, one or more
  --revoked CRL.pem revocation lists of those authorities; a signer that is on one, or of which none speaks, is refused,
                    and so is a list that has ended
  --in DIR          folder with bundles, and its subfolders; nothing in it is changed
  --out DIR         OUT/<box>/<source>/<path>; replaced files in OUT/.versions, removed ones in OUT/.removed
  --report FILE     the result as JSON too

It can be run again at any time: what was applied is not applied again, and a run that was interrupted is continued.
A bundle that is missing holds back those after it. Exit status: 0 all is well, 1 something was refused, is missing or
did not fit (it says what), 2 the command line is wrong.
";

/// What to open, with what, and where to.
pub struct Options {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub trust: PathBuf,
    /// Revocation lists of the trusted authorities.
    pub revoked: Option<PathBuf>,
    pub input: PathBuf,
    pub output: PathBuf,
}

/// The run ended early; what was applied until then stays applied, and the next run goes on.
#[derive(Debug)]
pub enum OpenFailure {
    Read {
        path: PathBuf,
        source: io::Error,
    },
    Opener(OpenerError),
    Trust(TrustError),
    Revoked(TrustError),
    List {
        path: PathBuf,
        source: io::Error,
    },
    Output {
        doing: &'static str,
        source: io::Error,
    },
    Busy(PathBuf),
    History {
        box_name: String,
    },
    Journal {
        box_name: String,
    },
    Report {
        path: PathBuf,
        source: io::Error,
    },
}

impl fmt::Display for OpenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::Opener(_) => write!(f, "--cert and --key are refused"),
            Self::Trust(_) => write!(f, "--trust is refused"),
            Self::Revoked(_) => write!(f, "--revoked is refused"),
            Self::List { path, .. } => write!(f, "cannot list {}", path.display()),
            Self::Output { doing, .. } => write!(f, "the output folder: cannot {doing}"),
            Self::Busy(path) => write!(
                f,
                "another run is working on {}; wait for its end",
                path.display()
            ),
            Self::History { box_name } => {
                write!(
                    f,
                    "the history of box {box_name} is damaged; restore .state from a backup before any other run"
                )
            }
            Self::Journal { box_name } => {
                write!(
                    f,
                    "the journal of box {box_name} is damaged; restore .state from a backup before any other run"
                )
            }
            Self::Report { path, .. } => write!(f, "cannot write the report {}", path.display()),
        }
    }
}

impl Error for OpenFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::List { source, .. } => Some(source),
            Self::Output { source, .. } | Self::Report { source, .. } => Some(source),
            Self::Opener(source) => Some(source),
            Self::Trust(source) | Self::Revoked(source) => Some(source),
            Self::Busy(_) | Self::History { .. } | Self::Journal { .. } => None,
        }
    }
}

/// Gives an I/O failure below OUT its name.
fn output(doing: &'static str) -> impl Fn(io::Error) -> OpenFailure {
    move |source| OpenFailure::Output { doing, source }
}

/// Opens everything that is new. `progress` sees the report grow.
pub fn run(options: &Options, progress: &mut dyn FnMut(&Report)) -> Result<Report, OpenFailure> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| OpenFailure::Read {
            path: path.to_owned(),
            source,
        })
    };
    let mut trust = Trust::from_pem(&read(&options.trust)?).map_err(OpenFailure::Trust)?;
    if let Some(path) = &options.revoked {
        trust = trust
            .with_revocation_lists(&read(path)?, arguments::now())
            .map_err(OpenFailure::Revoked)?;
    }
    let keys = Keys {
        opener: Opener::from_pem(&read(&options.certificate)?, &read(&options.key)?)
            .map_err(OpenFailure::Opener)?,
        trust,
    };
    fs::create_dir_all(&options.output).map_err(output("make it"))?;
    let tree = Tree::open(&options.output).map_err(output("open it"))?;
    let lock = tree
        .lock()
        .map_err(output("lock it"))?
        .ok_or_else(|| OpenFailure::Busy(options.output.clone()))?;
    let mut report = Report::default();
    for (box_name, bundles) in find::bundles(&options.input, &mut report)? {
        let state = BoxState::load(&tree, box_name)?;
        open_box(&keys, &tree, state, &bundles, &mut report, progress)?;
    }
    drop(lock);
    Ok(report)
}

struct Keys {
    opener: Opener,
    trust: Trust,
}

/// Takes one box's bundles in order, until one is missing or refused.
fn open_box(
    keys: &Keys,
    tree: &Tree,
    mut state: BoxState,
    bundles: &[Found],
    report: &mut Report,
    progress: &mut dyn FnMut(&Report),
) -> Result<(), OpenFailure> {
    for found in bundles {
        let sequence = found.name.sequence();
        if sequence > state.applied() + 1 {
            report.wait(found, state.applied() + 1);
            continue;
        }
        let bytes = match fs::read(&found.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                report.refuse(found, format!("cannot be read: {error}"), false);
                continue;
            }
        };
        if let Some(applied) = state.digest(sequence)? {
            if applied == Digest::of(&bytes) {
                report.already_applied += 1;
            } else {
                let reason =
                    format!("another bundle with number {sequence} of this box was applied before");
                report.refuse(found, reason, true);
            }
            continue;
        }
        match check(keys, &state, found, &bytes)? {
            Ok(bundle) => {
                drop(bytes);
                apply::apply(tree, &mut state, &bundle, report)?;
                progress(report);
            }
            Err(reason) => report.refuse(found, reason, false),
        }
    }
    Ok(())
}

/// Verifies a bundle and its place in the chain; the inner error is the reason for refusing it.
fn check(
    keys: &Keys,
    state: &BoxState,
    found: &Found,
    bytes: &[u8],
) -> Result<Result<VerifiedBundle, String>, OpenFailure> {
    let verified: Result<VerifiedBundle, OpenError> = UnverifiedBundle::parse(bytes)
        .and_then(|bundle| bundle.decrypt(&keys.opener))
        .and_then(|content| content.verify(&keys.trust, &found.name));
    let bundle = match verified {
        Ok(bundle) => bundle,
        Err(error) => return Ok(Err(chain(&error))),
    };
    let previous = state.applied();
    let before = if previous == 0 {
        None
    } else {
        state.digest(previous)?
    };
    Ok(match bundle.check_previous(before) {
        Ok(()) => Ok(bundle),
        Err(error) => Err(chain(&error)),
    })
}

/// The command.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    arguments::finish("open", HELP, command(arguments))
}

fn command(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode, arguments::Failure> {
    use lexopt::prelude::*;
    let (mut certificate, mut key, mut trust, mut revoked) = (None, None, None, None);
    let (mut input, mut output, mut report_file) = (None, None, None);
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        let place = match argument {
            Long("cert") => &mut certificate,
            Long("key") => &mut key,
            Long("trust") => &mut trust,
            Long("revoked") => &mut revoked,
            Long("in") => &mut input,
            Long("out") => &mut output,
            Long("report") => &mut report_file,
            Short('h') | Long("help") => return Err(arguments::Failure::Help),
            _ => return Err(argument.unexpected().into()),
        };
        *place = Some(PathBuf::from(parser.value()?));
    }
    let need = |value: Option<PathBuf>, name| value.ok_or(arguments::Failure::Missing(name));
    let options = Options {
        certificate: need(certificate, "--cert")?,
        key: need(key, "--key")?,
        trust: need(trust, "--trust")?,
        revoked,
        input: need(input, "--in")?,
        output: need(output, "--out")?,
    };
    let terminal = io::stderr().is_terminal();
    let report = run(&options, &mut |report| {
        if terminal {
            eprint!(
                "\r{} bundles, {} files \x1b[K",
                report.bundles, report.files
            );
        }
    });
    if terminal {
        eprint!("\r\x1b[K");
    }
    let report = report.map_err(arguments::Failure::command)?;
    print!("{report}");
    if let Some(path) = report_file {
        let json = report.to_json();
        fs::write(&path, json)
            .map_err(|source| arguments::Failure::command(OpenFailure::Report { path, source }))?;
    }
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
