//! `datacentre open`: opens bundles offline, with the only private key, and restores the hospital's store.
//!
//! | below OUT | what |
//! |---|---|
//! | `<box>/<source>/<path>` | the store as the hospital has it, byte for byte, under its raw names |
//! | `.versions/<box>/<source>/<sequence>-<entry>/<path>` | what this entry of this bundle replaced |
//! | `.removed/<box>/<source>/<sequence>-<entry>/<path>` | what the hospital removed |
//! | `.lost/<box>/<number>.json` | what a bundle held that the box has lost, as far as it will never come |
//! | `.state/<box>/history` | digest of every applied or lost bundle, one record of fixed length each |
//! | `.state/<box>/journal` | the moves of the bundle that is being applied |
//! | `.state/<box>/stage/`, `.state/<box>/parts/` | verified files and new folders on their way; parts of files that are not complete |
//!
//! Invariants
//! 1. Only what `bundle` verified is ever written; the store itself changes by renames alone, so a file in it is whole.
//! 2. Bundles of a box are applied in order without a gap; what comes after a gap waits and is reported. Only what the box
//!    itself reports as lost is passed over, by the rules of [`losses`].
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
mod fresh;
mod losses;
mod moves;
mod plan;
mod report;
mod state;
mod tree;

pub use report::{Fault, Gap, Lost, Refused, Report};

use crate::arguments::{self, chain};
use bundle::{
    Digest, OpenError, Opener, OpenerError, Trust, TrustError, UnverifiedBundle, VerifiedBundle,
};
use find::Found;
use losses::Notices;
use moves::Fate;
use state::BoxState;
use std::cmp::Ordering;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::{Duration, Instant};
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
A bundle that is missing holds back those after it, unless one of them reports that the box has lost it: then the files
that will never come are named in OUT/.lost. Exit status: 0 all is well, 1 something was refused, is missing, is lost or
did not fit (it says what), 2 the command line is wrong.

An example: datacentre open --cert pki/recipient.pem --key pki/recipient.key --trust pki/sealing-ca.pem \
                            --in sealed --out restored
where `datacentre ca pki` made keys for trials, and `collector seal` the bundles.
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

/// What a look at a bundle that may be opened found; the inner error is the reason for refusing it.
enum Look {
    Unreadable(io::Error),
    /// Its number is not after those that were applied: only its digest was wanted.
    Digest(Digest),
    Verified(Box<Result<VerifiedBundle, String>>),
    /// A bundle before it is missing.
    Waits,
}

/// Reads and verifies a bundle.
fn look(keys: &Keys, found: &Found) -> Look {
    match fs::read(&found.path) {
        Ok(bytes) => Look::Verified(Box::new(verify(keys, found, &bytes))),
        Err(error) => Look::Unreadable(error),
    }
}

/// Looks at bundles while those before them are applied: at most one is ahead of the one that is handed over.
fn look_ahead(keys: &Keys, mut next: u64, bundles: &[Found], looks: &SyncSender<Look>) {
    for found in bundles {
        let look = match found.name.sequence().cmp(&next) {
            Ordering::Less => match fs::read(&found.path) {
                Ok(bytes) => Look::Digest(Digest::of(&bytes)),
                Err(error) => Look::Unreadable(error),
            },
            Ordering::Equal => {
                next += 1;
                look(keys, found)
            }
            Ordering::Greater => Look::Waits,
        };
        if looks.send(look).is_err() {
            return;
        }
    }
}

/// Takes one box's bundles in order, until one is missing or refused, and on past what is lost.
fn open_box(
    keys: &Keys,
    tree: &Tree,
    mut state: BoxState,
    bundles: &[Found],
    report: &mut Report,
    progress: &mut dyn FnMut(&Report),
) -> Result<(), OpenFailure> {
    let mut left = bundles;
    let mut notices = None;
    loop {
        let taken = open_run(keys, tree, &mut state, left, report, progress)?;
        left = &left[taken..];
        if left.is_empty() {
            return Ok(());
        }
        let notices = notices.get_or_insert_with(|| Notices::gather(keys, left, report));
        if !notices.pass(tree, &mut state, report)? {
            for found in left {
                report.wait(found, state.applied() + 1);
            }
            return Ok(());
        }
    }
}

/// Takes bundles in order up to a gap; returns how many were taken.
fn open_run(
    keys: &Keys,
    tree: &Tree,
    state: &mut BoxState,
    bundles: &[Found],
    report: &mut Report,
    progress: &mut dyn FnMut(&Report),
) -> Result<usize, OpenFailure> {
    let next = state.applied() + 1;
    // nothing waits in the channel: with what is verified ahead, two bundles are in memory
    let (sender, looks) = mpsc::sync_channel(0);
    thread::scope(|scope| {
        scope.spawn(move || look_ahead(keys, next, bundles, &sender));
        // returning early drops the receiver, at which the other thread ends
        for ((place, found), look) in (0..).zip(bundles).zip(looks) {
            if found.name.sequence() > state.applied() + 1 {
                return Ok(place);
            }
            take(keys, tree, state, found, look, report)?;
            progress(report);
        }
        Ok(bundles.len())
    })
}

/// Applies a bundle, or says in the report why not.
fn take(
    keys: &Keys,
    tree: &Tree,
    state: &mut BoxState,
    found: &Found,
    mut looked: Look,
    report: &mut Report,
) -> Result<(), OpenFailure> {
    let sequence = found.name.sequence();
    if sequence > state.applied() && !matches!(looked, Look::Verified(..)) {
        // one of this number was refused, so it is this one's turn after all
        looked = look(keys, found);
    }
    let verified = match looked {
        Look::Unreadable(error) => Err(format!("cannot be read: {error}")),
        Look::Digest(digest) => {
            match state.record(sequence)? {
                Some((known, Fate::Applied)) if known == digest => {
                    report.already_applied += 1;
                    return Ok(());
                }
                Some((known, Fate::Lost)) => {
                    match losses::late(keys, found, known, digest) {
                        Ok(()) => report.late += 1,
                        Err((reason, alarm)) => report.refuse(found, reason, alarm),
                    }
                    return Ok(());
                }
                _ => {}
            }
            let reason =
                format!("another bundle with number {sequence} of this box was applied before");
            report.refuse(found, reason, true);
            return Ok(());
        }
        Look::Verified(verified) => *verified,
        Look::Waits => return Ok(()), // not reached: the next bundle was verified above
    };
    let bundle = match verified {
        Ok(bundle) => bundle,
        Err(reason) => {
            report.refuse(found, reason, false);
            return Ok(());
        }
    };
    let previous = state.applied();
    if bundle.manifest().previous != state.digest(previous)? {
        let reason =
            format!("it does not follow the bundle with number {previous} that was applied");
        report.refuse(found, reason, false);
        return Ok(());
    }
    if let Some(reason) = losses::contradiction(state, &bundle)? {
        report.refuse(found, reason, true);
        return Ok(());
    }
    apply::apply(tree, state, &bundle, report)
}

/// Verifies a bundle; the error is the reason for refusing it.
fn verify(keys: &Keys, found: &Found, bytes: &[u8]) -> Result<VerifiedBundle, String> {
    let verified: Result<VerifiedBundle, OpenError> = UnverifiedBundle::parse(bytes)
        .and_then(|bundle| bundle.decrypt(&keys.opener))
        .and_then(|content| content.verify(&keys.trust, &found.name));
    verified.map_err(|error| chain(&error))
}

/// Time between two lines of progress where standard error is no terminal.
const LINE_PERIOD: Duration = Duration::from_secs(5);

/// What a person sees of long work: one line that is rewritten on a terminal, a line now and then elsewhere.
struct Progress {
    terminal: bool,
    last: Instant,
}

impl Progress {
    fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            last: Instant::now(),
        }
    }

    fn show(&mut self, report: &Report) {
        let Report { bundles, files, .. } = report;
        if self.terminal {
            eprint!("\r{bundles} bundles, {files} files \x1b[K");
        } else if self.last.elapsed() >= LINE_PERIOD {
            self.last = Instant::now();
            eprintln!("datacentre open: {bundles} bundles applied, {files} files restored");
        }
    }

    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
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
    let mut progress = Progress::new();
    let report = run(&options, &mut |report| progress.show(report));
    progress.clear();
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
