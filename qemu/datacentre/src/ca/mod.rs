//! `datacentre ca DIR`: makes the lab's certificates and keys, and a second set that must be refused.
//!
//! | file | what |
//! |---|---|
//! | `ike-ca.pem` `.key` | authority of the tunnel, ECDSA P-384 |
//! | `ike-box.pem` `.key`, `ike-datacentre.pem` `.key` | the two ends, ECDSA P-256, DNS name, IKE and TLS purposes |
//! | `tls-ca.pem` `.key` | authority of the upload, P-256 |
//! | `tls-crl.pem`, `tls-crl.der` | its revocation list, good for a year |
//! | `tls-server.pem` `.key`, `tls-box.pem` `.key` | receiver (serverAuth) and box (clientAuth) |
//! | `receipt.pem` `.key` | signs receipts, self-signed: the box pins it |
//! | `sealing-ca.pem` `.key`, `sealing-box.pem` `.key` | authority and key with which the box signs manifests |
//! | `sealing-crl.pem`, `sealing-crl.der` | its revocation list, good for a year |
//! | `recipient.pem` `.key` | RSA, self-signed; the key opens bundles and belongs on the decryption server alone |
//! | `wrong/` | the same files from other authorities, and the ones below |
//! | `wrong/*-expired.pem` `.key` | of the right authorities, expired: ike-box, ike-datacentre, tls-box, tls-server, sealing-box |
//! | `wrong/tls-box-revoked.pem` `.key`, `wrong/tls-server-revoked.pem` `.key` | of the right authority, on its list |
//! | `wrong/sealing-box-revoked.pem` `.key` | the same for signing manifests |
//! | `wrong/sealing-other-box.pem` `.key` | of the right authority, for another box |
//!
//! Invariants
//! 1. Every key is PKCS #8 PEM with mode 0600 from its first moment; nothing that exists is overwritten.
//! 2. Signing certificates carry emailProtection, because that is what `openssl cms -verify` asks for by default.
//!
//! For a laboratory: keys of authorities lie beside the rest. A real data centre keeps them apart.
//! Sources: RFC 5280; strongSwan's notes on certificates (DNS name in subjectAltName, serverAuth).

pub(crate) mod issue;

use crate::arguments;
use issue::{Authority, Curve, Kind, Validity};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
usage: datacentre ca [OPTION]... DIR

Makes the certificates and keys of a box and its data centre for the lab.

  --box NAME            name of the box in its certificates     (default box-1)
  --tunnel-host NAME    DNS name of the tunnel's far end         (default tunnel.datacentre.example)
  --receive-host NAME   DNS name of the receiver of bundles      (default receive.datacentre.example)
  --recipient-bits N    RSA key of the recipient: 2048, 3072, 4096 (default 3072)

Files: {ike,tls,sealing}-ca, ike-box, ike-datacentre, tls-server, tls-box, receipt, sealing-box, recipient, each
.pem and .key; tls-crl.pem and .der; and in wrong/ the same from other authorities, expired and revoked.
DIR is made if it does not exist. No file is ever overwritten.
";

/// Seconds that certificates are older than now, so that a slow clock does not refuse them.
const BACKDATE_SECONDS: u64 = 30 * DAY;
const DAY: u64 = 86_400;

/// What the certificates say.
pub struct Options {
    pub box_name: String,
    pub tunnel_host: String,
    pub receive_host: String,
    pub recipient_bits: RecipientBits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientBits {
    B2048,
    B3072,
    B4096,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            box_name: "box-1".to_owned(),
            tunnel_host: "tunnel.datacentre.example".to_owned(),
            receive_host: "receive.datacentre.example".to_owned(),
            recipient_bits: RecipientBits::B3072,
        }
    }
}

/// The set was not made.
#[derive(Debug)]
pub enum CaError {
    Certificate { name: String, source: rcgen::Error },
    Folder { path: PathBuf, source: io::Error },
    Write { path: PathBuf, source: io::Error },
}

impl fmt::Display for CaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate { name, .. } => write!(f, "cannot make certificate {name}"),
            Self::Folder { path, .. } => write!(f, "cannot make the folder {}", path.display()),
            Self::Write { path, .. } => write!(
                f,
                "cannot write {} (files that exist are kept)",
                path.display()
            ),
        }
    }
}

impl Error for CaError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Certificate { source, .. } => Some(source),
            Self::Folder { source, .. } | Self::Write { source, .. } => Some(source),
        }
    }
}

/// A file of the set, before it is written.
pub struct Made {
    /// Path below the set's folder.
    pub name: String,
    pub bytes: Vec<u8>,
    pub secrecy: Secrecy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    Public,
    Secret,
}

/// Makes all files in memory; `now` is in Unix seconds.
pub fn generate(options: &Options, now: u64) -> Result<Vec<Made>, CaError> {
    let mut files = Vec::new();
    let right = set(&mut files, "", options, now)?;
    set(&mut files, "wrong/", options, now)?;
    let expired = Validity {
        from: now - 400 * DAY,
        to: now - DAY,
    };
    let box_name = options.box_name.as_str();
    let ends = [
        (&right.ike, "ike-box", box_name, Kind::Ike),
        (
            &right.ike,
            "ike-datacentre",
            options.tunnel_host.as_str(),
            Kind::Ike,
        ),
        (&right.tls, "tls-box", box_name, Kind::Client),
        (
            &right.tls,
            "tls-server",
            options.receive_host.as_str(),
            Kind::Server,
        ),
        (&right.sealing, "sealing-box", box_name, Kind::Signer),
    ];
    for (authority, file, subject, kind) in ends {
        authority.issue(
            &mut files,
            &format!("wrong/{file}-expired"),
            subject,
            kind,
            expired,
        )?;
    }
    let valid = validity(now);
    let revoked = [
        right.tls.issue(
            &mut files,
            "wrong/tls-box-revoked",
            box_name,
            Kind::Client,
            valid,
        )?,
        right.tls.issue(
            &mut files,
            "wrong/tls-server-revoked",
            &options.receive_host,
            Kind::Server,
            valid,
        )?,
    ];
    right.sealing.issue(
        &mut files,
        "wrong/sealing-other-box",
        "other-box",
        Kind::Signer,
        valid,
    )?;
    let revoked_signer = right.sealing.issue(
        &mut files,
        "wrong/sealing-box-revoked",
        box_name,
        Kind::Signer,
        valid,
    )?;
    let until = now + 365 * DAY;
    right
        .tls
        .revocation_list(&mut files, "tls-crl", &revoked, now, until)?;
    right
        .sealing
        .revocation_list(&mut files, "sealing-crl", &[revoked_signer], now, until)?;
    Ok(files)
}

fn validity(now: u64) -> Validity {
    Validity {
        from: now - BACKDATE_SECONDS,
        to: now + 3650 * DAY,
    }
}

struct Authorities {
    ike: Authority,
    tls: Authority,
    sealing: Authority,
}

/// One whole set below a prefix. The list of the wrong set is its own authority's.
fn set(
    files: &mut Vec<Made>,
    prefix: &str,
    options: &Options,
    now: u64,
) -> Result<Authorities, CaError> {
    let valid = validity(now);
    let long = Validity {
        from: valid.from,
        to: now + 7300 * DAY,
    };
    let authority = |files: &mut Vec<Made>, name: &str, subject: &str, curve| {
        Authority::make(files, &format!("{prefix}{name}"), subject, curve, long)
    };
    let ike = authority(files, "ike-ca", "Tunnel Authority", Curve::P384)?;
    let tls = authority(files, "tls-ca", "Upload Authority", Curve::P256)?;
    let sealing = authority(files, "sealing-ca", "Sealing Authority", Curve::P256)?;
    let name = |file: &str| format!("{prefix}{file}");
    ike.issue(files, &name("ike-box"), &options.box_name, Kind::Ike, valid)?;
    ike.issue(
        files,
        &name("ike-datacentre"),
        &options.tunnel_host,
        Kind::Ike,
        valid,
    )?;
    tls.issue(
        files,
        &name("tls-server"),
        &options.receive_host,
        Kind::Server,
        valid,
    )?;
    tls.issue(
        files,
        &name("tls-box"),
        &options.box_name,
        Kind::Client,
        valid,
    )?;
    sealing.issue(
        files,
        &name("sealing-box"),
        &options.box_name,
        Kind::Signer,
        valid,
    )?;
    issue::receipt(files, &name("receipt"), valid)?;
    issue::recipient(files, &name("recipient"), options.recipient_bits, valid)?;
    if !prefix.is_empty() {
        let until = now + 365 * DAY;
        tls.revocation_list(files, &name("tls-crl"), &[], now, until)?;
        sealing.revocation_list(files, &name("sealing-crl"), &[], now, until)?;
    }
    Ok(Authorities { ike, tls, sealing })
}

/// Makes the set and writes it below a folder.
pub fn make(folder: &Path, options: &Options, now: u64) -> Result<(), CaError> {
    let path = folder.join("wrong");
    std::fs::create_dir_all(&path).map_err(|source| CaError::Folder { path, source })?;
    write(folder, generate(options, now)?)
}

/// Writes files below a folder that is there; keys only for their owner's eyes.
pub(crate) fn write(folder: &Path, files: Vec<Made>) -> Result<(), CaError> {
    for Made {
        name,
        bytes,
        secrecy,
    } in files
    {
        let path = folder.join(name);
        let mode = if secrecy == Secrecy::Secret {
            0o600
        } else {
            0o644
        };
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut file| file.write_all(&bytes))
            .map_err(|source| CaError::Write { path, source })?;
    }
    Ok(())
}

/// The command.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    arguments::finish("ca", HELP, run(arguments))
}

fn run(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode, arguments::Failure> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    let mut folder = None;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("box") => options.box_name = parser.value()?.string()?,
            Long("tunnel-host") => options.tunnel_host = parser.value()?.string()?,
            Long("receive-host") => options.receive_host = parser.value()?.string()?,
            Long("recipient-bits") => {
                options.recipient_bits = parser.value()?.parse_with(parse_bits)?
            }
            Short('h') | Long("help") => return Err(arguments::Failure::Help),
            Value(value) if folder.is_none() => folder = Some(PathBuf::from(value)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let folder = folder.ok_or(arguments::Failure::Missing("DIR"))?;
    make(&folder, &options, arguments::now()).map_err(arguments::Failure::command)?;
    println!(
        "certificates and keys of {} are in {}",
        options.box_name,
        folder.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn parse_bits(text: &str) -> Result<RecipientBits, &'static str> {
    match text {
        "2048" => Ok(RecipientBits::B2048),
        "3072" => Ok(RecipientBits::B3072),
        "4096" => Ok(RecipientBits::B4096),
        _ => Err("2048, 3072 or 4096"),
    }
}
