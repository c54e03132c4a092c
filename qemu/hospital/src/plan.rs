//! What store is wanted, and how its files are divided among patients and kinds.
//!
//! Invariants
//! 1. The shares add up to exactly the files wanted.
//! 2. A patient's ID, share and markers follow from the seed and the patient's position alone, so that each can be
//!    written without knowing any other.

use std::thread;

use crate::calendar::Day;
use crate::fault::Fault;
use crate::life::Span;
use crate::monthly;
use crate::odd::{self, Oddities};
use crate::random::{Random, mix_all};

/// 2000-01-01: no story begins before, so that day arithmetic never meets its origin.
pub(crate) const EARLIEST: Day = Day(10_957);
/// Below this many files a store has only standardized and extended storage.
const SMALLEST_WHOLE_STORE: u64 = 100;
/// Files of an average patient, where the number of patients is not given.
const FILES_PER_PATIENT: u64 = 50;
/// The patient who has all the odd files; below every other ID.
pub(crate) const ODD_PATIENT: &str = "0000000777";

// Purposes of random streams.
pub(crate) const STREAM_LIFE: u64 = 1;
const STREAM_SHARE: u64 = 2;
const STREAM_ID: u64 = 3;
const STREAM_MARKER: u64 = 4;

/// Unique ASCII texts to be planted in file contents, so that a capture can be searched for them.
#[derive(Clone, Debug)]
pub struct Markers {
    /// How each begins: letters, digits and `-`.
    pub prefix: String,
    pub count: u64,
}

/// What store to make.
#[derive(Clone, Debug)]
pub struct Spec {
    pub seed: u64,
    /// Exact number of files, without transaction storage.
    pub files: u64,
    /// Number of patients; by default one for 50 files.
    pub patients: Option<u64>,
    /// Medical facility ID (医療施設ID), 10 digits.
    pub facility: String,
    /// First day of the story.
    pub first: Day,
    /// Length of the story.
    pub days: u32,
    pub oddities: Oddities,
    /// Also write transaction storage.
    pub transaction: bool,
    pub markers: Option<Markers>,
    /// Workers; changes nothing but the time.
    pub threads: usize,
}

impl Spec {
    /// A year from 2024-04-01 with all oddities, without transaction storage and markers.
    pub fn new(seed: u64, files: u64) -> Spec {
        Spec {
            seed,
            files,
            patients: None,
            facility: "1319999999".to_owned(),
            first: Day(19_814),
            days: 365,
            oddities: Oddities::All,
            transaction: false,
            markers: None,
            threads: thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// How the files are divided.
pub(crate) struct Plan {
    pub patients: u64,
    /// Files of patients.
    pub shared: u64,
    /// Months of DPC files; 0 means neither DPC nor receipts nor odd files.
    pub months: u64,
    pub span: Span,
    seed: u64,
}

impl Plan {
    pub fn of(spec: &Spec) -> Result<Plan, Fault> {
        let refuse = |what: &str| Err(Fault::Request(what.to_owned()));
        if spec.facility.len() != 10 || !spec.facility.bytes().all(|b| b.is_ascii_digit()) {
            return refuse("a facility has 10 digits");
        }
        if spec.days == 0 || spec.days > 36_500 {
            return refuse("the days of a story are 1 to 36500");
        }
        if spec.first < EARLIEST {
            return refuse("a story begins in 2000 or later");
        }
        let whole = spec.files >= SMALLEST_WHOLE_STORE;
        let months = if whole {
            (spec.files / 400).clamp(1, u64::from(spec.days / 30).max(1))
        } else {
            0
        };
        let odd = if whole {
            odd::files(spec.oddities, ODD_PATIENT, "20240401").len() as u64
        } else {
            0
        };
        let receipts = if whole { monthly::RECEIPT_FILES } else { 0 };
        let shared = spec
            .files
            .saturating_sub(months * monthly::DPC_FILES + receipts + odd);
        let patients = spec.patients.unwrap_or((shared / FILES_PER_PATIENT).max(1));
        if patients == 0 || patients > shared || patients > 700_000_000 {
            return Err(Fault::Request(format!(
                "{shared} files of patients allow 1 to {shared} patients"
            )));
        }
        if spec.markers.as_ref().is_some_and(|m| {
            !m.prefix
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }) {
            return refuse("a marker's prefix has only letters, digits and -");
        }
        let span = Span {
            first: spec.first,
            days: spec.days,
        };
        Ok(Plan {
            patients,
            shared,
            months,
            span,
            seed: spec.seed,
        })
    }

    /// Files of the patient at `index`: even and odd neighbours differ by a random amount, the sum is exact.
    pub fn share(&self, index: u64) -> u64 {
        let (base, rest) = (self.shared / self.patients, self.shared % self.patients);
        let even = base + u64::from(index < rest);
        let partner = index ^ 1;
        if partner >= self.patients {
            return even;
        }
        let swing = Random::new(&[self.seed, STREAM_SHARE, index / 2])
            .below(base * 9 / 10 + 1)
            .min(base - 1);
        if index.is_multiple_of(2) {
            even + swing
        } else {
            even - swing
        }
    }

    /// Rising with the index, from 0000001000, with gaps.
    pub fn id(&self, index: u64) -> String {
        format!(
            "{:010}",
            1000 + index * 13 + mix_all(&[self.seed, STREAM_ID, index]) % 13
        )
    }

    /// The numbers of the markers that fall to the patient at `index`.
    pub fn markers(&self, index: u64, count: u64) -> std::ops::Range<u64> {
        let first =
            |i: u64| (u128::from(i) * u128::from(count)).div_ceil(u128::from(self.patients)) as u64;
        first(index)..first(index + 1)
    }
}

/// The text of marker `number`.
pub(crate) fn marker(seed: u64, prefix: &str, number: u64) -> String {
    format!(
        "{prefix}-{number:06}-{:016x}",
        mix_all(&[seed, STREAM_MARKER, number])
    )
}
