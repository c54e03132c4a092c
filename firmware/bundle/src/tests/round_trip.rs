//! What is sealed comes out the same.

use super::*;
use proptest::prelude::*;

/// One entry as owned values, for comparison.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    source: usize,
    path: Vec<u8>,
    event: ToldEvent,
}

#[derive(Clone, Debug, PartialEq)]
enum ToldEvent {
    Added(Vec<u8>, Option<i64>),
    Changed(Vec<u8>, Option<i64>),
    FlagChanged(Vec<u8>),
    Removed,
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    let component = proptest::collection::vec(any::<u8>(), 1..40).prop_map(|bytes| {
        bytes
            .into_iter()
            .filter(|&b| b != 0 && b != b'/')
            .collect::<Vec<u8>>()
    });
    proptest::collection::vec(component, 1..5)
        .prop_map(|components| components.join(&b'/'))
        .prop_filter("a path below its root", |path| path::check(path).is_ok())
}

fn any_event() -> impl Strategy<Value = ToldEvent> {
    let content = || proptest::collection::vec(any::<u8>(), 0..2000);
    prop_oneof![
        (content(), any::<Option<i64>>()).prop_map(|(c, m)| ToldEvent::Added(c, m)),
        (content(), any::<Option<i64>>()).prop_map(|(c, m)| ToldEvent::Changed(c, m)),
        any_path().prop_map(ToldEvent::FlagChanged),
        Just(ToldEvent::Removed),
    ]
}

fn retell(opened: &VerifiedBundle) -> Vec<Told> {
    opened
        .entries()
        .map(|(named, content)| Told {
            source: named.source,
            path: named.path.clone(),
            event: match &named.event {
                NamedEvent::Added(facts) => ToldEvent::Added(content.to_vec(), facts.modified),
                NamedEvent::Changed(facts) => ToldEvent::Changed(content.to_vec(), facts.modified),
                NamedEvent::FlagChanged { from } => ToldEvent::FlagChanged(from.clone()),
                NamedEvent::Removed => ToldEvent::Removed,
            },
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_names_and_bytes_return_unchanged(
        told in proptest::collection::vec(
            (0..2usize, any_path(), any_event()).prop_map(|(source, path, event)| Told { source, path, event }),
            0..20,
        )
    ) {
        let mut draft = Draft::new(sources()).unwrap();
        for Told { source, path, event } in &told {
            let event = match event {
                ToldEvent::Added(content, modified) => Event::Added(Body::new(content, *modified, None)),
                ToldEvent::Changed(content, modified) => Event::Changed(Body::new(content, *modified, None)),
                ToldEvent::FlagChanged(from) => Event::FlagChanged { from },
                ToldEvent::Removed => Event::Removed,
            };
            draft.push(&Entry { source: *source, path, event }).unwrap();
        }
        let sealed = sealer().seal(&draft.close().unwrap(), 1, None, NOW).unwrap();
        prop_assert_eq!(sealed.sha256, Digest::of(&sealed.bytes));
        let opened = open(&sealed.bytes).unwrap();
        prop_assert_eq!(retell(&opened), told);
        prop_assert_eq!(&opened.manifest().name, &sealed.name);
        prop_assert_eq!(opened.sha256(), sealed.sha256);
    }
}

#[test]
fn the_manifest_is_these_very_bytes() {
    let closed = small_draft().close().unwrap();
    let sealed = sealer()
        .seal(&closed, 2, Some(Digest([0xab; 32])), NOW)
        .unwrap();
    let content = UnverifiedBundle::parse(&sealed.bytes)
        .unwrap()
        .decrypt(&opener())
        .unwrap();
    let manifest = content.manifest_bytes().unwrap();
    assert_eq!(
        String::from_utf8_lossy(manifest),
        include_str!("../../testdata/manifest.json")
    );
}

#[test]
fn a_manifest_with_losses_is_these_very_bytes_and_returns_unchanged() {
    let told = [
        Lost {
            number: 1,
            sha256: Digest([0x01; 32]),
            files: vec![
                LostFile {
                    source: 0,
                    path: b"000/one_1".to_vec(),
                    size: 5,
                    sha256: Digest([0x11; 32]),
                    extent: Extent::Whole,
                },
                LostFile {
                    source: 1,
                    path: b"\x83\x65 \n\"%\\".to_vec(),
                    size: 8 << 20,
                    sha256: Digest([0x12; 32]),
                    extent: Extent::Beginning,
                },
            ],
        },
        Lost {
            number: 2,
            sha256: Digest([0x02; 32]),
            files: vec![],
        },
    ];
    let mut draft = Draft::new(sources()).unwrap();
    for lost in &told {
        draft.lose(lost).unwrap();
    }
    let sealed = sealer()
        .seal(&draft.close().unwrap(), 3, Some(Digest([0x02; 32])), NOW)
        .unwrap();
    let content = UnverifiedBundle::parse(&sealed.bytes)
        .unwrap()
        .decrypt(&opener())
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(content.manifest_bytes().unwrap()),
        include_str!("../../testdata/manifest-lost.json")
    );
    let opened = content.verify(&trust(), &name(3)).unwrap();
    assert_eq!(opened.manifest().lost, told);
    assert_eq!(opened.entries().count(), 0);
}

#[test]
fn the_archive_has_these_very_headers() {
    let mut draft = Draft::new(sources()).unwrap();
    draft
        .push(&Entry {
            source: 0,
            path: b"a",
            event: Event::Added(Body::new(b"first".as_slice(), None, None)),
        })
        .unwrap();
    let frame = draft.close().unwrap().frames;
    let archive = zstd::stream::decode_all(&frame[..]).unwrap();
    let mut expected = vec![0; 2048];
    let fields: [(usize, &[u8]); 10] = [
        (0, b"content/000001"),
        (100, b"0000600\0"),
        (108, b"0000000\0"),
        (116, b"0000000\0"),
        (124, b"00000000005\0"),
        (136, b"00000000000\0"),
        (148, b"0010045\0"),
        (156, b"0"),
        (257, b"ustar\x0000"),
        (512, b"first"),
    ];
    for (at, bytes) in fields {
        expected[at..at + bytes.len()].copy_from_slice(bytes);
    }
    assert_eq!(archive, expected);
}

#[test]
fn every_recipient_can_open_the_bundle() {
    let second = recipient(RsaKeySize::_3072);
    let closed = small_draft().close().unwrap();
    let sealed = sealer_for(&[&second, &keys().recipient])
        .seal(&closed, 1, None, NOW)
        .unwrap();
    for pair in [&second, &keys().recipient] {
        let opener = Opener::from_pem(&pair.certificate, &pair.key).unwrap();
        let opened = UnverifiedBundle::parse(&sealed.bytes)
            .unwrap()
            .decrypt(&opener)
            .unwrap();
        assert_eq!(
            opened.verify(&trust(), &name(1)).unwrap().entries().count(),
            5
        );
    }
}

#[test]
fn two_bundles_of_the_same_draft_share_no_ciphertext() {
    let closed = small_draft().close().unwrap();
    let [one, two] = [(); 2].map(|()| sealer().seal(&closed, 1, None, NOW).unwrap().bytes);
    let tail = |bytes: &[u8]| bytes[bytes.len() - 64..].to_vec();
    assert_ne!(tail(&one), tail(&two));
}

#[test]
fn a_bundle_of_the_first_version_still_opens() {
    let opener = Opener::from_pem(
        include_bytes!("../../testdata/recipient.pem"),
        include_bytes!("../../testdata/recipient.key"),
    );
    let trust = Trust::from_pem(include_bytes!("../../testdata/sealing-ca.pem")).unwrap();
    let bytes = include_bytes!("../../testdata/box-1-0000000001.cms");
    let content = UnverifiedBundle::parse(bytes)
        .unwrap()
        .decrypt(&opener.unwrap())
        .unwrap();
    let opened = content.verify(&trust, &name(1)).unwrap();
    let entries: Vec<(&[u8], &[u8])> = opened
        .entries()
        .map(|(named, content)| (&named.path[..], content))
        .collect();
    assert_eq!(
        entries,
        [
            (&b"0000001_20110701_OMP-11_1"[..], &b"MSH|^~\\&|\r"[..]),
            (b"\x8a\xb3", b"\x1b$B4\x1b(B"),
        ]
    );
}
