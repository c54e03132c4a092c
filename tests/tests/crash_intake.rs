//! The mains fail at every step of a hospital's story, in the intake and in the spool's disk; the restored store is the
//! hospital's, and no version of a file was sent twice.
//! With `COLLECTOR_TEST_LENGTH=full` six times as many ways in which what was not synced survives.

mod intake_lab;

use datacentre::open::Report;
use intake_lab::{Eraser, Lab};

fn full() -> bool {
    std::env::var_os("COLLECTOR_TEST_LENGTH").is_some_and(|length| length == "full")
}

const PATIENT: &str = "std/000/000/0000001";

fn object(date: &str, kind: &str, order: u32, time: u32, flag: u8) -> String {
    format!("{PATIENT}/{date}/{kind}/0000001_{date}_{kind}_{order:015}_{date}{time:09}_01_{flag}")
}

const CONTENT: &str = "ext/000/000/0000001/20240401/11506-3/0000001_20240401_11506-3_000000000000001_20240401120000000_01_";

/// What the hospital does, one phase after another; each is followed by rounds of the box.
fn phase(lab: &Lab, number: u32) {
    match number {
        0 => {
            for order in 0..5 {
                lab.write(
                    &object("20240401", "OMP-01", order, 120_000_000, 1),
                    format!("prescription {order}").as_bytes(),
                );
            }
            lab.write(&format!("{CONTENT}1/main.xml"), b"<document/>");
            lab.write(&format!("{CONTENT}1/images/a.jpg"), &[0xff; 3000]);
            lab.write("dpc/EFn_123456789_2404.txt", b"first month");
            lab.write("uke/202404/RECEIPTC.UKE", b"UK,1\r\nGO,1,100,99\r\n\x1a");
        }
        1 => {
            // an update, a deletion, a renamed content folder, a regenerated file, a file that is removed
            lab.rename(
                &object("20240401", "OMP-01", 0, 120_000_000, 1),
                &object("20240401", "OMP-01", 0, 120_000_000, 2),
            );
            lab.write(
                &object("20240401", "OMP-01", 0, 130_000_000, 1),
                b"prescription 0, changed",
            );
            lab.rename(
                &object("20240401", "OMP-01", 1, 120_000_000, 1),
                &object("20240401", "OMP-01", 1, 120_000_000, 0),
            );
            std::fs::rename(
                lab.at(&format!("{CONTENT}1")),
                lab.at(&format!("{CONTENT}0")),
            )
            .unwrap();
            lab.write("dpc/EFn_123456789_2404.txt", b"first month, regenerated");
            lab.remove(&object("20240401", "OMP-01", 4, 120_000_000, 1));
        }
        _ => lab.write(
            &object("20240402", "OML-11", 9, 90_000_000, 1),
            b"late result",
        ),
    }
}

/// Rounds after each phase: a removal needs two whole walks that miss the file.
const ROUNDS: [u32; 3] = [1, 2, 1];

/// Runs the story; when the mains fail, they come back and the box goes on where it is.
fn story(lab: &Lab, seed: u64) {
    for (number, rounds) in (0..).zip(ROUNDS) {
        phase(lab, number);
        let mut lives = 0;
        loop {
            let lived = lab
                .boot()
                .and_then(|mut intake| lab.rounds(&mut intake, rounds));
            match lived {
                Ok(()) => break,
                Err(_) => lab.mains_back(seed),
            }
            lives += 1;
            assert!(lives < 3, "one cut ends one life");
        }
    }
}

fn check(report: &Report, context: &str) {
    // 5 + 2 + 1 + 1 files, then 2 new and 1 regenerated
    assert_eq!(
        (report.files, report.replaced, report.unchanged),
        (9 + 1 + 1 + 1, 1, 0),
        "{context}: {report}"
    );
    assert_eq!(
        (report.renamed, report.removed, report.absent),
        (4, 1, 0),
        "{context}: {report}"
    );
}

#[test]
fn a_story_without_a_cut_is_restored_byte_for_byte_with_nothing_sent_twice() {
    let lab = Lab::new();
    story(&lab, 0);
    check(&lab.open_identical(&[], "no cut"), "no cut");
}

#[test]
fn a_cut_at_any_step_of_the_intake_loses_nothing_and_duplicates_nothing() {
    let calm = Lab::new();
    story(&calm, 0);
    for cut in 0..calm.steps() {
        let lab = Lab::new();
        lab.erase(if cut % 2 == 0 {
            Eraser::EveryStep
        } else {
            Eraser::Never
        });
        lab.cut_at_step(cut);
        story(&lab, cut);
        let context = format!("cut at step {cut}");
        check(&lab.open_identical(&[], &context), &context);
    }
}

#[test]
fn a_cut_at_any_write_of_the_spool_loses_nothing_and_duplicates_nothing() {
    let calm = Lab::new();
    story(&calm, 0);
    // the spool's own crash model has every state; here it is that both recoveries fit together. Steps 4 to 17 make the
    // first slots, one like the other
    let seeds = if full() { 12 } else { 2 };
    for cut in (0..calm.disk().steps()).filter(|cut| full() || !(4..18).contains(cut)) {
        for seed in 0..seeds {
            let lab = Lab::new();
            lab.erase(if seed % 2 == 0 {
                Eraser::EveryStep
            } else {
                Eraser::Never
            });
            lab.disk().cut_at(cut);
            story(&lab, seed);
            let context = format!("cut at write {cut}, seed {seed}");
            check(&lab.open_identical(&[], &context), &context);
        }
    }
}

#[test]
fn a_file_in_parts_survives_a_cut_at_any_step_and_is_whole_at_the_other_end() {
    let bytes = bundle::PART_LIMIT_BYTES as usize;
    let content: Vec<u8> = (0..bytes * 9 / 2)
        .map(|at| (at * at / 7 % 251) as u8)
        .collect();
    let make = || {
        let lab = Lab::new();
        lab.write(&format!("{CONTENT}1/film.mp4"), &content);
        lab.write(&format!("{CONTENT}1/main.xml"), b"<document/>");
        lab
    };
    let calm = make();
    calm.run(1);
    let whole = calm.open_identical(&[], "no cut");
    assert_eq!((whole.files, whole.parts, whole.bundles), (2, 5, 2));
    // the steps of the first bundle's commit, which splits the file, and those around it
    for cut in (0..calm.steps()).rev().take(if full() { 24 } else { 10 }) {
        let lab = make();
        lab.cut_at_step(cut);
        if lab
            .boot()
            .and_then(|mut intake| lab.rounds(&mut intake, 1))
            .is_err()
        {
            lab.mains_back(cut);
        }
        lab.run(1);
        let context = format!("cut at step {cut}");
        let report = lab.open_identical(&[], &context);
        assert_eq!(
            (report.files, report.parts, report.unchanged),
            (2, 5, 0),
            "{context}: {report}"
        );
    }
}
