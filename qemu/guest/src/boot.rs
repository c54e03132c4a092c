//! From the initramfs to a running Debian root.
//!
//! Modules for the disk and the root come with the initramfs; all others are loaded from the root by `modprobe`.

use lab_guest::{SETTINGS, Settings};
use rustix::mount::{MountFlags, mount, mount_move};
use std::error::Error;
use std::ffi::CStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

type Outcome = Result<(), Box<dyn Error>>;

/// Modules in `/modules` of the initramfs, in the order in which they are needed.
const FIRST_MODULES: &[&str] = &[
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "overlay",
];
const ROOT_DISK: &str = "/dev/vda";
const SETTINGS_DISK: &str = "/dev/vdb";
const NONE: Option<&CStr> = None;

pub fn boot() -> Result<Settings, Box<dyn Error>> {
    for (kind, place) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        fs::create_dir_all(place)?;
        mount_or_say(kind, place, kind, MountFlags::empty(), NONE)?;
    }
    for name in FIRST_MODULES {
        load_module(name)?;
    }
    enter_root()?;
    for (kind, place) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/run"),
        ("tmpfs", "/srv"),
        ("tmpfs", "/tmp"),
    ] {
        mount_or_say(kind, place, kind, MountFlags::empty(), NONE)?;
    }
    // The kernel's `shm` and terminals; smbd wants both.
    for (kind, place) in [("tmpfs", "/dev/shm"), ("devpts", "/dev/pts")] {
        fs::create_dir_all(place)?;
        mount_or_say(kind, place, kind, MountFlags::empty(), NONE)?;
    }
    fs::create_dir_all(SETTINGS)?;
    tar::Archive::new(File::open(SETTINGS_DISK)?).unpack(SETTINGS)?;
    let settings: Settings =
        serde_json::from_slice(&fs::read(Path::new(SETTINGS).join("settings.json"))?)?;
    fs::write("/proc/sys/kernel/hostname", &settings.name)?;
    network(&settings)?;
    Ok(settings)
}

/// The read-only disk under a tmpfs becomes the root. It is the root of what NFSv4 clients walk through too, hence the index.
fn enter_root() -> Outcome {
    for place in ["/disk", "/upper", "/root"] {
        fs::create_dir_all(place)?;
    }
    mount_or_say(ROOT_DISK, "/disk", "ext4", MountFlags::RDONLY, NONE)?;
    mount_or_say("tmpfs", "/upper", "tmpfs", MountFlags::empty(), NONE)?;
    for place in ["/upper/files", "/upper/work"] {
        fs::create_dir_all(place)?;
    }
    mount_or_say(
        "overlay",
        "/root",
        "overlay",
        MountFlags::empty(),
        Some(c"lowerdir=/disk,upperdir=/upper/files,workdir=/upper/work,index=on,nfs_export=on"),
    )?;
    mount_move("/dev", "/root/dev")?;
    rustix::process::chdir("/root")?;
    mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")?;
    Ok(())
}

fn network(settings: &Settings) -> Outcome {
    run("ip", &["link", "set", "lo", "up"])?;
    for (number, card) in settings.cards.iter().enumerate() {
        let found = fs::read_dir("/sys/class/net")?.flatten().find(|entry| {
            fs::read_to_string(entry.path().join("address"))
                .is_ok_and(|mac| mac.trim().eq_ignore_ascii_case(&card.mac))
        });
        let entry =
            found.ok_or_else(|| format!("no network card {number} with address {}", card.mac))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        run("ip", &["address", "add", &card.address, "dev", &name])?;
        run("ip", &["link", "set", &name, "up"])?;
    }
    Ok(())
}

fn load_module(name: &str) -> Outcome {
    let file = File::open(format!("/modules/{name}.ko.xz"))
        .map_err(|e| format!("no module {name} in the initramfs: {e}"))?;
    // MODULE_INIT_COMPRESSED_FILE: the kernel unpacks it.
    const COMPRESSED: i32 = 4;
    match rustix::system::finit_module(&file, c"", COMPRESSED) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(format!("cannot load module {name}: {error}").into()),
    }
}

fn mount_or_say(
    source: &str,
    place: &str,
    kind: &str,
    flags: MountFlags,
    data: Option<&CStr>,
) -> Outcome {
    match mount(source, place, kind, flags, data) {
        // The kernel may have mounted devtmpfs by itself.
        Ok(()) | Err(rustix::io::Errno::BUSY) => Ok(()),
        Err(error) => Err(format!("cannot mount {source} on {place}: {error}").into()),
    }
}

/// Runs a program of the root to its end.
pub fn run(program: &str, arguments: &[&str]) -> Outcome {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin")
        .output();
    let output = output.map_err(|e| format!("cannot start {program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).replace('\n', " / ");
    Err(format!("{program} {}: {words}", arguments.join(" ")).into())
}
