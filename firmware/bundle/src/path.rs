//! Paths below a root: raw bytes, as the hospital's file system gives them, and their escaped form in the manifest.
//!
//! Escape: the bytes 0x21-0x7E stand for themselves except `%`, `"` and `\`; every other byte is `%` and two upper-case
//! hexadecimal digits. One path has one spelling: any other is refused. So CP932 names, newlines and spaces survive,
//! JSON needs no escape of its own, and `printf '%b' "${p//%/\\x}"` of a shell gives the bytes back.

use crate::limits::{COMPONENT_LIMIT_BYTES, PATH_LIMIT_BYTES};
use std::fmt;

/// What is wrong with a path. Never holds the path: names in a store contain patient IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    Empty,
    TooLong {
        bytes: usize,
    },
    ComponentTooLong {
        bytes: usize,
    },
    Absolute,
    EmptyComponent,
    DotComponent,
    Nul,
    /// Only in a manifest: not the one spelling of its bytes.
    Spelling,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the path is empty"),
            Self::TooLong { bytes } => write!(
                f,
                "the path has {bytes} bytes, at most {PATH_LIMIT_BYTES} are allowed"
            ),
            Self::ComponentTooLong { bytes } => {
                write!(
                    f,
                    "a component of the path has {bytes} bytes, at most {COMPONENT_LIMIT_BYTES} are allowed"
                )
            }
            Self::Absolute => write!(f, "the path is absolute, it must be below its root"),
            Self::EmptyComponent => write!(f, "a component of the path is empty"),
            Self::DotComponent => write!(f, "a component of the path is . or .."),
            Self::Nul => write!(f, "the path contains a NUL byte"),
            Self::Spelling => write!(f, "the path is not spelled in the one allowed way"),
        }
    }
}

impl std::error::Error for PathFault {}

/// Checks that a path can be restored below a root and nowhere else.
pub fn check(path: &[u8]) -> Result<(), PathFault> {
    if path.is_empty() {
        return Err(PathFault::Empty);
    }
    if path.len() > PATH_LIMIT_BYTES {
        return Err(PathFault::TooLong { bytes: path.len() });
    }
    if path[0] == b'/' {
        return Err(PathFault::Absolute);
    }
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" => return Err(PathFault::EmptyComponent),
            b"." | b".." => return Err(PathFault::DotComponent),
            _ if component.len() > COMPONENT_LIMIT_BYTES => {
                return Err(PathFault::ComponentTooLong {
                    bytes: component.len(),
                });
            }
            _ if component.contains(&0) => return Err(PathFault::Nul),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a byte stands for itself.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'%' | b'"' | b'\\')
}

/// Appends the escaped form of a path.
pub fn escape_onto(out: &mut Vec<u8>, path: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(path.len());
    for &byte in path {
        if is_plain(byte) {
            out.push(byte);
        } else {
            out.extend([
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        }
    }
}

/// The bytes of an escaped path, checked.
pub fn parse(text: &str) -> Result<Vec<u8>, PathFault> {
    let path = unescape(text)?;
    check(&path)?;
    Ok(path)
}

/// The bytes of an escaped path; only its spelling is checked.
pub fn unescape(text: &str) -> Result<Vec<u8>, PathFault> {
    let digit = |byte: Option<&u8>| match byte {
        Some(&byte @ b'0'..=b'9') => Ok(byte - b'0'),
        Some(&byte @ b'A'..=b'F') => Ok(byte - b'A' + 10),
        _ => Err(PathFault::Spelling),
    };
    let mut path = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' {
            let value = digit(bytes.next())? << 4 | digit(bytes.next())?;
            if is_plain(value) {
                return Err(PathFault::Spelling);
            }
            path.push(value);
        } else if is_plain(byte) {
            path.push(byte);
        } else {
            return Err(PathFault::Spelling);
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_that_leaves_its_root_is_refused() {
        for (path, fault) in [
            (&b""[..], PathFault::Empty),
            (b"/etc", PathFault::Absolute),
            (b"a//b", PathFault::EmptyComponent),
            (b"a/", PathFault::EmptyComponent),
            (b"..", PathFault::DotComponent),
            (b"a/../b", PathFault::DotComponent),
            (b"a/./b", PathFault::DotComponent),
            (b"a\0b", PathFault::Nul),
            (&[b'a'; 766], PathFault::ComponentTooLong { bytes: 766 }),
        ] {
            assert_eq!(check(path), Err(fault), "{}", path.escape_ascii());
        }
        assert_eq!(
            check(&b"ab/".repeat(2000)),
            Err(PathFault::TooLong { bytes: 6000 })
        );
    }

    #[test]
    fn a_second_spelling_of_a_path_is_refused() {
        for text in ["%41", "%e3", "a b", "a%", "a%2", "%2541\u{3042}"] {
            assert_eq!(parse(text), Err(PathFault::Spelling), "{text}");
        }
        assert_eq!(parse("%2E%2E"), Err(PathFault::Spelling));
    }

    proptest! {
        #[test]
        fn every_path_of_raw_bytes_survives(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut text = Vec::new();
            escape_onto(&mut text, &bytes);
            let text = String::from_utf8(text).unwrap();
            match check(&bytes) {
                Ok(()) => prop_assert_eq!(parse(&text), Ok(bytes)),
                Err(fault) => prop_assert_eq!(parse(&text), Err(fault)),
            }
        }
    }
}
