//! Ways to be wrong in what a manifest says of lost bundles.

use super::Case;
use super::FILE;
use super::forge::*;
use super::in_manifest::whole;
use crate::digest::Digest;

/// The third bundle, which reports the two before it as lost.
fn manifest(entries: &str, lost: &str) -> String {
    let previous = Digest::of(b"second");
    manifest_of(entries)
        .replace(
            "\"sequence\":1,\"previous\":null",
            &format!("\"sequence\":3,\"previous\":\"{previous}\""),
        )
        .replace("]}", &format!("],\"lost\":{lost}}}"))
}

fn two_entries() -> String {
    [entry(1, "a", b"one"), entry(2, "b", b"two")].join(",")
}

fn lost(number: &str, digest: &str, files: &str) -> String {
    format!("{{\"number\":{number},\"sha256\":\"{digest}\",\"files\":[{files}]}}")
}

/// A lost file; `more` comes after its fields.
fn file(path: &str, more: &str) -> String {
    let digest = Digest::of(b"x-ray");
    format!("{{\"source\":\"dpc\",\"path\":\"{path}\",\"size\":5,\"sha256\":\"{digest}\"{more}}}")
}

fn third(case: Case) -> Case {
    case.with(|head| {
        head.file = FILE.replace("01.cms", "03.cms");
        head.previous = Digest::of(b"second").to_string();
    })
}

pub fn cases() -> Vec<Case> {
    let refused = |vector, wrong, fault: &str, number, says: &str, list: String| {
        let (variant, says) = match fault {
            "Json" => (
                "Json".to_owned(),
                "the manifest is not the JSON of this format".to_owned(),
            ),
            fault => (
                format!("Lost.{fault}"),
                format!("lost bundle {number}: it is refused: {says}"),
            ),
        };
        third(whole(vector, wrong, &variant, &says, move || {
            manifest(&two_entries(), &list).into_bytes()
        }))
    };
    let (one, two) = (
        Digest::of(b"first").to_string(),
        Digest::of(b"second").to_string(),
    );
    const ORDER: &str =
        "its number is not above the one before it, or not below the manifest's own";
    const COUNT: &str = "bundles or files, allowed are 1 to 16384";
    const HEXADECIMAL: &str = "its digest is not lower-case hexadecimal of its length";
    let list = |losses: &[String]| format!("[{}]", losses.join(","));
    let path = |vector, wrong, fault: &str, says: &str, path: &str| {
        refused(
            vector,
            wrong,
            &format!("FilePath.{fault}"),
            1,
            &format!("file 1: its path is refused: {says}"),
            list(&[lost("1", &one, &file(path, ""))]),
        )
    };
    let many = |count| vec![file("a", ""); count].join(",");
    vec![
        refused(
            "lost-itself",
            "a bundle reports itself as lost",
            "Order",
            3,
            ORDER,
            list(&[lost("3", &one, "")]),
        ),
        refused(
            "lost-later",
            "a bundle reports a later one as lost",
            "Order",
            4,
            ORDER,
            list(&[lost("4", &one, "")]),
        ),
        refused(
            "lost-zero",
            "the lost number is 0",
            "Order",
            0,
            ORDER,
            list(&[lost("0", &one, "")]),
        ),
        refused(
            "lost-twice",
            "a bundle is reported as lost twice",
            "Order",
            1,
            ORDER,
            list(&[lost("1", &one, ""), lost("1", &one, "")]),
        ),
        refused(
            "lost-unordered",
            "lost bundles are not in the order of their numbers",
            "Order",
            1,
            ORDER,
            list(&[lost("2", &two, ""), lost("1", &one, "")]),
        ),
        refused(
            "lost-none",
            "the list of lost bundles is there and empty",
            "Count",
            0,
            &format!("the list has 0 {COUNT}"),
            list(&[]),
        ),
        refused(
            "lost-files-16385",
            "more lost files than entries are allowed",
            "Count",
            1,
            &format!("the list has 16385 {COUNT}"),
            list(&[lost("1", &one, &many(16_384)), lost("2", &two, &many(1))]),
        ),
        refused(
            "lost-digest-missing",
            "a lost bundle has no digest",
            "Json",
            1,
            "",
            list(&[lost("1", &one, "").replace(&format!("\"sha256\":\"{one}\","), "")]),
        ),
        refused(
            "lost-digest-upper-case",
            "a lost bundle's digest is in upper case",
            "Digest",
            1,
            HEXADECIMAL,
            list(&[lost("1", &one.to_uppercase(), "")]),
        ),
        refused(
            "lost-field-unknown",
            "a lost bundle has a field that nobody knows",
            "Json",
            1,
            "",
            list(&[lost("1", &one, "").replace("\"files\"", "\"mood\":1,\"files\"")]),
        ),
        refused(
            "lost-files-missing",
            "a lost bundle does not say which files",
            "Json",
            1,
            "",
            list(&[lost("1", &one, "").replace(",\"files\":[]", "")]),
        ),
        refused(
            "lost-file-field-unknown",
            "a lost file has a field that nobody knows",
            "Json",
            1,
            "",
            list(&[lost("1", &one, &file("a", ",\"mood\":1"))]),
        ),
        refused(
            "lost-file-source",
            "a lost file is of a source that is not in the list",
            "FileSource",
            1,
            "file 1: its source is not in the list of sources",
            list(&[lost("1", &one, &file("a", "").replace("dpc", "pcd"))]),
        ),
        refused(
            "lost-file-digest",
            "a lost file's digest is in upper case",
            "FileDigest",
            1,
            &format!("file 2: {HEXADECIMAL}"),
            list(&[lost(
                "1",
                &one,
                &[
                    file("a", ""),
                    file("b", "").replace(&Digest::of(b"x-ray").to_string(), &two.to_uppercase()),
                ]
                .join(","),
            )]),
        ),
        refused(
            "lost-file-beginning-false",
            "a lost file says in words what it says without them",
            "FileBeginning",
            1,
            "file 1: the field beginning can only be true",
            list(&[lost("1", &one, &file("a", ",\"beginning\":false"))]),
        ),
        path(
            "lost-path-dot-dot",
            "the path of a lost file leaves its root",
            "DotComponent",
            "a component of the path is . or ..",
            "../a",
        ),
        path(
            "lost-path-absolute",
            "the path of a lost file is absolute",
            "Absolute",
            "the path is absolute, it must be below its root",
            "/a",
        ),
        path(
            "lost-path-spelled-twice",
            "the path of a lost file has another spelling",
            "Spelling",
            "the path is not spelled in the one allowed way",
            "%41",
        ),
        third(Case::right(
            "right-lost",
            "two bundles before it are lost, with a whole file and the beginning of one",
            {
                let files = [file("a", ""), file("%83%5C", ",\"beginning\":true")].join(",");
                let list = list(&[lost("1", &one, &files), lost("2", &two, "")]);
                move || Inside::signed(manifest(&two_entries(), &list).as_bytes()).bundle()
            },
        )),
        third(Case::right(
            "right-lost-without-entries",
            "a loss is all that it tells",
            {
                let list = list(&[lost("2", &two, &file("a", ""))]);
                move || {
                    let mut inside = Inside::signed(manifest("", &list).as_bytes());
                    inside.0.truncate(2);
                    inside.bundle()
                }
            },
        ))
        .with(|head| head.says = "0 entries, 0 bytes".into()),
    ]
}
