//! What fuzzing found, as tests of the product itself. The inputs are in the corpus too, as `found-*`.

use bundle::Manifest;
use std::error::Error;

/// Symptom: the report of `datacentre open` had a line that nobody at the data centre wrote, and could have named a
/// patient's file. Cause: the refusal of a manifest carried the words of the JSON parser, which quote an unknown field or
/// a value of the wrong type as it stands; the manifest is read before its signer is known to be one of ours.
/// Repair: only the place and the kind of the fault are kept.
#[test]
fn the_refusal_of_a_manifest_quotes_nothing_that_could_break_a_log() {
    for json in [
        "{\"format\":\"collector-bundle-1\",\"x\\nreceive: stored\":1}",
        "{\"format\":\"collector-bundle-1\",\"box\":\"box-1\",\"sequence\":\"0000001_20200101\\n\"}",
        "{\"format\":\"\\u001b[2J\"}",
    ] {
        let refused = Manifest::parse(json.as_bytes()).expect_err("a refusal");
        let mut next: Option<&dyn Error> = Some(&refused);
        while let Some(error) = next {
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(!text.contains("0000001"), "{text:?}");
            next = error.source();
        }
    }
}

/// Symptom: a refusal of as many megabytes as the manifest has. Cause: a wrong format, name or time was quoted whole.
/// Repair: a message quotes its first characters.
#[test]
fn the_refusal_of_a_manifest_is_short_however_long_the_manifest() {
    let long = "x".repeat(1 << 20);
    for json in [
        format!("{{\"format\":\"{long}\"}}"),
        format!("{{\"{long}\":1}}"),
    ] {
        let refused = Manifest::parse(json.as_bytes()).expect_err("a refusal");
        let cause = refused.source().map(ToString::to_string);
        let bytes = refused.to_string().len() + cause.unwrap_or_default().len();
        assert!(bytes < 1024, "{bytes} bytes");
    }
}

/// Symptom: a `site.toml` of 64 KiB that is wrong in every line kept the role that reads it busy, on the fuzzer's build
/// for nine minutes. Cause: the place of each fault was counted from the start of the text. Repair: the starts of the
/// lines are found once. The test holds the places; the time is the fuzzer's to watch (`-timeout`).
#[test]
fn a_configuration_that_is_wrong_in_every_line_has_a_fault_in_each() {
    let lines = site::LONGEST_TEXT_BYTES / 2;
    let text = "=\n".repeat(lines);
    let faults = site::check(&text, &Default::default()).expect_err("faults");
    let found: Vec<_> = faults.iter().map(|fault| fault.line).collect();
    let mut each = found.clone();
    each.dedup();
    assert!(found.is_sorted());
    assert_eq!(each.len(), lines);
}
