//! Asking the server of an SMB share to say when something changes: the client's `CIFS_IOC_NOTIFY_INFO`.
//!
//! 1. The call returns when something has changed, when the connection breaks, or when the process is killed; nothing else
//!    ends it. Whoever calls it has a thread to spare, in a process that may be killed.
//! 2. Each call opens the folder at the server anew: what changes between two calls is not told.
//! 3. Where more changed than the server's buffer holds, the client says "input or output error".
//!
//! Source: fs/smb/client/cifs_ioctl.h and smb2ops.c (`smb3_notify`) of Linux 6.12; MS-SMB2 2.2.35.

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::os::fd::AsFd;

/// Magic 0xCF, number 11; the packed head of `struct smb3_notify_info` has 9 bytes.
const NOTIFY_INFO: Opcode = opcode::read_write::<[u8; HEAD]>(0xCF, 11);

/// `completion_filter`, `watch_tree`, `data_len`.
const HEAD: usize = 9;
const LENGTH_AT: usize = 5;

/// Room for what changed; more is cut off, and the end of the last record with it.
const DATA: usize = 16 * 1024;

/// What shall be told. Bits of `CompletionFilter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Names of files and folders: made, removed, renamed.
    Names,
    /// Sizes, and times of writing.
    Contents,
}

impl Changes {
    fn filter(self) -> u32 {
        match self {
            Self::Names => 0x01 | 0x02,
            Self::Contents => 0x08 | 0x10,
        }
    }
}

/// Room for one answer.
pub struct Answer(Box<[u8; HEAD + DATA]>);

impl Default for Answer {
    fn default() -> Self {
        Self(Box::new([0; HEAD + DATA]))
    }
}

/// Waits until something changes in the folder or anywhere below it. The bytes are `FILE_NOTIFY_INFORMATION` records as the
/// server sent them; nothing but zeros where it did not say what changed.
pub fn wait(folder: impl AsFd, changes: Changes, answer: &mut Answer) -> Result<&[u8], Errno> {
    let bytes = &mut *answer.0;
    bytes.fill(0);
    bytes[..4].copy_from_slice(&changes.filter().to_ne_bytes());
    bytes[4] = 1;
    let room = u32::try_from(DATA).unwrap_or(0);
    bytes[LENGTH_AT..HEAD].copy_from_slice(&room.to_ne_bytes());
    // SAFETY: the kernel reads the head, whose packed layout was written above, writes at most `data_len` bytes behind it
    // and then `data_len` itself; `bytes` has room for head and `data_len` bytes, and lives over the call.
    unsafe {
        ioctl(
            folder,
            Updater::<NOTIFY_INFO, [u8; HEAD + DATA]>::new(bytes),
        )
    }?;
    let mut length = [0; 4];
    length.copy_from_slice(&bytes[LENGTH_AT..HEAD]);
    let length = usize::try_from(u32::from_ne_bytes(length)).unwrap_or(DATA);
    Ok(&bytes[HEAD..HEAD + length.min(DATA)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_call_is_the_kernels() {
        assert_eq!(NOTIFY_INFO, 0xC009_CF0B);
    }

    #[test]
    fn a_folder_of_another_file_system_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let folder = std::fs::File::open(folder.path()).unwrap();
        let mut answer = Answer::default();
        let refused = wait(&folder, Changes::Names, &mut answer);
        assert!(matches!(refused, Err(Errno::NOTTY | Errno::INVAL)));
    }
}
