//! Given a hospital whose SMB server is off; when the box starts; then it names the roots that it misses and collects the
//! others, and takes the missing ones by itself once the server runs.

use super::{Depth, Outcome, must, small_lab};
use crate::Inputs;
use crate::limits::{DELIVERY, SHARE_NOTICED};
use crate::rig::{LabError, Setting};
use crate::site_disc::ROOTS;
use lab_guest::Service;

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let mut lab = small_lab(inputs, "missing-share", &Setting::default())?;
    lab.hospital
        .agent
        .stop(Service::Smb)
        .map_err(LabError::Agent)?;
    lab.box_boots()?;
    for root in ROOTS.iter().filter(|root| root.mount == "emr") {
        let missing = |event: &crate::events::Event| event.text("source") == root.name;
        let event = lab
            .collector
            .wait_for(SHARE_NOTICED, "source-missing", missing)
            .map_err(LabError::Wait)?;
        must(!event.text("reason").is_empty(), || {
            format!("no reason why {} is missing", root.name)
        })?;
    }
    // What the other protocol serves is collected all the same.
    lab.wait_for(DELIVERY, "delivered")?;
    let comparison = lab.compare()?;
    must(comparison.identical > 0 && comparison.invented == 0, || {
        format!("with one share: {comparison}")
    })?;

    lab.hospital
        .agent
        .start(Service::Smb)
        .map_err(LabError::Agent)?;
    lab.wait_for(SHARE_NOTICED, "source-returned")?;
    lab.wait_until_restored()?;
    Ok(Outcome::Passed)
}
