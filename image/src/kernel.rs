//! The kernel: Debian's source, our options, no modules.
//!
//! 1. Every option that `hardening/kernel/*.config` does not name, and no named option needs, is off (`allnoconfig`).
//! 2. Every option that the fragments name holds in the final configuration, or the build stops and names it: an option whose
//!    dependency vanished with a new source version is never lost silently.
//! 3. The image is a function of source version, compiler, fragments and recipe; nothing of the build machine enters it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::cache::{self, Cache};
use crate::digest::Key;
use crate::root::{self, Root};
use crate::step::{self, Step};

const SOURCE: &str = "linux-source-6.12";
/// Packages whose version changes the bytes of the kernel.
const COMPILERS: [&str; 2] = ["gcc-14", "binutils"];
/// Processor time of a build, measured; divided by the processors it is the estimate.
const PROCESSOR_TIME: Duration = Duration::from_secs(16 * 60);

/// Unpacks, configures. `/src/kernel` holds the fragments.
const CONFIGURE: &str = "
rm -rf /src/linux-source-6.12
cd /src
tar xf /usr/src/linux-source-6.12.tar.xz
cat /src/kernel/*.config > /src/all.config
cd linux-source-6.12
make -s KCONFIG_ALLCONFIG=/src/all.config allnoconfig
";

/// Compiles. The fixed names and times stand where a kernel says who built it, where and when.
const COMPILE: &str = "
cd /src/linux-source-6.12
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026' KBUILD_BUILD_USER=collector KBUILD_BUILD_HOST=box
export KBUILD_BUILD_VERSION=1 SOURCE_DATE_EPOCH=1767225600
make -j$1 bzImage
";

/// A built kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `bzImage`, itself an EFI program.
    pub image: PathBuf,
    /// Its complete configuration.
    pub config: PathBuf,
    /// Version of the Debian source package.
    pub source_version: String,
    /// What `uname -r` says.
    pub release: String,
}

/// Why there is no kernel.
#[derive(Debug)]
pub enum Error {
    /// The cache cannot be used.
    Cache(cache::Error),
    /// The tool root cannot be asked.
    Root(root::Error),
    /// A step of the build failed.
    Step(step::Error),
    /// A file of the fragments or of the result cannot be used.
    File { path: PathBuf, cause: io::Error },
    /// Options that the fragments name and the source does not give.
    Options(Vec<String>),
}

impl From<cache::Error> for Error {
    fn from(cause: cache::Error) -> Error {
        Error::Cache(cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Cache(_) => f.write_str("the kernel needs the cache"),
            Error::Root(_) => f.write_str("the kernel needs the tool root"),
            Error::Step(_) => f.write_str("the kernel cannot be built"),
            Error::File { path, .. } => write!(f, "cannot use {}", path.display()),
            Error::Options(options) => write!(
                f,
                "the kernel source does not give what hardening/kernel asks for; correct or remove: {}",
                options.join(", ")
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Cache(cause) => Some(cause),
            Error::Root(cause) => Some(cause),
            Error::Step(cause) => Some(cause),
            Error::File { cause, .. } => Some(cause),
            Error::Options(_) => None,
        }
    }
}

/// Whether a kernel of the cache may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reuse {
    /// The usual way.
    Cached,
    /// Build it again, in its own entry of the cache, to compare.
    Again,
}

/// Gives the kernel for the fragments in `fragments`, building it when the cache has none.
pub fn ensure(
    cache: &Cache,
    tools: &Root,
    fragments: &Path,
    reuse: Reuse,
) -> Result<Kernel, Error> {
    let source_version = tools.version(SOURCE).map_err(Error::Root)?;
    let files = read_fragments(fragments)?;
    let mut key = Key::default()
        .field("source", &source_version)
        .field("recipe", [CONFIGURE, COMPILE].concat());
    for package in COMPILERS {
        key = key.field(package, tools.version(package).map_err(Error::Root)?);
    }
    for (name, text) in &files {
        key = key.field(name, text);
    }
    if reuse == Reuse::Again {
        key = key.field("again", std::process::id().to_le_bytes());
    }
    let dir = cache.entry("kernel", &key.finish(), |dir| {
        build(cache, tools, &files, dir)
    })?;
    let release_file = dir.join("release");
    let release = fs::read_to_string(&release_file).map_err(|cause| Error::File {
        path: release_file.clone(),
        cause,
    })?;
    Ok(Kernel {
        image: dir.join("bzImage"),
        config: dir.join("kernel.config"),
        source_version,
        release: release.trim().to_owned(),
    })
}

fn build(cache: &Cache, tools: &Root, files: &[(String, String)], dir: &Path) -> Result<(), Error> {
    let _lock = cache.lock("tools-source")?;
    let put = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|cause| Error::File {
            path: path.clone(),
            cause,
        })
    };
    for (name, text) in files {
        put(name, text)?;
    }
    let inside = tools.path().join("src/kernel");
    step::answer(step::as_root("rm").arg("-rf").arg(&inside)).map_err(Error::Step)?;
    step::answer(step::as_root("cp").arg("-r").arg(dir).arg(&inside)).map_err(Error::Step)?;

    let log = cache.log("kernel-configure");
    let estimate = Duration::from_secs(30);
    Step {
        what: "kernel configuration",
        estimate,
        log: &log,
    }
    .run(&mut tools.script(CONFIGURE))
    .map_err(Error::Step)?;
    let tree = tools.path().join("src/linux-source-6.12");
    let config_file = tree.join(".config");
    let config = fs::read_to_string(&config_file).map_err(|cause| Error::File {
        path: config_file.clone(),
        cause,
    })?;
    let missing = not_given(files.iter().map(|(_, text)| text.as_str()), &config);
    if !missing.is_empty() {
        return Err(Error::Options(missing));
    }

    let processors = thread::available_parallelism().map_or(1, |count| count.get());
    let estimate = PROCESSOR_TIME / u32::try_from(processors).unwrap_or(1);
    let log = cache.log("kernel-compile");
    let mut compile = tools.script(COMPILE);
    compile.args(["compile", &(processors + 1).to_string()]);
    Step {
        what: "kernel",
        estimate,
        log: &log,
    }
    .run(&mut compile)
    .map_err(Error::Step)?;
    copy(&tree.join("arch/x86/boot/bzImage"), &dir.join("bzImage"))?;
    copy(&config_file, &dir.join("kernel.config"))?;
    copy(
        &tree.join("include/config/kernel.release"),
        &dir.join("release"),
    )?;
    step::answer(step::as_root("rm").arg("-rf").arg(&tree)).map_err(Error::Step)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map(drop).map_err(|cause| Error::File {
        path: from.to_owned(),
        cause,
    })
}

/// Reads the files of the folder, sorted by name.
fn read_fragments(dir: &Path) -> Result<Vec<(String, String)>, Error> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        |cause| Error::File { path, cause }
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(file_error(dir))? {
        let path = entry.map_err(file_error(dir))?.path();
        let text = fs::read_to_string(&path).map_err(file_error(&path))?;
        if let Some(name) = path.file_name() {
            files.push((name.to_string_lossy().into_owned(), text));
        }
    }
    files.sort();
    Ok(files)
}

/// Lines of the fragments that the configuration does not fulfil.
fn not_given<'a>(fragments: impl Iterator<Item = &'a str>, config: &str) -> Vec<String> {
    let given: std::collections::HashSet<&str> = config.lines().collect();
    let is_set = |name: &str| {
        given.iter().any(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('='))
        })
    };
    fragments
        .flat_map(str::lines)
        .filter(|line| {
            match line
                .strip_prefix("# ")
                .and_then(|rest| rest.strip_suffix(" is not set"))
            {
                Some(name) => is_set(name),
                None => line.starts_with("CONFIG_") && !given.contains(line),
            }
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_CD=7\n";

    #[test]
    fn an_option_that_the_source_does_not_give_is_named() {
        let missing = not_given(
            ["# reason\nCONFIG_A=y\nCONFIG_E=y\nCONFIG_CD=8\n"].into_iter(),
            CONFIG,
        );
        assert_eq!(missing, ["CONFIG_E=y", "CONFIG_CD=8"]);
    }

    #[test]
    fn an_option_that_must_be_off_and_is_on_is_named() {
        let missing = not_given(
            ["# CONFIG_A is not set\n# CONFIG_B is not set\n# CONFIG_C is not set\n"].into_iter(),
            CONFIG,
        );
        assert_eq!(missing, ["# CONFIG_A is not set"]);
    }
}
