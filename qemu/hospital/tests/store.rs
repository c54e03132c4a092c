//! A made store: the same for the same seed, named by the grammar, with histories by the renaming rules.

mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hospital::{Fault, Markers, Oddities, Spec, compare, data_types, make};
use sha2::{Digest, Sha256};
use walk::{Scratch, files};

/// Digest over names, bytes and time stamps of the store of seed 7 with 300 files. Where it changes on purpose, every
/// figure measured on generated stores before the change is of another store: say so in the change log.
const GOLDEN: &str = "165e6937d3fc955552bd419b3201767037b1f25c58d2a1917e95b69eeef76c1b";

fn fingerprint(root: &Path) -> String {
    let mut hash = Sha256::new();
    hospital::digest_lines(root, &mut |line| {
        hash.update(format!("{line}\n"));
        Ok(())
    })
    .unwrap();
    for path in files(root) {
        let meta = path.metadata().unwrap();
        hash.update(format!("{}.{}\n", meta.mtime(), meta.mtime_nsec()));
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_names_bytes_and_time_stamps_as_ever() {
    let scratch = Scratch::new();
    make(
        &Spec {
            transaction: true,
            ..Spec::new(7, 300)
        },
        scratch.path(),
    )
    .unwrap();
    assert_eq!(fingerprint(scratch.path()), GOLDEN);
}

#[test]
fn another_number_of_workers_changes_nothing_and_another_seed_does() {
    let (one, two, other) = (Scratch::new(), Scratch::new(), Scratch::new());
    make(
        &Spec {
            threads: 1,
            ..Spec::new(1, 600)
        },
        one.path(),
    )
    .unwrap();
    make(
        &Spec {
            threads: 4,
            ..Spec::new(1, 600)
        },
        two.path(),
    )
    .unwrap();
    make(&Spec::new(2, 600), other.path()).unwrap();
    assert_eq!(fingerprint(one.path()), fingerprint(two.path()));
    assert!(!compare(one.path(), other.path(), &[]).unwrap().equal());
}

#[test]
fn the_number_of_files_is_exactly_what_was_asked_for() {
    for (count, patients) in [(1, 1), (7, 3), (99, 99), (100, 1), (1234, 17), (1500, 300)] {
        let scratch = Scratch::new();
        let made = make(
            &Spec {
                patients: Some(patients),
                ..Spec::new(4, count)
            },
            scratch.path(),
        )
        .unwrap();
        assert_eq!(
            (made.files, files(scratch.path()).len() as u64),
            (count, count)
        );
        assert_eq!(
            made.bytes,
            files(scratch.path())
                .iter()
                .map(|path| path.metadata().unwrap().len())
                .sum::<u64>()
        );
    }
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("kept"), "x").unwrap();
    assert!(matches!(
        make(&Spec::new(1, 10), scratch.path()),
        Err(Fault::NotEmpty(_))
    ));
    assert_eq!(files(scratch.path()).len(), 1);
}

#[test]
fn every_standardized_path_repeats_its_folders_in_seven_fields() {
    let scratch = Scratch::new();
    make(
        &Spec {
            oddities: Oddities::None,
            ..Spec::new(11, 2000)
        },
        scratch.path(),
    )
    .unwrap();
    let root = scratch.path().join("std/1319999999");
    let mut types = BTreeSet::new();
    for path in files(&root) {
        let text = path
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let [first, second, patient, day, kind, name] =
            text.split('/').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((first, second), (&patient[..3], &patient[3..6]));
        let fields: [&str; 7] = name.split('_').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(
            (fields[0], fields[1], fields[2]),
            (patient, day, kind),
            "{text}"
        );
        let digits =
            |field: &str, count| field.len() == count && field.bytes().all(|b| b.is_ascii_digit());
        assert!(
            digits(patient, 10)
                && (day == "-" || digits(day, 8))
                && digits(fields[3], 15)
                && digits(fields[4], 17)
        );
        assert!(
            fields[5] == "-" || digits(fields[5], 2) || digits(fields[5], 3),
            "{text}"
        );
        assert!(["0", "1", "2"].contains(&fields[6]), "{text}");
        let undated = ["ADT-00", "ADT-01", "ADT-61", "PPR-01"].contains(&kind);
        assert_eq!(day == "-", undated, "{text}");
        types.insert(kind.to_owned());
    }
    assert_eq!(
        types,
        data_types().map(str::to_owned).collect(),
        "all 26 data types occur"
    );
}

#[test]
fn every_history_reads_deleted_then_past_then_at_most_one_valid_version() {
    let scratch = Scratch::new();
    make(
        &Spec {
            oddities: Oddities::None,
            ..Spec::new(12, 1200)
        },
        scratch.path(),
    )
    .unwrap();
    walk::assert_histories(&scratch.path().join("std"));
    let all: String = walk::histories(&scratch.path().join("std"))
        .into_values()
        .collect();
    assert!(
        ["0", "1", "2"].iter().all(|flag| all.contains(flag)),
        "all flags occur"
    );
}

#[test]
fn extended_storage_has_content_folders_of_each_state_with_a_main_document() {
    let scratch = Scratch::new();
    make(&Spec::new(13, 2500), scratch.path()).unwrap();
    let mut folders: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for path in files(&scratch.path().join("ext")) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        folders
            .entry(path.parent().unwrap().to_owned())
            .or_default()
            .push(name);
    }
    assert!(
        folders
            .values()
            .all(|names| names.iter().any(|name| name.starts_with("main_document.")))
    );
    for flag in ["_0", "_1", "_2"] {
        assert!(
            folders
                .keys()
                .any(|path| path.to_str().unwrap().ends_with(flag)),
            "{flag} occurs"
        );
    }
    assert!(
        folders
            .values()
            .flatten()
            .any(|name| name.contains('^') && !name.is_ascii())
    );
}

#[test]
fn odd_files_are_all_there_by_default_and_only_portable_ones_where_asked() {
    for (oddities, raw) in [(Oddities::All, true), (Oddities::Portable, false)] {
        let scratch = Scratch::new();
        let made = make(
            &Spec {
                oddities,
                ..Spec::new(1, 200)
            },
            scratch.path(),
        )
        .unwrap();
        let names: Vec<Vec<u8>> = files(scratch.path())
            .iter()
            .map(|path| path.file_name().unwrap().as_bytes().to_vec())
            .collect();
        assert_eq!(
            names
                .iter()
                .any(|name| name.contains(&b'\n') || std::str::from_utf8(name).is_err()),
            raw
        );
        assert!(
            names.iter().any(|name| name == b"Thumbs.db")
                && names.iter().any(|name| name.len() == 255)
        );
        assert_eq!(made.odd.files, if raw { 14 } else { 12 });
    }
}

#[test]
fn each_marker_is_planted_exactly_once() {
    let scratch = Scratch::new();
    let markers = Some(Markers {
        prefix: "PLANT".to_owned(),
        count: 1000,
    });
    let made = make(
        &Spec {
            markers,
            ..Spec::new(5, 700)
        },
        scratch.path(),
    )
    .unwrap();
    let mut found = BTreeSet::new();
    for path in files(scratch.path()) {
        let bytes = std::fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for (at, _) in text.match_indices("PLANT-") {
            assert!(found.insert(text[at..at + 29].to_owned()), "planted twice");
        }
    }
    assert_eq!(found, made.markers.into_iter().collect());
    assert_eq!(found.len(), 1000);
}

#[test]
fn a_request_that_cannot_be_kept_says_what_is_allowed() {
    let scratch = Scratch::new();
    let spec = Spec {
        patients: Some(11),
        ..Spec::new(1, 10)
    };
    let fault = make(&spec, scratch.path()).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "10 files of patients allow 1 to 10 patients"
    );
    let spec = Spec {
        facility: "12345".to_owned(),
        ..Spec::new(1, 10)
    };
    assert_eq!(
        make(&spec, scratch.path()).unwrap_err().to_string(),
        "a facility has 10 digits"
    );
}
