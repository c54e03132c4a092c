//! The catalogue against its header: intents, the known state, walks that miss files, reopening.

use catalogue::{Action, Catalogue, CatalogueError, Change, Directory, Intent};
use std::path::PathBuf;

struct Lab {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.sqlite");
        Self {
            _folder: folder,
            path,
        }
    }

    fn open(&self) -> Catalogue {
        Catalogue::open(&self.path).unwrap()
    }
}

fn change(root: Directory, path: &str, action: Action, size_bytes: u64) -> Change {
    Change {
        root,
        path: path.into(),
        action,
        size_bytes,
        mtime_ns: 7,
        sha256: [size_bytes as u8; 32],
    }
}

fn intent(sequence: u64) -> Intent {
    Intent {
        sequence,
        sha256: [sequence as u8; 32],
        entries: 2,
        bytes: 30,
    }
}

#[test]
fn nothing_of_an_intent_is_known_before_it_is_committed_and_all_of_it_after() {
    let lab = Lab::new();
    let mut catalogue = lab.open();
    let root = catalogue.source("wards").unwrap().root;
    let changes = [
        change(root, "a/b/x", Action::Added, 1),
        change(root, "y", Action::Added, 2),
    ];
    catalogue.intend(intent(1), &changes).unwrap();
    assert!(catalogue.file(root, b"a/b/x").unwrap().is_none());
    drop(catalogue);
    let mut catalogue = lab.open();
    assert_eq!(catalogue.intent().unwrap(), Some(intent(1)));
    assert_eq!(catalogue.commit().unwrap(), intent(1));
    drop(catalogue);
    let catalogue = lab.open();
    assert_eq!(catalogue.intent().unwrap(), None);
    assert_eq!(catalogue.last_committed().unwrap(), Some((1, [1; 32])));
    assert_eq!(
        catalogue.file(root, b"a/b/x").unwrap().unwrap().size_bytes,
        1
    );
    assert_eq!(catalogue.files_of(root).unwrap(), 2);
    assert_eq!(catalogue.files(root, b"a/b").unwrap().len(), 1);
}

#[test]
fn a_rolled_back_intent_leaves_no_trace() {
    let lab = Lab::new();
    let mut catalogue = lab.open();
    let root = catalogue.source("wards").unwrap().root;
    catalogue
        .intend(intent(1), &[change(root, "x", Action::Added, 1)])
        .unwrap();
    assert!(matches!(
        catalogue.intend(intent(2), &[]),
        Err(CatalogueError::IntentOpen { sequence: 1 })
    ));
    catalogue.roll_back().unwrap();
    assert!(matches!(catalogue.commit(), Err(CatalogueError::NoIntent)));
    assert_eq!(catalogue.files_of(root).unwrap(), 0);
    assert_eq!(catalogue.last_committed().unwrap(), None);
}

#[test]
fn a_flag_change_moves_the_row_and_a_removal_takes_empty_directories_along() {
    let lab = Lab::new();
    let mut catalogue = lab.open();
    let root = catalogue.source("wards").unwrap().root;
    catalogue
        .intend(
            intent(1),
            &[
                change(root, "a/b_1/x", Action::Added, 1),
                change(root, "a/y", Action::Added, 1),
            ],
        )
        .unwrap();
    catalogue.commit().unwrap();
    let moved = Action::FlagChanged {
        origin: b"a/b_1/x".to_vec(),
    };
    catalogue
        .intend(intent(2), &[change(root, "a/b_0/x", moved, 1)])
        .unwrap();
    catalogue.commit().unwrap();
    assert_eq!(catalogue.files_of(root).unwrap(), 2);
    assert!(catalogue.folder(root, b"a/b_1").unwrap().is_none());
    assert!(catalogue.file(root, b"a/b_0/x").unwrap().is_some());
    catalogue
        .intend(intent(3), &[change(root, "a/b_0/x", Action::Removed, 1)])
        .unwrap();
    catalogue.commit().unwrap();
    assert_eq!(catalogue.files_of(root).unwrap(), 1);
    assert!(catalogue.folder(root, b"a/b_0").unwrap().is_none());
    assert!(catalogue.folder(root, b"a").unwrap().is_some());
}

#[test]
fn the_time_of_a_file_written_again_is_known_only_where_its_content_is_what_is_known() {
    let lab = Lab::new();
    let mut catalogue = lab.open();
    let root = catalogue.source("wards").unwrap().root;
    catalogue
        .intend(intent(1), &[change(root, "a/x", Action::Added, 1)])
        .unwrap();
    catalogue.commit().unwrap();
    let before = catalogue.file(root, b"a/x").unwrap().unwrap();
    let later = |edit: fn(&mut catalogue::Known)| {
        let mut known = before.clone();
        known.mtime_ns += 1;
        edit(&mut known);
        (b"a/x".to_vec(), known)
    };
    let others = [
        later(|known| known.mark[15] ^= 1),
        later(|known| known.size_bytes += 1),
        (b"a/y".to_vec(), before.clone()),
    ];
    catalogue.rewritten(root, &others).unwrap();
    assert!(catalogue.file(root, b"a/x").unwrap().as_ref() == Some(&before));
    assert!(catalogue.file(root, b"a/y").unwrap().is_none());
    let same = later(|_| {});
    catalogue
        .rewritten(root, std::slice::from_ref(&same))
        .unwrap();
    drop(catalogue);
    let catalogue = lab.open();
    assert!(catalogue.file(root, b"a/x").unwrap() == Some(same.1));
    assert_eq!(catalogue.files_of(root).unwrap(), 1);
}

#[test]
fn parts_are_remembered_until_the_whole_file_is_sent() {
    let lab = Lab::new();
    let mut catalogue = lab.open();
    let root = catalogue.source("images").unwrap().root;
    catalogue
        .intend(
            intent(1),
            &[change(
                root,
                "big",
                Action::Part {
                    version: [3; 16],
                    next: 100,
                },
                250,
            )],
        )
        .unwrap();
    catalogue.commit().unwrap();
    let progress = catalogue.progress(root, b"big").unwrap().unwrap();
    assert!((progress.next, progress.version, progress.before) == (100, [3; 16], [250; 32]));
    assert!(catalogue.file(root, b"big").unwrap().is_none());
    catalogue
        .intend(intent(2), &[change(root, "big", Action::Added, 250)])
        .unwrap();
    catalogue.commit().unwrap();
    assert!(catalogue.progress(root, b"big").unwrap().is_none());
    assert!(catalogue.file(root, b"big").unwrap().is_some());
}

#[test]
fn only_what_two_walks_in_a_row_missed_is_twice_missing() {
    let lab = Lab::new();
    let mut catalogue = lab.open();
    let root = catalogue.source("wards").unwrap().root;
    let (once, twice) = (b"once".to_vec(), b"twice".to_vec());
    let walk = catalogue.begin_walk(root, 5).unwrap();
    catalogue
        .note_missing(root, walk, &[once, twice.clone()])
        .unwrap();
    assert_eq!(catalogue.end_whole_walk(root, walk).unwrap(), 2);
    assert!(
        catalogue
            .twice_missing(root, walk, b"", 10)
            .unwrap()
            .is_empty()
    );
    let walk = catalogue.begin_walk(root, 5).unwrap();
    catalogue
        .note_missing(root, walk, std::slice::from_ref(&twice))
        .unwrap();
    assert_eq!(catalogue.end_whole_walk(root, walk).unwrap(), 1);
    assert_eq!(
        catalogue.twice_missing(root, walk, b"", 10).unwrap(),
        [twice]
    );
    catalogue.forget_missing(root, true).unwrap();
    assert!(
        catalogue
            .twice_missing(root, walk, b"", 10)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn two_sources_with_the_same_paths_are_kept_apart() {
    let lab = Lab::new();
    let mut catalogue = lab.open();
    let (one, two) = (
        catalogue.source("one").unwrap().root,
        catalogue.source("two").unwrap().root,
    );
    catalogue
        .intend(intent(1), &[change(one, "a/x", Action::Added, 1)])
        .unwrap();
    catalogue.commit().unwrap();
    assert!(catalogue.file(two, b"a/x").unwrap().is_none());
    assert_eq!(catalogue.source("one").unwrap().root, one);
}

#[test]
fn a_file_of_another_layout_is_refused() {
    let lab = Lab::new();
    drop(lab.open());
    let other = rusqlite::Connection::open(&lab.path).unwrap();
    other.pragma_update(None, "user_version", 1).unwrap();
    drop(other);
    assert!(matches!(
        Catalogue::open(&lab.path),
        Err(CatalogueError::Version { found: 1, known: 2 })
    ));
}
