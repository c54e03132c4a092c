//! The catalogue against the plainest model: a map from path to version. Bundles of random changes are intended, and
//! committed or rolled back; the mains fail at each transaction, before it, within its writing, and after it.

use catalogue::{
    Action, Catalogue, Change, Digest, Directory, Honesty, Intent, Known, Stamp, Stamps, Standing,
    Subtree,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Small, so that few files part a folder.
const PART_BYTES: usize = 400;

type Version = (u64, i64, Digest);
type Model = BTreeMap<Vec<u8>, Version>;

#[derive(Clone, Debug)]
enum Do {
    Put(String, u64, i64),
    Remove(prop::sample::Index),
    Rename(prop::sample::Index, String),
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..3u8, 0..4u8, 0..3u8, 0..30u32, 0..3u8).prop_map(|(group, patient, kind, order, flag)| {
            format!("{group:03}/{patient:06}/20240{}01/OMP-0{kind}/{patient:06}_20240{}01_OMP-0{kind}_{order:015}_20240{}01{:09}_01_{flag}", 1 + order % 3, 1 + order % 3, 1 + order % 3, order * 7919)
        }),
        2 => "[ab]{1,2}(/[ab]{1,2}){0,3}/f[a-c]{1,3}",
        1 => "f[a-z]{1,4}",
        2 => "flat/[a-z]{1,6}",
    ]
}

fn act() -> impl Strategy<Value = Do> {
    prop_oneof![
        5 => (path(), 0..100_000u64, any::<u32>()).prop_map(|(path, size, time)| Do::Put(path, size, i64::from(time) * 1_234_567)),
        1 => any::<prop::sample::Index>().prop_map(Do::Remove),
        1 => (any::<prop::sample::Index>(), path()).prop_map(|(from, to)| Do::Rename(from, to)),
    ]
}

/// A path that is a folder of one file cannot be a file of another.
fn fits(model: &Model, path: &[u8]) -> bool {
    let below = [path, b"/"].concat();
    let above = |at: usize| model.contains_key(&path[..at]);
    !model
        .range(below.clone()..)
        .next()
        .is_some_and(|(known, _)| known.starts_with(&below))
        && !path
            .iter()
            .enumerate()
            .any(|(at, byte)| *byte == b'/' && above(at))
}

/// The changes of a bundle, and the model after it. A path occurs once in a bundle.
fn bundle(root: Directory, model: &Model, acts: &[Do]) -> (Vec<Change>, Model) {
    let (mut after, mut changes, mut touched) = (model.clone(), Vec::new(), BTreeSet::new());
    for act in acts {
        let pick = |index: &prop::sample::Index| {
            let free: Vec<_> = model
                .keys()
                .filter(|path| !touched.contains(*path))
                .cloned()
                .collect();
            (!free.is_empty()).then(|| index.get(&free).clone())
        };
        let (path, action, version) = match act {
            Do::Put(path, size, mtime) => {
                let path = path.clone().into_bytes();
                let action = if after.contains_key(&path) {
                    Action::Changed
                } else {
                    Action::Added
                };
                (path, action, (*size, *mtime, [*size as u8; 32]))
            }
            Do::Remove(index) => {
                let Some(path) = pick(index) else { continue };
                let version = after[&path];
                (path, Action::Removed, version)
            }
            Do::Rename(index, to) => {
                let Some(origin) = pick(index) else { continue };
                let version = after[&origin];
                (
                    to.clone().into_bytes(),
                    Action::FlagChanged { origin },
                    version,
                )
            }
        };
        if touched.contains(&path) || (action != Action::Removed && !fits(&after, &path)) {
            continue;
        }
        touched.insert(path.clone());
        match &action {
            Action::Removed => drop(after.remove(&path)),
            Action::FlagChanged { origin } => {
                if after.contains_key(&path) {
                    continue;
                }
                touched.insert(origin.clone());
                after.remove(origin);
                after.insert(path.clone(), version);
            }
            _ => drop(after.insert(path.clone(), version)),
        }
        changes.push(Change {
            root,
            path,
            action,
            size_bytes: version.0,
            mtime_ns: version.1,
            sha256: version.2,
        });
    }
    (changes, after)
}

fn same(known: &Known, version: &Version) -> bool {
    (known.size_bytes, known.mtime_ns) == (version.0, version.1)
        && known.mark == catalogue::mark(&version.2)
}

fn walk_part(
    part: &Subtree,
    path: &[u8],
    found: &mut BTreeMap<Vec<u8>, Known>,
    folders: &mut Vec<Vec<u8>>,
) {
    folders.push(path.to_vec());
    let join = |name: &[u8]| {
        if path.is_empty() {
            name.to_vec()
        } else {
            [path, b"/", name].concat()
        }
    };
    for file in &part.files {
        found.insert(join(&file.name), file.clone());
    }
    for (name, below) in &part.folders {
        assert!(!below.is_empty(), "an empty folder is kept");
        walk_part(below, &join(name), found, folders);
    }
}

/// All that the catalogue holds, found from the root downwards, and again path by path.
fn check(catalogue: &Catalogue, root: Directory, model: &Model) {
    let (mut found, mut folders, mut open) = (BTreeMap::new(), Vec::new(), vec![Vec::new()]);
    while let Some(path) = open.pop() {
        let Standing::Open(directory) = catalogue.standing(root, &path).unwrap() else {
            panic!("not open")
        };
        let join = |name: &[u8]| {
            if path.is_empty() {
                name.to_vec()
            } else {
                [&path, &b"/"[..], name].concat()
            }
        };
        for file in catalogue.files_within(directory, &path, b"", None).unwrap() {
            found.insert(join(&file.name), file);
        }
        for child in catalogue.children(directory).unwrap() {
            let path = join(&child.name);
            if child.open {
                open.push(path);
            } else {
                let blob = catalogue.blob(child.directory).unwrap();
                let part = Subtree::decode(&path, &blob, catalogue::Depth::Files).unwrap();
                assert!(!part.is_empty());
                walk_part(&part, &path, &mut found, &mut folders);
            }
        }
    }
    assert!(
        found.keys().eq(model.keys()),
        "{:?} is not {:?}",
        found
            .keys()
            .map(|k| String::from_utf8_lossy(k))
            .collect::<Vec<_>>(),
        model
            .keys()
            .map(|k| String::from_utf8_lossy(k))
            .collect::<Vec<_>>()
    );
    assert!(
        found
            .iter()
            .zip(model.values())
            .all(|((_, known), version)| same(known, version))
    );
    for (path, version) in model {
        assert!(
            catalogue
                .file(root, path)
                .unwrap()
                .is_some_and(|known| same(&known, version))
        );
    }
    assert_eq!(catalogue.files_of(root).unwrap(), model.len() as u64);
    for folder in folders {
        let depth = if folder.is_empty() {
            0
        } else {
            folder.len() + 1
        };
        let names: Vec<_> = model
            .keys()
            .filter(|path| {
                path.starts_with(&folder)
                    && path.get(folder.len()) == Some(&b'/')
                    && !path[depth..].contains(&b'/')
            })
            .map(|path| path[depth..].to_vec())
            .collect();
        let known: Vec<_> = catalogue
            .files(root, &folder)
            .unwrap()
            .into_iter()
            .map(|file| file.name)
            .collect();
        assert_eq!(known, names);
    }
}

fn journal(path: &Path) -> PathBuf {
    path.with_extension("sqlite-wal")
}

/// What the disk holds after a mains cut, when the journal was written up to this length.
fn after_cut(path: &Path, journal_bytes: u64) -> (tempfile::TempDir, Catalogue) {
    let folder = tempfile::tempdir_in(path.parent().unwrap()).unwrap();
    let copy = folder.path().join("catalogue.sqlite");
    std::fs::copy(path, &copy).unwrap();
    let mut bytes = std::fs::read(journal(path)).unwrap_or_default();
    bytes.truncate(journal_bytes as usize);
    std::fs::write(journal(&copy), bytes).unwrap();
    let catalogue = Catalogue::open_with_parts_of(&copy, PART_BYTES).unwrap();
    (folder, catalogue)
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(journal(path)).map_or(0, |data| data.len())
}

fn story(bundles: Vec<(Vec<Do>, bool, u8)>) {
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let path = folder.path().join("catalogue.sqlite");
    let mut catalogue = Catalogue::open_with_parts_of(&path, PART_BYTES).unwrap();
    let root = catalogue.source("wards").unwrap().root;
    let mut model = Model::new();
    for (number, (acts, kept, cut)) in (1..).zip(bundles) {
        let (changes, after) = bundle(root, &model, &acts);
        let intent = Intent {
            sequence: number,
            sha256: [number as u8; 32],
            entries: changes.len() as u64,
            bytes: 1,
        };
        catalogue.intend(intent, &changes).unwrap();
        let before_commit = length(&path);
        if !kept {
            catalogue.roll_back().unwrap();
            check(&catalogue, root, &model);
            continue;
        }
        {
            let (_folder, mut revived) = after_cut(&path, before_commit);
            assert_eq!(revived.intent().unwrap(), Some(intent));
            check(&revived, root, &model);
            revived.commit().unwrap();
            check(&revived, root, &after);
        }
        catalogue.commit().unwrap();
        let committed = length(&path);
        check(&catalogue, root, &after);
        // a checkpoint of the journal begins it anew: then there is no prefix to cut
        if committed > before_commit {
            let torn = before_commit + (committed - before_commit - 1) * u64::from(cut) / 255;
            let (_folder, mut revived) = after_cut(&path, torn);
            assert_eq!(
                revived.intent().unwrap(),
                Some(intent),
                "a torn commit has no effect"
            );
            check(&revived, root, &model);
            revived.commit().unwrap();
            check(&revived, root, &after);
            let (_folder, revived) = after_cut(&path, committed);
            assert_eq!(revived.intent().unwrap(), None);
            check(&revived, root, &after);
        }
        model = after;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if std::env::var("COLLECTOR_TEST_LENGTH").is_ok_and(|length| length == "full") { 1000 } else { 24 }, ..ProptestConfig::default() })]
    #[test]
    fn after_any_bundles_and_cuts_the_catalogue_holds_what_a_plain_map_holds(
        bundles in proptest::collection::vec((proptest::collection::vec(act(), 0..60), prop::bool::weighted(0.85), any::<u8>()), 1..8)
    ) {
        story(bundles);
    }
}

#[test]
fn a_change_of_names_clears_the_stamp_of_its_folder_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalogue = Catalogue::open(&folder.path().join("catalogue.sqlite")).unwrap();
    let root = catalogue.source("wards").unwrap().root;
    let add = |catalogue: &mut Catalogue, number: u64, path: &str| {
        let change = Change {
            root,
            path: path.into(),
            action: Action::Added,
            size_bytes: 1,
            mtime_ns: 1,
            sha256: [1; 32],
        };
        catalogue
            .intend(
                Intent {
                    sequence: number,
                    sha256: [0; 32],
                    entries: 1,
                    bytes: 1,
                },
                &[change],
            )
            .unwrap();
        catalogue.commit().unwrap();
    };
    add(&mut catalogue, 1, "p/a/x");
    add(&mut catalogue, 2, "p/b/x");
    let stamps = ["", "a", "b"].map(|path| (path.as_bytes().to_vec(), Some(Stamp::of(7))));
    let stamps = [Stamps {
        path: b"p".to_vec(),
        folders: stamps.to_vec(),
    }];
    catalogue
        .checkpoint(root, b"p", true, Honesty::default(), &stamps)
        .unwrap();
    let stamped = |catalogue: &Catalogue| {
        ["p", "p/a", "p/b"].map(|path| {
            catalogue
                .folder(root, path.as_bytes())
                .unwrap()
                .unwrap()
                .stamp
                .is_some()
        })
    };
    assert_eq!(stamped(&catalogue), [true; 3]);
    add(&mut catalogue, 3, "p/a/y");
    assert_eq!(stamped(&catalogue), [true, false, true]);
    add(&mut catalogue, 4, "p/c/x");
    assert_eq!(stamped(&catalogue), [false, false, true]);
}
