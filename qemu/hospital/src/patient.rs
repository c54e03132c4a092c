//! Who a patient is. Everything follows from the patient ID alone, so that a later change of an existing store
//! writes the same person without any register beside the store.

use crate::calendar::Day;
use crate::random::{Random, mix_text};
use crate::words;

/// An invented person.
#[derive(Clone, Debug)]
pub(crate) struct Patient {
    /// Patient ID (患者ID), usually 10 digits.
    pub id: String,
    pub name: String,
    pub kana: String,
    pub sex: char,
    pub birth: Day,
    pub address: String,
    pub postcode: String,
    pub telephone: String,
    /// Index into the departments: where the patient is usually seen.
    pub department: usize,
}

impl Patient {
    pub fn of(id: &str) -> Patient {
        let mut random = Random::new(&[mix_text(id)]);
        let (surname, surname_kana) = *random.pick(&words::SURNAMES);
        let (given, given_kana, sex) = *random.pick(&words::GIVEN);
        let numbers = (
            random.within(1, 9),
            random.within(1, 30),
            random.within(1, 20),
        );
        Patient {
            id: id.to_owned(),
            name: format!("{surname}^{given}"),
            kana: format!("{surname_kana}^{given_kana}"),
            sex,
            birth: Day(random.below(19_000) as u32),
            address: format!(
                "{}{}丁目{}番{}号",
                random.pick(&words::TOWNS),
                wide(numbers.0),
                wide(numbers.1),
                wide(numbers.2)
            ),
            postcode: format!("{:03}-{:04}", random.below(1000), random.below(10_000)),
            // 000 is never assigned as an area code, so no real telephone rings.
            telephone: format!("000-{:03}-{:04}", random.below(1000), random.below(10_000)),
            department: random.below(words::DEPARTMENTS.len() as u64) as usize,
        }
    }
}

/// The number in full-width digits.
pub(crate) fn wide(number: u64) -> String {
    number
        .to_string()
        .chars()
        .map(|c| char::from_u32(c as u32 - 0x30 + 0xff10).unwrap_or(c))
        .collect()
}
