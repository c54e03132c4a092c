//! Finding and mounting the partition `state`.
//!
//! 1. A disk is never formatted, repaired or guessed: with no such partition, or two, the box says so and stops.
//! 2. Where the firmware says which partition it booted from, `state` is taken from that disk only, so that a twin
//!    disk with the same names (a clone, an old disk put back) is not taken for ours.
//! 3. Booted without firmware variables (directly, in the lab) the only disk with such a partition is taken.
//!
//! Not covered: an exact clone with the same identifiers, attached beside the original. That is two candidates: stop.
//!
//! Source: systemd-stub(7), `LoaderDevicePartUUID`; Documentation/ABI/stable/sysfs-block.

use crate::log;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sys::gpt;
use sys::mounts::{self, MountError, MountOption, Restriction};

pub const PARTITION: &str = "state";
/// Controllers and drives are found in the background; the slowest drive of a server is there well within this.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_PERIOD: Duration = Duration::from_millis(20);
const BOOTED_FROM: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
const VARIABLES: &str = "/sys/firmware/efi/efivars";
const SECTOR_BYTES: u64 = 512;

/// A partition of the right name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub device: PathBuf,
    pub disk: String,
    /// Identifiers of all partitions of its disk.
    pub siblings: BTreeSet<String>,
}

#[derive(Debug)]
pub enum StateError {
    Absent,
    /// Candidates, but none on the disk that was booted from.
    Elsewhere {
        disks: Vec<String>,
    },
    Twins {
        devices: Vec<PathBuf>,
    },
    Mount {
        device: PathBuf,
        source: MountError,
    },
}

impl std::fmt::Display for StateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => write!(
                f,
                "no disk has a partition named {PARTITION}; check the disk and its cable"
            ),
            Self::Elsewhere { disks } => write!(
                f,
                "the partition {PARTITION} is on {} but not on the disk that was booted from; remove the foreign disk",
                disks.join(", ")
            ),
            Self::Twins { devices } => {
                let devices: Vec<_> = devices
                    .iter()
                    .map(|device| device.display().to_string())
                    .collect();
                write!(
                    f,
                    "several partitions are named {PARTITION} ({}); remove the foreign disk",
                    devices.join(", ")
                )
            }
            Self::Mount { device, .. } => {
                write!(
                    f,
                    "cannot mount {} as /state; it is left as it is, nothing is formatted",
                    device.display()
                )
            }
        }
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Mount { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Chooses among the candidates, given the identifier of the partition that was booted from, where that is known.
pub fn choose(candidates: &[Candidate], booted_from: Option<&str>) -> Result<PathBuf, StateError> {
    let ours: Vec<&Candidate> = match booted_from {
        Some(identifier) => candidates
            .iter()
            .filter(|one| one.siblings.contains(identifier))
            .collect(),
        None => candidates.iter().collect(),
    };
    match ours[..] {
        [one] => Ok(one.device.clone()),
        [] if candidates.is_empty() => Err(StateError::Absent),
        [] => Err(StateError::Elsewhere {
            disks: candidates.iter().map(|one| one.disk.clone()).collect(),
        }),
        _ => Err(StateError::Twins {
            devices: ours.iter().map(|one| one.device.clone()).collect(),
        }),
    }
}

/// Waits for the partition to appear and mounts it.
pub fn mount() -> Result<PathBuf, StateError> {
    let booted_from = booted_from();
    let start = Instant::now();
    let device = loop {
        match choose(&candidates(), booted_from.as_deref()) {
            Err(StateError::Absent | StateError::Elsewhere { .. })
                if start.elapsed() < PATIENCE =>
            {
                std::thread::sleep(LOOK_PERIOD);
            }
            other => break other?,
        }
    };
    let options = [
        MountOption::Text("errors", "remount-ro".to_owned()),
        MountOption::Text("data", "ordered".to_owned()),
    ];
    let restrictions = [
        Restriction::NoSetuid,
        Restriction::NoDevices,
        Restriction::NoPrograms,
    ];
    let Some(source) = device.to_str() else {
        return Err(StateError::Absent);
    };
    match mounts::mount("ext4", source, Path::new("/state"), &options, &restrictions) {
        Ok(()) => Ok(device),
        Err(source) => Err(StateError::Mount { device, source }),
    }
}

fn candidates() -> Vec<Candidate> {
    let Ok(devices) = std::fs::read_dir("/sys/class/block") else {
        return Vec::new();
    };
    devices
        .flatten()
        .filter_map(|entry| candidate(&entry.path()))
        .collect()
}

fn candidate(device: &Path) -> Option<Candidate> {
    let description = std::fs::read_to_string(device.join("uevent")).ok()?;
    let value = |key: &str| {
        description
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    if value("PARTNAME")? != PARTITION {
        return None;
    }
    let name = value("DEVNAME")?;
    let place = std::fs::canonicalize(device).ok()?;
    let disk = place.parent()?.file_name()?.to_str()?.to_owned();
    let siblings = match identifiers(&disk) {
        Ok(siblings) => siblings,
        Err(error) => {
            log::line(&format!("disk {disk}: {}", log::chain(&error)));
            BTreeSet::new()
        }
    };
    Some(Candidate {
        device: Path::new("/dev").join(name),
        disk,
        siblings,
    })
}

fn identifiers(disk: &str) -> Result<BTreeSet<String>, gpt::GptError> {
    let size = std::fs::read_to_string(format!("/sys/class/block/{disk}/queue/logical_block_size"));
    let sector_bytes = size
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(SECTOR_BYTES);
    let mut file = File::open(Path::new("/dev").join(disk)).map_err(gpt::GptError::Read)?;
    Ok(gpt::read(&mut file, sector_bytes)?
        .into_iter()
        .map(|partition| partition.identifier)
        .collect())
}

/// The identifier in the firmware's variable, which is four bytes of attributes and then UTF-16.
fn booted_from() -> Option<String> {
    let folder = Path::new(VARIABLES);
    if !folder.exists() {
        return None;
    }
    if let Err(error) = mounts::mount(
        "efivarfs",
        "efivarfs",
        folder,
        &[],
        crate::share_options::RESTRICTIONS,
    ) {
        log::line(&format!(
            "cannot read the firmware's variables: {}",
            log::chain(&error)
        ));
        return None;
    }
    let value = std::fs::read(folder.join(BOOTED_FROM)).ok();
    let _ = mounts::detach(folder);
    value.and_then(|bytes| identifier(&bytes))
}

fn identifier(variable: &[u8]) -> Option<String> {
    let units = variable
        .get(4..)?
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: Option<String> = char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(Result::ok)
        .collect();
    text.map(|text| text.to_ascii_lowercase())
        .filter(|text| text.len() == 36)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(disk: &str, siblings: &[&str]) -> Candidate {
        Candidate {
            device: PathBuf::from(format!("/dev/{disk}3")),
            disk: disk.to_owned(),
            siblings: siblings.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    #[test]
    fn a_twin_with_the_same_names_is_not_taken_when_the_firmware_says_where_it_booted_from() {
        let disks = [on("sda", &["aa", "bb"]), on("sdb", &["cc", "dd"])];
        assert_eq!(
            choose(&disks, Some("cc")).unwrap(),
            PathBuf::from("/dev/sdb3")
        );
    }

    #[test]
    fn without_word_from_the_firmware_one_disk_is_taken_and_two_are_refused() {
        assert_eq!(
            choose(&[on("sda", &["aa"])], None).unwrap(),
            PathBuf::from("/dev/sda3")
        );
        let error = choose(&[on("sda", &["aa"]), on("sdb", &["bb"])], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "several partitions are named state (/dev/sda3, /dev/sdb3); remove the foreign disk"
        );
    }

    #[test]
    fn a_partition_on_another_disk_than_the_one_booted_from_is_refused() {
        let error = choose(&[on("sdb", &["cc"])], Some("aa")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("is on sdb but not on the disk that was booted from"),
            "{error}"
        );
        assert!(matches!(choose(&[], Some("aa")), Err(StateError::Absent)));
    }

    #[test]
    fn an_exact_clone_beside_the_original_is_refused() {
        let disks = [on("sda", &["aa"]), on("sdb", &["aa"])];
        assert!(matches!(
            choose(&disks, Some("aa")),
            Err(StateError::Twins { .. })
        ));
    }

    #[test]
    fn the_firmwares_variable_is_attributes_and_an_identifier_in_utf_16() {
        let text = "6F2B1C3A-0000-4000-8000-000000000001";
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        assert_eq!(identifier(&bytes), Some(text.to_ascii_lowercase()));
        assert_eq!(identifier(&bytes[..20]), None);
        assert_eq!(identifier(&[]), None);
    }
}
