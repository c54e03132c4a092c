//! What a folder's listing asks for, given what is known of it. Decides only; no I/O.

use catalogue::{Difference, Known, Mark, Seen, diff};

/// Why a file is a candidate.
#[derive(Clone, PartialEq, Eq)]
pub enum Why {
    Added,
    /// Of a file of the same size: the mark of the known content, which it may have still.
    Changed {
        mark: Option<Mark>,
    },
    /// It seems to be the known file at `origin` under another flag; its digest must begin so.
    FlagChanged {
        origin: Vec<u8>,
        mark: Mark,
    },
}

#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Place in the listing.
    pub seen: usize,
    pub why: Why,
}

#[derive(Default)]
pub struct Decision {
    pub candidates: Vec<Candidate>,
    /// Known files that the listing does not show, by place among the known.
    pub missing: Vec<usize>,
    /// Files of the twin that none in the listing is, by place among the twin's.
    pub left: Vec<usize>,
}

/// A folder's path and what is known in it.
pub struct Twin<'a> {
    pub path: &'a [u8],
    pub known: &'a [Known],
}

/// Decides for the folder at `path`. `twin` is a known folder that vanished beside it and differs in the condition
/// flag alone.
pub fn decide(path: &[u8], known: &[Known], twin: Option<Twin<'_>>, seen: &[Seen]) -> Decision {
    let mut decision = Decision::default();
    for difference in diff(known, seen) {
        match difference {
            Difference::New { seen } => decision.candidates.push(Candidate {
                seen,
                why: Why::Added,
            }),
            Difference::Changed {
                known: before,
                seen: place,
            } => {
                let same_size = known[before].size_bytes == seen[place].size_bytes;
                let mark = same_size.then_some(known[before].mark);
                decision.candidates.push(Candidate {
                    seen: place,
                    why: Why::Changed { mark },
                });
            }
            Difference::FlagChanged {
                known: before,
                seen,
            } => {
                let why = Why::FlagChanged {
                    origin: join(path, &known[before].name),
                    mark: known[before].mark,
                };
                decision.candidates.push(Candidate { seen, why });
            }
            Difference::Missing { known } => decision.missing.push(known),
        }
    }
    if let Some(twin) = twin {
        decision.follow(&twin, seen);
    }
    decision
}

impl Decision {
    /// Takes what is new here and the same in the twin for the twin's, one by one: some of its files may have been taken
    /// in an earlier walk, changed with the rename, or gone before it.
    fn follow(&mut self, twin: &Twin<'_>, seen: &[Seen]) {
        let mut left = vec![true; twin.known.len()];
        for candidate in &mut self.candidates {
            let file = &seen[candidate.seen];
            let place = twin
                .known
                .binary_search_by(|known| known.name.cmp(&file.name));
            if let (Why::Added, Ok(place)) = (&candidate.why, place)
                && twin.known[place].same_version(file)
            {
                left[place] = false;
                candidate.why = Why::FlagChanged {
                    origin: join(twin.path, &file.name),
                    mark: twin.known[place].mark,
                };
            }
        }
        self.left = (0..left.len()).filter(|place| left[*place]).collect();
    }
}

/// Pairs each new folder with a vanished one of the same stem: the content folders whose flag changed.
pub fn renamed<'a>(new: &[u8], vanished: &'a [Vec<u8>]) -> Option<&'a Vec<u8>> {
    let stem = ssmix2::Flagged::parse(new)?.stem;
    vanished
        .iter()
        .find(|name| ssmix2::Flagged::parse(name).is_some_and(|old| old.stem == stem))
}

/// A folder's path and a name in it.
pub fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        name.to_vec()
    } else {
        [folder, b"/", name].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_renamed_content_folder_are_flag_changes_where_they_are_the_same() {
        let known = |name: &str| Known {
            name: name.into(),
            size_bytes: 5,
            mtime_ns: 1,
            mark: [9; 16],
        };
        let seen = |name: &str, mtime_ns| Seen {
            name: name.into(),
            size_bytes: 5,
            mtime_ns,
        };
        let before = [known("a"), known("b")];
        let twin = Twin {
            path: b"p/x_1",
            known: &before,
        };
        let decision = decide(
            b"p/x_0",
            &[],
            Some(twin),
            &[seen("a", 1), seen("b", 2), seen("c", 1)],
        );
        let whys: Vec<_> = decision
            .candidates
            .iter()
            .map(|candidate| candidate.why.clone())
            .collect();
        assert!(
            whys == [
                Why::FlagChanged {
                    origin: b"p/x_1/a".to_vec(),
                    mark: [9; 16]
                },
                Why::Added,
                Why::Added
            ]
        );
        assert!(decision.missing.is_empty());
        assert_eq!(decision.left, [1]);
    }

    #[test]
    fn only_a_folder_of_the_same_stem_is_its_earlier_self() {
        let vanished = [b"1_2_3_4_5_6_1".to_vec(), b"other".to_vec()];
        assert!(renamed(b"1_2_3_4_5_6_0", &vanished) == Some(&vanished[0]));
        assert!(renamed(b"1_2_3_4_5_7_0", &vanished).is_none());
        assert!(renamed(b"other", &vanished).is_none());
    }
}
