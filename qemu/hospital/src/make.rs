//! Makes a whole store from a [`Spec`].
//!
//! Invariants
//! 1. Standardized, extended, DPC, receipt and odd files together are exactly `Spec::files`; transaction storage, which
//!    repeats messages, comes on top.
//! 2. A patient's share and content follow from the seed and the patient's position alone, so that workers need not
//!    agree on anything and their number changes nothing.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde::Serialize;

use crate::calendar::Day;
use crate::fault::{Fault, Operation};
use crate::life::{Life, Span, life};
use crate::odd::Oddities;
use crate::random::{Random, mix_all};
use crate::sink::{Sink, Tally, make_folder};
use crate::store::Store;
use crate::{message, monthly, odd, transaction};

/// Below this many files a store has only standardized and extended storage.
const SMALLEST_WHOLE_STORE: u64 = 100;
/// Files of an average patient, where the number of patients is not given.
const FILES_PER_PATIENT: u64 = 50;
/// The patient who has all the odd files; below every other ID.
const ODD_PATIENT: &str = "0000000777";
/// Transaction storage covers this many days before the end.
const TRANSACTION_DAYS: u32 = 30;

// Purposes of random streams.
const STREAM_LIFE: u64 = 1;
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

/// What was made.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Made {
    pub files: u64,
    pub bytes: u64,
    pub patients: u64,
    pub standard: Tally,
    pub extended: Tally,
    pub dpc: Tally,
    pub receipt: Tally,
    pub odd: Tally,
    /// Not counted in `files` and `bytes`.
    pub transaction: Tally,
    /// The planted texts, in order.
    #[serde(skip)]
    pub markers: Vec<String>,
}

/// Makes the store below `folder`, which must be absent or empty.
pub fn make(spec: &Spec, folder: &Path) -> Result<Made, Fault> {
    let plan = Plan::of(spec)?;
    prepare(folder)?;
    let store = Store::at(folder);
    make_folder(&store.standard())?;
    make_folder(&store.extended())?;
    let mut made = Made {
        patients: plan.patients,
        ..Made::default()
    };
    if plan.months > 0 {
        monthly_files(spec, &plan, &store, &mut made)?;
        odd_files(spec, &store, &mut made)?;
    }
    let recent = patients(spec, &plan, &store, &mut made)?;
    if spec.transaction {
        made.transaction = transaction::write(&store, &spec.facility, recent)?;
    }
    if let Some(markers) = &spec.markers {
        made.markers = (0..markers.count)
            .map(|number| marker(spec.seed, &markers.prefix, number))
            .collect();
    }
    for part in [
        made.standard,
        made.extended,
        made.dpc,
        made.receipt,
        made.odd,
    ] {
        made.files += part.files;
        made.bytes += part.bytes;
    }
    Ok(made)
}

fn prepare(folder: &Path) -> Result<(), Fault> {
    std::fs::create_dir_all(folder)
        .map_err(|cause| Fault::new(Operation::MakeFolder, folder, cause))?;
    let mut entries =
        std::fs::read_dir(folder).map_err(|cause| Fault::new(Operation::List, folder, cause))?;
    if entries.next().is_some() {
        Err(Fault::NotEmpty(folder.to_owned()))
    } else {
        Ok(())
    }
}

/// How the files are divided.
struct Plan {
    patients: u64,
    /// Files of patients.
    shared: u64,
    /// Months of DPC files; 0 means neither DPC nor receipts nor odd files.
    months: u64,
    span: Span,
    seed: u64,
}

impl Plan {
    fn of(spec: &Spec) -> Result<Plan, Fault> {
        let refuse = |what: &str| Err(Fault::Request(what.to_owned()));
        if spec.facility.len() != 10 || !spec.facility.bytes().all(|b| b.is_ascii_digit()) {
            return refuse("a facility has 10 digits");
        }
        if spec.days == 0 || spec.days > 36_500 {
            return refuse("the days of a story are 1 to 36500");
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
    fn share(&self, index: u64) -> u64 {
        let (base, rest) = (self.shared / self.patients, self.shared % self.patients);
        let even = base + u64::from(index < rest);
        let partner = index ^ 1;
        if partner >= self.patients {
            return even;
        }
        let swing = Random::new(&[self.seed, STREAM_SHARE, index / 2])
            .below(base * 9 / 10 + 1)
            .min(base - 1);
        if index % 2 == 0 {
            even + swing
        } else {
            even - swing
        }
    }

    /// Rising with the index, from 0000001000, with gaps.
    fn id(&self, index: u64) -> String {
        format!(
            "{:010}",
            1000 + index * 13 + mix_all(&[self.seed, STREAM_ID, index]) % 13
        )
    }

    /// The numbers of the markers that fall to the patient at `index`.
    fn markers(&self, index: u64, count: u64) -> std::ops::Range<u64> {
        let first =
            |i: u64| (u128::from(i) * u128::from(count)).div_ceil(u128::from(self.patients)) as u64;
        first(index)..first(index + 1)
    }
}

fn marker(seed: u64, prefix: &str, number: u64) -> String {
    format!(
        "{prefix}-{number:06}-{:016x}",
        mix_all(&[seed, STREAM_MARKER, number])
    )
}

fn monthly_files(spec: &Spec, plan: &Plan, store: &Store, made: &mut Made) -> Result<(), Fault> {
    let end = plan.span.end().day();
    let months = monthly::months_before(end, plan.months);
    let rows = (plan.shared / 20 / plan.months).clamp(8, 20_000);
    for &month in &months {
        let mut sink = Sink::default();
        for (name, bytes) in monthly::dpc(spec.seed, &spec.facility, month, rows) {
            sink.put(
                &store.dpc().join(name),
                &bytes,
                month.plus(40).at(3_600_000 * 9),
            )?;
        }
        sink.settle()?;
        made.dpc.add(sink.tally);
    }
    let Some(&latest) = months.last() else {
        return Ok(());
    };
    let mut sink = Sink::default();
    for (insurer, agency) in monthly::INSURERS {
        for (name, eof) in monthly::RECEIPTS {
            let count = (rows / 8).max(3);
            let bytes = monthly::receipts(spec.seed, &spec.facility, agency, eof, latest, count);
            sink.put(
                &store.receipt().join(insurer).join(name),
                &bytes,
                latest.plus(38).at(3_600_000 * 16),
            )?;
        }
    }
    sink.settle()?;
    made.receipt = sink.tally;
    Ok(())
}

fn odd_files(spec: &Spec, store: &Store, made: &mut Made) -> Result<(), Fault> {
    let root = store.standard().join(&spec.facility);
    let mut sink = Sink::default();
    for odd in odd::files(spec.oddities, ODD_PATIENT, &spec.first.to_string()) {
        sink.put(
            &root.join(&odd.path),
            &odd.bytes,
            spec.first.at(3_600_000 * 10),
        )?;
    }
    sink.settle()?;
    made.odd = sink.tally;
    Ok(())
}

/// Writes all patients with several workers; gives the entries for transaction storage.
fn patients(
    spec: &Spec,
    plan: &Plan,
    store: &Store,
    made: &mut Made,
) -> Result<Vec<transaction::Entry>, Fault> {
    let next = AtomicU64::new(0);
    let total = Mutex::new((Tally::default(), Tally::default(), Vec::new()));
    let work = || -> Result<(), Fault> {
        let mut worker = Worker::new(spec, plan, store);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= plan.patients {
                break;
            }
            if let Err(fault) = worker.patient(index) {
                next.store(plan.patients, Ordering::Relaxed);
                return Err(fault);
            }
        }
        let mut total = total
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        total.0.add(worker.standard.tally);
        total.1.add(worker.extended.tally);
        total.2.append(&mut worker.recent);
        Ok(())
    };
    let mut outcomes = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..spec.threads.max(1))
            .map(|_| scope.spawn(work))
            .collect();
        outcomes.extend(workers.into_iter().map(|worker| worker.join()));
    });
    for outcome in outcomes {
        match outcome {
            Ok(outcome) => outcome?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    let (standard, extended, recent) = total
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    (made.standard, made.extended) = (standard, extended);
    Ok(recent)
}

struct Worker<'a> {
    spec: &'a Spec,
    plan: &'a Plan,
    standard_root: std::path::PathBuf,
    extended_root: std::path::PathBuf,
    standard: Sink,
    extended: Sink,
    recent: Vec<transaction::Entry>,
}

impl<'a> Worker<'a> {
    fn new(spec: &'a Spec, plan: &'a Plan, store: &Store) -> Worker<'a> {
        Worker {
            spec,
            plan,
            standard_root: store.standard().join(&spec.facility),
            extended_root: store.extended().join(&spec.facility),
            standard: Sink::default(),
            extended: Sink::default(),
            recent: Vec::new(),
        }
    }

    fn patient(&mut self, index: u64) -> Result<(), Fault> {
        let random = Random::new(&[self.spec.seed, STREAM_LIFE, index]);
        let id = self.plan.id(index);
        let life = life(&id, self.plan.share(index), self.plan.span, random);
        let mut markers = vec![Vec::new(); life.records.len()];
        if let Some(wanted) = &self.spec.markers {
            for (position, number) in self.plan.markers(index, wanted.count).enumerate() {
                markers[position % life.records.len()].push(marker(
                    self.spec.seed,
                    &wanted.prefix,
                    number,
                ));
            }
        }
        self.write(&life, &markers)?;
        if self.spec.transaction {
            let since = self
                .plan
                .span
                .first
                .plus(self.plan.span.days.saturating_sub(TRANSACTION_DAYS))
                .at(0);
            let recent = life
                .records
                .into_iter()
                .zip(markers)
                .filter(|(record, _)| record.sent >= since);
            self.recent
                .extend(recent.map(|(record, markers)| transaction::Entry {
                    id: id.clone(),
                    record,
                    markers,
                }));
        }
        Ok(())
    }

    fn write(&mut self, life: &Life, markers: &[Vec<String>]) -> Result<(), Fault> {
        let id = life.patient.id.as_str();
        let home = [&id[..3], &id[3..6], id]
            .iter()
            .collect::<std::path::PathBuf>();
        let patient = self.standard_root.join(&home);
        for (record, markers) in life.records.iter().zip(markers) {
            let folder = patient.join(record.day_folder()).join(record.kind.folder);
            let bytes = message::render(&life.patient, record, markers);
            self.standard.put(
                &folder.join(record.name(id)),
                &bytes,
                record.sent.plus(record.content % 3000),
            )?;
        }
        self.standard.settle()?;
        let patient = self.extended_root.join(&home);
        for content in &life.contents {
            let folder = patient
                .join(content.day.to_string())
                .join(content.type_folder())
                .join(content.folder(id));
            for index in 0..content.files {
                let (name, bytes) = content.file(&life.patient, index);
                self.extended.put(
                    &folder.join(name),
                    &bytes,
                    content.sent.plus(u64::from(index) * 1500),
                )?;
            }
        }
        self.extended.settle()
    }
}
