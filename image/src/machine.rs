//! QEMU and its companions, from a Debian 13 root of their own, run on the host without `chroot`.
//!
//! 1. The host's own QEMU is not used: hosts have versions from 5 to 10, with parts that do not fit together.
//! 2. Each program has a wrapper in `host-bin/` that starts it by the root's loader and libraries, so that it sees the host's
//!    files and devices (`/dev/kvm`, sockets) under their own names.

use std::path::PathBuf;

use crate::cache::Cache;
use crate::root::{DebianRoot, Error};

const MACHINE: DebianRoot<'static> = DebianRoot {
    name: "machine",
    packages: &[
        (
            "qemu-system-x86",
            "the machines of the lab and of the measurements",
        ),
        (
            "qemu-utils",
            "disk images; network block devices that lose unflushed writes",
        ),
        ("qemu-block-extra", "iSCSI: the emulated DVD burner"),
        ("ovmf", "UEFI firmware of the machines"),
        ("swtpm", "TPM 2 of the machines"),
        ("tgt", "blank DVD as an iSCSI unit"),
        ("xorriso", "commissioning discs"),
        ("mtools", "looks into the FAT file systems of a disk"),
        ("e2fsprogs", "looks into and makes ext4 file systems"),
    ],
    sources: &[],
    customize: WRAPPERS,
};

/// Library folders outside the standard one: swtpm keeps its own. Modules of a QEMU of the host must never be loaded.
const WRAPPERS: &str = r#"
mkdir /host-bin
for name in qemu-system-x86_64 qemu-img qemu-nbd qemu-io swtpm xorriso mcopy mdir e2fsck mke2fs debugfs dumpe2fs; do
    for place in bin sbin; do
        [ -e "/usr/$place/$name" ] || continue
        extra=
        if [ "$name" = qemu-system-x86_64 ]; then extra='-L "$root/usr/share/qemu"'; fi
        cat > "/host-bin/$name" <<END
#!/bin/sh
root=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")
export QEMU_MODULE_DIR="\$root/usr/lib/x86_64-linux-gnu/qemu"
libraries="\$root/usr/lib/x86_64-linux-gnu"
exec "\$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "\$libraries:\$libraries/swtpm" "\$root/usr/$place/$name" $extra "\$@"
END
        chmod 755 "/host-bin/$name"
    done
done
for name in qemu-system-x86_64 qemu-img swtpm xorriso; do test -x "/host-bin/$name"; done
"#;

/// Where the programs and firmware of machines are.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The machine root, made when it is not in the cache.
    pub fn ensure(cache: &Cache) -> Result<Machine, Error> {
        Ok(Machine {
            root: MACHINE.ensure(cache)?.path().to_owned(),
        })
    }

    /// Folder of programs that run on the host.
    pub fn programs(&self) -> PathBuf {
        self.root.join("host-bin")
    }

    /// UEFI firmware without Secure Boot, read-only.
    pub fn firmware_code(&self) -> PathBuf {
        self.root.join("usr/share/OVMF/OVMF_CODE_4M.fd")
    }

    /// The empty variable store that goes with it; each machine works on a copy.
    pub fn firmware_variables(&self) -> PathBuf {
        self.root.join("usr/share/OVMF/OVMF_VARS_4M.fd")
    }
}
