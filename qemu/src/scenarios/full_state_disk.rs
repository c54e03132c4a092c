//! Given a state partition with hardly any room and a line that is down; when the store does not fit into the spool; then
//! the box pauses and says why, and once the line is up it delivers, erases, resumes and in the end has delivered all.

use super::{Depth, Outcome, SEED, must};
use crate::Inputs;
use crate::limits::DELIVERY;
use crate::machine::LinkState;
use crate::rig::{Lab, LabError, Setting};
use crate::state_image;

/// Far more than fits, so that several bundles wait for room.
const FILES: u64 = 6_000;
/// What is left free of the state partition when the box is first switched on.
const FREE_MIB: u64 = 12;

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
    lab.hospital_opens_with(SEED, FILES, 0)?;
    lab.datacentre_opens()?;
    lab.set_outside_line(LinkState::Down)?;
    lab.box_boots()?;
    let paused = lab.wait_for(DELIVERY, "collecting-paused")?;
    let reason = paused.text("reason").to_owned();
    must(
        reason.contains("room") || reason.contains("full") || reason.contains("space"),
        || format!("the reason does not name the disk: {reason}"),
    )?;

    lab.set_outside_line(LinkState::Up)?;
    lab.wait_for(DELIVERY, "collecting-resumed")?;
    lab.wait_until_restored()?;
    Ok(Outcome::Passed)
}
