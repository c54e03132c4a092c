//! Process 1 and agent of the lab's Debian guests.
//!
//! 1. The root disk is mounted read-only under a tmpfs: a guest forgets everything when it goes off.
//! 2. It obeys the actions of its agent port and nothing else; its consoles take no input.

#![forbid(unsafe_code)]

mod actions;
mod boot;
mod life;
mod services;
mod tunnel;

use lab_guest::{Action, Answer, PORT};
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::BufReader;
use std::path::PathBuf;

fn main() {
    if let Err(error) = run() {
        println!("lab-guest: {}", chain(error.as_ref()));
    }
    // Process 1 must not end: without this the kernel panics before the last line is out.
    let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
}

fn run() -> Result<(), Box<dyn Error>> {
    let settings = boot::boot()?;
    println!("lab-guest: {} is up", settings.name);
    let port = open_port()?;
    let mut writer = port.try_clone()?;
    let mut reader = BufReader::new(port);
    let mut services = services::Services::new(settings);
    let mut life = None;
    loop {
        let (action, payload) = lab_guest::receive::<Action>(&mut reader)?;
        let (answer, payload) = match actions::carry_out(&action, payload, &mut services, &mut life)
        {
            Ok(result) => result,
            Err(error) => (Answer::Failed(chain(error.as_ref())), Vec::new()),
        };
        lab_guest::send(&mut writer, &answer, &payload)?;
    }
}

/// The virtio-serial port by its name: without udev it has only a number.
fn open_port() -> Result<File, Box<dyn Error>> {
    for entry in std::fs::read_dir("/sys/class/virtio-ports")? {
        let entry = entry?;
        if std::fs::read_to_string(entry.path().join("name"))?.trim() == PORT {
            let device = PathBuf::from("/dev").join(entry.file_name());
            return Ok(OpenOptions::new().read(true).write(true).open(device)?);
        }
    }
    Err(format!("no virtio-serial port named {PORT}").into())
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
