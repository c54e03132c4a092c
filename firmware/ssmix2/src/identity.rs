//! What stays the same of an object while its condition flag changes, and which part of a path is one unit.

use crate::extended::{content_length, object_length, without_extension};
use crate::{Flag, Flagged, Store};

/// A file's path in two parts, around the condition flag of its object. Two paths with the same parts are the same file
/// of the same object, in whatever state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// Up to the flag; the whole path where the object has none.
    pub head: &'a [u8],
    /// After the flag: empty, except in extended storage.
    pub tail: &'a [u8],
    pub flag: Option<Flag>,
}

impl Identity<'_> {
    /// Whether both are the same file of the same object.
    pub fn is_same(&self, other: &Identity<'_>) -> bool {
        (self.head, self.tail, self.flag.is_some())
            == (other.head, other.tail, other.flag.is_some())
    }

    /// The path under this flag; without one, the path as it is.
    pub fn render(&self, flag: Option<Flag>) -> Vec<u8> {
        let digit = self.flag.and(flag).map(Flag::digit);
        [self.head, digit.as_slice(), self.tail].concat()
    }
}

/// Identity of the file at a path relative to its root, or to the folder above that.
///
/// DPC, receipt and transaction files have no flag: they are the same while their path is, and their versions differ in
/// digest.
pub fn identity(store: Store, path: &[u8]) -> Identity<'_> {
    let flagged = match store {
        Store::Standardized => path.len(),
        Store::Extended => {
            let below = crate::below_root(store, path);
            let end = path.len() - below.len() + object_length(below);
            if end == path.len() {
                path.len() - crate::file_name(path).len()
                    + without_extension(crate::file_name(path)).len()
            } else {
                end
            }
        }
        Store::Transaction | Store::Dpc | Store::Receipt => 0,
    };
    let object = &path[..flagged];
    match Flagged::parse(crate::file_name(object)) {
        Some(Flagged { flag, .. }) => Identity {
            head: &path[..flagged - 1],
            tail: &path[flagged..],
            flag: Some(flag),
        },
        None => Identity {
            head: path,
            tail: b"",
            flag: None,
        },
    }
}

/// The part of a file's path that is one unit: what changes its state at once, and is looked at as one. The content
/// folder in extended storage, everywhere else the file.
pub fn unit(store: Store, path: &[u8]) -> &[u8] {
    let folder = path.len() - crate::file_name(path).len();
    content_folder(store, &path[..folder.saturating_sub(1)]).unwrap_or(path)
}

/// The content folder that a folder is or lies in: the first one whose name carries a flag, or where none does, as its
/// place below the root says. `None`: the files in it are units of their own.
pub fn content_folder(store: Store, folder: &[u8]) -> Option<&[u8]> {
    if store != Store::Extended {
        return None;
    }
    let mut end = 0;
    for name in folder.split(|&byte| byte == b'/') {
        end += name.len();
        if Flagged::parse(name).is_some() {
            return Some(&folder[..end]);
        }
        end += 1;
    }
    let below = crate::below_root(store, folder);
    content_length(below).map(|length| &folder[..folder.len() - below.len() + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &str = "1234567890_20231205_11506-3_000000000000001_20231205112233000_200_";
    const ABOVE: &str = "123/456/1234567890/20231205/^^^11506-3^^LN";

    #[test]
    fn all_files_of_a_content_folder_are_one_unit_and_keep_their_identity_when_it_is_renamed() {
        let path = |flag: u8, file: &str| format!("{ABOVE}/{CONTENT}{flag}/{file}");
        let (one, two, other) = (
            path(1, "images/a_1"),
            path(2, "images/a_1"),
            path(1, "main.xml"),
        );
        let of = |path| identity(Store::Extended, path);
        assert!(of(one.as_bytes()).is_same(&of(two.as_bytes())));
        assert!(!of(one.as_bytes()).is_same(&of(other.as_bytes())));
        let [deep_one, deep_two] = [&one, &two].map(|path| format!("1319999999/{path}"));
        assert!(of(deep_one.as_bytes()).is_same(&of(deep_two.as_bytes())));
        let unit = |path| unit(Store::Extended, path);
        assert_eq!(unit(one.as_bytes()), unit(other.as_bytes()));
        assert_eq!(
            unit(one.as_bytes()),
            format!("{ABOVE}/{CONTENT}1").as_bytes()
        );
    }

    #[test]
    fn a_folder_belongs_to_a_unit_by_the_first_flag_in_its_path_or_by_its_place() {
        let of = |path: &str| {
            let found = content_folder(Store::Extended, path.as_bytes());
            found.map(|unit| String::from_utf8_lossy(unit).into_owned())
        };
        let unit = format!("{ABOVE}/{CONTENT}1");
        for below in ["", "/images", "/images/a_b_c_d_e_f_1"] {
            assert_eq!(of(&format!("{unit}{below}")), Some(unit.clone()));
        }
        assert_eq!(of(ABOVE), None);
        // a root above the facilities, and a name without a flag
        let deeper = format!("1319999999/{unit}");
        assert_eq!(of(&format!("{deeper}/images")), Some(deeper));
        for above in [ABOVE.to_owned(), format!("1319999999_2023/{ABOVE}")] {
            let unflagged = format!("{above}/letters");
            assert_eq!(of(&format!("{unflagged}/2023")), Some(unflagged));
            assert_eq!(of(&above), None);
        }
        assert_eq!(content_folder(Store::Standardized, unit.as_bytes()), None);
    }

    #[test]
    fn a_file_of_the_old_layout_keeps_its_identity_with_its_extension() {
        let path = |flag: u8, ending: &str| format!("{ABOVE}/{CONTENT}{flag}{ending}");
        let (one, deleted, other) = (path(1, ".xml"), path(0, ".xml"), path(1, ".pdf"));
        let of = |path| identity(Store::Extended, path);
        assert!(of(one.as_bytes()).is_same(&of(deleted.as_bytes())));
        assert!(!of(one.as_bytes()).is_same(&of(other.as_bytes())));
    }

    #[test]
    fn files_of_the_month_have_no_flag_whatever_their_name() {
        let path = b"a_b_c_d_e_f_1";
        for store in [Store::Dpc, Store::Receipt, Store::Transaction] {
            assert!(identity(store, path).flag.is_none());
            assert_eq!(unit(store, path), path);
        }
    }
}
