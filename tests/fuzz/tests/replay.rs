//! Every file of the corpus through its target: what fuzzing once found stays found, and what it explored stays right.

use fuzz::{TARGETS, Target, Verdict, seeds};
use std::io::Write;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    names
}

fn replay(name: &str) {
    let Target { run, .. } = *target(name);
    let files = names(&folder().join("corpus").join(name));
    assert!(!files.is_empty(), "{name} has no corpus");
    let mut wrong = Vec::new();
    for file in &files {
        let bytes = std::fs::read(file).expect("a file");
        if catch_unwind(|| run(&bytes)).is_err() {
            wrong.push(file);
        }
    }
    // not by a macro that the test harness would capture: the count is worth seeing in every run
    let _ = writeln!(
        std::io::stderr(),
        "fuzz: replayed {} inputs of {name}",
        files.len()
    );
    assert!(wrong.is_empty(), "inputs that fail: {wrong:?}");
}

fn target(name: &str) -> &'static Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("there is no target {name}"))
}

macro_rules! replays {
    ($($target:ident)*) => {
        const REPLAYED: &[&str] = &[$(stringify!($target)),*];
        $(
            #[test]
            fn $target() {
                replay(stringify!($target));
            }
        )*
    };
}

replays! {
    bundle_envelope bundle_inside manifest tus_request receipt certificates site_text bundle_rogue restore signature
    tus_response spool_files store_paths
}

#[test]
fn every_target_has_a_program_a_corpus_and_a_replay() {
    let mut targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    targets.sort();
    let stems = |part: &str| -> Vec<String> {
        names(&folder().join(part))
            .iter()
            .map(|path| path.file_stem().expect("a name").display().to_string())
            .collect()
    };
    assert_eq!(stems("fuzz_targets"), targets);
    assert_eq!(stems("corpus"), targets);
    let mut replayed = REPLAYED.to_vec();
    replayed.sort();
    assert_eq!(replayed, targets);
}

#[test]
fn what_the_product_makes_today_is_good_input_of_every_target() {
    let seeds = seeds::seeds();
    for seed in &seeds {
        let verdict = (target(seed.target).run)(&seed.bytes);
        assert_eq!(verdict, seed.verdict, "{}/{}", seed.target, seed.name);
    }
    for Target { name, .. } in TARGETS {
        let good = |seed: &seeds::Seed| seed.target == *name && seed.verdict == Verdict::Accepted;
        assert!(seeds.iter().any(good), "{name} has no good seed");
    }
}
