//! Trees that nobody here wrote, file by file: what the grammar makes of each public sample.
//!
//! The samples lie beside the checkout (`../shared/samples`), or where `COLLECTOR_SAMPLES` says; without them this test
//! says so and passes.

use ssmix2::claims::{Claim, RECEIPT_TAIL_BYTES, Whole, whole};
use ssmix2::{Flag, Named, Store, identity, read, unit};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files of the Japanese National Hospital Organization's test tool: path, flag, deviations.
const STANDARDIZED: [(&str, Flag, &str); 22] = {
    use Flag::{Deleted, Valid};
    [
        // a file of another patient, date and type in this folder
        (
            "000/000/0000001/20000401/ADT-31/9999013_20110630_OMP-11_123456789012345_20110701113813225_01_1",
            Valid,
            "patient-folder folder-mismatch",
        ),
        (
            "000/000/0000001/20000401/OMP-11/0000001_20000401_OMP-11_123456789012345_20110701113813225_01_1",
            Valid,
            "",
        ),
        (
            "000/000/0000001/20000401/OMP-11/0000001_20000401_OMP-11_123456789012346_20110701113813226_01_0",
            Deleted,
            "",
        ),
        (
            "999/901/9999013/-/ADT-00/9999013_-_ADT-00_999999999999999_20111220224447339_-_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/-/ADT-61/9999013_-_ADT-61_999999999999999_20111014232213000_-_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/-/PPR-01/9999013_-_PPR-01_999999999999999_20111209163030000_01_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20110630/OMP-11/9999013_20110630_OMP-11_123456789012345_20110701113813225_01_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20110701/OMP-01/9999013_20110701_OMP-01_000000011000185_20110701224603984_01_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20110701/OMP-02/9999013_20110701_OMP-02_123456789012345_20110701224603984_01_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20110701/OMP-12/9999013_20110701_OMP-12_123456789012345_20110701113813225_01_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20111013/OMD/9999013_20111013_OMD_123456789012345_20111014232213000_01_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20111120/ADT-22/9999013_20111120_ADT-22_999999999999999_20111220224447339_01_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20111220/ADT-42/9999013_20111220_ADT-42_999999999999999_20111220224447339_10_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20111220/ADT-52/9999013_20111220_ADT-52_999999999999999_20111220224447339_08_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20111220/OMG-01/9999013_20111220_OMG-01_000201101200100_20111220224447339_-_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20111220/OMG-02/9999013_20111220_OMG-02_201212201252100_20111220224447339_01_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20111220/OMG-03/9999013_20111220_OMG-03_201112200089100_20111220224447339_01_1",
            Valid,
            "",
        ),
        // 13 digits
        (
            "999/901/9999013/20111220/OMG-11/9999013_20111220_OMG-11_2011122000300_20111220224447339_24_1",
            Valid,
            "order-number",
        ),
        (
            "999/901/9999013/20111220/OMG-12/9999013_20111220_OMG-12_201112201656100_20111220224447339_01_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20111220/OMG-13/9999013_20111220_OMG-13_999999999999999_20111220224447339_01_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20111220/OML-01/9999013_20111220_OML-01_000000011000354_20111220103059123_15_1",
            Valid,
            "",
        ),
        (
            "999/901/9999013/20111220/OML-11/9999013_20111220_OML-11_000000011000354_20111220103059000_01_1",
            Valid,
            "",
        ),
    ]
};

/// Names printed in public documents whose trees are not beside the checkout: store, path, flag, deviations.
const PRINTED: [(Store, &str, Option<Flag>, &str); 8] = {
    use Flag::Valid;
    use Store::{Dpc, Extended, Receipt, Standardized, Transaction};
    [
        (
            Standardized,
            "012/345/0123456789/20080126/OML-11/0123456789_20080126_OML-11_081251234567800_200802031630123_01_1",
            Some(Valid),
            "timestamp",
        ),
        (
            Extended,
            "012/345/0123456789/20160101/L-OBSERVATIONS^OBSERVATIONS^99ZL01/0123456789_20160101_L-OBSERVATIONS^OBSERVATIONS^99ZL01_000000020160101_201601011500321_1/main_document.hl7",
            Some(Valid),
            "field-count",
        ),
        (
            Extended,
            "123/456/1234567890/20231205/LJCS-100D^心臓カテーテル^99ZL01/1234567890_20231205_LJCS-100D_20231205101112.94.14239.1002_20231205112233_200_1/main.xml",
            Some(Valid),
            "timestamp",
        ),
        (Transaction, "2016/TR_20160101000000000_00001.DAT", None, ""),
        (Dpc, "FF1_131999999_1604.txt", None, ""),
        (Dpc, "EFn_131999999_1604.txt", None, ""),
        (Receipt, "kokuho/RECEIPTD.UKE", None, ""),
        (Receipt, "kokuho/RECEIPTC.HEN", None, ""),
    ]
};

fn samples() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples");
    let folder = std::env::var_os("COLLECTOR_SAMPLES").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no samples beside the checkout, nor where COLLECTOR_SAMPLES says");
    None
}

fn files(folder: &Path, root: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, root, found);
        } else {
            let below = path.strip_prefix(root).unwrap();
            found.push(below.as_os_str().as_bytes().to_vec());
        }
    }
}

fn words(store: Store, path: &[u8]) -> String {
    let words: Vec<_> = read(store, path).1.iter().map(|(_, word)| word).collect();
    words.join(" ")
}

#[test]
fn every_file_of_the_public_store_is_what_the_table_says() {
    let Some(samples) = samples() else { return };
    let root = samples.join("ss-mix2-nho/sampleData");
    let mut found = Vec::new();
    files(&root, &root, &mut found);
    found.sort();
    let paths: Vec<&[u8]> = STANDARDIZED.iter().map(|row| row.0.as_bytes()).collect();
    assert_eq!(found, paths);
    for (path, flag, deviations) in STANDARDIZED {
        let path = path.as_bytes();
        let (Named::Record(record), _) = read(Store::Standardized, path) else {
            panic!("no record: {deviations}")
        };
        assert_eq!(record.flag, Some(flag));
        assert_eq!(record.render(), path);
        assert_eq!(words(Store::Standardized, path), deviations);
        assert_eq!(unit(Store::Standardized, path), path);
        let bytes = std::fs::read(root.join(std::ffi::OsStr::from_bytes(path))).unwrap();
        assert_eq!(whole(Store::Standardized, path, &bytes), Whole::ByLooks);
    }
}

#[test]
fn the_public_receipt_file_is_medical_and_shows_its_end_and_no_shorter_part_of_it_does() {
    let Some(samples) = samples() else { return };
    let path = b"RECEIPTC.UKE";
    assert!(read(Store::Receipt, path).0 == Named::Receipt(Claim::Medical));
    let bytes = std::fs::read(samples.join("receipt/RECEIPTC.UKE")).unwrap();
    let at = |length: usize| {
        let tail = &bytes[length.saturating_sub(RECEIPT_TAIL_BYTES)..length];
        whole(Store::Receipt, path, tail)
    };
    assert_eq!(at(bytes.len()), Whole::ByRecord);
    let end = bytes.trim_ascii_end().len();
    for length in 0..end {
        assert_eq!(
            at(length),
            Whole::Doubtful,
            "{length} of {} bytes",
            bytes.len()
        );
    }
}

#[test]
fn printed_names_are_read_as_the_table_says() {
    for (store, path, flag, deviations) in PRINTED {
        assert_eq!(words(store, path.as_bytes()), deviations, "{path}");
        assert_eq!(identity(store, path.as_bytes()).flag, flag, "{path}");
        assert!(read(store, path.as_bytes()).0 != Named::Unknown, "{path}");
    }
}
