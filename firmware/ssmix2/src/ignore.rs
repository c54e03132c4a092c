//! What is never collected: files that file managers, editors and network file systems leave behind.
//!
//! | name | made by |
//! |---|---|
//! | `Thumbs.db`, `ehthumbs.db`, `desktop.ini` | Windows Explorer |
//! | `.DS_Store`, `._*` | macOS Finder |
//! | `~$*` | Microsoft Office, lock file of an open document |
//! | `.~lock.*#` | LibreOffice, the same |
//! | `*.tmp` | programs that write beside and rename |
//! | `*~`, `.*.swp`, `#*#` | editors: backup, swap and autosave |
//! | `.nfs*` | NFS client, name of a removed file that is still open |
//! | `$RECYCLE.BIN`, `System Volume Information`, `lost+found`, `.snapshot`, `@eaDir` | folders of the file system or the storage device |
//!
//! Letters compare without case, because the shares are mostly Windows ones. Ignored entries are counted by the caller.

/// The table's row that an entry fell under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    FileManager,
    OfficeLock,
    Temporary,
    Editor,
    RemovedButOpen,
    SystemFolder,
}

/// Says whether the entry of this name (file or folder) is left alone, and why.
pub fn ignored(name: &[u8]) -> Option<Ignored> {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let starts = |with: &str| {
        name.get(..with.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(with.as_bytes()))
    };
    let ends = |with: &str| {
        name.len()
            .checked_sub(with.len())
            .is_some_and(|at| name[at..].eq_ignore_ascii_case(with.as_bytes()))
    };
    if is("Thumbs.db") || is("ehthumbs.db") || is("desktop.ini") || is(".DS_Store") || starts("._")
    {
        Some(Ignored::FileManager)
    } else if starts("~$") || (starts(".~lock.") && ends("#")) {
        Some(Ignored::OfficeLock)
    } else if ends(".tmp") {
        Some(Ignored::Temporary)
    } else if ends("~")
        || (starts(".") && ends(".swp"))
        || (name.len() > 1 && starts("#") && ends("#"))
    {
        Some(Ignored::Editor)
    } else if starts(".nfs") {
        Some(Ignored::RemovedButOpen)
    } else if [
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        ".snapshot",
        "@eaDir",
    ]
    .into_iter()
    .any(is)
    {
        Some(Ignored::SystemFolder)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_ignored() {
        for (name, row) in [
            ("THUMBS.DB", Ignored::FileManager),
            ("Desktop.ini", Ignored::FileManager),
            ("._x", Ignored::FileManager),
            ("~$letter.docx", Ignored::OfficeLock),
            (".~lock.letter.odt#", Ignored::OfficeLock),
            ("x.TMP", Ignored::Temporary),
            ("x~", Ignored::Editor),
            (".x.swp", Ignored::Editor),
            ("#x#", Ignored::Editor),
            (".nfs0000000001", Ignored::RemovedButOpen),
            ("lost+found", Ignored::SystemFolder),
        ] {
            assert_eq!(ignored(name.as_bytes()), Some(row), "{name}");
        }
    }

    #[test]
    fn records_are_not_ignored() {
        for name in [
            "1_-_ADT-00_999999999999999_20111220224447339_-_1",
            "RECEIPTC.UKE",
            "x.tmp2",
            "-",
            "TR_20240101000000000_00001.DAT",
            ".hidden",
            "#",
        ] {
            assert_eq!(ignored(name.as_bytes()), None, "{name}");
        }
    }
}
