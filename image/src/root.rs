//! Debian 13 root folders: compilers and image tools, QEMU, the lab's guests.
//!
//! 1. A root is made by `mmdebstrap` from its own built-in mirror with security updates; no address is named here.
//! 2. Its cache key is the suite, the packages, the source packages and the customisation: the host's versions do not matter.
//!    Security updates of an existing root come by removing its folder from the cache.
//! 3. A root is trusted as far as Debian's archive keys, which `mmdebstrap` checks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cache::{self, Cache};
use crate::digest::Key;
use crate::step::{self, Step};

const SUITE: &str = "trixie";
/// Documentation and translations of no use here: half of the files.
const LEFT_OUT: [&str; 3] = [
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/locale/*",
];
/// Measured 30-40 s on two cores with a near mirror; the network decides.
const ESTIMATE: Duration = Duration::from_secs(90);

/// What goes into a root folder.
#[derive(Clone, Copy)]
pub struct DebianRoot<'a> {
    /// Name of the root in the cache.
    pub name: &'a str,
    /// Debian packages, each with its reason.
    pub packages: &'a [(&'a str, &'a str)],
    /// Debian source packages fetched to `/src`, each with its reason.
    pub sources: &'a [(&'a str, &'a str)],
    /// A shell script that runs inside at the end.
    pub customize: &'a str,
}

/// A finished root folder. Programs in it run by `chroot`, as root.
#[derive(Clone, Debug)]
pub struct Root {
    path: PathBuf,
}

/// Why a root is not there.
#[derive(Debug)]
pub enum Error {
    /// The cache cannot be used.
    Cache(cache::Error),
    /// `mmdebstrap` or a question to the root failed.
    Step { root: String, cause: step::Error },
}

impl From<cache::Error> for Error {
    fn from(cause: cache::Error) -> Error {
        Error::Cache(cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Cache(_) => f.write_str("a Debian root needs the cache"),
            Error::Step { root, .. } => write!(f, "Debian root {root} cannot be made or asked"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Cache(cause) => Some(cause),
            Error::Step { cause, .. } => Some(cause),
        }
    }
}

impl DebianRoot<'_> {
    /// Gives the root, making it when the cache has none with these inputs.
    pub fn ensure(&self, cache: &Cache) -> Result<Root, Error> {
        let key = Key::default()
            .field("suite", SUITE)
            .field("packages", names(self.packages, ","))
            .field("sources", names(self.sources, ","))
            .field("left out", LEFT_OUT.join(","))
            .field("customize", self.customize)
            .finish();
        let path = cache.entry(&format!("root-{}", self.name), &key, |dir| {
            self.make(cache, dir)
        })?;
        Ok(Root { path })
    }

    fn make(&self, cache: &Cache, dir: &Path) -> Result<(), Error> {
        let mut command = step::as_root("mmdebstrap");
        command.args(["--mode=root", "--variant=apt"]);
        command.args([
            "--aptopt=APT::Install-Recommends \"false\"",
            "--aptopt=Acquire::Languages \"none\"",
        ]);
        command.args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
        command.arg(format!("--include={}", names(self.packages, ",")));
        if !self.sources.is_empty() {
            command.arg(inside(&fetch_sources(&names(self.sources, " "))));
        }
        if !self.customize.is_empty() {
            command.arg(inside(self.customize));
        }
        command.arg(SUITE).arg(dir);
        let what = format!("Debian root {}", self.name);
        let log = cache.log(&format!("root-{}", self.name));
        Step {
            what: &what,
            estimate: ESTIMATE,
            log: &log,
        }
        .run(&mut command)
        .map_err(|cause| self.error(cause))
    }

    fn error(&self, cause: step::Error) -> Error {
        Error::Step {
            root: self.name.to_owned(),
            cause,
        }
    }
}

/// The list of sources has binary packages only; ask for source packages from the same places.
fn fetch_sources(sources: &str) -> String {
    format!(
        "sed -n 's/^deb /deb-src /p' /etc/apt/sources.list > /etc/apt/sources.list.d/source.list\n\
         apt-get update\n\
         mkdir -p /src\n\
         cd /src\n\
         apt-get source --download-only {sources}\n"
    )
}

fn inside(script: &str) -> String {
    format!("--customize-hook=chroot \"$1\" sh -eu <<'END_OF_SCRIPT'\n{script}\nEND_OF_SCRIPT\n")
}

fn names(table: &[(&str, &str)], separator: &str) -> String {
    table
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(separator)
}

impl Root {
    /// The folder on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A program of the root, run in the root.
    pub fn command(&self, program: &str) -> Command {
        let mut command = step::as_root("chroot");
        command
            .arg(&self.path)
            .args(["/usr/bin/env", "-i", "LC_ALL=C", "HOME=/root"]);
        command.args(["PATH=/usr/sbin:/usr/bin", program]);
        command
    }

    /// A shell script, run in the root and ended by its first failure.
    pub fn script(&self, script: &str) -> Command {
        let mut command = self.command("bash");
        command.args(["-euo", "pipefail", "-c", script]);
        command
    }

    /// Version of an installed package.
    pub fn version(&self, package: &str) -> Result<String, Error> {
        step::answer(
            self.command("dpkg-query")
                .args(["-W", "-f", "${Version}", package]),
        )
        .map_err(|cause| Error::Step {
            root: self.path.display().to_string(),
            cause,
        })
    }
}
