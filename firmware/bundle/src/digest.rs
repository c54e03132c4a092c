//! SHA-256 digests as values.

use aws_lc_rs::digest::{Context, SHA256, digest};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest. Written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestForm;

impl std::fmt::Display for DigestForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a digest is 64 lower-case hexadecimal digits")
    }
}

impl std::error::Error for DigestForm {}

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_output(digest(&SHA256, bytes).as_ref())
    }

    fn from_output(output: &[u8]) -> Self {
        let mut value = [0; 32];
        value.copy_from_slice(output); // SHA-256 gives 32 bytes
        Self(value)
    }

    /// The digest as 64 ASCII bytes.
    pub fn hex(&self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for Digest {
    type Err = DigestForm;

    fn from_str(text: &str) -> Result<Self, DigestForm> {
        let text: &[u8; 64] = text.as_bytes().try_into().map_err(|_| DigestForm)?;
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(DigestForm),
        };
        let mut value = [0; 32];
        for (out, pair) in value.iter_mut().zip(text.chunks_exact(2)) {
            *out = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(value))
    }
}

/// A running SHA-256, for files that are read in parts.
#[derive(Clone)]
pub struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> Digest {
        Digest::from_output(self.0.finish().as_ref())
    }
}

/// Digests of a file that is read in parts: of each part, and of the whole.
///
/// Each round of SHA-256 waits for the one before it, so a core with SHA instructions idles half of the time. Given the
/// blocks of both digests in turns, it works on two at once: both take three quarters of the time of one after the other.
/// Only `sha2` can be fed so; where it would have to do without those instructions, aws-lc is the faster.
#[derive(Clone)]
pub struct Whole {
    running: Running,
    begun: bool,
}

#[derive(Clone)]
enum Running {
    InTurns(Sha256),
    OneByOne(Hasher),
}

/// Bytes of one round of both digests: a block of SHA-256.
const TURN_BYTES: usize = 64;

impl Default for Whole {
    fn default() -> Self {
        let running = if has_sha_instructions() {
            Running::InTurns(Sha256::new())
        } else {
            Running::OneByOne(Hasher::default())
        };
        Self {
            running,
            begun: false,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_sha_instructions() -> bool {
    std::arch::is_x86_feature_detected!("sha")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_sha_instructions() -> bool {
    false
}

impl Whole {
    /// Takes the next part and gives its digest.
    pub fn part(&mut self, bytes: &[u8]) -> Digest {
        let first = !std::mem::replace(&mut self.begun, true);
        match &mut self.running {
            // the first part is all that there is so far: one digest for both
            running if first => running.update(bytes),
            Running::InTurns(whole) => {
                let mut part = Sha256::new();
                for turn in bytes.chunks(TURN_BYTES) {
                    whole.update(turn);
                    part.update(turn);
                }
                return Digest(part.finalize().into());
            }
            Running::OneByOne(whole) => {
                whole.update(bytes);
                return Digest::of(bytes);
            }
        }
        self.digest()
    }

    /// Of all parts so far.
    pub fn digest(&self) -> Digest {
        match self.running.clone() {
            Running::InTurns(whole) => Digest(whole.finalize().into()),
            Running::OneByOne(whole) => whole.finish(),
        }
    }
}

impl Running {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::InTurns(whole) => whole.update(bytes),
            Self::OneByOne(whole) => whole.update(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_by_part_gives_the_digests_of_each_part_and_of_all() {
        let content: Vec<u8> = (0..5000u32).map(|n| ((n * 7) >> 3) as u8).collect();
        let ways = [
            Running::InTurns(Sha256::new()),
            Running::OneByOne(Hasher::default()),
        ];
        for running in ways {
            for length in [1, 63, 64, 65, 1024, 4999, 5000] {
                let mut whole = Whole {
                    running: running.clone(),
                    begun: false,
                };
                let mut end = 0;
                for part in content.chunks(length) {
                    end += part.len();
                    assert_eq!(whole.part(part), Digest::of(part));
                    assert_eq!(whole.digest(), Digest::of(&content[..end]));
                }
            }
        }
    }
}
