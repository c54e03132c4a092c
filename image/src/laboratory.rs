//! Everything that the lab takes: the image, QEMU, the guests' root and the lab's own programs.
//!
//! 1. The lab tests the image that `cargo xtask image` makes, not parts made for the test.
//! 2. QEMU and its companions are found by name on the path, and are those of the machine root.

use std::env;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use crate::cache::Cache;
use crate::image::Image;
use crate::machine::Machine;
use crate::root::DebianRoot;
use crate::{efi, image, step, userland};

/// Programs of the lab that run in its guests.
const PROGRAMS: [&str; 3] = ["hospital", "datacentre", "lab-guest"];

/// Why the lab cannot be prepared.
#[derive(Debug)]
pub enum Error {
    /// One part could not be made; the cause tells which.
    Part(Box<dyn StdError>),
    /// The path of programs has a folder that cannot stand in it.
    Path(env::JoinPathsError),
    /// This program could not be started again.
    Restart { cause: io::Error },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Part(_) => f.write_str("the lab cannot be prepared"),
            Error::Path(_) => f.write_str(
                "the cache's folder has a colon in its name; set COLLECTOR_CACHE to another",
            ),
            Error::Restart { .. } => f.write_str("cannot start again with QEMU on the path"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Part(cause) => Some(cause.as_ref()),
            Error::Path(cause) => Some(cause),
            Error::Restart { cause } => Some(cause),
        }
    }
}

fn part<E: StdError + 'static>(cause: E) -> Error {
    Error::Part(Box::new(cause))
}

/// Starts this program again with QEMU and its companions first on the path, unless it was started so.
/// `Some` is what became of the second start.
pub fn restart_with_machine(cache: &Cache) -> Result<Option<ExitStatus>, Error> {
    let machine = Machine::ensure(cache).map_err(part)?;
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).next() == Some(machine.programs()) {
        return Ok(None);
    }
    let folders = std::iter::once(machine.programs()).chain(env::split_paths(&path));
    let path = env::join_paths(folders).map_err(Error::Path)?;
    let own = env::current_exe().map_err(|cause| Error::Restart { cause })?;
    let mut again = Command::new(own);
    again.args(env::args_os().skip(1)).env("PATH", path);
    again
        .status()
        .map(Some)
        .map_err(|cause| Error::Restart { cause })
}

/// Builds or finds what goes with the image.
pub fn prepare(cache: &Cache, image: &Image) -> Result<lab::Inputs, Error> {
    let machine = Machine::ensure(cache).map_err(part)?;
    let guest = DebianRoot {
        name: "guest",
        packages: lab::guest_image::PACKAGES,
        sources: &[],
        customize: "",
    };
    let guest = guest.ensure(cache).map_err(part)?;
    let target = image::target();
    let programs = userland::build_static(
        cache,
        &image::workspace(),
        &target.join("userland"),
        &PROGRAMS,
    )
    .map_err(part)?;
    // published samples are not ours to copy into the project; they may lie beside the checkout
    let beside = image::workspace().join("../shared/samples");
    let samples = env::var_os("COLLECTOR_SAMPLES").map_or(beside, PathBuf::from);
    let samples = samples.canonicalize().ok();
    if samples.is_none() {
        step::say(
            "lab",
            "generated stores only; COLLECTOR_SAMPLES may name a folder with sample stores",
        );
    }
    Ok(lab::Inputs {
        target,
        cache: cache.folder().to_owned(),
        image: lab::BoxImage {
            kernel: image.kernel.clone(),
            initramfs: image.initramfs.clone(),
            command_line: efi::command_line(),
            disk: image.disk.clone(),
        },
        guest_root: guest.path().to_owned(),
        firmware_code: machine.firmware_code(),
        firmware_variables: machine.firmware_variables(),
        charon: image.charon.clone(),
        programs: lab::Programs {
            hospital: programs.join("hospital"),
            datacentre: programs.join("datacentre"),
            lab_guest: programs.join("lab-guest"),
        },
        samples,
    })
}
