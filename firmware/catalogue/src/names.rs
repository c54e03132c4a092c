//! Names coded as what they add to the path that leads to them.
//!
//! An SS-MIX2 name repeats its path: `<patient>_<date>_<type>_<order>_<time>_<department>_<flag>`. A name is split at
//! `_`; each field is a reference to a folder above, a number, a time within the folder's date, a word met before, or a
//! single byte. The kinds of a name's fields are its shape; shapes recur and are numbered. Names that fit no shape are
//! stored as they are, so any bytes can be coded.
//!
//! Invariants
//! 1. Coder and decoder see the same names in the same order and keep the same [`Context`]; what the one writes the other
//!    reads back byte for byte (property test).
//! 2. Decoding any bytes ends: it gives a name or `None`, and never more memory than the input's length asks for.
//!
//! Bytes of a name: number of its shape as a varint: 0, then length and bytes; the number of a known shape, counted
//! from 1; or the next free number, then the count of fields and the kind of each; then each field's payload in turn.

const FIELDS: usize = 12;
const WORDS: usize = 255;
const WORD_BYTES: usize = 96;
const SHAPES: usize = 127;
/// Folders above that a field may repeat.
const ABOVE: usize = 8;

/// Kind of a field; one byte in a shape's definition, two for `Byte`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    /// The name of the folder so many levels up; 0 is the nearest.
    Above(u8),
    Byte(u8),
    /// So many digits: the difference to the number that stood in this place before.
    Number(u8),
    /// So many digits, of which the first eight are the nearest folder of eight digits: the others.
    Within(u8),
    /// Place in the list of words; the next free one brings a new word.
    Word,
    /// Length and bytes.
    Plain,
}

const BYTE: u8 = 0x10;
const NUMBER: u8 = 0x20;
const WITHIN: u8 = 0x40;
const WORD: u8 = 0x60;
const PLAIN: u8 = 0x61;

impl Field {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Above(level) => out.push(level),
            Self::Byte(byte) => out.extend([BYTE, byte]),
            Self::Number(digits) => out.push(NUMBER + digits),
            Self::Within(digits) => out.push(WITHIN + digits),
            Self::Word => out.push(WORD),
            Self::Plain => out.push(PLAIN),
        }
    }

    fn read(input: &mut Input<'_>) -> Option<Self> {
        Some(match input.byte()? {
            level @ 0..8 => Self::Above(level),
            BYTE => Self::Byte(input.byte()?),
            kind @ 0x21..=0x33 => Self::Number(kind - NUMBER),
            kind @ 0x49..=0x51 => Self::Within(kind - WITHIN),
            WORD => Self::Word,
            PLAIN => Self::Plain,
            _ => return None,
        })
    }
}

/// What coder and decoder remember.
#[derive(Default)]
pub struct Context {
    shapes: Vec<Vec<Field>>,
    words: Vec<Vec<u8>>,
    /// By use (folder, file) and place of the field.
    numbers: [[u64; FIELDS]; 2],
    /// The time that the last name spoke of, in milliseconds since 1970 as if it were UTC.
    pub moment_ms: Option<i64>,
}

/// What a name is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Folder,
    File,
}

impl Context {
    /// Codes a name below the folders `above`, nearest last.
    pub fn write(&mut self, of: Of, above: &[&[u8]], name: &[u8], out: &mut Vec<u8>) {
        self.moment_ms = None;
        let fields: Vec<&[u8]> = name.split(|&byte| byte == b'_').collect();
        let shape: Vec<Field> = fields
            .iter()
            .map(|field| self.field(above, field))
            .collect();
        let known = self.shapes.iter().position(|known| *known == shape);
        if fields.len() > FIELDS || (known.is_none() && self.shapes.len() >= SHAPES) {
            out.push(0);
            write_bytes(out, name);
            return;
        }
        match known {
            Some(place) => write_varint(out, place as u64 + 1),
            None => {
                write_varint(out, self.shapes.len() as u64 + 1);
                out.push(shape.len() as u8);
                shape.iter().for_each(|field| field.write(out));
                self.shapes.push(shape.clone());
            }
        }
        for (place, (kind, field)) in shape.iter().zip(fields).enumerate() {
            match kind {
                Field::Above(_) | Field::Byte(_) => {}
                Field::Plain => write_bytes(out, field),
                Field::Word => self.write_word(field, out),
                Field::Within(_) => {
                    write_varint(out, value(&field[8..]).unwrap_or_default());
                    self.note_moment(field);
                }
                Field::Number(_) => {
                    let value = value(field).unwrap_or_default();
                    let before = std::mem::replace(&mut self.numbers[of as usize][place], value);
                    write_varint(out, zigzag(value.wrapping_sub(before) as i64));
                    self.note_moment(field);
                }
            }
        }
    }

    fn field(&self, above: &[&[u8]], field: &[u8]) -> Field {
        if let [byte] = field {
            return Field::Byte(*byte);
        }
        let repeated = above
            .iter()
            .rev()
            .take(ABOVE)
            .position(|folder| *folder == field);
        if let Some(level) = repeated {
            return Field::Above(level as u8);
        }
        let digits = field.len() as u8;
        let is_number = (4..=19).contains(&field.len()) && field.iter().all(u8::is_ascii_digit);
        if is_number
            && (9..=17).contains(&digits)
            && date(above).is_some_and(|date| *date == field[..8])
        {
            return Field::Within(digits);
        }
        if self.words.iter().any(|word| word == field) {
            return Field::Word;
        }
        // a number that stands for none, all nines, would be far from its neighbours
        if is_number && field.iter().any(|&byte| byte != b'9') {
            return Field::Number(digits);
        }
        if self.words.len() < WORDS && field.len() <= WORD_BYTES {
            Field::Word
        } else {
            Field::Plain
        }
    }

    fn write_word(&mut self, field: &[u8], out: &mut Vec<u8>) {
        match self.words.iter().position(|word| word == field) {
            Some(place) => write_varint(out, place as u64),
            // two new words in one name may find only one place left: the second stands at the place one past the list
            None => {
                write_varint(out, self.words.len() as u64);
                write_bytes(out, field);
                self.words.push(field.to_vec());
            }
        }
    }

    /// Appends the next name to `name`.
    pub fn read(
        &mut self,
        of: Of,
        above: &[&[u8]],
        input: &mut Input<'_>,
        name: &mut Vec<u8>,
    ) -> Option<()> {
        self.moment_ms = None;
        let number = usize::try_from(input.varint()?).ok()?;
        if number == 0 {
            name.extend_from_slice(input.bytes()?);
            return Some(());
        }
        if number == self.shapes.len() + 1 {
            let count = input.byte()? as usize;
            if count > FIELDS {
                return None;
            }
            let shape = (0..count)
                .map(|_| Field::read(input))
                .collect::<Option<_>>()?;
            self.shapes.push(shape);
        }
        let shape = std::mem::take(self.shapes.get_mut(number - 1)?);
        let read = self.read_fields(of, above, &shape, input, name);
        self.shapes[number - 1] = shape;
        read
    }

    fn read_fields(
        &mut self,
        of: Of,
        above: &[&[u8]],
        shape: &[Field],
        input: &mut Input<'_>,
        name: &mut Vec<u8>,
    ) -> Option<()> {
        for (place, kind) in shape.iter().enumerate() {
            if place > 0 {
                name.push(b'_');
            }
            match *kind {
                Field::Above(level) => {
                    let folder = above.len().checked_sub(usize::from(level) + 1)?;
                    name.extend_from_slice(above.get(folder)?);
                }
                Field::Byte(byte) => name.push(byte),
                Field::Plain => name.extend_from_slice(input.bytes()?),
                Field::Word => {
                    let place = usize::try_from(input.varint()?).ok()?;
                    if place == self.words.len() {
                        self.words.push(input.bytes()?.to_vec());
                    }
                    name.extend_from_slice(self.words.get(place)?);
                }
                Field::Within(digits) => {
                    let start = name.len();
                    name.extend_from_slice(date(above)?);
                    push_digits(name, input.varint()?, digits - 8);
                    self.note_moment(&name[start..]);
                }
                Field::Number(digits) => {
                    let start = name.len();
                    let slot = &mut self.numbers[of as usize][place];
                    *slot = slot.wrapping_add(unzigzag(input.varint()?) as u64);
                    let value = *slot;
                    push_digits(name, value, digits);
                    self.note_moment(&name[start..]);
                }
            }
        }
        Some(())
    }

    /// Remembers the time in a field of 14 to 17 digits. Only for guessing a file's time: any value is good.
    fn note_moment(&mut self, field: &[u8]) {
        if !(14..=17).contains(&field.len()) {
            return;
        }
        let part = |from: usize, to: usize| value(&field[from..to]).unwrap_or_default() as i64;
        let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
        if !(1980..2200).contains(&year) {
            return;
        }
        let seconds = (part(8, 10) * 60 + part(10, 12)) * 60 + part(12, 14);
        let milliseconds = match field.len() {
            14 => 0,
            length => part(14, length) * [0, 100, 10, 1][length - 14],
        };
        self.moment_ms = Some((days(year, month, day) * 86_400 + seconds) * 1000 + milliseconds);
    }
}

/// The nearest folder whose name is a date.
fn date<'a>(above: &[&'a [u8]]) -> Option<&'a [u8]> {
    above
        .iter()
        .rev()
        .find(|folder| folder.len() == 8 && folder.iter().all(u8::is_ascii_digit))
        .copied()
}

/// Days since 1970-01-01 (the proleptic Gregorian calendar, counted from March).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn value(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The last `count` digits of a value, padded with zeros.
fn push_digits(name: &mut Vec<u8>, mut value: u64, count: u8) {
    let start = name.len();
    name.resize(start + usize::from(count), b'0');
    for digit in name[start..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that are read from the front.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.varint()?).ok()?;
        self.take(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(above: &[&[u8]], names: &[Vec<u8>]) -> usize {
        let (mut context, mut out) = (Context::default(), Vec::new());
        for name in names {
            context.write(Of::File, above, name, &mut out);
        }
        let (mut context, mut input) = (Context::default(), Input(&out));
        for name in names {
            let mut read = Vec::new();
            assert_eq!(
                context.read(Of::File, above, &mut input, &mut read),
                Some(())
            );
            assert!(read == *name, "{name:?} came back as {read:?}");
        }
        assert!(input.0.is_empty());
        out.len()
    }

    #[test]
    fn a_name_that_repeats_its_path_takes_nine_bytes_and_less() {
        let above: [&[u8]; 3] = [b"0000001234", b"20240401", b"OMP-01"];
        let names: Vec<_> = (0..100)
            .map(|n| {
                format!(
                    "0000001234_20240401_OMP-01_{:015}_20240401{:09}_01_1",
                    400_000 + n * 9001,
                    93_015_250 + n * 1_234_567
                )
                .into_bytes()
            })
            .collect();
        let bytes = round_trip(&above, &names);
        assert!(bytes <= 950, "{bytes}");
    }

    proptest! {
        #[test]
        fn any_names_are_read_back_as_they_were_written(
            names in proptest::collection::vec(prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "([0-9]{1,20}|20240401[0-9]{0,10}|OMP-01|p|9999999999|[a-z]{0,5})(_([0-9]{1,20}|20240401[0-9]{0,10}|OMP-01|p|9999999999|[a-z]{0,5})){0,14}".prop_map(String::into_bytes),
            ], 0..300),
        ) {
            round_trip(&[b"p", b"20240401", b"OMP-01"], &names);
            round_trip(&[], &names);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut context, mut input) = (Context::default(), Input(&bytes));
            let mut name = Vec::new();
            while !input.0.is_empty() && context.read(Of::File, &[b"20240401"], &mut input, &mut name).is_some() && name.len() < 10_000 {}
        }
    }
}
