//! The mains fail at every step of a writer's stories, and what was not synced survives in every combination within
//! bounds; what opening finds is always a state that the model allows. With `COLLECTOR_TEST_LENGTH=full` the bounds are
//! eight times as wide.

mod story;

use spool::simulated::{Dice, Fault, Simulated};
use spool::{Disk, Spool, digest};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use story::Act::{Append, EraseNewest, EraseOldest, Release, Reopen};
use story::{Act, BOX, Told, body, check, check_shown, play};

/// Up to so many things not synced, every combination is tried; above, so many combinations by seed.
const EVERY: u32 = 10;

const SLOTS: u64 = Simulated::BOUNDS.slots;

/// Steps of opening an empty folder: the list of erasures made and written, and names synced.
const OPENING: u64 = 3;

/// Distinct crash states that the usual run must at least have checked.
const WANTED: usize = 100_000;

fn full() -> bool {
    std::env::var_os("COLLECTOR_TEST_LENGTH").is_some_and(|length| length == "full")
}

/// A queue that fills and drains; slots made three times; files written over; opened anew in between; drained to
/// nothing; the newest erased first; a file erased, released and taken for a slot at once.
fn stories() -> Vec<Vec<Act>> {
    let grow = vec![Append; 5];
    let steady = [Append, EraseOldest, Release].repeat(9);
    let batches = [[Append; 6].as_slice(), &[EraseNewest; 3], &[Reopen]]
        .concat()
        .repeat(3);
    let slow = [
        Append,
        Append,
        EraseOldest,
        Append,
        EraseNewest,
        Release,
        Reopen,
    ]
    .repeat(3);
    let drained = [
        &[Append; 3][..],
        &[EraseOldest; 3],
        &[Release, Reopen, Append],
    ]
    .concat();
    let wrap = [
        &[Append; 18][..],
        &[EraseOldest; 18],
        &[Release],
        &[Append; 4],
    ]
    .concat();
    let reused = [
        &[Append; SLOTS as usize][..],
        &[EraseOldest, Release],
        &[Append; 2],
    ]
    .concat();
    vec![grow, steady, batches, slow, drained, wrap, reused]
}

fn steps_of(acts: &[Act]) -> u64 {
    let disk = Simulated::new();
    play(&disk, acts, &mut Told::default()).unwrap();
    disk.steps()
}

/// Visits disks of the next boot: all where they are few, else the extremes and those of so many seeds.
fn survivors(dead: &Simulated, seeds: u64, visit: &mut dyn FnMut(Simulated)) {
    let uncertain = dead.uncertain();
    if uncertain <= EVERY as usize {
        for chosen in 0..1_u32 << uncertain {
            let mut place = 0;
            visit(dead.restart_choosing(&mut || {
                place += 1;
                chosen >> (place - 1) & 1 == 1
            }));
        }
        return;
    }
    // all, none, each prefix, and all but one: the likeliest on a real disk
    for bound in 0..=uncertain {
        for odd in [false, true] {
            let mut place = 0;
            visit(dead.restart_choosing(&mut || {
                place += 1;
                if odd { place != bound } else { place <= bound }
            }));
        }
    }
    for seed in 0..seeds {
        visit(dead.restart(seed));
    }
}

/// Counts states that differ in the disk or in what was told.
#[derive(Default)]
struct Count(HashSet<u64>);

impl Count {
    fn is_new(&mut self, disk: &Simulated, told: &Told) -> bool {
        let mut hasher = DefaultHasher::new();
        (disk.fingerprint(), told).hash(&mut hasher);
        self.0.insert(hasher.finish())
    }
}

/// And it goes on from there: another bundle, other bytes than any before, and one erased.
fn goes_on(disk: &Simulated, told: &Told, mut spool: Spool<Simulated>) -> Result<(), String> {
    let mut told = told.clone();
    if let Some((sequence, bytes)) = told.offered.take()
        && spool.is_queued(sequence)
    {
        told.bundles.insert(sequence, (bytes, true));
    }
    if let Some(sequence) = told.erasing.take() {
        let queued = spool.is_queued(sequence);
        told.bundles
            .entry(sequence)
            .and_modify(|entry| entry.1 = queued);
    }
    let next = spool.next().sequence;
    let bytes = body(next, 1_000_000);
    spool
        .append(next, digest(&bytes), &bytes)
        .map_err(|error| error.to_string())?;
    told.bundles.insert(next, (bytes.clone(), true));
    drop(spool);
    check_shown(disk)?;
    let mut spool = check(&disk.restart(next), &told)?;
    spool
        .erase(&story::proof(next, &bytes))
        .map(drop)
        .map_err(|error| error.to_string())
}

#[test]
fn whatever_survives_a_cut_at_any_step_is_an_allowed_state_and_the_queue_goes_on() {
    let seeds = if full() { 20_000 } else { 1300 };
    let (mut count, mut checked) = (Count::default(), 0);
    for (number, acts) in stories().iter().enumerate() {
        for cut in 0..steps_of(acts) {
            let (disk, mut told) = (Simulated::new(), Told::default());
            disk.cut_at(cut);
            // the last step may be one whose failure harms nobody
            let _ = play(&disk, acts, &mut told);
            assert!(disk.is_dead());
            survivors(&disk, seeds, &mut |back| {
                if !count.is_new(&back, &told) {
                    return;
                }
                checked += 1;
                let verdict = check(&back, &told).and_then(|spool| {
                    if checked % 8 == 0 {
                        goes_on(&back, &told, spool)
                    } else {
                        Ok(())
                    }
                });
                if let Err(fault) = verdict {
                    panic!("story {number}, cut at step {cut}: {fault}");
                }
            });
        }
    }
    eprintln!("{checked} distinct crash states checked");
    assert!(
        checked >= WANTED,
        "{checked} distinct crash states, {WANTED} wanted"
    );
}

#[test]
fn a_second_cut_at_any_step_of_the_recovery_from_the_first_is_survived_too() {
    let seeds = if full() { 64 } else { 6 };
    let mut count = Count::default();
    for (number, acts) in stories().iter().enumerate() {
        for cut in 0..steps_of(acts) {
            for seed in 0..seeds {
                let (disk, mut told) = (Simulated::new(), Told::default());
                disk.cut_at(cut);
                let _ = play(&disk, acts, &mut told);
                for second in 0.. {
                    let back = disk.restart(seed << 32 | cut);
                    back.cut_at(second);
                    let whole = Spool::open(back.clone(), BOX, 0).is_ok();
                    for last in 0..3 {
                        let again = back.restart(seed << 32 | second << 16 | last);
                        if !count.is_new(&again, &told) {
                            continue;
                        }
                        if let Err(fault) = check(&again, &told) {
                            panic!(
                                "story {number}, cut at {cut} and {second}, seed {seed}: {fault}"
                            );
                        }
                    }
                    if whole {
                        break;
                    }
                }
            }
        }
    }
    eprintln!("{} distinct states after two cuts checked", count.0.len());
}

const FAULTS: [Fault; 7] = [
    Fault::Error(std::io::ErrorKind::Other),
    Fault::Error(std::io::ErrorKind::StorageFull),
    Fault::Short,
    Fault::DroppedPages(0),
    Fault::DroppedPages(1),
    Fault::DroppedPages(2),
    Fault::ReadOnly,
];

#[test]
fn whatever_call_fails_and_however_nothing_told_is_lost_and_nothing_refused_comes_back() {
    let seeds = if full() { 32 } else { 2 };
    let mut count = Count::default();
    for (number, acts) in stories().iter().enumerate() {
        for failing in 0..steps_of(acts) {
            for fault in FAULTS {
                // the mains fail right after the failure, a little later, or not at all
                for later in [1, 2, 3, 5, 9, 1000] {
                    let (disk, mut told) = (Simulated::new(), Told::default());
                    disk.fail_at(failing, fault);
                    disk.cut_at(failing + later);
                    let _ = play(&disk, acts, &mut told);
                    for seed in 0..seeds {
                        let back = disk.restart(seed << 32 | failing << 16 | later);
                        if !count.is_new(&back, &told) {
                            continue;
                        }
                        let verdict = check_shown(&back)
                            .and_then(|()| check(&back, &told))
                            .and_then(|spool| goes_on(&back, &told, spool));
                        if let Err(wrong) = verdict {
                            panic!(
                                "story {number}, {fault:?} at {failing}, cut {later} after: {wrong}"
                            );
                        }
                    }
                }
            }
        }
    }
    eprintln!(
        "{} distinct states after a failing call checked",
        count.0.len()
    );
}

#[test]
fn a_failing_call_is_seen_by_the_caller_or_harmless_and_the_story_ends_as_without_it() {
    for acts in stories() {
        for failing in 0..steps_of(&acts) {
            for fault in &FAULTS[..6] {
                let (disk, mut told) = (Simulated::new(), Told::default());
                disk.fail_at(failing, *fault);
                play(&disk, &acts, &mut told)
                    .unwrap_or_else(|error| panic!("{fault:?} at {failing}: {error}"));
                check(&disk, &told).unwrap();
                let appends = acts.iter().filter(|act| **act == Append).count();
                assert_eq!(told.last(), appends as u64, "{fault:?} at {failing}");
            }
        }
    }
}

/// Whether some crash soon after a sync that lies breaks a promise.
fn is_missed(acts: &[Act], sync: u64) -> bool {
    (1..40).any(|later| {
        (0..48).any(|seed| {
            let (disk, mut told) = (Simulated::new(), Told::default());
            disk.fail_at(sync, Fault::Lie);
            disk.cut_at(sync + later);
            let _ = play(&disk, acts, &mut told);
            let back = if seed == 0 {
                disk.restart_choosing(&mut || false)
            } else {
                disk.restart(Dice(seed).below(u64::MAX))
            };
            check(&back, &told).is_err()
        })
    })
}

#[test]
fn each_single_sync_of_making_slots_appending_and_erasing_is_needed() {
    let acts = [&[Append; 3][..], &[EraseOldest; 2], &[Append]].concat();
    let disk = Simulated::new();
    play(&disk, &acts, &mut Told::default()).unwrap();
    let syncs = disk.syncs();
    // opening an empty folder; the slots; three bundles; two erased; one bundle
    assert_eq!(syncs.len(), 1 + 1 + 3 + 2 + 1);
    for (place, sync) in syncs.iter().enumerate().skip(1) {
        assert!(is_missed(&acts, *sync), "nothing misses sync {place}");
    }
}

#[test]
fn the_sync_of_a_bundle_found_in_its_slot_is_needed_after_a_sync_that_failed() {
    // given a first append whose sync drops pages, and whose slot then cannot be removed: opened anew
    let failing = OPENING + SLOTS + 1 + 2;
    let make = |fault: Option<Fault>, seed: u64| {
        let (disk, mut told) = (Simulated::new(), Told::default());
        disk.fail_at(failing, Fault::DroppedPages(seed));
        disk.fail_at(failing + 1, Fault::Error(std::io::ErrorKind::Other));
        if let Some(fault) = fault {
            // opening writes the slot anew, and this is its sync
            disk.fail_at(failing + 3, fault);
        }
        play(&disk, &[Append, Append], &mut told).unwrap();
        check(&disk.restart_choosing(&mut || false), &told).map(drop)
    };
    assert!((0..8).all(|seed| make(None, seed).is_ok()));
    assert!((0..8).any(|seed| make(Some(Fault::Lie), seed).is_err()));
}

#[test]
fn the_sync_of_names_at_opening_is_needed_for_what_a_dead_process_left_in_the_cache() {
    // given a process that died after it had made slots and before it had synced them, while the mains stayed on
    let make = |fault: Option<Fault>| {
        let (disk, mut told) = (Simulated::new(), Told::default());
        disk.fail_at(OPENING + SLOTS, Fault::Error(std::io::ErrorKind::Other));
        assert!(play(&disk, &[], &mut told).is_ok());
        let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
        assert!(spool.append(1, digest(b"1"), b"1").is_err());
        if let Some(fault) = fault {
            disk.fail_at(disk.steps(), fault);
        }
        play(&disk, &[Append], &mut told).unwrap();
        check(&disk.restart_choosing(&mut || false), &told).map(drop)
    };
    make(None).unwrap();
    assert!(make(Some(Fault::Lie)).is_err());
}

#[test]
fn the_sync_that_makes_a_failed_attempt_disappear_is_needed() {
    let make = |fault: Option<Fault>| {
        let (disk, mut told) = (Simulated::new(), Told::default());
        let sync = OPENING + SLOTS + 1 + 2;
        disk.fail_at(sync, Fault::Error(std::io::ErrorKind::Other));
        if let Some(fault) = fault {
            disk.fail_at(sync + 2, fault);
        }
        disk.cut_at(sync + 3);
        let _ = play(&disk, &[Append], &mut told);
        // the bytes of the attempt reached the disk all the same; of the names nothing did
        let mut asked = 0;
        let names = disk.unsynced_names();
        let back = disk.restart_choosing(&mut || {
            asked += 1;
            asked > names
        });
        told.offered = None;
        check(&back, &told).map(drop)
    };
    make(None).unwrap();
    assert!(make(Some(Fault::Lie)).is_err());
}

#[test]
fn two_failing_calls_one_soon_after_the_other_are_survived_too() {
    let seeds = if full() { 16 } else { 1 };
    let mut count = Count::default();
    for (number, acts) in stories().iter().enumerate() {
        for failing in 0..steps_of(acts) {
            for (place, first) in FAULTS.iter().enumerate() {
                for distance in 1..5 {
                    let second = FAULTS[(place + failing as usize + distance) % FAULTS.len()];
                    let (disk, mut told) = (Simulated::new(), Told::default());
                    disk.fail_at(failing, *first);
                    disk.fail_at(failing + distance as u64, second);
                    let _ = play(&disk, acts, &mut told);
                    for seed in 0..seeds {
                        let back = disk.restart(seed << 32 | failing << 8 | distance as u64);
                        if !count.is_new(&back, &told) {
                            continue;
                        }
                        if let Err(wrong) = check(&back, &told) {
                            panic!(
                                "story {number}, {first:?} at {failing}, {second:?} {distance} later: {wrong}"
                            );
                        }
                    }
                }
            }
        }
    }
    eprintln!(
        "{} distinct states after two failing calls checked",
        count.0.len()
    );
}
