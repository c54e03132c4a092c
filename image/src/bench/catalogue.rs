//! `catalogue`: bytes and memory of what has been seen, at ten-year scale.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;

use serde_json::Value;

use super::finding::size;
use super::native::{self, Workplace};
use super::{Aim, Better, Comparison, Figure, Side};
use crate::cache::Cache;
use crate::peers::Peers;

const NAMES: u64 = 50_000_000;
const BYTES_A_FILE: f64 = 60.0;
const RESIDENT_MIB: f64 = 128.0;

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let names = size(NAMES)?.to_string();
    let peers = Peers::ensure(cache)?;
    let release = native::release(&["-p", "catalogue", "--example", "fill"])?;
    let place = Workplace::new("catalogue")?;
    let (log, file) = (place.join("fill.log"), place.join("catalogue.sqlite"));
    let arguments: [&OsStr; 2] = [names.as_ref(), file.as_ref()];
    let taken = native::timed(&peers, &log, release.join("examples/fill"), &arguments)?;
    let said: Value = serde_json::from_str(&fs::read_to_string(&log)?)?;
    let number = |name: &str| {
        said[name]
            .as_f64()
            .ok_or(format!("no {name} in the account"))
    };
    let figure = |name, aim, unit, value| Figure {
        name,
        aim: Some(Aim::AtMost(aim)),
        better: Better::Smaller,
        ours: Side {
            unit,
            samples: vec![value],
            command: "fill".to_owned(),
        },
        peer: None,
        notes: Vec::new(),
    };
    let mut figures = vec![
        figure(
            "disk",
            BYTES_A_FILE,
            "bytes a file",
            number("bytes_a_file")?,
        ),
        figure("memory", RESIDENT_MIB, "MiB resident", taken.resident_mib),
    ];
    figures[0].notes.push(format!(
        "{} names of {} patients: entered in {:.0} s, all compared in {:.0} s, a day of 20 000 changes committed in {:.1} s",
        number("names")?, number("patients")?, number("fill_seconds")?, number("compare_seconds")?, number("day_seconds")?
    ));
    Ok(Comparison {
        name: "catalogue",
        limit: "limit: of each file 16 bytes of digest cannot be coded shorter; one run, as sizes do not vary".to_owned(),
        figures,
    })
}
