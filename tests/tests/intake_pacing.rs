//! What a walk costs and when: hours, budget, daily quota, checkpoint. And what stops nothing: names that no bundle takes,
//! a share that hangs.

mod intake_lab;

use collector::roles::intake::pacing::{Pacing, day, written};
use collector::roles::intake::report::SourceReport;
use collector::roles::intake::report_hung;
use collector::roles::intake::world::{Step, World};
use intake_lab::{Lab, now};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

const DAY_SECONDS: u64 = 86_400;
/// Parts enough for several checkpoints in a walk.
const PATIENTS: u32 = 600;
const OLD: &str = "20200101";

fn path(patient: u32, date: &str, order: u32) -> String {
    format!(
        "std/{patient:010}/{date}/OMP-01/{patient:010}_{date}_OMP-01_{order:015}_{date}120000000_01_1"
    )
}

/// Tomorrow at this hour in Japan.
fn tomorrow(hour: u64) -> u64 {
    (day(now()) + 1) * DAY_SECONDS - 9 * 3600 + hour * 3600
}

fn date(unix_seconds: u64) -> String {
    String::from_utf8(written(day(unix_seconds)).to_vec()).unwrap()
}

fn paced(pacing: Pacing) -> Lab {
    let lab = Lab::paced(Pacing {
        verify: Duration::from_secs(30 * DAY_SECONDS),
        ..pacing
    });
    lab.outside.start_clock(tomorrow(12));
    lab
}

fn fill(lab: &Lab) {
    for patient in 0..PATIENTS {
        lab.write(&path(patient, OLD, 1), b"prescription");
    }
}

fn wards(lab: &Lab) -> SourceReport {
    lab.shared().report().sources[0].clone()
}

/// Counts the folders that are asked for.
fn count_folders(lab: &Lab) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    lab.meanwhile(move |step| {
        counted.fetch_add(u64::from(step == Step::Folder), Ordering::Relaxed);
    });
    count
}

#[test]
fn a_restart_in_the_middle_of_a_walk_goes_on_there_and_nothing_is_lost_or_doubled() {
    let lab = paced(Pacing {
        requests_per_second: 50,
        ..Pacing::eager()
    });
    fill(&lab);
    let steps = |lab: &Lab, cut: Option<u64>| {
        let before = lab.steps();
        if let Some(cut) = cut {
            lab.cut_at_step(before + cut);
        }
        let mut intake = lab.boot().unwrap();
        let whole = lab.rounds(&mut intake, 1).is_ok();
        drop(intake);
        assert_eq!(whole, cut.is_none());
        if !whole {
            lab.mains_back(cut.unwrap());
        }
        lab.steps() - before
    };
    // the first collection, cut twice
    steps(&lab, Some(1500));
    steps(&lab, Some(2500));
    steps(&lab, None);
    lab.run(1);
    assert_eq!(lab.open_identical(&[], "first").files, u64::from(PATIENTS));
    // a walk cut in the middle, and new files at both ends meanwhile
    let whole = steps(&lab, None);
    steps(&lab, Some(whole * 7 / 10));
    lab.write(&path(PATIENTS - 1, OLD, 2), b"before the place");
    lab.write(&path(1, OLD, 2), b"after it");
    let rest = steps(&lab, None);
    assert!(
        rest < whole * 6 / 10,
        "{rest} of {whole} steps after a cut at 7/10"
    );
    lab.run(1);
    let report = lab.open_identical(&[], "second");
    assert_eq!(
        (
            report.files,
            report.unchanged,
            report.replaced,
            report.removed
        ),
        (2, 0, 0, 0)
    );
}

#[test]
fn a_share_is_asked_no_more_often_than_its_budget_allows_files_counted() {
    let lab = paced(Pacing {
        requests_per_second: 10,
        ..Pacing::eager()
    });
    fill(&lab);
    let mut intake = lab.boot().unwrap();
    let begin = lab.outside.uptime();
    lab.rounds(&mut intake, 1).unwrap();
    let seconds = (lab.outside.uptime() - begin).as_secs();
    // root, part, three folders and a file of each patient, and the file once more; then the period
    let questions = u64::from(PATIENTS) * 6;
    assert!(seconds >= questions / 10 + 60, "{questions} in {seconds} s");
}

#[test]
fn old_dates_wait_for_their_hours_recent_ones_do_not_and_a_walk_under_way_pauses() {
    let lab = paced(Pacing {
        requests_per_second: 60,
        hours: (20, 6),
        ..Pacing::eager()
    });
    let (period, today) = (Duration::from_secs(30), date(tomorrow(12)));
    fill(&lab);
    lab.write(&path(5, &today, 1), b"of today");
    let mut walkers = lab.boot().unwrap().into_walkers();
    let wards = &mut walkers[0];
    // by day
    for _ in 0..2 {
        wards.turn(period).unwrap();
    }
    assert_eq!(lab.open().0.files, 1);
    // shortly before the hours end
    lab.outside.start_clock(tomorrow(24 + 6) - 165);
    while lab.outside.unix_seconds() < tomorrow(24 + 6) {
        wards.turn(period).unwrap();
    }
    lab.write(&path(6, &today, 1), b"of today, later");
    for _ in 0..3 {
        let begin = lab.outside.uptime();
        wards.turn(period).unwrap();
        assert!(
            lab.outside.uptime() - begin >= period / 2,
            "turns without a pause"
        );
    }
    let files = 1 + lab.open().0.files;
    assert!(files > 2 && files < u64::from(PATIENTS), "{files}");
    // in the evening the walk goes on where it was
    lab.outside.start_clock(tomorrow(24 + 20));
    let folders = count_folders(&lab);
    while lab.shared().report().sources[0].walks == 0 {
        wards.turn(period).unwrap();
    }
    assert_eq!(
        files + lab.open_identical(&[], "walked").files,
        u64::from(PATIENTS) + 2
    );
    // the way to recent dates, and what was left of the walk
    let (turns, left) = (
        2 * (2 * u64::from(PATIENTS) + 9),
        4 * (u64::from(PATIENTS) - files),
    );
    let folders = folders.load(Ordering::Relaxed);
    assert!(
        folders <= turns + left + 300,
        "{folders} folders, {left} left"
    );
}

#[test]
fn a_file_found_early_in_a_long_walk_does_not_wait_for_its_end() {
    let lab = paced(Pacing {
        requests_per_second: 5,
        ..Pacing::eager()
    });
    fill(&lab);
    let mut walkers = lab.boot().unwrap().into_walkers();
    let turn = |walker: &mut intake_lab::Walker1| walker.turn(Duration::from_secs(150)).unwrap();
    while wards(&lab).walks == 0 {
        turn(&mut walkers[0]);
    }
    assert_eq!(lab.open().0.files, u64::from(PATIENTS));
    lab.write(&path(PATIENTS - 1, OLD, 2), b"new");
    let (shared, walks) = (lab.shared(), Arc::new(AtomicU64::new(0)));
    let when_durable = Arc::clone(&walks);
    lab.meanwhile(move |step| {
        if step == Step::Committed {
            when_durable.store(shared.report().sources[0].walks, Ordering::Relaxed);
        }
    });
    while lab.open().0.files == 0 {
        turn(&mut walkers[0]);
    }
    let walks = walks.load(Ordering::Relaxed);
    assert_eq!(walks, 1, "the walk is under way");
}

#[test]
fn a_mass_of_rewritten_files_is_taken_in_daily_quotas_newest_first_and_today_comes_today() {
    const QUOTA: u64 = 30;
    let lab = paced(Pacing {
        daily_quota: QUOTA,
        ..Pacing::eager()
    });
    let dates: Vec<String> = (1..=12).map(|month| format!("2020{month:02}15")).collect();
    let write = |content: &[u8]| {
        for date in &dates {
            for order in 0..10 {
                lab.write(&path(1, date, order), content);
            }
        }
    };
    write(b"as it was");
    let mut intake = lab.boot().unwrap();
    lab.rounds(&mut intake, 2).unwrap();
    assert_eq!(lab.open().0.files, 120, "the first collection has no quota");
    // a month later
    lab.outside.pause(Duration::from_secs(31 * DAY_SECONDS));
    write(b"rewritten");
    let (mut new, mut files, mut replaced) = (0, 0, 0);
    for day in 1..=4 {
        for round in 0..3 {
            let today = date(lab.outside.unix_seconds());
            for _ in 0..15 {
                new += 1;
                lab.write(&path(2, &today, new as u32), b"of today");
            }
            lab.rounds(&mut intake, 1).unwrap();
            let (report, restored) = lab.open();
            files += report.files;
            replaced += report.replaced;
            assert_eq!(
                (files - replaced, replaced, report.unchanged),
                (new, QUOTA * day, 0),
                "day {day}, round {round}"
            );
            let newest = 12 - 3 * day as usize;
            for (place, date) in dates.iter().enumerate() {
                let path = path(1, date, 3).replacen("std", "wards", 1);
                let content = std::fs::read(restored.join(path)).unwrap();
                assert_eq!(
                    content == b"rewritten",
                    place >= newest,
                    "{date} on day {day}"
                );
            }
            if round == 1 {
                drop(intake);
                intake = lab.boot().unwrap();
            }
        }
        assert_eq!(wards(&lab).deferred > 0, day < 4);
        lab.outside.pause(Duration::from_secs(DAY_SECONDS));
    }
    lab.rounds(&mut intake, 3).unwrap();
    let report = lab.open_identical(&[], "all");
    assert_eq!((report.files, report.replaced, report.unchanged), (0, 0, 0));
    // once more, with the bytes that it has: nothing is sent, and no more is read in a day
    let before = wards(&lab).rewritten;
    lab.outside.pause(Duration::from_secs(31 * DAY_SECONDS));
    write(b"rewritten");
    for day in 1..=5 {
        lab.rounds(&mut intake, 3).unwrap();
        let read = wards(&lab).rewritten - before;
        assert_eq!(read, (QUOTA * day).min(120), "day {day}");
        lab.outside.pause(Duration::from_secs(DAY_SECONDS));
    }
    let report = lab.open_identical(&[], "the same");
    assert_eq!((report.files, report.unchanged), (0, 0));
}

#[test]
fn names_that_no_bundle_takes_are_counted_in_the_status_and_stop_nothing() {
    let lab = Lab::new();
    let component = |letter: &str| letter.repeat(250);
    // deeper and longer than a bundle takes; made by way of links, since no call takes such a path
    let aside = tempfile::tempdir().unwrap();
    let below = (0..15)
        .map(|_| component("d"))
        .collect::<Vec<_>>()
        .join("/");
    let long = format!("dpc/{below}");
    std::fs::create_dir_all(lab.at(&long)).unwrap();
    symlink(lab.at(&long), aside.path().join("way")).unwrap();
    let way = |name: &str| aside.path().join("way").join(name);
    std::fs::create_dir_all(way(&component("e")).join(component("f"))).unwrap();
    std::fs::write(way(&component("e")).join(component("g")), b"unnameable").unwrap();
    std::fs::write(
        way(&component("e")).join(component("f")).join("h"),
        b"out of reach",
    )
    .unwrap();
    lab.write("dpc/FF1_123456789_2404.txt", b"first");
    lab.write("dpc/a/after.txt", b"last");
    lab.write(&format!("dpc/{}deep.txt", "s/".repeat(600)), b"deep");
    let mut intake = lab.boot().unwrap();
    for _ in 0..2 {
        lab.rounds(&mut intake, 1).unwrap();
        let status = lab.shared().report().json(0, 0);
        let source = &status["sources"][2];
        assert_eq!(
            (
                &source["unnameable"],
                &source["unreadable"],
                &source["state"]
            ),
            (&1.into(), &1.into(), &"ok".into())
        );
    }
    lab.write("dpc/FF1_123456789_2405.txt", b"second");
    lab.rounds(&mut intake, 1).unwrap();
    let (report, restored) = lab.open();
    assert_eq!((report.files, report.is_clean()), (4, true), "{report}");
    for file in [
        "FF1_123456789_2404.txt",
        "FF1_123456789_2405.txt",
        "a/after.txt",
    ] {
        assert!(restored.join("monthly").join(file).exists());
    }
}

#[test]
fn a_share_that_hangs_holds_up_no_other_is_told_and_comes_back() {
    let lab = paced(Pacing::eager());
    for patient in 0..40 {
        lab.write(&path(patient, OLD, 1), b"prescription");
    }
    lab.write("dpc/FF1_123456789_2404.txt", b"one");
    let period = Duration::from_secs(60);
    let mut walkers = lab.boot().unwrap().into_walkers();
    let mut monthly = walkers.remove(2);
    let mut wards = walkers.remove(0);
    let wards_turn = |wards: &mut intake_lab::Walker1| wards.turn(period).unwrap();
    wards_turn(&mut wards);
    monthly.turn(period).unwrap();
    lab.write(&path(3, OLD, 2), b"two");
    let (hangs, hanging) = channel();
    let (answer, answers) = channel::<()>();
    std::thread::scope(|scope| {
        // a failure drops it, and so ends the wait
        let answer = answer;
        let thread = scope.spawn(|| {
            let (me, mut folders) = (std::thread::current().id(), 0);
            lab.meanwhile(move |step| {
                let mine = std::thread::current().id() == me && step == Step::Folder;
                folders += u32::from(mine);
                if mine && folders == 5 {
                    hangs.send(()).unwrap();
                    let _ = answers.recv();
                }
            });
            wards_turn(&mut wards);
            wards
        });
        hanging.recv().unwrap();
        // the other source goes on
        lab.write("dpc/FF1_123456789_2405.txt", b"two");
        monthly.turn(period).unwrap();
        assert_eq!(lab.open().0.files, 42);
        let shared = lab.shared();
        lab.outside.pause(Duration::from_secs(130));
        for _ in 0..3 {
            report_hung(&lab.outside, &shared).unwrap();
        }
        let missing = lab.outside.events("source-missing");
        assert_eq!(missing.len(), 1);
        assert_eq!(
            (&missing[0]["source"], &missing[0]["reason"]),
            (&"wards".into(), &"no answer".into())
        );
        answer.send(()).unwrap();
        let mut wards = thread.join().unwrap();
        for _ in 0..2 {
            wards_turn(&mut wards);
        }
    });
    assert_eq!(lab.outside.events("source-returned").len(), 1);
    assert_eq!(lab.outside.events("source-missing").len(), 1);
    let report = lab.open_identical(&[], "returned");
    assert_eq!((report.files, report.removed), (1, 0));
}

#[test]
fn a_box_that_waits_for_room_does_not_blame_the_share() {
    let lab = Lab::new();
    lab.write(&path(1, OLD, 1), b"prescription");
    for order in 0..9 {
        lab.write(
            &format!("dpc/FF1_{order:09}_2404.txt"),
            &vec![order; 8 << 20],
        );
    }
    let mut intake = lab.boot().unwrap();
    let (outside, shared) = (lab.outside.clone(), lab.shared());
    let waits = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&waits);
    lab.meanwhile(move |step| {
        if step == Step::Waiting {
            counted.fetch_add(1, Ordering::Relaxed);
            report_hung(&outside, &shared).unwrap();
        }
    });
    lab.full_disk(60);
    lab.rounds(&mut intake, 2).unwrap();
    assert!(waits.load(Ordering::Relaxed) >= 50);
    assert_eq!(lab.outside.events("collecting-paused").len(), 1);
    assert!(lab.outside.events("source-missing").is_empty());
}
