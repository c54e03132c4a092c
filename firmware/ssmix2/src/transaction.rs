//! Transaction storage (トランザクションストレージ): `<YYYY>/TR_YYYYMMDDHHMMSSFFF_nnnnn.DAT`, in each file all messages in
//! the order of sending, each after one header line.
//!
//! The newest file is appended to until it is rolled; it is collected like any other once it has been quiet, and again
//! as a changed file when it has grown. Its headers say where something was written: a hint, never the truth.

use crate::{Deviation, Deviations, is_digits};

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Log<'a> {
    /// The path up to the name, with its last `/`.
    pub folder: &'a [u8],
    pub opened: &'a [u8],
    pub number: &'a [u8],
}

impl Log<'_> {
    /// The path that it was read from.
    pub fn render(&self) -> Vec<u8> {
        [self.folder, b"TR_", self.opened, b"_", self.number, b".DAT"].concat()
    }
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
                folder: crate::folder(path),
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

/// What a message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processing {
    /// `INS`: new or changed.
    Insert,
    /// `DEL`
    Delete,
}

/// A header line: `#SSMIX,2.00,<facility>,<patient>,<date of care or ->,<data type>,<order>,<INS|DEL>,<department or ->,<time>`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub version: &'a [u8],
    pub facility: &'a [u8],
    pub patient: &'a [u8],
    pub date: &'a [u8],
    pub data_type: &'a [u8],
    pub order: &'a [u8],
    pub processing: Processing,
    pub department: &'a [u8],
    /// Time of occurrence (発生日時).
    pub occurred: &'a [u8],
}

/// How a header line begins.
const MARK: &[u8] = b"#SSMIX,";

/// Fields of a header, the mark among them.
const FIELDS: usize = 10;

impl<'a> Header<'a> {
    /// Reads one line, without its end. `None` for what cannot be a header.
    pub fn parse(line: &'a [u8]) -> (Option<Self>, Deviations) {
        let mut found = Deviations::NONE;
        let mut fields = [&b""[..]; FIELDS];
        let mut count = 0;
        for field in line.split(|&byte| byte == b',') {
            if let Some(place) = fields.get_mut(count) {
                *place = field;
            }
            count += 1;
        }
        let [
            mark,
            version,
            facility,
            patient,
            date,
            data_type,
            order,
            word,
            department,
            occurred,
        ] = fields;
        let processing = match word {
            b"INS" => Some(Processing::Insert),
            b"DEL" => Some(Processing::Delete),
            _ => None,
        };
        found.unless(count == FIELDS, Deviation::FieldCount);
        let (b"#SSMIX", Some(processing), true) = (mark, processing, count == FIELDS) else {
            found.insert(Deviation::UnknownName);
            return (None, found);
        };
        found.unless(date == b"-" || is_digits(date, 8), Deviation::Date);
        found.unless(is_digits(order, 15), Deviation::OrderNumber);
        found.unless(is_digits(occurred, 17), Deviation::Timestamp);
        let header = Self {
            version,
            facility,
            patient,
            date,
            data_type,
            order,
            processing,
            department,
            occurred,
        };
        (Some(header), found)
    }

    /// The line that it was read from.
    pub fn render(&self) -> Vec<u8> {
        let word: &[u8] = match self.processing {
            Processing::Insert => b"INS",
            Processing::Delete => b"DEL",
        };
        let fields = [
            b"#SSMIX",
            self.version,
            self.facility,
            self.patient,
            self.date,
            self.data_type,
            self.order,
            word,
            self.department,
            self.occurred,
        ];
        fields.join(&b',')
    }

    /// The folder of standardized storage in which the message's file should lie, below the facility's root. `None`
    /// where the fields cannot be names of folders.
    pub fn folder(&self) -> Option<Vec<u8>> {
        let name = |part: &[u8]| {
            !part.is_empty()
                && part != b"."
                && part != b".."
                && !part.contains(&b'/')
                && !part.contains(&0)
        };
        let parts = [
            self.patient.get(..3)?,
            self.patient.get(3..6)?,
            self.patient,
            self.date,
            self.data_type,
        ];
        parts.into_iter().all(name).then(|| parts.join(&b'/'))
    }
}

/// A header in a file of transaction storage: its offset, the header if the line is one, and how the line deviates.
pub type Line<'a> = (usize, Option<Header<'a>>, Deviations);

/// The header lines among the bytes of a file, from any line's beginning on. Lines end with CR, LF or both. A last line
/// without its end is left out: it may be half-written.
pub fn headers(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = bytes.get(at..)?;
            let length = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
            let (line, start) = (&rest[..length], at);
            at += length + 1;
            if line.starts_with(MARK) {
                let (header, found) = Header::parse(line);
                return Some((start, header, found));
            }
        }
    })
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

    const FIRST: &str = "#SSMIX,2.00,1319999999,0123456789,20240401,OMP-01,000000011000185,INS,01,20240401101500123";

    #[test]
    fn headers_are_found_between_messages_and_tell_the_folder_of_the_file() {
        let second = FIRST.replace("INS", "DEL");
        let file = format!("{FIRST}\rMSH|^~\\&|#SSMIX,\rPID|1\r{second}\r\nMSH|\r{FIRST}");
        let found: Vec<Line<'_>> = headers(file.as_bytes()).collect();
        assert_eq!(found.len(), 2, "the last line is not ended");
        let (offset, Some(header), deviations) = found[1] else {
            panic!("it is a header")
        };
        assert!(file[offset..].starts_with(&second) && deviations.is_empty());
        assert_eq!(header.processing, Processing::Delete);
        assert_eq!(
            header.folder().as_deref(),
            Some(&b"012/345/0123456789/20240401/OMP-01"[..])
        );
    }

    #[test]
    fn a_line_that_is_no_header_is_counted_and_leads_nowhere() {
        let (header, found) = Header::parse(b"#SSMIX,2.00,1,2,3");
        assert!(header.is_none());
        assert!(found.contains(Deviation::FieldCount) && found.contains(Deviation::UnknownName));
        let outside = FIRST.replace("OMP-01", "..");
        let (Some(header), _) = Header::parse(outside.as_bytes()) else {
            panic!("it is a header")
        };
        assert!(header.folder().is_none());
    }
}
