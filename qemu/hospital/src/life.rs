//! A patient's life in the hospital: visits and stays, the orders and results they bring, and what is corrected later.
//!
//! Invariants
//! 1. `life` gives exactly the number of files asked for, standardized and extended together.
//! 2. The first record is always the patient's basic data (ADT-00).
//! 3. No time of sending of a first version lies before the visit that caused it.
//!
//! The frequencies are ours: no source publishes them (reference, section 2). They give about 8 files a visit.

use crate::calendar::{Day, Moment};
use crate::extended::Content;
use crate::patient::Patient;
use crate::random::Random;
use crate::record::{Action, Book, Entry, Record};
use crate::words::DEPARTMENTS;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// Files that an average visit brings; only spreads visits over the span.
const FILES_PER_VISIT: u64 = 8;

// Positions in the table of data types.
const BASICS: usize = 0;
const DOCTOR: usize = 1;
const RECEPTION: usize = 2;
const ADMISSION_PLANNED: usize = 3;
const ADMISSION: usize = 4;
const LEAVE: usize = 5;
const LEAVE_RETURN: usize = 6;
const TRANSFER_PLANNED: usize = 7;
const TRANSFER: usize = 8;
const DISCHARGE_PLANNED: usize = 9;
const DISCHARGE: usize = 10;
const ALLERGY: usize = 11;
const DISEASES: usize = 12;
const MEAL: usize = 13;
const PRESCRIPTION: usize = 14;
const PRESCRIPTION_DONE: usize = 15;
const INJECTION: usize = 16;
const INJECTION_DONE: usize = 17;
const LAB_ORDER: usize = 18;
const LAB_RESULT: usize = 19;

/// Orders of an outpatient visit: how often (percent), type of the order, type of the result, its delay in hours at
/// most, and how often it comes.
const VISIT_ORDERS: [(u64, usize, usize, u64, u64); 6] = [
    (60, PRESCRIPTION, PRESCRIPTION_DONE, 2, 15),
    (45, LAB_ORDER, LAB_RESULT, 40, 95),
    (15, 20, 21, 6, 95),
    (4, 22, 23, 4, 95),
    (9, 24, 25, 24, 90),
    (8, INJECTION, INJECTION_DONE, 1, 95),
];

/// What one patient leaves in the stores.
pub(crate) struct Life {
    pub patient: Patient,
    pub records: Vec<Record>,
    pub contents: Vec<Content>,
}

/// The time that a store covers: first day, and number of days.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub first: Day,
    pub days: u32,
}

impl Span {
    pub fn end(self) -> Moment {
        self.first.plus(self.days).at(0)
    }
}

/// Invents the life of patient `id` with exactly `files` files. `random` is the patient's own stream.
pub(crate) fn life(id: &str, files: u64, span: Span, mut random: Random) -> Life {
    let patient = Patient::of(id);
    let first_order = random.within(1, 899_999) * 1_000_000;
    let now = span.first.at(random.within(8 * HOUR, 17 * HOUR));
    let mut living = Living {
        book: Book::new(),
        contents: Vec::new(),
        files_left: files,
        department: patient.department,
        now,
        order: first_order,
        random,
    };
    living.put(BASICS, 0);
    while living.files_left > 0 {
        living.next_visit(span);
        if living.random.chance(7) {
            living.stay();
        } else {
            living.visit();
        }
    }
    Life {
        patient,
        records: living.book.records,
        contents: living.contents,
    }
}

struct Living {
    book: Book,
    contents: Vec<Content>,
    files_left: u64,
    department: usize,
    now: Moment,
    order: u64,
    random: Random,
}

impl Living {
    /// Moves on, so that the visits still to come fit before the end, and into consulting hours.
    fn next_visit(&mut self, span: Span) {
        let visits_left = self.files_left / FILES_PER_VISIT + 2;
        let step = span.end().0.saturating_sub(self.now.0) / visits_left;
        self.now = self.now.plus(step / 2 + self.random.below(step + 1));
        if step > 24 * HOUR {
            self.now = self
                .now
                .day()
                .at(self.random.within(8 * HOUR + 30 * MINUTE, 17 * HOUR));
        }
        self.now = self.now.plus(self.random.within(1, 500));
    }

    fn visit(&mut self) {
        self.put(RECEPTION, 0);
        for (kind, percent) in [(BASICS, 30), (DISEASES, 22), (ALLERGY, 4), (DOCTOR, 4)] {
            if self.random.chance(percent) {
                self.put(kind, 20 * MINUTE);
            }
        }
        for (percent, kind, result, hours, results) in VISIT_ORDERS {
            if self.random.chance(percent) {
                self.order_with_result(kind, result, hours * HOUR, results);
            }
        }
        if self.random.chance(7) {
            self.content();
        }
    }

    fn stay(&mut self) {
        self.department = self.random.below(DEPARTMENTS.len() as u64) as usize;
        let admitted = self.now;
        self.put(ADMISSION_PLANNED, 0);
        self.put(ADMISSION, HOUR);
        let (nights, transferred) = (self.random.within(2, 12), self.random.chance(30));
        for night in 0..nights {
            self.now = admitted.plus(night * 24 * HOUR + self.random.below(3 * HOUR));
            for _ in 0..self.random.within(1, 4) {
                self.order_with_result(INJECTION, INJECTION_DONE, 3 * HOUR, 90);
            }
            if self.random.chance(40) {
                self.order_with_result(LAB_ORDER, LAB_RESULT, 6 * HOUR, 95);
            }
            if night == 1 && transferred {
                self.put(TRANSFER_PLANNED, 0);
                self.put(TRANSFER, 2 * HOUR);
            }
            if night == 2 && self.random.chance(40) {
                self.put(LEAVE, HOUR);
                self.put(LEAVE_RETURN, 8 * HOUR);
            }
        }
        self.put(DISCHARGE_PLANNED, 0);
        self.put(DISCHARGE, 4 * HOUR);
        // Permitted by the standard: all meal orders of the stay are written at discharge, into old dates.
        let discharged = self.now;
        for meal in 0..nights * 3 {
            self.order += 1;
            let day = admitted.plus(meal / 3 * 24 * HOUR).day();
            self.put_on(MEAL, day, discharged.plus(meal * MINUTE));
        }
        if self.random.chance(60) {
            self.content();
        }
    }

    fn order_with_result(&mut self, order: usize, result: usize, delay: u64, percent: u64) {
        self.order += self.random.within(1, 9);
        self.put(order, 30 * MINUTE);
        if self.random.chance(percent) {
            self.put(result, delay);
        }
    }

    /// Files a record of today, sent within `delay`, and perhaps its later corrections.
    fn put(&mut self, kind: usize, delay: u64) {
        let sent = self
            .now
            .plus(1 + delay / 2 + self.random.below(delay / 2 + 1000));
        self.put_on(kind, self.now.day(), sent);
    }

    fn put_on(&mut self, kind: usize, day: Day, sent: Moment) {
        let mut entry = Entry {
            day,
            order: self.order,
            sent,
            department: self.department,
        };
        self.file(kind, entry, Action::Insert);
        let fate = self.random.below(100);
        let updates = if fate < 2 { 2 } else { u64::from(fate < 9) };
        for _ in 0..updates {
            entry.sent = entry.sent.plus(self.random.within(MINUTE, 50 * HOUR));
            self.file(kind, entry, Action::Insert);
        }
        // Basic data of a patient is never deleted.
        if kind != BASICS && (8..10).contains(&fate) {
            entry.sent = entry.sent.plus(self.random.within(MINUTE, 20 * HOUR));
            self.file(kind, entry, Action::Delete);
        }
    }

    fn file(&mut self, kind: usize, entry: Entry, action: Action) {
        if self.files_left > 0 {
            self.files_left -= 1;
            self.book.file(kind, entry, action, &mut self.random);
        }
    }

    /// A content folder of extended storage, perhaps followed by a corrected one.
    fn content(&mut self) {
        let mut content = Content::invent(self.now, self.department, &mut self.random);
        if self.random.chance(15) {
            let successor = content.superseded(self.now.plus(26 * HOUR), &mut self.random);
            self.keep(content);
            content = successor;
        }
        self.keep(content);
    }

    fn keep(&mut self, mut content: Content) {
        content.files = u64::from(content.files).min(self.files_left) as u8;
        if content.files > 0 {
            self.files_left -= u64::from(content.files);
            self.contents.push(content);
        }
    }
}

/// Kinds of records that `change` adds, with weights, so that a later day looks like an earlier one.
pub(crate) const DAILY_KINDS: [(usize, u64); 12] = [
    (RECEPTION, 14),
    (BASICS, 6),
    (DISEASES, 4),
    (PRESCRIPTION, 14),
    (PRESCRIPTION_DONE, 3),
    (INJECTION, 9),
    (INJECTION_DONE, 8),
    (LAB_ORDER, 12),
    (LAB_RESULT, 12),
    (MEAL, 10),
    (20, 4),
    (21, 4),
];

/// Draws a kind of [`DAILY_KINDS`].
pub(crate) fn daily_kind(random: &mut Random) -> usize {
    let total: u64 = DAILY_KINDS.iter().map(|(_, weight)| weight).sum();
    let mut ticket = random.below(total);
    for (kind, weight) in DAILY_KINDS {
        if ticket < weight {
            return kind;
        }
        ticket -= weight;
    }
    RECEPTION
}
