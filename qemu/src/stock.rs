//! Opens a received bundle with stock tools alone: `openssl`, `zstd` and `tar`, and nothing of ours.
//!
//! The data centre must be able to do without our programs; `firmware/bundle/FORMAT.md` promises it.

use crate::pki::Pki;
use crate::process::{self, ProcessError};
use std::path::Path;
use std::process::Command;

/// Decrypts, decompresses and unpacks `bundle` into the empty folder `into`, then verifies the manifest's signature.
pub fn open(bundle: &Path, pki: &Pki, into: &Path) -> Result<(), ProcessError> {
    let compressed = into.join("archive.tar.zst");
    let mut decrypt = Command::new("openssl");
    decrypt
        .args(["cms", "-decrypt", "-binary", "-inform", "DER", "-in"])
        .arg(bundle);
    decrypt
        .arg("-recip")
        .arg(pki.file("recipient.pem"))
        .arg("-inkey")
        .arg(pki.file("recipient.key"));
    process::run(decrypt.arg("-out").arg(&compressed))?;

    let archive = into.join("archive.tar");
    process::run(
        Command::new("zstd")
            .args(["-q", "-d"])
            .arg(&compressed)
            .arg("-o")
            .arg(&archive),
    )?;
    process::run(
        Command::new("tar")
            .arg("-x")
            .arg("-f")
            .arg(&archive)
            .arg("-C")
            .arg(into),
    )?;

    let mut verify = Command::new("openssl");
    verify
        .args(["cms", "-verify", "-binary", "-inform", "DER", "-in"])
        .arg(into.join("manifest.p7s"));
    verify.arg("-content").arg(into.join("manifest.json"));
    verify.arg("-CAfile").arg(pki.file("sealing-ca.pem"));
    process::run(verify.args(["-out", "/dev/null"])).map(drop)
}
