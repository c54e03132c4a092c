//! Transaction storage: all messages of a day in one file, in the order of sending.
//!
//! Each message follows a header line `#SSMIX,2.00,<facility>,<patient>,<date or ->,<type>,<order>,<INS|DEL>,<department>,<time>`
//! ended by CR. One file a day, one folder a year. Source: JAMI FHIR working group's use cases of SS-MIX2, section 1.5
//! of the reference.

use std::path::PathBuf;

use crate::calendar::Day;
use crate::fault::Fault;
use crate::message;
use crate::patient::Patient;
use crate::record::{Action, Record};
use crate::sink::{Sink, Tally};
use crate::store::Store;

/// One message to be logged.
pub(crate) struct Entry {
    pub id: String,
    pub record: Record,
    pub markers: Vec<String>,
}

/// Writes `entries`, one file for each day of sending.
pub(crate) fn write(
    store: &Store,
    facility: &str,
    mut entries: Vec<Entry>,
) -> Result<Tally, Fault> {
    entries.sort_by(|a, b| (a.record.sent, &a.id).cmp(&(b.record.sent, &b.id)));
    let mut sink = Sink::default();
    for day in entries.chunk_by(|a, b| a.record.sent.day() == b.record.sent.day()) {
        let mut bytes = Vec::new();
        for entry in day {
            append(facility, entry, &mut bytes);
        }
        let date = day[0].record.sent.day();
        sink.put(&path(store, date), &bytes, date.at(24 * 3_600_000 - 1000))?;
    }
    sink.settle()?;
    Ok(sink.tally)
}

/// The file of a day.
pub(crate) fn path(store: &Store, day: Day) -> PathBuf {
    store
        .transaction()
        .join(format!("{:04}", day.parts().0))
        .join(format!("TR_{}_00001.DAT", day.at(0)))
}

/// One message with its header line.
pub(crate) fn append(facility: &str, entry: &Entry, into: &mut Vec<u8>) {
    let Record {
        kind,
        order,
        sent,
        department,
        action,
        ..
    } = &entry.record;
    let processing = if *action == Action::Delete {
        "DEL"
    } else {
        "INS"
    };
    let (id, day, folder) = (&entry.id, entry.record.day_folder(), kind.folder);
    let header = format!(
        "#SSMIX,2.00,{facility},{id},{day},{folder},{order:015},{processing},{department},{sent}\r"
    );
    into.extend_from_slice(header.as_bytes());
    into.extend(message::render(
        &Patient::of(id),
        &entry.record,
        &entry.markers,
    ));
}
