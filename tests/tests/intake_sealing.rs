//! When the bundle in the making is sealed: all sources share it, and a turn that ends seals nothing for its own sake.

mod intake_lab;

use collector::roles::intake::pacing::Pacing;
use collector::roles::intake::world::{Step, World};
use intake_lab::{Lab, QUIET, Walker1};
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

#[test]
fn small_sources_that_turn_often_do_not_seal_what_a_large_one_has_begun() {
    let lab = Lab::paced(Pacing {
        requests_per_second: 10,
        ..Pacing::eager()
    });
    fill(&lab);
    let period = LINGER;
    let mut walkers = lab.boot().unwrap().into_walkers();
    let (claims, monthly) = (walkers.remove(3), walkers.remove(2));
    let mut wards = walkers.remove(0);
    let begin = lab.outside.uptime();
    let is_done = AtomicBool::new(false);
    let [first, second, third] = lab.outside.together(3).try_into().ok().unwrap();
    let live = |mut walker: Walker1, folder: &str, _lives| {
        let mut turns = 0;
        while !is_done.load(Ordering::SeqCst) {
            lab.write(&format!("{folder}/file {turns}"), b"a line");
            walker.turn(period).unwrap();
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
            wards.turn(period).unwrap();
        }
        is_done.store(true, Ordering::SeqCst);
        drop(lives);
        small.map(|thread| thread.join().unwrap())
    });
    let seconds = (lab.outside.uptime() - begin).as_secs();
    let least = seconds.div_ceil(LINGER.as_secs());
    let bundles = lab.outside.events("sealed").len() as u64;
    assert!(least >= 4 && turns.iter().all(|turns| *turns >= 3));
    assert!(
        bundles <= least + 1,
        "{bundles} bundles in {seconds} s, where {least} would do; small turns: {turns:?}"
    );
    let report = lab.open_identical(&[], "together");
    let small = turns.iter().sum::<u64>();
    assert_eq!(report.files, u64::from(PATIENTS) + small);
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
    assert_eq!(lab.outside.uptime() - begin, Duration::from_secs(300));
    // a removal waits no longer
    lab.remove(&path(1, 1));
    for _ in 0..2 {
        walkers[0].turn(LINGER + QUIET).unwrap();
    }
    assert_eq!(lab.open_identical(&[], "removed").removed, 1);
}
