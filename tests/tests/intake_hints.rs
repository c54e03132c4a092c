//! Hints with a virtual clock: what a hint leads to is taken within the quiet time, however long the period is; lies and
//! floods harm nothing; and the rules of the look hold for a hinted one too.

mod intake_lab;

use collector::roles::intake::hints::{FOLDERS, Origin};
use collector::roles::intake::pacing::Pacing;
use collector::roles::intake::world::{Step, World};
use intake_lab::{Lab, QUIET, SOURCES, Walker1};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// From a hint to the durable bundle, beside the quiet time: what may pass from one hinted look to the next.
const BRIEF: Duration = Duration::from_millis(200);
/// Two bundles are at least so far apart.
const SPACING: Duration = Duration::from_secs(1);

const FOLDER: &str = "0000000001/20240401/OMP-01";

fn name(order: u32, flag: u8) -> String {
    format!("0000000001_20240401_OMP-01_{order:015}_20240401120000000_01_{flag}")
}

fn file(order: u32, flag: u8) -> String {
    format!("std/{FOLDER}/{}", name(order, flag))
}

/// A lab, and what its walkers have done: the uptime of each waiting and of each bundle is noted.
struct Told {
    lab: Arc<Lab>,
    walkers: Vec<Walker1>,
}

impl Told {
    fn new() -> Self {
        let lab = Arc::new(Lab::new());
        let walkers = lab.boot().unwrap().into_walkers();
        Self { lab, walkers }
    }

    /// A first turn without anything to do but what is there already.
    fn settled(files: &[(&str, &[u8])]) -> Self {
        let mut told = Self::new();
        for (path, content) in files {
            told.lab.write(path, content);
        }
        // an empty root is a missing source
        for (_, _, folder) in SOURCES {
            told.lab.write(&format!("{folder}/desktop.ini"), b"");
        }
        for source in 0..SOURCES.len() {
            told.walkers[source].turn(HOUR).unwrap();
        }
        told
    }

    /// One turn of a source's walker. When it has come to rest, the hospital acts, and hints.
    fn turn(&mut self, source: usize, acts: Vec<Act>) {
        let (lab, mut acts) = (Arc::downgrade(&self.lab), acts.into_iter());
        let sealed = self.sealed();
        let walks = self.lab.shared().report().sources[source].walks;
        let mut wait_for = sealed;
        self.lab.meanwhile(move |step| {
            let Some(lab) = lab.upgrade() else { return };
            let is_resting =
                step == Step::Waiting && lab.shared().report().sources[source].walks > walks;
            let is_done = lab.outside.events("sealed").len() >= wait_for;
            if is_resting
                && is_done
                && let Some(mut act) = acts.next()
            {
                wait_for += act.bundles;
                (act.act)(&lab);
            }
        });
        self.walkers[source].turn(HOUR).unwrap();
        self.lab.meanwhile(|_| {});
    }

    fn sealed(&self) -> usize {
        self.lab.outside.events("sealed").len()
    }
}

/// What the hospital does, and how many bundles must be sealed before it does the next.
struct Act {
    act: Box<dyn FnMut(&Lab) + Send>,
    bundles: usize,
}

fn act(bundles: usize, act: impl FnMut(&Lab) + Send + 'static) -> Act {
    Act {
        act: Box::new(act),
        bundles,
    }
}

fn hint(lab: &Lab, source: usize, changed: &str) {
    lab.shared().hints[source].changed(Origin::Server, changed.as_bytes());
}

#[test]
fn a_hinted_file_is_durable_within_the_quiet_time_and_not_after_the_period() {
    let mut told = Told::settled(&[]);
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = |times: &Arc<Mutex<Vec<Duration>>>| {
        let times = Arc::clone(times);
        move |lab: &Lab| times.lock().unwrap().push(lab.outside.uptime())
    };
    let (first, second, third, end) = (noted(&times), noted(&times), noted(&times), noted(&times));
    told.turn(
        0,
        vec![
            // a patient that nobody knew
            act(1, move |lab| {
                first(lab);
                lab.write(&file(1, 1), b"new");
                hint(lab, 0, &format!("{FOLDER}/{}", name(1, 1)));
            }),
            // replaced in place, under the same name
            act(1, move |lab| {
                second(lab);
                lab.write(&file(1, 1), b"other content");
                hint(lab, 0, &format!("{FOLDER}/{}", name(1, 1)));
            }),
            // renamed by an update
            act(1, move |lab| {
                third(lab);
                lab.rename(&file(1, 1), &file(1, 2));
                lab.write(&file(2, 1), b"new again");
                hint(lab, 0, &format!("{FOLDER}/{}", name(1, 2)));
            }),
            act(0, move |lab| end(lab)),
        ],
    );
    let times = times.lock().unwrap();
    assert_eq!(times.len(), 4, "not all was delivered within the turn");
    for pair in times.windows(2) {
        let took = pair[1] - pair[0];
        assert!(took >= QUIET && took <= QUIET + BRIEF, "{took:?}");
    }
    let report = told.lab.open_identical(&["desktop.ini"], "hinted");
    assert_eq!((report.files, report.unchanged), (3, 0), "{report}");
}

#[test]
fn a_stream_of_hinted_files_makes_a_bundle_a_second_and_none_waits_for_a_second_one() {
    const FILES: usize = 60;
    let mut told = Told::settled(&[]);
    let (whole, durable) = (Arc::new(Mutex::new(vec![])), Arc::new(Mutex::new(vec![])));
    let (lab, before) = (Arc::downgrade(&told.lab), told.sealed());
    let (written, sealed) = (Arc::clone(&whole), Arc::clone(&durable));
    told.lab.meanwhile(move |step| {
        let Some(lab) = lab.upgrade() else { return };
        let (now, mut written) = (lab.outside.uptime(), written.lock().unwrap());
        let is_resting = step == Step::Waiting && lab.shared().report().sources[0].walks == 2;
        if is_resting && written.len() < FILES {
            let order = written.len() as u32;
            if written.last() != Some(&now) {
                written.push(now);
                lab.write(&file(order, 1), b"one of many");
            }
            // a hint each time, or the box would sleep until the first file is due
            hint(&lab, 0, &format!("{FOLDER}/{}", name(order, 1)));
        }
        if step == Step::Committed {
            sealed.lock().unwrap().push(now);
        }
    });
    told.walkers[0].turn(HOUR).unwrap();
    told.lab.meanwhile(|_| {});
    let (whole, durable) = (whole.lock().unwrap(), durable.lock().unwrap());
    let events = told.lab.outside.events("sealed");
    let counts = events[before..].iter().map(|event| event["files"].as_u64());
    // files are taken in the order in which they came
    let times: Vec<Duration> = durable
        .iter()
        .zip(counts)
        .flat_map(|(at, count)| std::iter::repeat_n(*at, count.unwrap() as usize))
        .collect();
    assert_eq!((whole.len(), times.len()), (FILES, FILES));
    assert!(durable.len() > 4, "the stream was too short: {durable:?}");
    assert!(
        durable.windows(2).all(|pair| pair[1] - pair[0] >= SPACING),
        "{durable:?}"
    );
    for (whole, durable) in whole.iter().zip(&times) {
        let took = *durable - *whole;
        let most = QUIET + SPACING + BRIEF;
        assert!(took >= QUIET && took <= most, "{took:?}");
    }
    told.lab.open_identical(&["desktop.ini"], "a stream");
}

#[test]
fn a_hinted_file_does_not_linger_though_another_bundle_is_sealed_while_it_is_taken() {
    const LINGER: Duration = Duration::from_secs(60);
    let lab = Lab::paced(Pacing {
        requests_per_second: 10,
        ..Pacing::eager()
    });
    let lab = Arc::new(lab);
    for (_, _, folder) in SOURCES {
        lab.write(&format!("{folder}/desktop.ini"), b"");
    }
    // the other source is not yet done with them
    for month in 0..400 {
        lab.write(&format!("dpc/month {month}"), b"a line");
    }
    let mut walkers = lab.boot().unwrap().into_walkers();
    let (mut monthly, mut wards) = (walkers.remove(2), walkers.remove(0));
    let taken = Arc::new(Mutex::new(None));
    let (during, noted, sealed) = (Arc::downgrade(&lab), Arc::clone(&taken), Arc::default());
    let durable: Arc<Mutex<Vec<Duration>>> = Arc::clone(&sealed);
    let mut hinted = None;
    lab.meanwhile(move |step| {
        let Some(lab) = during.upgrade() else { return };
        let walks = lab.shared().report().sources[0].walks;
        let now = lab.outside.uptime();
        if step == Step::Waiting && walks == 1 && hinted.is_none() {
            hinted = Some(now);
            lab.write(&file(1, 1), b"new");
            hint(&lab, 0, &format!("{FOLDER}/{}", name(1, 1)));
        }
        let is_ripe = hinted.is_some_and(|at| now >= at + QUIET);
        if step == Step::FileRead && is_ripe && noted.lock().unwrap().is_none() {
            let before = lab.outside.events("sealed").len();
            lab.outside.pause(2 * LINGER);
            let meanwhile = lab.outside.events("sealed").len() - before;
            *noted.lock().unwrap() = Some((lab.outside.uptime(), meanwhile));
        }
        if step == Step::Committed {
            sealed.lock().unwrap().push(lab.outside.uptime());
        }
    });
    let [first, second] = lab.outside.together(2).try_into().ok().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _lives = first;
            monthly.turn(HOUR).unwrap();
        });
        scope.spawn(|| {
            let _lives = second;
            lab.outside.pause(QUIET / 2);
            wards.turn(HOUR).unwrap();
        });
    });
    let (taken, meanwhile) = taken.lock().unwrap().unwrap();
    assert!(meanwhile > 0, "no bundle of the other source was sealed");
    let durable = durable.lock().unwrap();
    let after = durable.iter().find(|at| **at >= taken);
    assert!(
        after.is_some_and(|at| *at - taken <= SPACING),
        "{taken:?} {durable:?}"
    );
}

#[test]
fn a_hinted_file_that_still_grows_is_looked_at_again_and_taken_once_when_it_stands() {
    const CONTENT: &[u8] = b"written in pieces";
    const GROWS: u64 = 4;
    let mut told = Told::settled(&[]);
    let lab = Arc::downgrade(&told.lab);
    let mut pieces = 0;
    let mut last = Duration::ZERO;
    told.lab.meanwhile(move |step| {
        let Some(lab) = lab.upgrade() else { return };
        let now = lab.outside.uptime();
        // hinted once; then it grows before each second look
        let is_first =
            pieces == 0 && step == Step::Waiting && lab.shared().report().sources[0].walks == 2;
        let grows =
            (1..=GROWS).contains(&pieces) && step == Step::Folder && now >= last + QUIET / 2;
        if is_first || grows {
            (pieces, last) = (pieces + 1, now);
            let length = CONTENT.len() - (GROWS - (pieces - 1)) as usize;
            lab.write(&file(1, 1), &CONTENT[..length]);
        }
        if is_first {
            hint(&lab, 0, &format!("{FOLDER}/{}", name(1, 1)));
        }
    });
    told.walkers[0].turn(HOUR).unwrap();
    told.lab.meanwhile(|_| {});
    let report = told.lab.open_identical(&["desktop.ini"], "grown");
    assert_eq!((report.files, report.unchanged), (1, 0), "{report}");
    assert_eq!(
        told.lab.shared().hints[0].counts().of(Origin::Unsettled),
        GROWS
    );
}

#[test]
fn lying_hints_lead_nowhere_and_are_counted() {
    let mut told = Told::settled(&[(&file(1, 1), b"a file")]);
    let outside = told.lab.at("outside");
    std::fs::create_dir_all(outside.join("secret")).unwrap();
    std::fs::write(outside.join("secret/file"), b"never").unwrap();
    for (link, to) in [
        ("std/out", outside.clone()),
        ("std/in", told.lab.at("std/0000000001")),
    ] {
        std::os::unix::fs::symlink(to, told.lab.at(link)).unwrap();
    }
    let lies = [
        "../outside/secret/file",
        "/etc/passwd",
        "out/secret/file",
        "in/20240401/file",
        "in/20240401/OMP-01/file",
        "no/such/folder/file",
        "0000000001/20240401/OMP-01/nothing/file",
        "0000000001/./20240401/file",
    ];
    let before = told.sealed();
    told.turn(
        0,
        vec![act(0, move |lab| {
            lies.iter().for_each(|lie| hint(lab, 0, lie))
        })],
    );
    assert_eq!(told.sealed(), before);
    assert_eq!(
        told.lab.shared().hints[0].counts().ignored,
        lies.len() as u64
    );
    let (report, _) = told.lab.open();
    assert!(report.is_clean() && report.files == 1, "{report}");
}

#[test]
fn a_flood_of_hints_brings_the_next_walk_forward_which_finds_everything() {
    let mut told = Told::settled(&[]);
    const FILES: u32 = 60;
    told.turn(
        0,
        vec![act(0, |lab| {
            for order in 0..FILES {
                lab.write(&file(order, 1), b"in the flood");
            }
            for number in 0..100_000 {
                hint(lab, 0, &format!("flood/{number}/file"));
            }
        })],
    );
    let begin = told.lab.outside.uptime();
    told.turn(0, vec![]);
    let counts = told.lab.shared().hints[0].counts();
    assert_eq!(
        (counts.ignored, counts.overflowed),
        (FOLDERS as u64, 100_000 - FOLDERS as u64)
    );
    assert!(told.lab.outside.uptime() - begin <= HOUR + 2 * QUIET);
    told.lab.open_identical(&["desktop.ini"], "after the flood");
}

#[test]
fn a_word_of_too_many_ends_the_rest_and_an_hour_is_not_waited_for() {
    let mut told = Told::settled(&[]);
    let begin = told.lab.outside.uptime();
    told.turn(
        0,
        vec![act(0, |lab| lab.shared().hints[0].too_many(Origin::Server))],
    );
    assert!(told.lab.outside.uptime() - begin < HOUR / 10);
}

#[test]
fn a_hinted_content_folder_that_was_renamed_is_a_change_of_flag_and_not_a_second_body() {
    let content = "ext/0000000001/20240401/SUMMARY/0000000001_20240401_SUMMARY_000000000000001_20240401120000000_01";
    let (one, zero) = (format!("{content}_1"), format!("{content}_0"));
    let mut told = Told::settled(&[
        (&format!("{one}/index.xml"), b"index"),
        (&format!("{one}/image/1.jpg"), b"image"),
    ]);
    told.turn(
        1,
        vec![act(1, move |lab| {
            lab.rename(&one, &zero);
            // what an unfriendly server tells: files in the folder under its new name
            let below = zero.strip_prefix("ext/").unwrap();
            hint(lab, 1, &format!("{below}/image/1.jpg"));
            hint(lab, 1, &format!("{below}/index.xml"));
        })],
    );
    let report = told.lab.open_identical(&["desktop.ini"], "renamed");
    assert_eq!((report.files, report.unchanged), (2, 0), "{report}");
}

#[test]
fn hinted_looks_are_paced_by_the_same_budget_as_walks() {
    let lab = Lab::paced(Pacing {
        requests_per_second: 5,
        ..Pacing::eager()
    });
    for order in 0..200 {
        lab.write(&file(order, 1), b"many in one folder");
    }
    let mut walkers = lab.boot().unwrap().into_walkers();
    while lab.shared().report().sources[0].walks == 0 {
        walkers[0].turn(HOUR).unwrap();
    }
    let mut turn = || {
        let begin = lab.outside.uptime();
        walkers[0].turn(Duration::ZERO).unwrap();
        lab.outside.uptime() - begin
    };
    let without = turn();
    hint(&lab, 0, &format!("{FOLDER}/x"));
    let with = turn();
    let asked = Duration::from_secs(200 / 5);
    assert!(with >= without + asked, "{without:?} {with:?}");
}

#[test]
fn hints_are_followed_while_a_first_walk_is_under_way() {
    // while it scans, and while it looks a second time at hundreds of files
    for at in [Step::Folder, Step::FileRead] {
        let lab = Lab::paced(Pacing {
            requests_per_second: 20,
            ..Pacing::eager()
        });
        let lab = Arc::new(lab);
        for patient in 1000..1300 {
            lab.write(
                &format!("std/{patient:010}/20200101/OMP-01/{patient:010}_20200101_OMP-01_000000000000001_20200101120000000_01_1"),
                b"old",
            );
        }
        let mut walkers = lab.boot().unwrap().into_walkers();
        let took = Arc::new(Mutex::new(None));
        let (during, measured, mut written) = (Arc::downgrade(&lab), Arc::clone(&took), None);
        lab.meanwhile(move |step| {
            let Some(lab) = during.upgrade() else { return };
            let now = lab.outside.uptime();
            if step == at && written.is_none() && now > Duration::from_secs(5) {
                written = Some(now);
                lab.write(&file(1, 1), b"today");
                hint(&lab, 0, &format!("{FOLDER}/x"));
            }
            if let Some(written) = written.filter(|_| step == Step::Committed) {
                measured.lock().unwrap().get_or_insert(now - written);
            }
        });
        while took.lock().unwrap().is_none() {
            walkers[0].turn(Duration::from_secs(60)).unwrap();
        }
        assert_eq!(
            lab.shared().report().sources[0].walks,
            0,
            "the walk is still under way"
        );
        let took = took.lock().unwrap().unwrap();
        assert!(took <= QUIET + 3 * SPACING, "at {at:?}: {took:?}");
    }
}
