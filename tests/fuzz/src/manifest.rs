//! `manifest.json` as any signer can write it.
//!
//! 1. What is accepted holds every invariant of the format: bounds, one path below its root for each entry, a digest of
//!    the bundle before exactly from the second on, parts that lie within their file.
//! 2. Written again as FORMAT.md says and read again it is the same manifest.
//! 3. Every refusal is words on one line.

use crate::{Verdict, message};
use bundle::{
    CONTENT_LIMIT_BYTES, Digest, ENTRY_LIMIT, FORMAT, Facts, Manifest, Named, NamedEvent,
    PART_LIMIT_BYTES, path,
};
use std::fmt::Write;

pub fn manifest(bytes: &[u8]) -> Verdict {
    let manifest = match Manifest::parse(bytes) {
        Ok(manifest) => manifest,
        Err(error) => return message::refused(&error),
    };
    check(&manifest);
    let again = written(&manifest);
    match Manifest::parse(again.as_bytes()) {
        Ok(again) => assert!(again == manifest, "another manifest was read back"),
        Err(error) => panic!("its own writing is refused: {error}"),
    }
    Verdict::Accepted
}

fn check(manifest: &Manifest) {
    let sequence = manifest.name.sequence();
    assert_eq!(manifest.previous.is_none(), sequence == 1);
    assert!((1..=9_999_999_999).contains(&sequence));
    assert!(manifest.entries.len() <= ENTRY_LIMIT);
    assert!(manifest.sources.len() <= 256);
    let mut names: Vec<_> = manifest.sources.iter().map(|source| &source.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), manifest.sources.len(), "a source twice");
    let mut bytes = 0;
    for Named {
        source,
        path,
        event,
    } in &manifest.entries
    {
        assert!(*source < manifest.sources.len());
        below_root(path);
        match event {
            NamedEvent::FlagChanged { from } => below_root(from),
            NamedEvent::Removed => {}
            NamedEvent::Added(facts) | NamedEvent::Changed(facts) => {
                bytes += facts.size;
                assert!(facts.size <= PART_LIMIT_BYTES);
                if let Some(part) = &facts.part {
                    let end = part.offset + facts.size;
                    assert!(facts.size > 0 && end <= part.total);
                    assert_eq!(end == part.total, part.whole.is_some());
                }
            }
        }
    }
    assert!(bytes <= CONTENT_LIMIT_BYTES);
}

fn below_root(path: &[u8]) {
    assert!(!path.is_empty() && path.len() <= 4095);
    for component in path.split(|&byte| byte == b'/') {
        assert!(!matches!(component, b"" | b"." | b".."));
        assert!(!component.contains(&0) && component.len() <= 765);
    }
}

fn written(manifest: &Manifest) -> String {
    let mut out = String::new();
    let previous = match &manifest.previous {
        Some(digest) => format!("\"{digest}\""),
        None => "null".to_owned(),
    };
    let sources: Vec<String> = manifest
        .sources
        .iter()
        .map(|source| format!(r#"{{"name":"{}","kind":"{}"}}"#, source.name, source.kind))
        .collect();
    let entries: Vec<String> = manifest
        .entries
        .iter()
        .scan(0, |contents, named| {
            *contents += u32::from(named.facts().is_some());
            Some(entry(manifest, named, *contents))
        })
        .collect();
    write!(
        out,
        r#"{{"format":"{FORMAT}","box":"{}","sequence":{},"previous":{previous},"time":"{}","sources":[{}],"entries":[{}]}}"#,
        manifest.name.box_name(),
        manifest.name.sequence(),
        time(manifest.time),
        sources.join(","),
        entries.join(",")
    )
    .expect("memory");
    out
}

fn time(seconds: u64) -> String {
    der::DateTime::from_unix_duration(std::time::Duration::from_secs(seconds))
        .expect("a time that was read can be written")
        .to_string()
}

fn escaped(path: &[u8]) -> String {
    let mut out = Vec::new();
    path::escape_onto(&mut out, path);
    String::from_utf8(out).expect("escaped paths are ASCII")
}

fn entry(manifest: &Manifest, named: &Named, content: u32) -> String {
    let event = match &named.event {
        NamedEvent::Added(_) => "added",
        NamedEvent::Changed(_) => "changed",
        NamedEvent::FlagChanged { .. } => "flag-changed",
        NamedEvent::Removed => "removed",
    };
    let mut out = format!(
        r#"{{"event":"{event}","source":"{}","path":"{}""#,
        manifest.sources[named.source].name,
        escaped(&named.path)
    );
    match &named.event {
        NamedEvent::FlagChanged { from } => {
            write!(out, r#","from":"{}""#, escaped(from)).expect("memory");
        }
        NamedEvent::Added(facts) | NamedEvent::Changed(facts) => {
            out += &written_facts(facts, content)
        }
        NamedEvent::Removed => {}
    }
    out + "}"
}

fn written_facts(facts: &Facts, content: u32) -> String {
    let digest = |digest: &Digest| digest.to_string();
    let mut out = format!(
        r#","content":{content},"size":{},"sha256":"{}""#,
        facts.size, facts.sha256
    );
    if let Some(modified) = facts.modified {
        write!(out, r#","modified":{modified}"#).expect("memory");
    }
    if let Some(part) = &facts.part {
        write!(
            out,
            r#","part":{{"version":"{}","total":{},"offset":{}"#,
            part.version, part.total, part.offset
        )
        .expect("memory");
        if let Some(whole) = &part.whole {
            write!(out, r#","whole":"{}""#, digest(whole)).expect("memory");
        }
        out += "}";
    }
    out
}
