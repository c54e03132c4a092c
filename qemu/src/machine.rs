//! One QEMU machine: what it is made of, and the running process with its control, serial and agent channels.
//!
//! 1. The harness listens before QEMU starts, so no connection is ever tried twice.
//! 2. A machine is off when this value is dropped, and its process is gone.

use crate::accel::Accelerator;
use crate::limits::QEMU_ANSWERS;
use crate::network::End;
use crate::process::{Owned, ProcessError};
use crate::qmp::{Qmp, QmpError};
use crate::serial::SerialLog;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// How a machine starts.
#[derive(Clone, Debug)]
pub enum Boot {
    Kernel {
        kernel: PathBuf,
        initramfs: PathBuf,
        command_line: String,
    },
    /// `variables` is this machine's own copy.
    Firmware { code: PathBuf, variables: PathBuf },
}

/// A disk by QEMU's name for its place: a path or `nbd:...`.
#[derive(Clone, Debug)]
pub struct Drive {
    pub file: String,
    pub access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    /// The guest's flushes reach the disk, its other writes may stay in the disk's cache.
    WriteBack,
}

#[derive(Clone, Debug)]
pub struct Nic {
    /// Name for [`Machine::set_link`].
    pub name: &'static str,
    pub mac: &'static str,
    pub end: End,
    /// Every frame in both directions goes to this file.
    pub capture: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct Spec {
    pub name: &'static str,
    pub memory_mib: u32,
    pub boot: Boot,
    pub drives: Vec<Drive>,
    /// A disc in the optical drive; the drive itself is there when this is `Some`.
    pub disc: Option<PathBuf>,
    pub nics: Vec<Nic>,
    pub agent: bool,
    /// A USB controller on which things can be plugged in.
    pub usb: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Up,
    Down,
}

/// A running machine.
#[derive(Debug)]
pub struct Machine {
    process: Owned,
    qmp: Qmp,
}

impl Machine {
    /// Starts QEMU. The serial port is attached to `serial`; sockets live in `sockets`, QEMU's own words in `log`.
    pub fn start(
        spec: &Spec,
        accelerator: Accelerator,
        sockets: &Path,
        log: &Path,
        serial: &SerialLog,
    ) -> Result<(Self, Option<UnixStream>), MachineError> {
        let failed = |source| MachineError::Channel {
            machine: spec.name,
            source,
        };
        let control = Listener::bind(sockets.join(format!("{}.qmp", spec.name))).map_err(failed)?;
        let console =
            Listener::bind(sockets.join(format!("{}.serial", spec.name))).map_err(failed)?;
        let agent = spec
            .agent
            .then(|| Listener::bind(sockets.join(format!("{}.agent", spec.name))));
        let agent = agent.transpose().map_err(failed)?;
        spec.nics.iter().for_each(|nic| nic.end.clear());
        let arguments = spec.arguments(
            accelerator,
            &control.path,
            &console.path,
            agent.as_ref().map(|a| a.path.as_path()),
        );
        let mut process = Owned::start(Path::new("qemu-system-x86_64"), &arguments, log)
            .map_err(MachineError::Process)?;
        let mut accept = |listener: Listener| match listener.accept() {
            Some(stream) => Ok(stream),
            None if process.ended().is_some() => Err(MachineError::Refused {
                machine: spec.name,
                words: last_words(log),
            }),
            None => Err(MachineError::Silent { machine: spec.name }),
        };
        let control = accept(control)?;
        let console = accept(console)?;
        let agent = agent.map(&mut accept).transpose()?;
        serial.attach(console);
        let qmp = Qmp::greet(control).map_err(MachineError::Control)?;
        Ok((Self { process, qmp }, agent))
    }

    /// SIGKILL: whatever the machine was doing ends here.
    pub fn kill(mut self) -> Result<(), MachineError> {
        self.process.kill().map_err(MachineError::Process)
    }

    pub fn set_link(&mut self, nic: &str, state: LinkState) -> Result<(), MachineError> {
        self.command(
            "set_link",
            json!({ "name": nic, "up": state == LinkState::Up }),
        )
        .map(drop)
    }

    /// Plugs a USB device in; `device` is QEMU's driver name.
    pub fn plug_in(
        &mut self,
        id: &str,
        device: &str,
        mut properties: Value,
    ) -> Result<(), MachineError> {
        properties["driver"] = device.into();
        properties["id"] = id.into();
        properties["bus"] = "usb.0".into();
        self.command("device_add", properties).map(drop)
    }

    pub fn unplug(&mut self, id: &str) -> Result<(), MachineError> {
        self.command("device_del", json!({ "id": id })).map(drop)
    }

    /// Changes the disc in the optical drive.
    pub fn insert_disc(&mut self, disc: &Path) -> Result<(), MachineError> {
        let arguments =
            json!({ "id": "optical", "filename": disc, "format": "raw", "force": true });
        self.command("blockdev-change-medium", arguments).map(drop)
    }

    /// Gives QEMU one more back end for a plugged-in device.
    pub fn add_block_backend(&mut self, node: &str, file: &Path) -> Result<(), MachineError> {
        let arguments = json!({ "node-name": node, "driver": "raw", "file": { "driver": "file", "filename": file } });
        self.command("blockdev-add", arguments).map(drop)
    }

    fn command(&mut self, command: &str, arguments: Value) -> Result<Value, MachineError> {
        self.qmp
            .execute(command, arguments)
            .map_err(MachineError::Control)
    }
}

impl Spec {
    fn arguments(
        &self,
        accelerator: Accelerator,
        control: &Path,
        console: &Path,
        agent: Option<&Path>,
    ) -> Vec<OsString> {
        let mut list: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| list.extend(words.iter().map(OsString::from));
        add(&accelerator.arguments());
        let memory = self.memory_mib.to_string();
        add(&[
            "-name", self.name, "-machine", "q35", "-smp", "1", "-m", &memory,
        ]);
        add(&[
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-vga",
            "none",
            "-no-reboot",
        ]);
        add(&[
            "-chardev",
            &format!("socket,id=control,path={}", control.display()),
            "-mon",
            "chardev=control,mode=control",
        ]);
        add(&[
            "-chardev",
            &format!("socket,id=console,path={}", console.display()),
            "-serial",
            "chardev:console",
        ]);
        add(&["-device", "virtio-rng-pci"]);
        match &self.boot {
            Boot::Kernel {
                kernel,
                initramfs,
                command_line,
            } => {
                add(&[
                    "-kernel",
                    &kernel.to_string_lossy(),
                    "-initrd",
                    &initramfs.to_string_lossy(),
                    "-append",
                    command_line,
                ]);
            }
            Boot::Firmware { code, variables } => {
                add(&[
                    "-drive",
                    &format!(
                        "if=pflash,unit=0,format=raw,readonly=on,file={}",
                        code.display()
                    ),
                ]);
                add(&[
                    "-drive",
                    &format!("if=pflash,unit=1,format=raw,file={}", variables.display()),
                ]);
            }
        }
        for (number, drive) in self.drives.iter().enumerate() {
            let access = if drive.access == Access::ReadOnly {
                "readonly=on"
            } else {
                "cache=writeback"
            };
            add(&[
                "-drive",
                &format!(
                    "if=none,id=drive{number},format=raw,{access},file={}",
                    drive.file
                ),
            ]);
            add(&["-device", &format!("virtio-blk-pci,drive=drive{number}")]);
        }
        if let Some(disc) = &self.disc {
            add(&[
                "-drive",
                &format!(
                    "if=none,id=disc,media=cdrom,format=raw,readonly=on,file={}",
                    disc.display()
                ),
            ]);
            add(&["-device", "ide-cd,drive=disc,id=optical"]);
        }
        for nic in &self.nics {
            let Nic {
                name,
                mac,
                end,
                capture,
            } = nic;
            add(&["-netdev", &end.backend(name)]);
            add(&[
                "-device",
                &format!("virtio-net-pci,netdev={name},mac={mac},romfile="),
            ]);
            if let Some(capture) = capture {
                add(&[
                    "-object",
                    &format!(
                        "filter-dump,id=capture-{name},netdev={name},file={}",
                        capture.display()
                    ),
                ]);
            }
        }
        if let Some(agent) = agent {
            add(&[
                "-device",
                "virtio-serial-pci",
                "-chardev",
                &format!("socket,id=agent,path={}", agent.display()),
            ]);
            add(&[
                "-device",
                &format!("virtserialport,chardev=agent,name={}", lab_guest::PORT),
            ]);
        }
        if self.usb {
            add(&["-device", "qemu-xhci,id=usb"]);
        }
        list
    }
}

/// A socket on which QEMU will connect once.
struct Listener {
    path: PathBuf,
    listener: UnixListener,
}

impl Listener {
    fn bind(path: PathBuf) -> io::Result<Self> {
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        Ok(Self { path, listener })
    }

    /// The connection, or `None` when it does not come in time.
    fn accept(self) -> Option<UnixStream> {
        let (found, stream) = mpsc::channel();
        // The thread ends with the connection or, when none ever comes, with the harness.
        std::thread::spawn(move || found.send(self.listener.accept().map(|(stream, _)| stream)));
        stream.recv_timeout(QEMU_ANSWERS.duration).ok()?.ok()
    }
}

fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .rfind(|line| !line.contains("warning"))
        .unwrap_or("it said nothing")
        .to_owned()
}

/// A machine did not do what it was asked.
#[derive(Debug)]
pub enum MachineError {
    Channel {
        machine: &'static str,
        source: io::Error,
    },
    Process(ProcessError),
    Refused {
        machine: &'static str,
        words: String,
    },
    Silent {
        machine: &'static str,
    },
    Control(QmpError),
}

impl std::fmt::Display for MachineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Channel { machine, .. } => {
                write!(f, "cannot make the channels of machine {machine}")
            }
            Self::Process(_) => write!(f, "QEMU did not start or end"),
            Self::Refused { machine, words } => {
                write!(f, "QEMU ended before machine {machine} ran: {words}")
            }
            Self::Silent { machine } => write!(
                f,
                "QEMU of machine {machine} did not connect within {}",
                QEMU_ANSWERS.name
            ),
            Self::Control(_) => write!(f, "QEMU did not obey"),
        }
    }
}

impl std::error::Error for MachineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Channel { source, .. } => Some(source),
            Self::Process(source) => Some(source),
            Self::Control(source) => Some(source),
            Self::Refused { .. } | Self::Silent { .. } => None,
        }
    }
}
