//! In what a name differs from the specification: kinds that can be counted, never the name itself.

/// One way in which a name deviates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Deviation {
    /// Too many or too few folders above the file.
    Depth,
    /// The two upper folders are not the first and second three characters of the patient ID (患者ID).
    PatientFolder,
    /// Folder and file name differ in patient, date or type.
    FolderMismatch,
    /// The date of care (診療日) is neither eight digits nor `-`.
    Date,
    /// Data type (データ種別) not among the 26 folders of version 1.2g.
    UnknownType,
    /// Other than seven fields.
    FieldCount,
    /// Order number other than 15 digits.
    OrderNumber,
    /// Time of occurrence (発生日時) other than 17 digits.
    Timestamp,
    /// Department (診療科コード) other than two or three characters or `-`.
    Department,
    /// No condition flag `0`, `1` or `2` at the end.
    Flag,
    /// A name that the kind of store does not know at all.
    UnknownName,
    /// Extended storage without content folders: the layout up to version 1.2b.
    OldLayout,
}

/// Every kind with the word under which it is reported.
pub const ALL: [(Deviation, &str); 12] = [
    (Deviation::Depth, "depth"),
    (Deviation::PatientFolder, "patient-folder"),
    (Deviation::FolderMismatch, "folder-mismatch"),
    (Deviation::Date, "date"),
    (Deviation::UnknownType, "unknown-type"),
    (Deviation::FieldCount, "field-count"),
    (Deviation::OrderNumber, "order-number"),
    (Deviation::Timestamp, "timestamp"),
    (Deviation::Department, "department"),
    (Deviation::Flag, "flag"),
    (Deviation::UnknownName, "unknown-name"),
    (Deviation::OldLayout, "old-layout"),
];

/// A set of deviations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deviations(u16);

impl Deviations {
    pub const NONE: Self = Self(0);

    pub fn insert(&mut self, deviation: Deviation) {
        self.0 |= 1 << deviation as u8;
    }

    pub(crate) fn unless(&mut self, holds: bool, deviation: Deviation) {
        if !holds {
            self.insert(deviation);
        }
    }

    pub fn contains(self, deviation: Deviation) -> bool {
        self.0 & 1 << deviation as u8 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = (Deviation, &'static str)> {
        ALL.into_iter()
            .filter(move |(deviation, _)| self.contains(*deviation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_kind_at_its_own_place() {
        for (place, (deviation, _)) in ALL.iter().enumerate() {
            assert_eq!(*deviation as usize, place);
        }
    }
}
