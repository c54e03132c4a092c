//! What a directory's listing says against what is known of it. Decides only; no I/O.

use ssmix2::Flagged;

/// A file in a listing.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    pub name: Vec<u8>,
    pub size_bytes: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// The first 16 bytes of a file's SHA-256.
pub type Mark = [u8; 16];

/// A file in the catalogue: the version that was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Known {
    pub name: Vec<u8>,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub mark: Mark,
}

impl Known {
    pub fn same_version(&self, seen: &Seen) -> bool {
        self.size_bytes == seen.size_bytes && self.mtime_ns == seen.mtime_ns
    }
}

/// One difference; numbers are places in the two slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    New {
        seen: usize,
    },
    /// Same name, other size or time.
    Changed {
        known: usize,
        seen: usize,
    },
    /// Same stem, size and time; other condition flag.
    FlagChanged {
        known: usize,
        seen: usize,
    },
    Missing {
        known: usize,
    },
}

/// Compares; both slices are sorted by name. Unchanged files are not reported.
pub fn diff(known: &[Known], seen: &[Seen]) -> Vec<Difference> {
    let (mut differences, mut fresh, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    let (mut k, mut s) = (0, 0);
    loop {
        let order = match (known.get(k), seen.get(s)) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(known), Some(seen)) => known.name.cmp(&seen.name),
        };
        match order {
            std::cmp::Ordering::Less => {
                gone.push(k);
                k += 1;
            }
            std::cmp::Ordering::Greater => {
                fresh.push(s);
                s += 1;
            }
            std::cmp::Ordering::Equal => {
                if !known[k].same_version(&seen[s]) {
                    differences.push(Difference::Changed { known: k, seen: s });
                }
                k += 1;
                s += 1;
            }
        }
    }
    // Stems sort like names, as the flag is their last byte: each search among the gone is a binary one.
    let mut taken = vec![false; gone.len()];
    for s in fresh {
        let renamed = Flagged::parse(&seen[s].name).and_then(|flagged| {
            let start = gone.partition_point(|&k| known[k].name.as_slice() < flagged.stem);
            (start..gone.len())
                .take_while(|&at| known[gone[at]].name.starts_with(flagged.stem))
                .find(|&at| {
                    let before = &known[gone[at]];
                    !taken[at]
                        && before.same_version(&seen[s])
                        && Flagged::parse(&before.name).is_some_and(|old| old.stem == flagged.stem)
                })
        });
        match renamed {
            Some(at) => {
                taken[at] = true;
                differences.push(Difference::FlagChanged {
                    known: gone[at],
                    seen: s,
                });
            }
            None => differences.push(Difference::New { seen: s }),
        }
    }
    differences.extend(
        gone.into_iter()
            .zip(taken)
            .filter(|(_, taken)| !taken)
            .map(|(k, _)| Difference::Missing { known: k }),
    );
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const STEM: &str = "0001_20200101_OMP-01_000000000000001_20200101120000000_01_";

    fn seen(name: &str, size_bytes: u64, mtime_ns: i64) -> Seen {
        Seen {
            name: name.into(),
            size_bytes,
            mtime_ns,
        }
    }

    fn known(name: &str, size_bytes: u64, mtime_ns: i64) -> Known {
        Known {
            name: name.into(),
            size_bytes,
            mtime_ns,
            mark: [0; 16],
        }
    }

    #[test]
    fn an_update_is_a_flag_change_and_a_new_file() {
        let before = [known(&format!("{STEM}1"), 10, 5)];
        let later = STEM.replace("120000000", "130000000");
        let now = [
            seen(&format!("{STEM}2"), 10, 5),
            seen(&format!("{later}1"), 12, 9),
        ];
        let found = diff(&before, &now);
        assert!(
            found.contains(&Difference::FlagChanged { known: 0, seen: 0 }),
            "{found:?}"
        );
        assert!(found.contains(&Difference::New { seen: 1 }), "{found:?}");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_renamed_flag_with_other_size_or_time_is_new_and_missing() {
        for after in [
            seen(&format!("{STEM}0"), 11, 5),
            seen(&format!("{STEM}0"), 10, 6),
        ] {
            let found = diff(&[known(&format!("{STEM}1"), 10, 5)], &[after]);
            assert_eq!(
                found,
                [
                    Difference::New { seen: 0 },
                    Difference::Missing { known: 0 }
                ]
            );
        }
    }

    #[test]
    fn an_unchanged_listing_has_no_difference() {
        assert_eq!(
            diff(
                &[known("a", 1, 1), known("b", 2, 2)],
                &[seen("a", 1, 1), seen("b", 2, 2)]
            ),
            []
        );
    }

    proptest! {
        /// The plainest model: two maps; a flag change counts as one new and one missing.
        #[test]
        fn differences_are_those_of_two_maps(
            before in proptest::collection::btree_map("[ab]{1,2}(_a_a_a_a_a_[012])?", (0u64..3, 0i64..2), 0..8),
            after in proptest::collection::btree_map("[ab]{1,2}(_a_a_a_a_a_[012])?", (0u64..3, 0i64..2), 0..8),
        ) {
            let known: Vec<_> = before.iter().map(|(name, (size, mtime))| known(name, *size, *mtime)).collect();
            let listing: Vec<_> = after.iter().map(|(name, (size, mtime))| seen(name, *size, *mtime)).collect();
            let (mut fresh, mut changed, mut gone) = (BTreeMap::new(), 0, BTreeMap::new());
            for difference in diff(&known, &listing) {
                match difference {
                    Difference::New { seen } => { fresh.insert(listing[seen].name.clone(), ()); }
                    Difference::Missing { known: k } => { gone.insert(known[k].name.clone(), ()); }
                    Difference::Changed { known: k, seen } => {
                        prop_assert!(known[k].name == listing[seen].name && !known[k].same_version(&listing[seen]));
                        changed += 1;
                    }
                    Difference::FlagChanged { known: k, seen } => {
                        prop_assert!(known[k].same_version(&listing[seen]));
                        let (a, b) = (known[k].name.split_last().unwrap(), listing[seen].name.split_last().unwrap());
                        prop_assert!(a.1 == b.1 && a.0 != b.0);
                        prop_assert!(fresh.insert(listing[seen].name.clone(), ()).is_none());
                        prop_assert!(gone.insert(known[k].name.clone(), ()).is_none());
                    }
                }
            }
            let model_fresh: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).map(|name| name.clone().into_bytes()).collect();
            let model_gone: Vec<_> = before.keys().filter(|name| !after.contains_key(*name)).map(|name| name.clone().into_bytes()).collect();
            let model_changed = before.iter().filter(|(name, version)| after.get(*name).is_some_and(|other| other != *version)).count();
            prop_assert_eq!(fresh.into_keys().collect::<Vec<_>>(), model_fresh);
            prop_assert_eq!(gone.into_keys().collect::<Vec<_>>(), model_gone);
            prop_assert_eq!(changed, model_changed);
        }
    }
}
