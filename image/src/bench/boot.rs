//! Size, memory and time to readiness, beside a stock Debian 13 with its kernel and systemd in the same QEMU.
//!
//! 1. Ours is the shipped image with a commissioning disc in the drive, ready when `init` says that all roles are.
//! 2. The peer is `linux-image-amd64`, its initramfs and `systemd-sysv` without further packages, ready when the last unit of
//!    `multi-user.target` was started. It does less than the box does, so that it is a kind peer.
//! 3. Time is the kernel's own clock at readiness (firmware not included); the time through UEFI firmware is given apart.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::commission;
use super::virtual_machine::{self, MEMORY_MIB, Start};
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;
use crate::image::Image;
use crate::machine::Machine;
use crate::root::{DebianRoot, Root};
use crate::step::{self, Step};
use crate::{efi, image};

const OUR_RUNS: usize = 5;
const PEER_RUNS: usize = 3;
const MIB: f64 = 1024.0 * 1024.0;

const OUR_LINE: &str = "init: all roles ready";
const PEER_LINE: &str = "stock: ready";

const STOCK: DebianRoot<'static> = DebianRoot {
    name: "stock",
    packages: &[
        ("linux-image-amd64", "the stock kernel"),
        ("systemd-sysv", "the stock init"),
        ("udev", "devices, as every stock system has it"),
    ],
    sources: &[],
    customize: "
cat > /etc/systemd/system/report.service <<'END'
[Unit]
Description=readiness
[Service]
Type=idle
ExecStart=/bin/sh -c 'read up rest < /proc/uptime; while read name kb unit; do case $name in MemAvailable:) free=$kb;; esac; done < /proc/meminfo; echo \"stock: ready seconds=$up mem_available_kb=$free\" > /dev/ttyS0'
[Install]
WantedBy=multi-user.target
END
systemctl enable report.service
echo stock > /etc/hostname
",
};

/// Measures all figures.
pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let image = image::build(cache)?;
    let machine = Machine::ensure(cache)?;
    // before the measurements, which take minutes and would be lost
    let stock = STOCK.ensure(cache)?;
    let work = image::target().join("bench/boot");
    fs::create_dir_all(&work)?;
    let disc = commission::disc(cache, &work)?;
    let ours = ours(&image, &disc)?;
    let firmware = through_firmware(&image, &machine, &disc, &work)?;
    let peer = peer(cache, &stock, &work)?;
    let stock_files = StockFiles::count(stock.path())?;
    let one = |unit, sample: f64, command: &str| Side {
        unit,
        samples: vec![sample],
        command: command.to_owned(),
    };
    let figures = vec![
        Figure {
            name: "seconds to readiness",
            aim: Some(Aim::AtMost(6.0)),
            better: Better::Smaller,
            ours: Side {
                unit: "s",
                samples: ours.seconds,
                command: ours.command.clone(),
            },
            peer: Some(Side {
                unit: "s",
                samples: peer.seconds,
                command: peer.command.clone(),
            }),
            notes: Vec::new(),
        },
        Figure {
            name: "seconds through firmware",
            aim: None,
            better: Better::Smaller,
            ours: firmware,
            peer: None,
            notes: Vec::new(),
        },
        Figure {
            name: "memory in use",
            aim: Some(Aim::AtMost(160.0)),
            better: Better::Smaller,
            ours: Side {
                unit: "MiB",
                samples: ours.memory_mib,
                command: ours.command,
            },
            peer: Some(Side {
                unit: "MiB",
                samples: peer.memory_mib,
                command: peer.command,
            }),
            notes: Vec::new(),
        },
        Figure {
            name: "boot file",
            aim: Some(Aim::AtMost(20.0)),
            better: Better::Smaller,
            ours: one(
                "MiB",
                fs::metadata(&image.efi)?.len() as f64 / MIB,
                "size of collector.efi: kernel and whole root",
            ),
            peer: Some(one(
                "MiB",
                stock_files.boot_mib,
                "size of vmlinuz and initrd.img; the root comes on top",
            )),
            notes: Vec::new(),
        },
        Figure {
            name: "root file system",
            aim: None,
            better: Better::Smaller,
            ours: one("MiB", image.root_bytes as f64 / MIB, "files of rootfs.tsv"),
            peer: Some(one(
                "MiB",
                stock_files.root_mib,
                "files of the root without /boot",
            )),
            notes: Vec::new(),
        },
        Figure {
            name: "executables",
            aim: Some(Aim::AtMost(5.0)),
            better: Better::Smaller,
            ours: one(
                "files",
                image.executables.len() as f64,
                "rows of rootfs.tsv with an executable mode",
            ),
            peer: Some(one(
                "files",
                stock_files.executables as f64,
                "regular files with an executable mode",
            )),
            notes: image
                .executables
                .iter()
                .map(|program| format!("{}: {}", program.path, program.reason))
                .collect(),
        },
        Figure {
            name: "shared libraries",
            aim: Some(Aim::AtMost(0.0)),
            better: Better::Smaller,
            ours: one(
                "files",
                shared_libraries(&image)? as f64,
                "rows of rootfs.tsv with `.so` in their names; every program is checked to need none",
            ),
            peer: Some(one(
                "files",
                stock_files.shared_libraries as f64,
                "regular files named *.so or *.so.*",
            )),
            notes: Vec::new(),
        },
    ];
    Ok(Comparison {
        name: "boot",
        limit: format!(
            "two processors and {MEMORY_MIB} MiB under TCG; peer: Debian 13 with linux-image-amd64, systemd-sysv and udev only; \
             memory in use is the machine's memory less MemAvailable at readiness"
        ),
        figures,
    })
}

struct Boots {
    seconds: Vec<f64>,
    memory_mib: Vec<f64>,
    command: String,
}

fn text(command: &Command) -> String {
    let words = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned());
    std::iter::once("qemu-system-x86_64".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

fn memory_mib(available_kb: f64) -> f64 {
    MEMORY_MIB as f64 - available_kb / 1024.0
}

fn ours(image: &Image, disc: &Path) -> Result<Boots, Box<dyn Error>> {
    let start = Start::Direct {
        kernel: image.kernel.clone(),
        initramfs: image.initramfs.clone(),
        arguments: efi::command_line(),
    };
    let make = || virtual_machine::command(&start, &image.disk.to_string_lossy(), disc.to_str());
    let mut boots = Boots {
        seconds: Vec::new(),
        memory_mib: Vec::new(),
        command: text(&make()),
    };
    for run in 1..=OUR_RUNS {
        let reached = virtual_machine::until(&mut make(), OUR_LINE)?;
        boots.seconds.push(reached.number("ms")? / 1000.0);
        boots
            .memory_mib
            .push(memory_mib(reached.number("mem_available_kb")?));
        step::say(
            "bench boot",
            &format!(
                "our run {run} of {OUR_RUNS}: {:.2} s",
                reached.number("ms")? / 1000.0
            ),
        );
    }
    Ok(boots)
}

fn through_firmware(
    image: &Image,
    machine: &Machine,
    disc: &Path,
    work: &Path,
) -> Result<Side, Box<dyn Error>> {
    let variables = work.join("variables.fd");
    fs::copy(machine.firmware_variables(), &variables)?;
    let start = Start::Firmware {
        code: machine.firmware_code(),
        variables,
    };
    let mut command =
        virtual_machine::command(&start, &image.disk.to_string_lossy(), disc.to_str());
    let reached = virtual_machine::until(&mut command, OUR_LINE)?;
    step::say(
        "bench boot",
        &format!("through firmware: {:.2} s", reached.wall.as_secs_f64()),
    );
    Ok(Side {
        unit: "s",
        samples: vec![reached.wall.as_secs_f64()],
        command: text(&command),
    })
}

fn peer(cache: &Cache, stock: &Root, work: &Path) -> Result<Boots, Box<dyn Error>> {
    let disk = work.join("stock.raw");
    let _ = fs::remove_file(&disk);
    let log = cache.log("stock-disk");
    let mut make = step::as_root("mke2fs");
    make.args(["-q", "-t", "ext4", "-d"])
        .arg(stock.path())
        .arg(&disk)
        .arg("2G");
    Step {
        what: "stock disk",
        estimate: Duration::from_secs(15),
        log: &log,
    }
    .run(&mut make)?;
    let start = Start::Direct {
        kernel: boot_file(stock.path(), "vmlinuz-")?,
        initramfs: boot_file(stock.path(), "initrd.img-")?,
        arguments: "console=ttyS0 quiet root=/dev/vda rw".to_owned(),
    };
    let make = || virtual_machine::command(&start, &disk.to_string_lossy(), None);
    let mut boots = Boots {
        seconds: Vec::new(),
        memory_mib: Vec::new(),
        command: text(&make()),
    };
    for run in 1..=PEER_RUNS {
        let reached = virtual_machine::until(&mut make(), PEER_LINE)?;
        boots.seconds.push(reached.number("seconds")?);
        boots
            .memory_mib
            .push(memory_mib(reached.number("mem_available_kb")?));
        step::say(
            "bench boot",
            &format!(
                "peer's run {run} of {PEER_RUNS}: {:.2} s",
                reached.number("seconds")?
            ),
        );
    }
    fs::remove_file(disk)?;
    Ok(boots)
}

fn boot_file(root: &Path, prefix: &str) -> Result<PathBuf, Box<dyn Error>> {
    let dir = root.join("boot");
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(entry.path());
        }
    }
    Err(format!("no {prefix}* in {}", dir.display()).into())
}

/// Shared libraries in our root, by its table.
fn shared_libraries(image: &Image) -> Result<usize, Box<dyn Error>> {
    let table = fs::read_to_string(&image.table)?;
    let paths = table.lines().filter_map(|row| row.split('\t').next());
    Ok(paths.filter(|path| is_shared_library(path)).count())
}

/// By its name: `libc.so.6`, `libcrypto.so`.
fn is_shared_library(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".so") || name.contains(".so.")
}

struct StockFiles {
    boot_mib: f64,
    root_mib: f64,
    executables: usize,
    shared_libraries: usize,
}

impl StockFiles {
    fn count(root: &Path) -> Result<StockFiles, Box<dyn Error>> {
        let boot = ["vmlinuz-", "initrd.img-"].map(|prefix| boot_file(root, prefix));
        let mut boot_bytes = 0;
        for file in boot {
            boot_bytes += fs::metadata(file?)?.len();
        }
        // the root belongs to root, who alone may read all of it
        let list = step::answer(
            step::as_root("find")
                .arg(root)
                .args(["-xdev", "-path", "*/boot/*", "-prune", "-o"])
                .args(["-type", "f", "-printf", "%s %m %f\n"]),
        )?;
        let (mut bytes, mut executables, mut shared_libraries) = (0_u64, 0, 0);
        for line in list.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(size), Some(mode), Some(name)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            shared_libraries += usize::from(is_shared_library(name));
            bytes += size.parse::<u64>()?;
            executables += usize::from(u32::from_str_radix(mode, 8)? & 0o111 != 0);
        }
        Ok(StockFiles {
            boot_mib: boot_bytes as f64 / MIB,
            root_mib: bytes as f64 / MIB,
            executables,
            shared_libraries,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_library_is_known_by_its_name_with_or_without_version() {
        assert!(is_shared_library("/usr/lib/libcrypto.so"));
        assert!(is_shared_library("libc.so.6"));
        assert!(!is_shared_library("/bin/collector"));
        assert!(!is_shared_library("/usr/lib.so.d/readme"));
    }
}
