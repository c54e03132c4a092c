//! What the host must have, and getting it.
//!
//! 1. Only what makes Debian roots and links programs comes from the host; everything else from those roots.
//! 2. On a Debian-like host missing packages are installed by `apt-get`, after saying which and why; elsewhere they are listed.
//!
//! The version of Rust is checked by cargo itself, by `rust-version`.

use std::env;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::cache::Cache;
use crate::step::{self, Step};

/// A thing the host needs: how to see that it is there, the package that brings it, and why.
struct Need {
    /// A program on the path, or a file.
    sign: &'static str,
    package: &'static str,
    reason: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        sign: "mmdebstrap",
        package: "mmdebstrap",
        reason: "makes the Debian 13 roots",
    },
    Need {
        sign: "/usr/share/keyrings/debian-archive-keyring.gpg",
        package: "debian-archive-keyring",
        reason: "checks what goes into them",
    },
    Need {
        sign: "cc",
        package: "gcc",
        reason: "links Rust programs; compiles SQLite, zstd, AWS-LC",
    },
    Need {
        sign: "/usr/lib/x86_64-linux-gnu/libc.a",
        package: "libc6-dev",
        reason: "the C library linked into the programs",
    },
    Need {
        sign: "zstd",
        package: "zstd",
        reason: "opens bundles in the tests, as a stock tool",
    },
    Need {
        sign: "openssl",
        package: "openssl",
        reason: "opens bundles in the tests, as a stock tool",
    },
    Need {
        sign: "tar",
        package: "tar",
        reason: "opens bundles in the tests, as a stock tool",
    },
];

/// Why the host cannot be used.
#[derive(Debug)]
pub enum Error {
    /// Not a Debian-like system, and something is missing.
    Missing(String),
    /// `apt-get` could not install.
    Install {
        packages: String,
        cause: step::Error,
    },
    /// Neither root nor `sudo`.
    NoRoot,
    /// The kernel or the processor is another.
    Machine,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing(list) => write!(f, "this host has no apt-get; install by hand:\n{list}"),
            Error::Install { packages, .. } => write!(f, "cannot install {packages}"),
            Error::NoRoot => {
                f.write_str("making Debian roots needs root: run as root or install sudo")
            }
            Error::Machine => f.write_str("the image is built on Linux on x86-64 only"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Install { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// Makes sure that the host has what it must, installing what is missing.
pub fn ensure(cache: &Cache) -> Result<(), Error> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Error::Machine);
    }
    if !step::is_root() && !present("sudo") {
        return Err(Error::NoRoot);
    }
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !present(need.sign)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = missing
        .iter()
        .map(|need| format!("  {}: {}", need.package, need.reason))
        .collect();
    let list = list.join("\n");
    if !present("apt-get") {
        return Err(Error::Missing(list));
    }
    step::say(
        "host",
        &format!(
            "installing by apt-get{}:\n{list}",
            if step::is_root() { "" } else { " with sudo" }
        ),
    );
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let error = |cause| Error::Install {
        packages: packages.join(" "),
        cause,
    };
    let log = cache.log("host-update");
    Step {
        what: "package lists",
        estimate: Duration::from_secs(20),
        log: &log,
    }
    .run(step::as_root("apt-get").arg("update"))
    .map_err(error)?;
    let log = cache.log("host-install");
    Step {
        what: "host packages",
        estimate: Duration::from_secs(60),
        log: &log,
    }
    .run(
        step::as_root("env")
            .args([
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "install",
                "--yes",
                "--no-install-recommends",
            ])
            .args(&packages),
    )
    .map_err(error)
}

/// Whether a program is on the path, or a file with a full name is there.
fn present(sign: &str) -> bool {
    if sign.starts_with('/') {
        return Path::new(sign).exists();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    // the folders of system programs are often not on the path of a user
    let system = [Path::new("/usr/sbin"), Path::new("/sbin")];
    env::split_paths(&path).any(|dir| dir.join(sign).is_file())
        || system.iter().any(|dir| dir.join(sign).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_files_are_found_and_absent_ones_are_not() {
        assert!(present("sh") && present("/etc/passwd"));
        assert!(!present("no-such-program-here") && !present("/no/such/file"));
    }
}
