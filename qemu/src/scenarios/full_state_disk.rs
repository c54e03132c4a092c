//! Given a state partition with little room beyond the reserve and a line that is down; when the hospital files one large
//! document after another; then the box seals what fits, pauses and says why, and once the line is up it delivers, erases,
//! resumes by itself and in the end has delivered all.

use super::{Depth, Outcome, SEED, SMALL_STORE, must};
use crate::Inputs;
use crate::events::Event;
use crate::limits::DELIVERY;
use crate::machine::LinkState;
use crate::rig::{Lab, LabError, Setting};
use crate::seed::mix;
use crate::site_disc::SHARE;
use crate::state_image;
use std::path::Path;

/// What is left free of the state partition when the box is first switched on: the 64 MiB that intake keeps free for the
/// catalogue and the trail, about 10 MiB that these take at once, and room for two or three documents.
const FREE_MIB: u64 = 64 + 22;
/// Size of a document that cannot be compressed; each alone fits into an empty spool.
const DOCUMENT_BYTES: usize = 4 << 20;
/// More than fit.
const DOCUMENTS: u64 = 6;
const PAUSED: &str = "collecting-paused";

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let disk = inputs.target.join("lab").join("full-state-disk.raw");
    state_image::nearly_full(&inputs.image.disk, FREE_MIB, &disk).map_err(LabError::StateImage)?;
    let mut lab = Lab::start(
        inputs,
        "full-state-disk",
        &Setting {
            disk: Some(disk.clone()),
            ..Setting::default()
        },
    )?;
    let _ = std::fs::remove_file(&disk);
    lab.hospital_opens_with(SEED, SMALL_STORE, 0)?;
    lab.datacentre_opens()?;
    lab.set_outside_line(LinkState::Down)?;
    lab.box_boots()?;
    lab.wait_for(DELIVERY, "sealed")?;

    let mut paused = None;
    lab.collector.mark();
    for number in 1..=DOCUMENTS {
        let path = Path::new(SHARE).join(format!("ext/scan-{number}.bin"));
        lab.hospital
            .agent
            .write(&path, &incompressible(number))
            .map_err(LabError::Agent)?;
        paused = paused_or_sealed(&lab, number)?;
        if paused.is_some() {
            break;
        }
    }
    // a bundle of the first walk may have been taken for a document's
    let paused = match paused {
        Some(paused) => paused,
        None => lab.wait_for(DELIVERY, PAUSED)?,
    };
    let reason = paused.text("reason");
    must(reason.contains("room"), || {
        format!("the reason does not name the room: {reason}")
    })?;

    lab.set_outside_line(LinkState::Up)?;
    lab.wait_for(DELIVERY, "collecting-resumed")?;
    lab.wait_until_restored()?;
    Ok(Outcome::Passed)
}

/// Waits until the box has paused, or has sealed so many bundles since the mark.
fn paused_or_sealed(lab: &Lab, bundles: u64) -> Result<Option<Event>, LabError> {
    let (mut sealed, mut paused) = (0, None);
    let log = lab.collector.serial();
    let what = format!("{PAUSED}, or {bundles} bundles sealed");
    log.wait_for(lab.collector.since(), DELIVERY, &what, |line| {
        let event = Event::in_line(line)?;
        sealed += u64::from(event.name == "sealed");
        if event.name == PAUSED {
            paused = Some(event);
        }
        (paused.is_some() || sealed >= bundles).then_some(())
    })
    .map_err(LabError::Wait)?;
    Ok(paused)
}

fn incompressible(number: u64) -> Vec<u8> {
    (0..DOCUMENT_BYTES as u64 / 8)
        .flat_map(|at| mix(number << 32 | at).to_le_bytes())
        .collect()
}
