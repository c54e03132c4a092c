//! Names are bytes: whatever a hospital's file system allows comes back the same, from `collector seal` of a real folder
//! to `datacentre open` into another one.

use collector::seal;
use datacentre::open::{Options, run};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::SystemTime;
use tempfile::TempDir;

type Store = BTreeMap<Vec<u8>, Vec<u8>>;

/// The lab's certificates, made once.
fn keys() -> &'static Path {
    static KEYS: OnceLock<TempDir> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let options = datacentre::ca::Options {
            recipient_bits: datacentre::ca::RecipientBits::B2048,
            ..Default::default()
        };
        datacentre::ca::make(folder.path(), &options, now).unwrap();
        folder
    })
    .path()
}

fn write(root: &Path, store: &Store) {
    fs::create_dir_all(root).unwrap();
    for (path, content) in store {
        let path = root.join(OsStr::from_bytes(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn read(root: &Path) -> Store {
    let mut store = Store::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(below) = pending.pop() {
        for entry in fs::read_dir(root.join(&below)).unwrap() {
            let entry = entry.unwrap();
            let below = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                pending.push(below);
            } else {
                let content = fs::read(root.join(&below)).unwrap();
                store.insert(below.into_os_string().into_vec(), content);
            }
        }
    }
    store
}

/// Seals a store that lies in a folder, opens the bundles and reads back what was restored.
fn through(folder: TempDir, store: &Store) -> Store {
    let at = |below: &str| folder.path().join(below);
    write(&at("store"), store);
    let arguments = [
        ("--recipient", keys().join("recipient.pem")),
        ("--signer-cert", keys().join("sealing-box.pem")),
        ("--signer-key", keys().join("sealing-box.key")),
        ("--out", at("sealed")),
        ("--box", "box-1".into()),
    ];
    let arguments = arguments
        .into_iter()
        .flat_map(|(option, value)| [OsString::from(option), value.into_os_string()])
        .chain([at("store").into_os_string()]);
    assert_eq!(seal::main(arguments), ExitCode::SUCCESS);
    let options = Options {
        certificate: keys().join("recipient.pem"),
        key: keys().join("recipient.key"),
        trust: keys().join("sealing-ca.pem"),
        revoked: None,
        input: at("sealed"),
        output: at("restored"),
    };
    let report = run(&options, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.files, store.len() as u64);
    read(&at("restored/box-1/store"))
}

/// Names as they are found in hospitals and names that programs stumble over.
fn known() -> Vec<Vec<u8>> {
    let all: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
    let mut names: Vec<Vec<u8>> = [
        &b"\x8a\xb3\x8e\xd2\x83\x5c"[..], // CP932, ends in the byte of a backslash
        b"\xb4\xb5\xbc\xd4",              // the same two characters in EUC-JP
        b"\x1b$B45<T\x1b(B",              // in ISO-2022-JP
        "\u{60a3}\u{8005}".as_bytes(),    // in UTF-8
        "\u{30d1}".as_bytes(),            // one code point
        "\u{30cf}\u{309a}".as_bytes(),    // the same character from two code points
        b"two\nlines",
        b"\n",
        b"-rf",
        b"--help",
        b"-",
        b" ",
        b"ends with space ",
        b"ends with dot.",
        b"...",
        b"%41",
        b"%2E%2E",
        b"\"quoted\" \\ `x` $(x) * ? ; | & ~",
        b"\xff",
        b"\x7f\x01",
        b"manifest.json",
        b"content",
        b".state",
        b"CON",
    ]
    .iter()
    .map(|name| name.to_vec())
    .collect();
    names.push(all[..127].to_vec());
    names.push(all[127..].to_vec());
    names.push(vec![b'n'; 255]);
    names.push(vec![0xff; 255]);
    names.push("\u{60a3}".repeat(85).into_bytes());
    names
}

#[test]
fn names_of_hospitals_and_names_that_programs_stumble_over_come_back_unchanged() {
    let mut store = Store::new();
    for name in known() {
        let content = name.repeat(3);
        store.insert(
            [b"folder of \x8a\xb3/", &name[..], b"/file"].concat(),
            content.clone(),
        );
        store.insert([b"files/", &name[..]].concat(), content.clone());
        store.insert(name, content);
    }
    // a path of nearly 4095 bytes, which is as long as the kernel takes at once
    let deep = [&b"d".repeat(200)[..]; 18].join(&b'/');
    store.insert(deep, b"deep".to_vec());
    let on_disk = tempfile::tempdir().unwrap();
    assert_eq!(through(on_disk, &store), store);
}

/// A folder of the host's file system in memory, where it has one: many stores are sealed and made durable.
fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("a byte of a name", |&byte| byte != 0 && byte != b'/');
    proptest::collection::vec(byte, 1..=255)
        .prop_filter("a name", |name| name != b"." && name != b"..")
}

/// Any names, in folders that no file stands in the way of: a file's name begins with `f`, a folder's with `d`.
fn any_store() -> impl Strategy<Value = Store> {
    let path = (proptest::collection::vec(any_name(), 0..3), any_name());
    let path = path.prop_map(|(folders, file)| {
        let cut = |first: u8, mut name: Vec<u8>| {
            name.truncate(254);
            name.insert(0, first);
            name
        };
        let mut parts: Vec<Vec<u8>> = folders.into_iter().map(|name| cut(b'd', name)).collect();
        parts.push(cut(b'f', file));
        parts.join(&b'/')
    });
    proptest::collection::btree_map(path, proptest::collection::vec(any::<u8>(), 0..300), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_names_of_bytes_come_back_unchanged(store in any_store()) {
        prop_assert_eq!(through(in_memory(), &store), store);
    }
}
