//! `open` restores what the box told, once and in order, and refuses the rest.

mod scene;

use proptest::prelude::*;
use scene::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

#[test]
fn every_file_is_restored_under_its_raw_name() {
    let mut scene = Scene::new();
    scene.send(&[
        added(b"000/\x83\x65\n \"", b"one"),
        added(b"empty", b""),
        added(&[b'n'; 255], b"two"),
    ]);
    let report = scene.open();
    assert!(report.is_clean());
    assert_eq!((report.bundles, report.files, report.bytes), (1, 3, 6));
    assert_eq!(
        scene.store(),
        tree(&[
            (b"000/\x83\x65\n \"", b"one"),
            (b"empty", b""),
            (&[b'n'; 255], b"two")
        ])
    );
}

#[test]
fn a_second_run_changes_nothing() {
    let mut scene = Scene::new();
    scene.send(&[added(b"a", b"one"), added(b"b_1", b"two")]);
    scene.send(&[changed(b"a", b"three"), renamed(b"b_1", b"b_2")]);
    scene.open();
    let facts = |scene: &Scene| {
        let inode = |path: &str| {
            fs::metadata(scene.output().join(path))
                .map(|m| (m.ino(), m.ctime_nsec()))
                .unwrap()
        };
        (
            scene.below(""),
            inode("box-1/dpc/a"),
            inode("box-1/dpc/b_2"),
        )
    };
    let before = facts(&scene);
    let report = scene.open();
    assert_eq!(
        (report.bundles, report.already_applied, report.files),
        (0, 2, 0)
    );
    assert_eq!(facts(&scene), before);
}

#[test]
fn a_bundle_that_comes_twice_is_applied_once() {
    let mut scene = Scene::new();
    scene.send(&[added(b"a", b"one")]);
    let first = scene.input().join("box-1-0000000001.cms");
    fs::create_dir(scene.input().join("disc")).unwrap();
    fs::copy(&first, scene.input().join("disc/box-1-0000000001.cms")).unwrap();
    let report = scene.open();
    assert_eq!(
        (report.bundles, report.already_applied, report.files),
        (1, 1, 1)
    );
    assert!(report.is_clean());
}

#[test]
fn a_missing_bundle_is_reported_and_holds_back_those_after_it() {
    let mut scene = Scene::new();
    scene.send(&[added(b"a", b"one")]);
    let late = [
        scene.seal(&[changed(b"a", b"two")]),
        scene.seal(&[removed(b"a")]),
    ];
    scene.send(&[added(b"a", b"four")]);
    scene.send(&[added(b"b", b"five")]);
    let report = scene.open();
    let gap = &report.gaps[0];
    assert_eq!(
        (gap.box_name.as_str(), gap.first, gap.last, gap.waiting),
        ("box-1", 2, 3, 2)
    );
    assert_eq!(scene.store(), tree(&[(b"a", b"one")]));
    late.iter().for_each(|sealed| scene.lay(sealed));
    assert!(scene.open().is_clean());
    assert_eq!(scene.store(), tree(&[(b"a", b"four"), (b"b", b"five")]));
}

#[test]
fn another_bundle_with_an_applied_number_is_an_alarm() {
    let mut scene = Scene::new();
    scene.send(&[added(b"a", b"one")]);
    scene.open();
    let other = scene.seal_as(&[added(b"a", b"forged")], 1, None);
    scene.lay(&other);
    let report = scene.open();
    assert_eq!(report.refused.len(), 1);
    assert!(report.refused[0].alarm);
    assert!(
        report.refused[0]
            .reason
            .contains("another bundle with number 1")
    );
    assert_eq!(scene.store(), tree(&[(b"a", b"one")]));
}

#[test]
fn a_bundle_that_does_not_follow_the_last_one_is_refused() {
    let mut scene = Scene::new();
    scene.send(&[added(b"a", b"one")]);
    let wrong = scene.seal_as(
        &[added(b"b", b"two")],
        2,
        Some(bundle::Digest::of(b"another")),
    );
    scene.lay(&wrong);
    let report = scene.open();
    assert!(
        report.refused[0]
            .reason
            .contains("does not follow the bundle with number 1")
    );
    assert_eq!(scene.store(), tree(&[(b"a", b"one")]));
    // and the right one is taken once it is there
    scene.send(&[added(b"b", b"right")]);
    assert!(scene.open().is_clean());
}

#[test]
fn a_damaged_bundle_stays_where_it_is_and_the_right_one_is_taken_later() {
    let mut scene = Scene::new();
    let sealed = scene.seal(&[added(b"a", b"one")]);
    let path = scene.input().join("box-1-0000000001.cms");
    let mut damaged = sealed.bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&path, &damaged).unwrap();
    let report = scene.open();
    assert!(
        report.refused[0]
            .reason
            .contains("the authentication tag does not fit"),
        "{}",
        report.refused[0].reason
    );
    assert_eq!(fs::read(&path).unwrap(), damaged);
    assert!(scene.store().is_empty());
    fs::write(&path, &sealed.bytes).unwrap();
    assert!(scene.open().is_clean());
}

#[test]
fn a_revoked_signer_and_one_of_another_authority_are_refused() {
    for (signer, reason) in [
        ("wrong/sealing-box-revoked", "CertRevoked"),
        (
            "wrong/sealing-box",
            "the signer's certificate is not one of the trusted authority",
        ),
    ] {
        let mut scene = Scene::signed_by(signer);
        scene.send(&[added(b"a", b"one")]);
        let report = scene.open();
        assert!(
            report.refused[0].reason.contains(reason),
            "{}",
            report.refused[0].reason
        );
        assert!(scene.below("box-1").is_empty());
    }
}

#[test]
fn what_is_replaced_or_removed_is_kept() {
    let mut scene = Scene::new();
    scene.send(&[
        added(b"x/a", b"one"),
        added(b"x/b", b"two"),
        added(b"x/c_1", b"three"),
    ]);
    scene.send(&[
        changed(b"x/a", b"ONE"),
        removed(b"x/b"),
        renamed(b"x/c_1", b"x/c_2"),
        added(b"x/c_1", b"new"),
    ]);
    let report = scene.open();
    assert_eq!((report.replaced, report.removed, report.renamed), (1, 1, 1));
    assert_eq!(
        scene.store(),
        tree(&[(b"x/a", b"ONE"), (b"x/c_1", b"new"), (b"x/c_2", b"three")])
    );
    assert_eq!(
        scene.below(".versions/box-1/dpc"),
        tree(&[(b"0000000002-000001/x/a", b"one")])
    );
    assert_eq!(
        scene.below(".removed/box-1/dpc"),
        tree(&[(b"0000000002-000002/x/b", b"two")])
    );
}

#[test]
fn a_folder_and_a_file_may_take_each_others_place() {
    let mut scene = Scene::new();
    scene.send(&[added(b"a", b"file"), added(b"b/c", b"below")]);
    scene.send(&[
        added(b"a/x", b"new"),
        removed(b"a"),
        added(b"b", b"file now"),
        removed(b"b/c"),
    ]);
    let report = scene.open();
    assert!(report.is_clean());
    // a walk may find the new before it misses the old: the late removals are of what was set aside already
    assert_eq!(
        scene.store(),
        tree(&[(b"a/x", b"new"), (b"b", b"file now")])
    );
    assert_eq!(report.absent, 2);
    let aside = scene.below(".removed/box-1/dpc");
    assert_eq!(
        aside,
        tree(&[
            (b"0000000002-000001/a", b"file"),
            (b"0000000002-000003/b/c", b"below")
        ])
    );
    assert_eq!(report.files, 4);
}

#[test]
fn a_rename_of_what_is_not_there_is_a_fault_and_the_rest_is_applied() {
    let mut scene = Scene::new();
    scene.send(&[renamed(b"no_1", b"no_2"), added(b"a", b"one")]);
    let report = scene.open();
    assert_eq!((report.faults.len(), report.faults[0].entry), (1, 1));
    assert_eq!(scene.store(), tree(&[(b"a", b"one")]));
}

#[test]
fn a_name_that_this_file_system_does_not_take_is_a_fault_and_the_rest_is_applied() {
    let long = "\u{60a3}".repeat(200).into_bytes();
    let mut scene = Scene::new();
    scene.send(&[
        added(&long, b"one"),
        added(b"a_1", b"two"),
        renamed(b"a_1", &long),
        added(b"b", b"three"),
    ]);
    let report = scene.open();
    assert_eq!(
        report
            .faults
            .iter()
            .map(|fault| fault.entry)
            .collect::<Vec<_>>(),
        [1, 3]
    );
    assert_eq!(scene.store(), tree(&[(b"a_1", b"two"), (b"b", b"three")]));
}

#[test]
fn a_file_in_parts_appears_when_it_is_whole() {
    let whole: Vec<u8> = (0..1000u32).flat_map(u32::to_be_bytes).collect();
    let mut scene = Scene::new();
    scene.send(&[part(b"big", 1, &whole, 0, 1500)]);
    scene.send(&[part(b"big", 1, &whole, 1500, 1500), added(b"a", b"one")]);
    assert!(scene.open().is_clean());
    assert_eq!(scene.store(), tree(&[(b"a", b"one")]));
    scene.send(&[part(b"big", 1, &whole, 3000, 1000)]);
    let report = scene.open();
    assert_eq!((report.parts, report.files, report.bytes), (1, 1, 4000));
    assert_eq!(scene.store(), tree(&[(b"a", b"one"), (b"big", &whole)]));
    assert!(scene.below(".state/box-1/parts").is_empty());
}

#[test]
fn parts_of_two_versions_never_mix() {
    let (old, new) = (vec![1; 300], vec![2; 300]);
    let mut scene = Scene::new();
    scene.send(&[
        part(b"big", 1, &old, 0, 100),
        part(b"big", 1, &old, 100, 100),
    ]);
    scene.send(&[
        part(b"big", 2, &new, 0, 150),
        part(b"big", 2, &new, 150, 150),
    ]);
    assert!(scene.open().is_clean());
    assert_eq!(scene.store(), tree(&[(b"big", &new)]));
    // the old version's end comes late: it continues nothing
    scene.send(&[part(b"big", 1, &old, 200, 100)]);
    assert_eq!(scene.open().faults.len(), 1);
    assert_eq!(scene.store(), tree(&[(b"big", &new)]));
}

#[test]
fn a_missing_part_is_a_fault_and_nothing_is_published() {
    let whole = vec![7; 300];
    let mut scene = Scene::new();
    scene.send(&[
        part(b"big", 1, &whole, 0, 100),
        part(b"big", 1, &whole, 200, 100),
    ]);
    assert_eq!(scene.open().faults.len(), 1);
    assert!(scene.store().is_empty());
}

#[test]
fn two_runs_at_once_are_refused() {
    let scene = Scene::new();
    scene.open();
    let lock = fs::File::open(scene.output().join(".state/lock")).unwrap();
    lock.lock().unwrap();
    let refused = datacentre::open::run(&scene.options(), &mut |_| {})
        .map(|_| ())
        .unwrap_err();
    assert!(refused.to_string().contains("another run is working on"));
}

#[test]
fn a_damaged_history_stops_the_run() {
    let mut scene = Scene::new();
    scene.send(&[added(b"a", b"one")]);
    scene.open();
    let path = scene.output().join(".state/box-1/history");
    fs::write(
        &path,
        fs::read_to_string(&path)
            .unwrap()
            .replace("0000000001", "0000000007"),
    )
    .unwrap();
    let stopped = datacentre::open::run(&scene.options(), &mut |_| {})
        .map(|_| ())
        .unwrap_err();
    assert!(
        stopped
            .to_string()
            .contains("the history of box box-1 is damaged")
    );
}

/// A file comes: what stood where its folders are, and what was below it, is gone.
fn put(store: &mut BTreeMap<Vec<u8>, Vec<u8>>, path: &[u8], content: Vec<u8>) {
    let below = |path: &[u8], folder: &[u8]| path.starts_with(&[folder, b"/"].concat());
    store.retain(|other, _| !below(other, path) && !below(path, other));
    store.insert(path.to_vec(), content);
}

/// The plainest store: whatever is told last is true.
fn model(tellings: &[Tell]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut store = BTreeMap::new();
    for tell in tellings {
        match tell {
            Tell::Added(path, content) | Tell::Changed(path, content) => {
                put(&mut store, path, content.clone());
            }
            Tell::FlagChanged(from, to) => {
                if let Some(content) = store.remove(from) {
                    put(&mut store, to, content);
                }
            }
            Tell::Removed(path) => {
                store.remove(path);
            }
            Tell::Part(..) => {}
        }
    }
    store
}

fn any_tell() -> impl Strategy<Value = Tell> {
    let path = || {
        prop_oneof![
            Just(b"a".to_vec()),
            Just(b"d/b".to_vec()),
            Just(b"d/c".to_vec()),
            Just(b"d".to_vec()),
            Just(b"d/b/x".to_vec())
        ]
    };
    let content = || proptest::collection::vec(0..3u8, 0..3);
    prop_oneof![
        (path(), content()).prop_map(|(p, c)| Tell::Added(p, c)),
        (path(), content()).prop_map(|(p, c)| Tell::Changed(p, c)),
        (path(), path()).prop_map(|(f, t)| Tell::FlagChanged(f, t)),
        path().prop_map(Tell::Removed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn the_store_is_what_the_plainest_model_says(
        bundles in proptest::collection::vec(proptest::collection::vec(any_tell(), 0..12), 1..4)
    ) {
        let mut scene = Scene::new();
        for tellings in &bundles {
            scene.send(tellings);
        }
        let report = scene.open();
        prop_assert_eq!(report.bundles, bundles.len() as u64);
        prop_assert!(report.refused.is_empty());
        prop_assert_eq!(scene.store(), model(&bundles.concat()));
        // nothing of the contents is lost: each is in the store, among the versions or among the removed, or was the same
        let told: Vec<Vec<u8>> = bundles.concat().iter().filter_map(|tell| match tell {
            Tell::Added(_, content) | Tell::Changed(_, content) => Some(content.clone()),
            _ => None,
        }).collect();
        let kept: Vec<Vec<u8>> = scene.below("").into_values().collect();
        prop_assert!(told.iter().all(|content| kept.contains(content)));
    }
}
