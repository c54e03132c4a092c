//! Every folder of the running box with its owner and mode.
//!
//! A folder that two roles share has the set-group-ID bit, so that a file in it belongs to the reader's group whoever
//! makes it, and no role needs the right to give files away.

use crate::roles::{
    AUDIT, CHARON, CLOCK, CONSOLE, INTAKE, KEYHOLDER, LISTENER, MAINTENANCE, PORTS, SENDER, TUNNEL,
};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Folder {
    pub path: &'static str,
    pub owner: u32,
    pub group: u32,
    pub mode: u32,
}

const fn folder(path: &'static str, owner: u32, group: u32, mode: u32) -> Folder {
    Folder {
        path,
        owner,
        group,
        mode,
    }
}

/// In memory; made at each boot.
pub const RUN: &[Folder] = &[
    folder("/run/notify", 0, 0, 0o755),
    folder("/run/netns", 0, 0, 0o700),
    folder("/run/view", 0, 0, 0o700),
    folder("/run/site", MAINTENANCE, MAINTENANCE, 0o755),
    folder("/run/keyholder", KEYHOLDER, KEYHOLDER, 0o755),
    folder("/run/intake", INTAKE, INTAKE, 0o755),
    folder("/run/audit", AUDIT, AUDIT, 0o755),
    folder("/run/charon", CHARON, CHARON, 0o750),
    folder("/run/status", 0, 0, 0o755),
    folder("/run/status/init", 0, 0, 0o755),
    folder("/run/status/intake", INTAKE, INTAKE, 0o755),
    folder("/run/status/keyholder", KEYHOLDER, KEYHOLDER, 0o755),
    folder("/run/status/listener", LISTENER, LISTENER, 0o755),
    folder("/run/status/sender", SENDER, SENDER, 0o755),
    folder("/run/status/tunnel", TUNNEL, TUNNEL, 0o755),
    folder("/run/status/ports", PORTS, PORTS, 0o755),
    folder("/run/status/maintenance", MAINTENANCE, MAINTENANCE, 0o755),
    folder("/run/status/audit", AUDIT, AUDIT, 0o755),
    folder("/run/status/clock", CLOCK, CLOCK, 0o755),
    folder("/run/status/console", CONSOLE, CONSOLE, 0o755),
];

/// On the partition `state`; made once.
pub const STATE: &[Folder] = &[
    folder("/state", 0, 0, 0o755),
    folder("/state/site", MAINTENANCE, MAINTENANCE, 0o755),
    folder("/state/keys", MAINTENANCE, KEYHOLDER, 0o2750),
    folder("/state/keys-ike", MAINTENANCE, TUNNEL, 0o2750),
    folder("/state/catalogue", INTAKE, INTAKE, 0o700),
    folder("/state/spool", INTAKE, SENDER, 0o750),
    folder("/state/spool/bundles", INTAKE, SENDER, 0o2750),
    folder("/state/spool/receipts", SENDER, INTAKE, 0o2770),
    folder("/state/audit", AUDIT, AUDIT, 0o700),
    folder("/state/clock", CLOCK, CLOCK, 0o700),
];

/// A folder could not be made or given its owner and mode.
#[derive(Debug)]
pub struct FolderError {
    path: PathBuf,
    source: std::io::Error,
}

impl std::fmt::Display for FolderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "cannot make the folder {} with its owner and mode",
            self.path.display()
        )
    }
}

impl std::error::Error for FolderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Makes what is missing and corrects what differs; contents stay as they are.
pub fn make(folders: &[Folder]) -> Result<(), FolderError> {
    for folder in folders {
        make_one(Path::new(folder.path), folder).map_err(|source| FolderError {
            path: folder.path.into(),
            source,
        })?;
    }
    Ok(())
}

fn make_one(path: &Path, folder: &Folder) -> std::io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Err(std::io::Error::other(
            "something else than a folder has its name",
        ));
    }
    if (found.uid(), found.gid()) != (folder.owner, folder.group) {
        std::os::unix::fs::chown(path, Some(folder.owner), Some(folder.group))?;
    }
    // after the owner, whose change takes set-group-ID away
    if std::fs::symlink_metadata(path)?.mode() & 0o7777 != folder.mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(folder.mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::{Access, ROLES};

    #[test]
    fn every_path_that_a_role_writes_is_a_folder_of_the_tables() {
        for role in ROLES {
            for entry in role
                .view
                .iter()
                .filter(|entry| entry.access == Access::Write)
            {
                let folder = RUN
                    .iter()
                    .chain(STATE)
                    .find(|folder| folder.path == entry.path);
                let folder =
                    folder.unwrap_or_else(|| panic!("{}: no folder {}", role.name, entry.path));
                let may_write = folder.owner == role.uid
                    || (folder.group == role.uid && folder.mode & 0o020 != 0);
                // the spool's own folder only leads to the two below it
                assert!(
                    may_write || folder.path == "/state/spool",
                    "{}: {}",
                    role.name,
                    entry.path
                );
            }
        }
    }

    #[test]
    fn a_folder_comes_after_the_one_that_holds_it() {
        for table in [RUN, STATE] {
            for (place, folder) in table.iter().enumerate() {
                let parent = Path::new(folder.path).parent().unwrap().to_str().unwrap();
                let is_before = table[..place].iter().any(|other| other.path == parent);
                assert!(
                    is_before || parent == "/run" || parent == "/",
                    "{}",
                    folder.path
                );
            }
        }
    }

    #[test]
    fn nobody_but_a_role_and_its_named_reader_can_enter_where_keys_and_data_are() {
        for folder in STATE
            .iter()
            .filter(|folder| !["/state", "/state/site"].contains(&folder.path))
        {
            assert_eq!(folder.mode & 0o007, 0, "{}", folder.path);
        }
    }
}
