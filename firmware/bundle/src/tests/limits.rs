//! Bounds, and what a sealer refuses before the data centre has to.

use super::*;

fn added(content: Vec<u8>) -> Event<'static> {
    Event::Added(Body::new(content, None, None))
}

/// Bytes that do not compress: a Weyl sequence through a multiplier, quick and the same everywhere.
fn noise(bytes: usize) -> Vec<u8> {
    let words = (0..bytes as u64 / 8).map(|n| {
        let mixed = (n ^ 0x9e37_79b9).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ mixed >> 29).wrapping_mul(0x94d0_49bb_1331_11eb) ^ mixed >> 17).to_le_bytes()
    });
    words.flatten().collect()
}

#[test]
fn a_full_draft_says_so_and_still_seals_below_the_limit() {
    let mut draft = Draft::new(sources()).unwrap();
    let part = noise(PART_LIMIT_BYTES as usize);
    for _ in 0..CONTENT_LIMIT_BYTES / PART_LIMIT_BYTES {
        draft
            .push(&Entry {
                source: 0,
                path: b"a",
                event: added(part.clone()),
            })
            .unwrap();
    }
    let one_more = Entry {
        source: 0,
        path: b"b",
        event: added(vec![0]),
    };
    assert!(matches!(draft.push(&one_more), Err(PushError::Full)));
    let sealed = sealer()
        .seal(&draft.close().unwrap(), 1, None, NOW)
        .unwrap();
    assert!(sealed.bytes.len() > CONTENT_LIMIT_BYTES as usize);
    assert!(sealed.bytes.len() < SEALED_LIMIT_BYTES);
    assert_eq!(open(&sealed.bytes).unwrap().entries().count(), 4);
}

#[test]
fn the_number_of_entries_and_the_size_of_the_manifest_are_bounded() {
    for path_bytes in [10, 4000] {
        let mut draft = Draft::new(sources()).unwrap();
        let path: Vec<u8> = (1..=path_bytes)
            .map(|n| if n % 200 == 0 { b'/' } else { 0xff })
            .collect();
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        let entry = Entry {
            source: 0,
            path,
            event: Event::Removed,
        };
        let mut taken = 0;
        while draft.push(&entry).is_ok() {
            taken += 1;
        }
        assert!(matches!(draft.push(&entry), Err(PushError::Full)));
        assert!(taken <= ENTRY_LIMIT && taken > 100, "{taken}");
        let sealed = sealer()
            .seal(&draft.close().unwrap(), 1, None, NOW)
            .unwrap();
        assert_eq!(open(&sealed.bytes).unwrap().entries().count(), taken);
    }
}

#[test]
fn what_the_data_centre_would_refuse_is_not_taken() {
    let mut draft = Draft::new(sources()).unwrap();
    let too_large = added(vec![0; PART_LIMIT_BYTES as usize + 1]);
    let part = |offset, total, whole| Part {
        version: VersionId([0; 16]),
        total,
        offset,
        whole,
    };
    let with_part = |part| Event::Added(Body::new(b"12345".as_slice(), None, Some(part)));
    for (source, path, event) in [
        (0, &b"../x"[..], added(vec![])),
        (0, b"x", Event::FlagChanged { from: b"/x" }),
        (2, b"x", added(vec![])),
        (0, b"x", too_large),
        (0, b"x", with_part(part(0, 4, None))),
        (0, b"x", with_part(part(0, 5, None))),
        (0, b"x", with_part(part(0, 6, Some(Digest::of(b""))))),
        (0, b"x", with_part(part(u64::MAX, u64::MAX, None))),
    ] {
        assert!(
            draft
                .push(&Entry {
                    source,
                    path,
                    event
                })
                .is_err()
        );
    }
    assert!(draft.is_empty());
    let twice = vec![sources()[0].clone(), sources()[0].clone()];
    assert!(matches!(
        Draft::new(twice),
        Err(PushError::Sources(ManifestError::Source(_)))
    ));
}

fn lost(number: u64, files: Vec<LostFile>) -> Lost {
    Lost {
        number,
        sha256: Digest([number as u8; 32]),
        files,
    }
}

fn lost_file(source: usize, path: &[u8]) -> LostFile {
    LostFile {
        source,
        path: path.to_vec(),
        size: 5,
        sha256: Digest::of(path),
        extent: Extent::Whole,
    }
}

#[test]
fn a_loss_that_the_data_centre_would_refuse_is_not_taken() {
    let mut draft = Draft::new(sources()).unwrap();
    assert!(matches!(
        draft.lose(&lost(0, vec![])),
        Err(PushError::LostOrder(0))
    ));
    let with = |file| lost(2, vec![file]);
    for wrong in [with(lost_file(0, b"../x")), with(lost_file(2, b"x"))] {
        assert!(draft.lose(&wrong).is_err());
    }
    assert!(draft.is_empty());
    draft.lose(&with(lost_file(0, b"x"))).unwrap();
    for number in [1, 2] {
        assert!(matches!(
            draft.lose(&lost(number, vec![])),
            Err(PushError::LostOrder(_))
        ));
    }
    let closed = draft.close().unwrap();
    assert!(matches!(
        sealer().seal(&closed, 2, Some(Digest([1; 32])), NOW),
        Err(SealError::Lost {
            number: 2,
            sequence: 2
        })
    ));
    sealer()
        .seal(&closed, 3, Some(Digest([1; 32])), NOW)
        .unwrap();
}

#[test]
fn losses_fill_a_draft_to_its_bounds_and_no_further() {
    let full = |files: Vec<LostFile>| {
        let mut draft = Draft::new(sources()).unwrap();
        draft.lose(&lost(1, files)).unwrap();
        draft
    };
    let mut by_count = full(vec![lost_file(0, b"x"); ENTRY_LIMIT]);
    assert!(matches!(
        by_count.lose(&lost(2, vec![lost_file(0, b"x")])),
        Err(PushError::Full)
    ));
    by_count.lose(&lost(2, vec![])).unwrap();
    let long = [&[0xff; 700][..], b"/", &[0xff; 700]].concat();
    let mut by_bytes = full(vec![lost_file(0, &long); 1900]);
    let more = lost(2, vec![lost_file(0, &long); 100]);
    assert!(matches!(by_bytes.lose(&more), Err(PushError::Full)));
}

#[test]
fn a_weak_recipient_is_refused_from_2031() {
    let closed = small_draft().close().unwrap();
    let end = 1_924_992_000;
    sealer().seal(&closed, 1, None, end - 1).unwrap();
    let refused = sealer()
        .seal(&closed, 1, None, end)
        .map(|sealed| sealed.name)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the recipient CN=Decryption Server has an RSA key of 2048 bits, which takes no new bundle after 2030-12-31; \
         use a certificate with at least 3072 bits"
    );
    let strong = recipient(RsaKeySize::_3072);
    sealer_for(&[&strong]).seal(&closed, 1, None, end).unwrap();
}

#[test]
fn only_rsa_certificates_are_recipients() {
    let refused = Recipient::from_pem(&keys().signer.certificate)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the recipient's certificate holds a key of algorithm 1.2.840.10045.2.1, but it must be RSA"
    );
    assert!(matches!(
        Recipient::from_pem(b"no PEM"),
        Err(RecipientError::Pem(_))
    ));
    assert!(matches!(
        Recipient::from_pem(&keys().recipient.key),
        Err(RecipientError::Pem(_))
    ));
}

#[test]
fn a_sealer_refuses_a_certificate_that_would_be_refused_later() {
    let make = |saying: &Saying| {
        let pair = keys().authority.issue(saying);
        let recipient = Recipient::from_pem(&keys().recipient.certificate).unwrap();
        let signer = LocalSigner::from_pem(&pair.key).unwrap();
        Sealer::new(box_name(), vec![recipient], &pair.certificate, signer)
    };
    assert!(matches!(
        make(&Saying {
            name: "box-2",
            ..GOOD
        }),
        Err(SealError::CertificateName(_))
    ));
    assert!(matches!(
        make(&Saying {
            usage: None,
            ..GOOD
        }),
        Err(SealError::Certificate(_))
    ));
    let expired = make(&Saying {
        years: (2020, 2025),
        ..GOOD
    })
    .unwrap();
    let closed = small_draft().close().unwrap();
    assert!(matches!(
        expired.seal(&closed, 1, None, NOW),
        Err(SealError::CertificateTime { .. })
    ));
}

#[test]
fn a_key_that_is_not_the_certificates_makes_no_bundle() {
    let other = LocalSigner::from_pem(&keys().authority.issue(&GOOD).key).unwrap();
    let recipient = Recipient::from_pem(&keys().recipient.certificate).unwrap();
    let sealer = Sealer::new(
        box_name(),
        vec![recipient],
        &keys().signer.certificate,
        other,
    )
    .unwrap();
    let closed = small_draft().close().unwrap();
    assert!(matches!(
        sealer.seal(&closed, 1, None, NOW),
        Err(SealError::SignerKey(_))
    ));
}

#[test]
fn a_failing_signer_loses_nothing() {
    struct Absent;
    impl Signer for Absent {
        fn sign(&self, _: &[u8; 32]) -> Result<Vec<u8>, SignFailure> {
            Err(SignFailure("no answer".into()))
        }
    }
    let recipient = || Recipient::from_pem(&keys().recipient.certificate).unwrap();
    let failing = Sealer::new(
        box_name(),
        vec![recipient()],
        &keys().signer.certificate,
        Absent,
    )
    .unwrap();
    let closed = small_draft().close().unwrap();
    assert!(matches!(
        failing.seal(&closed, 1, None, NOW),
        Err(SealError::Sign(_))
    ));
    let sealed = sealer().seal(&closed, 1, None, NOW).unwrap();
    assert_eq!(open(&sealed.bytes).unwrap().entries().count(), 5);
}
