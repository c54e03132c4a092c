//! Given a box that has collected everything; when the SMB server dies while the hospital goes on writing; then the box
//! names the roots, reads nothing as deleted, and takes what is new by itself once the server is back.

use super::{Depth, Outcome, SEED, must, small_lab};
use crate::Inputs;
use crate::limits::BOX_REPORTS;
use crate::rig::{LabError, Setting};
use lab_guest::Service;

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let mut lab = small_lab(inputs, "share-vanishes", &Setting::default())?;
    lab.box_boots()?;
    let before = lab.wait_until_restored()?;

    lab.collector.mark();
    lab.hospital
        .agent
        .stop(Service::Smb)
        .map_err(LabError::Agent)?;
    lab.wait_for(BOX_REPORTS, "source-missing")?;
    let during = lab.compare()?;
    must(
        during.identical == before.identical && during.restored == before.restored,
        || format!("a vanished share changed what is restored: before {before}; during {during}"),
    )?;
    lab.hospital_writes(SEED, 30)?;

    lab.hospital
        .agent
        .start(Service::Smb)
        .map_err(LabError::Agent)?;
    lab.wait_for(BOX_REPORTS, "source-returned")?;
    lab.wait_until_restored()?;
    Ok(Outcome::Passed)
}
