//! `FILE_NOTIFY_INFORMATION` (MS-FSCC 2.7.1): what a server says has changed. All of it is a claim.

/// `NextEntryOffset`, `Action`, `FileNameLength`, each of 32 bits.
const HEAD: usize = 12;
/// More records than fit into an answer.
const MOST: usize = 4096;

/// What an answer says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Paths below the watched folder, with `/`, in UTF-8 as the mount shows them.
    pub paths: Vec<Vec<u8>>,
    /// Something changed that is not in `paths`.
    pub more: bool,
}

pub fn read(bytes: &[u8]) -> Told {
    let mut told = Told::default();
    let mut at = 0;
    for _ in 0..MOST {
        let Some((next, name)) = record(bytes, at) else {
            told.more = true;
            return told;
        };
        match path(name) {
            Some(path) => told.paths.push(path),
            None => told.more = true,
        }
        if next == 0 {
            break;
        }
        at += next;
    }
    told.paths.sort_unstable();
    told.paths.dedup();
    told
}

/// Distance to the next record, 0 for none, and the name's bytes; `None` for what is cut off or says nothing.
fn record(bytes: &[u8], at: usize) -> Option<(usize, &[u8])> {
    let bytes = bytes.get(at..)?;
    let number = |at: usize| {
        let field = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(field)).ok()
    };
    let (next, action, length) = (number(0)?, number(4)?, number(8)?);
    let name = bytes.get(HEAD..HEAD.checked_add(length)?)?;
    let is_one = action != 0 && length > 0 && (next == 0 || next >= HEAD);
    is_one.then_some((next, name))
}

/// A name in UTF-16, as a path.
fn path(name: &[u8]) -> Option<Vec<u8>> {
    let units = name
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let mut path = String::new();
    for unit in char::decode_utf16(units) {
        path.push(match unit.ok()? {
            '\\' => '/',
            other => other,
        });
    }
    Some(path.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_of(name: &str, last: bool) -> Vec<u8> {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = (HEAD + name.len()).next_multiple_of(4);
        let next = if last { 0 } else { length as u32 };
        let mut record = [next, 1, name.len() as u32].map(u32::to_le_bytes).concat();
        record.extend(name);
        record.resize(length, 0);
        record
    }

    #[test]
    fn each_record_is_a_path_with_slashes_once() {
        let bytes = [
            record_of("std\\000\\a", false),
            record_of("ext\\患者", false),
            record_of("std\\000\\a", true),
        ]
        .concat();
        let told = read(&bytes);
        assert_eq!(
            told.paths,
            ["ext/患者".as_bytes().to_vec(), b"std/000/a".to_vec()]
        );
        assert!(!told.more);
    }

    #[test]
    fn what_is_cut_off_or_empty_is_a_word_that_there_is_more() {
        let bytes = [record_of("a", false), record_of("a longer name", true)].concat();
        for cut in 0..bytes.len() - 4 {
            assert!(read(&bytes[..cut]).more, "{cut}");
        }
        assert!(read(&[0; 64]).more);
        assert_eq!(read(&bytes).paths.len(), 2);
    }

    #[test]
    fn no_bytes_of_a_server_do_more_than_be_refused() {
        let mut bytes = record_of("ab", false);
        for next in [1, 3, 11, u32::MAX] {
            bytes[..4].copy_from_slice(&next.to_le_bytes());
            assert!(read(&bytes).more);
        }
        let mut lone = record_of("a", true);
        lone[HEAD..HEAD + 2].copy_from_slice(&0xD800_u16.to_le_bytes());
        assert_eq!(
            read(&lone),
            Told {
                paths: vec![],
                more: true
            }
        );
        let mut long = record_of("a", true);
        long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(&long).more);
    }
}
