//! Given a hospital with stores of four kinds behind two protocols; when the box is switched on, and later the hospital
//! adds, updates and removes files; then the data centre restores the same store, byte for byte, each file once; and
//! every bundle in the receiver's folder opens with stock tools alone.

use super::{Depth, Outcome, SEED, must};
use crate::Inputs;
use crate::limits::BOX_BOOTS;
use crate::pki::BOX;
use crate::rig::{Lab, LabError, Setting};
use crate::stock;
use std::path::Path;

const FILES: u64 = 1_000;
const CHANGES: u64 = 60;

/// Opens each received bundle with `openssl`, `zstd` and `tar`; gives how many there were.
fn open_with_stock_tools(lab: &Lab) -> Result<usize, LabError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LabError::Folder { path, source }
    };
    let received = lab.folder().join("received");
    let mut opened = 0;
    for entry in std::fs::read_dir(&received).map_err(failed(&received))? {
        let bundle = entry.map_err(failed(&received))?.path();
        if bundle
            .extension()
            .is_none_or(|extension| extension != "cms")
        {
            continue;
        }
        opened += 1;
        let into = lab.folder().join("stock").join(opened.to_string());
        std::fs::create_dir_all(&into).map_err(failed(&into))?;
        stock::open(&bundle, &lab.pki, &into).map_err(|error| {
            LabError::Untrue(format!(
                "stock tools cannot open {}: {error}",
                bundle.display()
            ))
        })?;
        let manifest = into.join("manifest.json");
        let manifest = std::fs::read_to_string(&manifest).map_err(failed(&manifest))?;
        must(manifest.contains(BOX), || {
            format!("{} does not name its box", bundle.display())
        })?;
    }
    Ok(opened)
}

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
    let opened = open_with_stock_tools(&lab)?;
    must(opened > 0, || {
        "the receiver's folder has no bundle".to_owned()
    })?;
    Ok(Outcome::Passed)
}
