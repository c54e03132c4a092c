//! Makes a whole store from a [`Spec`].
//!
//! Invariants
//! 1. Standardized, extended, DPC, receipt and odd files together are exactly `Spec::files`; transaction storage, which
//!    repeats messages, comes on top.
//! 2. Workers take patients in any order and agree on nothing else: their number changes nothing but the time.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde::Serialize;

use crate::calendar::Day;
use crate::fault::{Fault, Operation};
use crate::life::{Life, life};
use crate::plan::{ODD_PATIENT, Plan, STREAM_LIFE, Spec, marker};
use crate::random::Random;
use crate::sink::{Sink, Tally, make_folder};
use crate::store::Store;
use crate::{message, monthly, odd, transaction};

/// Transaction storage covers this many days before the end.
const TRANSACTION_DAYS: u32 = 30;

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

fn monthly_files(spec: &Spec, plan: &Plan, store: &Store, made: &mut Made) -> Result<(), Fault> {
    // A month's files are made in the middle of the next one.
    let latest_work = Day(plan.span.end().day().0 - 15);
    let months = monthly::months_before(latest_work, plan.months);
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
    standard_root: PathBuf,
    extended_root: PathBuf,
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
        let home = [&id[..3], &id[3..6], id].iter().collect::<PathBuf>();
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
