//! The reader's grammar (crate `ssmix2`) against stores that it was not written for: the generator's, before and after
//! changes, and a hospital's that goes on writing. Public samples: `sample_trees`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hospital::{Change, Oddities, Spec, change, make};
use ssmix2::{Store, deviations, ignored};

/// Paths below `root`, as the reader gets them.
fn files(root: &Path) -> Vec<Vec<u8>> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.push(
                    path.strip_prefix(root)
                        .unwrap()
                        .as_os_str()
                        .as_bytes()
                        .to_vec(),
                );
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

/// How often each set of deviations occurs; ignored files count as `ignored`, regular ones are left out.
fn deviating(store: Store, root: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for path in files(root) {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap();
        let words: Vec<&str> = deviations(store, &path)
            .iter()
            .map(|(_, word)| word)
            .collect();
        let class = if ignored(name).is_some() {
            "ignored".to_owned()
        } else {
            words.join(" ")
        };
        if !class.is_empty() {
            *counts.entry(class).or_default() += 1;
        }
    }
    counts
}

fn table(rows: &[(&str, usize)]) -> BTreeMap<String, usize> {
    rows.iter()
        .map(|(class, count)| ((*class).to_owned(), *count))
        .collect()
}

#[test]
fn a_generated_store_without_oddities_is_regular_throughout_also_after_changes() {
    let folder = tempfile::tempdir().unwrap();
    let spec = Spec {
        oddities: Oddities::None,
        transaction: true,
        ..Spec::new(41, 1200)
    };
    make(&spec, folder.path()).unwrap();
    let wanted = Change {
        add: 120,
        update: 60,
        delete: 30,
        monthly: true,
        ..Change::new(1)
    };
    change(&wanted, folder.path()).unwrap();
    for (store, root) in [
        (Store::Standardized, "std/1319999999"),
        (Store::Extended, "ext/1319999999"),
        (Store::Dpc, "dpc"),
        (Store::Receipt, "receipt"),
        (Store::Transaction, "tx"),
    ] {
        let root = folder.path().join(root);
        assert!(!files(&root).is_empty(), "{store:?}");
        assert_eq!(deviating(store, &root), table(&[]), "{store:?}");
    }
}

#[test]
fn every_odd_file_falls_into_the_class_it_was_made_for() {
    let folder = tempfile::tempdir().unwrap();
    make(&Spec::new(42, 150), folder.path()).unwrap();
    assert_eq!(
        deviating(Store::Standardized, &folder.path().join("std/1319999999")),
        table(&[
            // The name of 255 bytes, the one in CP932, the one without a flag.
            ("field-count flag", 3),
            // The copy `.bak`.
            ("flag", 1),
            ("ignored", hospital::LEFTOVERS.len()),
            // The short order number, and the newline in its place.
            ("order-number", 2),
            ("patient-folder folder-mismatch", 1),
            ("timestamp", 1),
            ("unknown-type", 1),
        ])
    );
}

#[test]
fn receipts_of_the_generator_are_whole_and_torn_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    make(&Spec::new(43, 150), folder.path()).unwrap();
    let root = folder.path().join("receipt");
    let mut seen = 0;
    for path in files(&root) {
        let bytes = std::fs::read(root.join(std::str::from_utf8(&path).unwrap())).unwrap();
        let whole = |bytes: &[u8]| {
            let tail = bytes
                .len()
                .saturating_sub(ssmix2::claims::RECEIPT_TAIL_BYTES);
            ssmix2::claims::receipt_is_whole(&bytes[tail..])
        };
        assert!(whole(&bytes) && !whole(&bytes[..bytes.len() / 2]));
        seen += 1;
    }
    assert!(seen >= 4);
}

#[test]
fn every_header_in_the_feed_leads_to_the_folder_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let spec = Spec {
        oddities: Oddities::None,
        transaction: true,
        ..Spec::new(44, 600)
    };
    make(&spec, folder.path()).unwrap();
    let (root, standard) = (
        folder.path().join("tx"),
        folder.path().join("std/1319999999"),
    );
    let mut seen = 0;
    for path in files(&root) {
        let bytes = std::fs::read(root.join(std::str::from_utf8(&path).unwrap())).unwrap();
        for (_, header, found) in ssmix2::transaction::headers(&bytes) {
            assert!(found.is_empty());
            let hint = String::from_utf8(header.unwrap().folder().unwrap()).unwrap();
            assert!(standard.join(hint).is_dir());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}
