//! The judge: what the manifests of all bundles tell, against what the hospital's writer says was true. The rules are those
//! of the native property test (`tests/tests/histories_lab/oracle.rs`), in the time of two real machines.
//!
//! 1. A delivered version stood at its path for the quiet time; an empty file, or a receipt file that was not whole, for
//!    five times of it. Slow writers pause for a fifth of it: so nothing half-written is delivered.
//! 2. A version's bytes are delivered at most as often as they were written; a rename delivers no bytes.
//! 3. Whenever the hospital rested, and so at the end, the data centre knew exactly its files.
//! 4. A removal or a change of flag is never told of a file that was there since it was delivered.
//!
//! Each protocol is judged by itself: both have collected the same files.

use hospital::live::{Event, Mark};
use std::collections::BTreeMap;

/// Two machines, two clocks, and a client that may remember a file's facts for a second.
const SLACK_MS: u64 = 1_000;
/// How many times the quiet time files wait that may well be half-written.
const PATIENCE: u64 = 5;

pub type Digest = [u8; 32];
pub type Path = Vec<u8>;

/// What a manifest says of a file. Paths begin with the root's folder, as in the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Body(Digest),
    FlagChanged { from: Path },
    Removed,
}

/// One entry of a delivered bundle.
#[derive(Clone, Debug)]
pub struct Entry {
    pub bundle: u64,
    /// When it was sealed, at the latest, by the hospital's clock.
    pub sealed_ms: u64,
    pub path: Path,
    pub told: Told,
}

/// The hospital rested, and everything had arrived.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// Nothing was written from then on.
    pub at_ms: u64,
    /// Newest bundle that had arrived.
    pub bundle: u64,
}

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// States of files, and how many of them were half-written.
    pub states: usize,
    pub halves: usize,
    pub bodies: usize,
    pub renames: usize,
    pub removals: usize,
    /// Half-written files that stood for the quiet time and counted as whole by rule: the host was too busy.
    pub stalled: usize,
}

/// A version at a path for some time.
struct Stand {
    digest: Digest,
    size: u64,
    whole: bool,
    from_ms: u64,
    to_ms: u64,
    /// Since when there was any version here.
    there_ms: u64,
}

type Stands = BTreeMap<Path, Vec<Stand>>;

fn stands(marks: &[Mark]) -> (Stands, BTreeMap<Digest, usize>) {
    let (mut stands, mut written) = (Stands::new(), BTreeMap::new());
    for mark in marks {
        let at_ms = mark.at_ms;
        let end = |stands: &mut Stands, path: &Path| {
            let stand = stands.get_mut(path)?.last_mut()?;
            let open = stand.to_ms == u64::MAX;
            stand.to_ms = stand.to_ms.min(at_ms);
            open.then_some((stand.digest, stand.size, stand.whole, stand.there_ms))
        };
        let before = end(&mut stands, &mark.path);
        let (digest, size, whole) = match &mark.event {
            Event::Written {
                size,
                sha256,
                whole,
            } => {
                *written.entry(*sha256).or_default() += 1;
                (*sha256, *size, *whole)
            }
            Event::Renamed { from } => match end(&mut stands, from) {
                Some((digest, size, whole, _)) => (digest, size, whole),
                None => continue,
            },
            Event::Removed => continue,
        };
        stands.entry(mark.path.clone()).or_default().push(Stand {
            digest,
            size,
            whole,
            from_ms: at_ms,
            to_ms: u64::MAX,
            there_ms: before.map_or(at_ms, |(.., there_ms)| there_ms),
        });
    }
    (stands, written)
}

fn is_ignored(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/')
        .any(|name| ssmix2::ignored(name).is_some())
}

/// The hospital's files at a time.
fn store_at(stands: &Stands, at_ms: u64) -> BTreeMap<&Path, Digest> {
    let there = |list: &[Stand]| {
        let stand = list
            .iter()
            .rfind(|stand| stand.from_ms <= at_ms && stand.to_ms > at_ms)?;
        Some(stand.digest)
    };
    stands
        .iter()
        .filter(|(path, _)| !is_ignored(path))
        .filter_map(|(path, list)| Some((path, there(list)?)))
        .collect()
}

/// A file as the data centre knows it, and since when.
#[derive(Clone, Copy)]
struct Known {
    digest: Digest,
    sealed_ms: u64,
}

struct Judge<'a> {
    stands: &'a Stands,
    quiet_ms: u64,
    known: BTreeMap<Path, Known>,
    /// How often each content came, and where it came last.
    bodies: BTreeMap<Digest, (usize, Path)>,
    judged: Judged,
}

/// Judges what came over one protocol; `Err` says what is wrong. Entries are in the order of their bundles.
pub fn judge(
    marks: &[Mark],
    entries: &[Entry],
    rests: &[Rest],
    quiet_ms: u64,
) -> Result<Judged, String> {
    let (stands, written) = stands(marks);
    let all = || stands.values().flatten();
    let mut judge = Judge {
        stands: &stands,
        quiet_ms,
        known: BTreeMap::new(),
        bodies: BTreeMap::new(),
        judged: Judged {
            states: all().count(),
            halves: all().filter(|stand| !stand.whole).count(),
            ..Judged::default()
        },
    };
    let mut entries = entries.iter().peekable();
    for rest in rests {
        while let Some(entry) = entries.next_if(|entry| entry.bundle <= rest.bundle) {
            judge.apply(entry)?;
        }
        judge.knows_store(rest.at_ms)?;
    }
    for entry in entries {
        judge.apply(entry)?;
    }
    judge.knows_store(u64::MAX - 1)?;
    for (digest, (count, path)) in &judge.bodies {
        let times = written.get(digest).copied().unwrap_or(0);
        if *count > times {
            return Err(format!(
                "a version written {times} times was delivered {count} times: {}",
                show(path)
            ));
        }
    }
    Ok(judge.judged)
}

impl Judge<'_> {
    fn knows_store(&self, at_ms: u64) -> Result<(), String> {
        let store = store_at(self.stands, at_ms);
        let at = |what: &str, path: &Path| {
            Err(format!(
                "when the hospital rested at {at_ms} ms {what}: {}",
                show(path)
            ))
        };
        for (path, digest) in &store {
            match self.known.get(*path) {
                None => return at("a file was missing", path),
                Some(known) if known.digest != *digest => {
                    return at("a file had other bytes", path);
                }
                Some(_) => {}
            }
        }
        match self.known.keys().find(|path| !store.contains_key(*path)) {
            Some(path) => at("a file was known that it did not have", path),
            None => Ok(()),
        }
    }

    /// Whether there was some version at a path from the one time to the other.
    fn stayed(&self, path: &Path, from_ms: u64, to_ms: u64) -> bool {
        let list = self.stands.get(path).map_or(&[][..], Vec::as_slice);
        list.iter()
            .any(|stand| stand.there_ms <= from_ms && stand.to_ms >= to_ms)
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        let path = &entry.path;
        let wrong = |what: &str| Err(format!("bundle {}: {what}: {}", entry.bundle, show(path)));
        let digest = match &entry.told {
            Told::Body(digest) => {
                self.judged.bodies += 1;
                let count = self.bodies.entry(*digest).or_insert((0, path.clone()));
                (count.0, count.1) = (count.0 + 1, path.clone());
                *digest
            }
            Told::FlagChanged { from } => {
                self.judged.renames += 1;
                let Some(known) = self.known.remove(from) else {
                    return wrong("a change of flag of a file that was never delivered");
                };
                if self.stayed(from, known.sealed_ms, entry.sealed_ms) {
                    return wrong("a change of flag from a name that is still there");
                }
                known.digest
            }
            Told::Removed => {
                self.judged.removals += 1;
                let Some(known) = self.known.remove(path) else {
                    return wrong("a removal of a file that was never delivered");
                };
                if self.stayed(path, known.sealed_ms, entry.sealed_ms) {
                    return wrong("a removal of a file that was there all the time");
                }
                return Ok(());
            }
        };
        let list = self.stands.get(path).map_or(&[][..], Vec::as_slice);
        let same = || list.iter().filter(|stand| stand.digest == digest);
        let is_body = matches!(entry.told, Told::Body(_));
        let Some(stood) = same().find(|stand| {
            let patient = stand.size == 0 || (!stand.whole && path.starts_with(b"receipt/"));
            let wait = self.quiet_ms * if is_body && patient { PATIENCE } else { 1 };
            let end = stand.to_ms.min(entry.sealed_ms);
            end.saturating_sub(stand.from_ms) + SLACK_MS >= wait
        }) else {
            return match same().map(|stand| stand.whole).max() {
                None => wrong("bytes that this file never had"),
                Some(false) => wrong("a half-written file was delivered"),
                Some(true) => {
                    wrong("a version was delivered that did not stand for the quiet time")
                }
            };
        };
        self.judged.stalled += usize::from(is_body && !stood.whole);
        self.known.insert(
            path.clone(),
            Known {
                digest,
                sealed_ms: entry.sealed_ms,
            },
        );
        Ok(())
    }
}

fn show(path: &[u8]) -> String {
    hospital::escape(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: u64 = 2_000;
    const REST: Rest = Rest {
        at_ms: 20_000,
        bundle: 9,
    };

    fn written(at_ms: u64, path: &str, byte: u8, whole: bool) -> Mark {
        let event = Event::Written {
            size: 1,
            sha256: [byte; 32],
            whole,
        };
        Mark {
            at_ms,
            path: path.into(),
            event,
        }
    }

    fn removed(at_ms: u64, path: &str) -> Mark {
        Mark {
            at_ms,
            path: path.into(),
            event: Event::Removed,
        }
    }

    fn told(bundle: u64, sealed_ms: u64, path: &str, told: Told) -> Entry {
        Entry {
            bundle,
            sealed_ms,
            path: path.into(),
            told,
        }
    }

    fn body(bundle: u64, sealed_ms: u64, path: &str, byte: u8) -> Entry {
        told(bundle, sealed_ms, path, Told::Body([byte; 32]))
    }

    fn fails_with(marks: &[Mark], entries: &[Entry], what: &str) {
        let text = judge(marks, entries, &[REST], QUIET).unwrap_err();
        assert!(text.contains(what), "{text}");
    }

    #[test]
    fn a_store_that_arrived_as_it_was_is_right() {
        let marks = [
            written(0, "std/a_1", 1, false),
            written(300, "std/a_1", 2, true),
            written(500, "std/b_1", 3, true),
            Mark {
                at_ms: 9_000,
                path: b"std/a_2".into(),
                event: Event::Renamed {
                    from: b"std/a_1".into(),
                },
            },
            removed(9_100, "std/b_1"),
        ];
        let entries = [
            body(1, 4_000, "std/a_1", 2),
            body(1, 4_000, "std/b_1", 3),
            told(
                2,
                12_000,
                "std/a_2",
                Told::FlagChanged {
                    from: b"std/a_1".into(),
                },
            ),
            told(2, 12_000, "std/b_1", Told::Removed),
        ];
        let judged = judge(&marks, &entries, &[REST], QUIET).expect("right");
        assert_eq!(
            (
                judged.bodies,
                judged.renames,
                judged.removals,
                judged.halves
            ),
            (2, 1, 1, 1)
        );
    }

    #[test]
    fn half_a_file_and_a_version_of_a_moment_are_wrong() {
        let marks = [
            written(0, "std/a", 1, false),
            written(300, "std/a", 2, true),
            written(900, "std/a", 3, true),
        ];
        let last = body(2, 8_000, "std/a", 3);
        for (byte, what) in [
            (1, "half-written"),
            (2, "did not stand"),
            (9, "bytes that this file never had"),
        ] {
            fails_with(&marks, &[body(1, 4_000, "std/a", byte), last.clone()], what);
        }
        let receipt = [
            written(0, "receipt/a", 1, false),
            written(5_000, "receipt/a", 2, true),
        ];
        fails_with(&receipt, &[body(1, 6_000, "receipt/a", 1)], "half-written");
    }

    #[test]
    fn what_is_lost_invented_or_told_twice_is_wrong() {
        let marks = [written(0, "std/a", 1, true)];
        let whole = body(1, 4_000, "std/a", 1);
        fails_with(&marks, &[], "a file was missing");
        fails_with(
            &marks,
            &[whole.clone(), told(2, 9_000, "std/a", Told::Removed)],
            "there all the time",
        );
        fails_with(
            &marks,
            &[whole.clone(), body(2, 9_000, "std/a", 1)],
            "delivered 2 times",
        );
        let gone = [written(0, "std/a", 1, true), removed(9_000, "std/a")];
        fails_with(&gone, &[whole], "did not have");
    }
}
