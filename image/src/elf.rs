//! Looks whether a program is one static file: no interpreter, no shared library.
//!
//! 1. A file that is not a 64-bit little-endian ELF program is refused, not passed.
//! 2. The check reads program headers and the dynamic section, which is what the kernel and a loader would use.
//!
//! Layout: System V ABI, chapter 4 and 5 (64-bit); the offsets below are its field offsets.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const PROGRAM_HEADER_OFFSET: usize = 32;
const PROGRAM_HEADER_SIZE: usize = 54;
const PROGRAM_HEADER_COUNT: usize = 56;
const SEGMENT_DYNAMIC: u64 = 2;
const SEGMENT_INTERPRETER: u64 = 3;
/// Size of an entry of the dynamic section, tag and value.
const DYNAMIC_ENTRY: usize = 16;
const TAG_END: u64 = 0;
const TAG_NEEDED: u64 = 1;

/// Why a program may not be in the image.
#[derive(Debug)]
pub enum Error {
    /// The file cannot be read.
    Read { path: PathBuf, cause: io::Error },
    /// The file is not an ELF program of this machine, or cut short.
    Malformed { path: PathBuf },
    /// It asks for a loader.
    Interpreter { path: PathBuf },
    /// It asks for shared libraries.
    Needed { path: PathBuf },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Error::Malformed { path } => write!(
                f,
                "{} is not a whole 64-bit x86 ELF program",
                path.display()
            ),
            Error::Interpreter { path } => write!(
                f,
                "{} asks for a loader; link it statically",
                path.display()
            ),
            Error::Needed { path } => write!(
                f,
                "{} needs a shared library; link it statically",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Read { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// What stands in the way of running without a loader.
#[derive(Debug, PartialEq, Eq)]
enum Linking {
    Static,
    Interpreter,
    Needed,
}

/// Accepts a program that runs by itself.
pub fn check_static(path: &Path) -> Result<(), Error> {
    let bytes = fs::read(path).map_err(|cause| Error::Read {
        path: path.to_owned(),
        cause,
    })?;
    let path = path.to_owned();
    match linking(&bytes) {
        Some(Linking::Static) => Ok(()),
        Some(Linking::Interpreter) => Err(Error::Interpreter { path }),
        Some(Linking::Needed) => Err(Error::Needed { path }),
        None => Err(Error::Malformed { path }),
    }
}

/// `None`: not a whole ELF program.
fn linking(bytes: &[u8]) -> Option<Linking> {
    // magic, 64-bit, little-endian, version 1
    if !bytes.starts_with(b"\x7fELF\x02\x01\x01") {
        return None;
    }
    let first = usize::try_from(number(bytes, PROGRAM_HEADER_OFFSET, 8)?).ok()?;
    let size = usize::try_from(number(bytes, PROGRAM_HEADER_SIZE, 2)?).ok()?;
    let count = usize::try_from(number(bytes, PROGRAM_HEADER_COUNT, 2)?).ok()?;
    for index in 0..count {
        let header = first.checked_add(size.checked_mul(index)?)?;
        match number(bytes, header, 4)? {
            SEGMENT_INTERPRETER => return Some(Linking::Interpreter),
            SEGMENT_DYNAMIC => {
                let offset = usize::try_from(number(bytes, header + 8, 8)?).ok()?;
                let length = usize::try_from(number(bytes, header + 32, 8)?).ok()?;
                if needs_library(bytes.get(offset..offset.checked_add(length)?)?)? {
                    return Some(Linking::Needed);
                }
            }
            _ => {}
        }
    }
    Some(Linking::Static)
}

fn needs_library(dynamic: &[u8]) -> Option<bool> {
    for entry in dynamic.chunks_exact(DYNAMIC_ENTRY) {
        match number(entry, 0, 8)? {
            TAG_NEEDED => return Some(true),
            TAG_END => return Some(false),
            _ => {}
        }
    }
    Some(false)
}

/// A little-endian number of `length` bytes.
fn number(bytes: &[u8], offset: usize, length: usize) -> Option<u64> {
    let field = bytes.get(offset..offset.checked_add(length)?)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header and one segment with its content.
    fn program(segment: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1u16.to_le_bytes());
        bytes[64..68].copy_from_slice(&segment.to_le_bytes());
        bytes[72..80].copy_from_slice(&120u64.to_le_bytes());
        bytes[96..104].copy_from_slice(&(content.len() as u64).to_le_bytes());
        bytes.extend_from_slice(content);
        bytes
    }

    #[test]
    fn a_program_with_an_interpreter_is_refused() {
        assert_eq!(
            linking(&program(3, b"/lib64/ld.so\0")),
            Some(Linking::Interpreter)
        );
    }

    #[test]
    fn a_program_that_needs_a_library_is_refused() {
        let mut entry = [0; 32];
        entry[0] = 1;
        assert_eq!(linking(&program(2, &entry)), Some(Linking::Needed));
    }

    #[test]
    fn a_static_program_that_relocates_itself_passes() {
        let mut entry = [0; 32];
        entry[0] = 7;
        assert_eq!(linking(&program(2, &entry)), Some(Linking::Static));
    }

    #[test]
    fn a_program_cut_short_is_not_passed() {
        let whole = program(2, &[0; 32]);
        for length in 0..whole.len() {
            assert_eq!(linking(&whole[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn the_running_test_itself_is_refused() {
        let test = std::env::current_exe().unwrap();
        assert!(matches!(
            check_static(&test),
            Err(Error::Interpreter { .. })
        ));
    }
}
