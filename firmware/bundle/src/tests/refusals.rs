//! Every way to be wrong that we know, each with the refusal that it meets.

use super::forgery::{Forgery, Members, one_frame, patch, right};
use super::*;
use crate::signed::{Placement, SignedError};

#[test]
fn the_forgery_that_has_nothing_wrong_is_opened() {
    let bytes = right().bytes();
    let opened = open(&bytes).unwrap();
    assert_eq!(
        opened
            .entries()
            .map(|(_, content)| content)
            .collect::<Vec<_>>(),
        [b"one", b"two"]
    );
}

#[test]
fn every_truncation_is_refused() {
    let bytes = small_bundle();
    for length in 0..bytes.len() {
        assert!(
            matches!(
                open(&bytes[..length]),
                Err(OpenError::Envelope(EnvelopeError::Form(_)))
            ),
            "{length}"
        );
    }
    let longer = [&bytes[..], b"\0"].concat();
    assert!(matches!(
        open(&longer),
        Err(OpenError::Envelope(EnvelopeError::Form(_)))
    ));
}

#[test]
fn a_flipped_bit_in_any_byte_is_refused() {
    let bytes = small_bundle();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(open(&flipped).is_err(), "byte {at}");
    }
}

#[test]
fn another_recipient_is_told_for_whom_the_bundle_is() {
    let other = recipient(RsaKeySize::_2048);
    let opener = Opener::from_pem(&other.certificate, &other.key).unwrap();
    let refused = UnverifiedBundle::parse(&small_bundle())
        .unwrap()
        .decrypt(&opener)
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(refused, OpenError::Envelope(EnvelopeError::NotForUs(names)) if names[0].contains("CN=Decryption Server"))
    );
    let mixed = Opener::from_pem(&keys().recipient.certificate, &other.key)
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(mixed, OpenerError::NotAPair));
}

#[test]
fn a_manifest_whose_signer_is_not_the_boxs_is_refused() {
    let leak = |pair: Pair| -> &'static Pair { Box::leak(Box::new(pair)) };
    let by = |pair| {
        Forgery {
            signer: leak(pair),
            ..right()
        }
        .refusal()
    };
    let issue = |saying: Saying| keys().authority.issue(&saying);
    use rcgen::ExtendedKeyUsagePurpose::ServerAuth;
    assert!(matches!(
        by(Authority::make().issue(&GOOD)),
        OpenError::Signature(SignedError::Chain(_))
    ));
    assert!(matches!(
        by(issue(Saying {
            years: (2020, 2025),
            ..GOOD
        })),
        OpenError::Signature(SignedError::Expired(_))
    ));
    assert!(matches!(
        by(issue(Saying {
            years: (2030, 2035),
            ..GOOD
        })),
        OpenError::Signature(SignedError::NotYetValid(_))
    ));
    assert!(matches!(
        by(issue(Saying {
            purpose: None,
            ..GOOD
        })),
        OpenError::Signature(SignedError::Purpose(_))
    ));
    assert!(matches!(
        by(issue(Saying {
            purpose: Some(ServerAuth),
            ..GOOD
        })),
        OpenError::Signature(SignedError::Purpose(_))
    ));
    assert!(matches!(
        by(issue(Saying {
            usage: None,
            ..GOOD
        })),
        OpenError::Signature(SignedError::KeyUsage)
    ));
    assert!(matches!(
        by(issue(Saying {
            name: "box-2",
            ..GOOD
        })),
        OpenError::WrongBox(_)
    ));
}

#[test]
fn a_signature_over_anything_else_is_refused() {
    let attached = Forgery {
        placement: Placement::Attached,
        ..right()
    }
    .refusal();
    assert!(matches!(
        attached,
        OpenError::Signature(SignedError::Field(_))
    ));
    let altered = Forgery {
        edit: |archive| {
            let at = archive
                .windows(4)
                .position(|bytes| bytes == b"null")
                .unwrap();
            archive[at - 1] = b' ';
            archive[at - 2] = b':';
        },
        ..right()
    };
    let OpenError::Signature(SignedError::Signature(_)) = altered.refusal() else {
        panic!("{}", altered.refusal())
    };
}

#[test]
fn the_archive_holds_exactly_what_the_manifest_names() {
    let members = |change: fn(&mut Members)| {
        let mut forgery = right();
        change(&mut forgery.members);
        match forgery.refusal() {
            OpenError::Archive(error) => error,
            error => panic!("{error}"),
        }
    };
    let is_name = |error| matches!(error, ArchiveError::Name { .. });
    assert!(is_name(members(|m| m.swap(0, 1))), "reordered");
    assert!(
        is_name(members(|m| m.insert(0, m[0].clone()))),
        "duplicated"
    );
    assert!(matches!(
        members(|m| m.push(m[1].clone())),
        ArchiveError::Extra { place: 5 }
    ));
    assert!(matches!(
        members(|m| m.truncate(1)),
        ArchiveError::Missing { place: 4, .. }
    ));
    assert!(is_name(members(|m| drop(m.remove(0)))), "first missing");
    assert!(
        is_name(members(|m| m[0].0 = b"content/../../x".to_vec())),
        "dot dot"
    );
    assert!(
        is_name(members(|m| m[0].0 = b"/content/000001".to_vec())),
        "absolute"
    );
    assert!(
        is_name(members(|m| m[0].0 = b"content/000001\0x".to_vec())),
        "name after NUL"
    );
}

#[test]
fn nothing_but_regular_files_of_ustar_is_read() {
    let edited = |edit: fn(&mut Vec<u8>)| match (Forgery { edit, ..right() }).refusal() {
        OpenError::Archive(error) => error,
        error => panic!("{error}"),
    };
    assert_eq!(
        edited(|a| patch(a, 2, 156, b"2")),
        ArchiveError::NotRegular {
            place: 3,
            flag: b'2'
        }
    );
    assert_eq!(
        edited(|a| patch(a, 2, 156, b"1")),
        ArchiveError::NotRegular {
            place: 3,
            flag: b'1'
        }
    );
    assert_eq!(
        edited(|a| patch(a, 2, 156, b"3")),
        ArchiveError::NotRegular {
            place: 3,
            flag: b'3'
        }
    );
    assert_eq!(
        edited(|a| patch(a, 2, 156, b"5")),
        ArchiveError::NotRegular {
            place: 3,
            flag: b'5'
        }
    );
    assert_eq!(
        edited(|a| patch(a, 2, 156, b"x")),
        ArchiveError::NotRegular {
            place: 3,
            flag: b'x'
        }
    );
    assert_eq!(
        edited(|a| patch(a, 2, 157, b"target")),
        ArchiveError::NotRegular {
            place: 3,
            flag: b'0'
        }
    );
    assert_eq!(
        edited(|a| patch(a, 2, 257, b"ustar  \0")),
        ArchiveError::NotUstar { place: 3 }
    );
    assert!(matches!(
        edited(|a| patch(a, 2, 345, b"/tmp")),
        ArchiveError::Name { place: 3, .. }
    ));
    assert_eq!(
        edited(|a| patch(a, 2, 124, b"0000000000 9")),
        ArchiveError::Size { place: 3 }
    );
    assert_eq!(
        edited(|a| patch(a, 2, 124, b"\x80\0\0\0\0\0\0\0\0\0\0\x03")),
        ArchiveError::Size { place: 3 }
    );
    assert_eq!(
        edited(|a| patch(a, 2, 124, b"77777777777\0")),
        ArchiveError::Truncated { place: 3 }
    );
    assert_eq!(edited(|a| a.truncate(a.len() - 1024)), ArchiveError::End);
    assert_eq!(edited(|a| a.truncate(a.len() - 512)), ArchiveError::End);
    assert_eq!(edited(|a| *a.last_mut().unwrap() = 1), ArchiveError::End);
    let before_end = |a: &mut Vec<u8>| {
        let at = a.len() - 1024 - 1;
        a[at] = 1;
    };
    assert_eq!(edited(before_end), ArchiveError::Padding { place: 4 });
    let checksum = |a: &mut Vec<u8>| {
        let at = a.len() - 1024 - 1024;
        a[at + 110] = b'7';
    };
    assert_eq!(edited(checksum), ArchiveError::Checksum { place: 4 });
    assert_eq!(edited(Vec::clear), ArchiveError::Truncated { place: 1 });
}

#[test]
fn sizes_and_digests_must_be_the_manifests() {
    let mut other = right();
    other.members[1].1 = b"tow".to_vec();
    assert!(matches!(
        other.refusal(),
        OpenError::ContentDigest { entry: 2 }
    ));
    let mut longer = right();
    longer.members[1].1 = b"two!".to_vec();
    assert!(matches!(
        longer.refusal(),
        OpenError::ContentSize {
            entry: 2,
            named: 3,
            found: 4
        }
    ));
}

#[test]
fn what_is_not_plain_zstd_of_a_bounded_size_is_refused() {
    let compressed = |compress| {
        Forgery {
            compress,
            ..right()
        }
        .refusal()
    };
    let bomb = |archive: &[u8]| {
        let mut large = archive.to_vec();
        large.resize(crate::limits::ARCHIVE_LIMIT_BYTES + 1, 0);
        one_frame(&large)
    };
    assert!(matches!(compressed(bomb), OpenError::Bomb));
    let skippable =
        |archive: &[u8]| [&one_frame(archive)[..], b"\x50\x2a\x4d\x18\x04\0\0\0note"].concat();
    assert!(matches!(compressed(skippable), OpenError::Frame));
    assert!(matches!(
        compressed(|archive| [&one_frame(archive)[..], b"rest"].concat()),
        OpenError::Frame
    ));
    let cut = |archive: &[u8]| one_frame(archive).split_last().unwrap().1.to_vec();
    assert!(matches!(compressed(cut), OpenError::Compression(_)));
    assert!(matches!(
        compressed(|archive| archive.to_vec()),
        OpenError::Frame
    ));
    let wide = |archive: &[u8]| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        std::io::Write::write_all(&mut encoder, archive).unwrap();
        encoder.finish().unwrap()
    };
    assert!(matches!(compressed(wide), OpenError::Compression(_)));
}

#[test]
fn a_manifest_that_says_anything_else_is_refused() {
    let changed = |from: &str, to: &str| match right().with_manifest(from, to).refusal() {
        OpenError::Manifest(error) => error.to_string(),
        error => panic!("{from} -> {to}: {error}"),
    };
    let digest = Digest::of(b"one").to_string();
    let part = |fields: &str| {
        format!("\"size\":3,\"part\":{{\"version\":\"00000000000000000000000000000000\",{fields}}}")
    };
    for (from, to, refusal) in [
        (
            "-1\"",
            "-2\"",
            "the manifest has format \"collector-bundle-2\", this program knows \"collector-bundle-1\"; use a newer one",
        ),
        (
            "\"box\"",
            "\"boxes\":1,\"box\"",
            "the manifest is not the JSON of this format",
        ),
        (
            "\"previous\":null,",
            "",
            "the manifest is not the JSON of this format",
        ),
        (
            "\"sequence\":1",
            "\"sequence\":1,\"sequence\":1",
            "the manifest is not the JSON of this format",
        ),
        (
            "null",
            &format!("\"{digest}\""),
            "the manifest has number 1 and yet a previous bundle",
        ),
        (
            "\"sequence\":1",
            "\"sequence\":0",
            "the manifest has the sequence number 0",
        ),
        (
            "\"sequence\":1",
            "\"sequence\":2",
            "the manifest has number 2 and a wrong or no previous digest",
        ),
        (
            "\"sequence\":1",
            "\"sequence\":-1",
            "the manifest is not the JSON of this format",
        ),
        (
            "box-1",
            "../box",
            "the manifest has the box name \"../box\"",
        ),
        (
            "00:00:00Z",
            "00:00:00+09:00",
            "the manifest has the time \"2026-11-22T00:00:00+09:00\", it must be like 2026-01-31T23:59:59Z",
        ),
        (
            "\"name\":\"dpc\"",
            "\"name\":\"..\"",
            "the manifest names source \"..\" twice or in a wrong form",
        ),
        (
            "[{\"name\"",
            "[{\"name\":\"dpc\",\"kind\":\"x\"},{\"name\"",
            "the manifest names source \"dpc\" twice or in a wrong form",
        ),
        (
            "\"source\":\"dpc\"",
            "\"source\":\"other\"",
            "entry 1: its source is not in the list of sources",
        ),
        (
            "\"path\":\"a\"",
            "\"path\":\"../a\"",
            "entry 1: its path is refused",
        ),
        (
            "\"path\":\"a\"",
            "\"path\":\"/a\"",
            "entry 1: its path is refused",
        ),
        (
            "\"path\":\"a\"",
            "\"path\":\"a%00\"",
            "entry 1: its path is refused",
        ),
        (
            "\"path\":\"a\"",
            "\"path\":\"%61\"",
            "entry 1: its path is refused",
        ),
        (
            "\"path\":\"a\"",
            "\"path\":\"\"",
            "entry 1: its path is refused",
        ),
        (
            "\"content\":2",
            "\"content\":3",
            "entry 2: its content must have number 2",
        ),
        (
            ",\"content\":1",
            "",
            "entry 1: it lacks a field of its event or has one of another",
        ),
        (
            ",\"size\":3",
            "",
            "entry 1: it lacks a field of its event or has one of another",
        ),
        (
            "\"path\":\"a\"",
            "\"path\":\"a\",\"from\":\"b\"",
            "entry 1: it lacks a field of its event or has one of another",
        ),
        (
            "\"added\"",
            "\"removed\"",
            "entry 1: it lacks a field of its event or has one of another",
        ),
        (
            "\"added\"",
            "\"flag-changed\"",
            "entry 1: it lacks a field of its event or has one of another",
        ),
        (
            "\"added\"",
            "\"moved\"",
            "the manifest is not the JSON of this format",
        ),
        (
            "\"size\":3",
            "\"size\":8388609",
            "entry 1: its content has 8388609 bytes, at most 8388608 are allowed",
        ),
        (
            &digest,
            &digest.to_uppercase(),
            "entry 1: a digest or version is not lower-case hexadecimal of its length",
        ),
        (
            "\"size\":3",
            &part("\"total\":3,\"offset\":0"),
            "entry 1: offset, size, total and digest do not make a part",
        ),
        (
            "\"size\":3",
            &part("\"total\":9,\"offset\":7"),
            "entry 1: offset, size, total and digest do not make a part",
        ),
        (
            "\"size\":3",
            &part(&format!("\"total\":9,\"offset\":0,\"whole\":\"{digest}\"")),
            "entry 1: offset, size, total and digest do not make a part",
        ),
        (
            "}]}",
            "}]} {}",
            "the manifest is not the JSON of this format",
        ),
    ] {
        assert_eq!(changed(from, to), refusal, "{from} -> {to}");
    }
}

#[test]
fn a_bundle_under_another_name_is_refused() {
    let content = UnverifiedBundle::parse(&right().bytes())
        .unwrap()
        .decrypt(&opener())
        .unwrap();
    let refused = content.verify(&trust(), &name(2)).map(|_| ()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the file is named box-1-0000000002.cms, but the manifest inside is of box-1-0000000001.cms"
    );
}
