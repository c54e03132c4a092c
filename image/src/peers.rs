//! Software that nobody here wrote, for tests and measurements beside ours: a Debian 13 root of its own and pinned npm packages.
//!
//! 1. Programs run on the host without `chroot`, by wrappers in `host-bin/` that use the root's loader and libraries, so that the
//!    host's versions do not matter. They are not on the path: who wants a peer asks for it by [`PROGRAMS`]. Debian's node finds parts
//!    of itself by absolute names, so it alone gets a private view: the host's folders with `/usr` of the root.
//! 2. The npm packages are those of `tests/peers/package-lock.json`, checked by its digests; no script of theirs runs.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cache::{self, Cache};
use crate::digest::Key;
use crate::image;
use crate::root::{self, DebianRoot};
use crate::step::{self, Step};

/// Variable with the folder of the peers' programs.
const PROGRAMS: &str = "COLLECTOR_PEERS";
/// Variable with the folder that holds `node_modules`.
const PACKAGES: &str = "COLLECTOR_PEERS_NODE";
/// Where node, which sees `/usr` of the root, finds npm.
const NPM: &str = "/usr/share/nodejs/npm/bin/npm-cli.js";
/// Measured 5-10 s; the network decides.
const ESTIMATE: Duration = Duration::from_secs(20);
/// What `npm ci` reads.
const LISTS: [&str; 2] = ["package.json", "package-lock.json"];

const PEERS: DebianRoot<'static> = DebianRoot {
    name: "peers",
    packages: &[
        ("nodejs", "runs the tus server and client of others"),
        ("npm", "installs them"),
        ("curl", "follows the upload protocol step by step"),
        ("openssl", "stock sealing and opening, as released"),
        ("zstd", "stock compression"),
        ("tar", "stock archives"),
        ("findutils", "stock walk of a store"),
        ("coreutils", "stock digests"),
        (
            "time",
            "processor time and memory of both sides by the same rule",
        ),
        ("sslscan", "looks at the receiver's TLS from outside"),
        (
            "nginx-light",
            "stock server that takes files over mutual TLS",
        ),
        ("rsync", "stock comparison of two stores"),
        ("restic", "stock incremental backup"),
    ],
    sources: &[],
    customize: WRAPPERS,
};

const WRAPPERS: &str = r#"
mkdir /host-bin
for name in curl openssl zstd tar find xargs sha256sum sort split time sslscan nginx rsync; do
    for place in bin sbin; do
        [ -e "/usr/$place/$name" ] || continue
        cat > "/host-bin/$name" <<END
#!/bin/sh
root=\${0%/*/*}
libraries="\$root/usr/lib/x86_64-linux-gnu"
export OPENSSL_MODULES="\$libraries/ossl-modules"
exec "\$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "\$libraries" "\$root/usr/$place/$name" "\$@"
END
    done
done
# linked statically
cat > /host-bin/restic <<'END'
#!/bin/sh
exec "${0%/*/*}/usr/bin/restic" "$@"
END
cat > /host-bin/node <<'END'
#!/bin/sh
root=${0%/*/*}
[ "$(id -u)" = 0 ] && user= || user=--map-root-user
exec unshare $user --mount --propagation private sh -euc '
root=$1 view=$1/mnt here=$PWD
shift
mount -t tmpfs view "$view"
for folder in /*; do
    case $folder in /bin|/sbin|/lib*|/usr) continue ;; esac
    if [ -d "$folder" ] && [ ! -L "$folder" ]; then
        mkdir "$view$folder"
        mount --rbind "$folder" "$view$folder"
    fi
done
mkdir "$view/usr"
mount --bind "$root/usr" "$view/usr"
for link in bin sbin lib lib64; do ln -s "usr/$link" "$view/$link"; done
exec chroot "$view" /usr/bin/env --chdir="$here" /usr/bin/node "$@"
' node "$root" "$@"
END
chmod 755 /host-bin/*
for name in node curl openssl zstd tar find time sslscan nginx rsync restic; do test -x "/host-bin/$name"; done
"#;

/// Why the peers are not there.
#[derive(Debug)]
pub enum Error {
    Root(root::Error),
    Cache(cache::Error),
    /// A list of packages in the checkout cannot be read, or not be copied.
    List {
        path: PathBuf,
        cause: io::Error,
    },
    /// `npm ci` failed.
    Install {
        cause: step::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Root(_) => f.write_str("the programs to compare with cannot be had"),
            Error::Cache(_) => f.write_str("the packages to compare with need the cache"),
            Error::List { path, .. } => {
                write!(f, "cannot use the list of packages {}", path.display())
            }
            Error::Install { .. } => f.write_str("the npm packages of tests/peers cannot be had"),
        }
    }
}

impl From<cache::Error> for Error {
    fn from(cause: cache::Error) -> Error {
        Error::Cache(cause)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Root(cause) => Some(cause),
            Error::Cache(cause) => Some(cause),
            Error::List { cause, .. } => Some(cause),
            Error::Install { cause } => Some(cause),
        }
    }
}

/// Where the peers are.
#[derive(Clone, Debug)]
pub struct Peers {
    programs: PathBuf,
    packages: PathBuf,
}

impl Peers {
    /// The peers, made when they are not in the cache.
    pub fn ensure(cache: &Cache) -> Result<Peers, Error> {
        let root = PEERS.ensure(cache).map_err(Error::Root)?;
        let programs = root.path().join("host-bin");
        let packages = packages(cache, &programs.join("node"))?;
        Ok(Peers { programs, packages })
    }

    /// A program of the peers.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// What tests and measurements find them by.
    pub fn variables(&self) -> [(&'static str, OsString); 2] {
        [
            (PROGRAMS, self.programs.clone().into_os_string()),
            (PACKAGES, self.packages.clone().into_os_string()),
        ]
    }
}

fn packages(cache: &Cache, node: &Path) -> Result<PathBuf, Error> {
    let lists = image::workspace().join("tests/peers");
    let mut key = Key::default();
    for name in LISTS {
        let path = lists.join(name);
        let text = fs::read_to_string(&path).map_err(|cause| Error::List { path, cause })?;
        key = key.field(name, text);
    }
    cache.entry("npm-peers", &key.finish(), |dir| {
        for name in LISTS {
            let path = lists.join(name);
            fs::copy(&path, dir.join(name)).map_err(|cause| Error::List { path, cause })?;
        }
        let mut command = Command::new(node);
        command
            .arg(NPM)
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(dir);
        let log = cache.log("npm-peers");
        Step {
            what: "npm packages to test against",
            estimate: ESTIMATE,
            log: &log,
        }
        .run(&mut command)
        .map_err(|cause| Error::Install { cause })
    })
}
