//! Discs for the box's optical drive.

use crate::process::{self, ProcessError};
use std::path::Path;
use std::process::Command;

/// Makes an ISO 9660 image of a folder's files. With Joliet, and with Rock Ridge names whose owner and mode are nobody's (`-r`):
/// keys that only their owner can read here must be readable there.
pub fn make(folder: &Path, volume: &str, image: &Path) -> Result<(), ProcessError> {
    let _ = std::fs::remove_file(image);
    let mut command = Command::new("xorriso");
    command
        .args(["-as", "mkisofs", "-quiet", "-r", "-J", "-V", volume, "-o"])
        .arg(image)
        .arg(folder);
    process::run(&mut command).map(drop)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_disc_holds_the_files_under_their_names() {
        let folder = tempfile::tempdir().expect("folder");
        let files = folder.path().join("files");
        std::fs::create_dir(&files).expect("folder");
        std::fs::write(files.join("site.toml"), "format = 1\n").expect("writes");
        let image = folder.path().join("disc.iso");
        super::make(&files, "SITE", &image).expect("made");
        let bytes = std::fs::read(&image).expect("reads");
        assert_eq!(&bytes[0x8001..0x8006], b"CD001");
        assert!(bytes.windows(9).any(|window| window == b"site.toml"));
        assert!(bytes.windows(11).any(|window| window == b"format = 1\n"));
    }
}
