//! charon, strongSwan's IKE daemon: Debian's source with its security fixes, just the plugins in use, one static program.
//!
//! 1. The program has no interpreter and needs no shared library; its plugins are compiled in.
//! 2. `ml` gives ML-KEM, which Debian's own build of this version lacks.
//! 3. The program is a function of source version, compiler, libraries and recipe.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::cache::{self, Cache};
use crate::digest::Key;
use crate::elf;
use crate::root::{self, Root};
use crate::step::{self, Step};

/// Packages whose version changes the bytes of the program. The first four are linked into it.
const INPUTS: [&str; 6] = [
    "libssl-dev",
    "libzstd-dev",
    "zlib1g-dev",
    "libc6-dev",
    "gcc-14",
    "binutils",
];
/// Those of them that are linked into it, for the bill of materials.
pub const LINKED: [&str; 4] = ["libssl-dev", "libzstd-dev", "zlib1g-dev", "libc6-dev"];

/// Plugins, each with its reason.
const PLUGINS: [(&str, &str); 16] = [
    (
        "vici",
        "the `tunnel` role loads keys and connections, and watches",
    ),
    (
        "kernel-netlink",
        "security associations and policies of the kernel",
    ),
    ("socket-default", "UDP 500 and 4500"),
    ("openssl", "AES-GCM, ECDSA, ECDH, X25519, SHA-2"),
    ("ml", "ML-KEM-768 as additional key exchange"),
    ("sha3", "SHAKE, which `ml` needs"),
    ("kdf", "key derivation of IKEv2"),
    ("x509", "certificates"),
    ("revocation", "CRL of the certificates"),
    (
        "constraints",
        "name and policy constraints of the authorities",
    ),
    ("pubkey", "raw public keys inside certificates"),
    ("pem", "PEM of keys and certificates"),
    ("pkcs1", "RSA keys of authorities in the field"),
    ("pkcs8", "private keys"),
    ("nonce", "nonces"),
    ("random", "random bytes from the kernel"),
];

const BUILD: &str = "
rm -rf /src/strongswan
cd /src
dpkg-source --no-check -x strongswan_*.dsc strongswan
cd strongswan
export SOURCE_DATE_EPOCH=1767225600
export CFLAGS='-O2 -fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fcf-protection -fno-plt -ffile-prefix-map=/src=.'
autoreconf -i
./configure --prefix=/usr --sysconfdir=/etc --with-piddir=/run/charon --with-ipsecdir=/bin --localstatedir=/run \\
    --with-capabilities=native --disable-defaults --enable-monolithic --enable-static --disable-shared --enable-charon --enable-ikev2 $1
# libtool knows static programs only at a fixed address; this makes them static programs at any address
cat > /src/cc <<'END'
#!/bin/bash
arguments=()
for argument; do
    if [ \"$argument\" = -static ]; then argument=-static-pie; fi
    arguments+=(\"$argument\")
done
exec gcc \"${arguments[@]}\"
END
chmod 755 /src/cc
# charon runs as a user of its own with two capabilities; the C library has these calls, but only libcap declares them
cat > /src/capability.h <<'END'
int capget(void *header, void *data);
int capset(void *header, const void *data);
END
make -j$2 CC=/src/cc CPPFLAGS='-include /src/capability.h' LDFLAGS='-all-static -Wl,-z,relro,-z,now' LIBS='-lzstd -lz -lm'
strip --strip-all -o /src/charon src/charon/charon
cd /src
rm -rf strongswan
";

/// A built charon.
#[derive(Clone, Debug)]
pub struct Charon {
    /// The stripped program.
    pub program: PathBuf,
    /// Version of the Debian source package.
    pub source_version: String,
}

/// Why there is no charon.
#[derive(Debug)]
pub enum Error {
    /// The cache cannot be used.
    Cache(cache::Error),
    /// The tool root cannot be asked.
    Root(root::Error),
    /// A step of the build failed.
    Step(step::Error),
    /// The source is not where the tool root should have it.
    NoSource { dir: PathBuf },
    /// The result cannot be read or copied.
    File { path: PathBuf, cause: io::Error },
    /// The result is not one static program.
    Elf(elf::Error),
}

impl From<cache::Error> for Error {
    fn from(cause: cache::Error) -> Error {
        Error::Cache(cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Cache(_) => f.write_str("charon needs the cache"),
            Error::Root(_) => f.write_str("charon needs the tool root"),
            Error::Step(_) => f.write_str("charon cannot be built"),
            Error::NoSource { dir } => write!(
                f,
                "no strongswan_*.dsc in {}; remove this root from the cache",
                dir.display()
            ),
            Error::File { path, .. } => write!(f, "cannot use {}", path.display()),
            Error::Elf(_) => f.write_str("charon was built, but not as it must be"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Cache(cause) => Some(cause),
            Error::Root(cause) => Some(cause),
            Error::Step(cause) => Some(cause),
            Error::NoSource { .. } => None,
            Error::File { cause, .. } => Some(cause),
            Error::Elf(cause) => Some(cause),
        }
    }
}

/// Gives charon, building it when the cache has none.
pub fn ensure(cache: &Cache, tools: &Root) -> Result<Charon, Error> {
    let source_version = source_version(tools)?;
    let plugins: Vec<String> = PLUGINS
        .iter()
        .map(|(name, _)| format!("--enable-{name}"))
        .collect();
    let plugins = plugins.join(" ");
    let mut key = Key::default()
        .field("source", &source_version)
        .field("recipe", BUILD)
        .field("plugins", &plugins);
    for package in INPUTS {
        key = key.field(package, tools.version(package).map_err(Error::Root)?);
    }
    let dir = cache.entry("charon", &key.finish(), |dir| {
        build(cache, tools, &plugins, dir)
    })?;
    Ok(Charon {
        program: dir.join("charon"),
        source_version,
    })
}

fn build(cache: &Cache, tools: &Root, plugins: &str, dir: &Path) -> Result<(), Error> {
    let _lock = cache.lock("tools-source")?;
    let processors = thread::available_parallelism().map_or(1, |count| count.get());
    let mut script = tools.script(BUILD);
    script.args(["build", plugins, &(processors + 1).to_string()]);
    let log = cache.log("charon");
    Step {
        what: "charon",
        estimate: Duration::from_secs(90),
        log: &log,
    }
    .run(&mut script)
    .map_err(Error::Step)?;
    let built = tools.path().join("src/charon");
    let program = dir.join("charon");
    fs::copy(&built, &program).map_err(|cause| Error::File { path: built, cause })?;
    elf::check_static(&program).map_err(Error::Elf)
}

/// The version in the name of the source package's description.
fn source_version(tools: &Root) -> Result<String, Error> {
    let dir = tools.path().join("src");
    let entries = fs::read_dir(&dir).map_err(|cause| Error::File {
        path: dir.clone(),
        cause,
    })?;
    entries
        .flatten()
        .find_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?;
            Some(
                name.strip_prefix("strongswan_")?
                    .strip_suffix(".dsc")?
                    .to_owned(),
            )
        })
        .ok_or(Error::NoSource { dir })
}
