//! `cargo xtask image`: from sources to `target/image/`.
//!
//! 1. The same sources on the same host give the same image, bit for bit; `--check-reproducible` and
//!    the test `reproducible` show it.
//! 2. Files appear in `target/image/` only after the whole image was made.

use std::env;
use std::error::Error as StdError;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::charon::{self, Charon};
use crate::compare::{self, Difference};
use crate::digest::Digest;
use crate::kernel::{self, Kernel, Reuse};
use crate::root::Root;
use crate::rootfs::Program;
use crate::sbom::{self, Part};
use crate::{disk, efi, host, rootfs, step, tools, userland};

/// Clock floor of a checkout without history, such as a source archive: 2026-11-01.
const BUILT_WITHOUT_HISTORY: u64 = 1_793_491_200;

/// What the other commands need of an image.
#[derive(Clone, Debug)]
pub struct Image {
    /// The kernel as built, for starting without firmware.
    pub kernel: PathBuf,
    /// The compressed root file system.
    pub initramfs: PathBuf,
    /// The EFI file.
    pub efi: PathBuf,
    /// The disk to be flashed.
    pub disk: PathBuf,
    /// charon, which the lab's data centre runs too.
    pub charon: PathBuf,
    /// Digest of the EFI file.
    pub digest: Digest,
    /// `rootfs.tsv`.
    pub table: PathBuf,
    /// Bytes of the files in the root.
    pub root_bytes: u64,
    /// Programs in the root.
    pub executables: Vec<Program>,
    /// Unix seconds of the sources, in the image's `release.json`.
    pub built: u64,
}

/// Why there is no image.
#[derive(Debug)]
pub enum Error {
    /// One part could not be made; the cause tells which.
    Part(Box<dyn StdError>),
    /// A file of the image cannot be written.
    File { path: PathBuf, cause: io::Error },
    /// Two builds of the same sources differ.
    Differs {
        second: PathBuf,
        differences: Vec<Difference>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Part(_) => f.write_str("the image cannot be made"),
            Error::File { path, .. } => write!(f, "cannot write {}", path.display()),
            Error::Differs {
                second,
                differences,
            } => {
                let list: Vec<String> = differences.iter().map(Difference::to_string).collect();
                write!(
                    f,
                    "two builds of the same sources differ: {}; see {}; rootfs.tsv tells the programs apart, \
                     and sources that changed meanwhile do this too",
                    list.join(", "),
                    second.display()
                )
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Part(cause) => Some(cause.as_ref()),
            Error::File { cause, .. } => Some(cause),
            Error::Differs { .. } => None,
        }
    }
}

fn part<E: StdError + 'static>(cause: E) -> Error {
    Error::Part(Box::new(cause))
}

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    // the crate is `image/` of the workspace
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// The `target` folder of the workspace.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// What does not change between two assemblies of one version.
struct Parts {
    tools: Root,
    kernel: Kernel,
    charon: Charon,
}

/// Makes the image in `target/image`.
pub fn build(cache: &Cache) -> Result<Image, Error> {
    host::ensure(cache).map_err(part)?;
    let parts = parts(cache, Reuse::Cached)?;
    let dir = target().join("image");
    let place = Place {
        programs: &target().join("userland"),
        image: &dir,
    };
    let image = assemble(cache, &parts, built(&workspace()), &place)?;
    step::say(
        "image",
        &format!("{}, sha256 {}", image.efi.display(), image.digest),
    );
    Ok(image)
}

/// Builds twice and compares; with [`Reuse::Again`] the kernel too, and no object file of an earlier check is used.
pub fn check_reproducible(cache: &Cache, reuse: Reuse) -> Result<(), Error> {
    let first = build(cache)?;
    build_again(cache, &first, reuse)
}

/// Builds in other folders what was built into `first`, and compares every file.
/// The second folder of programs stays, so that the next check compiles only what changed.
pub fn build_again(cache: &Cache, first: &Image, reuse: Reuse) -> Result<(), Error> {
    let mut parts = parts(cache, Reuse::Cached)?;
    let programs = target().join("userland-again");
    if reuse == Reuse::Again {
        remove(&programs)?;
        parts.kernel = kernel::ensure(
            cache,
            &parts.tools,
            &workspace().join("hardening/kernel"),
            reuse,
        )
        .map_err(part)?;
    }
    let again = target().join("image-again");
    let place = Place {
        programs: &programs,
        image: &again,
    };
    assemble(cache, &parts, first.built, &place)?;
    let differences = compare::folders(&target().join("image"), &again).map_err(part)?;
    if !differences.is_empty() {
        return Err(Error::Differs {
            second: again,
            differences,
        });
    }
    step::say(
        "image",
        &format!("two builds gave the same bytes, sha256 {}", first.digest),
    );
    remove(&again)
}

fn remove(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(Error::File {
            path: dir.to_owned(),
            cause,
        }),
        _ => Ok(()),
    }
}

fn digest_of(path: &Path) -> Result<Digest, Error> {
    Digest::of_file(path).map_err(|cause| Error::File {
        path: path.to_owned(),
        cause,
    })
}

fn parts(cache: &Cache, reuse: Reuse) -> Result<Parts, Error> {
    let tools = tools::ensure(cache).map_err(part)?;
    let charon = charon::ensure(cache, &tools).map_err(part)?;
    let kernel = kernel::ensure(cache, &tools, &workspace().join("hardening/kernel"), reuse)
        .map_err(part)?;
    Ok(Parts {
        tools,
        kernel,
        charon,
    })
}

/// Folders of one build.
struct Place<'a> {
    /// Target folder of the programs.
    programs: &'a Path,
    /// Where the image appears.
    image: &'a Path,
}

fn assemble(cache: &Cache, parts: &Parts, built: u64, place: &Place) -> Result<Image, Error> {
    let workspace = workspace();
    let dir = place.image;
    let version = env!("CARGO_PKG_VERSION");
    let userland = userland::build(cache, &workspace, place.programs).map_err(part)?;
    let root = rootfs::build(&rootfs::Inputs {
        init: &userland.init,
        collector: &userland.collector,
        charon: &parts.charon.program,
        charon_settings: &workspace.join("config/strongswan.conf"),
        version,
        built,
    })
    .map_err(part)?;

    let making = dir.with_extension("unfinished");
    remove(&making)?;
    fs::create_dir_all(&making).map_err(|cause| Error::File {
        path: making.clone(),
        cause,
    })?;
    let efi = making.join("collector.efi");
    let results = (making.join("initramfs.zst"), efi.clone());
    efi::build(
        cache,
        &parts.tools,
        &parts.kernel,
        &root.archive,
        version,
        (&results.0, &results.1),
    )
    .map_err(part)?;
    disk::build(cache, &parts.tools, &efi, &making.join("disk.raw")).map_err(part)?;
    let bill = sbom::build(&workspace, version, &debian_parts(parts)?).map_err(part)?;
    let put = |name: &str, bytes: &[u8]| {
        let path = making.join(name);
        fs::write(&path, bytes).map_err(|cause| Error::File { path, cause })
    };
    put("rootfs.tsv", root.table.as_bytes())?;
    put("sbom.cdx.json", bill.as_bytes())?;
    put(
        "cmdline.txt",
        format!("{}\n", efi::command_line()).as_bytes(),
    )?;
    for (from, name) in [
        (&parts.kernel.config, "kernel.config"),
        (&parts.kernel.image, "bzImage"),
        (&workspace.join("hardening/sysctl.conf"), "sysctl.conf"),
    ] {
        fs::copy(from, making.join(name)).map_err(|cause| Error::File {
            path: from.clone(),
            cause,
        })?;
    }
    remove(dir)?;
    fs::rename(&making, dir).map_err(|cause| Error::File {
        path: dir.to_owned(),
        cause,
    })?;
    let efi = dir.join("collector.efi");
    Ok(Image {
        kernel: dir.join("bzImage"),
        initramfs: dir.join("initramfs.zst"),
        disk: dir.join("disk.raw"),
        table: dir.join("rootfs.tsv"),
        charon: parts.charon.program.clone(),
        digest: digest_of(&efi)?,
        efi,
        root_bytes: root.bytes,
        executables: root.executables,
        built,
    })
}

/// Everything linked into the image that is no Rust crate. The host's C library is in `init` and `collector`.
fn debian_parts(parts: &Parts) -> Result<Vec<Part>, Error> {
    let tool = |package: &str| parts.tools.version(package).map_err(part);
    let mut list = vec![
        Part {
            name: "linux-source-6.12",
            version: parts.kernel.source_version.clone(),
            license: "GPL-2.0-only WITH Linux-syscall-note",
            role: "kernel",
        },
        Part {
            name: "strongswan",
            version: parts.charon.source_version.clone(),
            license: "GPL-2.0-or-later",
            role: "charon",
        },
        Part {
            name: "systemd-boot-efi",
            version: tool("systemd-boot-efi")?,
            license: "LGPL-2.1-or-later",
            role: "stub of the EFI file",
        },
    ];
    for package in charon::LINKED {
        let license = match package {
            "libssl-dev" => "Apache-2.0",
            "libzstd-dev" => "BSD-3-Clause",
            "zlib1g-dev" => "Zlib",
            _ => "LGPL-2.1-or-later",
        };
        list.push(Part {
            name: package,
            version: tool(package)?,
            license,
            role: "linked into charon",
        });
    }
    let host =
        step::answer(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "libc6-dev"]));
    if let Ok(version) = host {
        list.push(Part {
            name: "libc6-dev",
            version,
            license: "LGPL-2.1-or-later",
            role: "linked into init and collector (from the build host)",
        });
    }
    Ok(list)
}

/// Unix seconds of the last commit: the same for every build of one version.
fn built(workspace: &Path) -> u64 {
    let mut git = Command::new("git");
    git.current_dir(workspace)
        .args(["log", "-1", "--format=%ct"]);
    step::answer(&mut git)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(BUILT_WITHOUT_HISTORY)
}
