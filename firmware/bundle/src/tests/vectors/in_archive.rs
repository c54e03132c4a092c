//! Ways to be wrong in the archive: entries that the manifest does not name, and everything that tar can do to a reader.

use super::Case;
use super::forge::*;

fn refused(
    vector: &str,
    wrong: &str,
    variant: &str,
    says: &str,
    body: impl Fn() -> Vec<u8> + 'static,
) -> Case {
    let expect = format!("OpenError.Archive.{variant}");
    Case::new(
        vector,
        wrong,
        &expect,
        &format!("the archive is refused: {says}"),
        body,
    )
}

/// The right archive with its bytes changed.
fn edited(edit: fn(&mut Vec<u8>)) -> impl Fn() -> Vec<u8> {
    move || {
        let mut archive = Inside::right().archive();
        edit(&mut archive);
        bundle(&one_frame(&archive))
    }
}

type Members = Vec<(Vec<u8>, Vec<u8>)>;

/// The right archive with its members changed.
fn members(edit: fn(&mut Members)) -> impl Fn() -> Vec<u8> {
    move || {
        let mut inside = Inside::right();
        edit(&mut inside.0);
        inside.bundle()
    }
}

/// Start of the n-th header, counted from 0: found by its magic number, which no content here has.
fn header(archive: &[u8], nth: usize) -> usize {
    let mut starts = (0..archive.len()).step_by(512);
    starts
        .by_ref()
        .filter(|&start| &archive[start + 257..start + 262] == b"ustar")
        .nth(nth)
        .unwrap()
}

/// Sets a field of the n-th header and its checksum.
fn patch(archive: &mut [u8], nth: usize, at: usize, bytes: &[u8]) {
    let start = header(archive, nth);
    let header = &mut archive[start..start + 512];
    header[at..at + bytes.len()].copy_from_slice(bytes);
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub fn cases() -> Vec<Case> {
    let mut cases = members_and_names();
    cases.extend(types());
    cases.extend(forms());
    cases.extend(contents());
    cases
}

fn members_and_names() -> Vec<Case> {
    let name = |vector, wrong, place: u32, found: &str, expected: &str, edit| {
        let says = format!("archive entry {place} is named {found:?}, it must be {expected:?}");
        refused(vector, wrong, "Name", &says, members(edit))
    };
    const FIRST: &str = "content/000001";
    const SECOND: &str = "content/000002";
    vec![
        name(
            "manifest-twice",
            "a second manifest follows the first",
            2,
            "manifest.json",
            "manifest.p7s",
            |m| m.insert(1, m[0].clone()),
        ),
        name(
            "reordered",
            "the contents are in the other order",
            3,
            SECOND,
            FIRST,
            |m| m.swap(2, 3),
        ),
        name(
            "duplicated",
            "the first content is there twice",
            4,
            FIRST,
            SECOND,
            |m| m.insert(2, m[2].clone()),
        ),
        name(
            "missing-first",
            "the first content is missing",
            3,
            SECOND,
            FIRST,
            |m| drop(m.remove(2)),
        ),
        refused(
            "missing-last",
            "the last content is missing: the manifest names more than the archive has",
            "Missing",
            "the archive ends before entry 4 (\"content/000002\"), which the manifest names",
            members(|m| drop(m.pop())),
        ),
        refused(
            "extra",
            "a third content follows: the manifest names less than the archive has",
            "Extra",
            "archive entry 5 is not named by the manifest",
            members(|m| m.push((b"content/000003".to_vec(), b"three".to_vec()))),
        ),
        name(
            "name-dot-dot",
            "a name has a component ..",
            3,
            "content/../../x",
            FIRST,
            |m| m[2].0 = b"content/../../x".to_vec(),
        ),
        name(
            "name-absolute",
            "a name is absolute",
            3,
            "/content/000001",
            FIRST,
            |m| m[2].0 = b"/content/000001".to_vec(),
        ),
        name(
            "name-empty-component",
            "a name has an empty component",
            3,
            "content//000001",
            FIRST,
            |m| m[2].0 = b"content//000001".to_vec(),
        ),
        name("name-empty", "a name is empty", 3, "", FIRST, |m| {
            m[2].0.clear()
        }),
        name(
            "name-after-nul",
            "bytes follow the NUL that ends a name",
            3,
            FIRST,
            FIRST,
            |m| m[2].0 = b"content/000001\0x".to_vec(),
        ),
        refused(
            "name-prefix",
            "a name has a prefix, which ustar puts before it",
            "Name",
            "archive entry 3 is named \"content/000001\", it must be \"content/000001\"",
            edited(|a| patch(a, 2, 345, b"/tmp")),
        ),
    ]
}

fn types() -> Vec<Case> {
    let kind = |vector: &str, what: &str, flag: char, edit| {
        let says = format!("archive entry 3 is no regular file but has type {flag:?}");
        refused(vector, what, "NotRegular", &says, edited(edit))
    };
    // an entry of an extension, before the one that it speaks of
    let extension = |vector: &str,
                     what: &str,
                     flag: char,
                     edit: fn(&mut Members),
                     patched: fn(&mut Vec<u8>)| {
        let says = format!("archive entry 3 is no regular file but has type {flag:?}");
        refused(vector, what, "NotRegular", &says, move || {
            let mut inside = Inside::right();
            edit(&mut inside.0);
            let mut archive = inside.archive();
            patched(&mut archive);
            bundle(&one_frame(&archive))
        })
    };
    vec![
        kind(
            "hard-link",
            "content 1 is a hard link to /etc/passwd",
            '1',
            |a| {
                patch(a, 2, 157, b"/etc/passwd");
                patch(a, 2, 156, b"1")
            },
        ),
        kind(
            "symbolic-link",
            "content 1 is a symbolic link to /etc/passwd",
            '2',
            |a| {
                patch(a, 2, 157, b"/etc/passwd");
                patch(a, 2, 156, b"2")
            },
        ),
        kind(
            "character-device",
            "content 1 is a character device",
            '3',
            |a| patch(a, 2, 156, b"3"),
        ),
        kind("folder", "content 1 is a folder", '5', |a| {
            patch(a, 2, 156, b"5")
        }),
        kind("fifo", "content 1 is a FIFO", '6', |a| {
            patch(a, 2, 156, b"6")
        }),
        kind("sparse", "content 1 is a GNU sparse file", 'S', |a| {
            patch(a, 2, 156, b"S")
        }),
        kind(
            "link-name",
            "content 1 is a regular file with a link's target",
            '0',
            |a| patch(a, 2, 157, b"/etc/passwd"),
        ),
        extension(
            "pax-path",
            "a PAX header gives content 1 the path ../../etc/cron.d/x",
            'x',
            |m| {
                m.insert(
                    2,
                    (
                        b"PaxHeaders/000001".to_vec(),
                        b"27 path=../../etc/cron.d/x\n".to_vec(),
                    ),
                )
            },
            |a| patch(a, 2, 156, b"x"),
        ),
        extension(
            "pax-global",
            "a global PAX header speaks of all that follows",
            'g',
            |m| {
                m.insert(
                    2,
                    (b"pax_global_header".to_vec(), b"13 uname=root\n".to_vec()),
                )
            },
            |a| patch(a, 2, 156, b"g"),
        ),
        extension(
            "gnu-long-name",
            "a GNU long name gives content 1 the path ../../etc/cron.d/x",
            'L',
            |m| {
                m.insert(
                    2,
                    (b"././@LongLink".to_vec(), b"../../etc/cron.d/x\0".to_vec()),
                )
            },
            |a| patch(a, 2, 156, b"L"),
        ),
        extension(
            "gnu-long-link",
            "a GNU long link gives content 1 a target",
            'K',
            |m| m.insert(2, (b"././@LongLink".to_vec(), b"/etc/passwd\0".to_vec())),
            |a| patch(a, 2, 156, b"K"),
        ),
    ]
}

fn forms() -> Vec<Case> {
    const END: &str = "the archive does not end with two blocks of zeros and nothing after";
    const SIZE: &str = "archive entry 3 has no readable size";
    let end = |vector, wrong, edit| refused(vector, wrong, "End", END, edited(edit));
    let size = |vector, wrong, edit| refused(vector, wrong, "Size", SIZE, edited(edit));
    let cut = |vector, wrong, place: u32, edit| {
        refused(
            vector,
            wrong,
            "Truncated",
            &format!("the archive ends inside entry {place}"),
            edited(edit),
        )
    };
    vec![
        cut("archive-empty", "the archive is empty", 1, Vec::clear),
        cut(
            "archive-cut-in-a-header",
            "the archive ends inside a header",
            3,
            |a| a.truncate(header(a, 2) + 100),
        ),
        cut(
            "archive-cut-in-a-content",
            "the archive ends inside a content",
            3,
            |a| a.truncate(header(a, 2) + 512 + 2),
        ),
        cut(
            "size-beyond-the-end",
            "a size goes far beyond the end",
            3,
            |a| patch(a, 2, 124, b"77777777777\0"),
        ),
        refused(
            "archive-of-nothing",
            "the archive holds nothing but its end",
            "Missing",
            "the archive ends before entry 1 (\"manifest.json\"), which the manifest names",
            edited(|a| *a = vec![0; 1024]),
        ),
        end("end-missing", "the archive has no end", |a| {
            a.truncate(a.len() - 1024)
        }),
        end("end-of-one-block", "the end is one block of zeros", |a| {
            a.truncate(a.len() - 512)
        }),
        end(
            "end-not-zero",
            "the last byte of the end is not zero",
            |a| *a.last_mut().unwrap() = 1,
        ),
        end(
            "trailing-after-the-end",
            "bytes follow the end of the archive",
            |a| a.extend(b"hidden"),
        ),
        end(
            "trailing-file",
            "a whole file is hidden behind the end of the archive",
            |a| {
                let file = a[header(a, 2)..header(a, 3)].to_vec();
                a.extend(file)
            },
        ),
        refused(
            "padding-not-zero",
            "a byte hides in the padding of content 2",
            "Padding",
            "the padding of archive entry 4 is not zero",
            edited(|a| {
                let at = a.len() - 1024 - 1;
                a[at] = 1
            }),
        ),
        refused(
            "flip-tar-header",
            "a bit of a header is flipped",
            "Checksum",
            "archive entry 3 has a wrong header checksum",
            edited(|a| {
                let at = header(a, 2) + 5;
                a[at] ^= 1
            }),
        ),
        refused(
            "gnu-format",
            "content 1 has the magic number of GNU tar",
            "NotUstar",
            "archive entry 3 is not of the ustar format",
            edited(|a| patch(a, 2, 257, b"ustar  \0")),
        ),
        size(
            "size-base-256",
            "a size is written in the base of GNU tar",
            |a| patch(a, 2, 124, b"\x80\0\0\0\0\0\0\0\0\0\0\x03"),
        ),
        size("size-not-octal", "a size is not octal", |a| {
            patch(a, 2, 124, b"00000000009\0")
        }),
        Case::right(
            "right-owner-and-time",
            "mode, owner and time are as stock tar writes them",
            edited(|a| {
                patch(a, 2, 100, b"0000644\x000001750\x000001750\0");
                patch(a, 2, 136, b"15175062000\0");
                patch(a, 2, 265, b"operator")
            }),
        ),
        Case::right(
            "right-blocks-of-20",
            "the archive is padded to 10 KiB, as stock tar does",
            edited(|a| a.resize(a.len().next_multiple_of(10_240), 0)),
        ),
    ]
}

fn contents() -> Vec<Case> {
    let refused = |vector, wrong, expect: &str, says, edit| {
        Case::new(vector, wrong, expect, says, members(edit))
    };
    const DIGEST: &str = "entry 2: the content's digest is not the manifest's";
    vec![
        refused(
            "digest-differs",
            "a bit of content 2 is flipped",
            "OpenError.ContentDigest",
            DIGEST,
            |m| m[3].1[0] ^= 1,
        ),
        refused(
            "size-larger",
            "content 2 has one byte more than the manifest says",
            "OpenError.ContentSize",
            "entry 2: the manifest names 3 bytes, the archive has 4",
            |m| m[3].1.push(b'!'),
        ),
    ]
}
