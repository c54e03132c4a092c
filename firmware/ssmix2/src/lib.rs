//! Names and layout of a hospital's stores: SS-MIX2 standardized, extended and transaction storage, DPC files,
//! receipt files (レセプト電算). No input or output: byte strings in, typed values out.
//!
//! Invariants
//! 1. Nothing here decides that a file is left behind, except the table in [`ignore`]: what no rule knows is carried
//!    and counted as a [`Deviation`].
//! 2. Names are raw bytes. They are never transcoded, and never part of an error, a count or a `Debug` output.
//! 3. The identity of an object is its name without the condition flag ([`Identity`]); the flag is always the last
//!    field, whatever the number of fields.
//! 4. What is read can be rendered again, byte for byte, from below its root on.
//!
//! Sources: JAMI SS-MIX2 standardized storage specification 1.2g and extended storage guideline 1.2c in the wording of
//! the NHO support documents; deviations as found in public samples (15-digit time stamps, 13-digit order numbers,
//! content folders of six fields, keys with dots).

#![forbid(unsafe_code)]

pub mod claims;
pub mod deviation;
pub mod extended;
pub mod flag;
pub mod identity;
pub mod ignore;
pub mod standardized;
pub mod transaction;

pub use deviation::{Deviation, Deviations};
pub use flag::{Flag, Flagged};
pub use identity::{Identity, content_folder, identity, unit};
pub use ignore::{Ignored, ignored};

/// What kind of root a path is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Standardized,
    Extended,
    Transaction,
    Dpc,
    Receipt,
}

/// What a path names, in its store's words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    Record(standardized::Object<'a>),
    /// A file of a document of extended storage.
    Content(extended::Object<'a>),
    Log(transaction::Log<'a>),
    Dpc(claims::Dpc<'a>),
    Receipt(claims::Claim),
    /// Known to no rule: carried like the others.
    Unknown,
}

/// A path without the root folder that it begins with, if it does: a source may be the folder above the roots, so that a
/// root that is begun next year is in it. A root is named by the ten digits of the facility (医療施設ID), and by what tells
/// the roots of one facility apart; the folders of patients that lie in it have names of three characters.
pub fn below_root(store: Store, path: &[u8]) -> &[u8] {
    let named = path.iter().position(|&byte| byte == b'/');
    let is_root = |name: &[u8]| {
        name.get(..10).is_some_and(|digits| is_digits(digits, 10))
            && name.get(10).is_none_or(|next| !next.is_ascii_digit())
    };
    match (store, named) {
        (Store::Dpc | Store::Receipt, _) | (_, None) => path,
        (_, Some(end)) if is_root(&path[..end]) => &path[end + 1..],
        (_, Some(_)) => path,
    }
}

/// Reads one file's path (components joined by `/`), relative to its root or to the folder above that.
pub fn read(store: Store, path: &[u8]) -> (Named<'_>, Deviations) {
    let path = below_root(store, path);
    fn named<'a, T>(
        (object, found): (Option<T>, Deviations),
        name: impl FnOnce(T) -> Named<'a>,
    ) -> (Named<'a>, Deviations) {
        (object.map_or(Named::Unknown, name), found)
    }
    match store {
        Store::Standardized => named(standardized::parse(path), Named::Record),
        Store::Extended => named(extended::parse(path), Named::Content),
        Store::Transaction => named(transaction::parse(path), Named::Log),
        Store::Dpc => named(claims::dpc(path), Named::Dpc),
        Store::Receipt => named(claims::receipt(path), Named::Receipt),
    }
}

/// Looks at one file's path as [`read`] does and says in what it deviates from the layout of its store. An empty set means:
/// as the specification has it.
pub fn deviations(store: Store, path: &[u8]) -> Deviations {
    read(store, path).1
}

/// The file name of a path: what follows the last `/`.
pub(crate) fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// What precedes the file name, with its last `/`.
pub(crate) fn folder(path: &[u8]) -> &[u8] {
    &path[..path.len() - file_name(path).len()]
}

pub(crate) fn is_digits(field: &[u8], count: usize) -> bool {
    field.len() == count && field.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_from_above_the_roots_is_read_from_below_its_root() {
        let record =
            b"999/901/9999013/-/ADT-00/9999013_-_ADT-00_999999999999999_20111220224447339_-_1";
        let content = b"123/456/1234567890/20231205/^^^11506-3^^LN/\
            1234567890_20231205_11506-3_000000000000001_20231205112233000_200_1/main.xml";
        let log = b"2024/TR_20240101000000000_00001.DAT";
        for (store, path) in [
            (Store::Standardized, &record[..]),
            (Store::Extended, content),
            (Store::Transaction, log),
        ] {
            assert!(deviations(store, path).is_empty());
            for root in ["1319999999", "1319999999_2024", "1319999999-2"] {
                let path = [root.as_bytes(), b"/", path].concat();
                assert!(deviations(store, &path).is_empty(), "{root}");
            }
            for other in ["131999999", "13199999990", "backup"] {
                let path = [other.as_bytes(), b"/", path].concat();
                assert!(!deviations(store, &path).is_empty(), "{other}");
            }
        }
        let claims = b"1319999999/RECEIPTC.UKE";
        assert_eq!(below_root(Store::Receipt, claims), claims);
    }
}
