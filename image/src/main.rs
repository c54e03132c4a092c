//! `cargo xtask`: builds the appliance, tests it, measures it, shows it.
//!
//! 1. Each subcommand is one module; this file only reads the command line.
//! 2. A failure is printed with its whole chain of causes, and the exit status is 1; a wrong command line is 2.

#![forbid(unsafe_code)]

mod bench;
mod cache;
mod charon;
mod compare;
mod cpio;
mod demo;
mod digest;
mod disc;
mod disk;
mod efi;
mod elf;
mod fuzz;
mod host;
mod image;
mod kernel;
mod laboratory;
mod machine;
mod peers;
mod root;
mod rootfs;
mod sbom;
mod step;
mod test;
mod tools;
mod userland;

use std::env;
use std::error::Error;
use std::process::{ExitCode, ExitStatus};

use cache::Cache;
use kernel::Reuse;

const HELP: &str = "\
cargo xtask COMMAND

  demo                          the main job in QEMU, live, and faults survived
  test [native|vm] [FILTER]     all tests
  image [--check-reproducible]  the appliance: target/image/
  fuzz [TARGET]                 the parsers of outside bytes under a fuzzer
  bench NAME                    figures of ours beside a peer's: target/bench/NAME.json
  disc                          signed update discs (a later version)

`cargo xtask COMMAND --help` tells more. What was built is kept in $COLLECTOR_CACHE or ~/.cache/collector-box.
";

const IMAGE_HELP: &str = "\
cargo xtask image [--check-reproducible [--full]]

Builds target/image/: collector.efi, disk.raw, rootfs.tsv, sbom.cdx.json, kernel.config, cmdline.txt, sysctl.conf, and the
parts bzImage and initramfs.zst, from which a machine starts without firmware.

  --check-reproducible  builds programs, EFI file and disk twice in two folders and compares every file of the image
  --full                with it: the kernel too, and the programs from nothing
";

/// How a command ended that did run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Good,
    Bad,
}

impl From<ExitStatus> for Outcome {
    fn from(status: ExitStatus) -> Outcome {
        if status.success() {
            Outcome::Good
        } else {
            Outcome::Bad
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let (command, rest) = match words.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("--help", &[][..]),
    };
    if rest.iter().any(|word| word == "--help" || word == "-h") {
        return help(command);
    }
    let outcome = match (command, rest) {
        ("--help" | "-h" | "help", _) => return help(command),
        ("demo", []) => with_cache(demo::run),
        ("test", rest) => match test::Choice::parse(rest) {
            Some(choice) => with_cache(|cache| test::run(cache, &choice)),
            None => return wrong(test::HELP),
        },
        ("image", rest) => match rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => with_cache(|cache| Ok(image::build(cache).map(|_| Outcome::Good)?)),
            ["--check-reproducible"] => check(Reuse::Cached),
            ["--check-reproducible", "--full"] | ["--full", "--check-reproducible"] => {
                check(Reuse::Again)
            }
            _ => return wrong(IMAGE_HELP),
        },
        ("bench", [name]) => match bench::named(name) {
            Some(measure) => with_cache(|cache| bench::run(cache, measure)),
            None => return wrong(&bench::help()),
        },
        ("bench", _) => return wrong(&bench::help()),
        ("fuzz", rest) => match fuzz::Choice::parse(rest) {
            Some(choice) => with_cache(|cache| fuzz::run(cache, &choice)),
            None => return wrong(fuzz::HELP),
        },
        ("disc", _) => Err(disc::NotInThisVersion.into()),
        _ => return wrong(HELP),
    };
    match outcome {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        Err(error) => {
            report(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn check(reuse: Reuse) -> Result<Outcome, Box<dyn Error>> {
    with_cache(|cache| Ok(image::check_reproducible(cache, reuse).map(|()| Outcome::Good)?))
}

fn with_cache(
    command: impl FnOnce(&Cache) -> Result<Outcome, Box<dyn Error>>,
) -> Result<Outcome, Box<dyn Error>> {
    command(&Cache::open()?)
}

fn help(command: &str) -> ExitCode {
    let bench = bench::help();
    print!(
        "{}",
        match command {
            "demo" => demo::HELP,
            "test" => test::HELP,
            "image" => IMAGE_HELP,
            "bench" => &bench,
            "fuzz" => fuzz::HELP,
            "disc" => disc::HELP,
            _ => HELP,
        }
    );
    ExitCode::SUCCESS
}

fn wrong(help: &str) -> ExitCode {
    eprint!("{help}");
    ExitCode::from(2)
}

/// Each layer speaks for itself; together they tell the whole story.
fn report(error: &dyn Error) {
    eprintln!("xtask: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}
