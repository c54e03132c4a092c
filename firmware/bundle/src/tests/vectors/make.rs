//! Writes the vectors that are missing. What exists is left alone: signatures and keys differ at every run.

use super::forge::make_pki;
use super::{cases, in_manifest, testdata};
use std::fs;

/// To make one anew, remove its file and run
/// `cargo test -p bundle -- --ignored the_missing_vectors_are_written`.
#[test]
#[ignore = "writes into the source tree"]
fn the_missing_vectors_are_written() {
    make_pki();
    fs::create_dir_all(testdata("vectors")).unwrap();
    for case in cases() {
        let path = testdata("vectors").join(format!("{}.vector", case.head.vector));
        if !path.exists() {
            let mut head = case.head;
            if head.previous == "right" {
                head.previous = in_manifest::first().to_string();
            }
            let file = [head.write().into_bytes(), (case.body)()].concat();
            fs::write(path, file).unwrap();
        }
    }
}
