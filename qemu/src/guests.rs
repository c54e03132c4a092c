//! The hospital and the data centre as machines.

use crate::accel::Accelerator;
use crate::agent::{Agent, AgentError};
use crate::guest_image::GuestImage;
use crate::machine::{Access, Boot, Drive, Machine, MachineError, Nic, Spec};
use crate::network::{
    BOX_INNER, BOX_LAN, BOX_WAN, End, GATEWAY, GATEWAY_MAC, HOSPITAL, HOSPITAL_MAC, LAN_PREFIX,
    RECEIVER, WAN_PREFIX,
};
use crate::pki::{BOX, GATEWAY_NAME, Pki};
use crate::serial::SerialLog;
use crate::site_disc::{PASSWORD, PORT, SHARE, USER};
use lab_guest::{Card, DatacentreSettings, HospitalSettings, Settings};
use std::io;
use std::path::{Path, PathBuf};

/// Where the data centre keeps received bundles; below it is one folder for each box.
pub const RECEIVED: &str = "/srv/received";
/// Disk sectors; an archive on a disk is padded to one.
const SECTOR_BYTES: usize = 512;

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    pub machine: Machine,
    pub agent: Agent,
    pub serial: SerialLog,
}

/// What makes one guest differ from another.
pub struct Kind {
    pub name: &'static str,
    pub memory_mib: u32,
    pub card: &'static str,
    pub mac: &'static str,
    pub settings: Settings,
    /// Name below `/lab` in the guest and the file that goes there.
    pub files: Vec<(String, PathBuf)>,
}

/// Folders of one run.
pub struct Places<'a> {
    pub run: &'a Path,
    pub sockets: &'a Path,
}

impl Guest {
    /// Switches the guest on; [`Agent::wait_until_up`] waits for it.
    pub fn start(
        kind: Kind,
        image: &GuestImage,
        end: End,
        places: &Places<'_>,
        accelerator: Accelerator,
    ) -> Result<Self, GuestError> {
        let disk = places.run.join(format!("{}-settings.tar", kind.name));
        settings_disk(&kind, &disk).map_err(|source| GuestError::Settings {
            path: disk.clone(),
            source,
        })?;
        let spec = Spec {
            name: kind.name,
            memory_mib: kind.memory_mib,
            boot: Boot::Kernel {
                kernel: image.kernel.clone(),
                initramfs: image.initramfs.clone(),
                command_line: image.command_line.to_owned(),
            },
            drives: [&image.disk, &disk]
                .map(|file| Drive {
                    file: file.display().to_string(),
                    access: Access::ReadOnly,
                })
                .into(),
            disc: None,
            nics: vec![Nic {
                name: kind.card,
                mac: kind.mac,
                end,
                capture: None,
            }],
            agent: true,
            usb: false,
        };
        let path = places.run.join(format!("{}.log", kind.name));
        let serial = SerialLog::create(kind.name, path.clone())
            .map_err(|source| GuestError::Settings { path, source })?;
        let words = places.run.join(format!("{}-qemu.log", kind.name));
        let (machine, stream) = Machine::start(&spec, accelerator, places.sockets, &words, &serial)
            .map_err(GuestError::Machine)?;
        // `Spec::agent` is set above, so there is a stream.
        let stream = stream.ok_or(GuestError::NoAgent)?;
        let agent = Agent::new(kind.name, stream)
            .map_err(|source| GuestError::Settings { path: disk, source })?;
        Ok(Self {
            machine,
            agent,
            serial,
        })
    }
}

pub fn hospital() -> Kind {
    Kind {
        name: "hospital",
        memory_mib: 512,
        card: "lan",
        mac: HOSPITAL_MAC,
        settings: Settings {
            name: "hospital".to_owned(),
            cards: vec![Card {
                mac: HOSPITAL_MAC.to_owned(),
                address: format!("{HOSPITAL}/{LAN_PREFIX}"),
            }],
            hospital: Some(HospitalSettings {
                share: SHARE.into(),
                user: USER.to_owned(),
                password: PASSWORD.to_owned(),
                client: BOX_LAN,
            }),
            datacentre: None,
        },
        files: Vec::new(),
    }
}

/// Which certificates the data centre shows: file names of `datacentre ca`.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub gateway: &'static str,
    pub receiver: &'static str,
}

/// The ones that the box expects.
pub const RIGHT: Shown = Shown {
    gateway: "ike-datacentre",
    receiver: "tls-server",
};

pub fn datacentre(pki: &Pki, shown: Shown, charon: &Path, program: &Path) -> Kind {
    let mut files = vec![
        ("bin/charon".to_owned(), charon.to_owned()),
        ("bin/datacentre".to_owned(), program.to_owned()),
    ];
    let mut put = |name: &str, made: &str| {
        files.push((name.to_owned(), pki.file(made)));
        name.to_owned()
    };
    let certificate = put("gateway.pem", &format!("{}.pem", shown.gateway)).into();
    let key = put("gateway.key", &format!("{}.key", shown.gateway)).into();
    let authority = put("ike-authority.pem", "ike-ca.pem").into();
    let receive: Vec<String> = [
        "receive",
        "--listen",
        &format!("{RECEIVER}:{PORT}"),
        "--cert",
        &put("receiver.pem", &format!("{}.pem", shown.receiver)),
        "--key",
        &put("receiver.key", &format!("{}.key", shown.receiver)),
        "--client-ca",
        &put("upload-authority.pem", "tls-ca.pem"),
        "--crl",
        &put("upload-authority.crl", "tls-crl.pem"),
        "--receipt-cert",
        &put("receipt.pem", "receipt.pem"),
        "--receipt-key",
        &put("receipt.key", "receipt.key"),
        "--dir",
        RECEIVED,
    ]
    .map(str::to_owned)
    .into();
    Kind {
        name: "datacentre",
        memory_mib: 384,
        card: "wan",
        mac: GATEWAY_MAC,
        settings: Settings {
            name: "datacentre".to_owned(),
            cards: vec![Card {
                mac: GATEWAY_MAC.to_owned(),
                address: format!("{GATEWAY}/{WAN_PREFIX}"),
            }],
            hospital: None,
            datacentre: Some(DatacentreSettings {
                inner: RECEIVER,
                peer: BOX_WAN,
                peer_inner: BOX_INNER,
                identity: GATEWAY_NAME.to_owned(),
                peer_identity: BOX.to_owned(),
                certificate,
                key,
                authority,
                receive,
            }),
        },
        files,
    }
}

/// A tar archive on a disk of its own: read from the start, padded to whole sectors.
fn settings_disk(kind: &Kind, disk: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(Vec::new());
    let settings = serde_json::to_vec(&kind.settings)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(settings.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, "settings.json", settings.as_slice())?;
    for (name, file) in &kind.files {
        archive.append_path_with_name(file, name)?;
    }
    let mut bytes = archive.into_inner()?;
    bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES), 0);
    std::fs::write(disk, bytes)
}

/// A guest could not be switched on or did not obey.
#[derive(Debug)]
pub enum GuestError {
    Settings { path: PathBuf, source: io::Error },
    Machine(MachineError),
    NoAgent,
    Agent(AgentError),
}

impl std::fmt::Display for GuestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Settings { path, .. } => write!(f, "cannot write {}", path.display()),
            Self::Machine(_) => write!(f, "the guest did not start"),
            Self::NoAgent => write!(f, "the guest has no agent port"),
            Self::Agent(_) => write!(f, "the guest did not obey"),
        }
    }
}

impl std::error::Error for GuestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Settings { source, .. } => Some(source),
            Self::Machine(source) => Some(source),
            Self::Agent(source) => Some(source),
            Self::NoAgent => None,
        }
    }
}
