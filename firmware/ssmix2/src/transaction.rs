//! Transaction storage (トランザクションストレージ): `<YYYY>/TR_YYYYMMDDHHMMSSFFF_nnnnn.DAT`.
//!
//! The newest file is appended to until it is rolled; it is collected like any other once it has been quiet, and again
//! as a changed file when it has grown.

use crate::{Deviation, Deviations, is_digits};

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Log<'a> {
    pub opened: &'a [u8],
    pub number: &'a [u8],
}

/// Reads a path relative to the root.
pub fn parse(path: &[u8]) -> (Option<Log<'_>>, Deviations) {
    let mut found = Deviations::NONE;
    let mut parts = path.split(|&byte| byte == b'/');
    let shape = (
        parts.next().is_some_and(|year| is_digits(year, 4)),
        parts.next().is_some(),
        parts.next().is_none(),
    );
    found.unless(shape == (true, true, true), Deviation::Depth);
    let name = crate::file_name(path);
    let log = name
        .strip_prefix(b"TR_")
        .and_then(|rest| rest.strip_suffix(b".DAT"))
        .and_then(|rest| {
            let at = rest.iter().position(|&byte| byte == b'_')?;
            Some(Log {
                opened: &rest[..at],
                number: &rest[at + 1..],
            })
        });
    match log {
        None => found.insert(Deviation::UnknownName),
        Some(log) => {
            found.unless(is_digits(log.opened, 17), Deviation::Timestamp);
            found.unless(is_digits(log.number, 5), Deviation::OrderNumber);
        }
    }
    (log, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rolled_file_is_regular_and_others_are_counted() {
        assert!(parse(b"2024/TR_20240101000000000_00001.DAT").1.is_empty());
        assert!(
            parse(b"2024/TR_20240101_00001.DAT")
                .1
                .contains(Deviation::Timestamp)
        );
        assert!(parse(b"2024/index.db").1.contains(Deviation::UnknownName));
        assert!(
            parse(b"TR_20240101000000000_00001.DAT")
                .1
                .contains(Deviation::Depth)
        );
    }
}
