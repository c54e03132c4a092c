//! The grammar on any bytes: nothing panics, what is read is rendered again as it was, and the identity of an object
//! does not depend on its flag.

use proptest::prelude::*;
use ssmix2::transaction::{Header, headers};
use ssmix2::{Flag, Named, Store, below_root, identity, read, unit};

const STORES: [Store; 5] = [
    Store::Standardized,
    Store::Extended,
    Store::Transaction,
    Store::Dpc,
    Store::Receipt,
];

/// Paths that are nearly right, so that every rule is reached, and any bytes.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        6 => "[0-9]{3}",
        4 => "[0-9]{10}",
        4 => "20[0-9]{6}|-",
        2 => "OMP-01|ADT-00|ZZZ-99|\\^文書\\^\\^11506-3\\^経過記録\\^LN",
        6 => "[0-9]{10}_(20240401|-)_OMP-01_[0-9]{13,15}_[0-9]{15,17}_(01|-)_[0-3]",
        3 => "[0-9]{10}_20240401_L-X\\^Y_[0-9.]{3,20}_[0-9]{17}(_200)?_[0-2](\\.xml|\\.tar\\.gz)?",
        2 => "TR_[0-9]{17}_[0-9]{5}\\.DAT",
        2 => "(EFn|ff1|Dn)_[0-9]{9}_[0-9]{4}(\\.txt|\\.TXT)?",
        2 => "RECEIPT[CDSYX](_01)?\\.(UKE|HEN|uke)",
        2 => "[a-z_./]{0,8}",
    ];
    prop_oneof![
        9 => prop::collection::vec(part, 0..9).prop_map(|parts| parts.join("/").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ]
}

fn flag() -> impl Strategy<Value = Flag> {
    prop_oneof![Just(Flag::Valid), Just(Flag::Past), Just(Flag::Deleted)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_rendered_again_byte_for_byte(path in path()) {
        for store in STORES {
            let rendered = match read(store, &path).0 {
                Named::Record(object) => object.render(),
                Named::Content(object) => object.render(),
                Named::Log(log) => log.render(),
                Named::Dpc(dpc) => dpc.render(),
                Named::Receipt(_) | Named::Unknown => continue,
            };
            prop_assert_eq!(&rendered, below_root(store, &path));
        }
    }

    #[test]
    fn an_object_is_the_same_under_every_flag(path in path(), flags in prop::collection::vec(flag(), 1..5)) {
        for store in STORES {
            let first = identity(store, &path);
            prop_assert_eq!(first.render(first.flag), path.clone());
            let mut renamed = path.clone();
            for &flag in &flags {
                let again = identity(store, &renamed);
                prop_assert!(first.is_same(&again));
                let next = again.render(Some(flag));
                let there = identity(store, &next);
                prop_assert!(first.is_same(&there));
                prop_assert_eq!(there.flag, first.flag.map(|_| flag));
                // nothing else about the object changes
                prop_assert_eq!(unit(store, &next).len(), unit(store, &path).len());
                prop_assert_eq!(read(store, &next).1, read(store, &path).1);
                renamed = next;
            }
        }
    }

    #[test]
    fn two_paths_are_the_same_object_only_if_they_differ_in_the_flag_alone(one in path(), two in path()) {
        for store in STORES {
            let (first, second) = (identity(store, &one), identity(store, &two));
            if first.is_same(&second) {
                prop_assert_eq!(second.render(first.flag), one.clone());
            }
        }
    }

    #[test]
    fn a_unit_is_a_part_of_the_path_that_ends_with_a_name(path in path()) {
        for store in STORES {
            let unit = unit(store, &path);
            prop_assert!(path.starts_with(unit));
            prop_assert!(path.len() == unit.len() || path[unit.len()] == b'/');
        }
    }

    #[test]
    fn header_lines_are_found_wherever_the_lines_end(
        fields in prop::collection::vec("[A-Z0-9^-]{0,6}", 9..12),
        delete in any::<bool>(),
        end in prop_oneof![Just("\r"), Just("\n"), Just("\r\n")],
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut fields = fields;
        fields[0] = "#SSMIX".to_owned();
        fields[7] = if delete { "DEL" } else { "INS" }.to_owned();
        let line = fields.join(",");
        let file = [line.as_bytes(), end.as_bytes(), b"MSH|1", end.as_bytes(), line.as_bytes(), end.as_bytes()].concat();
        let found: Vec<_> = headers(&file).collect();
        prop_assert_eq!(found.len(), 2);
        for (offset, header, _) in found {
            prop_assert!(file[offset..].starts_with(line.as_bytes()));
            prop_assert_eq!(header.is_some(), fields.len() == 10);
            if let Some(header) = header {
                prop_assert_eq!(header.render(), line.as_bytes());
            }
        }
        for (offset, header, _) in headers(&noise) {
            prop_assert!(offset < noise.len() && header.is_none_or(|header| header.render() == noise[offset..offset + header.render().len()]));
        }
        let _ = Header::parse(&noise);
    }
}
