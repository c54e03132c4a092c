//! What the queue takes, keeps and refuses, on the simulated disk and in a real folder.

mod story;

use spool::simulated::{Fault, Simulated};
use spool::{
    Advice, Disk, Folder, Spool, SpoolError, Standing, bundle_name, contents, digest, recorded,
};
use std::io::ErrorKind;
use story::{BOX, body, proof};

const SLOTS: u64 = Simulated::BOUNDS.slots;

fn append(spool: &mut Spool<impl spool::Disk>, sequence: u64) -> Result<spool::Queued, SpoolError> {
    let bytes = body(sequence, 0);
    spool.append(sequence, digest(&bytes), &bytes)
}

#[test]
fn a_full_disk_refuses_the_bundle_keeps_the_others_and_takes_it_later() {
    let disk = Simulated::new();
    let mut spool = Spool::open(disk.clone(), BOX, 1000).unwrap();
    append(&mut spool, 1).unwrap();
    disk.set_free_bytes(1000);
    assert!(matches!(
        append(&mut spool, 2),
        Err(SpoolError::Full { free: 1000, needed }) if needed == 1000 + body(2, 0).len() as u64
    ));
    disk.set_free_bytes(u64::MAX);
    // and where the file system says so only while it is written
    disk.fail_at(disk.steps(), Fault::Short);
    assert!(matches!(
        append(&mut spool, 2),
        Err(SpoolError::Full { .. })
    ));
    append(&mut spool, 2).unwrap();
    assert_eq!(spool.queued().count(), 2);
}

#[test]
fn a_disk_that_fills_up_at_any_call_is_said_to_be_full_and_the_bundle_is_taken_later() {
    for step in 0..40 {
        let disk = Simulated::new();
        let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
        disk.fail_at(disk.steps() + step, Fault::Error(ErrorKind::StorageFull));
        for sequence in 1..=4 {
            let mut tries = 0;
            while let Err(error) = append(&mut spool, sequence) {
                match error {
                    SpoolError::Full { .. } => {}
                    // renaming and syncing names need no room; where they fail it is not known what is durable
                    SpoolError::Commit { .. } => {
                        spool = Spool::open(disk.clone(), BOX, 0).unwrap();
                        if spool.next().sequence > sequence {
                            break;
                        }
                    }
                    other => panic!("step {step}: {other}"),
                }
                tries += 1;
                assert!(tries < 2, "step {step}");
            }
        }
        assert_eq!(spool.queued().count(), 4);
    }
}

#[test]
fn after_a_step_that_failed_half_way_nothing_more_is_accepted_until_opened_anew() {
    let disk = Simulated::new();
    let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
    append(&mut spool, 1).unwrap();
    // two writes, sync, and the renaming fails
    disk.fail_at(disk.steps() + 3, Fault::Error(ErrorKind::Other));
    assert!(matches!(
        append(&mut spool, 2),
        Err(SpoolError::Commit { .. })
    ));
    assert!(matches!(append(&mut spool, 3), Err(SpoolError::InDoubt)));
    assert!(matches!(
        spool.erase(&proof(1, &body(1, 0))),
        Err(SpoolError::InDoubt)
    ));
    let spool = Spool::open(disk, BOX, 0).unwrap();
    assert_eq!(
        spool.standing(2, digest(&body(2, 0))).unwrap(),
        Standing::Queued
    );
}

#[test]
fn only_a_receipt_for_these_very_bytes_erases_a_bundle() {
    let disk = Simulated::new();
    let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
    for sequence in 1..=70 {
        append(&mut spool, sequence).unwrap();
    }
    for sequence in [1, 70] {
        let mut wrong = body(sequence, 0);
        wrong[0] ^= 1;
        assert!(matches!(
            spool.erase(&proof(sequence, &wrong)),
            Err(SpoolError::ReceiptOfOther { .. })
        ));
        let mut alien = proof(sequence, &body(sequence, 0));
        alien.bundle = bundle_name("other", sequence);
        assert!(matches!(
            spool.erase(&alien),
            Err(SpoolError::UnknownBundle { .. })
        ));
        assert!(
            !spool
                .erase(&proof(sequence, &body(sequence, 0)))
                .unwrap()
                .before
        );
        assert!(
            spool
                .erase(&proof(sequence, &body(sequence, 0)))
                .unwrap()
                .before
        );
    }
    assert!(matches!(
        spool.erase(&proof(71, &body(71, 0))),
        Err(SpoolError::UnknownBundle { .. })
    ));
    let standing = |spool: &Spool<Simulated>, sequence| {
        spool
            .standing(sequence, digest(&body(sequence, 0)))
            .unwrap()
    };
    assert_eq!(standing(&spool, 1), Standing::Erased);
    assert_eq!(standing(&spool, 71), Standing::NeverAppended);
    // released and written over, it is forgotten; the newest is not
    spool.release(1);
    spool.release(70);
    for sequence in 71..71 + 2 * SLOTS {
        append(&mut spool, sequence).unwrap();
    }
    assert_eq!(standing(&spool, 1), Standing::Forgotten);
    assert_eq!(spool.queued().count(), 68 + 2 * SLOTS as usize);
}

#[test]
fn a_number_out_of_sequence_or_other_bytes_than_announced_are_refused() {
    let mut spool = Spool::open(Simulated::new(), BOX, 0).unwrap();
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
fn a_box_that_was_renamed_keeps_its_queue_and_goes_on_with_the_numbers() {
    let disk = Simulated::new();
    let mut spool = Spool::open(disk.clone(), "old-name", 0).unwrap();
    append(&mut spool, 1).unwrap();
    append(&mut spool, 2).unwrap();
    drop(spool);
    let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
    append(&mut spool, 3).unwrap();
    let names: Vec<_> = spool.queued().map(|(_, queued)| queued.name).collect();
    assert_eq!(
        names,
        [
            bundle_name("old-name", 1),
            bundle_name("old-name", 2),
            bundle_name(BOX, 3)
        ]
    );
    let mut receipt = proof(1, &body(1, 0));
    assert!(spool.erase(&receipt).is_err());
    receipt.bundle = bundle_name("old-name", 1);
    assert!(!spool.erase(&receipt).unwrap().before);
}

#[test]
fn two_bundles_of_one_number_are_refused() {
    for second in [".erased-0000000001", "other-0000000001.cms"] {
        let mut disk = Simulated::new();
        let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
        append(&mut spool, 1).unwrap();
        drop(spool);
        disk.create(second).unwrap();
        assert!(matches!(
            Spool::open(disk, BOX, 0),
            Err(SpoolError::TwoOfOneNumber { sequence: 1 })
        ));
    }
}

/// Bytes of all files but those of the queue.
fn bytes_beside_the_queue(disk: &Simulated) -> u64 {
    let files = disk.list().unwrap();
    let beside = files.iter().filter(|(name, _)| !name.ends_with(".cms"));
    beside.map(|(_, length)| length).sum()
}

#[test]
fn a_folder_of_another_format_is_refused_and_left_as_it_is() {
    for name in [
        "box-0000000001.cms",
        ".append-0000000001",
        ".erased-0000000001",
    ] {
        let mut disk = Simulated::new();
        disk.create(name).unwrap();
        disk.write(name, 0, &[7; 1000]).unwrap();
        let steps = disk.steps();
        let error = Spool::open(disk.clone(), BOX, 0).err().unwrap();
        assert!(matches!(error, SpoolError::OtherFormat), "{name}: {error}");
        assert_eq!(error.advice(), Advice::Stop);
        assert_eq!(disk.steps(), steps);
    }
}

#[test]
fn a_queue_whose_list_of_erasures_is_lost_or_rotten_keeps_every_bundle() {
    for lost in [true, false] {
        // given a bundle whose erasure is durable in the list only
        let disk = Simulated::new();
        let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
        append(&mut spool, 1).unwrap();
        append(&mut spool, 2).unwrap();
        spool.erase(&proof(1, &body(1, 0))).unwrap();
        let disk = disk.restart_choosing(&mut || false);
        if lost {
            disk.lose(".erasures");
        } else {
            disk.rot(".erasures", |bytes| bytes[16] ^= 1);
        }
        // then it is sent once more, and the receipt erases it again
        let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
        assert_eq!(spool.queued().count(), 2);
        assert!(!spool.erase(&proof(1, &body(1, 0))).unwrap().before);
        append(&mut spool, 3).unwrap();
        let spool = Spool::open(disk.restart(0), BOX, 0).unwrap();
        assert_eq!(spool.queued().map(|it| it.0).collect::<Vec<_>>(), [2, 3]);
    }
}

#[test]
fn what_erased_bundles_keep_is_bounded_and_nothing_on_a_full_disk() {
    let bounds = Simulated::BOUNDS;
    let disk = Simulated::new();
    let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
    for sequence in 1..=40 {
        append(&mut spool, sequence).unwrap();
    }
    // slots of nothing, records, the list; what is kept, what waits to be given back
    let rest = 40 * bounds.grain_bytes + 512;
    for sequence in 1..=40 {
        spool.erase(&proof(sequence, &body(sequence, 0))).unwrap();
        assert!(bytes_beside_the_queue(&disk) <= rest + bounds.kept_bytes + bounds.owed_bytes);
    }
    for sequence in 1..=40 {
        let held = spool.held(sequence).unwrap().unwrap();
        assert_eq!(held.sha256, digest(&body(sequence, 0)));
        spool.release(sequence);
    }
    assert!(disk.list().unwrap().len() <= bounds.kept_files + SLOTS as usize + 2);
    // and a large one on a full disk
    let large = vec![1; 100 * 512];
    spool.append(41, digest(&large), &large).unwrap();
    let before = bytes_beside_the_queue(&disk);
    disk.set_free_bytes(0);
    spool.erase(&proof(41, &large)).unwrap();
    assert!(bytes_beside_the_queue(&disk) <= before + bounds.grain_bytes);
}

#[test]
fn bundles_that_wait_waste_no_more_than_the_bounds_allow() {
    let bounds = Simulated::BOUNDS;
    let disk = Simulated::new();
    let mut spool = Spool::open(disk.clone(), BOX, 0).unwrap();
    let mut next = 1;
    let mut put = |spool: &mut Spool<Simulated>, size: usize| {
        let bytes = vec![next as u8; size];
        spool.append(next, digest(&bytes), &bytes).unwrap();
        next += 1;
        (next - 1, bytes)
    };
    // given files that many larger bundles have left
    for _ in 0..16 {
        let (number, bytes) = put(&mut spool, 1400);
        spool.erase(&proof(number, &bytes)).unwrap();
        spool.release(number);
    }
    // when small ones wait
    for _ in 0..40 {
        put(&mut spool, 100);
    }
    let needed = 40 * bounds.grain_bytes;
    let most = needed + bounds.slack_files as u64 * bounds.slack_bytes;
    assert!((needed + 1..=most).contains(&spool.queued_bytes()));
    let files = disk.list().unwrap();
    let queued = files.iter().filter(|(name, _)| name.ends_with(".cms"));
    assert_eq!(queued.map(|it| it.1).sum::<u64>(), spool.queued_bytes());
}

#[test]
fn a_real_folder_keeps_the_queue_over_reopening_and_readers_see_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Spool::open(Folder::open(folder.path()).unwrap(), "ward-7", 0).unwrap();
    let mut spool = open();
    for sequence in 1..=40 {
        append(&mut spool, sequence).unwrap();
    }
    // a smaller bundle in a file that a larger one has left
    for sequence in 1..=20 {
        let mut done = proof(sequence, &body(sequence, 0));
        done.bundle = bundle_name("ward-7", sequence);
        spool.erase(&done).unwrap();
        spool.release(sequence);
    }
    drop(spool);
    let mut spool = open();
    assert_eq!(spool.next().previous, Some(digest(&body(40, 0))));
    for sequence in 41..=70 {
        append(&mut spool, sequence).unwrap();
    }
    for number in 21..=70 {
        let path = folder.path().join(bundle_name("ward-7", number));
        let file = std::fs::read(&path).unwrap();
        assert_eq!(contents(&file), Some(&body(number, 0)[..]));
        assert_eq!(
            recorded(&path).unwrap().map(|bundle| bundle.sha256),
            Some(digest(&body(number, 0)))
        );
    }
    assert_eq!(spool.queued().count(), 50);
}

#[test]
fn a_second_writer_is_kept_out_while_the_first_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let first = Folder::open(folder.path()).unwrap();
    let refused = Folder::open(folder.path()).err().map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::WouldBlock));
    drop(first);
    assert!(Folder::open(folder.path()).is_ok());
}
