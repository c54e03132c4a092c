//! Given a receiver whose certificate is another authority's; when the box delivers; then it refuses to, says why and
//! keeps its bundles, and delivers them by itself once the right receiver answers.

use super::{Depth, Outcome, must, small_lab};
use crate::Inputs;
use crate::guests::{RIGHT, Shown};
use crate::limits::DELIVERY;
use crate::rig::{LabError, Setting};

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let shown = Shown {
        receiver: "wrong/tls-server",
        ..RIGHT
    };
    let mut lab = small_lab(
        inputs,
        "wrong-server-certificate",
        &Setting {
            shown,
            ..Setting::default()
        },
    )?;
    lab.box_boots()?;
    lab.tunnel_comes_up()?;
    let refused = lab.wait_for(DELIVERY, "upload-refused")?;
    let reason = refused.text("reason");
    must(reason.contains("certificate"), || {
        format!("the reason does not name the certificate: {reason}")
    })?;
    let early = lab
        .collector
        .events()
        .iter()
        .filter(|event| event.name == "delivered")
        .count();
    must(early == 0, || {
        format!("{early} bundles were delivered to a false receiver")
    })?;

    lab.datacentre_shows(RIGHT)?;
    lab.wait_until_restored()?;
    Ok(Outcome::Passed)
}
