//! The Debian 13 root with everything that builds the image, and the reason of each package.

use crate::cache::Cache;
use crate::root::{DebianRoot, Error, Root};

/// The root of compilers, sources and image tools.
pub const TOOLS: DebianRoot<'static> = DebianRoot {
    name: "tools",
    packages: &[
        (
            "build-essential",
            "C compiler, make, and unpacking of source packages",
        ),
        (
            "linux-source-6.12",
            "the kernel, with Debian's security fixes",
        ),
        ("xz-utils", "unpacks the kernel's source"),
        ("flex", "kernel configuration, charon's parsers"),
        ("bison", "kernel configuration, charon's parsers"),
        ("bc", "kernel build"),
        ("libelf-dev", "objtool of the kernel build"),
        (
            "libssl-dev",
            "kernel's certificate tool; libcrypto.a for charon",
        ),
        ("libzstd-dev", "libcrypto.a compresses with it"),
        ("zlib1g-dev", "libcrypto.a compresses with it"),
        ("cpio", "kernel build"),
        ("zstd", "compresses kernel and initramfs"),
        ("python3", "kernel build, ukify"),
        ("autoconf", "charon's build"),
        ("automake", "charon's build"),
        ("libtool", "charon's build"),
        ("gettext", "charon's build"),
        ("gperf", "charon's build"),
        ("pkg-config", "charon's build"),
        (
            "systemd-ukify",
            "joins kernel, initramfs and command line in one EFI file",
        ),
        ("systemd-boot-efi", "the EFI stub in that file"),
        ("dosfstools", "FAT of the slots"),
        ("mtools", "puts the EFI file into a slot without mounting"),
        ("e2fsprogs", "ext4 of `state`"),
        ("fdisk", "GPT of the disk"),
        ("xorriso", "discs: commissioning, later updates"),
    ],
    sources: &[(
        "strongswan",
        "charon is built with just the plugins in use; Debian's build has no ML-KEM",
    )],
    customize: "",
};

/// The tool root, made when it is not in the cache.
pub fn ensure(cache: &Cache) -> Result<Root, Error> {
    TOOLS.ensure(cache)
}
