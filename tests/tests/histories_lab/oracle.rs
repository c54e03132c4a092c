//! The judge of a history: what was delivered against what the hospital's writer says was true.
//!
//! 1. A delivered version stood at its path for at least the quiet time; a receipt file that was not whole, or an empty
//!    file, for five times of it. So nothing half-written is delivered: slow writers pause for less than the quiet time.
//! 2. A version's bytes are delivered at most as often as they were written, and not where the data centre has them; a rename
//!    delivers no bytes.
//! 3. After a round that went through and began with a walk's beginning, with a source that was there, whatever stood unchanged from before the round to
//!    its end is what the data centre knows; of a content folder, if all of it stood.
//! 4. A removal or a change of flag is never told of a file that was there all the time, nor of one that was never delivered,
//!    nor twice.
//! 5. After quiet, the data centre knows exactly the store.
//! 6. A content folder that stood unchanged while a bundle was made is in it as a whole, if at all: after the bundle, all
//!    of its files are known.

use super::{QUIET, SOURCES};
use bundle::Digest;
use hospital::live::{Event, Mark};
use site::SourceKind;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many times the quiet time files wait that may well be half-written.
const PATIENCE: u64 = 5;

/// Source and path below its root.
pub type Place = (usize, Vec<u8>);

pub enum Told {
    Body(Digest),
    FlagChanged { from: Vec<u8> },
    Removed,
}

/// One entry of a delivered bundle.
pub struct Entry {
    pub bundle: u64,
    pub place: Place,
    pub told: Told,
    /// Uptime when the bundle was first seen.
    pub at: Duration,
    /// Marks of the truth when the round began in which it was made, or an earlier one, and when it was first seen.
    pub window: (usize, usize),
}

/// A round that went through.
pub struct Round {
    pub number: usize,
    /// Marks of the truth at its beginning and its end.
    pub marks: (usize, usize),
    /// Newest bundle at its end.
    pub bundle: u64,
    /// Sources that were hidden for some of it.
    pub hidden: [bool; SOURCES.len()],
    /// It went on where a walk was when the box stopped, so it did not look at everything; or what it found may still be in
    /// the bundle in the making.
    pub open: bool,
}

/// A version at a place for some time.
struct Stand {
    place: Place,
    digest: Digest,
    size: u64,
    whole: bool,
    from: (usize, Duration),
    to: Option<(usize, Duration)>,
}

impl Stand {
    fn covers(&self, window: (usize, usize)) -> bool {
        self.from.0 < window.0 && self.to.is_none_or(|(mark, _)| mark >= window.1)
    }
}

type Units<'s> = BTreeMap<(usize, &'s [u8]), Vec<&'s Stand>>;

/// The content folder of a place, or the place itself.
fn unit(place: &Place) -> (usize, &[u8]) {
    let store = match SOURCES[place.0].1 {
        SourceKind::Extended => ssmix2::Store::Extended,
        _ => ssmix2::Store::Standardized,
    };
    (place.0, ssmix2::unit(store, &place.1))
}

/// Whether nothing in a unit changed in the window, and none of its files may well be half-written.
fn is_at_rest(unit: &[&Stand], window: (usize, usize)) -> bool {
    unit.iter().all(|stand| {
        let over = stand.to.is_some_and(|(mark, _)| mark < window.0);
        over || stand.from.0 >= window.1 || (stand.covers(window) && stand.size > 0)
    })
}

pub fn place(path: &[u8]) -> Option<Place> {
    SOURCES
        .iter()
        .enumerate()
        .find_map(|(source, (_, _, root))| {
            let below = path.strip_prefix(root.as_bytes())?.strip_prefix(b"/")?;
            Some((source, below.to_vec()))
        })
}

fn is_ignored(place: &Place) -> bool {
    place
        .1
        .split(|byte| *byte == b'/')
        .any(|name| ssmix2::ignored(name).is_some())
}

fn show(place: &Place) -> String {
    format!(
        "{}: {}",
        SOURCES[place.0].0,
        String::from_utf8_lossy(&place.1)
    )
}

/// All stands, in the order in which they began, and how often each content was written.
fn stands(marks: &[Mark]) -> (Vec<Stand>, BTreeMap<Digest, usize>) {
    let (mut stands, mut open, mut written) =
        (Vec::<Stand>::new(), BTreeMap::new(), BTreeMap::new());
    for (number, mark) in marks.iter().enumerate() {
        let now = (number, Duration::from_millis(mark.at_ms));
        let end = |stands: &mut Vec<Stand>, at: Option<usize>| {
            if let Some(at) = at {
                stands[at].to = Some(now);
            }
        };
        let Some(place) = place(&mark.path) else {
            continue;
        };
        let before = open.remove(&place);
        end(&mut stands, before);
        let (digest, size, whole) = match &mark.event {
            Event::Written {
                size,
                sha256,
                whole,
            } => {
                *written.entry(Digest(*sha256)).or_default() += 1;
                (Digest(*sha256), *size, *whole)
            }
            Event::Renamed { from } => {
                let Some(at) = self::place(from).and_then(|from| open.remove(&from)) else {
                    continue;
                };
                end(&mut stands, Some(at));
                let old = &stands[at];
                (old.digest, old.size, old.whole)
            }
            Event::Removed => continue,
        };
        open.insert(place.clone(), stands.len());
        stands.push(Stand {
            place,
            digest,
            size,
            whole,
            from: now,
            to: None,
        });
    }
    (stands, written)
}

/// Judges; `Err` says what is wrong. Gives what the data centre must have.
pub fn judge(
    marks: &[Mark],
    entries: &[Entry],
    rounds: &[Round],
) -> Result<BTreeMap<Place, Digest>, String> {
    let (stands, written) = stands(marks);
    let mut at_place: BTreeMap<&Place, Vec<&Stand>> = BTreeMap::new();
    for stand in &stands {
        at_place.entry(&stand.place).or_default().push(stand);
    }
    let mut units = Units::new();
    for stand in stands.iter().filter(|stand| !is_ignored(&stand.place)) {
        units.entry(unit(&stand.place)).or_default().push(stand);
    }
    let (mut known, mut bodies) = (BTreeMap::<Place, Digest>::new(), BTreeMap::new());
    let mut bundles = entries.chunk_by(|a, b| a.bundle == b.bundle).peekable();
    for round in rounds {
        while let Some(bundle) = bundles.next_if(|bundle| bundle[0].bundle <= round.bundle) {
            apply_all(bundle, &at_place, &units, &mut known, &mut bodies)?;
        }
        for stand in &stands {
            let patient = stand.size == 0 || SOURCES[stand.place.0].0 == "claims";
            if round.open
                || !stand.covers(round.marks)
                || round.hidden[stand.place.0]
                || patient
                || is_ignored(&stand.place)
                || !is_at_rest(&units[&unit(&stand.place)], round.marks)
            {
                continue;
            }
            if known.get(&stand.place) != Some(&stand.digest) {
                return Err(format!(
                    "round {} went through, and the version that stood all the time was not delivered: {}",
                    round.number,
                    show(&stand.place)
                ));
            }
        }
    }
    for bundle in bundles {
        apply_all(bundle, &at_place, &units, &mut known, &mut bodies)?;
    }
    for (digest, (count, place)) in bodies {
        let times = written.get(&digest).copied().unwrap_or(0);
        if count > times {
            return Err(format!(
                "a version written {times} times was delivered {count} times: {}",
                show(&place)
            ));
        }
    }
    let store: BTreeMap<Place, Digest> = stands
        .iter()
        .filter(|stand| stand.to.is_none() && !is_ignored(&stand.place))
        .map(|stand| (stand.place.clone(), stand.digest))
        .collect();
    for (place, digest) in &store {
        match known.get(place) {
            None => return Err(format!("after quiet a file is missing: {}", show(place))),
            Some(other) if other != digest => {
                return Err(format!(
                    "after quiet a file has other bytes: {}",
                    show(place)
                ));
            }
            Some(_) => {}
        }
    }
    if let Some(place) = known.keys().find(|place| !store.contains_key(*place)) {
        return Err(format!(
            "after quiet a file is known that the hospital does not have: {}",
            show(place)
        ));
    }
    Ok(store)
}

fn apply_all(
    bundle: &[Entry],
    stands: &BTreeMap<&Place, Vec<&Stand>>,
    units: &Units<'_>,
    known: &mut BTreeMap<Place, Digest>,
    bodies: &mut BTreeMap<Digest, (usize, Place)>,
) -> Result<(), String> {
    for entry in bundle {
        apply(entry, stands, known, bodies)?;
    }
    let told = |entry: &&Entry| !matches!(entry.told, Told::Removed);
    for entry in bundle.iter().filter(told) {
        let Some(unit) = units.get(&unit(&entry.place)) else {
            continue;
        };
        let mut stood = unit.iter().filter(|stand| stand.covers(entry.window));
        let missing = stood.find(|stand| known.get(&stand.place) != Some(&stand.digest));
        if let Some(missing) = missing.filter(|_| is_at_rest(unit, entry.window)) {
            return Err(format!(
                "bundle {}: a content folder that stood all the time is in it only in part: {}",
                entry.bundle,
                show(&missing.place)
            ));
        }
    }
    Ok(())
}

fn apply(
    entry: &Entry,
    stands: &BTreeMap<&Place, Vec<&Stand>>,
    known: &mut BTreeMap<Place, Digest>,
    bodies: &mut BTreeMap<Digest, (usize, Place)>,
) -> Result<(), String> {
    let place = &entry.place;
    let none = Vec::new();
    let here = stands.get(place).unwrap_or(&none);
    let wrong = |what: &str| Err(format!("bundle {}: {what}: {}", entry.bundle, show(place)));
    let digest = match &entry.told {
        Told::Body(digest) => {
            if known.get(place) == Some(digest) {
                return wrong("bytes that are known already");
            }
            let count = bodies.entry(*digest).or_insert((0, place.clone()));
            (count.0, count.1) = (count.0 + 1, place.clone());
            *digest
        }
        Told::FlagChanged { from } => {
            let origin = (place.0, from.clone());
            let still = stands
                .get(&origin)
                .is_some_and(|stands| stands.iter().any(|stand| stand.covers(entry.window)));
            if still {
                return wrong("a change of flag from a name that is still there");
            }
            let Some(digest) = known.remove(&origin) else {
                return wrong("a change of flag of a file that was never delivered");
            };
            digest
        }
        Told::Removed => {
            if here.iter().any(|stand| stand.covers(entry.window)) {
                return wrong("a removal of a file that was there all the time");
            }
            if known.remove(place).is_none() {
                return wrong("a removal of a file that was never delivered");
            }
            return Ok(());
        }
    };
    let mut same = here
        .iter()
        .filter(|stand| stand.digest == digest)
        .peekable();
    if same.peek().is_none() {
        return wrong("bytes that this file never had");
    }
    let stood = same.any(|stand| {
        let patient = matches!(entry.told, Told::Body(_))
            && (stand.size == 0 || (!stand.whole && SOURCES[place.0].0 == "claims"));
        let wait = QUIET * if patient { PATIENCE as u32 } else { 1 };
        let end = stand.to.map_or(entry.at, |(_, at)| at.min(entry.at));
        end.saturating_sub(stand.from.1) >= wait
    });
    if !stood {
        let whole = here
            .iter()
            .any(|stand| stand.digest == digest && stand.whole);
        return wrong(if whole {
            "a version was delivered that did not stand for the quiet time"
        } else {
            "a half-written file was delivered"
        });
    }
    known.insert(place.clone(), digest);
    Ok(())
}
