//! The demonstration: the main job, live, and the faults that it survives. Everything shown is judged as well.
//!
//! 1. What is told comes from the box's own trail, from the capture of its outside interface, or from digests.
//! 2. The table at the end holds what was counted, never what was expected; `target/demo/report.json` says the same.
//! 3. [`Verdict::good`] is true only if every row of the table holds.

mod narrator;
mod report;

use crate::Inputs;
use crate::limits::{BOX_REPORTS, DELIVERY};
use crate::machine::LinkState;
use crate::nbd::Loss;
use crate::pcap::Class;
use crate::restore::Comparison;
use crate::rig::{Lab, LabError, Setting};
use crate::site_disc::SHARE;
use lab_guest::{Action, Answer};
use narrator::Narrator;
use report::Report;
pub use report::Verdict;
use serde_json::json;
use std::path::Path;

/// Files of the generated store, as the issue of this demonstration names them.
const FILES: u64 = 2_000;
/// Texts hidden in the store's contents; none may be seen on the line.
const MARKERS: u64 = 1_000;
/// Same seed, same store.
const SEED: u64 = 20_261_122;
/// Size of the stick that is plugged in, in bytes.
const STICK_BYTES: u64 = 16 << 20;

/// Tells the story and judges it.
pub fn run(inputs: &Inputs) -> Result<Verdict, LabError> {
    let mut report = Report::begin(inputs);
    let narrator = Narrator::new();

    narrator.scene("A hospital, a data centre and the box between them");
    let mut lab = Lab::start(inputs, "demo", &Setting::default())?;
    narrator.follow(lab.collector.serial());
    let markers = lab.hospital_opens_with(SEED, FILES, MARKERS)?;
    narrator.tell(&format!(
        "hospital: a generated store of {FILES} files, {} hidden markers",
        markers.len()
    ));
    let samples = put_samples(inputs, &mut lab)?;
    narrator.tell(&match samples {
        0 => "hospital: no samples beside this checkout, so the generated store alone".to_owned(),
        count => format!(
            "hospital: {count} sample files that nobody here wrote, some deliberately wrong"
        ),
    });
    lab.datacentre_opens()?;
    narrator.tell(
        "data centre: tunnel end, clock and receiver are up; it holds no key that opens a bundle",
    );
    report.phase("guests");

    narrator.scene("The box is switched on");
    lab.box_boots()?;
    lab.collector
        .wait_for_line(BOX_REPORTS, "init: all roles ready")
        .map_err(LabError::Wait)?;
    lab.tunnel_comes_up()?;
    report.phase("boot_and_tunnel");

    narrator.scene("Files are found, sealed, delivered and opened");
    let first = lab.wait_until_restored()?;
    narrator.tell(&format!("data centre: {first}"));
    report.phase("first_delivery");

    narrator.scene("The hospital goes on working");
    changes(&mut lab, &narrator, 1, 120)?;
    let second = lab.wait_until_restored()?;
    narrator.tell(&format!("data centre: {second}"));
    report.phase("changes");

    narrator.scene("The line to the data centre is cut, and restored");
    lab.set_outside_line(LinkState::Down)?;
    lab.collector.mark();
    narrator.tell("line: cut. The hospital does not notice, and writes on");
    changes(&mut lab, &narrator, 2, 60)?;
    lab.wait_for(DELIVERY, "sealed")?;
    narrator.tell("box: sealed what is new and keeps it in its spool");
    lab.set_outside_line(LinkState::Up)?;
    narrator.tell("line: restored");
    let third = lab.wait_until_restored()?;
    narrator.tell(&format!("data centre: {third}"));
    report.phase("line_cut");

    narrator.scene("Somebody plugs in a USB stick and a keyboard");
    let refused = usb(&mut lab)?;
    report.phase("usb");

    narrator.scene("The mains fail in the middle of the work");
    changes(&mut lab, &narrator, 3, 120)?;
    lab.collector.mark();
    lab.wait_for(DELIVERY, "sealed")?;
    let cut = lab
        .collector
        .cut_mains(Loss::Scattered { seed: SEED })
        .map_err(LabError::Box)?;
    narrator.tell(&format!(
        "mains: gone. Of the disk's unflushed writes {} were kept, {} torn, {} lost",
        cut.kept, cut.torn, cut.lost
    ));
    lab.box_boots()?;
    narrator.tell("mains: back; the box starts by itself");
    lab.tunnel_comes_up()?;
    let last = lab.wait_until_restored()?;
    narrator.tell(&format!("data centre: {last}"));
    report.phase("mains_cut");

    narrator.scene("What was checked");
    let verdict = judge(&lab, &markers, &last, refused, report)?;
    println!("{verdict}");
    Ok(verdict)
}

/// The samples go onto the share beside the generated store. Gives their number.
fn put_samples(inputs: &Inputs, lab: &mut Lab) -> Result<u64, LabError> {
    let Some(samples) = &inputs.samples else {
        return Ok(0);
    };
    let mut archive = tar::Builder::new(Vec::new());
    let mut count = 0;
    for (from, to) in [
        ("ss-mix2-nho/sampleData", "samples"),
        ("receipt", "receipt/samples"),
    ] {
        let folder = samples.join(from);
        if !folder.is_dir() {
            continue;
        }
        let failed = |source| LabError::Folder {
            path: folder.clone(),
            source,
        };
        archive.append_dir_all(to, &folder).map_err(failed)?;
        count += files_below(&folder).map_err(failed)?;
    }
    let bytes = archive.into_inner().map_err(|source| LabError::Folder {
        path: samples.clone(),
        source,
    })?;
    lab.hospital
        .agent
        .ask(
            &Action::Unpack {
                folder: SHARE.into(),
            },
            &bytes,
        )
        .map_err(LabError::Agent)?;
    Ok(count)
}

fn files_below(folder: &Path) -> std::io::Result<u64> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() {
            files_below(&entry.path())?
        } else {
            1
        };
    }
    Ok(count)
}

fn changes(lab: &mut Lab, narrator: &Narrator, round: u64, changes: u64) -> Result<(), LabError> {
    if let Answer::Changed {
        added,
        updated,
        removed,
    } = lab.hospital_writes(SEED + round, changes)?
    {
        narrator.tell(&format!(
            "hospital: {added} new orders, {updated} updated, {removed} deleted"
        ));
    }
    Ok(())
}

/// Plugs in a stick and a keyboard; gives how many the box refused.
fn usb(lab: &mut Lab) -> Result<u64, LabError> {
    let stick = lab.folder().join("stick.raw");
    let made = std::fs::File::create(&stick).and_then(|file| file.set_len(STICK_BYTES));
    made.map_err(|source| LabError::Folder {
        path: stick.clone(),
        source,
    })?;
    lab.collector.mark();
    let machine = lab.collector.machine().map_err(LabError::Box)?;
    let failed = |source| LabError::Box(crate::box_machine::BoxError::Machine(source));
    machine.add_block_backend("stick", &stick).map_err(failed)?;
    machine
        .plug_in("stick-1", "usb-storage", json!({ "drive": "stick" }))
        .map_err(failed)?;
    machine
        .plug_in("keyboard-1", "usb-kbd", json!({}))
        .map_err(failed)?;
    let mut paths: Vec<String> = Vec::new();
    while paths.len() < 2 {
        let seen = paths.clone();
        let event = lab.collector.wait_for(BOX_REPORTS, "usb-refused", |event| {
            !seen.contains(&event.text("path").to_owned())
        });
        paths.push(event.map_err(LabError::Wait)?.text("path").to_owned());
    }
    Ok(paths.len() as u64)
}

fn judge(
    lab: &Lab,
    markers: &[String],
    last: &Comparison,
    refused: u64,
    report: Report,
) -> Result<Verdict, LabError> {
    let outside = lab.outside()?;
    let mut rows = report.rows();
    rows.count(
        "files in the hospital",
        "hospital_files",
        last.hospital,
        last.hospital > 0,
    );
    rows.count(
        "files restored",
        "restored_files",
        last.restored,
        last.restored == last.hospital,
    );
    rows.count(
        "identical, byte for byte",
        "identical",
        last.identical,
        last.identical == last.hospital,
    );
    rows.count("lost", "lost", last.lost, last.lost == 0);
    rows.count(
        "with other bytes",
        "different",
        last.different,
        last.different == 0,
    );
    rows.count("invented", "invented", last.invented, last.invented == 0);
    rows.count(
        "duplicated",
        "duplicated",
        last.duplicated,
        last.duplicated == 0,
    );
    rows.count("bundles", "bundles", last.bundles, last.bundles > 0);
    rows.count(
        "gaps, refusals, faults at the data centre",
        "complaints",
        last.complaints.len() as u64,
        last.complaints.is_empty(),
    );
    rows.count(
        "frames of ESP on the outside interface",
        "esp_frames",
        outside.frames(Class::Esp),
        outside.frames(Class::Esp) > 0,
    );
    let beside = outside.bytes_outside_tunnel;
    rows.count(
        "bytes that left outside the tunnel",
        "bytes_outside_tunnel",
        beside,
        beside == 0,
    );
    let seen = outside.texts_seen(markers) as u64;
    rows.count(
        "hidden markers seen on the line",
        "markers_seen",
        seen,
        seen == 0 && !markers.is_empty(),
    );
    rows.count("USB devices refused", "usb_refused", refused, refused == 2);
    // each power-on but the first follows a cut
    let boots = lab.collector.all_events();
    let boots = boots.iter().filter(|event| event.name == "boot").count();
    let cuts = (boots as u64).saturating_sub(1);
    rows.count("mains cuts survived", "cuts", cuts, cuts == 1);
    rows.finish()
        .map_err(|(path, source)| LabError::Folder { path, source })
}
