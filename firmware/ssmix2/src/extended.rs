//! Extended storage (拡張ストレージ), in both layouts that are in the field.
//!
//! | layout | path | the object |
//! |---|---|---|
//! | since 1.2b revised | `<pid[0:3]>/<pid[3:6]>/<pid>/<date of care>/<type folder>/<content folder>/<files…>` | the content folder |
//! | up to 1.2b | `<pid[0:3]>/<pid[3:6]>/<pid>/<date of care>/<type folder>/<file>` | the file |
//!
//! The object's name ends with the condition flag, which a file of the old layout may have before an extension. Files of
//! a content folder may lie in folders of their own and have any name. Type codes may contain `^`, `_` and Japanese
//! text, and keys may contain dots, so only the ends of an object's name are read.
//!
//! The text of the old layout's specification was not to be had: that there is no content folder is all that is assumed
//! of it, and each of its files is counted as [`Deviation::OldLayout`].

use crate::{Deviation, Deviations, Flag, Flagged, is_digits};

/// Place of the object's name among the components of a path.
const OBJECT: usize = 5;

/// What the object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    ContentFolder,
    /// Up to version 1.2b.
    File,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Object<'a> {
    pub layout: Layout,
    /// The two folders above the patient's.
    pub upper: [&'a [u8]; 2],
    pub patient: &'a [u8],
    pub date: &'a [u8],
    pub type_folder: &'a [u8],
    /// Name of the content folder, or of the file in the old layout.
    pub content: &'a [u8],
    pub flag: Option<Flag>,
    /// Path of the file below the content folder; empty in the old layout.
    pub below: &'a [u8],
}

impl Object<'_> {
    /// The path that it was read from.
    pub fn render(&self) -> Vec<u8> {
        let [first, second] = self.upper;
        let mut parts = vec![
            first,
            second,
            self.patient,
            self.date,
            self.type_folder,
            self.content,
        ];
        if self.layout == Layout::ContentFolder {
            parts.push(self.below);
        }
        parts.join(&b'/')
    }
}

/// Reads the path of a file relative to the root.
pub fn parse(path: &[u8]) -> (Option<Object<'_>>, Deviations) {
    let mut found = Deviations::NONE;
    let mut parts = path.splitn(OBJECT + 2, |&byte| byte == b'/');
    let mut next = || parts.next();
    let (Some(first), Some(second), Some(patient), Some(date), Some(type_folder), Some(content)) =
        (next(), next(), next(), next(), next(), next())
    else {
        found.insert(Deviation::Depth);
        return (None, found);
    };
    let (layout, below) = match next() {
        Some(below) => (Layout::ContentFolder, below),
        None => (Layout::File, &b""[..]),
    };
    if layout == Layout::File {
        found.insert(Deviation::OldLayout);
    }
    found.unless(date == b"-" || is_digits(date, 8), Deviation::Date);
    found.unless(
        (patient.get(..3), patient.get(3..6.min(patient.len()))) == (Some(first), Some(second)),
        Deviation::PatientFolder,
    );
    let name = match layout {
        Layout::ContentFolder => content,
        Layout::File => without_extension(content),
    };
    let flag = Flagged::parse(name).map(|flagged| flagged.flag);
    found.unless(flag.is_some(), Deviation::Flag);
    if name.iter().filter(|&&byte| byte == b'_').count() == 6 {
        let mut ends = name.rsplit(|&byte| byte == b'_').skip(1);
        let department = ends.next().unwrap_or(b"");
        found.unless(
            department == b"-" || matches!(department.len(), 2 | 3),
            Deviation::Department,
        );
        let occurred = ends.next().unwrap_or(b"");
        found.unless(is_digits(occurred, 17), Deviation::Timestamp);
    } else {
        found.insert(Deviation::FieldCount);
    }
    let mut fields = name.split(|&byte| byte == b'_');
    found.unless(
        (fields.next(), fields.next()) == (Some(patient), Some(date)),
        Deviation::FolderMismatch,
    );
    let object = Object {
        layout,
        upper: [first, second],
        patient,
        date,
        type_folder,
        content,
        flag,
        below,
    };
    (Some(object), found)
}

/// A name without what follows the first dot of its last field: dots in earlier fields belong to keys.
pub(crate) fn without_extension(name: &[u8]) -> &[u8] {
    let last = name
        .iter()
        .rposition(|&byte| byte == b'_')
        .map_or(0, |at| at + 1);
    match name[last..].iter().position(|&byte| byte == b'.') {
        Some(dot) => &name[..last + dot],
        None => name,
    }
}

/// The length of the part of a path that names its object: the content folder, or the whole path.
pub(crate) fn object_length(path: &[u8]) -> usize {
    path.iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .nth(OBJECT)
        .map_or(path.len(), |(at, _)| at)
}

/// The length of the part of a folder's path that is at the place of a content folder, if it goes so deep.
pub(crate) fn content_length(folder: &[u8]) -> Option<usize> {
    let above = folder.iter().filter(|byte| **byte == b'/').count();
    (above >= OBJECT).then(|| object_length(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &[u8]) -> (Object<'_>, Deviations) {
        let (Some(object), found) = parse(path) else {
            panic!("it is an object")
        };
        (object, found)
    }

    #[test]
    fn a_document_in_its_content_folder_is_regular() {
        let path = "123/456/1234567890/20231205/^文書^^11506-3^経過記録^LN/\
                    1234567890_20231205_11506-3_20231205101112.94.14239.1002_20231205112233000_200_1/main.xml";
        let (object, found) = read(path.as_bytes());
        assert!(found.is_empty());
        assert_eq!(object.flag, Some(Flag::Valid));
        assert_eq!(
            (object.layout, object.below),
            (Layout::ContentFolder, &b"main.xml"[..])
        );
    }

    #[test]
    fn six_fields_are_counted_as_a_deviation_and_keep_their_flag() {
        let path = b"012/345/0123456789/20160101/L-OBSERVATIONS^OBSERVATIONS^99ZL01/\
            0123456789_20160101_L-OBSERVATIONS^OBSERVATIONS^99ZL01_000000020160101_201601011500321_1/images/a.jpg";
        let (object, found) = read(path);
        assert!(found.contains(Deviation::FieldCount));
        assert_eq!(object.flag, Some(Flag::Valid));
        assert_eq!(object.below, b"images/a.jpg");
    }

    #[test]
    fn a_file_of_the_old_layout_is_an_object_of_its_own_with_the_flag_before_its_extension() {
        for (name, flag) in [
            (
                "1234567890_20140105_11506-3_20140105101112.94_20140105112233000_200_1.xml",
                Flag::Valid,
            ),
            (
                "1234567890_20140105_11506-3_000000000000001_20140105112233000_200_0",
                Flag::Deleted,
            ),
        ] {
            let path = format!("123/456/1234567890/20140105/^文書^^11506-3^経過記録^LN/{name}");
            let (object, found) = read(path.as_bytes());
            assert_eq!((object.layout, object.flag), (Layout::File, Some(flag)));
            let words: Vec<_> = found.iter().map(|(_, word)| word).collect();
            assert_eq!(words, ["old-layout"]);
        }
    }

    #[test]
    fn a_file_above_the_type_folders_is_counted() {
        assert!(parse(b"012/readme.txt").1.contains(Deviation::Depth));
    }
}
