//! The disk as QEMU's own tools see it.

use super::*;
use crate::process;

struct Served {
    disk: Disk,
    folder: tempfile::TempDir,
}

fn served(bytes: u64) -> Served {
    let folder = tempfile::tempdir().expect("folder");
    let image = folder.path().join("image");
    std::fs::File::create(&image)
        .and_then(|file| file.set_len(bytes))
        .expect("image");
    let disk = Disk::serve(&image, &folder.path().join("nbd")).expect("serves");
    Served { disk, folder }
}

impl Served {
    /// Runs `qemu-io` with these commands; `-t writeback` sends flushes only where a command asks for one.
    fn qemu_io(&self, commands: &[&str]) -> Result<String, process::ProcessError> {
        let mut command = std::process::Command::new("qemu-io");
        command.args(["-f", "raw", "-t", "writeback"]);
        commands.iter().for_each(|c| {
            command.args(["-c", c]);
        });
        process::run(command.arg(self.disk.address()))
            .map(|out| String::from_utf8_lossy(&out).into_owned())
    }

    fn image(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("image")).expect("reads")
    }
}

#[test]
fn qemu_reads_back_what_it_wrote_and_sees_the_size() {
    let served = served(1 << 20);
    let out = served
        .qemu_io(&[
            "write -P 0x5a 4096 8192",
            "read -P 0x5a 4096 8192",
            "read -P 0 0 4096",
        ])
        .expect("runs");
    assert!(
        !out.contains("failed") && !out.contains("Pattern verification failed"),
        "{out}"
    );
    let info =
        process::run(std::process::Command::new("qemu-img").args(["info", &served.disk.address()]))
            .expect("runs");
    assert!(
        String::from_utf8_lossy(&info).contains("1048576"),
        "{}",
        String::from_utf8_lossy(&info)
    );
}

#[test]
fn a_cut_before_the_flush_loses_the_write_and_one_after_it_does_not() {
    let served = served(1 << 20);
    // SIGKILL of the client's own: `qemu-io` would flush when it closes the disk.
    let killed = served.qemu_io(&[
        "write -P 1 0 4096",
        "flush",
        "write -P 2 4096 4096",
        "sigraise 9",
    ]);
    assert!(killed.is_err());
    let report = served.disk.cut(Loss::All).expect("cuts");
    assert_eq!(report.lost, 1);
    let image = served.image();
    assert!(image[..4096].iter().all(|&byte| byte == 1));
    assert!(image[4096..8192].iter().all(|&byte| byte == 0));
}

#[test]
fn a_forced_write_is_durable_without_a_flush() {
    let served = served(1 << 20);
    let killed = served.qemu_io(&["write -f -P 3 0 4096", "sigraise 9"]);
    assert!(killed.is_err());
    served.disk.cut(Loss::All).expect("cuts");
    assert!(served.image()[..4096].iter().all(|&byte| byte == 3));
}

#[test]
fn the_fuse_blows_before_the_write_that_it_counts_to_and_nothing_is_answered_after_it() {
    let served = served(1 << 20);
    let blown = served.disk.set_fuse(2);
    let mut command = std::process::Command::new("qemu-io");
    command.args(["-f", "raw", "-t", "writeback"]);
    for (value, offset) in [(1, 0), (2, 512), (3, 1024)] {
        command.args(["-c", &format!("write -f -P {value} {offset} 512")]);
    }
    let mut client = command.arg(served.disk.address()).spawn().expect("starts");
    blown
        .recv_timeout(std::time::Duration::from_secs(60))
        .expect("the fuse blows");
    assert!(
        client.try_wait().expect("asked").is_none(),
        "the client got an answer"
    );
    client.kill().and_then(|()| client.wait()).expect("killed");
    served.disk.cut(Loss::All).expect("cuts");
    let image = served.image();
    assert_eq!((image[0], image[512], image[1024]), (1, 0, 0));
    served
        .qemu_io(&["write -P 4 0 512"])
        .expect("the disk serves again after the cut");
}
