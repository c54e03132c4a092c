//! DPC files and receipt files (レセプト電算): the same names come again every month, so that a name is no identity
//! over time; each content under a path is a version, keyed by path and digest like every other file's.
//!
//! Whether a receipt file is whole can be seen: its last record is `GO,…`, after which one byte 0x1A may follow.

use crate::{Deviation, Deviations, is_digits};

/// Kinds of DPC file by the first field of the name, compared without case.
pub const DPC_KINDS: [&str; 10] = [
    "FF1", "FF3", "FF4", "EFn", "EFg", "Dn", "En", "Fn", "Hn", "Kn",
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dpc<'a> {
    /// The path up to the name, with its last `/`.
    pub folder: &'a [u8],
    /// Index into [`DPC_KINDS`].
    pub kind: usize,
    /// The kind as it is written.
    pub word: &'a [u8],
    pub facility: &'a [u8],
    /// `YYMM`.
    pub month: &'a [u8],
    /// `.txt` as it is written, or nothing.
    pub ending: &'a [u8],
}

impl Dpc<'_> {
    /// The path that it was read from.
    pub fn render(&self) -> Vec<u8> {
        let fields = [self.word, self.facility, self.month];
        [self.folder, &fields.join(&b'_'), self.ending].concat()
    }
}

/// Reads `<kind>_<facility, 9 digits>_<YYMM>.txt`.
pub fn dpc(path: &[u8]) -> (Option<Dpc<'_>>, Deviations) {
    let mut found = Deviations::NONE;
    let name = crate::file_name(path);
    let (stem, ending) = match name.len().checked_sub(4) {
        Some(at) if name[at..].eq_ignore_ascii_case(b".txt") => name.split_at(at),
        _ => (name, &b""[..]),
    };
    let mut fields = stem.split(|&byte| byte == b'_');
    let (kind, facility, month, rest) =
        (fields.next(), fields.next(), fields.next(), fields.next());
    let known = kind.and_then(|word| {
        let same = |known: &&str| word.eq_ignore_ascii_case(known.as_bytes());
        Some((word, DPC_KINDS.iter().position(same)?))
    });
    match (known, facility, month, rest) {
        (Some((word, kind)), Some(facility), Some(month), None)
            if is_digits(facility, 9) && is_digits(month, 4) =>
        {
            let dpc = Dpc {
                folder: crate::folder(path),
                kind,
                word,
                facility,
                month,
                ending,
            };
            (Some(dpc), found)
        }
        _ => {
            found.insert(Deviation::UnknownName);
            (None, found)
        }
    }
}

/// Who is paid by a receipt file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    Medical,
    Dpc,
    Dental,
    Pharmacy,
}

/// Reads `RECEIPT<C|D|S|Y>.<UKE|HEN>`; a suffix before the dot is tolerated.
pub fn receipt(path: &[u8]) -> (Option<Claim>, Deviations) {
    let mut found = Deviations::NONE;
    let name = crate::file_name(path).to_ascii_uppercase();
    let claim = name
        .strip_prefix(b"RECEIPT")
        .filter(|rest| rest.ends_with(b".UKE") || rest.ends_with(b".HEN"))
        .and_then(|rest| match rest.first() {
            Some(b'C') => Some(Claim::Medical),
            Some(b'D') => Some(Claim::Dpc),
            Some(b'S') => Some(Claim::Dental),
            Some(b'Y') => Some(Claim::Pharmacy),
            _ => None,
        });
    if claim.is_none() {
        found.insert(Deviation::UnknownName);
    }
    (claim, found)
}

/// Bytes at the end of a receipt file that [`receipt_is_whole`] wants to see; a `GO` record is far shorter.
pub const RECEIPT_TAIL_BYTES: usize = 256;

/// Says whether the end of a receipt file (its last [`RECEIPT_TAIL_BYTES`], or all of it) shows that it is whole: the
/// last record is `GO`, ended by a line end or not, and at most one 0x1A follows.
///
/// `false` is no proof of the contrary: returned claims and other programs' files may lack the record. So the caller
/// waits longer, not for ever.
pub fn receipt_is_whole(tail: &[u8]) -> bool {
    let tail = tail.strip_suffix(b"\x1a").unwrap_or(tail);
    let tail = tail.strip_suffix(b"\n").unwrap_or(tail);
    let tail = tail.strip_suffix(b"\r").unwrap_or(tail);
    let record = tail.rsplit(|&byte| byte == b'\n').next().unwrap_or(tail);
    // GO, number of receipts, total of points, 99: without the last field the record itself may be half written
    record.starts_with(b"GO,")
        && record.ends_with(b",99")
        && record.iter().filter(|&&byte| byte == b',').count() == 3
}

/// What shows that a file is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// Its last record.
    ByRecord,
    /// Two looks that saw the same: no file of its kind shows its end.
    ByLooks,
    /// A file that should show its end and does not: it is waited for longer.
    Doubtful,
}

/// Says what shows that the file at this path is whole, given its last [`RECEIPT_TAIL_BYTES`] or all of it. An empty
/// file of any kind may be about to be filled.
pub fn whole(store: crate::Store, path: &[u8], tail: &[u8]) -> Whole {
    let shows = store == crate::Store::Receipt && receipt(path).0.is_some();
    if tail.is_empty() {
        Whole::Doubtful
    } else if !shows {
        Whole::ByLooks
    } else if receipt_is_whole(tail) {
        Whole::ByRecord
    } else {
        Whole::Doubtful
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpc_names_are_read_without_case_and_unknown_ones_counted() {
        assert!(dpc(b"FF1_123456789_2401.txt").1.is_empty());
        assert!(dpc(b"2024/efN_123456789_2401.TXT").0.is_some());
        assert!(
            dpc(b"EFx_123456789_2401.txt")
                .1
                .contains(Deviation::UnknownName)
        );
    }

    #[test]
    fn receipt_names_tell_the_kind_of_claim() {
        assert_eq!(receipt(b"202401/RECEIPTC.UKE").0, Some(Claim::Medical));
        assert_eq!(receipt(b"receiptd.uke").0, Some(Claim::Dpc));
        assert!(receipt(b"other.csv").1.contains(Deviation::UnknownName));
    }

    #[test]
    fn only_a_last_go_record_shows_a_whole_receipt_file() {
        assert!(receipt_is_whole(b"SI,01,1\r\nGO,140,123456,99\r\n\x1a"));
        assert!(receipt_is_whole(b"SI,01,1\r\nGO,140,123456,99\r\n"));
        assert!(receipt_is_whole(b"GO,140,123456,99"));
        for half in [
            &b""[..],
            b"SI,01,1\r\n",
            b"GO,140,123456,9",
            b"GO,140,1\r\n",
            b"GO,1,2,99\r\nSI,01\r\n",
            b"\x1a",
        ] {
            assert!(!receipt_is_whole(half));
        }
    }

    #[test]
    fn only_a_receipt_file_shows_its_end_and_an_empty_file_never_does() {
        use crate::Store::{Dpc, Receipt, Standardized};
        let go = b"GO,1,100,99\r\n";
        assert_eq!(whole(Receipt, b"x/RECEIPTC.UKE", go), Whole::ByRecord);
        assert_eq!(
            whole(Receipt, b"x/RECEIPTC.UKE", b"RE,1\r\n"),
            Whole::Doubtful
        );
        assert_eq!(whole(Receipt, b"x/list.csv", b"1,2"), Whole::ByLooks);
        assert_eq!(whole(Dpc, b"FF1_123456789_2401.txt", b"1"), Whole::ByLooks);
        assert_eq!(whole(Standardized, b"1/x", b""), Whole::Doubtful);
    }
}
