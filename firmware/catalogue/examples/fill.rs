//! The catalogue under a store of any size that needs no disk: `fill NAMES FILE`.
//!
//! A simulated file system of NAMES files of standardized storage (a patient of 500 files on average, 1.3 files a folder,
//! times as NTFS gives them) is collected as the intake does it: bundles of changes, intended and committed, in the order of
//! a walk, each delivered while the next one is made. Then every folder is listed once more and compared, and a day's 20 000
//! changes, spread over all patients, are committed. Prints JSON: bytes a file on disk, and largest resident memory.

use catalogue::{Action, Catalogue, Change, Depth, Directory, Intent, Standing, Subtree};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// Entries of a bundle: 64 MiB of files of 1.3 KiB.
const BUNDLE: usize = 50_000;
const PATIENT: u64 = 500;
const KINDS: [&str; 12] = [
    "ADT-12", "OMP-01", "OMP-11", "OMP-02", "OMP-12", "OML-01", "OML-11", "OMG-01", "OMG-11",
    "OMD", "ADT-22", "OMG-03",
];

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % bound
    }
}

/// Days since 1970 as year, month, day, for the years of the simulation.
fn date(mut day: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    loop {
        let length = 365 + u64::from(year % 4 == 0);
        if day < length {
            break;
        }
        (day, year) = (day - length, year + 1);
    }
    let february = 28 + u64::from(year % 4 == 0);
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        (day, month) = (day - length, month + 1);
    }
    (year, month, day + 1)
}

/// All files of one patient, as changes in the order of the tree.
fn patient(root: Directory, number: u64, files: u64, changes: &mut Vec<Change>) {
    let mut random = Random(number * 7919);
    let id = format!("{:010}", 1000 + number * 7);
    let (mut made, mut day, mut order) = (0, 16_436 + random.below(30), random.below(40_000_000));
    while made < files {
        let (year, month, of_month) = date(day);
        let text = format!("{year:04}{month:02}{of_month:02}");
        let mut kinds: Vec<&str> = (0..1 + random.below(5))
            .map(|_| KINDS[random.below(12) as usize])
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            for _ in 0..1 + u64::from(random.below(10) < 3) {
                if made == files {
                    break;
                }
                made += 1;
                order += 1 + random.below(3000);
                let ms = random.below(86_400_000);
                let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
                let flag = [1, 1, 1, 1, 1, 1, 1, 2, 2, 0][random.below(10) as usize];
                let department = 1 + random.below(20);
                let path = format!(
                    "{}/{}/{id}/{text}/{kind}/{id}_{text}_{kind}_{order:015}_{text}{hour:02}{minute:02}{second:02}{:03}_{department:02}_{flag}",
                    &id[..3],
                    &id[3..6],
                    ms % 1000
                );
                let written =
                    (day * 86_400_000 + ms) as i64 - 9 * 3_600_000 + random.below(3000) as i64;
                let mut sha256 = [0; 32];
                for chunk in sha256.chunks_mut(8) {
                    chunk.copy_from_slice(&mix(random.below(u64::MAX)).to_le_bytes());
                }
                changes.push(Change {
                    root,
                    path: path.into_bytes(),
                    action: Action::Added,
                    size_bytes: 400 + random.below(4400),
                    mtime_ns: written * 1_000_000 + random.below(10_000) as i64 * 100,
                    sha256,
                });
            }
        }
        day += 1 + random.below(60);
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
}

/// Files of patient `number`: 50 to 950.
fn share(number: u64) -> u64 {
    PATIENT / 10 + mix(number) % (PATIENT * 9 / 5)
}

fn commit(
    catalogue: &mut Catalogue,
    sequence: &mut u64,
    changes: &[Change],
) -> Result<(), Box<dyn Error>> {
    *sequence += 1;
    let intent = Intent {
        sequence: *sequence,
        sha256: [7; 32],
        entries: changes.len() as u64,
        bytes: 1,
    };
    catalogue.intend(intent, changes)?;
    catalogue.commit()?;
    // what a bundle brought is kept until its receipt is there, which comes while the next one is made
    catalogue.delivered(&[*sequence - 1])?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, names, file] = arguments.as_slice() else {
        return Err("usage: fill NAMES FILE".into());
    };
    let (names, file) = (names.parse::<u64>()?, Path::new(file));
    let mut catalogue = Catalogue::open(file)?;
    let root = catalogue.source("wards")?.root;
    let (begun, mut sequence, mut made, mut patients) = (Instant::now(), 0, 0, 0);
    let mut changes = Vec::with_capacity(BUNDLE);
    while made < names {
        let files = share(patients).min(names - made);
        let mut own = Vec::new();
        patient(root, patients, files, &mut own);
        for change in own {
            changes.push(change);
            if changes.len() == BUNDLE {
                commit(&mut catalogue, &mut sequence, &changes)?;
                changes.clear();
            }
        }
        (made, patients) = (made + files, patients + 1);
    }
    commit(&mut catalogue, &mut sequence, &changes)?;
    let filled = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let compared = compare(&catalogue, root, names, patients)?;
    let walked = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let mut random = Random(11);
    for _ in 0..20 {
        let mut day = Vec::new();
        for number in 0..1000 {
            let of = random.below(patients);
            let mut own = Vec::new();
            patient(root, of, 1, &mut own);
            for mut change in own {
                change.path.extend(format!("{number}").bytes());
                day.push(change);
            }
        }
        day.sort_by(|a, b| a.path.cmp(&b.path));
        commit(&mut catalogue, &mut sequence, &day)?;
    }
    let day = begun.elapsed().as_secs_f64();
    let known = catalogue.files_of(root)?;
    drop(catalogue);
    let bytes = std::fs::metadata(file)?.len();
    println!(
        "{{\"names\":{known},\"patients\":{patients},\"bytes\":{bytes},\"bytes_a_file\":{},\"resident_mib\":{},\"fill_seconds\":{filled},\"compare_seconds\":{walked},\"compared\":{compared},\"day_seconds\":{day}}}",
        bytes as f64 / known as f64,
        resident_mib()
    );
    Ok(())
}

/// Reads all that is known of each patient and compares it with the simulated store.
fn compare(
    catalogue: &Catalogue,
    root: Directory,
    names: u64,
    patients: u64,
) -> Result<u64, Box<dyn Error>> {
    let (mut left, mut compared) = (names, 0);
    for number in 0..patients {
        let files = share(number).min(left);
        left -= files;
        let mut own = Vec::new();
        patient(root, number, files, &mut own);
        let mut part: Option<(Directory, usize, Subtree)> = None;
        for change in own {
            let split = change
                .path
                .iter()
                .rposition(|byte| *byte == b'/')
                .unwrap_or_default();
            let (folder, name) = (&change.path[..split], &change.path[split + 1..]);
            if part.is_none()
                && let Standing::Within { directory, length } = catalogue.standing(root, folder)?
            {
                let blob = catalogue.blob(directory)?;
                let decoded = Subtree::decode(&folder[..length], &blob, Depth::Files)
                    .ok_or("a damaged blob")?;
                part = Some((directory, length, decoded));
            }
            let known = match &part {
                Some((_, length, part)) => part
                    .at(&folder[*length..])
                    .and_then(|folder| folder.file(name))
                    .cloned(),
                None => catalogue.file(root, &change.path)?,
            };
            let same = known.is_some_and(|known| {
                (known.size_bytes, known.mtime_ns) == (change.size_bytes, change.mtime_ns)
            });
            if !same {
                return Err("a file is not known as it was entered".into());
            }
            compared += 1;
        }
    }
    Ok(compared)
}

/// Largest resident memory so far.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kibibytes.unwrap_or_default() / 1024.0
}
