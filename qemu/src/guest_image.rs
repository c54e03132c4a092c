//! The Debian 13 image of the guests: packages, initramfs and root disk.

/// Debian packages of the guests' root, each with its reason. No systemd: `lab-guest` is process 1.
pub const PACKAGES: &[(&str, &str)] = &[
    ("linux-image-cloud-amd64", "stock kernel for virtual machines"),
    ("samba", "the hospital's SMB share"),
    ("nfs-kernel-server", "the hospital's NFSv4 export"),
    ("chrony", "the data centre's NTP server"),
    ("iproute2", "addresses, routes and counters of the guests"),
    ("kmod", "modules of services, loaded by name"),
];
