//! Role `ports`: watches what is plugged into USB, says so, and sees to it that none of it works.
//!
//! 1. The kernel starts with every device unauthorised (`usbcore.authorized_default=0`): no driver is bound before or
//!    without this role. If the role dies, the ports stay closed.
//! 2. Each arrival is in the trail: what stays is found in sysfs, what is gone again was still announced by an event.
//!    Sysfs is the truth, events only wake the role and add what is too quick for it, so that lost events lose nothing
//!    that is still there.
//! 3. A device that is authorised without standing in the table is put back, or, where the role may not, reported.
//! 4. A storm of arrivals is counted, not recorded one by one: the trail must not be filled from outside.
//!
//! It trusts the kernel and nothing that a device says. The kernel announces devices in every network namespace of the
//! first user namespace, so also in this role's empty one; were it not so, sysfs is still read several times a minute.

mod describe;

use crate::runtime::audit::Patience;
use crate::runtime::{Runtime, chain};
use describe::{Arrival, Descriptors, class_name, clean, is_name, is_root_hub};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, netlink};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DEVICES: &str = "/sys/bus/usb/devices";

/// Vendor and product of devices that may work. None yet: the box needs no USB device.
const ALLOWED: &[(u16, u16)] = &[];

/// The kernel's own events; group 2 is for those of a daemon that this box does not have.
const KERNEL_EVENTS: u32 = 1;
/// An event is at most 2 KiB of variables (lib/kobject_uevent.c) and a path.
const EVENT_BYTES: usize = 8 * 1024;
/// Events read in one go.
const MOST_EVENTS: usize = 256;
/// Arrivals that are recorded one by one within a minute.
const MOST_RECORDS: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// USB allows 127 devices on a bus.
const MOST_DEVICES: usize = 512;

pub fn run(runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    let events = listen().map_err(|error| {
        runtime.log(&format!(
            "no events of the kernel, sysfs is polled: {error}"
        ))
    });
    let mut watch = Watch::new(runtime);
    watch.turn(&[]);
    watch.runtime.ready();
    loop {
        // Without events, a second is what a person takes to plug something in.
        let longest = if events.is_ok() {
            watch.runtime.longest_wait()
        } else {
            Duration::from_secs(1)
        };
        let arrivals = events
            .as_ref()
            .map_or_else(|()| pause(longest), |socket| receive(socket, longest));
        watch.turn(&arrivals);
        watch.runtime.alive();
    }
}

fn listen() -> std::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let protocol = Some(netlink::KOBJECT_UEVENT);
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)?;
    rustix::net::bind(&socket, &netlink::SocketAddrNetlink::new(0, KERNEL_EVENTS))?;
    Ok(socket)
}

fn pause(longest: Duration) -> Vec<Arrival> {
    std::thread::sleep(longest);
    Vec::new()
}

/// Waits for events and takes those that are there. A lost one is as good as one that says nothing.
fn receive(socket: &OwnedFd, longest: Duration) -> Vec<Arrival> {
    let timeout = Timespec {
        tv_sec: longest.as_secs().cast_signed(),
        tv_nsec: longest.subsec_nanos().into(),
    };
    let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout));
    let mut arrivals = Vec::new();
    let mut event = [0; EVENT_BYTES];
    for _ in 0..MOST_EVENTS {
        match rustix::net::recv(socket, &mut event[..], RecvFlags::empty()) {
            Ok((length, _)) => {
                arrivals.extend(describe::arrival(&event[..length.min(EVENT_BYTES)]))
            }
            Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    arrivals
}

/// A device that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    name: String,
    /// New at each arrival, so that a device that was pulled and plugged in again is another one.
    number: u32,
    vendor: u16,
    product: u16,
    classes: Vec<u8>,
    well_formed: bool,
    label: String,
    authorised: bool,
}

impl Device {
    fn is_allowed(&self) -> bool {
        is_root_hub(&self.name) || ALLOWED.contains(&(self.vendor, self.product))
    }

    fn described(&self) -> Value {
        let classes: Vec<&str> = self
            .classes
            .iter()
            .map(|class| class_name(*class))
            .collect();
        json!({
            "path": self.name,
            "vendor": format!("{:04x}", self.vendor),
            "product": format!("{:04x}", self.product),
            "class": classes.join(", "),
            "label": self.label,
            "well_formed": self.well_formed,
            "authorised": self.authorised,
        })
    }
}

impl From<&Arrival> for Device {
    fn from(arrival: &Arrival) -> Self {
        Self {
            name: arrival.name.clone(),
            number: arrival.number,
            vendor: arrival.vendor,
            product: arrival.product,
            classes: vec![arrival.class],
            well_formed: true,
            label: String::new(),
            authorised: false,
        }
    }
}

/// Every device in sysfs, root hubs too.
fn scan(folder: &Path) -> Vec<Device> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut devices: Vec<Device> = names
        .filter(|name| is_name(name))
        .take(MOST_DEVICES)
        .filter_map(|name| device(&folder.join(&name), name))
        .collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices
}

/// None for one that has gone meanwhile.
fn device(folder: &Path, name: String) -> Option<Device> {
    let text = |attribute: &str| {
        let bytes = read_bounded(&folder.join(attribute), 4096)?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    let hex = |attribute: &str| u16::from_str_radix(&text(attribute)?, 16).ok();
    let bytes = read_bounded(
        &folder.join("descriptors"),
        describe::LONGEST_DESCRIPTORS_BYTES,
    );
    let Descriptors {
        mut classes,
        well_formed,
    } = describe::descriptors(&bytes.unwrap_or_default());
    if classes.is_empty() {
        classes = vec![u8::try_from(hex("bDeviceClass")?).unwrap_or(0)];
    }
    let label = [text("manufacturer"), text("product")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    Some(Device {
        name,
        number: text("devnum")?.parse().ok()?,
        vendor: hex("idVendor")?,
        product: hex("idProduct")?,
        classes,
        well_formed,
        label: clean(&label),
        authorised: text("authorized").as_deref() != Some("0"),
    })
}

fn read_bounded(path: &PathBuf, most: usize) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .ok()?
        .take(most as u64)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

struct Watch {
    runtime: Runtime,
    /// What is there and has been recorded: number by name.
    known: BTreeMap<String, u32>,
    minute: Instant,
    recorded: u32,
    uncounted: u64,
    refused: u64,
    published: Value,
}

impl Watch {
    fn new(runtime: Runtime) -> Self {
        Self {
            runtime,
            known: BTreeMap::new(),
            minute: Instant::now(),
            recorded: 0,
            uncounted: 0,
            refused: 0,
            published: Value::Null,
        }
    }

    /// Compares what is there with what was, and records what has come.
    fn turn(&mut self, arrivals: &[Arrival]) {
        let folder = self.runtime.path(DEVICES);
        let mut devices = scan(&folder);
        for device in devices
            .iter_mut()
            .filter(|device| device.authorised && !device.is_allowed())
        {
            let switch = folder.join(&device.name).join("authorized");
            device.authorised = std::fs::write(switch, "0").is_err();
        }
        let gone: Vec<Device> = arrivals
            .iter()
            .filter(|arrival| self.known.get(&arrival.name) != Some(&arrival.number))
            .filter(|arrival| {
                !devices
                    .iter()
                    .any(|d| d.name == arrival.name && d.number == arrival.number)
            })
            .map(Device::from)
            .collect();
        let come = devices
            .iter()
            .filter(|device| self.known.get(&device.name) != Some(&device.number));
        let come: Vec<Device> = gone
            .into_iter()
            .chain(come.cloned())
            .filter(|device| !device.is_allowed())
            .collect();
        self.known = devices
            .iter()
            .map(|device| (device.name.clone(), device.number))
            .collect();
        come.iter().for_each(|device| self.refuse(device));
        self.end_minute();
        self.publish(&devices);
    }

    fn refuse(&mut self, device: &Device) {
        self.refused += 1;
        if self.recorded >= MOST_RECORDS {
            self.uncounted += 1;
            return;
        }
        self.recorded += 1;
        self.runtime.log(&format!(
            "USB device {:04x}:{:04x} at {} is refused: {}",
            device.vendor,
            device.product,
            device.name,
            device
                .classes
                .iter()
                .map(|class| class_name(*class))
                .collect::<Vec<_>>()
                .join(", ")
        ));
        self.record("usb-refused", device.described());
    }

    fn end_minute(&mut self) {
        if self.minute.elapsed() < MINUTE {
            return;
        }
        if self.uncounted > 0 {
            self.record("usb-storm", json!({ "count": self.uncounted }));
        }
        (self.minute, self.recorded, self.uncounted) = (Instant::now(), 0, 0);
    }

    fn record(&self, event: &str, fields: Value) {
        if let Err(error) = self
            .runtime
            .audit_with(event, fields, Patience::Seconds(20))
        {
            self.runtime.log(&chain(&error));
        }
    }

    fn publish(&mut self, devices: &[Device]) {
        let refused: Vec<&Device> = devices
            .iter()
            .filter(|device| !device.is_allowed())
            .collect();
        let mut status = json!({
            "state": if refused.is_empty() { "nothing is plugged in" } else { "devices are refused" },
            "devices": refused.iter().take(16).map(|device| device.described()).collect::<Vec<_>>(),
            "arrivals": self.refused,
        });
        if let Some(device) = refused.iter().find(|device| device.authorised) {
            status["problem"] = format!(
                "the USB device at {} is authorised and must not be",
                device.name
            )
            .into();
            status["advice"] = "pull it out and call the operator".into();
        } else if let Some(device) = refused.first() {
            status["problem"] = format!(
                "a USB device is plugged in at {}; it is not used",
                device.name
            )
            .into();
            status["advice"] = "pull it out".into();
        }
        if status != self.published {
            self.runtime.publish(&status);
            self.published = status;
        }
    }
}

#[cfg(test)]
mod tests;
