//! SHA-256 of files and of the inputs of a build step.
//!
//! 1. A key is a digest over named fields with their lengths, so that no two lists of inputs share one.
//! 2. A digest says that bytes are equal, not who made them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// SHA-256, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Characters of [`Digest::short`].
    pub const SHORT: usize = 16;

    /// Digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// Digest of a file's content, read in pieces.
    pub fn of_file(path: &Path) -> io::Result<Digest> {
        let mut file = File::open(path)?;
        let mut state = Sha256::new();
        let mut piece = vec![0; 1 << 20];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(Digest(state.finalize().into())),
                count => state.update(&piece[..count]),
            }
        }
    }

    /// The first eight bytes in hex: enough to tell entries of a cache apart.
    pub fn short(&self) -> String {
        self.to_string()[..Self::SHORT].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Collects the inputs of a build step into one digest.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds one named input.
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Key {
        for part in [name.as_bytes(), value.as_ref()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// The digest over all inputs so far.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_nothing_is_the_published_one() {
        let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), expected);
    }

    #[test]
    fn moving_a_byte_between_fields_changes_the_key() {
        let one = Key::default().field("a", "xy").field("b", "z").finish();
        let other = Key::default().field("a", "x").field("b", "yz").finish();
        assert_ne!(one, other);
    }
}
