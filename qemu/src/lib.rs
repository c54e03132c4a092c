//! The lab: hospital, data centre and box as QEMU machines, driven over QMP, judged by serial log and by digests.
//!
//! 1. Nothing is typed into a guest. The Debian guests obey named actions of `lab-guest`; the box has no agent at all
//!    and is judged by its serial log, by what leaves it and by what arrives.
//! 2. Waiting is for an event with a named limit; a limit that runs out names what was missing.
//! 3. Every process ends with the value that owns it; a killed harness takes its machines along.
//! 4. A mains cut is SIGKILL of QEMU over a disk that forgets what was not flushed ([`nbd`]).

#![forbid(unsafe_code)]

pub mod accel;
pub mod agent;
pub mod box_machine;
pub mod demo;
pub mod disc;
pub mod events;
pub mod guest_image;
pub mod guests;
pub mod limits;
pub mod machine;
pub mod nbd;
pub mod network;
pub mod pcap;
pub mod pki;
pub mod process;
pub mod qmp;
pub mod restore;
pub mod rig;
pub mod scenarios;
pub mod seed;
pub mod serial;
pub mod site_disc;
pub mod state_image;
pub mod stock;

use std::path::PathBuf;

/// Everything that the lab takes from outside. All paths are absolute.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// `target` of the checkout; runs leave their logs in `lab/` and `demo/` below it.
    pub target: PathBuf,
    /// What survives a `cargo clean`: guest disk images are kept here under the digest of their inputs.
    pub cache: PathBuf,
    pub image: BoxImage,
    /// Folder with an unpacked Debian 13 root that holds [`guest_image::PACKAGES`].
    pub guest_root: PathBuf,
    /// UEFI firmware and the empty variable store that goes with it. QEMU itself and its companions
    /// (`qemu-system-x86_64`, `qemu-img`, `qemu-io`, `xorriso`, `mke2fs`) are called by name.
    pub firmware_code: PathBuf,
    pub firmware_variables: PathBuf,
    /// The static `charon` of the image build; the data centre runs the same one.
    pub charon: PathBuf,
    /// Static programs: the guests' C library is not the host's.
    pub programs: Programs,
    /// Folder of sample stores, where there is one.
    pub samples: Option<PathBuf>,
}

/// Parts of the image under test, as left in `target/image`.
#[derive(Clone, Debug)]
pub struct BoxImage {
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
    /// The command line inside the EFI file, without a newline.
    pub command_line: String,
    /// The whole disk: `slot-a`, `slot-b`, `state`.
    pub disk: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Programs {
    pub hospital: PathBuf,
    pub datacentre: PathBuf,
    pub lab_guest: PathBuf,
}
