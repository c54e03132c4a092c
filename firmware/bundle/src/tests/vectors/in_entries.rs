//! Ways to be wrong in the entries of a manifest that a right box signed.

use super::Case;
use super::forge::*;
use super::in_manifest::{refused, whole};
use crate::digest::Digest;
use crate::limits::ENTRY_LIMIT;

pub fn cases() -> Vec<Case> {
    let mut cases = paths();
    cases.extend(entries());
    cases.extend(parts());
    cases
}

fn paths() -> Vec<Case> {
    let path = |vector, wrong, fault: &str, says: &str, path: &str| {
        let says = format!("entry 1: its path is refused: {says}");
        let to = format!("\"path\":\"{path}\"");
        refused(
            vector,
            wrong,
            &format!("Path.{fault}"),
            &says,
            "\"path\":\"a\"",
            &to,
        )
    };
    const DOT: &str = "a component of the path is . or ..";
    const EMPTY: &str = "a component of the path is empty";
    const SPELLING: &str = "the path is not spelled in the one allowed way";
    vec![
        path(
            "path-dot-dot",
            "a path leaves its root",
            "DotComponent",
            DOT,
            "../a",
        ),
        path(
            "path-dot-dot-inside",
            "a path has a component .. inside",
            "DotComponent",
            DOT,
            "a/../../b",
        ),
        path(
            "path-absolute",
            "a path is absolute",
            "Absolute",
            "the path is absolute, it must be below its root",
            "/etc/passwd",
        ),
        path(
            "path-empty",
            "a path is empty",
            "Empty",
            "the path is empty",
            "",
        ),
        path(
            "path-empty-component",
            "a path has an empty component",
            "EmptyComponent",
            EMPTY,
            "a//b",
        ),
        path(
            "path-nul",
            "a path has a NUL byte",
            "Nul",
            "the path contains a NUL byte",
            "a%00b",
        ),
        path(
            "path-spelled-twice",
            "a byte that stands for itself is escaped",
            "Spelling",
            SPELLING,
            "%61",
        ),
        path(
            "path-dot-dot-escaped",
            "the dots of .. are escaped",
            "Spelling",
            SPELLING,
            "%2E%2E/a",
        ),
        path(
            "path-not-ascii",
            "a character is not escaped",
            "Spelling",
            SPELLING,
            "\u{60a3}",
        ),
        path(
            "path-component-too-long",
            "a component has 766 bytes",
            "ComponentTooLong",
            "a component of the path has 766 bytes, at most 765 are allowed",
            &"n".repeat(766),
        ),
        path(
            "path-too-long",
            "a path has 4096 bytes",
            "TooLong",
            "the path has 4096 bytes, at most 4095 are allowed",
            &format!("{}b", "abcd/".repeat(819)),
        ),
        refused(
            "from-dot-dot",
            "the old path of a renamed file leaves its root",
            "Path.DotComponent",
            &format!("entry 1: its path is refused: {DOT}"),
            "[{\"event\":\"added\"",
            "[{\"event\":\"flag-changed\",\"source\":\"dpc\",\"path\":\"x\",\"from\":\"../y\"},{\"event\":\"added\"",
        ),
    ]
}

fn entries() -> Vec<Case> {
    const FIELDS: &str = "entry 1: it lacks a field of its event or has one of another";
    let fields = |vector, wrong, from, to| refused(vector, wrong, "Fields", FIELDS, from, to);
    let number = |vector, wrong, entry: u32, from, to| {
        let says = format!("entry {entry}: its content must have number {entry}");
        refused(vector, wrong, "ContentNumber", &says, from, to)
    };
    let digest = Digest::of(b"one").to_string();
    vec![
        fields(
            "added-without-content",
            "an added file has no content",
            ",\"content\":1",
            "",
        ),
        fields(
            "added-without-size",
            "an added file has no size",
            ",\"size\":3",
            "",
        ),
        fields(
            "added-with-from",
            "an added file has an old path",
            "\"path\":\"a\"",
            "\"path\":\"a\",\"from\":\"b\"",
        ),
        fields(
            "removed-with-content",
            "a removed file carries bytes",
            "\"added\"",
            "\"removed\"",
        ),
        fields(
            "renamed-with-content",
            "a renamed file carries bytes",
            "\"added\"",
            "\"flag-changed\"",
        ),
        fields(
            "renamed-without-from",
            "a renamed file has no old path",
            "[{\"event\":\"added\"",
            "[{\"event\":\"flag-changed\",\"source\":\"dpc\",\"path\":\"x\"},{\"event\":\"added\"",
        ),
        number(
            "content-number-skipped",
            "content 2 is skipped",
            2,
            "\"content\":2",
            "\"content\":3",
        ),
        number(
            "content-number-twice",
            "two entries have the same content",
            2,
            "\"content\":2",
            "\"content\":1",
        ),
        refused(
            "size-above-the-limit",
            "a content has more bytes than a part may have",
            "Size",
            "entry 1: its content has 8388609 bytes, at most 8388608 are allowed",
            "\"size\":3",
            "\"size\":8388609",
        ),
        refused(
            "digest-upper-case",
            "a digest is in upper case",
            "Digest",
            "entry 1: a digest or version is not lower-case hexadecimal of its length",
            &digest,
            &digest.to_uppercase(),
        ),
        whole(
            "contents-above-the-limit",
            "five contents of 8 MiB are more than 32 MiB",
            "Contents",
            "the contents have 41943040 bytes, at most 33554432 are allowed",
            || {
                let one = |n| entry(n, "a", b"one").replace("\"size\":3", "\"size\":8388608");
                manifest_of(&(1..=5).map(one).collect::<Vec<_>>().join(",")).into_bytes()
            },
        ),
        whole(
            "entries-16385",
            "there are 16385 entries",
            "EntryCount",
            "the manifest has 16385 entries, at most 16384 are allowed",
            || {
                let one = "{\"event\":\"removed\",\"source\":\"dpc\",\"path\":\"a\"}";
                manifest_of(&vec![one; ENTRY_LIMIT + 1].join(",")).into_bytes()
            },
        ),
        Case::right(
            "right-path-twice",
            "a path is there twice: entries are in order, the last one holds",
            || {
                let entries = [entry(1, "a", b"one"), entry(2, "a", b"two")].join(",");
                Inside::signed(manifest_of(&entries).as_bytes()).bundle()
            },
        ),
    ]
}

fn parts() -> Vec<Case> {
    let part = |vector, wrong, size: u32, fields: &str| {
        let says = "entry 1: offset, size, total and digest do not make a part";
        let version = "00000000000000000000000000000000";
        let to = format!("\"size\":{size},\"part\":{{\"version\":\"{version}\",{fields}}}");
        refused(vector, wrong, "Part", says, "\"size\":3", &to)
    };
    let whole = format!("\"whole\":\"{}\"", Digest::of(b"one"));
    vec![
        part(
            "part-beyond-the-end",
            "a part goes beyond the end of its file",
            3,
            "\"total\":9,\"offset\":7",
        ),
        part(
            "part-offset-overflows",
            "offset and size together need 65 bits",
            3,
            "\"total\":18446744073709551615,\"offset\":18446744073709551615",
        ),
        part(
            "part-last-without-whole",
            "the last part has no digest of the whole file",
            3,
            "\"total\":3,\"offset\":0",
        ),
        part(
            "part-whole-too-early",
            "a part that is not the last has the digest of the whole file",
            3,
            &format!("\"total\":9,\"offset\":0,{whole}"),
        ),
        part(
            "part-empty",
            "a part is empty",
            0,
            &format!("\"total\":9,\"offset\":9,{whole}"),
        ),
        refused(
            "part-version",
            "the version of a part is no hexadecimal",
            "Digest",
            "entry 1: a digest or version is not lower-case hexadecimal of its length",
            "\"size\":3",
            "\"size\":3,\"part\":{\"version\":\"first\",\"total\":9,\"offset\":0}",
        ),
        refused(
            "part-unknown-field",
            "a part has an unknown field",
            "Json",
            "the manifest is not the JSON of this format",
            "\"size\":3",
            "\"size\":3,\"part\":{\"version\":\"00000000000000000000000000000000\",\"total\":9,\"offset\":0,\"mood\":1}",
        ),
    ]
}
