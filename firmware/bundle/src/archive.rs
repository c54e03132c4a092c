//! The tar archive inside a bundle: POSIX ustar, regular files only, under neutral names in a fixed order.
//!
//! A hospital's path never becomes a tar name, so that unpacking with any tool writes nowhere but below `content/`.
//! Reading takes only what writing makes, except for the fields that nobody uses (mode, owner, times): those may be as
//! a stock `tar --format=ustar` writes them.

use std::fmt;
use tar::Header;

pub const BLOCK_BYTES: usize = 512;
pub const MANIFEST_NAME: &[u8] = b"manifest.json";
pub const SIGNATURE_NAME: &[u8] = b"manifest.p7s";

const NAME_BYTES: usize = 100;
const SIZE_FIELD: std::ops::Range<usize> = 124..136;
const CHECKSUM_FIELD: std::ops::Range<usize> = 148..156;
const TYPE_FLAG: usize = 156;
const LINK_NAME: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..265;
const PREFIX: std::ops::Range<usize> = 345..500;

/// Name of the n-th content, counted from 1: `content/000001`.
pub fn content_name(number: u32) -> String {
    format!("content/{number:06}")
}

/// Bytes from the end of a content to the next block.
pub fn padding(length: usize) -> usize {
    length.next_multiple_of(BLOCK_BYTES) - length
}

/// Makes headers; what is the same in all is made once.
pub struct HeaderMaker(Header);

impl HeaderMaker {
    pub fn new() -> Self {
        let mut header = Header::new_ustar();
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        Self(header)
    }

    /// The header of an entry; the name is one of ours and shorter than [`NAME_BYTES`].
    pub fn make(&self, name: &[u8], size: u64) -> [u8; BLOCK_BYTES] {
        let mut header = self.0.clone();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_size(size);
        header.set_cksum();
        *header.as_bytes()
    }
}

/// The end of an archive: two blocks of zeros.
pub const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

/// Why the archive is refused. The place is the number of the archive's entry, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveError {
    Truncated {
        place: usize,
    },
    Checksum {
        place: usize,
    },
    NotUstar {
        place: usize,
    },
    /// Link, device, folder, extension header: by its type flag.
    NotRegular {
        place: usize,
        flag: u8,
    },
    Size {
        place: usize,
    },
    Name {
        place: usize,
        expected: String,
        found: String,
    },
    Padding {
        place: usize,
    },
    /// The manifest names no more contents, but the archive goes on.
    Extra {
        place: usize,
    },
    /// The archive ends, but the manifest names more.
    Missing {
        place: usize,
        expected: String,
    },
    End,
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { place } => write!(f, "the archive ends inside entry {place}"),
            Self::Checksum { place } => {
                write!(f, "archive entry {place} has a wrong header checksum")
            }
            Self::NotUstar { place } => {
                write!(f, "archive entry {place} is not of the ustar format")
            }
            Self::NotRegular { place, flag } => {
                write!(
                    f,
                    "archive entry {place} is no regular file but has type {:?}",
                    char::from(*flag)
                )
            }
            Self::Size { place } => write!(f, "archive entry {place} has no readable size"),
            Self::Name {
                place,
                expected,
                found,
            } => {
                write!(
                    f,
                    "archive entry {place} is named {found:?}, it must be {expected:?}"
                )
            }
            Self::Padding { place } => {
                write!(f, "the padding of archive entry {place} is not zero")
            }
            Self::Extra { place } => {
                write!(f, "archive entry {place} is not named by the manifest")
            }
            Self::Missing { place, expected } => {
                write!(
                    f,
                    "the archive ends before entry {place} ({expected:?}), which the manifest names"
                )
            }
            Self::End => write!(
                f,
                "the archive does not end with two blocks of zeros and nothing after"
            ),
        }
    }
}

impl std::error::Error for ArchiveError {}

/// Reads an archive entry by entry.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    place: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            place: 0,
        }
    }

    /// The place of the next entry's content, when it is a regular file with exactly this name.
    pub fn expect(&mut self, name: &[u8]) -> Result<std::ops::Range<usize>, ArchiveError> {
        self.place += 1;
        let place = self.place;
        let block = self.block()?;
        if block.iter().all(|&byte| byte == 0) {
            return Err(ArchiveError::Missing {
                place,
                expected: name.escape_ascii().to_string(),
            });
        }
        check_header(block, place, name)?;
        let size = read_size(&block[SIZE_FIELD]).ok_or(ArchiveError::Size { place })?;
        let start = self.at + BLOCK_BYTES;
        let end = start
            .checked_add(size)
            .ok_or(ArchiveError::Size { place })?;
        let next = end
            .checked_next_multiple_of(BLOCK_BYTES)
            .ok_or(ArchiveError::Size { place })?;
        let rest = self
            .bytes
            .get(end..next)
            .ok_or(ArchiveError::Truncated { place })?;
        if rest.iter().any(|&byte| byte != 0) {
            return Err(ArchiveError::Padding { place });
        }
        self.at = next;
        Ok(start..end)
    }

    /// Checks that nothing but the end marker is left.
    pub fn finish(mut self) -> Result<(), ArchiveError> {
        self.place += 1;
        let block = self.block().map_err(|_| ArchiveError::End)?;
        if block.iter().any(|&byte| byte != 0) {
            return Err(ArchiveError::Extra { place: self.place });
        }
        let rest = &self.bytes[self.at..];
        let marked = rest.len() >= END.len() && rest.len().is_multiple_of(BLOCK_BYTES);
        if marked && rest.iter().all(|&byte| byte == 0) {
            Ok(())
        } else {
            Err(ArchiveError::End)
        }
    }

    fn block(&self) -> Result<&'a [u8], ArchiveError> {
        self.bytes
            .get(self.at..self.at + BLOCK_BYTES)
            .ok_or(ArchiveError::Truncated { place: self.place })
    }
}

fn check_header(block: &[u8], place: usize, name: &[u8]) -> Result<(), ArchiveError> {
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(i, &b)| {
            if CHECKSUM_FIELD.contains(&i) {
                32
            } else {
                u32::from(b)
            }
        })
        .sum();
    if read_checksum(&block[CHECKSUM_FIELD]) != Some(sum) {
        return Err(ArchiveError::Checksum { place });
    }
    if &block[MAGIC] != b"ustar\x0000" {
        return Err(ArchiveError::NotUstar { place });
    }
    if block[TYPE_FLAG] != b'0' || block[LINK_NAME].iter().any(|&byte| byte != 0) {
        return Err(ArchiveError::NotRegular {
            place,
            flag: block[TYPE_FLAG],
        });
    }
    let field = &block[..NAME_BYTES];
    let named = field.starts_with(name) && field[name.len()..].iter().all(|&byte| byte == 0);
    if !named || block[PREFIX].iter().any(|&byte| byte != 0) {
        let found = field.split(|&byte| byte == 0).next().unwrap_or_default();
        return Err(ArchiveError::Name {
            place,
            expected: name.escape_ascii().to_string(),
            found: found.escape_ascii().to_string(),
        });
    }
    Ok(())
}

/// Seven octal digits and a NUL, as we write a checksum, or six, a NUL and a space, as stock `tar` does.
fn read_checksum(field: &[u8]) -> Option<u32> {
    let digits = match field {
        [digits @ .., 0, b' '] | [digits @ .., 0] => digits,
        _ => return None,
    };
    if !digits.iter().all(|b| matches!(b, b'0'..=b'7')) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// Eleven octal digits and a NUL or space, as POSIX writes a size.
fn read_size(field: &[u8]) -> Option<usize> {
    let (digits, end) = field.split_at(11);
    if !matches!(end, [0 | b' ']) || !digits.iter().all(|b| matches!(b, b'0'..=b'7')) {
        return None;
    }
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}
