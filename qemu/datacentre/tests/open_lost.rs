//! Bundles that their box has lost: a gap is passed on the box's own word only, and what never comes is on record.

mod scene;

use bundle::{Digest, Extent, Lost, LostFile, SealedBundle};
use datacentre::open::Report;
use scene::*;
use std::fs;
use std::process::Command;

/// A report of a loss, with one file that will never come.
fn loss(number: u64, sha256: Digest) -> Lost {
    let path = format!("patient {number}").into_bytes();
    let file = LostFile {
        source: 0,
        size: 3,
        sha256: Digest::of(&path),
        path,
        extent: Extent::Whole,
    };
    Lost {
        number,
        sha256,
        files: vec![file],
    }
}

fn of(sealed: &SealedBundle) -> Lost {
    loss(sealed.name.sequence(), sealed.sha256)
}

fn lost(report: &Report) -> Vec<u64> {
    report.lost.iter().map(|lost| lost.number).collect()
}

/// Bundle 1 has come, 2 has not, 3 and the notice have.
fn passed() -> (Scene, SealedBundle) {
    let mut scene = Scene::new();
    scene.send(&[added(b"a", b"one")]);
    let missing = scene.seal(&[added(b"a", b"old"), added(b"b", b"gone")]);
    scene.send(&[added(b"c", b"three")]);
    let notice = scene.notice(&[of(&missing)]);
    scene.lay(&notice);
    (scene, missing)
}

#[test]
fn a_gap_that_a_later_bundle_reports_as_lost_is_passed_and_told_once() {
    let (scene, missing) = passed();
    let report = scene.open();
    assert_eq!((lost(&report), report.bundles), (vec![2], 3), "{report}");
    assert_eq!(report.lost[0].notice, 4);
    assert_eq!(report.lost[0].files, 1);
    assert!(!report.is_clean());
    assert!(
        report
            .to_string()
            .contains("LOST      box box-1: bundle 2, says bundle 4; 1 files of it will not come"),
        "{report}"
    );
    assert_eq!(scene.store(), tree(&[(b"a", b"one"), (b"c", b"three")]));
    let record = scene.below(".lost/box-1");
    let record = record.get(&b"0000000002.json"[..]).unwrap();
    let record: serde_json::Value = serde_json::from_slice(record).unwrap();
    assert_eq!(record["sha256"], missing.sha256.to_string());
    assert_eq!(record["files"][0]["path"], "patient%202");
    // names of files are in the record alone
    assert!(!format!("{report}{}", report.to_json()).contains("patient"));
    assert!(scene.open().is_clean());
}

#[test]
fn the_command_ends_with_status_1_when_a_bundle_is_lost() {
    let (scene, _) = passed();
    let options = scene.options();
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_datacentre"))
            .arg("open")
            .arg("--cert")
            .arg(&options.certificate)
            .arg("--key")
            .arg(&options.key)
            .arg("--trust")
            .arg(&options.trust)
            .arg("--in")
            .arg(&options.input)
            .arg("--out")
            .arg(&options.output)
            .output()
            .unwrap()
    };
    assert_eq!(run().status.code(), Some(1));
    assert_eq!(run().status.code(), Some(0));
}

#[test]
fn without_a_notice_or_with_one_for_another_number_a_gap_waits() {
    let mut scene = Scene::new();
    let first = scene.seal(&[added(b"a", b"one")]);
    let second = scene.seal(&[added(b"b", b"two")]);
    scene.send(&[added(b"c", b"three")]);
    let only_one_of_two = scene.notice(&[of(&second)]);
    scene.lay(&only_one_of_two);
    let report = scene.open();
    assert!(lost(&report).is_empty());
    assert_eq!(
        (
            report.gaps[0].first,
            report.gaps[0].last,
            report.gaps[0].waiting
        ),
        (1, 2, 2)
    );
    // the other one too: all of the gap is passed
    let rest = scene.notice(&[of(&first)]);
    scene.lay(&rest);
    assert_eq!(lost(&scene.open()), [1, 2]);
}

#[test]
fn several_gaps_are_passed_one_after_the_other_in_one_run() {
    let mut scene = Scene::new();
    let first = scene.seal(&[added(b"a", b"one")]);
    scene.send(&[added(b"b", b"two")]);
    let third = scene.seal(&[added(b"c", b"three")]);
    let fourth = scene.seal(&[added(b"d", b"four")]);
    scene.send(&[added(b"e", b"five")]);
    let notice = scene.notice(&[of(&first), of(&third), of(&fourth)]);
    scene.lay(&notice);
    let report = scene.open();
    assert_eq!(
        (lost(&report), report.bundles),
        (vec![1, 3, 4], 3),
        "{report}"
    );
    assert_eq!(scene.store(), tree(&[(b"b", b"two"), (b"e", b"five")]));
}

#[test]
fn a_notice_whose_digest_does_not_fit_the_chain_opens_no_gap() {
    let mut scene = Scene::new();
    scene.send(&[added(b"a", b"one")]);
    let _missing = scene.seal(&[added(b"b", b"two")]);
    scene.send(&[added(b"c", b"three")]);
    let notice = scene.notice(&[loss(2, Digest::of(b"of another history"))]);
    scene.lay(&notice);
    let report = scene.open();
    assert!(lost(&report).is_empty());
    assert_eq!(report.gaps[0].first, 2);
    assert_eq!(scene.store(), tree(&[(b"a", b"one")]));
}

#[test]
fn two_notices_that_contradict_each_other_open_no_gap_and_raise_an_alarm() {
    let (mut scene, _) = passed();
    let other = scene.notice(&[loss(2, Digest::of(b"another"))]);
    scene.lay(&other);
    let report = scene.open();
    assert!(lost(&report).is_empty());
    assert!(report.refused[0].alarm, "{report}");
}

#[test]
fn a_notice_that_a_stranger_sealed_opens_no_gap() {
    let mut scene = Scene::new();
    scene.send(&[added(b"a", b"one")]);
    let missing = scene.seal(&[added(b"b", b"two")]);
    scene.send(&[added(b"c", b"three")]);
    let mut stranger = Scene::signed_by("wrong/sealing-box");
    (stranger.sequence, stranger.previous) = (scene.sequence, scene.previous);
    let notice = stranger.notice(&[of(&missing)]);
    scene.lay(&notice);
    let report = scene.open();
    assert!(lost(&report).is_empty());
    assert_eq!(report.gaps[0].waiting, 2);
}

#[test]
fn a_bundle_that_was_applied_before_it_was_reported_as_lost_is_no_loss() {
    let mut scene = Scene::new();
    let first = scene.seal(&[added(b"a", b"one")]);
    scene.lay(&first);
    let notice = scene.notice(&[of(&first)]);
    scene.lay(&notice);
    let report = scene.open();
    assert!(report.is_clean(), "{report}");
    assert!(scene.below(".lost").is_empty());
}

#[test]
fn a_notice_that_gives_an_applied_bundle_another_digest_is_refused_as_an_alarm() {
    let mut scene = Scene::new();
    scene.send(&[added(b"a", b"one")]);
    let notice = scene.notice(&[loss(1, Digest::of(b"another"))]);
    scene.lay(&notice);
    let report = scene.open();
    assert!(report.refused[0].alarm, "{report}");
    assert_eq!(report.bundles, 1);
}

#[test]
fn the_lost_bundle_that_turns_up_late_is_left_alone_and_another_one_is_refused() {
    let (scene, missing) = passed();
    scene.open();
    scene.lay(&missing);
    for _ in 0..2 {
        let report = scene.open();
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.late, report.bundles), (1, 0));
        assert_eq!(scene.store(), tree(&[(b"a", b"one"), (b"c", b"three")]));
    }
    // a rotten copy is refused, another bundle that the box signed is an alarm
    let path = scene.input().join(missing.name.to_string());
    let mut rotten = missing.bytes.clone();
    rotten[100] ^= 1;
    fs::write(&path, rotten).unwrap();
    let report = scene.open();
    assert!(!report.refused[0].alarm, "{report}");
    let other = scene.seal_as(&[added(b"x", b"other")], 2, Some(Digest::of(b"")));
    scene.lay(&other);
    assert!(scene.open().refused[0].alarm);
}

#[test]
fn the_lost_bundle_that_comes_before_its_gap_is_passed_is_applied_in_its_turn() {
    let (scene, missing) = passed();
    scene.lay(&missing);
    let report = scene.open();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.bundles, 4);
    assert!(scene.below(".lost").is_empty());
}
