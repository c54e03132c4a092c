//! Every prefix of the spool's writes, with every seed of what survived, against the plainest model: a list.

use spool::simulated::Simulated;
use spool::{Acknowledgement, Advice, Digest, Spool, SpoolError, Standing, bundle_name, digest};
use std::collections::BTreeMap;
use std::io::ErrorKind;

struct Proof {
    bundle: String,
    bytes: Vec<u8>,
}

impl Acknowledgement for Proof {
    fn bundle(&self) -> &str {
        &self.bundle
    }
    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
    fn sha256(&self) -> Digest {
        digest(&self.bytes)
    }
}

fn body(sequence: u64) -> Vec<u8> {
    vec![sequence as u8; 100 + sequence as usize]
}

fn proof(sequence: u64) -> Proof {
    Proof {
        bundle: bundle_name("box", sequence),
        bytes: body(sequence),
    }
}

/// What the caller was told before the mains failed.
#[derive(Default)]
struct Told {
    appended: u64,
    /// In the queue by acknowledged operations.
    queued: BTreeMap<u64, ()>,
    /// An erase that was begun and not acknowledged.
    erasing: Option<u64>,
}

/// Appends five bundles and erases two, until something fails.
fn story(disk: Simulated, told: &mut Told) -> Result<(), SpoolError> {
    let mut spool = Spool::open(disk, "box", 0)?;
    for (appends, erases) in [(2, None), (1, Some(1)), (2, Some(3))] {
        for _ in 0..appends {
            let sequence = spool.next().sequence;
            spool.append(sequence, digest(&body(sequence)), &body(sequence))?;
            told.appended = sequence;
            told.queued.insert(sequence, ());
        }
        if let Some(sequence) = erases {
            told.erasing = Some(sequence);
            spool.erase(&proof(sequence))?;
            told.queued.remove(&sequence);
            told.erasing = None;
        }
    }
    Ok(())
}

fn steps_of_story() -> u64 {
    let disk = Simulated::new();
    story(disk.clone(), &mut Told::default()).unwrap();
    disk.steps()
}

fn check_recovered(disk: &Simulated, told: &Told, context: &str) -> u64 {
    let spool =
        Spool::open(disk.clone(), "box", 0).unwrap_or_else(|error| panic!("{context}: {error}"));
    let last = spool.next().sequence - 1;
    assert!(
        last == told.appended || last == told.appended + 1,
        "{context}: last {last}, told {}",
        told.appended
    );
    for sequence in 1..=last {
        let standing = spool.standing(sequence, digest(&body(sequence))).unwrap();
        let expected = if told.queued.contains_key(&sequence) || sequence > told.appended {
            Standing::Queued
        } else {
            Standing::Erased
        };
        let either = told.erasing == Some(sequence) && standing == Standing::Erased;
        assert!(
            standing == expected || either,
            "{context}: bundle {sequence} is {standing:?}"
        );
        assert_eq!(
            spool.standing(sequence, [0; 32]).unwrap(),
            Standing::OtherDigest,
            "{context}"
        );
    }
    assert_eq!(
        spool.next().previous,
        (last > 0).then(|| digest(&body(last))),
        "{context}"
    );
    last
}

#[test]
fn whatever_survives_a_cut_at_any_write_no_acknowledged_bundle_is_lost_and_no_number_given_twice() {
    for cut in 0..steps_of_story() {
        for seed in 0..64 {
            let context = format!("cut at step {cut}, seed {seed}");
            let (disk, mut told) = (Simulated::new(), Told::default());
            disk.cut_at(cut);
            assert!(story(disk.clone(), &mut told).is_err(), "{context}");
            let back = disk.restart(seed);
            check_recovered(&back, &told, &context);
            // and it goes on from there
            let mut after = Told {
                appended: check_recovered(&back, &told, &context),
                ..Told::default()
            };
            let mut spool = Spool::open(back.clone(), "box", 0).unwrap();
            after
                .queued
                .extend(spool.queued().map(|(sequence, _)| (sequence, ())));
            let next = spool.next().sequence;
            spool
                .append(next, digest(&body(next)), &body(next))
                .unwrap();
            after.appended = next;
            after.queued.insert(next, ());
            drop(spool);
            check_recovered(&back, &after, &context);
        }
    }
}

#[test]
fn a_reader_that_takes_each_bundle_at_once_never_sees_two_of_one_number() {
    for cut in 0..steps_of_story() {
        for seed in 0..64 {
            let disk = Simulated::new();
            disk.cut_at(cut);
            assert!(story(disk.clone(), &mut Told::default()).is_err());
            let back = disk.restart(seed);
            let mut spool = Spool::open(back.clone(), "box", 0).unwrap();
            // the second life's bundles have other bytes
            let next = spool.next().sequence;
            spool.append(next, digest(b"other"), b"other").unwrap();
            let mut seen = BTreeMap::new();
            for (name, bytes) in back
                .shown()
                .into_iter()
                .filter(|(name, _)| name.ends_with(".cms"))
            {
                let before = seen.entry(name).or_insert_with(|| bytes.clone());
                assert!(*before == bytes, "cut at step {cut}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_second_cut_while_recovering_from_the_first_is_survived_too() {
    for cut in 0..steps_of_story() {
        for seed in 0..8 {
            for second in 0..4 {
                let context = format!("cut at step {cut}, seed {seed}, second cut at {second}");
                let (disk, mut told) = (Simulated::new(), Told::default());
                disk.cut_at(cut);
                assert!(story(disk.clone(), &mut told).is_err());
                let back = disk.restart(seed);
                back.cut_at(second);
                drop(Spool::open(back.clone(), "box", 0));
                check_recovered(&back.restart(seed ^ 0xff), &told, &context);
            }
        }
    }
}

#[test]
fn a_failing_write_is_an_error_after_which_opening_anew_finds_an_allowed_state() {
    for step in 0..steps_of_story() {
        let (disk, mut told) = (Simulated::new(), Told::default());
        disk.fail_at(step, ErrorKind::Other);
        let error = story(disk.clone(), &mut told).expect_err("the failing step is seen");
        assert!(
            matches!(error.advice(), Advice::Retry | Advice::Reopen),
            "step {step}: {error}"
        );
        check_recovered(&disk, &told, &format!("failed step {step}"));
    }
}

#[test]
fn after_a_failed_sync_of_names_nothing_more_is_accepted_until_opened_anew() {
    let disk = Simulated::new();
    let mut spool = Spool::open(disk.clone(), "box", 0).unwrap();
    disk.fail_at(disk.steps() + 6, ErrorKind::Other);
    let error = spool.append(1, digest(&body(1)), &body(1)).unwrap_err();
    assert!(matches!(error, SpoolError::Commit { .. }));
    assert!(matches!(
        spool.append(1, digest(&body(1)), &body(1)),
        Err(SpoolError::InDoubt)
    ));
    let spool = Spool::open(disk, "box", 0).unwrap();
    assert_eq!(
        spool.standing(1, digest(&body(1))).unwrap(),
        Standing::Queued
    );
}

#[test]
fn a_full_disk_refuses_the_bundle_keeps_the_others_and_takes_it_later() {
    let disk = Simulated::new();
    let mut spool = Spool::open(disk.clone(), "box", 1000).unwrap();
    spool.append(1, digest(&body(1)), &body(1)).unwrap();
    disk.set_free_bytes(1000);
    assert!(matches!(
        spool.append(2, digest(&body(2)), &body(2)),
        Err(SpoolError::Full {
            free: 1000,
            needed: 1102
        })
    ));
    disk.set_free_bytes(u64::MAX);
    disk.fail_at(disk.steps(), ErrorKind::StorageFull);
    assert!(matches!(
        spool.append(2, digest(&body(2)), &body(2)),
        Err(SpoolError::Full { .. })
    ));
    spool.append(2, digest(&body(2)), &body(2)).unwrap();
    assert_eq!(spool.queued().count(), 2);
}

#[test]
fn only_a_receipt_for_these_very_bytes_erases_a_bundle() {
    let mut spool = Spool::open(Simulated::new(), "box", 0).unwrap();
    for sequence in 1..=70 {
        spool
            .append(sequence, digest(&body(sequence)), &body(sequence))
            .unwrap();
    }
    // 1 is older than what the head remembers, 70 is not
    for sequence in [1, 70] {
        let mut wrong = proof(sequence);
        wrong.bytes[0] ^= 1;
        assert!(matches!(
            spool.erase(&wrong),
            Err(SpoolError::ReceiptOfOther { .. })
        ));
        let alien = Proof {
            bundle: bundle_name("other", sequence),
            bytes: body(sequence),
        };
        assert!(matches!(
            spool.erase(&alien),
            Err(SpoolError::UnknownBundle { .. })
        ));
        assert!(!spool.erase(&proof(sequence)).unwrap().before);
        assert!(spool.erase(&proof(sequence)).unwrap().before);
    }
    assert!(matches!(
        spool.erase(&proof(71)),
        Err(SpoolError::UnknownBundle { .. })
    ));
    assert_eq!(
        spool.standing(1, digest(&body(1))).unwrap(),
        Standing::Forgotten
    );
    assert_eq!(spool.queued().count(), 68);
}

#[test]
fn a_number_out_of_sequence_or_other_bytes_than_announced_are_refused() {
    let mut spool = Spool::open(Simulated::new(), "box", 0).unwrap();
    assert!(matches!(
        spool.append(2, digest(b"x"), b"x"),
        Err(SpoolError::OutOfSequence {
            expected: 1,
            given: 2
        })
    ));
    assert!(matches!(
        spool.append(1, digest(b"y"), b"x"),
        Err(SpoolError::DigestOfAppend { sequence: 1 })
    ));
    assert_eq!(spool.next().sequence, 1);
}

#[test]
fn bundles_without_a_head_record_or_with_a_damaged_one_are_refused_not_renumbered() {
    use spool::Disk;
    let mut disk = Simulated::new();
    let mut spool = Spool::open(disk.clone(), "box", 0).unwrap();
    spool.append(1, digest(&body(1)), &body(1)).unwrap();
    drop(spool);
    disk.overwrite(".head", 20, b"xx").unwrap();
    // the other slot still holds the head before the append, and the bundle is adopted again
    assert_eq!(
        Spool::open(disk.clone(), "box", 0).unwrap().next().sequence,
        2
    );
    disk.overwrite(".head", 20, b"xx").unwrap();
    disk.overwrite(".head", 4096 + 20, b"xx").unwrap();
    assert!(matches!(
        Spool::open(disk.clone(), "box", 0),
        Err(SpoolError::HeadDamaged)
    ));
    disk.remove(".head").unwrap();
    assert!(matches!(
        Spool::open(disk, "box", 0),
        Err(SpoolError::HeadMissing { bundles: 1 })
    ));
}

#[test]
fn a_real_folder_keeps_the_queue_over_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(spool::Folder::open(folder.path()).unwrap(), "ward-7", 0).unwrap();
    spool.append(1, digest(b"sealed"), b"sealed").unwrap();
    drop(spool);
    let spool = Spool::open(spool::Folder::open(folder.path()).unwrap(), "ward-7", 0).unwrap();
    assert_eq!(
        spool
            .queued()
            .map(|(_, queued)| queued.name.clone())
            .collect::<Vec<_>>(),
        ["ward-7-0000000001.cms"]
    );
    assert_eq!(spool.next().previous, Some(digest(b"sealed")));
}

#[test]
fn a_second_writer_is_kept_out_while_the_first_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let first = spool::Folder::open(folder.path()).unwrap();
    let refused = spool::Folder::open(folder.path())
        .err()
        .map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::WouldBlock));
    drop(first);
    assert!(spool::Folder::open(folder.path()).is_ok());
}
