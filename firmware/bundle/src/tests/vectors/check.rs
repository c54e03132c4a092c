//! Every vector meets what its header says, and every refusal has a vector.

use super::names::{ALL, Outcome, WITHOUT_VECTOR, outcome};
use super::{Case, Head, Kind, cases, testdata};
use crate::tests::{LocalSigner, small_draft};
use crate::*;
use der::DateTime;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::sync::OnceLock;

/// The least number of ways to be wrong.
const LEAST: usize = 60;

/// Bytes of all vectors together: they are in every checkout.
const MOST_BYTES: usize = 440_000;

fn read(below: &str) -> Vec<u8> {
    fs::read(testdata(below)).unwrap_or_else(|error| panic!("{below}: {error}"))
}

/// Every file of the folder by name.
fn files() -> BTreeMap<String, Vec<u8>> {
    let folder = fs::read_dir(testdata("vectors")).unwrap();
    folder
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

fn seconds(time: &str) -> u64 {
    let time: DateTime = time.parse().unwrap();
    time.unix_duration().as_secs()
}

fn trust(head: &Head) -> Result<Trust, Box<dyn Error>> {
    let trust = Trust::from_pem(&read("pki/authority.pem"))?;
    Ok(match head.revoked.as_str() {
        "none" => trust,
        list => trust.with_revocation_lists(&read(&format!("pki/{list}")), seconds(&head.clock))?,
    })
}

fn open(head: &Head, body: &[u8]) -> Result<String, Box<dyn Error>> {
    let opener = Opener::from_pem(&read("recipient.pem"), &read("recipient.key"))?;
    let opened = UnverifiedBundle::parse(body)?
        .decrypt(&opener)?
        .verify(&trust(head)?, &head.file.parse()?)?;
    let previous = match head.previous.as_str() {
        "none" => None,
        digest => Some(digest.parse()?),
    };
    opened.check_previous(previous)?;
    let bytes: usize = opened.entries().map(|(_, content)| content.len()).sum();
    Ok(format!(
        "{} entries, {bytes} bytes",
        opened.entries().count()
    ))
}

fn seal(head: &Head, certificate: &[u8]) -> Result<String, Box<dyn Error>> {
    let recipients = vec![Recipient::from_pem(certificate)?];
    let signer = LocalSigner::from_pem(&read("pki/box-1.key"))?;
    let sealer = Sealer::new("box-1".parse()?, recipients, &read("pki/box-1.pem"), signer)?;
    let sealed = sealer.seal(&small_draft().close()?, 1, None, seconds(&head.clock))?;
    Ok(format!("sealed as {}", sealed.name))
}

fn run(head: &Head, body: &[u8]) -> Result<String, Box<dyn Error>> {
    let mut body = body.to_vec();
    body.resize(body.len() + head.zeros, 0);
    match head.kind {
        Kind::Bundle => open(head, &body),
        Kind::Recipient => seal(head, &body),
        Kind::Opener => Ok(Opener::from_pem(&body, &body).map(|_| "opener".to_owned())?),
        Kind::Authority => Ok(Trust::from_pem(&body).map(|_| "trusted".to_owned())?),
        Kind::List => {
            let trust = Trust::from_pem(&read("pki/authority.pem"))?;
            trust.with_revocation_lists(&body, seconds(&head.clock))?;
            Ok("taken".to_owned())
        }
    }
}

/// What a vector meets: the outcome of a refusal, or how it was taken.
fn meet(head: &Head, body: &[u8]) -> Outcome {
    match run(head, body) {
        Ok(says) => Outcome {
            expect: "opened".into(),
            says,
            variants: Vec::new(),
        },
        Err(error) => outcome(&*error),
    }
}

/// Every vector with what it met; each is run once for all tests.
fn met() -> &'static [(Head, Outcome)] {
    static MET: OnceLock<Vec<(Head, Outcome)>> = OnceLock::new();
    MET.get_or_init(|| {
        let files = files().into_iter();
        let run = files.map(|(name, file)| {
            let (head, body) = Head::read(&file).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!(name, format!("{}.vector", head.vector));
            let outcome = meet(&head, body);
            (head, outcome)
        });
        run.collect()
    })
}

#[test]
fn every_vector_meets_what_its_header_says() {
    let other = met()
        .iter()
        .filter(|(head, met)| (&met.expect, &met.says) != (&head.expect, &head.says));
    let faults: Vec<String> = other
        .map(|(head, met)| {
            format!(
                "{}:\n  met    {}: {}\n  header {}: {}",
                head.vector, met.expect, met.says, head.expect, head.says
            )
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_refusal_has_a_vector_and_there_are_enough_of_them() {
    let seen: BTreeSet<_> = met()
        .iter()
        .flat_map(|(_, met)| met.variants.clone())
        .collect();
    let wrong = met()
        .iter()
        .filter(|(_, met)| !met.variants.is_empty())
        .count();
    let excused = |(group, variant): &(&str, &str)| {
        WITHOUT_VECTOR
            .iter()
            .any(|(g, variants, _)| g == group && variants.contains(variant))
    };
    let missing: Vec<_> = ALL
        .iter()
        .filter(|name| !seen.contains(*name) && !excused(name))
        .collect();
    assert!(missing.is_empty(), "no vector shows {missing:?}");
    let idle: Vec<_> = seen.iter().filter(|name| excused(name)).collect();
    assert!(idle.is_empty(), "excused, yet there is a vector: {idle:?}");
    assert!(wrong >= LEAST, "only {wrong} ways to be wrong");
    let bytes: usize = files().values().map(Vec::len).sum();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes of vectors");
}

#[test]
fn the_files_are_those_of_the_tables() {
    let mut files = files();
    for Case { head, .. } in cases() {
        let name = format!("{}.vector", head.vector);
        let file = files
            .remove(&name)
            .unwrap_or_else(|| panic!("{name} is missing: make it (testdata/README.md)"));
        let (read, _) = Head::read(&file).unwrap();
        // a chain's digest is the file's own: it changes when the file is made anew
        let previous = read.previous.clone();
        assert_eq!(read, Head { previous, ..head }, "{name}");
    }
    assert!(files.is_empty(), "in no table: {:?}", files.keys());
}

#[test]
fn the_format_names_every_vector_and_no_other() {
    let format = fs::read_to_string(testdata("../FORMAT.md")).unwrap();
    let vectors: BTreeSet<String> = cases().into_iter().map(|case| case.head.vector).collect();
    let start = format.find("## Each check").unwrap();
    let words: BTreeSet<&str> = format[start..].split('`').skip(1).step_by(2).collect();
    let unnamed: Vec<_> = vectors
        .iter()
        .filter(|name| !words.contains(name.as_str()))
        .collect();
    assert!(unnamed.is_empty(), "FORMAT.md does not name {unnamed:?}");
    // in the last column there is nothing but vectors
    let columns = format[start..]
        .lines()
        .filter(|line| line.starts_with("| "));
    for column in columns.filter_map(|line| line.trim_end_matches(" |").rsplit_once(" | ")) {
        for name in column.1.split('`').skip(1).step_by(2) {
            assert!(
                vectors.contains(name),
                "FORMAT.md names {name}, which is no vector"
            );
        }
    }
}

#[test]
fn a_header_with_an_unknown_missing_or_doubled_field_is_refused() {
    let file = files().remove("right.vector").unwrap();
    let end = file.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let head = String::from_utf8(file[..end].to_vec()).unwrap();
    let edited = |head: String| Head::read(&[head.as_bytes(), b"\n\nbody"].concat()).map(|_| ());
    assert_eq!(edited(head.clone()), Ok(()));
    assert_eq!(
        edited(head.replace("\nexpect", "\nzeros: 7\nexpect")),
        Ok(())
    );
    assert!(edited(format!("{head}\nmood: good")).is_err());
    assert!(edited(format!("{head}\nzeros: 7")).is_err(), "out of order");
    assert!(edited(head.replace("\nexpect", "\nzeros: 7\nzeros: 7\nexpect")).is_err());
    assert!(edited(head.replace("\nkind: bundle", "")).is_err());
    assert!(edited(head.replace("kind: bundle", "kind: box")).is_err());
}
