//! Ways to be wrong in a manifest that a right box signed.

use super::Case;
use super::forge::*;
use crate::digest::Digest;

/// The right manifest with one piece of its text replaced.
pub fn refused(vector: &str, wrong: &str, variant: &str, says: &str, from: &str, to: &str) -> Case {
    let (from, to) = (from.to_owned(), to.to_owned());
    whole(vector, wrong, variant, says, move || {
        let right = right_manifest();
        assert!(right.contains(&from), "{from}");
        right.replacen(&from, &to, 1).into_bytes()
    })
}

pub fn whole(
    vector: &str,
    wrong: &str,
    variant: &str,
    says: &str,
    manifest: impl Fn() -> Vec<u8> + 'static,
) -> Case {
    let expect = format!("OpenError.Manifest.{variant}");
    let says = format!("the manifest is refused: {says}");
    Case::new(vector, wrong, &expect, &says, move || {
        Inside::signed(&manifest()).bundle()
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = json();
    cases.extend(head());
    cases.extend(places());
    cases
}

fn json() -> Vec<Case> {
    let json = |vector, wrong, from, to| {
        refused(
            vector,
            wrong,
            "Json",
            "the manifest is not the JSON of this format",
            from,
            to,
        )
    };
    let escape = |vector, wrong, from, to| {
        let says = "the manifest has a backslash, but nothing in it needs an escape";
        refused(vector, wrong, "Escape", says, from, to)
    };
    vec![
        json(
            "manifest-cut",
            "the manifest ends before its last brace",
            "}]}",
            "}]",
        ),
        json(
            "manifest-trailing",
            "a second value follows the manifest",
            "}]}",
            "}]} {}",
        ),
        json(
            "manifest-byte-order-mark",
            "the manifest begins with a byte order mark",
            "{\"format\"",
            "\u{feff}{\"format\"",
        ),
        whole(
            "manifest-not-utf-8",
            "a path is raw CP932",
            "Json",
            "the manifest is not the JSON of this format",
            || {
                let mut manifest = right_manifest().into_bytes();
                let at = find(&manifest, b"\"path\":\"a\"") + 8;
                manifest.splice(at..=at, *b"\x8a\xb3");
                manifest
            },
        ),
        json(
            "field-unknown",
            "the manifest has a field that nobody knows",
            "\"box\"",
            "\"mood\":1,\"box\"",
        ),
        json(
            "field-unknown-in-entry",
            "an entry has an unknown field",
            "\"content\":1",
            "\"mood\":1,\"content\":1",
        ),
        json(
            "field-twice",
            "the sequence number is there twice",
            "\"sequence\":1",
            "\"sequence\":1,\"sequence\":1",
        ),
        json(
            "time-missing",
            "there is no time",
            "\"time\":\"2026-11-22T00:00:00Z\",",
            "",
        ),
        json(
            "previous-missing",
            "the field previous is not there, not even as null",
            "\"previous\":null,",
            "",
        ),
        json(
            "sequence-negative",
            "the sequence number is negative",
            "\"sequence\":1",
            "\"sequence\":-1",
        ),
        json(
            "sequence-fraction",
            "the sequence number has a fraction",
            "\"sequence\":1",
            "\"sequence\":1.0",
        ),
        json(
            "sequence-leading-zero",
            "the sequence number has a leading zero",
            "\"sequence\":1",
            "\"sequence\":01",
        ),
        json(
            "event-unknown",
            "an event is none that we know",
            "\"added\"",
            "\"moved\"",
        ),
        escape(
            "escape-in-a-path",
            "a path is spelled with an escape of JSON",
            "\"path\":\"a\"",
            "\"path\":\"\\u0061\"",
        ),
        Case::right(
            "right-white-space",
            "the manifest has white space and another order of fields",
            || {
                let manifest = right_manifest()
                    .replace(":", " : ")
                    .replace("T00 : 00 : 00Z", "T00:00:00Z");
                let moved = "\"sequence\" : 1,\"box\" : \"box-1\"";
                let manifest = manifest.replace("\"box\" : \"box-1\",\"sequence\" : 1", moved);
                assert!(manifest.contains(moved));
                Inside::signed(manifest.as_bytes()).bundle()
            },
        ),
    ]
}

fn head() -> Vec<Case> {
    let time = |vector, wrong, time: &str| {
        let says =
            format!("the manifest has the time {time:?}, it must be like 2026-01-31T23:59:59Z");
        refused(vector, wrong, "Time", &says, "2026-11-22T00:00:00Z", time)
    };
    let source = |vector, wrong, name: &str, from: &str, to: &str| {
        let says = format!("the manifest names source {name:?} twice or in a wrong form");
        refused(vector, wrong, "Source", &says, from, to)
    };
    let previous = |vector, wrong, sequence: u32, to: &str| {
        let says = match sequence {
            1 => "the manifest has number 1 and yet a previous bundle".to_owned(),
            _ => format!("the manifest has number {sequence} and a wrong or no previous digest"),
        };
        refused(
            vector,
            wrong,
            "Previous",
            &says,
            "\"sequence\":1,\"previous\":null",
            to,
        )
    };
    let format = |vector, wrong, format: &str, from: &str, to: &str| {
        let says = format!(
            "the manifest has format {format:?}, this program knows \"collector-bundle-1\"; use a newer one"
        );
        refused(vector, wrong, "Format", &says, from, to)
    };
    let digest = Digest::of(b"one").to_string();
    vec![
        format(
            "format-2",
            "the format is a later one",
            "collector-bundle-2",
            "bundle-1",
            "bundle-2",
        ),
        format(
            "format-2-with-new-fields",
            "the format is a later one and has fields that we do not know",
            "collector-bundle-2",
            "bundle-1\"",
            "bundle-2\",\"mood\":1",
        ),
        refused(
            "box-name",
            "the box name leaves its folder",
            "BoxName",
            "the manifest has the box name \"../box\"",
            "box-1",
            "../box",
        ),
        refused(
            "sequence-zero",
            "the sequence number is 0",
            "Sequence",
            "the manifest has the sequence number 0",
            "\"sequence\":1",
            "\"sequence\":0",
        ),
        refused(
            "sequence-of-eleven-digits",
            "the sequence number does not fit into the file's name",
            "Sequence",
            "the manifest has the sequence number 10000000000",
            "\"sequence\":1",
            "\"sequence\":10000000000",
        ),
        previous(
            "previous-of-the-first",
            "the first bundle names a previous one",
            1,
            &format!("\"sequence\":1,\"previous\":\"{digest}\""),
        ),
        previous(
            "previous-of-the-second-missing",
            "the second bundle names no previous one",
            2,
            "\"sequence\":2,\"previous\":null",
        ),
        previous(
            "previous-upper-case",
            "the previous digest is in upper case",
            2,
            &format!("\"sequence\":2,\"previous\":\"{}\"", digest.to_uppercase()),
        ),
        time(
            "time-of-a-zone",
            "the time is of another zone",
            "2026-11-22T09:00:00+09:00",
        ),
        time(
            "time-of-no-day",
            "the day does not exist",
            "2026-02-30T00:00:00Z",
        ),
        time(
            "time-with-fraction",
            "the time has a fraction of a second",
            "2026-11-22T00:00:00.5Z",
        ),
        source(
            "source-name",
            "a source is named ..",
            "..",
            "\"name\":\"dpc\"",
            "\"name\":\"..\"",
        ),
        source(
            "source-kind",
            "a source's kind has a space",
            "dpc",
            "\"kind\":\"dpc\"",
            "\"kind\":\"d pc\"",
        ),
        source(
            "source-twice",
            "two sources have one name",
            "dpc",
            "[{\"name\"",
            "[{\"name\":\"dpc\",\"kind\":\"x\"},{\"name\"",
        ),
        whole(
            "sources-257",
            "there are 257 sources",
            "SourceCount",
            "the manifest names 257 sources, at most 256 are allowed",
            || {
                let one = |n| format!("{{\"name\":\"s{n}\",\"kind\":\"dpc\"}}");
                let more = (0..256).map(one).collect::<Vec<_>>().join(",");
                right_manifest()
                    .replacen("[{\"name\"", &format!("[{more},{{\"name\""), 1)
                    .into_bytes()
            },
        ),
        refused(
            "source-unknown",
            "an entry is of a source that is not in the list",
            "UnknownSource",
            "entry 1: its source is not in the list of sources",
            "\"source\":\"dpc\"",
            "\"source\":\"other\"",
        ),
    ]
}

/// A right second bundle after a first with this digest.
fn second(previous: Digest) -> Vec<u8> {
    let to = format!("\"sequence\":2,\"previous\":\"{previous}\"");
    let manifest = right_manifest().replacen("\"sequence\":1,\"previous\":null", &to, 1);
    Inside::signed(manifest.as_bytes()).bundle()
}

/// Digest of the committed first bundle.
pub fn first() -> Digest {
    let file = std::fs::read(super::testdata("vectors/right.vector")).unwrap();
    Digest::of(super::Head::read(&file).unwrap().1)
}

fn places() -> Vec<Case> {
    const NAME: &str = "OpenError.WrongName";
    let after = |case: Case| {
        case.with(|head| {
            head.file = "box-1-0000000002.cms".into();
            head.previous = "right".into();
        })
    };
    vec![
        Case::new(
            "wrong-sequence",
            "the first bundle lies there under the name of the second",
            NAME,
            "the file is named box-1-0000000002.cms, but the manifest inside is of box-1-0000000001.cms",
            || Inside::right().bundle(),
        )
        .with(|head| head.file = "box-1-0000000002.cms".into()),
        Case::new(
            "wrong-box-in-the-name",
            "the bundle lies there under the name of another box",
            NAME,
            "the file is named box-2-0000000001.cms, but the manifest inside is of box-1-0000000001.cms",
            || Inside::right().bundle(),
        )
        .with(|head| head.file = "box-2-0000000001.cms".into()),
        Case::new(
            "wrong-box",
            "a manifest speaks for another box than the signer's",
            "OpenError.WrongBox",
            "the manifest is of box box-2, but the signer's certificate is not",
            || Inside::signed(right_manifest().replace("box-1", "box-2").as_bytes()).bundle(),
        )
        .with(|head| head.file = "box-2-0000000001.cms".into()),
        after(Case::new(
            "wrong-previous",
            "the second bundle follows another first one",
            "OpenError.WrongPrevious",
            "it does not follow the bundle with number 1 that was applied",
            || second(Digest::of(b"another")),
        )),
        after(Case::right("right-second", "the second bundle after the vector right", || second(first()))),
    ]
}
