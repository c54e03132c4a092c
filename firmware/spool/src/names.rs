//! Names in the spool's directory. The table is in `FORMAT.md`.

const SLOT: &str = ".append-";
const ERASED: &str = ".erased-";
const DIGITS: usize = 10;
/// The last number that has a name.
pub const LAST: u64 = 9_999_999_999;

/// The file of the latest erasures.
pub const ERASURES: &str = ".erasures";

/// What a name in the directory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bundle in the queue, of whatever box.
    Queued(u64),
    /// Room for the bundle of this number, or that bundle before it is named.
    Slot(u64),
    /// The record of an erased bundle.
    Erased(u64),
    /// The latest erasures.
    Erasures,
    /// None of the spool's.
    Alien,
}

/// File name of a bundle.
pub fn bundle_name(box_name: &str, sequence: u64) -> String {
    format!("{box_name}-{sequence:010}.cms")
}

/// Sequence number in a bundle's file name, whatever the box; `None` for any other file.
pub fn sequence_of(name: &str) -> Option<u64> {
    let (box_name, digits) = name.strip_suffix(".cms")?.rsplit_once('-')?;
    number(digits).filter(|_| !box_name.is_empty() && !box_name.starts_with('.'))
}

pub(crate) fn slot_name(sequence: u64) -> String {
    format!("{SLOT}{sequence:010}")
}

pub(crate) fn erased_name(sequence: u64) -> String {
    format!("{ERASED}{sequence:010}")
}

pub(crate) fn kind(name: &str) -> Kind {
    let after = |prefix| name.strip_prefix(prefix).and_then(number);
    if let Some(sequence) = sequence_of(name) {
        Kind::Queued(sequence)
    } else if let Some(sequence) = after(SLOT) {
        Kind::Slot(sequence)
    } else if let Some(sequence) = after(ERASED) {
        Kind::Erased(sequence)
    } else if name == ERASURES {
        Kind::Erasures
    } else {
        Kind::Alien
    }
}

fn number(digits: &str) -> Option<u64> {
    let regular = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    // there is no bundle 0
    digits.parse().ok().filter(|number| regular && *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_kind_only_and_reads_back() {
        for sequence in [1, 42, 9_999_999_999] {
            let of_queue = bundle_name("ward-7", sequence);
            assert_eq!(kind(&of_queue), Kind::Queued(sequence));
            assert_eq!(sequence_of(&of_queue), Some(sequence));
            assert_eq!(kind(&slot_name(sequence)), Kind::Slot(sequence));
            assert_eq!(kind(&erased_name(sequence)), Kind::Erased(sequence));
        }
        assert_eq!(kind(".erasures"), Kind::Erasures);
        for alien in [
            "",
            "box-1.cms",
            "-0000000001.cms",
            "box-0000000000.cms",
            "box-00000000001.cms",
            "box-000000000x.cms",
            ".append-0000000001.cms",
            ".append-",
            ".append-+000000001",
            ".head",
            "lost+found",
        ] {
            assert_eq!(kind(alien), Kind::Alien, "{alien}");
        }
    }
}
