//! Folder times: listings are spared by them only where they have proven honest, a lie ends that for good, and contents
//! replaced under unchanged names and folder times are found all the same.

mod intake_lab;

use collector::roles::intake::pacing::{Pacing, day, written};
use collector::roles::intake::report::{SourceReport, Times};
use collector::roles::intake::world::{Step, World};
use intake_lab::{Box1, Lab, now};
use std::fs::File;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const VERIFY_DAYS: u32 = 30;
const PATIENTS: u32 = 80;
const OLD: &str = "20200101";

/// A store of one old folder a patient, and a clock that goes with the pauses.
fn lab() -> Lab {
    let lab = Lab::paced(Pacing {
        verify: DAY * VERIFY_DAYS,
        ..Pacing::eager()
    });
    // every folder's time is long past
    lab.outside.start_clock(now() + 86_400);
    for patient in 0..PATIENTS {
        lab.write(&path(patient, OLD, 1), b"prescription");
    }
    lab
}

fn folder(patient: u32, date: &str) -> String {
    format!("std/{patient:010}/{date}/OMP-01")
}

fn path(patient: u32, date: &str, order: u32) -> String {
    format!(
        "{}/{patient:010}_{date}_OMP-01_{order:015}_{date}120000000_01_1",
        folder(patient, date)
    )
}

fn wards(lab: &Lab) -> SourceReport {
    lab.shared().report().sources[0].clone()
}

fn listed(lab: &Lab, intake: &mut Box1) -> u64 {
    lab.rounds(intake, 1).unwrap();
    wards(lab).listed
}

/// Walks until the store's times are trusted.
fn gain_trust(lab: &Lab, intake: &mut Box1) {
    lab.rounds(intake, 2).unwrap();
    for patient in 0..25 {
        lab.write(&path(patient, OLD, 2), b"a later one");
    }
    for _ in 0..12 {
        lab.rounds(intake, 1).unwrap();
        if wards(lab).times == Times::Trusted {
            return;
        }
    }
    panic!("the times are {:?}", wards(lab).times);
}

/// Adds a file to a folder, and sets the folder's time back, as no honest server does.
fn add_by_stealth(lab: &Lab, patient: u32, order: u32) {
    let folder = File::open(lab.at(&folder(patient, OLD))).unwrap();
    let time = folder.metadata().unwrap().modified().unwrap();
    lab.write(&path(patient, OLD, order), b"hidden");
    folder.set_modified(time).unwrap();
}

#[test]
fn an_honest_store_is_spared_its_listings_and_each_folder_is_sampled_in_turn() {
    let lab = lab();
    let mut intake = lab.boot().unwrap();
    let whole = u64::from(PATIENTS) * 3 + 1;
    lab.rounds(&mut intake, 1).unwrap();
    assert_eq!(listed(&lab, &mut intake), whole);
    gain_trust(&lab, &mut intake);
    // sixteen walks: a part of the store in each, all of it in all
    let listed: Vec<u64> = (0..16).map(|_| listed(&lab, &mut intake)).collect();
    assert!(
        listed.iter().all(|listed| *listed < whole / 3),
        "{listed:?}"
    );
    assert!(listed.iter().sum::<u64>() >= 15 + whole, "{listed:?}");
    // a new file moves its folder's time and is found by the next walk, also after a restart
    lab.write(&path(70, OLD, 3), b"new");
    lab.rounds(&mut intake, 1).unwrap();
    drop(intake);
    let mut intake = lab.boot().unwrap();
    lab.write(&path(71, OLD, 3), b"new");
    lab.write(&path(72, "20200102", 3), b"new in a new folder");
    lab.rounds(&mut intake, 1).unwrap();
    assert_eq!(wards(&lab).times, Times::Trusted);
    let report = lab.open_identical(&[], "honest");
    assert_eq!(
        (report.files, report.unchanged),
        (u64::from(PATIENTS) + 28, 0)
    );
    assert!(lab.outside.events("source-times-lie").is_empty());
}

#[test]
fn a_lie_is_found_within_sixteen_walks_told_once_and_never_forgiven() {
    let lab = lab();
    let mut intake = lab.boot().unwrap();
    gain_trust(&lab, &mut intake);
    add_by_stealth(&lab, 40, 9);
    let mut walks = 0;
    while lab.outside.events("source-times-lie").is_empty() {
        lab.rounds(&mut intake, 1).unwrap();
        walks += 1;
        assert!(walks <= 16);
    }
    lab.open_identical(&[], "the hidden file");
    // what is hidden from now on is found by the next walk
    add_by_stealth(&lab, 41, 9);
    lab.rounds(&mut intake, 1).unwrap();
    lab.open_identical(&[], "the next hidden file");
    drop(intake);
    let mut intake = lab.boot().unwrap();
    add_by_stealth(&lab, 42, 9);
    lab.rounds(&mut intake, 4).unwrap();
    assert_eq!(wards(&lab).times, Times::Lied);
    lab.open_identical(&[], "after a restart");
    let lies = lab.outside.events("source-times-lie");
    assert_eq!((lies.len(), &lies[0]["source"]), (1, &"wards".into()));
}

#[test]
fn a_lie_is_not_forgotten_by_a_cut_right_after_its_file_was_taken() {
    let lab = lab();
    let mut intake = lab.boot().unwrap();
    gain_trust(&lab, &mut intake);
    add_by_stealth(&lab, 40, 9);
    lab.cut_on(Some(Step::Committed));
    let mut walks = 0;
    while lab.rounds(&mut intake, 1).is_ok() {
        walks += 1;
        assert!(walks <= 16);
    }
    drop(intake);
    lab.mains_back(1);
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 1).unwrap();
    assert_eq!(wards(&lab).times, Times::Lied);
    assert_eq!(lab.outside.events("source-times-lie").len(), 1);
}

#[test]
fn a_recent_file_replaced_in_place_is_found_by_the_next_walk() {
    let lab = lab();
    let today = String::from_utf8(written(day(now() + 86_400)).to_vec()).unwrap();
    lab.write(&path(3, &today, 1), b"first");
    let mut intake = lab.boot().unwrap();
    gain_trust(&lab, &mut intake);
    lab.write(&path(3, &today, 1), b"other");
    lab.rounds(&mut intake, 1).unwrap();
    let report = lab.open_identical(&[], "replaced");
    assert_eq!((report.replaced, report.unchanged), (1, 0));
}

/// A walk a day for so many days, and what the data centre has then.
fn days(lab: &Lab, count: u32, mut each: impl FnMut(u32)) {
    let mut intake = lab.boot().unwrap();
    for day in 0..count {
        lab.outside.pause(DAY);
        each(day);
        if lab.rounds(&mut intake, 1).is_err() {
            drop(intake);
            lab.mains_back(day.into());
            intake = lab.boot().unwrap();
            lab.rounds(&mut intake, 1).unwrap();
        }
    }
}

fn replace_all(lab: &Lab) {
    for patient in 0..PATIENTS {
        lab.write(&path(patient, OLD, 1), b"rewritten!!!");
    }
}

#[test]
fn old_files_replaced_in_place_are_found_once_within_the_days_of_the_rolling_look() {
    let lab = lab();
    lab.run(2);
    replace_all(&lab);
    days(&lab, 5, |_| {});
    let early = lab.open().0.replaced;
    assert!(early > 0 && early < u64::from(PATIENTS) / 2, "{early}");
    // with a restart in between
    days(&lab, VERIFY_DAYS - 5, |_| {});
    let report = lab.open_identical(&[], "replaced");
    assert_eq!(
        (early + report.replaced, report.unchanged),
        (u64::from(PATIENTS), 0)
    );
}

#[test]
fn a_cut_before_the_second_look_does_not_put_off_what_the_rolling_look_has_found() {
    let lab = lab();
    lab.run(2);
    replace_all(&lab);
    days(&lab, VERIFY_DAYS, |_| lab.cut_on(Some(Step::Waiting)));
    let report = lab.open_identical(&[], "replaced");
    assert_eq!(
        (report.replaced, report.unchanged),
        (u64::from(PATIENTS), 0)
    );
}
