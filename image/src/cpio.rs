//! Writes an initramfs: cpio "newc", the same bytes for the same entries.
//!
//! 1. Entries are sorted by path, belong to root, and have one fixed time; inode numbers count from 1.
//! 2. Every folder on the way to an entry must be an entry itself, before it: the kernel makes no parents.
//!
//! Format: kernel document `driver-api/early-userspace/buffer-format.rst`.

use std::fmt;

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
const DIRECTORY: u32 = 0o040000;
const REGULAR: u32 = 0o100000;
const CHARACTER: u32 = 0o020000;

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// A folder.
    Directory,
    /// A file with its bytes.
    File(Vec<u8>),
    /// A character device with its numbers.
    Character { major: u32, minor: u32 },
}

/// One entry of the root file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Path without a leading slash.
    pub path: String,
    /// Permission bits only.
    pub permissions: u32,
    /// What it is.
    pub content: Content,
}

/// Why the entries make no root file system.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// Two entries of one path.
    Twice { path: String },
    /// An entry in a folder that is no entry.
    NoParent { path: String },
    /// A file that the format's 32-bit fields cannot hold.
    TooLarge { path: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Twice { path } => write!(f, "{path} is twice in the root file system"),
            Error::NoParent { path } => {
                write!(f, "the folder of {path} is not in the root file system")
            }
            Error::TooLarge { path } => write!(f, "{path} has 4 GiB or more"),
        }
    }
}

impl std::error::Error for Error {}

/// The archive of the entries.
pub fn archive(mut entries: Vec<Entry>) -> Result<Vec<u8>, Error> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let mut out = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 && entries[index - 1].path == entry.path {
            return Err(Error::Twice {
                path: entry.path.clone(),
            });
        }
        if let Some((parent, _)) = entry.path.rsplit_once('/') {
            let is_parent =
                |other: &Entry| other.path == parent && other.content == Content::Directory;
            if !entries[..index].iter().any(is_parent) {
                return Err(Error::NoParent {
                    path: entry.path.clone(),
                });
            }
        }
        // an archive of more than 2^32 entries does not fit in memory
        write_entry(&mut out, index as u32 + 1, entry)?;
    }
    header(
        &mut out,
        &Header {
            links: 1,
            name: TRAILER,
            ..Header::default()
        },
    );
    Ok(out)
}

fn write_entry(out: &mut Vec<u8>, inode: u32, entry: &Entry) -> Result<(), Error> {
    let (kind, links, device, bytes): (u32, u32, (u32, u32), &[u8]) = match &entry.content {
        Content::Directory => (DIRECTORY, 2, (0, 0), &[]),
        Content::File(bytes) => (REGULAR, 1, (0, 0), bytes),
        Content::Character { major, minor } => (CHARACTER, 1, (*major, *minor), &[]),
    };
    let size = u32::try_from(bytes.len()).map_err(|_| Error::TooLarge {
        path: entry.path.clone(),
    })?;
    header(
        out,
        &Header {
            inode,
            mode: kind | entry.permissions,
            links,
            size,
            device,
            name: &entry.path,
        },
    );
    out.extend_from_slice(bytes);
    pad(out);
    Ok(())
}

#[derive(Default)]
struct Header<'a> {
    inode: u32,
    mode: u32,
    links: u32,
    size: u32,
    device: (u32, u32),
    name: &'a str,
}

/// Fields in their order: inode, mode, uid, gid, links, time, size, device of the file (2), device it is (2), name's size, check.
fn header(out: &mut Vec<u8>, header: &Header) {
    let name_size = header.name.len() as u32 + 1;
    let (major, minor) = header.device;
    let fields = [
        header.inode,
        header.mode,
        0,
        0,
        header.links,
        0,
        header.size,
        0,
        0,
        major,
        minor,
        name_size,
        0,
    ];
    out.extend_from_slice(MAGIC.as_bytes());
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(header.name.as_bytes());
    out.push(0);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, content: Content) -> Entry {
        Entry {
            path: path.to_owned(),
            permissions: 0o755,
            content,
        }
    }

    #[test]
    fn the_order_in_which_entries_are_given_does_not_change_the_archive() {
        let a = entry("bin", Content::Directory);
        let b = entry("bin/x", Content::File(b"abc".to_vec()));
        assert_eq!(archive(vec![a.clone(), b.clone()]), archive(vec![b, a]));
    }

    #[test]
    fn a_small_archive_has_the_bytes_of_the_format() {
        let bytes = archive(vec![entry("x", Content::File(b"abc".to_vec()))]).unwrap();
        let expected = "070701\
            00000001000081ed0000000000000000000000010000000000000003\
            0000000000000000000000000000000000000002\
            00000000x\0abc\0\
            070701\
            0000000000000000000000000000000000000001000000000000000000000000000000000000000000000000\
            0000000b00000000TRAILER!!!\0\0\0\0";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn a_file_in_a_folder_that_is_not_there_is_refused() {
        let refused = archive(vec![entry("bin/x", Content::File(Vec::new()))]);
        assert_eq!(
            refused,
            Err(Error::NoParent {
                path: "bin/x".to_owned()
            })
        );
    }

    #[test]
    fn a_path_given_twice_is_refused() {
        let one = entry("x", Content::Directory);
        assert_eq!(
            archive(vec![one.clone(), one]),
            Err(Error::Twice {
                path: "x".to_owned()
            })
        );
    }
}
