//! The few files that no grammar foresees and every real store has.
//!
//! Each of them was met in the field or follows from how Japanese hospitals write: see the reference, sections 1.2,
//! 1.7 and 1.9. They lie in standardized storage among the patients.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::text::cp932;

/// Which odd files to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddities {
    /// All of them.
    All,
    /// Those whose names every file sharing protocol carries: no CP932 bytes, no newline.
    Portable,
    /// None.
    None,
}

/// Names among the odd files that programs of the desktop leave behind and a collector ignores by rule; give them to
/// [`crate::compare`] where such a collector stands between the trees.
pub const LEFTOVERS: [&str; 3] = ["Thumbs.db", "desktop.ini", "~$memo.docx"];

/// An odd file: path below the facility's root, bytes.
pub(crate) struct Odd {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// The odd files, filed under a patient `id` on the day `day`.
pub(crate) fn files(which: Oddities, id: &str, day: &str) -> Vec<Odd> {
    if which == Oddities::None {
        return Vec::new();
    }
    let folder = |kind: &str| {
        [&id[..3], &id[3..6], id, day, kind]
            .iter()
            .collect::<PathBuf>()
    };
    let named = |kind: &str, name: &str, bytes: &[u8]| Odd {
        path: folder(kind).join(name),
        bytes: bytes.to_vec(),
    };
    let other = "9999990001";
    let message =
        b"MSH|^~\\&|HIS01|SEND|GW|RCV|20240401090000||OML^O33^OML_O33|1|P|2.5\r".as_slice();
    let mut odd = vec![
        // A file of another patient and type in this folder (so in NHO's sample tree).
        named(
            "ADT-31",
            &format!("{other}_{day}_OMP-11_123456789012345_{day}113813225_01_1"),
            message,
        ),
        // Two bytes that are no text at all (so in NHO's sample tree).
        named(
            "OMP-11",
            &format!("{id}_{day}_OMP-11_123456789012346_{day}113813226_01_0"),
            b"\xfb\xfc",
        ),
        // A time of 15 digits, an order number of 13.
        named(
            "OML-11",
            &format!("{id}_{day}_OML-11_081251234567800_{day}1630123_01_1"),
            message,
        ),
        named(
            "OMG-11",
            &format!("{id}_{day}_OMG-11_2011122000300_{day}224447339_24_1"),
            message,
        ),
        // An unknown type, a missing flag, a copy made by hand.
        named(
            "OML-12",
            &format!("{id}_{day}_OML-12_000000011000185_{day}101500123_01_1"),
            message,
        ),
        named(
            "OMP-01",
            &format!("{id}_{day}_OMP-01_000000011000185_{day}101500123_01"),
            message,
        ),
        named(
            "OMP-01",
            &format!("{id}_{day}_OMP-01_000000011000186_{day}101500124_01_1.bak"),
            message,
        ),
        // Written and never filled.
        named(
            "OMP-02",
            &format!("{id}_{day}_OMP-02_000000011000187_{day}101500125_01_1"),
            b"",
        ),
        // Left by the desktop of whoever looked.
        named("OMP-02", "Thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        named("OMP-02", "desktop.ini", b"[.ShellClassInfo]\r\n"),
        named("OMP-02", "~$memo.docx", b"\x05owner"),
        // The longest name that a file system takes.
        named(
            "OMP-02",
            &format!("{id}_{day}_{}", "x".repeat(255 - id.len() - day.len() - 2)),
            message,
        ),
    ];
    if which == Oddities::All {
        let mut name = Vec::new();
        cp932("メモ（紹介状）.txt", &mut name);
        odd.push(Odd {
            path: folder("OMP-02").join(OsString::from_vec(name)),
            bytes: message.to_vec(),
        });
        odd.push(named(
            "OMP-02",
            &format!("{id}_{day}_OMP-02_\n_{day}101500126_01_1"),
            message,
        ));
    }
    odd
}
