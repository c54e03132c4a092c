//! The commissioning disc of a measured box: the example configuration with certificates of the lab's authority.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::site_disc::FILES;

use crate::cache::Cache;
use crate::{image, step, userland};

/// Hardware address of the example's network card.
pub const CARD: &str = "52:54:00:00:00:01";

/// Makes the disc in `work`.
pub fn disc(cache: &Cache, work: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let workspace = image::workspace();
    let programs = userland::build_static(
        cache,
        &workspace,
        &image::target().join("userland"),
        &["datacentre"],
    )?;
    let (authority, files) = (work.join("authority"), work.join("disc"));
    for dir in [&authority, &files] {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
    }
    fs::create_dir_all(&files)?;
    let mut make = Command::new(programs.join("datacentre"));
    make.args([
        "ca",
        "--box",
        "box-0001",
        "--tunnel-host",
        "gateway.example",
        "--receive-host",
        "receiver.example",
    ]);
    step::answer(make.arg(&authority))?;
    let example = fs::read_to_string(workspace.join("config/site.toml"))?;
    // the authority writes the box's name alone into its certificates
    fs::write(
        authority.join("site.toml"),
        example.replace("\"box-0001.example\"", "\"box-0001\""),
    )?;
    for (name, from) in FILES.iter().chain(&[("site.toml", "site.toml")]) {
        fs::copy(authority.join(from), files.join(name))?;
    }
    let disc = work.join("disc.iso");
    let mut make = Command::new("xorriso");
    make.args([
        "-as",
        "mkisofs",
        "-quiet",
        "-R",
        "-J",
        "-V",
        "COLLECTOR",
        "-o",
    ])
    .arg(&disc)
    .arg(&files);
    step::answer(&mut make)?;
    Ok(disc)
}
