//! Extended storage (拡張ストレージ):
//! `<pid[0:3]>/<pid[3:6]>/<pid>/<date of care>/<type folder>/<content folder>/<files…>`.
//!
//! The content folder is the object: its name ends with the condition flag, and a change of state renames the folder.
//! Its files may lie in folders of their own and have any name. Type codes may contain `^`, `_` and Japanese text, so
//! only the ends of a content folder's name are read.

use crate::{Deviation, Deviations, Flagged, is_digits};

/// Depth of the content folder below the root, counted in components.
const CONTENT_FOLDER: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Object<'a> {
    pub patient: &'a [u8],
    pub date: &'a [u8],
    pub type_folder: &'a [u8],
    /// Name of the content folder.
    pub content: &'a [u8],
    pub flag: Option<crate::Flag>,
}

/// Reads the path of a file relative to the root.
pub fn parse(path: &[u8]) -> (Option<Object<'_>>, Deviations) {
    let mut found = Deviations::NONE;
    let mut parts = [&b""[..]; CONTENT_FOLDER + 1];
    let mut count = 0;
    for part in path.split(|&byte| byte == b'/') {
        if let Some(place) = parts.get_mut(count) {
            *place = part;
        }
        count += 1;
    }
    if count < CONTENT_FOLDER + 2 {
        found.insert(Deviation::Depth);
        return (None, found);
    }
    let [first, second, patient, date, type_folder, content] = parts;
    found.unless(date == b"-" || is_digits(date, 8), Deviation::Date);
    found.unless(
        (patient.get(..3), patient.get(3..6.min(patient.len()))) == (Some(first), Some(second)),
        Deviation::PatientFolder,
    );
    let flag = Flagged::parse(content).map(|flagged| flagged.flag);
    found.unless(flag.is_some(), Deviation::Flag);
    found.unless(
        content.iter().filter(|&&byte| byte == b'_').count() == 6,
        Deviation::FieldCount,
    );
    let mut fields = content.split(|&byte| byte == b'_');
    found.unless(
        (fields.next(), fields.next()) == (Some(patient), Some(date)),
        Deviation::FolderMismatch,
    );
    (
        Some(Object {
            patient,
            date,
            type_folder,
            content,
            flag,
        }),
        found,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_in_its_content_folder_is_regular() {
        let path = "123/456/1234567890/20231205/^文書^^11506-3^経過記録^LN/\
                    1234567890_20231205_11506-3_20231205101112.94.14239.1002_20231205112233000_200_1/main.xml";
        let (Some(object), found) = parse(path.as_bytes()) else {
            panic!("it is an object")
        };
        assert!(found.is_empty());
        assert_eq!(object.flag, Some(crate::Flag::Valid));
    }

    #[test]
    fn six_fields_are_counted_as_a_deviation_and_keep_their_flag() {
        let path = b"012/345/0123456789/20160101/L-OBSERVATIONS^OBSERVATIONS^99ZL01/\
            0123456789_20160101_L-OBSERVATIONS^OBSERVATIONS^99ZL01_000000020160101_201601011500321_1/images/a.jpg";
        let (Some(object), found) = parse(path) else {
            panic!("it is an object")
        };
        assert!(found.contains(Deviation::FieldCount));
        assert_eq!(object.flag, Some(crate::Flag::Valid));
    }

    #[test]
    fn a_file_above_the_content_folder_is_counted() {
        assert!(parse(b"012/readme.txt").1.contains(Deviation::Depth));
    }
}
