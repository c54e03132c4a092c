//! Given a gateway whose certificate is another authority's; when the box calls it; then the box says so, builds no
//! tunnel and delivers nothing, and delivers everything by itself once the right gateway answers.

use super::{Depth, Outcome, must, small_lab};
use crate::Inputs;
use crate::guests::{RIGHT, Shown};
use crate::limits::{DELIVERY, TUNNEL_COMES_UP};
use crate::pcap::Class;
use crate::rig::{LabError, Setting};

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let shown = Shown {
        gateway: "wrong/ike-datacentre",
        ..RIGHT
    };
    let mut lab = small_lab(
        inputs,
        "wrong-peer-certificate",
        &Setting {
            shown,
            ..Setting::default()
        },
    )?;
    lab.box_boots()?;
    let down = lab.wait_for(TUNNEL_COMES_UP, "tunnel-down")?;
    let reason = down.text("reason");
    must(reason.contains("certificate"), || {
        format!("the reason does not name the certificate: {reason}")
    })?;
    lab.wait_for(DELIVERY, "sealed")?;
    must(lab.outside()?.frames(Class::Esp) == 0, || {
        "something was sent to a false peer".to_owned()
    })?;

    lab.datacentre_shows(RIGHT)?;
    lab.tunnel_comes_up()?;
    lab.wait_until_restored()?;
    Ok(Outcome::Passed)
}
