//! Given a working box; when a keyboard, a stick, a mouse, a network card and a hub are plugged in; then each is refused
//! and reported with what it claims to be, no disk or input device appears, and the box goes on collecting.

use super::{Depth, Outcome, SEED, must, small_lab};
use crate::Inputs;
use crate::limits::BOX_REPORTS;
use crate::rig::{LabError, Setting};
use serde_json::{Value, json};

/// QEMU's driver, its vendor and product numbers.
const DEVICES: &[(&str, &str, &str)] = &[
    ("usb-kbd", "0627", "0001"),
    ("usb-mouse", "0627", "0001"),
    ("usb-storage", "46f4", "0001"),
    ("usb-net", "0525", "a4a2"),
    ("usb-hub", "0409", "55aa"),
];
const STICK_BYTES: u64 = 16 << 20;

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let mut lab = small_lab(inputs, "usb-refused", &Setting::default())?;
    lab.box_boots()?;
    lab.wait_until_restored()?;
    let stick = lab.folder().join("stick.raw");
    let failed = |source| LabError::Folder {
        path: stick.clone(),
        source,
    };
    std::fs::File::create(&stick)
        .and_then(|file| file.set_len(STICK_BYTES))
        .map_err(failed)?;
    for (number, (device, vendor, product)) in DEVICES.iter().enumerate() {
        lab.collector.mark();
        let machine = lab.collector.machine().map_err(LabError::Box)?;
        let mut properties = json!({});
        if *device == "usb-storage" {
            machine
                .add_block_backend("stick", &stick)
                .map_err(machine_failed)?;
            properties = json!({ "drive": "stick" });
        }
        let id = format!("plugged{number}");
        machine
            .plug_in(&id, device, properties)
            .map_err(machine_failed)?;
        let event = lab.wait_for(BOX_REPORTS, "usb-refused")?;
        let told = (
            number_of(&event.fields, "vendor"),
            number_of(&event.fields, "product"),
        );
        must(told == (Some(hex(vendor)), Some(hex(product))), || {
            format!(
                "a {device} ({vendor}:{product}) is reported as {:?}",
                event.fields
            )
        })?;
        lab.collector
            .machine()
            .map_err(LabError::Box)?
            .unplug(&id)
            .map_err(machine_failed)?;
    }
    for word in ["sd 0:", "input:", "usb-storage", "scsi host"] {
        let lines = lab.collector.serial().lines_from(lab.collector.since());
        let seen = lines
            .iter()
            .find(|line| line.text.contains(word) && line.text.contains("usb"));
        must(seen.is_none(), || {
            format!(
                "the kernel took a device: {:?}",
                seen.map(|line| &line.text)
            )
        })?;
    }
    lab.hospital_writes(SEED, 20)?;
    lab.wait_until_restored()?;
    Ok(Outcome::Passed)
}

fn machine_failed(source: crate::machine::MachineError) -> LabError {
    LabError::Box(crate::box_machine::BoxError::Machine(source))
}

/// Numbers may be told as such or in hexadecimal digits.
fn number_of(fields: &serde_json::Map<String, Value>, name: &str) -> Option<u64> {
    match fields.get(name)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => u64::from_str_radix(text.trim_start_matches("0x"), 16).ok(),
        _ => None,
    }
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or_default()
}
