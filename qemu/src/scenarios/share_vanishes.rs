//! Given a box that has collected everything; when first its SMB and then its NFS server dies while the hospital goes on writing; then the box
//! names the roots, reads nothing as deleted, and takes what is new by itself once the server is back.

use super::{Depth, Outcome, SEED, must, small_lab};
use crate::Inputs;
use crate::limits::SHARE_NOTICED;
use crate::rig::{LabError, Setting};
use lab_guest::Service;

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let mut lab = small_lab(inputs, "share-vanishes", &Setting::default())?;
    lab.box_boots()?;
    let before = lab.wait_until_restored()?;

    for (round, service) in [(1, Service::Smb), (2, Service::Nfs)] {
        lab.collector.mark();
        lab.hospital.agent.stop(service).map_err(LabError::Agent)?;
        lab.wait_for(SHARE_NOTICED, "source-missing")?;
        let during = lab.compare()?;
        must(
            during.restored >= before.restored && during.lost == 0 && during.invented == 0,
            || {
                format!(
                    "a vanished share changed what is restored: before {before}; during {during}"
                )
            },
        )?;
        lab.hospital_writes(SEED + round, 30)?;

        lab.hospital.agent.start(service).map_err(LabError::Agent)?;
        lab.wait_for(SHARE_NOTICED, "source-returned")?;
        lab.wait_until_restored()?;
    }
    Ok(Outcome::Passed)
}
