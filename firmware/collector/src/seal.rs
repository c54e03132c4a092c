//! `collector seal`: seals folders natively, by hand, with the same code as on the box.
//!
//! Invariants
//! 1. Sequence numbers go on from the last bundle in the output folder, whose digest becomes the next one's `previous`.
//! 2. A bundle appears under its name only when it is whole and durable: temporary name, fsync, rename, fsync of the folder.
//! 3. Memory is bounded: one bundle in the making, one being sealed, a few batches of files in between.
//!
//! One thread lists, reads and hashes; this one compresses, encrypts and writes. Messages name sources and counts, not
//! files: names in a store contain patient IDs.

mod files;

use crate::runtime::chain;
use bundle::{
    BoxName, BundleName, Closed, Digest, Draft, Entry, Event, LocalSigner, NameError, PushError,
    Recipient, RecipientError, SealError, Sealer, SignerError, Source,
};
use files::{Batch, Problem};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

const HELP: &str = "\
usage: collector seal --recipient CERT.pem --signer-cert CERT.pem --signer-key KEY.pem
                      --box NAME --out DIR [--kind KIND] FOLDER...

Seals every regular file below the folders into bundles that only the recipient can open.

  --recipient CERT.pem    RSA certificate of who can open the bundles; may be given up to 16 times
  --signer-cert CERT.pem  certificate of the box's signing key; it must be for NAME
  --signer-key KEY.pem    that key: ECDSA P-256, PKCS #8
  --box NAME              name of the box: 1-32 characters of a-z, 0-9 and -
  --out DIR               where bundles go: NAME-0000000001.cms and so on; the sequence goes on from the last one there
  --kind KIND             kind of the folders after it, as said in the manifest: standardized, extended, transaction,
                          dpc, receipt or another word (default standardized)

Each folder is one source, named after its last component. Symbolic links and devices are not followed or read.
Exit status: 0 all sealed, 1 something was not (it says what), 2 the command line is wrong.

Open the bundles with: datacentre open --help, or with openssl, zstd and tar (see FORMAT.md of crate bundle).
";

/// Batches between reader and sealer: with at most 9 MiB each, 36 MiB.
const BATCHES_IN_FLIGHT: usize = 4;

/// Time between two lines of progress.
const PROGRESS_PERIOD: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum SealFailure {
    Help,
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
    Folder {
        path: PathBuf,
        source: io::Error,
    },
    Write {
        name: String,
        source: io::Error,
    },
}

impl fmt::Display for SealFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help => f.write_str(HELP),
            Self::Line(_) => write!(f, "the command line is wrong; see collector seal --help"),
            Self::Missing(what) => write!(f, "{what} is missing; see collector seal --help"),
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::Name(_) => write!(f, "--box is refused"),
            Self::Recipient { path, .. } => write!(f, "{} cannot be a recipient", path.display()),
            Self::Signer(_) => write!(f, "--signer-key is refused"),
            Self::Seal(_) => write!(f, "cannot seal"),
            Self::Draft(_) => write!(f, "cannot put a file into a bundle"),
            Self::Folder { path, .. } => write!(f, "cannot use the folder {}", path.display()),
            Self::Write { name, .. } => write!(f, "cannot write the bundle {name}"),
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
            Self::Help | Self::Missing(_) => None,
        }
    }
}

impl From<lexopt::Error> for SealFailure {
    fn from(source: lexopt::Error) -> Self {
        Self::Line(source)
    }
}

/// The command.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match Order::parse(arguments).and_then(seal) {
        Ok(totals) if totals.problems == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(SealFailure::Help) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("collector seal: {}", chain(&error));
            match error {
                SealFailure::Line(_) | SealFailure::Missing(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// What the command line asks for.
struct Order {
    sealer: Sealer<LocalSigner>,
    out: PathBuf,
    sources: Vec<Source>,
    folders: Vec<PathBuf>,
}

fn read(path: PathBuf) -> Result<Vec<u8>, SealFailure> {
    fs::read(&path).map_err(|source| SealFailure::Read { path, source })
}

impl Order {
    fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, SealFailure> {
        use lexopt::prelude::*;
        let mut recipients = Vec::new();
        let (mut certificate, mut key, mut box_name, mut out) = (None, None, None, None);
        let mut kind = "standardized".to_owned();
        let (mut sources, mut folders) = (Vec::new(), Vec::new());
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("recipient") => recipients.push(PathBuf::from(parser.value()?)),
                Long("signer-cert") => certificate = Some(PathBuf::from(parser.value()?)),
                Long("signer-key") => key = Some(PathBuf::from(parser.value()?)),
                Long("box") => box_name = Some(parser.value()?.string()?),
                Long("out") => out = Some(PathBuf::from(parser.value()?)),
                Long("kind") => kind = parser.value()?.string()?,
                Short('h') | Long("help") => return Err(SealFailure::Help),
                Value(folder) => {
                    let folder = PathBuf::from(folder);
                    sources.push(Source {
                        name: source_name(&folder, &sources),
                        kind: kind.clone(),
                    });
                    folders.push(folder);
                }
                _ => return Err(argument.unexpected().into()),
            }
        }
        let box_name = box_name.ok_or(SealFailure::Missing("--box"))?;
        let certificate = certificate.ok_or(SealFailure::Missing("--signer-cert"))?;
        let key = key.ok_or(SealFailure::Missing("--signer-key"))?;
        let out = out.ok_or(SealFailure::Missing("--out"))?;
        if recipients.is_empty() {
            return Err(SealFailure::Missing("--recipient"));
        }
        if folders.is_empty() {
            return Err(SealFailure::Missing("FOLDER"));
        }
        let mut certificates = Vec::new();
        for path in recipients {
            let pem = read(path.clone())?;
            certificates.push(
                Recipient::from_pem(&pem)
                    .map_err(|source| SealFailure::Recipient { path, source })?,
            );
        }
        let box_name: BoxName = box_name.parse().map_err(SealFailure::Name)?;
        let signer = LocalSigner::from_pem(&read(key)?).map_err(SealFailure::Signer)?;
        let sealer = Sealer::new(box_name, certificates, &read(certificate)?, signer)
            .map_err(SealFailure::Seal)?;
        Ok(Self {
            sealer,
            out,
            sources,
            folders,
        })
    }
}

/// A source's name from a folder's: what a name cannot hold becomes `-`, and a second of the same name gets a number.
fn source_name(folder: &Path, taken: &[Source]) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let last = whole
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    let allowed = |c: char| {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            c
        } else {
            '-'
        }
    };
    let name: String = last.chars().map(allowed).take(28).collect();
    let name = name.trim_matches('-');
    let name = if name.is_empty() { "source" } else { name };
    let is_free = |name: &str| taken.iter().all(|source| source.name != name);
    if is_free(name) {
        return name.to_owned();
    }
    // at most as many are taken as there are sources, so one of these is free
    (2..=taken.len() + 2)
        .map(|n| format!("{name}-{n}"))
        .find(|name| is_free(name))
        .unwrap_or_default()
}

/// What was done.
#[derive(Default)]
struct Totals {
    files: u64,
    bytes: u64,
    bundles: u64,
    problems: u64,
}

fn seal(order: Order) -> Result<Totals, SealFailure> {
    let Order {
        sealer,
        out,
        sources,
        folders,
    } = order;
    fs::create_dir_all(&out).map_err(|source| SealFailure::Folder {
        path: out.clone(),
        source,
    })?;
    let (sequence, previous) = last_bundle(&out, sealer.box_name())?;
    let mut work = Work {
        draft: Draft::new(sources.clone()).map_err(SealFailure::Draft)?,
        sealer,
        out,
        sources,
        sequence,
        previous,
        totals: Totals::default(),
        progress: Progress::new(),
    };
    let (sender, receiver) = mpsc::sync_channel(BATCHES_IN_FLIGHT);
    std::thread::scope(|scope| {
        scope.spawn(move || files::read_all(&folders, &sender));
        // returning early drops the receiver, at which the reader ends
        receiver.into_iter().try_for_each(|batch| work.take(batch))
    })?;
    work.finish()
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

struct Work {
    draft: Draft,
    sealer: Sealer<LocalSigner>,
    out: PathBuf,
    sources: Vec<Source>,
    sequence: u64,
    previous: Option<Digest>,
    totals: Totals,
    progress: Progress,
}

impl Work {
    fn take(&mut self, batch: Batch) -> Result<(), SealFailure> {
        for Problem {
            source,
            what,
            error,
        } in batch.problems
        {
            self.totals.problems += 1;
            self.progress.clear();
            let source = &self.sources[source].name;
            eprintln!("collector seal: source {source}: {what}: {error}");
        }
        for item in batch.items {
            let (bytes, ends_file) = (item.bytes, item.ends_file);
            let entry = Entry {
                source: item.source,
                path: &item.path,
                event: Event::Added(item.body),
            };
            match self.draft.push(&entry) {
                Ok(()) => {}
                Err(PushError::Full) => {
                    self.close()?;
                    self.draft.push(&entry).map_err(SealFailure::Draft)?;
                }
                Err(error) => return Err(SealFailure::Draft(error)),
            }
            self.totals.bytes += bytes;
            self.totals.files += u64::from(ends_file);
        }
        self.progress.show(&self.totals);
        Ok(())
    }

    /// Seals and writes the draft and begins the next.
    fn close(&mut self) -> Result<(), SealFailure> {
        let next = Draft::new(self.sources.clone()).map_err(SealFailure::Draft)?;
        let closed = std::mem::replace(&mut self.draft, next)
            .close()
            .map_err(SealFailure::Draft)?;
        self.write(&closed)
    }

    fn write(&mut self, closed: &Closed) -> Result<(), SealFailure> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let sealed = self
            .sealer
            .seal(closed, self.sequence + 1, self.previous, now)
            .map_err(SealFailure::Seal)?;
        let name = sealed.name.to_string();
        write_durably(&self.out, &name, &sealed.bytes)
            .map_err(|source| SealFailure::Write { name, source })?;
        self.sequence += 1;
        self.previous = Some(sealed.sha256);
        self.totals.bundles += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<Totals, SealFailure> {
        if !self.draft.is_empty() {
            self.close()?;
        }
        self.progress.clear();
        let Totals {
            files,
            bytes,
            bundles,
            problems,
        } = &self.totals;
        println!(
            "sealed {files} files with {bytes} bytes in {bundles} bundles; {problems} problems"
        );
        Ok(self.totals)
    }
}

fn write_durably(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!(".{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// One line on a terminal, rewritten; nothing where standard error is no terminal.
struct Progress {
    shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self {
            shown: None,
            terminal: io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, totals: &Totals) {
        let due = self
            .shown
            .is_none_or(|shown| shown.elapsed() >= PROGRESS_PERIOD);
        if self.terminal && due {
            let megabytes = totals.bytes / 1_000_000;
            eprint!(
                "\r{} files, {megabytes} MB, {} bundles \x1b[K",
                totals.files, totals.bundles
            );
            self.shown = Some(Instant::now());
        }
    }

    fn clear(&self) {
        if self.terminal && self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
