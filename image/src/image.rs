//! `cargo xtask image`: from sources to `target/image/`.
//!
//! 1. The same sources on the same host give the same EFI file, bit for bit; `--check-reproducible` shows it.
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
use crate::digest::Digest;
use crate::kernel::{self, Kernel, Reuse};
use crate::root::Root;
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
    /// Bytes of the files in the root.
    pub root_bytes: u64,
    /// Programs in the root.
    pub executables: usize,
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
        what: &'static str,
        first: Digest,
        second: Digest,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Part(_) => f.write_str("the image cannot be made"),
            Error::File { path, .. } => write!(f, "cannot write {}", path.display()),
            Error::Differs {
                what,
                first,
                second,
            } => {
                write!(
                    f,
                    "two builds of {what} differ: {first} and {second}; compare the two files and their inputs"
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
    let image = assemble(cache, &parts, &target().join("userland"), &dir)?;
    step::say(
        "image",
        &format!("{}, sha256 {}", image.efi.display(), image.digest),
    );
    Ok(image)
}

/// Builds twice, in two target folders, and compares. With [`Reuse::Again`] the kernel too.
pub fn check_reproducible(cache: &Cache, reuse: Reuse) -> Result<(), Error> {
    let first = build(cache)?;
    let mut parts = parts(cache, Reuse::Cached)?;
    if reuse == Reuse::Again {
        let again = kernel::ensure(
            cache,
            &parts.tools,
            &workspace().join("hardening/kernel"),
            reuse,
        )
        .map_err(part)?;
        same(
            "the kernel",
            digest_of(&parts.kernel.image)?,
            digest_of(&again.image)?,
        )?;
        parts.kernel = again;
    }
    let again = target().join("image-again");
    let second = assemble(cache, &parts, &target().join("userland-again"), &again)?;
    same("the EFI file", first.digest, second.digest)?;
    same(
        "the disk",
        digest_of(&first.disk)?,
        digest_of(&second.disk)?,
    )?;
    step::say("image", "two builds gave the same bytes");
    let folders = [again, target().join("userland-again")];
    folders.iter().try_for_each(|dir| {
        fs::remove_dir_all(dir).map_err(|cause| Error::File {
            path: dir.clone(),
            cause,
        })
    })
}

fn same(what: &'static str, first: Digest, second: Digest) -> Result<(), Error> {
    step::say("image", &format!("{what}: {first} and {second}"));
    if first == second {
        Ok(())
    } else {
        Err(Error::Differs {
            what,
            first,
            second,
        })
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

fn assemble(cache: &Cache, parts: &Parts, userland_dir: &Path, dir: &Path) -> Result<Image, Error> {
    let workspace = workspace();
    let version = env!("CARGO_PKG_VERSION");
    let userland = userland::build(cache, &workspace, userland_dir).map_err(part)?;
    let root = rootfs::build(&rootfs::Inputs {
        init: &userland.init,
        collector: &userland.collector,
        charon: &parts.charon.program,
        charon_settings: &workspace.join("config/strongswan.conf"),
        version,
        built: built(&workspace),
    })
    .map_err(part)?;

    let making = dir.with_extension("unfinished");
    if making.exists() {
        fs::remove_dir_all(&making).map_err(|cause| Error::File {
            path: making.clone(),
            cause,
        })?;
    }
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
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(|cause| Error::File {
            path: dir.to_owned(),
            cause,
        })?;
    }
    fs::rename(&making, dir).map_err(|cause| Error::File {
        path: dir.to_owned(),
        cause,
    })?;
    let efi = dir.join("collector.efi");
    Ok(Image {
        kernel: dir.join("bzImage"),
        initramfs: dir.join("initramfs.zst"),
        disk: dir.join("disk.raw"),
        charon: parts.charon.program.clone(),
        digest: digest_of(&efi)?,
        efi,
        root_bytes: root.bytes,
        executables: root.executables,
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
