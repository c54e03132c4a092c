//! Monthly files: DPC survey files and receipts (レセプト電算), CP932 with CRLF.
//!
//! Invariants
//! 1. DPC: tab separated, one file per kind and month, the name holds the 9-digit facility code and `YYMM`.
//! 2. Receipts: comma separated, the same name every month; the last record is `GO,<receipts>,<points>,99`, then
//!    sometimes one byte 0x1A.
//!
//! Sources: public readers named in the reference, section 3. Column counts as there; codes are invented.

use crate::calendar::Day;
use crate::patient::Patient;
use crate::random::{Random, mix_text};
use crate::text::cp932;
use crate::words::{self, DEPARTMENTS};

/// A file of a month: name and bytes.
pub(crate) type Named = (String, Vec<u8>);

/// DPC files: first letters of the name, columns, header line present.
const DPC: [(&str, usize, bool); 5] = [
    ("FF1", 17, true),
    ("FF4", 7, true),
    ("EFn", 31, false),
    ("EFg", 31, false),
    ("Dn", 30, false),
];

/// Insurers' folders and the digit of the paying agency in the IR record.
pub(crate) const INSURERS: [(&str, u8); 2] = [("shaho", 1), ("kokuho", 2)];
/// Receipt files in each insurer's folder: name, and whether it ends with 0x1A.
pub(crate) const RECEIPTS: [(&str, bool); 2] = [("RECEIPTC.UKE", true), ("RECEIPTD.UKE", false)];

/// How many DPC files a month has.
pub(crate) const DPC_FILES: u64 = DPC.len() as u64;
/// How many receipt files there are at any time.
pub(crate) const RECEIPT_FILES: u64 = (INSURERS.len() * RECEIPTS.len()) as u64;

/// The DPC files of the month that begins with `month`; `rows` sets their length.
pub(crate) fn dpc(seed: u64, facility: &str, month: Day, rows: u64) -> Vec<Named> {
    let (year, number, _) = month.parts();
    let code = &facility[..9];
    DPC.iter()
        .map(|&(kind, columns, header)| {
            let mut random = Random::new(&[seed, mix_text(kind), u64::from(month.0)]);
            let mut bytes = Vec::new();
            if header {
                let names: Vec<String> = (1..=columns).map(|n| format!("項目{n}")).collect();
                row(&names, '\t', &mut bytes);
            }
            for line in 0..rows.max(1) {
                row(
                    &dpc_row(code, month, columns, line, &mut random),
                    '\t',
                    &mut bytes,
                );
            }
            (
                format!("{kind}_{code}_{:02}{number:02}.txt", year % 100),
                bytes,
            )
        })
        .collect()
}

fn dpc_row(code: &str, month: Day, columns: usize, line: u64, random: &mut Random) -> Vec<String> {
    let admitted = month.plus(random.below(28) as u32);
    let discharged = if random.chance(30) {
        "00000000".to_owned()
    } else {
        admitted.plus(9).to_string()
    };
    let drug = random.pick(&words::DRUGS);
    let mut fields = vec![
        code.to_owned(),
        format!("{:010}", random.within(1000, 99_999)),
        discharged,
        admitted.to_string(),
        format!("{:02}", random.within(11, 99)),
        format!("{:04}", line / 4 + 1),
        format!("{:03}", line % 4),
    ];
    if columns > fields.len() {
        fields.extend([
            drug.0.to_owned(),
            drug.1.to_owned(),
            random.pick(&DEPARTMENTS).1.to_owned(),
        ]);
    }
    while fields.len() < columns {
        fields.push(if random.chance(40) {
            String::new()
        } else {
            random.below(5000).to_string()
        });
    }
    fields.truncate(columns);
    fields
}

/// The receipt file of one insurer for the month that begins with `month`.
pub(crate) fn receipts(
    seed: u64,
    facility: &str,
    agency: u8,
    eof: bool,
    month: Day,
    count: u64,
) -> Vec<u8> {
    let mut random = Random::new(&[
        seed,
        0x0055_4b45,
        u64::from(agency),
        u64::from(eof),
        u64::from(month.0),
    ]);
    let mut bytes = Vec::new();
    let year_month = &month.to_string()[..6];
    let mut line = |text: String| row(&[text], ',', &mut bytes);
    line(format!(
        "IR,{agency},13,1,{},,架空病院,{year_month},00,00000000000",
        &facility[3..]
    ));
    let mut total = 0;
    for number in 1..=count {
        let patient = Patient::of(&format!("{:010}", random.within(1000, 99_999)));
        let (name, kana) = (
            patient.name.replace('^', "　"),
            patient.kana.replace('^', ""),
        );
        let sex = if patient.sex == 'M' { 1 } else { 2 };
        line(format!(
            "RE,{number},1112,{year_month},{name},{sex},{},,,,,,,{},,,,,,,,,,,,,,,,,,,,,,,{kana},",
            patient.birth, patient.id
        ));
        let (points, days) = (random.within(73, 4000), random.within(1, 6));
        total += points;
        line(format!(
            "HO,{:08},記号,{},{days},{points},,,,,,,,,",
            random.below(99_999_999),
            random.below(9999)
        ));
        for _ in 0..random.within(1, 4) {
            let (code, name, _) = random.pick(&words::DISEASES);
            line(format!("SY,{},{month},1,,{name},01,", &code[1..]));
        }
        line(format!(
            "SI,12,1,112007410,,{},1,,,,,,,1{}",
            random.within(73, 300),
            ",".repeat(30)
        ));
        for _ in 0..random.within(0, 5) {
            let drug = random.pick(&words::DRUGS);
            line(format!(
                "IY,21,1,{},{},{},14{}",
                drug.0,
                random.within(1, 6),
                random.within(1, 60),
                ",".repeat(31)
            ));
        }
        if random.chance(30) {
            line(format!("CO,99,1,810000001,{}", words::note(&mut random, 1)));
        }
    }
    line(format!("GO,{count},{total},99"));
    if eof {
        bytes.push(0x1a);
    }
    bytes
}

fn row(fields: &[String], separator: char, into: &mut Vec<u8>) {
    cp932(&fields.join(separator.encode_utf8(&mut [0; 4])), into);
    into.extend_from_slice(b"\r\n");
}

/// First days of the `months` months that end before `end`, oldest first.
pub(crate) fn months_before(end: Day, months: u64) -> Vec<Day> {
    let mut found = Vec::new();
    let mut day = end;
    for _ in 0..months {
        let (_, _, of_month) = day.parts();
        let last_of_previous = Day(day.0 - of_month);
        day = Day(last_of_previous.0 + 1 - last_of_previous.parts().2);
        found.push(day);
    }
    found.reverse();
    found
}
