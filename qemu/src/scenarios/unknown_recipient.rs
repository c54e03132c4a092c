//! Given a box whose disc names a recipient whom the data centre does not know; when its bundles are opened; then each is
//! refused with the reason, nothing is half restored, and all open with the key that they were sealed to.

use super::{Depth, Outcome, must, small_lab};
use crate::Inputs;
use crate::limits::DELIVERY;
use crate::rig::{LabError, Setting};
use crate::site_disc::SiteDisc;

const OTHER: &str = "wrong/recipient";

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let mut lab = small_lab(inputs, "unknown-recipient", &Setting::default())?;
    let disc =
        SiteDisc::right(&lab.pki).with_file("recipient.pem", lab.pki.file(&format!("{OTHER}.pem")));
    lab.commission(&disc, "other-recipient")?;
    lab.box_boots()?;
    lab.wait_for(DELIVERY, "delivered")?;

    let comparison = lab.compare()?;
    must(comparison.restored == 0, || {
        format!(
            "{} files were restored without the key",
            comparison.restored
        )
    })?;
    let told = comparison
        .complaints
        .iter()
        .any(|complaint| complaint.contains("recipient"));
    must(told, || {
        format!("nobody was told why: {}", comparison.complaints.join("; "))
    })?;

    lab.open_with(OTHER);
    lab.wait_until_restored()?;
    Ok(Outcome::Passed)
}
