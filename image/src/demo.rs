//! `cargo xtask demo`: the main job on a fresh machine, live.

use std::error::Error;

use crate::{Outcome, cache::Cache, host, image, laboratory};

pub const HELP: &str = "\
cargo xtask demo

Builds what is missing, starts hospital, data centre and box in QEMU, shows files travelling from the hospital's store
into the data centre, then faults being survived, and ends with a table of what was checked.
Result: target/demo/report.json; exit status 0 only if every check held.
";

/// Runs the demonstration.
pub fn run(cache: &Cache) -> Result<Outcome, Box<dyn Error>> {
    host::ensure(cache)?;
    if let Some(status) = laboratory::restart_with_machine(cache)? {
        return Ok(Outcome::from(status));
    }
    let image = image::build(cache)?;
    let verdict = lab::demo::run(&laboratory::prepare(cache, &image)?)?;
    Ok(if verdict.good() {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}
