//! The box under test: its image, its disk that forgets, its serial log; switched on and cut off like the real one.
//!
//! 1. Nothing speaks to the box but its networks, its disc and its USB ports; it is judged by what it says and sends.
//! 2. Every power-on has a capture of its own; together they hold every frame on the outside interface.

use crate::accel::Accelerator;
use crate::events::Event;
use crate::limits::Limit;
use crate::machine::{Access, Boot, Drive, Machine, MachineError, Nic, Spec};
use crate::nbd::{CutReport, Disk, Loss};
use crate::network::{BOX_LAN_MAC, BOX_WAN_MAC, End};
use crate::serial::{Cursor, Line, SerialLog, WaitError};
use crate::{BoxImage, Inputs, process};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the box's outside card for [`Machine::set_link`].
pub const OUTSIDE: &str = "wan";
/// Memory of the smallest server that is lent out is 4 GiB; the lab gives an eighth, so that growth shows.
const MEMORY_MIB: u32 = 512;

/// How the box starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The kernel of the EFI file directly: quick, for all that is not about booting.
    Direct,
    /// The firmware finds the EFI file on the disk.
    Firmware,
}

#[derive(Debug)]
pub struct BoxMachine {
    start: Start,
    image: BoxImage,
    firmware: (PathBuf, PathBuf),
    accelerator: Accelerator,
    run: PathBuf,
    sockets: PathBuf,
    ends: (End, End),
    disc: Option<PathBuf>,
    disk: Disk,
    serial: SerialLog,
    since: Cursor,
    captures: Vec<PathBuf>,
    machine: Option<Machine>,
}

impl BoxMachine {
    /// A box with a fresh copy of the disk `image`, switched off, cables plugged in.
    pub fn new(
        inputs: &Inputs,
        start: Start,
        image: &Path,
        run: &Path,
        sockets: &Path,
        ends: (End, End),
        accelerator: Accelerator,
    ) -> Result<Self, BoxError> {
        let copy = run.join("box-disk.raw");
        let mut command = Command::new("cp");
        command
            .args(["--sparse=always", "--reflink=auto"])
            .arg(image)
            .arg(&copy);
        process::run(&mut command).map_err(BoxError::Copy)?;
        let failed = |source| BoxError::Folder {
            path: run.to_owned(),
            source,
        };
        let variables = run.join("firmware-variables.fd");
        if start == Start::Firmware {
            std::fs::copy(&inputs.firmware_variables, &variables).map_err(failed)?;
        }
        Ok(Self {
            start,
            image: inputs.image.clone(),
            firmware: (inputs.firmware_code.clone(), variables),
            accelerator,
            run: run.to_owned(),
            sockets: sockets.to_owned(),
            ends,
            disc: None,
            disk: Disk::serve(&copy, &sockets.join("disk")).map_err(failed)?,
            serial: SerialLog::create("box", run.join("box.log")).map_err(failed)?,
            since: Cursor::default(),
            captures: Vec::new(),
            machine: None,
        })
    }

    /// Puts a disc into the drive for the next power-on.
    pub fn load_disc(&mut self, disc: &Path) {
        self.disc = Some(disc.to_owned());
    }

    /// The drive is empty at the next power-on.
    pub fn take_disc_out(&mut self) {
        self.disc = None;
    }

    pub fn power_on(&mut self) -> Result<(), BoxError> {
        let capture = self
            .run
            .join(format!("outside-{}.pcap", self.captures.len() + 1));
        self.captures.push(capture.clone());
        self.mark();
        let spec = self.spec(capture);
        let words = self.run.join("box-qemu.log");
        let (machine, _) =
            Machine::start(&spec, self.accelerator, &self.sockets, &words, &self.serial)
                .map_err(BoxError::Machine)?;
        self.machine = Some(machine);
        Ok(())
    }

    /// The mains are cut: the machine is gone, and so is what the disk had not flushed.
    pub fn cut_mains(&mut self, loss: Loss) -> Result<CutReport, BoxError> {
        if let Some(machine) = self.machine.take() {
            machine.kill().map_err(BoxError::Machine)?;
        }
        self.disk.cut(loss).map_err(|source| BoxError::Folder {
            path: self.run.clone(),
            source,
        })
    }

    /// From here on waits see only what comes later.
    pub fn mark(&mut self) {
        self.since = self.serial.now();
    }

    /// Where waits begin.
    pub fn since(&self) -> Cursor {
        self.since
    }

    /// Waits for an event of this name with the fields wanted, since the last mark.
    pub fn wait_for(
        &self,
        limit: Limit,
        name: &str,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, WaitError> {
        let found = self
            .serial
            .wait_for(self.since, limit, &format!("event {name}"), |line| {
                Event::in_line(line).filter(|event| event.name == name && wanted(event))
            });
        found.map(|(event, _)| event)
    }

    /// Waits for the first event of any of these names, since the last mark.
    pub fn wait_for_one_of(&self, limit: Limit, names: &[&str]) -> Result<Event, WaitError> {
        let what = format!("event {}", names.join(" or "));
        let found = self.serial.wait_for(self.since, limit, &what, |line| {
            Event::in_line(line).filter(|event| names.contains(&event.name.as_str()))
        });
        found.map(|(event, _)| event)
    }

    /// Waits for a line that contains a text, since the last mark.
    pub fn wait_for_line(&self, limit: Limit, text: &str) -> Result<Line, WaitError> {
        let found = self.serial.wait_for(
            self.since,
            limit,
            &format!("a line with {text:?}"),
            |line| line.text.contains(text).then(|| line.clone()),
        );
        found.map(|(line, _)| line)
    }

    /// All events since the last mark, up to now.
    pub fn events(&self) -> Vec<Event> {
        self.serial
            .lines_from(self.since)
            .iter()
            .filter_map(Event::in_line)
            .collect()
    }

    /// All events since the first power-on.
    pub fn all_events(&self) -> Vec<Event> {
        self.serial
            .lines_from(Cursor::default())
            .iter()
            .filter_map(Event::in_line)
            .collect()
    }

    pub fn serial(&self) -> &SerialLog {
        &self.serial
    }

    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Captures of the outside interface, one for each power-on.
    pub fn captures(&self) -> &[PathBuf] {
        &self.captures
    }

    /// The machine, while it is on.
    pub fn machine(&mut self) -> Result<&mut Machine, BoxError> {
        self.machine.as_mut().ok_or(BoxError::Off)
    }

    fn spec(&self, capture: PathBuf) -> Spec {
        let boot = match self.start {
            Start::Direct => Boot::Kernel {
                kernel: self.image.kernel.clone(),
                initramfs: self.image.initramfs.clone(),
                command_line: self.image.command_line.clone(),
            },
            Start::Firmware => Boot::Firmware {
                code: self.firmware.0.clone(),
                variables: self.firmware.1.clone(),
            },
        };
        let (lan, wan) = self.ends.clone();
        Spec {
            name: "box",
            memory_mib: MEMORY_MIB,
            boot,
            drives: vec![Drive {
                file: self.disk.address(),
                access: Access::WriteBack,
            }],
            disc: self.disc.clone(),
            nics: vec![
                Nic {
                    name: "lan",
                    mac: BOX_LAN_MAC,
                    end: lan,
                    capture: None,
                },
                Nic {
                    name: OUTSIDE,
                    mac: BOX_WAN_MAC,
                    end: wan,
                    capture: Some(capture),
                },
            ],
            agent: false,
            usb: true,
        }
    }
}

/// The box could not be handled. What it does by itself wrong is a [`WaitError`].
#[derive(Debug)]
pub enum BoxError {
    Copy(process::ProcessError),
    Folder { path: PathBuf, source: io::Error },
    Machine(MachineError),
    Off,
}

impl std::fmt::Display for BoxError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Copy(_) => write!(f, "cannot copy the box's disk"),
            Self::Folder { path, .. } => write!(f, "cannot use {}", path.display()),
            Self::Machine(_) => write!(f, "the box's machine did not obey"),
            Self::Off => write!(f, "the box is switched off"),
        }
    }
}

impl std::error::Error for BoxError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Copy(source) => Some(source),
            Self::Folder { source, .. } => Some(source),
            Self::Machine(source) => Some(source),
            Self::Off => None,
        }
    }
}
