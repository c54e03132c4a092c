//! Given a hospital with stores of four kinds behind two protocols; when the box is switched on, and later the hospital
//! adds, updates and removes files; then the data centre restores the same store, byte for byte, each file once.

use super::{Depth, Outcome, SEED, must};
use crate::Inputs;
use crate::limits::BOX_BOOTS;
use crate::rig::{Lab, LabError, Setting};

const FILES: u64 = 1_000;
const CHANGES: u64 = 60;

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let mut lab = Lab::start(inputs, "delivers", &Setting::default())?;
    lab.hospital_opens_with(SEED, FILES, 0)?;
    lab.datacentre_opens()?;

    lab.box_boots()?;
    lab.collector
        .wait_for_line(BOX_BOOTS, "all roles ready")
        .map_err(LabError::Wait)?;
    let up = lab.tunnel_comes_up()?;
    must(up.text("ike").contains("ML_KEM_768"), || {
        format!("the key exchange lacks ML-KEM: {}", up.text("ike"))
    })?;

    let first = lab.wait_until_restored()?;
    must(first.hospital > 0, || {
        "the hospital has no files".to_owned()
    })?;

    lab.hospital_writes(SEED, CHANGES)?;
    lab.wait_until_restored()?;

    let erased = |bundle: &str| {
        lab.collector
            .all_events()
            .iter()
            .any(|e| e.name == "erased" && e.text("bundle") == bundle)
    };
    let delivered = lab
        .collector
        .all_events()
        .into_iter()
        .filter(|e| e.name == "delivered")
        .map(|e| e.text("bundle").to_owned());
    for bundle in delivered.collect::<Vec<_>>() {
        if !erased(&bundle) {
            lab.collector
                .wait_for(crate::limits::BOX_REPORTS, "erased", |event| {
                    event.text("bundle") == bundle
                })
                .map_err(LabError::Wait)?;
        }
    }
    Ok(Outcome::Passed)
}
