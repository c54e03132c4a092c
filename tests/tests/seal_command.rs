//! `collector seal` by hand, and `datacentre open` of what it made: the two commands that a stranger tries first.

use collector::seal;
use datacentre::open::{Options, Report, run};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;
use tempfile::TempDir;

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let options = datacentre::ca::Options {
            recipient_bits: datacentre::ca::RecipientBits::B2048,
            ..Default::default()
        };
        datacentre::ca::make(&folder.path().join("pki"), &options, now).unwrap();
        Self { folder }
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.folder.path().join(below)
    }

    fn write(&self, below: impl AsRef<Path>, content: &[u8]) {
        let path = self.folder.path().join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn seal(&self, box_name: &str, folders: &[&str]) -> ExitCode {
        let mut arguments: Vec<OsString> = Vec::new();
        for (option, value) in [
            ("--recipient", self.path("pki/recipient.pem")),
            ("--signer-cert", self.path("pki/sealing-box.pem")),
            ("--signer-key", self.path("pki/sealing-box.key")),
            ("--out", self.path("sealed")),
            ("--box", box_name.into()),
        ] {
            arguments.extend([option.into(), value.into_os_string()]);
        }
        arguments.extend(
            folders
                .iter()
                .map(|folder| self.path(folder).into_os_string()),
        );
        seal::main(arguments.into_iter())
    }

    fn open(&self) -> Report {
        let options = Options {
            certificate: self.path("pki/recipient.pem"),
            key: self.path("pki/recipient.key"),
            trust: self.path("pki/sealing-ca.pem"),
            revoked: None,
            input: self.path("sealed"),
            output: self.path("restored"),
        };
        run(&options, &mut |_| {}).unwrap()
    }
}

#[test]
fn sealed_folders_are_restored_and_the_sequence_goes_on() {
    let bench = Bench::new();
    let raw = std::ffi::OsStr::from_bytes(b"\x8a\xb3\x8e\xd2\n");
    bench.write(Path::new("Store A/sub").join(raw), b"one");
    bench.write("Store A/empty", b"");
    bench.write("other/Store A/file", b"of the second folder of that name");
    assert_eq!(
        bench.seal("box-1", &["Store A", "other/Store A"]),
        ExitCode::SUCCESS
    );
    // 20 MB: a file in three parts, and a second bundle in the chain
    let large: Vec<u8> = (0..5_000_000u32).flat_map(u32::to_le_bytes).collect();
    bench.write("large/file", &large);
    assert_eq!(bench.seal("box-1", &["large"]), ExitCode::SUCCESS);

    let report = bench.open();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.bundles, report.files, report.parts), (2, 4, 3));
    let restored = |below: &Path| fs::read(bench.path("restored/box-1").join(below)).unwrap();
    assert_eq!(restored(&Path::new("store-a/sub").join(raw)), b"one");
    assert_eq!(restored(Path::new("store-a/empty")), b"");
    assert_eq!(
        restored(Path::new("store-a-2/file")),
        b"of the second folder of that name"
    );
    assert!(restored(Path::new("large/file")) == large);
    let names = |folder: &str| fs::read_dir(bench.path(folder)).unwrap().count();
    assert_eq!(names("sealed"), 2, "nothing temporary is left");
}

#[test]
fn what_cannot_be_sealed_is_counted_and_the_rest_is_sealed() {
    let bench = Bench::new();
    bench.write("store/file", b"one");
    std::os::unix::fs::symlink("/etc/hostname", bench.path("store/link")).unwrap();
    assert_eq!(bench.seal("box-1", &["store", "absent"]), ExitCode::FAILURE);
    let report = bench.open();
    assert_eq!((report.bundles, report.files), (1, 1));
}

#[test]
fn a_wrong_command_line_makes_nothing() {
    let bench = Bench::new();
    bench.write("store/file", b"one");
    assert_eq!(
        bench.seal("box-2", &["store"]),
        ExitCode::FAILURE,
        "the certificate is for box-1"
    );
    assert_eq!(bench.seal("Box 1", &["store"]), ExitCode::FAILURE);
    assert_eq!(bench.seal("box-1", &[]), ExitCode::from(2));
    assert_eq!(
        seal::main(["--nonsense".into()].into_iter()),
        ExitCode::from(2)
    );
    assert_eq!(seal::main(["--help".into()].into_iter()), ExitCode::SUCCESS);
    assert!(!bench.path("sealed").exists());
}

#[test]
fn a_path_that_no_bundle_takes_is_counted_and_stops_nothing() {
    let bench = Bench::new();
    bench.write("store/file", b"one");
    // two chains of folders, each as long as a path can be made, one put below the other
    let chain = vec!["d".repeat(240); 9].join("/");
    bench.write(format!("below/{chain}/deep"), b"too deep");
    fs::create_dir_all(bench.path("store").join(&chain)).unwrap();
    fs::rename(
        bench.path("below"),
        bench.path("store").join(&chain).join("below"),
    )
    .unwrap();
    bench.write("store/zzz", b"two");
    assert_eq!(bench.seal("box-1", &["store"]), ExitCode::FAILURE);
    let report = bench.open();
    assert_eq!((report.bundles, report.files), (1, 2));
}

#[test]
fn bundles_are_never_sealed_into_bundles() {
    let bench = Bench::new();
    bench.write("sealed/store/file", b"one");
    assert_eq!(bench.seal("box-1", &["."]), ExitCode::FAILURE);
    let names = fs::read_dir(bench.path("sealed")).unwrap().count();
    assert_eq!(names, 1, "nothing was written");
}

#[test]
fn many_files_are_sealed_by_several_threads_and_all_arrive_once() {
    let bench = Bench::new();
    for number in 0..3000 {
        let path = format!("store/{:03}/{}/{number}", number % 100, number % 7);
        bench.write(path, format!("content {number}").as_bytes());
    }
    assert_eq!(bench.seal("box-1", &["store"]), ExitCode::SUCCESS);
    let report = bench.open();
    assert!(report.is_clean(), "{report}");
    assert_eq!(
        (report.files, report.replaced, report.unchanged),
        (3000, 0, 0)
    );
    for number in 0..3000 {
        let path = format!(
            "restored/box-1/store/{:03}/{}/{number}",
            number % 100,
            number % 7
        );
        let content = fs::read(bench.path(&path)).unwrap();
        assert_eq!(content, format!("content {number}").as_bytes());
    }
}
