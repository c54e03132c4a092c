//! The command line of `collector seal`, and what it asks for.

use super::failure::SealFailure;
use bundle::{BoxName, LocalSigner, Recipient, Sealer, Source};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

pub const HELP: &str = "\
usage: collector seal --recipient CERT.pem --signer-cert CERT.pem --signer-key KEY.pem
                      --box NAME --out DIR [--kind KIND] FOLDER...

Seals every regular file below the folders into bundles that only the recipient can open.

  --recipient CERT.pem    RSA certificate of who can open the bundles; may be given up to 16 times
  --signer-cert CERT.pem  certificate of the box's signing key; it must be for NAME
  --signer-key KEY.pem    that key: ECDSA P-256, PKCS #8
  --box NAME              name of the box: 1-32 characters of a-z, 0-9 and -
  --out DIR               where bundles go: NAME-0000000001.cms and so on; the sequence goes on from the last one there,
                          so keep at least that one. DIR is made; it must not lie in a FOLDER
  --kind KIND             kind of the folders after it, as said in the manifest: standardized, extended, transaction,
                          dpc, receipt or another word (default standardized)

Each folder is one source, named after its last component. Symbolic links and devices are not followed or read.
Files of any size are taken, in parts above 8 MiB. A run takes all files again; what it says of a file never names it.
Exit status: 0 all sealed, 1 something was not (it says what), 2 the command line is wrong.

An example, with keys for trials made by `datacentre ca pki`:

  collector seal --recipient pki/recipient.pem --signer-cert pki/sealing-box.pem --signer-key pki/sealing-box.key \\
                 --box box-1 --out sealed /srv/ss-mix2
  datacentre open --cert pki/recipient.pem --key pki/recipient.key --trust pki/sealing-ca.pem --in sealed --out restored

openssl, zstd and tar open the bundles too: see FORMAT.md of crate bundle.
";

/// What the command line asks for.
pub struct Order {
    pub sealer: Sealer<LocalSigner>,
    pub out: PathBuf,
    pub sources: Vec<Source>,
    /// The roots of the sources, in the same order.
    pub folders: Vec<PathBuf>,
}

pub fn read(path: PathBuf) -> Result<Vec<u8>, SealFailure> {
    fs::read(&path).map_err(|source| SealFailure::Read { path, source })
}

impl Order {
    /// Reads the command line and the files that it names; `None` where it asks for help.
    pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Self>, SealFailure> {
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
                Short('h') | Long("help") => return Ok(None),
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
        check_apart(&out, &folders)?;
        Ok(Some(Self {
            sealer,
            out,
            sources,
            folders,
        }))
    }
}

/// Refuses an output folder, there or not, that would be read while it is written.
fn check_apart(out: &Path, folders: &[PathBuf]) -> Result<(), SealFailure> {
    let absolute = std::path::absolute(out).map_err(|source| SealFailure::Folder {
        path: out.to_owned(),
        source,
    })?;
    let Some(there) = absolute
        .ancestors()
        .find_map(|path| path.canonicalize().ok())
    else {
        return Ok(());
    };
    let inside = |folder: &&PathBuf| {
        folder
            .canonicalize()
            .is_ok_and(|folder| there.starts_with(folder))
    };
    match folders.iter().find(inside) {
        Some(folder) => Err(SealFailure::OutInside {
            out: out.to_owned(),
            folder: folder.clone(),
        }),
        None => Ok(()),
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
