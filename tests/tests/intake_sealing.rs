//! When the bundle in the making is sealed: all sources share it, and one that has said all that it had to say waits for no
//! other. And when a source is looked at again.

mod intake_lab;

use collector::roles::intake::pacing::{Pacing, day, written};
use collector::roles::intake::world::{Step, World};
use intake_lab::{Box1, Lab, QUIET, SOURCES, Walker1, now};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the intake promises: nothing taken waits longer to be sealed.
const LINGER: Duration = Duration::from_secs(60);
const PATIENTS: u32 = 600;

fn path(patient: u32, order: u32) -> String {
    format!(
        "std/{patient:010}/20200101/OMP-01/{patient:010}_20200101_OMP-01_{order:015}_20200101120000000_01_1"
    )
}

/// A patient's file of this very day.
fn today(unix_seconds: u64, order: u32) -> String {
    let date = String::from_utf8(written(day(unix_seconds)).to_vec()).unwrap();
    path(1, order).replace("20200101", &date)
}

fn fill(lab: &Lab) {
    for patient in 0..PATIENTS {
        lab.write(&path(patient, 1), b"prescription");
    }
}

/// From the first file read to the sealing of each bundle.
fn ages(lab: &Lab) -> Arc<Mutex<Vec<Duration>>> {
    let ages = Arc::new(Mutex::new(Vec::new()));
    let (outside, measured, mut first) = (lab.outside.clone(), Arc::clone(&ages), None);
    lab.meanwhile(move |step| match step {
        Step::FileRead => {
            first.get_or_insert(outside.uptime());
        }
        Step::DraftClosed => {
            let since = first.take().unwrap_or_default();
            measured.lock().unwrap().push(outside.uptime() - since);
        }
        _ => {}
    });
    ages
}

/// Small sources turn beside a large one that is walked for the first time. Gives how many turns each made, how many bundles
/// there were, and in how many seconds.
fn small_beside_large(lab: &Lab, say: impl Fn(&str, u64) + Sync) -> ([u64; 2], u64, u64) {
    fill(lab);
    let mut walkers = lab.boot().unwrap().into_walkers();
    let (claims, monthly) = (walkers.remove(3), walkers.remove(2));
    let mut wards = walkers.remove(0);
    let begin = lab.outside.uptime();
    let is_done = AtomicBool::new(false);
    let [first, second, third] = lab.outside.together(3).try_into().ok().unwrap();
    let live = |mut walker: Walker1, folder: &str, _lives| {
        let mut turns = 0;
        while !is_done.load(Ordering::SeqCst) {
            say(folder, turns);
            walker.turn(LINGER).unwrap();
            turns += 1;
        }
        turns
    };
    let turns = std::thread::scope(|scope| {
        let small = [
            scope.spawn(|| live(claims, "uke", first)),
            scope.spawn(|| live(monthly, "dpc", second)),
        ];
        let lives = third;
        while lab.shared().report().sources[0].walks == 0 {
            wards.turn(LINGER).unwrap();
        }
        is_done.store(true, Ordering::SeqCst);
        drop(lives);
        small.map(|thread| thread.join().unwrap())
    });
    let seconds = (lab.outside.uptime() - begin).as_secs();
    let bundles = lab.outside.events("sealed").len() as u64;
    (turns, bundles, seconds)
}

fn slow() -> Lab {
    Lab::paced(Pacing {
        requests_per_second: 10,
        ..Pacing::eager()
    })
}

#[test]
fn what_a_small_source_says_is_sealed_in_its_turn_though_a_large_one_is_walked_for_hours() {
    let lab = slow();
    lab.write("uke/file", b"a line");
    lab.write("dpc/file", b"a line");
    let (turns, bundles, seconds) = small_beside_large(&lab, |folder, turn| {
        // what was said before is durable
        let bundles = lab.outside.events("sealed").len() as u64;
        assert!(bundles >= turn, "{bundles} bundles at turn {turn}");
        lab.write(&format!("{folder}/file {turn}"), b"a line");
    });
    assert!(seconds >= 4 * LINGER.as_secs() && turns.iter().all(|turns| *turns >= 3));
    let small = turns.iter().sum::<u64>();
    assert!(bundles <= small + seconds / LINGER.as_secs() + 2);
    let report = lab.open_identical(&[], "together");
    assert_eq!(report.files, u64::from(PATIENTS) + small + 2);
}

#[test]
fn small_sources_that_have_nothing_to_say_do_not_seal_what_a_large_one_has_begun() {
    let lab = slow();
    lab.write("uke/desktop.ini", b"");
    lab.write("dpc/desktop.ini", b"");
    let (turns, bundles, seconds) = small_beside_large(&lab, |_, _| {});
    let least = seconds.div_ceil(LINGER.as_secs());
    assert!(least >= 4 && turns.iter().all(|turns| *turns >= 3));
    assert!(
        bundles <= least + 1,
        "{bundles} bundles in {seconds} s, where {least} would do; small turns: {turns:?}"
    );
    let report = lab.open_identical(&["desktop.ini"], "together");
    assert_eq!(report.files, u64::from(PATIENTS));
}

/// Files that nobody tells of come at all phases of the turns: today's, and those of undated sources; also while everything is
/// walked, for the first time and again.
#[test]
fn what_nobody_tells_of_is_durable_within_the_period() {
    const FILES: u32 = 24;
    let period = Duration::from_secs(60);
    for (source, patients) in [(0, 1), (0, 200), (2, 0)] {
        let lab = Lab::paced(Pacing {
            requests_per_second: 400,
            ..Pacing::eager()
        });
        for (patient, date) in
            (0..patients).flat_map(|patient| (10..30).map(move |day| (patient, day)))
        {
            let old = path(patient, 1).replace("20200101", &format!("202001{date}"));
            lab.write(&old, b"of old");
        }
        let lab = Arc::new(lab);
        let place = |order: u32| match source {
            0 => today(now(), order),
            _ => format!("dpc/month {order}"),
        };
        lab.write(&place(0), b"the first");
        let mut walker = lab.boot().unwrap().into_walkers().remove(source);
        let durable = Arc::new(Mutex::new(BTreeMap::new()));
        let (during, seen) = (Arc::downgrade(&lab), Arc::clone(&durable));
        lab.meanwhile(move |step| {
            let Some(lab) = during.upgrade() else { return };
            if step == Step::Committed {
                let now = lab.outside.uptime();
                for (path, _) in lab.told() {
                    seen.lock().unwrap().entry(name(&path)).or_insert(now);
                }
            }
        });
        let [first, second] = lab.outside.together(2).try_into().ok().unwrap();
        let whole = std::thread::scope(|scope| {
            let lab = &lab;
            let writer = scope.spawn(move || {
                let _lives = first;
                let write = |order| {
                    lab.outside.pause(Duration::from_millis(17_300));
                    lab.write("being written", b"of today");
                    lab.rename("being written", &place(order));
                    (name(&place(order)), lab.outside.uptime())
                };
                (1..=FILES).map(write).collect::<Vec<_>>()
            });
            let _lives = second;
            let due = usize::try_from(1 + FILES + patients * 20).unwrap();
            while durable.lock().unwrap().len() < due {
                walker.turn(period).unwrap();
            }
            writer.join().unwrap()
        });
        let durable = durable.lock().unwrap();
        let took: Vec<_> = whole
            .iter()
            .map(|(name, whole)| durable[name] - *whole)
            .collect();
        let longest = took.iter().max().copied().unwrap_or_default();
        assert!(longest <= period, "{source} {patients}: {took:?}");
        lab.open_identical(&[], "told by nobody");
    }
}

fn name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

#[test]
fn what_was_taken_is_sealed_in_time_however_long_the_period_and_the_walk_are() {
    for (requests_per_second, period) in [(0, 300), (5, 300), (5, 45), (5, 20)] {
        let lab = Lab::paced(Pacing {
            requests_per_second,
            ..Pacing::eager()
        });
        fill(&lab);
        let ages = ages(&lab);
        let intake = lab.boot().unwrap();
        let (keeper, mut walkers) = (intake.keeper(), intake.into_walkers());
        let (period, beat) = (Duration::from_secs(period), Duration::from_secs(1));
        let is_done = AtomicBool::new(false);
        let [first, second] = lab.outside.together(2).try_into().ok().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _lives = first;
                while !is_done.load(Ordering::SeqCst) {
                    keeper.beat().unwrap();
                    lab.outside.pause(beat);
                }
            });
            let lives = second;
            while lab.shared().report().sources[0].walks < 2 {
                walkers[0].turn(period).unwrap();
            }
            is_done.store(true, Ordering::SeqCst);
            drop(lives);
        });
        let ages = ages.lock().unwrap();
        let longest = ages.iter().max().copied().unwrap_or_default();
        let limit = LINGER.min(period) + beat;
        assert!(!ages.is_empty() && longest <= limit, "{period:?}: {ages:?}");
    }
}

#[test]
fn what_was_taken_waits_no_longer_than_until_its_source_rests() {
    let lab = Lab::new();
    for (_, _, folder) in &SOURCES[..3] {
        lab.write(&format!("{folder}/a file"), b"a line");
    }
    let ages = ages(&lab);
    let walkers = lab.boot().unwrap().into_walkers();
    let lives = lab.outside.together(walkers.len());
    std::thread::scope(|scope| {
        for (mut walker, life) in walkers.into_iter().zip(lives) {
            scope.spawn(move || {
                let _life = life;
                walker.turn(5 * LINGER).unwrap();
            });
        }
    });
    let ages = ages.lock().unwrap();
    assert!(ages.iter().all(|age| *age < QUIET), "{ages:?}");
    assert_eq!(lab.open_identical(&[], "all rest").files, 3);
}

#[test]
fn a_walk_ends_only_when_what_it_found_is_durable() {
    let lab = Lab::new();
    lab.write(&path(1, 1), b"prescription");
    let mut walkers = lab.boot().unwrap().into_walkers();
    let (outside, shared) = (lab.outside.clone(), lab.shared());
    let ended_early = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ended_early);
    lab.meanwhile(move |_| {
        let walks = shared.report().sources[0].walks;
        let is_early = walks > 0 && outside.events("sealed").is_empty();
        seen.fetch_or(is_early, Ordering::SeqCst);
    });
    let begin = lab.outside.uptime();
    walkers[0].turn(Duration::from_secs(300)).unwrap();
    assert_eq!(lab.shared().report().sources[0].walks, 1);
    assert!(!ended_early.load(Ordering::SeqCst));
    assert_eq!(lab.outside.events("sealed").len(), 1);
    // so much sooner as a look at what comes just after this one takes
    let turn = lab.outside.uptime() - begin;
    assert_eq!(turn, Duration::from_secs(300 - 1) - QUIET);
    // a removal waits no longer
    lab.remove(&path(1, 1));
    for _ in 0..2 {
        walkers[0].turn(LINGER + QUIET).unwrap();
    }
    assert_eq!(lab.open_identical(&[], "removed").removed, 1);
}

/// A patient's document: a folder whose name ends in the condition flag, with its files.
const DOCUMENT: &str = "ext/000/000/0000001/20240401/DOC-01/0000001_20240401_DOC-01_000000000000001_20240401120000000_01_";

fn document(flag: u32, file: u32) -> String {
    format!("{DOCUMENT}{flag}/page {file}.xml")
}

/// At each step of a kind, the bundle in the making becomes old and is sealed, as by the thread that does so.
fn seal_at(lab: &Lab, intake: &Box1, at: Step) {
    let (keeper, outside) = (intake.keeper(), lab.outside.clone());
    lab.meanwhile(move |step| {
        if step == at {
            outside.pause(LINGER);
            keeper.beat().unwrap();
        }
    });
}

#[test]
fn a_file_that_left_with_the_renaming_of_its_document_is_told_once_whenever_bundles_are_sealed() {
    for at in [Step::Folder, Step::FileRead, Step::Gone, Step::Waiting] {
        let lab = Lab::new();
        (0..3).for_each(|file| lab.write(&document(1, file), format!("page {file}").as_bytes()));
        let intake = lab.boot().unwrap();
        seal_at(&lab, &intake, at);
        let mut documents = intake.into_walkers().remove(1);
        let mut walks = |count| {
            while lab.shared().report().sources[1].walks < count {
                documents.turn(LINGER).unwrap();
            }
        };
        walks(2);
        lab.rename(&format!("{DOCUMENT}1"), &format!("{DOCUMENT}0"));
        lab.remove(&document(0, 2));
        walks(8);
        let context = format!("sealed at {at:?}");
        let report = lab.open_identical(&[], &context);
        let counts = (report.renamed, report.removed, report.absent);
        assert_eq!(counts, (2, 1, 0), "{context}: {report}");
    }
}

#[test]
fn a_removal_that_is_sealed_while_walks_still_miss_the_file_is_told_once() {
    let lab = Lab::new();
    for order in 1..5 {
        lab.write(&path(1, order), b"prescription");
    }
    let intake = lab.boot().unwrap();
    seal_at(&lab, &intake, Step::Gone);
    let mut wards = intake.into_walkers().remove(0);
    wards.turn(LINGER).unwrap();
    // the walk that tells the one misses the next for the first time
    for order in [4, 2, 3] {
        lab.remove(&path(1, order));
        wards.turn(LINGER / 2).unwrap();
    }
    for _ in 0..5 {
        wards.turn(LINGER / 2).unwrap();
    }
    let report = lab.open_identical(&[], "removed");
    assert_eq!((report.removed, report.absent), (3, 0), "{report}");
}

#[test]
fn a_file_that_two_looks_find_is_told_once_though_its_bundle_is_sealed_between_them() {
    let lab = Lab::new();
    lab.write(&today(now(), 1), b"prescription");
    lab.write(&today(now(), 2), b"injection");
    let intake = lab.boot().unwrap();
    seal_at(&lab, &intake, Step::FileRead);
    let mut wards = intake.into_walkers().remove(0);
    // the first turn looks at recent dates for themselves, and at everything
    for _ in 0..3 {
        wards.turn(LINGER).unwrap();
    }
    let report = lab.open_identical(&[], "twice looked at");
    assert_eq!((report.files, report.unchanged), (2, 0), "{report}");
}

#[test]
fn a_flag_that_changes_twice_within_one_bundle_is_told_step_by_step() {
    // only recent dates are looked at for themselves, which does not wait for what it found to be sealed
    let lab = Lab::paced(Pacing {
        hours: (12, 13),
        ..Pacing::eager()
    });
    let midnight = (day(now()) + 1) * 86_400 - 9 * 3600;
    let name = |flag: u32| {
        let path = today(midnight, 1);
        format!("{}{flag}", &path[..path.len() - 1])
    };
    lab.outside.start_clock(midnight + 12 * 3600);
    lab.write(&name(1), b"prescription");
    let mut wards = lab.boot().unwrap().into_walkers().remove(0);
    wards.turn(LINGER).unwrap();
    lab.outside.start_clock(midnight + 15 * 3600);
    for flags in [1, 2, 0].windows(2) {
        lab.rename(&name(flags[0]), &name(flags[1]));
        wards.turn(LINGER).unwrap();
    }
    for _ in 0..3 {
        wards.turn(LINGER).unwrap();
    }
    lab.outside.start_clock(midnight + 36 * 3600);
    for _ in 0..4 {
        wards.turn(LINGER).unwrap();
    }
    let report = lab.open_identical(&[], "twice renamed");
    let counts = (report.renamed, report.files, report.removed, report.absent);
    assert_eq!(counts, (2, 1, 0, 0), "{report}");
}
