//! A bundle rots in the spool while the line is down: the scrub finds it, the trail tells it, and what it brought is
//! collected again under a new number, from what the hospital still has.

mod intake_lab;

use catalogue::Catalogue;
use collector::roles::intake::heal::Scrubbing;
use collector::roles::intake::world::World;
use intake_lab::{BOX, Box1, Eraser, Lab};
use std::time::Duration;

const PATIENT: &str = "std/000/000/0000001";

fn object(order: u32, flag: u8) -> String {
    format!(
        "{PATIENT}/20240401/OMP-01/0000001_20240401_OMP-01_{order:015}_20240401120000000_01_{flag}"
    )
}

fn filled() -> Lab {
    let lab = Lab::new();
    for order in 0..4 {
        lab.write(&object(order, 1), format!("order {order}").as_bytes());
    }
    lab.write("dpc/EFn_123456789_2404.txt", b"month");
    lab
}

fn bundle(number: u64) -> String {
    spool::bundle_name(BOX, number)
}

/// The main thread's beats of two days.
fn scrub(lab: &Lab) {
    let mut scrubbing = Scrubbing::default();
    for _ in 0..200 {
        lab.outside.pause(Duration::from_secs(900));
        scrubbing.beat(&lab.outside, &lab.shared()).unwrap();
    }
}

fn rounds(lab: &Lab, intake: &mut Box1, count: u32) {
    lab.rounds(intake, count).unwrap();
}

#[test]
fn a_rotten_bundle_is_told_once_and_its_files_are_collected_again_under_a_new_number() {
    let lab = filled();
    let mut intake = lab.boot().unwrap();
    rounds(&lab, &mut intake, 1);
    lab.rot(&bundle(1), |bytes| bytes[100] ^= 4);
    scrub(&lab);
    rounds(&lab, &mut intake, 2);
    scrub(&lab);
    let damaged = lab.outside.events("bundle-damaged");
    assert_eq!((damaged.len(), &damaged[0]["number"]), (1, &1.into()));
    assert_ne!(damaged[0]["found"], damaged[0]["expected"]);
    assert_eq!(lab.outside.events("bundle-recollected").len(), 1);
    let sealed = lab.outside.events("sealed");
    assert_eq!(sealed[0]["sha256"], damaged[0]["expected"]);
    assert_eq!((sealed.len(), &sealed[1]["number"]), (2, &2.into()));
    assert_eq!(sealed[0]["files"], sealed[1]["files"]);
    // the damaged one keeps its place: nothing else is sent in its name, and its loss is seen
    assert!(lab.shared().spool().is_queued(1));
    assert_eq!(lab.shared().report().damaged, 1);
    // the sender had taken it before it rotted: the second bundle brings nothing new
    let report = lab.open_identical(&[], "rot");
    assert_eq!((report.files, report.unchanged), (10, 5));
}

#[test]
fn what_the_hospital_has_changed_or_removed_since_is_not_made_up() {
    let lab = filled();
    let mut intake = lab.boot().unwrap();
    rounds(&lab, &mut intake, 1);
    // an update, a changed condition flag, a removal: all in bundle 2 and 3, of which 2 rots
    lab.rename(&object(0, 1), &object(0, 0));
    lab.write(&object(1, 1), b"order 1, corrected later");
    lab.remove(&object(2, 1));
    rounds(&lab, &mut intake, 2);
    let before = lab.outside.events("sealed").len() as u64;
    for number in 1..=before {
        lab.rot(&bundle(number), |bytes| bytes.truncate(9));
    }
    scrub(&lab);
    rounds(&lab, &mut intake, 4);
    assert_eq!(
        lab.outside.events("bundle-recollected").len() as u64,
        before
    );
    // everything the hospital has came again, and what it has not was told as removed again
    let report = lab.open_identical(&[], "changed since");
    assert_eq!(report.faults.len(), 0, "{report}");
    let again = lab.outside.events("sealed");
    assert!(again.len() as u64 > before);
    // and then there is peace
    rounds(&lab, &mut intake, 3);
    assert_eq!(lab.outside.events("sealed").len(), again.len());
}

#[test]
fn a_bundle_that_vanished_while_the_box_was_off_is_told_and_collected_again() {
    let lab = filled();
    lab.run(1);
    lab.write("dpc/EFn_123456789_2405.txt", b"next month");
    lab.run(1);
    for number in [1, 2] {
        lab.disk().lose(&bundle(number));
    }
    // the newest too: its number is known from the catalogue and is not given again
    let mut intake = lab.boot().unwrap();
    assert_eq!(lab.outside.events("bundle-damaged").len(), 2);
    rounds(&lab, &mut intake, 1);
    let sealed = lab.outside.events("sealed");
    assert_eq!(sealed.last().unwrap()["number"], 3);
    assert_eq!(sealed.last().unwrap()["files"], 6);
    assert_eq!(lab.open_identical(&[], "vanished").unchanged, 6);
}

#[test]
fn a_cut_at_any_step_of_healing_collects_everything_again_and_once() {
    let prepare = || {
        let lab = filled();
        lab.run(1);
        lab.rot(&bundle(1), |bytes| bytes[100] ^= 4);
        lab
    };
    let live = |lab: &Lab| -> Result<(), Box<dyn std::error::Error>> {
        let mut intake = lab.boot()?;
        scrub(lab);
        Ok(lab.rounds(&mut intake, 1)?)
    };
    let calm = prepare();
    let first = calm.steps();
    live(&calm).unwrap();
    for cut in first..calm.steps() {
        let lab = prepare();
        lab.cut_at_step(cut);
        assert!(live(&lab).is_err());
        lab.mains_back(cut);
        live(&lab).unwrap();
        let report = lab.open_identical(&[], &format!("cut at {cut}"));
        assert_eq!((report.files, report.unchanged), (10, 5), "cut at {cut}");
    }
}

#[test]
fn what_is_kept_of_a_bundle_goes_when_it_was_erased() {
    let lab = filled();
    lab.erase(Eraser::EveryStep);
    let mut intake = lab.boot().unwrap();
    rounds(&lab, &mut intake, 2);
    assert_eq!(lab.shared().spool().erased().len(), 0);
    assert_eq!(lab.shared().spool().queued().len(), 0);
    drop(intake);
    let catalogue = Catalogue::open(&lab.catalogue()).unwrap();
    assert_eq!(catalogue.kept(0, 10).unwrap(), []);
    assert_eq!(lab.outside.events("bundle-damaged").len(), 0);
}
