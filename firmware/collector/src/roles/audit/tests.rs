use super::record::follow_all;
use super::trail::RESERVE_BYTES;
use super::*;
use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const TIME: &str = "2026-11-22T00:00:00Z";

fn fields(number: usize) -> Map<String, Value> {
    json!({ "bundle": format!("box-{number}"), "bytes": number })
        .as_object()
        .unwrap()
        .clone()
}

fn append(trail: &mut Trail<impl Medium>, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let fields = fields(number);
        trail
            .append(
                &[Entry {
                    role: "intake",
                    event: "sealed",
                    fields: &fields,
                }],
                TIME,
            )
            .unwrap();
    }
}

fn trail_of(folder: &Path, records: usize) -> Trail<Disk> {
    let (mut trail, found) = Trail::open(folder, Disk).unwrap();
    assert_eq!(found, []);
    append(&mut trail, 0..records);
    trail
}

fn segment(folder: &Path) -> PathBuf {
    folder.join("trail-0000000001.jsonl")
}

#[test]
fn a_record_has_this_form_and_no_other() {
    let (line, head) = record::compose(&Head::start(), TIME, "intake", "sealed", &fields(1));
    assert_eq!(
        line,
        "{\"sequence\":1,\"time\":\"2026-11-22T00:00:00Z\",\"previous\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"role\":\"intake\",\"event\":\"sealed\",\"bundle\":\"box-1\",\"bytes\":1}\n"
    );
    assert_eq!(
        head.digest,
        "e3fb27a875ffd0a0545f355a1e045d33393a98e0574a8df5e9c7118f0a8b44de".to_owned()
    );
}

#[test]
fn any_line_changed_removed_doubled_or_moved_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let head = trail_of(folder.path(), 8).head().clone();
    assert_eq!(verify(folder.path(), Some(&head)).unwrap(), head);
    let whole = std::fs::read_to_string(segment(folder.path())).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let mut attempts: Vec<Vec<String>> = Vec::new();
    let owned = || {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    for index in 0..lines.len() {
        let mut removed = owned();
        removed.remove(index);
        let mut doubled = owned();
        doubled.insert(index, lines[index].to_owned());
        let mut changed = owned();
        changed[index] = changed[index].replace("\"event\":\"sealed\"", "\"event\":\"erased\"");
        attempts.extend([removed, doubled, changed]);
        for other in 0..index {
            let mut moved = owned();
            moved.swap(index, other);
            attempts.push(moved);
        }
    }
    for attempt in attempts {
        std::fs::write(segment(folder.path()), attempt.concat()).unwrap();
        assert!(verify(folder.path(), Some(&head)).is_err(), "{attempt:#?}");
    }
}

#[test]
fn any_single_bit_that_changes_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let head = trail_of(folder.path(), 2).head().clone();
    let whole = std::fs::read(segment(folder.path())).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(segment(folder.path()), &changed).unwrap();
        assert!(verify(folder.path(), Some(&head)).is_err(), "bit {bit}");
    }
}

#[test]
fn a_missing_end_is_found_against_a_head_known_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let head = trail_of(folder.path(), 3).head().clone();
    let whole = std::fs::read_to_string(segment(folder.path())).unwrap();
    let shorter: String = whole.split_inclusive('\n').take(2).collect();
    std::fs::write(segment(folder.path()), shorter).unwrap();
    assert!(verify(folder.path(), None).is_ok());
    let error = verify(folder.path(), Some(&head)).unwrap_err().to_string();
    assert_eq!(
        error,
        "the trail ends with record 2, before the expected one"
    );
}

#[test]
fn a_cut_at_any_byte_loses_at_most_the_record_that_was_being_written() {
    let folder = tempfile::tempdir().unwrap();
    drop(trail_of(folder.path(), 3));
    let whole = std::fs::read(segment(folder.path())).unwrap();
    let ends: Vec<usize> = (0..whole.len())
        .filter(|at| whole[*at] == b'\n')
        .map(|at| at + 1)
        .collect();
    for cut in 0..=whole.len() {
        std::fs::write(segment(folder.path()), &whole[..cut]).unwrap();
        let kept = ends.iter().filter(|end| **end <= cut).count();
        let (mut trail, found) = Trail::open(folder.path(), Disk).unwrap();
        assert_eq!(trail.head().sequence, kept as u64, "cut at {cut}");
        let torn = cut - ends[..kept].last().copied().unwrap_or(0);
        let expected: &[Found] = if torn == 0 {
            &[]
        } else {
            &[Found::Torn { bytes: torn as u64 }]
        };
        assert_eq!(found, expected, "cut at {cut}");
        append(&mut trail, 5..6);
        verify(folder.path(), None).unwrap();
    }
}

#[test]
fn an_end_of_zeros_is_a_torn_end() {
    let folder = tempfile::tempdir().unwrap();
    drop(trail_of(folder.path(), 3));
    let file = File::options()
        .append(true)
        .open(segment(folder.path()))
        .unwrap();
    (&file).write_all(&[0; 4096]).unwrap();
    let (trail, found) = Trail::open(folder.path(), Disk).unwrap();
    assert_eq!(found, [Found::Torn { bytes: 4096 }]);
    assert_eq!(trail.head().sequence, 3);
}

#[test]
fn a_flaw_in_the_middle_stays_as_evidence_and_the_trail_goes_on_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(trail_of(folder.path(), 3));
    let flawed = std::fs::read_to_string(segment(folder.path()))
        .unwrap()
        .replacen("box-1", "box-9", 1);
    std::fs::write(segment(folder.path()), &flawed).unwrap();
    let (mut trail, found) = Trail::open(folder.path(), Disk).unwrap();
    assert_eq!(
        found,
        [Found::Broken {
            segment: "trail-0000000001.jsonl".to_owned(),
            after_sequence: 2
        }]
    );
    append(&mut trail, 7..8);
    assert_eq!(
        std::fs::read_to_string(segment(folder.path())).unwrap(),
        flawed
    );
    assert!(folder.path().join("trail-0000000003.jsonl").exists());
    assert!(verify(folder.path(), None).is_err());
    let (trail, found) = Trail::open(folder.path(), Disk).unwrap();
    assert_eq!((trail.head().sequence, found), (3, vec![]));
}

#[test]
fn the_trail_goes_on_in_a_new_segment_when_one_is_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let mut trail = trail_of(folder.path(), 1);
    let mut long = Map::new();
    long.insert("text".to_owned(), "x".repeat(16 * 1024).into());
    for _ in 0..600 {
        trail
            .append(
                &[Entry {
                    role: "intake",
                    event: "sealed",
                    fields: &long,
                }],
                TIME,
            )
            .unwrap();
    }
    let head = trail.head().clone();
    drop(trail);
    let segments = std::fs::read_dir(folder.path()).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("trail-")
    });
    assert_eq!(segments.count(), 2);
    assert_eq!(verify(folder.path(), Some(&head)).unwrap(), head);
    let (mut trail, found) = Trail::open(folder.path(), Disk).unwrap();
    assert_eq!((trail.head(), found), (&head, vec![]));
    append(&mut trail, 0..1);
    verify(folder.path(), None).unwrap();
}

/// A disk with room for so many bytes beside what is there; a reserve counts.
struct Small {
    room: Rc<Cell<u64>>,
    reserve: PathBuf,
}

impl Medium for Small {
    fn append(&self, file: &File, bytes: &[u8]) -> std::io::Result<()> {
        let kept = if self.reserve.exists() {
            RESERVE_BYTES
        } else {
            0
        };
        if self.room.get() < kept + bytes.len() as u64 {
            // A full disk takes a part.
            let end = file.metadata()?.len();
            file.write_all_at(&bytes[..bytes.len() / 2], end)?;
            return Err(ErrorKind::StorageFull.into());
        }
        self.room.set(self.room.get() - bytes.len() as u64);
        (&*file).write_all(bytes)
    }

    fn reserve(&self, path: &Path, bytes: u64) -> std::io::Result<()> {
        if self.room.get() < bytes {
            return Err(ErrorKind::StorageFull.into());
        }
        std::fs::write(path, b"as if it were long")
    }
}

#[test]
fn on_a_full_disk_the_reserve_is_given_up_and_later_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let room = Rc::new(Cell::new(RESERVE_BYTES + 1000));
    let medium = || Small {
        room: room.clone(),
        reserve: folder.path().join("reserve"),
    };
    let (mut trail, _) = Trail::open(folder.path(), medium()).unwrap();
    assert!(trail.reserved());
    append(&mut trail, 0..20);
    assert!(!trail.reserved());
    assert_eq!(trail.head().sequence, 20);
    room.set(10);
    let fields = fields(0);
    let entry = Entry {
        role: "intake",
        event: "sealed",
        fields: &fields,
    };
    assert!(matches!(
        trail.append(&[entry], TIME),
        Err(TrailError::Write { .. })
    ));
    assert_eq!(verify(folder.path(), None).unwrap(), *trail.head());
    room.set(2 * RESERVE_BYTES);
    trail.reserve();
    assert!(trail.reserved());
    append(&mut trail, 20..22);
    assert_eq!(verify(folder.path(), None).unwrap().sequence, 22);
}

#[test]
fn a_peer_is_recorded_as_the_role_that_the_kernel_says_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::below("audit", folder.path());
    let mut trail = trail_of(folder.path(), 0);
    let request = |uid, line: &str| Request {
        uid,
        line: line.to_owned(),
    };
    let requests = [
        request(
            101,
            "{\"role\":\"intake\",\"event\":\"sealed\",\"bundle\":\"b\"}",
        ),
        request(103, "{\"role\":\"intake\",\"event\":\"sealed\"}"),
        request(999, "{\"role\":\"intake\",\"event\":\"sealed\"}"),
        request(
            101,
            "{\"role\":\"intake\",\"event\":\"sealed\",\"previous\":\"x\"}",
        ),
        request(101, "{\"role\":\"intake\",\"event\":\"Sealed\"}"),
        request(101, "no json"),
        request(103, "{\"role\":\"sender\",\"event\":\"delivered\"}"),
    ];
    let (answers, error) = answer(&runtime, &mut trail, &requests, role_of);
    assert!(error.is_none());
    assert_eq!(
        answers,
        [
            "{\"sequence\":1}",
            "{\"error\":\"field role must be \\\"sender\\\", which is uid 103\"}",
            "{\"error\":\"uid 999 is no role\"}",
            "{\"error\":\"field previous is the trail's own\"}",
            "{\"error\":\"field event must be 1 to 40 characters of a-z and -\"}",
            "{\"error\":\"this is no JSON object\"}",
            "{\"sequence\":2}",
        ]
    );
    let bytes = std::fs::read(segment(folder.path())).unwrap();
    let followed = follow_all(Head::start(), &bytes);
    assert_eq!((followed.head.sequence, followed.flaw), (2, None));
}

#[test]
fn a_client_gets_the_sequence_of_its_record_over_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::below("audit", folder.path());
    std::fs::create_dir_all(folder.path().join("run/audit")).unwrap();
    let mut trail = trail_of(folder.path(), 4);
    let mut server = LineServer::bind(&runtime.path(SOCKET), LONGEST_REQUEST_BYTES).unwrap();
    let root = folder.path().to_owned();
    let client = std::thread::spawn(move || {
        Runtime::below("intake", root)
            .audit("sealed", json!({ "bundle": "b" }))
            .unwrap()
    });
    let mut count = 0;
    while count == 0 {
        let answer =
            |requests: &[Request]| answer(&runtime, &mut trail, requests, |_| Some("intake")).0;
        count = server.turn(Duration::from_secs(10), answer).unwrap();
    }
    assert_eq!(client.join().unwrap(), 5);
}
