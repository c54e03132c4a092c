//! The root file system, entry by entry, with the reason of each. It is an initramfs; nothing is executed from a disk.
//!
//! 1. This table is the whole root: what is not here is not on the box.
//! 2. The archive and `rootfs.tsv` are made from the same entries.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cpio::{self, Content, Entry};
use crate::digest::Digest;

/// Where the bytes of an entry come from.
enum Source {
    Directory,
    Console,
    Init,
    Collector,
    Charon,
    CharonSettings,
    Release,
}

struct Row {
    path: &'static str,
    permissions: u32,
    source: Source,
    reason: &'static str,
}

const fn row(path: &'static str, permissions: u32, source: Source, reason: &'static str) -> Row {
    Row {
        path,
        permissions,
        source,
        reason,
    }
}

const TABLE: &[Row] = &[
    row("bin", 0o555, Source::Directory, "programs that init starts"),
    row(
        "bin/charon",
        0o555,
        Source::Charon,
        "IKEv2; strongSwan's daemon, no code of ours",
    ),
    row(
        "bin/collector",
        0o555,
        Source::Collector,
        "every role is a subcommand of it",
    ),
    row(
        "dev",
        0o755,
        Source::Directory,
        "device files of the kernel",
    ),
    row(
        "dev/console",
        0o600,
        Source::Console,
        "init's first messages, before the device files are mounted",
    ),
    row(
        "etc",
        0o555,
        Source::Directory,
        "settings that are part of the version",
    ),
    row(
        "etc/release.json",
        0o444,
        Source::Release,
        "version and floor of the clock",
    ),
    row(
        "etc/strongswan.conf",
        0o444,
        Source::CharonSettings,
        "charon's settings; connections come over its socket",
    ),
    row(
        "init",
        0o555,
        Source::Init,
        "the first process: mounts, roles, supervision, watchdog",
    ),
    row(
        "mnt",
        0o755,
        Source::Directory,
        "the hospital's shares and the disc",
    ),
    row(
        "proc",
        0o555,
        Source::Directory,
        "process information of the kernel",
    ),
    row(
        "run",
        0o755,
        Source::Directory,
        "sockets, status, views of the roles; in memory",
    ),
    row(
        "state",
        0o755,
        Source::Directory,
        "the only file system that lasts",
    ),
    row(
        "sys",
        0o555,
        Source::Directory,
        "device information of the kernel",
    ),
    row(
        "tmp",
        0o755,
        Source::Directory,
        "in memory, for what a library insists on",
    ),
];

/// The files that enter the root from outside.
pub struct Inputs<'a> {
    /// PID 1.
    pub init: &'a Path,
    /// The roles.
    pub collector: &'a Path,
    /// IKE daemon.
    pub charon: &'a Path,
    /// `config/strongswan.conf`.
    pub charon_settings: &'a Path,
    /// Version of the workspace.
    pub version: &'a str,
    /// Unix seconds of the sources.
    pub built: u64,
}

/// The root in both forms.
pub struct RootFs {
    /// cpio archive, not yet compressed.
    pub archive: Vec<u8>,
    /// One line for each entry: path, mode, bytes, sha256, reason.
    pub table: String,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files with permission to be executed.
    pub executables: Vec<Program>,
}

/// A program of the root.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it lies on the box.
    pub path: String,
    /// Why it is there.
    pub reason: &'static str,
}

/// Why there is no root.
#[derive(Debug)]
pub enum Error {
    /// An input cannot be read.
    Read { path: PathBuf, cause: io::Error },
    /// The entries do not fit together.
    Archive(cpio::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read { path, .. } => {
                write!(f, "cannot read {} for the root file system", path.display())
            }
            Error::Archive(_) => f.write_str("the table of the root file system is wrong"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Read { cause, .. } => Some(cause),
            Error::Archive(cause) => Some(cause),
        }
    }
}

/// Makes the root from its inputs.
pub fn build(inputs: &Inputs) -> Result<RootFs, Error> {
    let mut entries = Vec::with_capacity(TABLE.len());
    let mut table = "path\tmode\tbytes\tsha256\treason\n".to_owned();
    let (mut bytes, mut executables) = (0, Vec::new());
    for row in TABLE {
        let content = content(&row.source, inputs)?;
        let (size, digest) = match &content {
            Content::File(content) => (content.len().to_string(), Digest::of(content).to_string()),
            Content::Directory | Content::Character { .. } => ("-".to_owned(), "-".to_owned()),
        };
        table.push_str(&format!(
            "/{}\t{:04o}\t{size}\t{digest}\t{}\n",
            row.path, row.permissions, row.reason
        ));
        if let Content::File(content) = &content {
            bytes += content.len() as u64;
            if row.permissions & 0o111 != 0 {
                executables.push(Program {
                    path: format!("/{}", row.path),
                    reason: row.reason,
                });
            }
        }
        entries.push(Entry {
            path: row.path.to_owned(),
            permissions: row.permissions,
            content,
        });
    }
    let archive = cpio::archive(entries).map_err(Error::Archive)?;
    Ok(RootFs {
        archive,
        table,
        bytes,
        executables,
    })
}

fn content(source: &Source, inputs: &Inputs) -> Result<Content, Error> {
    let file = |path: &Path| {
        fs::read(path)
            .map(Content::File)
            .map_err(|cause| Error::Read {
                path: path.to_owned(),
                cause,
            })
    };
    match source {
        Source::Directory => Ok(Content::Directory),
        Source::Console => Ok(Content::Character { major: 5, minor: 1 }),
        Source::Init => file(inputs.init),
        Source::Collector => file(inputs.collector),
        Source::Charon => file(inputs.charon),
        Source::CharonSettings => file(inputs.charon_settings),
        Source::Release => {
            let release = serde_json::json!({ "version": inputs.version, "built": inputs.built });
            Ok(Content::File(format!("{release}\n").into_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_three_programs_and_the_same_bytes_each_time() {
        let file = std::env::temp_dir().join(format!("rootfs-{}", std::process::id()));
        fs::write(&file, b"content").unwrap();
        let inputs = Inputs {
            init: &file,
            collector: &file,
            charon: &file,
            charon_settings: &file,
            version: "0.1.0",
            built: 7,
        };
        let one = build(&inputs).unwrap();
        let other = build(&inputs).unwrap();
        assert_eq!(one.executables.len(), 3);
        assert_eq!(one.archive, other.archive);
        assert_eq!(one.table.lines().count(), TABLE.len() + 1);
        fs::remove_file(file).unwrap();
    }
}
