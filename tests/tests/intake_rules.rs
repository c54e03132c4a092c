//! What the intake takes, what it leaves, and what it never concludes.

mod intake_lab;

use collector::roles::intake::receipts::{Rule, process};
use collector::roles::intake::share::{MountRule, OpenFile, ReadFault, Reading, Root, list};
use collector::roles::intake::world::Step;
use intake_lab::{BOX, Lab};
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const FOLDER: &str = "std/000/000/0000001/20240401/OMP-01";
const STEM: &str = "0000001_20240401_OMP-01_000000000000001_20240401120000000_01_";

fn name(order: u32) -> String {
    format!("{FOLDER}/0000001_20240401_OMP-01_{order:015}_20240401120000000_01_1")
}

fn filled(files: u32) -> Lab {
    let lab = Lab::new();
    for order in 0..files {
        lab.write(&name(order), format!("prescription {order}").as_bytes());
    }
    lab.write("dpc/FF1_123456789_2404.txt", b"one");
    lab
}

#[test]
fn a_file_that_grows_between_two_looks_is_taken_only_when_it_is_whole() {
    let lab = filled(3);
    let (path, grown) = (lab.at(&name(7)), Arc::new(AtomicU32::new(0)));
    std::fs::write(&path, b"0").unwrap();
    let count = Arc::clone(&grown);
    lab.meanwhile(move |step| {
        if step == Step::Waiting && count.fetch_add(1, Ordering::Relaxed) < 3 {
            let text = std::fs::read(&path).unwrap();
            std::fs::write(&path, [text, b"more".to_vec()].concat()).unwrap();
        }
    });
    lab.run(5);
    assert!(grown.load(Ordering::Relaxed) > 3);
    let report = lab.open_identical(&[], "growing file");
    assert_eq!((report.files, report.replaced), (5, 0));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_left_for_later() {
    let lab = filled(1);
    let (path, reads) = (lab.at(&name(0)), AtomicU32::new(0));
    lab.meanwhile(move |step| {
        // after the second listing, before the file is opened
        if step == Step::FileRead && reads.fetch_add(1, Ordering::Relaxed) == 0 {
            std::fs::write(&path, b"rewritten at the last moment").unwrap();
        }
    });
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 1).unwrap();
    let (report, _) = lab.open();
    assert_eq!(report.files, 1, "only the other one: {report}");
    lab.rounds(&mut intake, 1).unwrap();
    assert_eq!(lab.open_identical(&[], "later").files, 1);
}

#[test]
fn a_store_that_vanishes_is_missing_once_and_never_read_as_removals() {
    let lab = filled(30);
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 1).unwrap();
    std::fs::rename(lab.at("std"), lab.at("away")).unwrap();
    lab.write("dpc/FF1_123456789_2405.txt", b"two");
    lab.rounds(&mut intake, 4).unwrap();
    let missing = lab.outside.events("source-missing");
    assert_eq!(missing.len(), 1);
    assert_eq!(
        (&missing[0]["source"], &missing[0]["reason"]),
        (&"wards".into(), &"no such folder on the share".into())
    );
    std::fs::rename(lab.at("away"), lab.at("std")).unwrap();
    lab.rounds(&mut intake, 2).unwrap();
    assert_eq!(lab.outside.events("source-returned").len(), 1);
    let report = lab.open_identical(&[], "returned");
    assert_eq!((report.files, report.removed, report.unchanged), (32, 0, 0));
}

#[test]
fn an_empty_root_is_a_missing_source_not_a_mass_removal() {
    let lab = filled(5);
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 1).unwrap();
    std::fs::rename(lab.at("std/000"), lab.at("away")).unwrap();
    lab.rounds(&mut intake, 4).unwrap();
    assert_eq!(
        lab.outside.events("source-missing")[0]["reason"],
        "the root is empty"
    );
    std::fs::rename(lab.at("away"), lab.at("std/000")).unwrap();
    lab.rounds(&mut intake, 2).unwrap();
    assert_eq!(lab.open_identical(&[], "returned").removed, 0);
}

#[test]
fn a_mass_disappearance_is_suspicious_and_few_removals_are_reported() {
    let lab = filled(60);
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 1).unwrap();
    for order in 0..25 {
        lab.remove(&name(order));
    }
    lab.rounds(&mut intake, 4).unwrap();
    let suspicious = lab.outside.events("source-suspicious");
    assert_eq!(suspicious.len(), 1);
    assert_eq!(
        (&suspicious[0]["missing"], &suspicious[0]["files"]),
        (&25.into(), &60.into())
    );
    assert_eq!(lab.open().0.removed, 0);
    for order in 5..25 {
        lab.write(&name(order), b"restored by the hospital");
    }
    lab.rounds(&mut intake, 3).unwrap();
    let report = lab.open_identical(&[], "five removed");
    assert_eq!((report.removed, report.absent), (5, 0));
}

#[test]
fn a_removal_is_reported_only_after_two_whole_walks_have_missed_the_file() {
    let lab = filled(3);
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 1).unwrap();
    lab.remove(&name(0));
    lab.rounds(&mut intake, 1).unwrap();
    assert_eq!(lab.open().0.removed, 0);
    lab.rounds(&mut intake, 1).unwrap();
    assert_eq!(lab.open_identical(&[], "removed").removed, 1);
}

#[test]
fn a_new_name_with_the_same_size_and_time_but_other_bytes_is_not_taken_for_a_change_of_flag() {
    let lab = Lab::new();
    let (one, two) = (format!("{FOLDER}/{STEM}1"), format!("{FOLDER}/{STEM}2"));
    lab.write(&one, b"first content");
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 1).unwrap();
    let time = std::fs::metadata(lab.at(&one)).unwrap().modified().unwrap();
    lab.remove(&one);
    lab.write(&two, b"other content");
    File::options()
        .write(true)
        .open(lab.at(&two))
        .unwrap()
        .set_modified(time)
        .unwrap();
    lab.rounds(&mut intake, 3).unwrap();
    let report = lab.open_identical(&[], "other bytes");
    assert_eq!((report.renamed, report.files, report.removed), (0, 2, 1));
}

#[test]
fn a_file_written_again_with_the_same_bytes_is_not_sent_again_and_read_once() {
    let lab = filled(3);
    let rewritten = || {
        let shared = lab.shared();
        let report = shared.report();
        [0, 2].map(|source| report.sources[source].rewritten)
    };
    let bundles = || lab.outside.events("sealed").len();
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 1).unwrap();
    let before = (bundles(), lab.told().len());
    // a vendor writes all of it again; one file has other bytes, of the same number
    for path in [&name(0), &name(1), "dpc/FF1_123456789_2404.txt"] {
        let content = std::fs::read(lab.at(path)).unwrap();
        lab.write(path, &content);
    }
    lab.write(&name(2), b"prescription X");
    lab.rounds(&mut intake, 3).unwrap();
    assert_eq!(rewritten(), [2, 1]);
    assert_eq!((bundles(), lab.told().len()), (before.0 + 1, before.1 + 1));
    // what is known outlives a restart, and the other bytes come when they come
    drop(intake);
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 1).unwrap();
    assert_eq!(rewritten(), [0, 0]);
    lab.write(&name(0), b"prescription Y");
    lab.rounds(&mut intake, 1).unwrap();
    lab.write(&name(0), b"prescription 0");
    lab.rounds(&mut intake, 1).unwrap();
    let report = lab.open_identical(&[], "written again");
    assert_eq!((report.files, report.replaced), (7, 3));
}

#[test]
fn links_and_leftovers_of_programs_are_not_collected() {
    let lab = filled(2);
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("outside"), b"not the hospital's").unwrap();
    symlink(secret.path().join("outside"), lab.at("dpc/link")).unwrap();
    symlink(secret.path(), lab.at("dpc/folder-link")).unwrap();
    for leftover in ["Thumbs.db", "~$letter.docx", "half.tmp", ".x.swp"] {
        lab.write(&format!("dpc/{leftover}"), b"leftover");
    }
    lab.run(2);
    let (report, restored) = lab.open();
    assert_eq!((report.files, report.is_clean()), (3, true));
    assert_eq!(
        std::fs::read_dir(restored.join("monthly")).unwrap().count(),
        1
    );
}

#[test]
fn a_full_disk_pauses_the_collection_with_a_reason_and_it_resumes_by_itself() {
    let lab = filled(4);
    lab.full_disk(5);
    lab.run(1);
    let paused = lab.outside.events("collecting-paused");
    assert_eq!(paused.len(), 1);
    assert!(
        paused[0]["reason"]
            .as_str()
            .unwrap()
            .starts_with("no room in the spool")
    );
    assert_eq!(lab.outside.events("collecting-resumed").len(), 1);
    assert_eq!(lab.open_identical(&[], "resumed").files, 5);
}

#[test]
fn an_empty_file_and_a_receipt_file_without_its_last_record_are_waited_for_longer() {
    let lab = filled(1);
    lab.write("dpc/Dn_123456789_2404.txt", b"");
    lab.write("uke/RECEIPTC.UKE", b"UK,1\r\nSI,01\r\n");
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 1).unwrap();
    assert_eq!(lab.open().0.files, 2);
    lab.rounds(&mut intake, 3).unwrap();
    assert_eq!(lab.open_identical(&[], "patient").files, 2);
}

#[test]
fn each_bundle_is_in_the_trail_with_its_number_of_files_and_digest() {
    let lab = filled(4);
    lab.run(1);
    let sealed = lab.outside.events("sealed");
    assert_eq!(sealed.len(), 1);
    assert_eq!(
        (&sealed[0]["bundle"], &sealed[0]["files"]),
        (&format!("{BOX}-0000000001.cms").into(), &5.into())
    );
    assert_eq!(sealed[0]["sha256"].as_str().unwrap().len(), 64);
    assert!(sealed[0]["bytes"].as_u64().unwrap() > 0);
}

#[test]
fn a_folder_that_is_no_mount_of_its_own_is_a_missing_share() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("share/std/000")).unwrap();
    let open = |rule| Root::open(folder.path(), rule, "share", Path::new("std")).err();
    assert_eq!(open(MountRule::OwnDevice), Some("not mounted"));
    assert_eq!(open(MountRule::AnyFolder), None);
    assert_eq!(
        Root::open(folder.path(), MountRule::AnyFolder, "other", Path::new("")).err(),
        Some("not mounted")
    );
}

#[test]
fn a_root_that_leads_out_of_its_share_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("share")).unwrap();
    std::fs::create_dir_all(folder.path().join("other")).unwrap();
    symlink(
        folder.path().join("other"),
        folder.path().join("share/link"),
    )
    .unwrap();
    for path in ["../other", "link"] {
        assert!(
            Root::open(
                folder.path(),
                MountRule::AnyFolder,
                "share",
                Path::new(path)
            )
            .is_err(),
            "{path}"
        );
    }
}

#[test]
fn a_generated_hospital_that_goes_on_writing_is_restored_byte_for_byte() {
    let lab = Lab::new();
    let root = lab.at("std");
    std::fs::remove_dir(&root).unwrap();
    let mut spec = hospital::Spec::new(20, 300);
    spec.threads = 2;
    hospital::make(&spec, &root).unwrap();
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 3).unwrap();
    let leftovers: Vec<&str> = hospital::LEFTOVERS.to_vec();
    let first = lab.open_identical(&leftovers, "first collection");
    assert_eq!(first.unchanged, 0);
    for seed in 1..4 {
        let mut change = hospital::Change::new(seed);
        (change.add, change.update, change.delete) = (20, 10, 5);
        hospital::change(&change, &root).unwrap();
        lab.rounds(&mut intake, 3).unwrap();
        let report = lab.open_identical(&leftovers, &format!("change {seed}"));
        assert_eq!((report.unchanged, report.absent), (0, 0), "{report}");
    }
}

/// The samples that nobody here wrote, where they lie beside the checkout.
#[test]
fn public_samples_are_restored_byte_for_byte_the_wrong_ones_too() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples");
    let store = samples.join("ss-mix2-nho/sampleData");
    if !store.exists() {
        eprintln!("skipped: no samples beside the checkout");
        return;
    }
    let lab = Lab::new();
    copy(&store, &lab.at("std"));
    std::fs::copy(
        samples.join("receipt/RECEIPTC.UKE"),
        lab.at("uke/RECEIPTC.UKE"),
    )
    .unwrap();
    lab.run(2);
    assert!(lab.open_identical(&[], "samples").files > 20);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to)
        } else {
            std::fs::copy(from, to).map(drop).unwrap()
        }
    }
}

#[test]
fn a_bundle_is_erased_only_by_a_receipt_for_its_very_bytes_and_the_receipt_is_deleted() {
    let lab = filled(2);
    lab.run(1);
    let spool = std::sync::Mutex::new(spool::Spool::open(lab.disk(), BOX, 0).unwrap());
    let (sequence, queued) = {
        let spool = spool.lock().unwrap();
        let (sequence, queued) = spool.queued().next().unwrap();
        (sequence, queued.clone())
    };
    let held = spool.lock().unwrap().held(sequence).unwrap().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(format!("{}.receipt", queued.name));
    let bundle: bundle::BundleName = queued.name.parse().unwrap();
    let mut wrong = held.sha256;
    wrong[0] ^= 1;
    for bytes in [
        upload::receipt::unsigned_mark(&bundle, held.size_bytes, &wrong),
        b"nonsense".to_vec(),
        vec![],
    ] {
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(
            process(&lab.outside, folder.path(), &Rule::Unsigned, &spool).unwrap(),
            0
        );
        assert!(!file.exists());
    }
    assert_eq!(lab.outside.events("receipt-refused").len(), 3);
    assert_eq!(spool.lock().unwrap().queued().len(), 1);
    // twice: a cut between erasing and deleting the receipt
    for _ in 0..2 {
        std::fs::write(
            &file,
            upload::receipt::unsigned_mark(&bundle, held.size_bytes, &held.sha256),
        )
        .unwrap();
        assert_eq!(
            process(&lab.outside, folder.path(), &Rule::Unsigned, &spool).unwrap(),
            1
        );
        assert!(!file.exists());
        assert_eq!(spool.lock().unwrap().queued().len(), 0);
    }
    assert_eq!(
        lab.outside.events("erased")[0]["bundle"],
        queued.name.as_str()
    );
    assert_eq!(lab.outside.events("receipt-refused").len(), 3);
}

#[test]
fn a_file_rewritten_while_it_is_open_is_seen_as_changed_even_with_the_same_size() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("share")).unwrap();
    let path = folder.path().join("share/file");
    std::fs::write(&path, b"first").unwrap();
    let root = Root::open(folder.path(), MountRule::AnyFolder, "share", Path::new("")).unwrap();
    let open = root.folder(b"").unwrap();
    let seen = list(&open).ok().unwrap().files.remove(0);
    let file = OpenFile::open(&open, &seen, Reading::Usual).ok().unwrap();
    assert_eq!(file.check(), Ok(()));
    std::fs::write(&path, b"other").unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert_eq!(file.check(), Err(ReadFault::Changed));
    assert!(OpenFile::open(&open, &seen, Reading::Usual).is_err());
}
