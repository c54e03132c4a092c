//! The hospital goes on writing: by the renaming rules, the same for the same seed, and torn where asked.

mod walk;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hospital::{Change, Oddities, Spec, Writing, change, compare, finish, make};
use walk::{Scratch, assert_histories, files};

fn store() -> Scratch {
    let scratch = Scratch::new();
    let spec = Spec {
        oddities: Oddities::None,
        transaction: true,
        ..Spec::new(31, 600)
    };
    make(&spec, scratch.path()).unwrap();
    scratch
}

fn busy(seed: u64) -> Change {
    Change {
        add: 150,
        update: 60,
        delete: 25,
        replace: 5,
        monthly: true,
        story_time: true,
        ..Change::new(seed)
    }
}

#[test]
fn the_same_seed_on_the_same_store_does_the_same() {
    let (one, two) = (store(), store());
    let (first, second) = (
        change(&busy(3), one.path()).unwrap(),
        change(&busy(3), two.path()).unwrap(),
    );
    assert_eq!(first, second);
    assert!(compare(one.path(), two.path(), &[]).unwrap().equal());
    change(&busy(4), two.path()).unwrap();
    assert!(!compare(one.path(), two.path(), &[]).unwrap().equal());
}

#[test]
fn histories_keep_to_the_renaming_rules_after_many_changes() {
    let store = store();
    for seed in 0..4 {
        let changed = change(&busy(seed), store.path()).unwrap();
        assert_eq!(
            (
                changed.added,
                changed.updated,
                changed.deleted,
                changed.replaced
            ),
            (150, 60, 25, 5)
        );
        assert!(changed.late > 0 && changed.contents > 0 && changed.renamed >= 85);
    }
    assert_histories(&store.path().join("std"));
}

#[test]
fn a_document_is_not_deleted_over_one_that_was() {
    let store = store();
    let is_page = |path: &&PathBuf| path.starts_with(store.path().join("ext"));
    let pages = files(store.path());
    let contents: BTreeSet<&Path> = pages
        .iter()
        .filter(is_page)
        .filter_map(|page| page.parent())
        .collect();
    for content in contents {
        let name = content.to_str().unwrap();
        let twin = PathBuf::from(format!("{}0", &name[..name.len() - 1]));
        fs::create_dir_all(&twin).unwrap();
        fs::write(twin.join("page"), b"deleted before").unwrap();
    }
    let wanted = Change {
        delete: 100,
        ..Change::new(5)
    };
    let changed = change(&wanted, store.path()).unwrap();
    assert_eq!(changed.deleted, 100);
    assert_histories(&store.path().join("std"));
}

#[test]
fn an_update_renames_one_file_and_writes_one_under_a_later_time() {
    let (before, after) = (store(), store());
    let changed = change(
        &Change {
            update: 1,
            ..Change::new(9)
        },
        after.path(),
    )
    .unwrap();
    assert_eq!((changed.renamed, changed.files), (1, 1));
    let (was, is) = (
        files(&before.path().join("std")),
        files(&after.path().join("std")),
    );
    assert_eq!(is.len(), was.len() + 1);
    let difference = compare(&before.path().join("std"), &after.path().join("std"), &[]).unwrap();
    assert_eq!(
        (difference.missing, difference.extra, difference.different),
        (1, 2, 0)
    );
}

#[test]
fn torn_files_are_half_there_until_they_are_finished() {
    let (torn, whole, lists) = (store(), store(), Scratch::new());
    let list = lists.path().join("unfinished");
    let wanted = Change {
        add: 20,
        torn: 6,
        unfinished: Some(list.clone()),
        ..Change::new(8)
    };
    assert_eq!(change(&wanted, torn.path()).unwrap().torn, 6);
    assert_eq!(change(&wanted, whole.path()).unwrap().torn, 6);
    assert!(finish(&lists.path().join("none")).is_err());
    assert_eq!(finish(&list).unwrap(), 12);
    assert!(compare(torn.path(), whole.path(), &[]).unwrap().equal());
    for path in files(&torn.path().join("std")) {
        assert!(
            std::fs::read(&path).unwrap().ends_with(b"\r"),
            "{path:?} is not whole"
        );
    }
}

#[test]
fn torn_files_without_a_place_for_the_rest_are_refused_before_anything_is_written() {
    let (before, after) = (store(), store());
    let fault = change(
        &Change {
            add: 5,
            torn: 2,
            ..Change::new(8)
        },
        after.path(),
    )
    .unwrap_err();
    assert!(
        fault
            .to_string()
            .contains("need a file for their missing parts")
    );
    assert!(compare(before.path(), after.path(), &[]).unwrap().equal());
}

#[test]
fn slow_writing_gives_the_same_files_as_writing_at_once() {
    let (slow, quick) = (store(), store());
    let wanted = Change {
        add: 10,
        update: 3,
        ..Change::new(2)
    };
    let pieces = Change {
        writing: Writing::Pieces {
            pause: Duration::ZERO,
        },
        ..wanted.clone()
    };
    change(&wanted, quick.path()).unwrap();
    change(&pieces, slow.path()).unwrap();
    let (a, b) = (
        files(&quick.path().join("std")).len(),
        files(&slow.path().join("std")).len(),
    );
    assert_eq!(a, b);
}

#[test]
fn monthly_files_bring_a_new_month_of_dpc_and_overwrite_the_receipts() {
    let (before, after) = (store(), store());
    change(
        &Change {
            monthly: true,
            ..Change::new(1)
        },
        after.path(),
    )
    .unwrap();
    let dpc = compare(&before.path().join("dpc"), &after.path().join("dpc"), &[]).unwrap();
    assert_eq!((dpc.missing, dpc.extra, dpc.different), (0, 5, 0));
    let receipt = compare(
        &before.path().join("receipt"),
        &after.path().join("receipt"),
        &[],
    )
    .unwrap();
    assert_eq!(
        (receipt.missing, receipt.extra, receipt.different),
        (0, 0, 4)
    );
}
