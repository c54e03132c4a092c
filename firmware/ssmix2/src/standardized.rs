//! Standardized storage (標準化ストレージ):
//! `<pid[0:3]>/<pid[3:6]>/<pid>/<date of care>/<data type>/<file>`, file of seven fields joined by `_`:
//! patient ID, date of care, data type, order number, time of occurrence, department, condition flag.

use crate::{Deviation, Deviations, Flagged, is_digits};

/// The 26 folders of version 1.2g.
pub const DATA_TYPES: [&str; 26] = [
    "ADT-00", "ADT-01", "ADT-12", "ADT-21", "ADT-22", "ADT-31", "ADT-32", "ADT-41", "ADT-42",
    "ADT-51", "ADT-52", "ADT-61", "PPR-01", "OMD", "OMP-01", "OMP-11", "OMP-02", "OMP-12",
    "OML-01", "OML-11", "OMG-01", "OMG-11", "OMG-02", "OMG-12", "OMG-03", "OMG-13",
];

/// The fields of a file's name as they stand there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Object<'a> {
    /// The path up to the name, with its last `/`.
    pub folder: &'a [u8],
    pub patient: &'a [u8],
    pub date: &'a [u8],
    pub data_type: &'a [u8],
    pub order: &'a [u8],
    pub occurred: &'a [u8],
    pub department: &'a [u8],
    /// The last field: the flag, or whatever stands in its place.
    pub last: &'a [u8],
    pub flag: Option<crate::Flag>,
}

impl Object<'_> {
    /// The path that it was read from.
    pub fn render(&self) -> Vec<u8> {
        let fields = [
            self.patient,
            self.date,
            self.data_type,
            self.order,
            self.occurred,
            self.department,
            self.last,
        ];
        [self.folder, &fields.join(&b'_')].concat()
    }
}

/// Reads a path relative to the root. An object is returned whenever the name has seven fields.
pub fn parse(path: &[u8]) -> (Option<Object<'_>>, Deviations) {
    let mut found = Deviations::NONE;
    let mut parts = [&b""[..]; 6];
    let mut count = 0;
    for part in path.split(|&byte| byte == b'/') {
        if let Some(place) = parts.get_mut(count) {
            *place = part;
        }
        count += 1;
    }
    found.unless(count == parts.len(), Deviation::Depth);

    let name = crate::file_name(path);
    let mut fields = [&b""[..]; 7];
    let mut field_count = 0;
    for field in name.split(|&byte| byte == b'_') {
        if let Some(place) = fields.get_mut(field_count) {
            *place = field;
        }
        field_count += 1;
    }
    let flag = Flagged::parse(name).map(|flagged| flagged.flag);
    found.unless(flag.is_some(), Deviation::Flag);
    if field_count != fields.len() {
        found.insert(Deviation::FieldCount);
        return (None, found);
    }
    let [patient, date, data_type, order, occurred, department, last] = fields;
    found.unless(date == b"-" || is_digits(date, 8), Deviation::Date);
    found.unless(
        DATA_TYPES.iter().any(|known| known.as_bytes() == data_type),
        Deviation::UnknownType,
    );
    found.unless(is_digits(order, 15), Deviation::OrderNumber);
    found.unless(is_digits(occurred, 17), Deviation::Timestamp);
    found.unless(
        department == b"-" || matches!(department.len(), 2 | 3),
        Deviation::Department,
    );
    if count == parts.len() {
        let upper = (patient.get(..3), patient.get(3..6.min(patient.len())));
        found.unless(
            upper == (Some(parts[0]), Some(parts[1])),
            Deviation::PatientFolder,
        );
        found.unless(
            parts[2..5] == [patient, date, data_type],
            Deviation::FolderMismatch,
        );
    }
    (
        Some(Object {
            folder: crate::folder(path),
            patient,
            date,
            data_type,
            order,
            occurred,
            department,
            last,
            flag,
        }),
        found,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(path: &str) -> Vec<&'static str> {
        parse(path.as_bytes())
            .1
            .iter()
            .map(|(_, word)| word)
            .collect()
    }

    #[test]
    fn a_regular_path_has_no_deviation_and_all_fields() {
        let path =
            b"999/901/9999013/-/ADT-00/9999013_-_ADT-00_999999999999999_20111220224447339_-_1";
        let (Some(object), found) = parse(path) else {
            panic!("it is an object")
        };
        assert!(found.is_empty());
        assert!(
            object.patient == b"9999013" && object.data_type == b"ADT-00" && object.date == b"-"
        );
        assert_eq!(object.flag, Some(crate::Flag::Valid));
    }

    #[test]
    fn deviations_of_public_samples_are_named_and_still_parsed() {
        assert_eq!(
            kinds(
                "999/901/9999013/20111220/OMG-11/9999013_20111220_OMG-11_2011122000300_20111220224447339_24_1"
            ),
            ["order-number"]
        );
        assert_eq!(
            kinds(
                "012/345/0123456789/20080126/OML-11/0123456789_20080126_OML-11_081251234567800_200802031630123_01_1"
            ),
            ["timestamp"]
        );
        assert_eq!(
            kinds(
                "000/000/0000001/20000401/ADT-31/9999013_20110630_OMP-11_123456789012345_20110701113813225_01_1"
            ),
            ["patient-folder", "folder-mismatch"]
        );
    }

    #[test]
    fn an_unknown_type_or_an_alien_file_is_counted_not_refused() {
        assert_eq!(kinds("1/x"), ["depth", "field-count", "flag"]);
        assert_eq!(
            kinds(
                "999/901/9999013/-/ZZZ-99/9999013_-_ZZZ-99_999999999999999_20111220224447339_-_1"
            ),
            ["unknown-type"]
        );
    }

    #[test]
    fn no_byte_string_panics() {
        for path in [
            &b""[..],
            b"/",
            b"//////////",
            b"_______",
            b"\xff\xfe/\x00_",
            b"a/b/c/d/e/1_2_3_4_5_6_7",
        ] {
            let _ = parse(path);
        }
    }
}
