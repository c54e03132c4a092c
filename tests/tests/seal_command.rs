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
        seal::main(self.seal_arguments(box_name, folders).into_iter())
    }

    fn seal_arguments(&self, box_name: &str, folders: &[&str]) -> Vec<OsString> {
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
        arguments
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

/// What the program started again is to seal.
const WORK: &str = "SEAL_COMMAND_WORK";

/// The disk refuses files above some MiB: `EFBIG` instead of the signal that would end the program.
const LIMITED: &str = r#"trap '' XFSZ; ulimit -f 8192; exec "$0" --exact --nocapture "$1""#;

#[test]
fn a_bundle_that_the_disk_refuses_leaves_those_before_it_whole_and_the_next_run_goes_on() {
    if let Ok(words) = std::env::var(WORK) {
        let status = seal::main(words.split('\n').map(OsString::from));
        assert_eq!(status, ExitCode::FAILURE);
        return;
    }
    // given a bundle that compresses to almost nothing, one that does not compress, and what a cut left behind
    let bench = Bench::new();
    let mut state = 1u64;
    let noise: Vec<u8> = (0..(31 << 20) / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    bench.write("store/1", &vec![0; 31 << 20]);
    bench.write("store/2", &noise);
    bench.write("sealed/.box-1-0000000007.cms.new", b"torn");
    bench.write("sealed/.box-2-0000000007.cms.new", b"of another box");

    // when the disk refuses the second bundle
    let words = bench.seal_arguments("box-1", &["store"]);
    let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
    let name = std::thread::current().name().unwrap().to_owned();
    let output = std::process::Command::new("sh")
        .args(["-c", LIMITED])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(WORK, words.join("\n"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    // then the first is there, and no more than that, and it says so
    let expected = "cannot write the bundle box-1-0000000002.cms; the bundles before it are whole";
    assert!(said.contains(expected), "{said}");
    let names = || {
        let names = fs::read_dir(bench.path("sealed")).unwrap();
        let mut names: Vec<_> = names.map(|name| name.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let other = ".box-2-0000000007.cms.new";
    assert_eq!(names(), [other, "box-1-0000000001.cms"]);

    // and the next run goes on after it
    assert_eq!(bench.seal("box-1", &["store"]), ExitCode::SUCCESS);
    let all = ["1", "2", "3"].map(|number| format!("box-1-000000000{number}.cms"));
    assert_eq!(names()[1..], all.map(OsString::from));
    let report = bench.open();
    assert!(report.is_clean(), "{report}");
    // the first file came twice, once in each run
    assert_eq!((report.bundles, report.files), (3, 3));
    assert!(fs::read(bench.path("restored/box-1/store/2")).unwrap() == noise);
}
