//! One file of standardized storage: its name, and how updates and deletions rename its predecessors.
//!
//! Invariants
//! 1. Seven fields joined by `_`, no extension, the flag is the last.
//! 2. Update: the valid file of the same identity (patient, date, type, order number) becomes `_2`, then a new `_1`
//!    with a new time appears. Deletion: all `_1` and `_2` of the identity become `_0`, and a `_0` with the delete
//!    message is added.
//! 3. Within an identity the time of sending rises, so names never collide.
//!
//! Source: NHO's SS-MIX2 support documents, `transaction_strage.md`.

use std::collections::HashMap;

use crate::calendar::{Day, Moment};
use crate::kinds::{KINDS, Kind};
use crate::random::Random;
use crate::words::DEPARTMENTS;

/// Where no order exists, the order number is this.
pub(crate) const NO_ORDER: u64 = 999_999_999_999_999;

/// Condition flag (コンディションフラグ).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flag {
    /// `1`
    Valid,
    /// `0`
    Deleted,
    /// `2`: a past version
    Past,
}

impl Flag {
    /// The digit in the name.
    pub fn digit(self) -> char {
        match self {
            Flag::Valid => '1',
            Flag::Deleted => '0',
            Flag::Past => '2',
        }
    }
}

/// New or changed data, or a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Insert,
    Delete,
}

/// One message of one patient.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub kind: &'static Kind,
    /// Date of care (診療日); `None` is written as `-`.
    pub day: Option<Day>,
    pub order: u64,
    /// Time of sending (発生日時).
    pub sent: Moment,
    /// Department code, or `-`.
    pub department: &'static str,
    pub flag: Flag,
    pub action: Action,
    /// Seed of the content.
    pub content: u64,
}

impl Record {
    /// The date folder.
    pub fn day_folder(&self) -> String {
        self.day
            .map_or_else(|| "-".to_owned(), |day| day.to_string())
    }

    /// The file name for patient `id`.
    pub fn name(&self, id: &str) -> String {
        let flag = self.flag.digit();
        let Record {
            kind,
            order,
            sent,
            department,
            ..
        } = self;
        format!(
            "{id}_{}_{}_{order:015}_{sent}_{department}_{flag}",
            self.day_folder(),
            kind.folder
        )
    }
}

/// All standardized records of one patient while they are being invented.
#[derive(Debug)]
pub(crate) struct Book {
    pub records: Vec<Record>,
    by_identity: HashMap<(Option<Day>, &'static str, u64), Vec<usize>>,
}

impl Book {
    pub fn new() -> Book {
        Book {
            records: Vec::new(),
            by_identity: HashMap::new(),
        }
    }

    /// Files a record of type `kind` (index into [`KINDS`]), renaming what it replaces or deletes.
    pub fn file(&mut self, kind: usize, entry: Entry, action: Action, random: &mut Random) {
        let kind = &KINDS[kind];
        let day = kind.dated.then_some(entry.day);
        let order = if kind.ordered { entry.order } else { NO_ORDER };
        let past = self
            .by_identity
            .entry((day, kind.folder, order))
            .or_default();
        let mut sent = entry.sent;
        for &index in past.iter() {
            let older = &mut self.records[index];
            sent = sent.max(older.sent.plus(1));
            match action {
                Action::Delete => older.flag = Flag::Deleted,
                Action::Insert if older.flag == Flag::Valid => older.flag = Flag::Past,
                Action::Insert => {}
            }
        }
        past.push(self.records.len());
        let department = if kind.department {
            DEPARTMENTS[entry.department].0
        } else {
            "-"
        };
        let flag = if action == Action::Delete {
            Flag::Deleted
        } else {
            Flag::Valid
        };
        let content = random.word();
        self.records.push(Record {
            kind,
            day,
            order,
            sent,
            department,
            flag,
            action,
            content,
        });
    }
}

/// Where and when a record is filed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub day: Day,
    pub order: u64,
    pub sent: Moment,
    pub department: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags_after(actions: &[Action]) -> String {
        let (mut book, mut random) = (Book::new(), Random::new(&[1]));
        let entry = Entry {
            day: Day(19_000),
            order: 5,
            sent: Day(19_000).at(0),
            department: 0,
        };
        for &action in actions {
            book.file(14, entry, action, &mut random);
        }
        assert!(
            book.records
                .windows(2)
                .all(|pair| pair[0].sent < pair[1].sent)
        );
        book.records
            .iter()
            .map(|record| record.flag.digit())
            .collect()
    }

    #[test]
    fn updates_leave_past_versions_and_a_deletion_marks_them_all() {
        use Action::{Delete, Insert};
        assert_eq!(flags_after(&[Insert]), "1");
        assert_eq!(flags_after(&[Insert, Insert, Insert]), "221");
        assert_eq!(flags_after(&[Insert, Insert, Delete]), "000");
        assert_eq!(flags_after(&[Insert, Delete, Insert]), "001");
    }

    #[test]
    fn a_name_has_seven_fields_and_a_dateless_type_a_dash() {
        let (mut book, mut random) = (Book::new(), Random::new(&[1]));
        let entry = Entry {
            day: Day(19_814),
            order: 5,
            sent: Day(19_814).at(7),
            department: 10,
        };
        book.file(0, entry, Action::Insert, &mut random);
        book.file(14, entry, Action::Insert, &mut random);
        assert_eq!(
            book.records[0].name("0000001234"),
            "0000001234_-_ADT-00_999999999999999_20240401000000007_-_1"
        );
        assert_eq!(
            book.records[1].name("0000001234"),
            "0000001234_20240401_OMP-01_000000000000005_20240401000000007_101_1"
        );
    }
}
