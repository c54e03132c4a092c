//! Names and layout of a hospital's stores: SS-MIX2 standardized, extended and transaction storage, DPC files,
//! receipt files (レセプト電算). No input or output: byte strings in, typed values out.
//!
//! Invariants
//! 1. Nothing here decides that a file is left behind, except the table in [`ignore`]: what no rule knows is carried
//!    and counted as a [`Deviation`].
//! 2. Names are raw bytes. They are never transcoded, and never part of an error, a count or a `Debug` output.
//! 3. The identity of an object is its name without the condition flag ([`Identity`]); the flag is always the last
//!    field, whatever the number of fields.
//! 4. What is read can be rendered again, byte for byte.
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

/// Reads one file's path (components joined by `/`, relative to its root).
pub fn read(store: Store, path: &[u8]) -> (Named<'_>, Deviations) {
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

/// Looks at one file's path (components joined by `/`, relative to its root) and says in what it deviates from the
/// layout of its store. An empty set means: as the specification has it.
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
