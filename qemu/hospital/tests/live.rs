//! The hospital that lives deed by deed: the same from the same seed, true to the renaming rules, and judged by its own
//! truth.

use hospital::live::{Deed, Event, Manner, Pace, Stamps, Workday, Writer, check};
use std::collections::BTreeMap;
use std::path::Path;

const FACILITY: &str = "1319999999";
const NINE: u64 = 9 * 3_600_000;

fn writer(folder: &Path, seed: u64) -> Writer {
    for root in ["std", "ext"] {
        std::fs::create_dir_all(folder.join(root).join(FACILITY)).unwrap();
    }
    let start = hospital::Day(20_100).at(NINE);
    Writer::new(seed, folder, FACILITY, start, Stamps::Story)
}

fn live(folder: &Path, seed: u64, deeds: usize) -> Writer {
    let pace = Pace {
        deeds_a_day: 8000,
        longest_gap_ms: 5000,
        torn: true,
        odd: true,
    };
    let mut writer = writer(folder, seed);
    for (at, deed) in Workday::new(seed, pace, NINE).take(deeds) {
        writer.pass(at - NINE).unwrap();
        writer.act(&deed).unwrap();
    }
    writer.finish().unwrap();
    writer
}

fn digest(folder: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    hospital::digest(folder, &mut text).unwrap();
    text
}

#[test]
fn the_same_seed_gives_the_same_store_and_the_same_truth() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (live(one.path(), 5, 300), live(two.path(), 5, 300));
    assert_eq!(digest(one.path()), digest(two.path()));
    assert!(first.truth().marks() == second.truth().marks());
    let other = tempfile::tempdir().unwrap();
    live(other.path(), 6, 300);
    assert_ne!(digest(one.path()), digest(other.path()));
}

#[test]
fn the_truth_told_again_from_its_beginning_is_the_store_and_everything_is_whole_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = live(folder.path(), 7, 600);
    writer.act(&Deed::Remove { pick: 30 }).unwrap();
    writer.act(&Deed::Discard { pick: 60 }).unwrap();
    let mut files = BTreeMap::new();
    let mut kinds = [0; 4];
    for mark in writer.truth().marks() {
        match &mark.event {
            Event::Written {
                size,
                sha256,
                whole,
            } => {
                kinds[usize::from(*whole)] += 1;
                files.insert(mark.path.clone(), (*sha256, *size));
            }
            Event::Renamed { from } => {
                kinds[2] += 1;
                let content = files.remove(from).unwrap();
                files.insert(mark.path.clone(), content);
            }
            Event::Removed => {
                kinds[3] += 1;
                files.remove(&mark.path).unwrap();
            }
        }
    }
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
    assert!(writer.truth().files().values().all(|whole| *whole));
    let mut found = BTreeMap::new();
    hospital::digest_lines(folder.path(), &mut |line| {
        found.insert(line.path, line.content.unwrap());
        Ok(())
    })
    .unwrap();
    let told: BTreeMap<_, _> = files
        .into_iter()
        .map(|(path, content)| {
            let names: Vec<_> = path
                .split(|byte| *byte == b'/')
                .map(hospital::escape)
                .collect();
            (names.join("/"), content)
        })
        .collect();
    assert_eq!(found, told);
}

#[test]
fn an_update_leaves_a_time_without_a_valid_version_and_a_deletion_marks_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), 8);
    let order = |pick| Deed::Order {
        pick,
        late: false,
        manner: Manner::AtOnce,
    };
    writer.act(&order(1)).unwrap();
    let slow = Manner::Slow {
        pieces: 2,
        gap_ms: 1000,
    };
    let flags = |writer: &Writer| -> String {
        let files = writer.truth().files().keys();
        files.map(|path| char::from(path[path.len() - 1])).collect()
    };
    writer
        .act(&Deed::Update {
            pick: 0,
            manner: slow,
        })
        .unwrap();
    assert_eq!(flags(&writer), "2");
    writer.pass(1000).unwrap();
    assert_eq!(flags(&writer), "21");
    assert!(!writer.truth().files().values().all(|whole| *whole));
    writer.pass(2000).unwrap();
    assert!(writer.truth().files().values().all(|whole| *whole));
    let manner = Manner::AtOnce;
    writer.act(&Deed::Delete { pick: 0, manner }).unwrap();
    assert_eq!(flags(&writer), "000");
}

#[test]
fn the_check_tells_whole_from_half_written_and_from_unknown() {
    let (store, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut writer = writer(store.path(), 9);
    let truth = copy.path().join("truth");
    let delivered = copy.path().join("delivered");
    std::fs::create_dir(&delivered).unwrap();
    writer.log_truth(&truth).unwrap();
    let slow = Manner::Slow {
        pieces: 3,
        gap_ms: 10,
    };
    writer
        .act(&Deed::Dpc {
            pick: 0,
            manner: slow,
        })
        .unwrap();
    let path = std::fs::read_dir(store.path().join("dpc"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::copy(&path, delivered.join("half")).unwrap();
    writer.finish().unwrap();
    std::fs::copy(&path, delivered.join("whole")).unwrap();
    std::fs::write(delivered.join("other"), b"nobody wrote this").unwrap();
    let verdict = check(&truth, None, &[&delivered]).unwrap();
    assert_eq!(
        (verdict.whole, verdict.half_written, verdict.unknown),
        (1, 1, 1)
    );
}
