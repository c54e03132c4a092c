//! The two programs of the box, linked statically and reproducibly.
//!
//! 1. Neither asks for a loader or a library.
//! 2. No path of the build machine is in them: the same sources give the same bytes in any target folder.
//!    The host's C library and compilers are inputs; the bill of materials names the library.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cache::Cache;
use crate::elf;
use crate::step::{self, Step};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\x1f";
/// Processor time of a first build, most of it AWS-LC and SQLite.
const ESTIMATE: Duration = Duration::from_secs(5 * 60);

/// The built programs.
#[derive(Clone, Debug)]
pub struct Userland {
    /// PID 1.
    pub init: PathBuf,
    /// The roles.
    pub collector: PathBuf,
}

/// Why the programs are not there.
#[derive(Debug)]
pub enum Error {
    /// Neither variable that tells cargo's home is set.
    NoCargoHome,
    /// cargo or rustc failed.
    Step(step::Error),
    /// A program is not static.
    Elf(elf::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoCargoHome => f.write_str("cargo's home is not known: set CARGO_HOME or HOME"),
            Error::Step(_) => f.write_str("the box's programs cannot be built"),
            Error::Elf(_) => f.write_str("a program was built, but not as it must be"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::NoCargoHome => None,
            Error::Step(cause) => Some(cause),
            Error::Elf(cause) => Some(cause),
        }
    }
}

/// Builds both programs below `target_dir`.
pub fn build(cache: &Cache, workspace: &Path, target_dir: &Path) -> Result<Userland, Error> {
    let built = build_static(cache, workspace, target_dir, &["init", "collector"])?;
    let userland = Userland {
        init: built.join("init"),
        collector: built.join("collector"),
    };
    elf::check_static(&userland.init).map_err(Error::Elf)?;
    elf::check_static(&userland.collector).map_err(Error::Elf)?;
    Ok(userland)
}

/// Builds packages as static programs and gives the folder where they are. The lab's programs are built so too.
pub fn build_static(
    cache: &Cache,
    workspace: &Path,
    target_dir: &Path,
    packages: &[&str],
) -> Result<PathBuf, Error> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["build", "--release", "--locked", "--target", TARGET]);
    command.arg("--target-dir").arg(target_dir);
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    let maps = path_maps(workspace, target_dir)?;
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Clink-arg=-Wl,--build-id=none".to_owned(),
    ];
    flags.extend(maps.iter().map(|map| format!("--remap-path-prefix={map}")));
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAG_SEPARATOR));
    let flags: Vec<String> = maps
        .iter()
        .map(|map| format!("-ffile-prefix-map={map}"))
        .collect();
    command.env(
        format!("CFLAGS_{}", TARGET.replace('-', "_")),
        flags.join(" "),
    );
    // `cargo xtask` leaves its own package's variables behind; build scripts must not see them
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    let what = packages.join(", ");
    let log = cache.log(&format!("programs-{}", packages.join("-")));
    Step {
        what: &what,
        estimate: ESTIMATE,
        log: &log,
    }
    .run(&mut command)
    .map_err(Error::Step)?;
    Ok(target_dir.join(TARGET).join("release"))
}

/// `from=to` for every folder whose name may end in a program; the later ones win inside the earlier ones.
fn path_maps(workspace: &Path, target_dir: &Path) -> Result<Vec<String>, Error> {
    let cargo_home = match (env::var_os("CARGO_HOME"), env::var_os("HOME")) {
        (Some(home), _) => PathBuf::from(home),
        (None, Some(home)) => Path::new(&home).join(".cargo"),
        (None, None) => return Err(Error::NoCargoHome),
    };
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let sysroot =
        step::answer(Command::new(rustc).args(["--print", "sysroot"])).map_err(Error::Step)?;
    Ok(vec![
        format!("{}=/rust", sysroot.trim()),
        format!("{}=/cargo", cargo_home.display()),
        format!("{}=/collector", workspace.display()),
        format!("{}=/target", target_dir.display()),
    ])
}
