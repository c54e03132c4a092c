//! `cargo xtask test`: the native tests of the workspace, then the scenarios in virtual machines.
//!
//! 1. A name that is neither `native` nor `vm` is a part of test names, and runs in both.
//! 2. The first of the two that fails does not keep the second from running; both results are told.
//! 3. The last line of a run with machines is their count; the image that is built twice counts as one of them.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::process::Command;
use std::time::Instant;

use lab::scenarios::{Depth, Tally};

use crate::cache::Cache;
use crate::image::Image;
use crate::kernel::Reuse;
use crate::peers::Peers;
use crate::{Outcome, host, image, laboratory, step};

pub const HELP: &str = "\
cargo xtask test [native|vm] [FILTER] [--full]

  native   unit, property, crash, vector and interoperability tests: no virtual machine
  vm       scenarios on the image in QEMU, and `reproducible`: the image built twice is the same
  FILTER   a part of a test's or scenario's name
  --full   the long forms of the loops in tests and scenarios
Without `native` or `vm`: both.
";

/// Variable that asks native tests for the long forms of their loops.
const LENGTH: &str = "COLLECTOR_TEST_LENGTH";

/// Name of the test that builds the image twice, for the filter.
const REPRODUCIBLE: &str = "reproducible";

/// Which tests, and how long.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Choice {
    pub part: Part,
    pub filter: Option<String>,
    pub length: Length,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Part {
    #[default]
    Both,
    Native,
    Machines,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Length {
    #[default]
    Usual,
    Full,
}

impl Choice {
    /// Reads the words after `test`; `None` when they do not fit.
    pub fn parse(words: &[String]) -> Option<Choice> {
        let mut choice = Choice::default();
        for word in words {
            match word.as_str() {
                "--full" => choice.length = Length::Full,
                "native" if choice.part == Part::Both && choice.filter.is_none() => {
                    choice.part = Part::Native
                }
                "vm" if choice.part == Part::Both && choice.filter.is_none() => {
                    choice.part = Part::Machines
                }
                option if option.starts_with('-') => return None,
                _ if choice.filter.is_some() => return None,
                filter => choice.filter = Some(filter.to_owned()),
            }
        }
        Some(choice)
    }
}

/// Runs the chosen tests.
pub fn run(cache: &Cache, choice: &Choice) -> Result<Outcome, Box<dyn Error>> {
    host::ensure(cache)?;
    // everything runs in the second start; the native tests of the lab call QEMU's programs too
    if let Some(status) = laboratory::restart_with_machine(cache)? {
        return Ok(Outcome::from(status));
    }
    let native = match choice.part {
        Part::Machines => Outcome::Good,
        Part::Both | Part::Native => native(cache, choice)?,
    };
    if choice.part == Part::Native {
        return Ok(native);
    }

    let filter = choice.filter.as_deref();
    let image = image::build(cache)?;
    let inputs = laboratory::prepare(cache, &image)?;
    let depth = match choice.length {
        Length::Usual => Depth::Short,
        Length::Full => Depth::Full,
    };
    let mut tally = Tally::default();
    if filter.is_none_or(|text| REPRODUCIBLE.contains(text)) {
        match reproducible(cache, &image) {
            Outcome::Good => tally.passed += 1,
            Outcome::Bad => tally.failed += 1,
        }
    }
    let scenarios = lab::scenarios::run(filter, &inputs, depth);
    tally.passed += scenarios.passed;
    tally.failed += scenarios.failed;
    tally.skipped += scenarios.skipped;
    // a filter meant for the native tests may name no scenario, but `test vm NAME` must run something
    let ran = tally.passed + tally.skipped > 0 || choice.part == Part::Both;
    if native == Outcome::Bad {
        step::say("test", "the native tests failed, see above");
    }
    if !ran && tally.failed == 0 {
        step::say("test", "no scenario has such a name");
    }
    step::say("vm", &tally.to_string());
    Ok(if native == Outcome::Good && tally.failed == 0 && ran {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

/// Builds the image a second time and compares. Told and counted like a scenario.
fn reproducible(cache: &Cache, image: &Image) -> Outcome {
    step::say(
        REPRODUCIBLE,
        "the same sources, built in another folder, give the same image bit for bit",
    );
    let begun = Instant::now();
    match image::build_again(cache, image, Reuse::Cached) {
        Ok(()) => {
            let seconds = begun.elapsed().as_secs();
            step::say(REPRODUCIBLE, &format!("passed in {seconds} s"));
            Outcome::Good
        }
        Err(error) => {
            step::say(REPRODUCIBLE, &format!("FAILED: {error}"));
            let mut cause = error.source();
            while let Some(next) = cause {
                step::say(REPRODUCIBLE, &format!("  because: {next}"));
                cause = next.source();
            }
            Outcome::Bad
        }
    }
}

/// Software of others stands beside ours in some of the tests; the long forms of loops are asked for by [`LENGTH`].
fn native(cache: &Cache, choice: &Choice) -> Result<Outcome, Box<dyn Error>> {
    let peers = Peers::ensure(cache)?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(image::workspace()).args([
        "test",
        "--workspace",
        "--no-fail-fast",
        "--locked",
    ]);
    command.args(choice.filter.as_deref());
    command.envs(peers.variables());
    if choice.length == Length::Full {
        command.env(LENGTH, "full");
    }
    Ok(Outcome::from(command.status()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Option<Choice> {
        Choice::parse(
            &words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn nothing_named_is_everything() {
        assert_eq!(parse(&[]), Some(Choice::default()));
    }

    #[test]
    fn a_part_a_filter_and_the_length_can_be_named_together() {
        let expected = Choice {
            part: Part::Machines,
            filter: Some("cut".to_owned()),
            length: Length::Full,
        };
        assert_eq!(parse(&["vm", "cut", "--full"]), Some(expected));
    }

    #[test]
    fn an_unknown_option_or_a_second_filter_is_refused() {
        assert_eq!(parse(&["--fulll"]), None);
        assert_eq!(parse(&["one", "two"]), None);
    }
}
