//! `cargo xtask disc`: signed update discs. They come with a later version; this one says so and fails.

use std::fmt;

pub const HELP: &str = "\
cargo xtask disc

Makes a signed update disc from an image. Not in this version: a box is updated by flashing its disk anew
(see README.md, `Flashing`), which loses its state.
";

/// The answer of this version.
#[derive(Debug)]
pub struct NotInThisVersion;

impl fmt::Display for NotInThisVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("update discs come with a later version; this one makes none")
    }
}

impl std::error::Error for NotInThisVersion {}
