//! Newest first over all patients: in a first scan, through cuts of the mains, and when a mass of old records is written
//! anew; while today's records wait for none of it.

mod intake_lab;

use bundle::NamedEvent;
use collector::roles::intake::pacing::{Pacing, day, written};
use collector::roles::intake::report::SourceReport;
use collector::roles::intake::world::{Step, World};
use intake_lab::{Lab, Walker1, now};
use std::collections::BTreeSet;
use std::time::Duration;

const DAY_SECONDS: u64 = 86_400;
const PERIOD: Duration = Duration::from_secs(60);
const PATIENTS: u32 = 60;

/// Days back of the records of each patient, and the band in which each comes. `None`: without a date, with the last.
const RECORDS: [(Option<u64>, usize); 8] = [
    (Some(1), 0),
    (Some(3), 0),
    (Some(30), 1),
    (Some(60), 1),
    (Some(200), 2),
    (Some(700), 3),
    (Some(3600), 4),
    (None, 4),
];
/// A band of [`RECORDS`], as the last that is not limited by the quota.
const RECENT: usize = 0;

/// Tomorrow at noon in Japan.
fn noon() -> u64 {
    (day(now()) + 1) * DAY_SECONDS + 3 * 3600
}

fn date(days_back: Option<u64>) -> String {
    match days_back {
        Some(days) => String::from_utf8(written(day(noon()) - days).to_vec()).unwrap(),
        None => "-".to_owned(),
    }
}

fn record(patient: u32, date: &str, order: u32) -> String {
    let number = format!("{patient:08}");
    let (groups, rest) = (&number[..3], &number[3..6]);
    format!(
        "std/{groups}/{rest}/{number}/{date}/OMP-01/{number}_{date}_OMP-01_{order:015}_20240401120000000_01_1"
    )
}

fn fill(lab: &Lab, content: &[u8], bands: std::ops::RangeInclusive<usize>) {
    for patient in 0..PATIENTS {
        for (days_back, band) in RECORDS {
            if bands.contains(&band) {
                lab.write(&record(patient * 7919, &date(days_back), 1), content);
            }
        }
    }
}

/// The band of what was told.
fn band(path: &str) -> usize {
    let date_of_path = path.split('/').nth(4).unwrap();
    let of_record = |(days_back, band): &(Option<u64>, usize)| {
        (date(*days_back) == date_of_path).then_some(*band)
    };
    RECORDS.iter().find_map(of_record).unwrap_or(RECENT)
}

fn paced(requests_per_second: u32, daily_quota: u64) -> Lab {
    let lab = Lab::paced(Pacing {
        requests_per_second,
        daily_quota,
        verify: Duration::from_secs(30 * DAY_SECONDS),
        ..Pacing::eager()
    });
    lab.outside.start_clock(noon());
    lab
}

fn wards(lab: &Lab) -> SourceReport {
    lab.shared().report().sources[0].clone()
}

fn boot(lab: &Lab) -> Walker1 {
    lab.boot().unwrap().into_walkers().remove(0)
}

/// Turns until a walk has come to its end.
fn walk(lab: &Lab, walker: &mut Walker1) {
    let walks = wards(lab).walks;
    while wards(lab).walks == walks {
        walker.turn(PERIOD).unwrap();
    }
}

fn assert_bands_in_order(told: &[(String, NamedEvent)], context: &str) {
    let bands: Vec<_> = told.iter().map(|(path, _)| band(path)).collect();
    assert!(bands.is_sorted(), "{context}: {bands:?}");
    let paths: BTreeSet<_> = told.iter().map(|(path, _)| path).collect();
    assert_eq!(paths.len(), told.len(), "{context}: told twice");
}

#[test]
fn a_first_scan_tells_newer_dates_of_all_patients_before_older_ones() {
    let lab = paced(10, 0);
    fill(&lab, b"record", 0..=4);
    let mut walker = boot(&lab);
    walk(&lab, &mut walker);
    let told = lab.told();
    assert_eq!(told.len(), PATIENTS as usize * RECORDS.len());
    assert_bands_in_order(&told, "first scan");
    assert!(lab.open_identical(&[], "first scan").bundles > 2);
    // walks after it go in the order of the names, once over the patients
    let begin = lab.steps();
    walk(&lab, &mut walker);
    let folders = 2 * PATIENTS as usize * RECORDS.len() + 2 * PATIENTS as usize;
    let steps = (lab.steps() - begin) as usize;
    assert!(steps < folders + 60, "{steps} steps over {folders} folders");
}

#[test]
fn cuts_of_the_mains_in_a_first_scan_change_neither_the_order_nor_lose_or_double_anything() {
    let whole = {
        let lab = paced(10, 0);
        fill(&lab, b"record", 0..=4);
        let mut walker = boot(&lab);
        walk(&lab, &mut walker);
        lab.steps()
    };
    for eighth in [1, 3, 6, 7] {
        let lab = paced(10, 0);
        fill(&lab, b"record", 0..=4);
        for cut in [whole * eighth / 8, whole / 6] {
            lab.cut_at_step(lab.steps() + cut);
            let mut walker = boot(&lab);
            while walker.turn(PERIOD).is_ok() && wards(&lab).walks < 3 {}
            drop(walker);
            lab.mains_back(cut);
        }
        let before = lab.steps();
        let mut walker = boot(&lab);
        walk(&lab, &mut walker);
        // what the first cut had left, and recent dates in each turn; not all of it again
        if eighth > 5 {
            let rest = lab.steps() - before;
            assert!(rest < whole * 6 / 10, "{rest} of {whole} at {eighth}/8");
        }
        let context = format!("cut at {eighth}/8");
        assert_bands_in_order(&lab.told(), &context);
        let report = lab.open_identical(&[], &context);
        assert_eq!((report.unchanged, report.removed), (0, 0), "{context}");
    }
}

#[test]
fn a_record_of_today_is_told_while_a_first_scan_is_at_older_dates() {
    let lab = paced(1, 0);
    fill(&lab, b"record", 1..=4);
    let mut walker = boot(&lab);
    let (mut new, mut meanwhile) = (0, 0);
    while wards(&lab).walks == 0 {
        new += 1;
        // the last patient in the order of the walk
        lab.write(&record(1, &date(Some(0)), new), b"of today");
        for turns in 1.. {
            walker.turn(PERIOD).unwrap();
            let of_today = |(path, _): &(String, NamedEvent)| band(path) == RECENT;
            let told = lab.told();
            let today = told.iter().filter(|entry| of_today(entry)).count();
            if wards(&lab).walks > 0 {
                break;
            }
            if today == new as usize {
                meanwhile += 1;
                assert!(told.len() - today < PATIENTS as usize * 6);
                break;
            }
            // it is found in the second of two, and sealed in the next one
            assert!(turns < 3, "record {new} is not told after {turns} turns");
        }
    }
    assert!(meanwhile > 0);
    for _ in 0..2 {
        walker.turn(PERIOD).unwrap();
    }
    let mut told = lab.told();
    told.retain(|(path, _)| band(path) != RECENT);
    assert_eq!(told.len(), PATIENTS as usize * 6);
    assert_bands_in_order(&told, "the rest");
    lab.open_identical(&[], "all");
}

#[test]
fn a_budget_that_recent_dates_alone_use_up_does_not_keep_a_first_scan_from_its_end() {
    let lab = paced(2, 0);
    fill(&lab, b"record", 0..=4);
    let mut walker = boot(&lab);
    let begin = lab.outside.uptime();
    walk(&lab, &mut walker);
    // asked in one go this takes half of it
    let questions = 6 * PATIENTS as u64 * RECORDS.len() as u64;
    let seconds = (lab.outside.uptime() - begin).as_secs();
    assert!(seconds < 3 * questions / 2, "{seconds} s for {questions}");
    lab.open_identical(&[], "first scan");
}

#[test]
fn a_mass_of_old_records_written_anew_is_taken_newest_first_over_all_patients_day_by_day() {
    const QUOTA: u64 = 100;
    let lab = paced(1000, QUOTA);
    let old = PATIENTS as usize * 6;
    lab.outside.start_clock(noon() - 40 * DAY_SECONDS);
    fill(&lab, b"as it was", 1..=4);
    let mut walker = boot(&lab);
    walk(&lab, &mut walker);
    assert_eq!(lab.told().len(), old, "the first collection has no quota");
    lab.outside.start_clock(noon());
    fill(&lab, b"written anew", 1..=4);
    let (mut new, mut days, mut before) = (0, 0, old);
    let mut again: Vec<String> = Vec::new();
    while again.len() < old {
        days += 1;
        for turn in 0..4 {
            new += 1;
            let today = String::from_utf8(written(day(lab.outside.unix_seconds())).to_vec());
            let path = record(1, &today.unwrap(), new);
            lab.write(&path, b"of today");
            walk(&lab, &mut walker);
            if turn == 1 && days == 2 {
                drop(walker);
                walker = boot(&lab);
            }
        }
        lab.outside.pause(2 * PERIOD);
        walk(&lab, &mut walker);
        let told = lab.told();
        let (changed, added): (Vec<_>, Vec<_>) = told[before..]
            .iter()
            .partition(|(_, event)| matches!(event, NamedEvent::Changed(_)));
        assert_eq!(added.len(), 4, "today's records on day {days}");
        let left = old - again.len();
        assert_eq!(changed.len(), left.min(QUOTA as usize), "day {days}");
        again.extend(changed.iter().map(|(path, _)| path.clone()));
        before = told.len();
        lab.outside.pause(Duration::from_secs(DAY_SECONDS));
    }
    assert_eq!(days, old.div_ceil(QUOTA as usize));
    let bands: Vec<_> = again.iter().map(|path| band(path)).collect();
    assert!(bands.is_sorted(), "{bands:?}");
    let report = lab.open_identical(&[], "all");
    assert_eq!((report.unchanged, report.removed), (0, 0));
}

#[test]
fn a_walk_that_is_under_way_at_midnight_leaves_the_new_day_s_quota_to_what_it_has_left() {
    const QUOTA: u64 = 100;
    let lab = paced(1000, QUOTA);
    lab.outside.start_clock(noon() - 40 * DAY_SECONDS);
    fill(&lab, b"as it was", 1..=4);
    let mut walker = boot(&lab);
    walk(&lab, &mut walker);
    lab.outside.start_clock(noon());
    fill(&lab, b"written anew", 1..=4);
    let before = lab.told().len();
    // midnight comes while the walk is at dates older than those that it has left
    let (outside, shared) = (lab.outside.clone(), lab.shared());
    let mut late = false;
    lab.meanwhile(move |step| {
        let left = shared.report().sources[0].deferred > u64::from(PATIENTS);
        if step == Step::Folder && left && !std::mem::replace(&mut late, true) {
            outside.pause(Duration::from_secs(13 * 3600));
        }
    });
    for _ in 0..3 {
        walk(&lab, &mut walker);
    }
    let told = lab.told();
    assert_eq!(told.len() - before, 2 * QUOTA as usize, "of two days");
    let bands: Vec<_> = told[before..].iter().map(|(path, _)| band(path)).collect();
    assert!(bands.is_sorted(), "{bands:?}");
}

#[test]
fn sources_without_dates_are_walked_at_any_hour_and_a_removal_needs_two_walks() {
    let lab = Lab::paced(Pacing {
        hours: (20, 6),
        ..Pacing::eager()
    });
    lab.outside.start_clock(noon());
    lab.write("dpc/FF1_123456789_2404.txt", b"one");
    lab.write("dpc/FF1_123456789_2405.txt", b"two");
    let mut monthly = lab.boot().unwrap().into_walkers().remove(2);
    let mut turn = || {
        monthly.turn(PERIOD).unwrap();
        (lab.shared().report().sources[2].walks, lab.told().len())
    };
    assert_eq!(turn(), (1, 2));
    lab.remove("dpc/FF1_123456789_2404.txt");
    assert_eq!(turn(), (2, 2), "missed once");
    turn();
    let (walks, told) = turn();
    assert_eq!((walks, told), (4, 3));
    assert_eq!(lab.told()[2].1, NamedEvent::Removed);
}
