//! Given a store with 1 000 planted texts; when it is collected, then the line dies, then the box starts
//! on a dead line; then its outside interface has shown key exchange and ESP with the peer, without a tunnel key exchange
//! alone, and none of the texts.

use super::{Depth, Outcome, SEED, SMALL_STORE, must};
use crate::Inputs;
use crate::limits::{BOX_REPORTS, DELIVERY, TUNNEL_NOTICES};
use crate::machine::LinkState;
use crate::nbd::Loss;
use crate::pcap::{Census, Class};
use crate::rig::{Lab, LabError, Setting};
use lab_guest::Service;

const MARKERS: u64 = 1_000;

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let mut lab = Lab::start(inputs, "outside-interface", &Setting::default())?;
    let markers = lab.hospital_opens_with(SEED, SMALL_STORE * 5, MARKERS)?;
    must(markers.len() as u64 == MARKERS, || {
        format!("{} texts are planted", markers.len())
    })?;
    lab.datacentre_opens()?;
    lab.box_boots()?;
    lab.tunnel_comes_up()?;
    lab.wait_until_restored()?;
    let with_tunnel = lab.outside()?;
    only_tunnel(&with_tunnel, &markers)?;
    must(with_tunnel.frames(Class::Esp) > 0, || {
        "the capture holds no ESP, so it proves nothing".to_owned()
    })?;

    // The line is dead; once the box has said so, ESP must have ended.
    lab.collector.mark();
    lab.set_outside_line(LinkState::Down)?;
    lab.wait_for(TUNNEL_NOTICES, "tunnel-down")?;
    let noticed = lab.outside()?;
    lab.hospital_writes(SEED, 40)?;
    lab.wait_for(DELIVERY, "sealed")?;
    let later = lab.outside()?;
    must(
        later.frames(Class::Esp) == noticed.frames(Class::Esp),
        || {
            let more = later.frames(Class::Esp) - noticed.frames(Class::Esp);
            format!("{more} ESP frames were sent after the box had said that the tunnel is down")
        },
    )?;
    only_tunnel(&later, &markers)?;

    // A box that starts on a line without a gateway asks for it, and does nothing else.
    lab.set_outside_line(LinkState::Up)?;
    lab.datacentre
        .agent
        .stop(Service::Tunnel)
        .map_err(LabError::Agent)?;
    lab.collector.cut_mains(Loss::All).map_err(LabError::Box)?;
    lab.box_boots()?;
    lab.wait_for(BOX_REPORTS, "tunnel-down")?;
    let mut alone = Census::default();
    // `box_boots` has just added this capture.
    if let Some(last) = lab.collector.captures().last() {
        alone.add_file(last).map_err(LabError::Capture)?;
    }
    must(alone.frames(Class::Esp) == 0, || {
        "ESP without a tunnel".to_owned()
    })?;
    must(alone.frames(Class::Ike) > 0, || {
        "the box did not even ask for its peer".to_owned()
    })?;
    only_tunnel(&alone, &markers)?;

    lab.datacentre
        .agent
        .start(Service::Tunnel)
        .map_err(LabError::Agent)?;
    lab.wait_until_restored()?;
    only_tunnel(&lab.outside()?, &markers)?;
    Ok(Outcome::Passed)
}

fn only_tunnel(census: &Census, markers: &[String]) -> Result<(), LabError> {
    must(census.frames(Class::Other) == 0, || {
        let (frames, strangers) = (census.frames(Class::Other), census.strangers.join(", "));
        format!("{frames} frames are neither key exchange nor ESP with the peer: {strangers}")
    })?;
    let seen = census.texts_seen(markers);
    must(seen == 0, || {
        format!("{seen} planted texts can be read on the line")
    })
}
