//! A content folder of extended storage is one unit: its files come together, when all of them are whole.

mod intake_lab;

use bundle::CONTENT_LIMIT_BYTES;
use collector::roles::intake::hints::Origin;
use collector::roles::intake::world::{Step, World};
use intake_lab::{Box1, Lab, QUIET, Walker1};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const TYPE: &str = "ext/000/000/0000001/20240401/DOC-01";
const LINGER: Duration = Duration::from_secs(60);

/// Path in a document under a flag.
fn at(document: u32, flag: u32, file: &str) -> String {
    format!("{}/{file}", folder(document, flag))
}

fn folder(document: u32, flag: u32) -> String {
    format!("{TYPE}/0000001_20240401_DOC-01_{document:015}_20240401120000000_01_{flag}")
}

fn write(lab: &Lab, file: &str) {
    lab.write(&at(1, 1, file), format!("content of {file}").as_bytes());
}

/// Bundles so far, and files in each.
fn bundles(lab: &Lab) -> Vec<u64> {
    let sealed = lab.outside.events("sealed");
    let files = |event: &serde_json::Value| event["files"].as_u64().unwrap();
    sealed.iter().map(files).collect()
}

/// Does something at the first step of a kind that comes while the box runs.
fn once(lab: &Lab, at: Step, mut act: impl FnMut() + Send + 'static) -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&done);
    lab.meanwhile(move |step| {
        if step == at && !mark.swap(true, Ordering::SeqCst) {
            act();
        }
    });
    done
}

/// Writes a file of the hospital, from a thread of the box.
fn writing(lab: &Lab, path: &str, content: &'static [u8]) -> impl FnMut() + Send + 'static {
    let path = lab.at(path);
    move || {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
    }
}

fn round(lab: &Lab, intake: &mut Box1) {
    lab.rounds(intake, 1).unwrap();
}

#[test]
fn a_unit_written_file_by_file_for_longer_than_the_quiet_time_arrives_in_one_bundle() {
    let lab = Lab::new();
    let mut intake = lab.boot().unwrap();
    write(&lab, "main.xml");
    lab.outside.pause(QUIET / 2);
    write(&lab, "page 1.jpg");
    // the next one comes while the first ones wait for their second look, into a folder that was not there
    let come = once(&lab, Step::Waiting, {
        let (mut write, outside) = (
            writing(&lab, &at(1, 1, "images/page 2.jpg"), b"late"),
            lab.outside.clone(),
        );
        move || {
            outside.pause(QUIET / 2);
            write();
        }
    });
    round(&lab, &mut intake);
    assert!(come.load(Ordering::SeqCst));
    assert!(bundles(&lab).is_empty(), "{:?}", bundles(&lab));
    round(&lab, &mut intake);
    assert_eq!(bundles(&lab), [3]);
    assert_eq!(lab.open_identical(&[], "written slowly").files, 3);
}

#[test]
fn whatever_moves_in_a_unit_holds_back_the_rest_of_it_and_no_other_unit() {
    let (page, main) = (at(1, 1, "images/page.jpg"), at(1, 1, "main.xml"));
    type Move = (&'static str, fn(&std::path::Path, &std::path::Path));
    let moves: [Move; 4] = [
        ("grows", |page, _| {
            std::fs::write(page, b"more than it was").unwrap()
        }),
        ("vanishes", |page, _| std::fs::remove_file(page).unwrap()),
        ("is renamed", |page, _| {
            std::fs::rename(page, page.with_extension("png")).unwrap();
        }),
        ("is replaced by a folder", |page, main| {
            std::fs::remove_file(page).unwrap();
            std::fs::create_dir(page).unwrap();
            std::fs::copy(main, page.join("x")).unwrap();
        }),
    ];
    for at in [Step::Waiting, Step::FileRead] {
        for (what, act) in moves {
            let lab = Lab::new();
            for (document, file) in [(1, "main.xml"), (1, "images/page.jpg"), (0, "other.xml")] {
                lab.write(&self::at(document, 1, file), file.as_bytes());
            }
            let (torn, whole) = (lab.at(&page), lab.at(&main));
            let come = once(&lab, at, move || act(&torn, &whole));
            let mut intake = lab.boot().unwrap();
            round(&lab, &mut intake);
            assert!(come.load(Ordering::SeqCst));
            assert_eq!(bundles(&lab), [1], "{what} at {at:?}");
            round(&lab, &mut intake);
            assert_eq!(bundles(&lab).len(), 2, "{what} at {at:?}");
            lab.open_identical(&[], what);
        }
    }
}

#[test]
fn an_empty_file_is_waited_for_with_its_unit_and_then_comes_with_it() {
    let lab = Lab::new();
    write(&lab, "main.xml");
    lab.write(&at(1, 1, "style.css"), b"");
    let mut intake = lab.boot().unwrap();
    round(&lab, &mut intake);
    assert!(bundles(&lab).is_empty());
    round(&lab, &mut intake);
    assert_eq!(bundles(&lab), [2]);
}

#[test]
fn a_unit_that_never_rests_arrives_when_patience_is_over() {
    let lab = Lab::new();
    write(&lab, "main.xml");
    let (journal, grown) = (
        lab.at(&at(1, 1, "journal.log")),
        Arc::new(AtomicU32::new(0)),
    );
    std::fs::write(&journal, b"0").unwrap();
    let count = Arc::clone(&grown);
    lab.meanwhile(move |step| {
        if step == Step::Waiting {
            let lines = count.fetch_add(1, Ordering::SeqCst);
            std::fs::write(&journal, vec![b'x'; lines as usize + 2]).unwrap();
        }
    });
    let mut intake = lab.boot().unwrap();
    round(&lab, &mut intake);
    assert!(bundles(&lab).is_empty());
    round(&lab, &mut intake);
    assert_eq!(bundles(&lab), [1], "only what is whole");
    // what comes later is not waited for from the beginning
    lab.write(&at(1, 1, "late.xml"), b"late");
    round(&lab, &mut intake);
    assert_eq!(bundles(&lab), [1, 1]);
    lab.meanwhile(|_| {});
    round(&lab, &mut intake);
    assert_eq!(lab.open_identical(&[], "at rest").files, 3);
    assert!(grown.load(Ordering::SeqCst) >= 3);
}

#[test]
fn a_late_file_in_an_old_unit_comes_alone_and_late_ones_together() {
    let lab = Lab::new();
    write(&lab, "main.xml");
    let mut intake = lab.boot().unwrap();
    round(&lab, &mut intake);
    write(&lab, "enclosed/a.txt");
    round(&lab, &mut intake);
    assert_eq!(bundles(&lab), [1, 1]);
    write(&lab, "enclosed/b.txt");
    let come = once(
        &lab,
        Step::Waiting,
        writing(&lab, &at(1, 1, "c.txt"), b"beside it"),
    );
    round(&lab, &mut intake);
    assert!(come.load(Ordering::SeqCst));
    assert_eq!(bundles(&lab), [1, 1]);
    round(&lab, &mut intake);
    assert_eq!(bundles(&lab), [1, 1, 2]);
    assert_eq!(lab.open_identical(&[], "late").unchanged, 0);
}

#[test]
fn a_renamed_unit_sends_no_body_again_also_when_it_is_renamed_between_two_looks() {
    let lab = Lab::new();
    for file in ["main.xml", "images/1.jpg", "images/2.jpg"] {
        write(&lab, file);
    }
    let rename = |from, to| {
        let (from, to) = (lab.at(&folder(1, from)), lab.at(&folder(1, to)));
        once(&lab, Step::Waiting, move || {
            std::fs::rename(&from, &to).unwrap();
        })
    };
    let mut intake = lab.boot().unwrap();
    // new, and renamed while it waits
    let come = rename(1, 2);
    round(&lab, &mut intake);
    assert!(come.load(Ordering::SeqCst) && bundles(&lab).is_empty());
    round(&lab, &mut intake);
    assert_eq!(bundles(&lab), [3]);
    // known, with a file that waits, and renamed twice meanwhile
    lab.write(&at(1, 2, "images/3.jpg"), b"late");
    lab.rename(&folder(1, 2), &folder(1, 1));
    let come = rename(1, 0);
    round(&lab, &mut intake);
    assert!(come.load(Ordering::SeqCst));
    assert_eq!(bundles(&lab), [3]);
    round(&lab, &mut intake);
    assert_eq!(bundles(&lab), [3, 4], "all states in one bundle");
    lab.rounds(&mut intake, 3).unwrap();
    let report = lab.open_identical(&[], "renamed");
    let counts = (report.files, report.renamed, report.removed, report.absent);
    assert_eq!(counts, (4, 3, 0, 0), "{report}");
}

#[test]
fn a_cut_of_the_mains_neither_cuts_a_unit_nor_doubles_it() {
    let lab_of_three = || {
        let lab = Lab::new();
        for file in ["main.xml", "images/1.jpg", "images/2.jpg"] {
            write(&lab, file);
        }
        lab
    };
    let uncut = lab_of_three();
    uncut.run(1);
    for cut in 0..uncut.steps() {
        let lab = lab_of_three();
        lab.cut_at_step(cut);
        assert!(lab.boot().and_then(|mut intake| intake.round()).is_err());
        lab.mains_back(cut);
        write(&lab, "images/3.jpg");
        lab.run(2);
        let report = lab.open_identical(&[], &format!("cut at {cut}"));
        assert_eq!((report.files, report.unchanged), (4, 0), "{report}");
        let mut files = bundles(&lab);
        files.dedup();
        assert!(files == [4] || files == [3, 1], "cut at {cut}: {files:?}");
    }
}

#[test]
fn sealing_does_not_cut_a_unit_whenever_it_comes() {
    for at in [Step::Folder, Step::FileRead, Step::Waiting] {
        let lab = Lab::new();
        lab.write("dpc/FF1_123456789_2404.txt", b"something else");
        for page in 0..4 {
            write(&lab, &format!("images/{page}.jpg"));
            lab.write(&self::at(2, 1, &format!("{page}.jpg")), b"of another unit");
        }
        let intake = lab.boot().unwrap();
        let (keeper, outside) = (intake.keeper(), lab.outside.clone());
        lab.meanwhile(move |step| {
            if step == at {
                outside.pause(LINGER);
                keeper.beat().unwrap();
            }
        });
        let mut walkers = intake.into_walkers();
        for walker in &mut walkers[1..3] {
            // a step that takes a whole period leaves each turn one, and a first walk goes in bands of dates
            for _ in 0..24 {
                walker.turn(LINGER).unwrap();
            }
        }
        let files = bundles(&lab);
        assert_eq!(files.iter().sum::<u64>(), 9, "{files:?} at {at:?}");
        assert!(
            files.iter().all(|files| [1, 4, 5, 8, 9].contains(files)),
            "sealed at {at:?}: {files:?}"
        );
    }
}

#[test]
fn a_unit_that_does_not_fit_beside_others_comes_in_a_bundle_of_its_own() {
    let lab = Lab::new();
    let page = vec![b'p'; 6 << 20];
    let pages = CONTENT_LIMIT_BYTES as usize / page.len();
    for document in 1..4 {
        for number in 0..pages - 2 {
            lab.write(&at(document, 1, &format!("{number}.jpg")), &page);
        }
    }
    lab.run(1);
    let per_unit = (pages - 2) as u64;
    assert_eq!(bundles(&lab), [per_unit; 3]);
    lab.open_identical(&[], "beside others");
}

#[test]
fn a_unit_greater_than_a_bundle_waits_as_a_whole_and_then_fills_several() {
    let lab = Lab::new();
    let page = vec![b'p'; 7 << 20];
    for number in 0..4 {
        lab.write(&at(1, 1, &format!("{number}.jpg")), &page);
    }
    lab.write(&at(1, 1, "scan.tif"), &[b's'; 10 << 20]);
    let come = once(
        &lab,
        Step::Waiting,
        writing(&lab, &at(1, 1, "main.xml"), b"the last one"),
    );
    let mut intake = lab.boot().unwrap();
    round(&lab, &mut intake);
    assert!(come.load(Ordering::SeqCst) && bundles(&lab).is_empty());
    round(&lab, &mut intake);
    assert_eq!(bundles(&lab).len(), 2);
    lab.open_identical(&[], "greater than a bundle");
}

#[test]
fn a_file_that_travels_in_parts_stays_with_its_unit() {
    let lab = Lab::new();
    lab.write(&at(1, 1, "scan.tif"), &[b's'; 10 << 20]);
    write(&lab, "main.xml");
    lab.write(
        "ext/000/000/0000001/20240401/DOC-01/old_1.xml",
        b"old layout",
    );
    let intake = lab.boot().unwrap();
    let (keeper, outside) = (intake.keeper(), lab.outside.clone());
    lab.meanwhile(move |step| {
        if step == Step::FileRead {
            outside.pause(LINGER);
            keeper.beat().unwrap();
        }
    });
    let mut walkers = intake.into_walkers();
    for _ in 0..3 {
        walkers[1].turn(LINGER).unwrap();
    }
    // two parts and a file; and the one of the old layout
    let mut files = bundles(&lab);
    files.sort_unstable();
    assert_eq!(files, [1, 3]);
    lab.open_identical(&[], "in parts");
}

/// The walker of extended storage, after its first walk.
fn settled(lab: &Lab) -> Walker1 {
    let mut documents = lab.boot().unwrap().into_walkers().remove(1);
    while walks(lab) == 0 {
        documents.turn(LINGER).unwrap();
    }
    documents
}

fn walks(lab: &Lab) -> u64 {
    lab.shared().report().sources[1].walks
}

/// The server tells of a change at a path.
fn told(lab: &Lab, path: &str) {
    let below = path.strip_prefix("ext/").unwrap();
    lab.shared().hints[1].changed(Origin::Server, below.as_bytes());
}

#[test]
fn a_word_about_one_folder_of_a_unit_brings_all_that_is_new_in_it_together() {
    let lab = Arc::new(Lab::new());
    write(&lab, "main.xml");
    write(&lab, "images/1.jpg");
    let mut documents = settled(&lab);
    let took = Arc::new(Mutex::new(Duration::ZERO));
    let (during, measured, mut said) = (Arc::downgrade(&lab), Arc::clone(&took), None);
    lab.meanwhile(move |step| {
        let Some(lab) = during.upgrade() else { return };
        let now = lab.outside.uptime();
        // between two walks
        if step == Step::Waiting && walks(&lab) == 2 && said.is_none() {
            said = Some(now);
            for file in ["images/2.jpg", "enclosed/deep/a.txt", "late.xml"] {
                write(&lab, file);
            }
            told(&lab, &at(1, 1, "images/2.jpg"));
        }
        if let Some(said) = said.filter(|_| step == Step::Committed) {
            *measured.lock().unwrap() = now - said;
        }
    });
    documents.turn(60 * LINGER).unwrap();
    assert_eq!(walks(&lab), 2);
    assert_eq!(bundles(&lab), [2, 3]);
    let took = *took.lock().unwrap();
    assert!(took < 2 * QUIET, "in one look, not in {took:?}");
    assert_eq!(lab.open_identical(&[], "told").unchanged, 0);
}

#[test]
fn a_unit_that_a_walk_and_a_word_find_at_the_same_time_comes_once() {
    for at_step in [Step::Folder, Step::Waiting, Step::FileRead] {
        let lab = Arc::new(Lab::new());
        write(&lab, "main.xml");
        let mut documents = settled(&lab);
        for file in ["images/1.jpg", "images/2.jpg", "late.xml"] {
            write(&lab, file);
        }
        let (during, mut is_told) = (Arc::downgrade(&lab), false);
        lab.meanwhile(move |step| {
            let Some(lab) = during.upgrade() else { return };
            if step == at_step && !std::mem::replace(&mut is_told, true) {
                told(&lab, &at(1, 1, "images/1.jpg"));
            }
        });
        for _ in 0..3 {
            documents.turn(LINGER).unwrap();
        }
        assert_eq!(bundles(&lab), [1, 3], "{at_step:?}");
        assert_eq!(lab.open_identical(&[], "both").unchanged, 0);
    }
}

#[test]
fn a_unit_that_fills_rows_of_the_catalogue_goes_on_arriving_file_by_file() {
    const PAGES: u64 = 6000;
    let lab = Lab::new();
    for page in 0..PAGES {
        write(&lab, &format!("page {page:040}.jpg"));
    }
    let mut intake = lab.boot().unwrap();
    round(&lab, &mut intake);
    assert_eq!(bundles(&lab), [PAGES]);
    // what still changes does not hold back the rest, as it would in a unit of fewer files
    write(&lab, "late.xml");
    let growing = lab.at(&at(1, 1, "journal.log"));
    std::fs::write(&growing, b"0").unwrap();
    let lines = AtomicU32::new(0);
    lab.meanwhile(move |step| {
        if step == Step::Waiting {
            let lines = lines.fetch_add(1, Ordering::SeqCst);
            std::fs::write(&growing, vec![b'x'; lines as usize + 2]).unwrap();
        }
    });
    round(&lab, &mut intake);
    assert_eq!(bundles(&lab), [PAGES, 1]);
    lab.meanwhile(|_| {});
    lab.rounds(&mut intake, 2).unwrap();
    assert_eq!(bundles(&lab), [PAGES, 1, 1]);
    assert_eq!(lab.open_identical(&[], "many pages").unchanged, 0);
}
