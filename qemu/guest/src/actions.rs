//! What the agent can do, one arm an action.

use crate::life::Life;
use crate::services::Services;
use hospital::{Markers, Spec};
use lab_guest::{Action, Answer};
use std::error::Error;
use std::fs;
use std::path::Path;

type Reply = (Answer, Vec<u8>);

pub fn carry_out(
    action: &Action,
    payload: Vec<u8>,
    services: &mut Services,
    life: &mut Option<Life>,
) -> Result<Reply, Box<dyn Error>> {
    let mut answer = Answer::Done;
    let mut output = Vec::new();
    let lived = |at_ms| Answer::Lived { at_ms };
    let alive = || life.as_ref().ok_or("no hospital lives here");
    match action {
        Action::Ping => {}
        Action::Start { service } => services.start(*service)?,
        Action::Stop { service } => services.stop(*service)?,
        Action::Unpack { folder } => {
            fs::create_dir_all(folder)?;
            let mut archive = tar::Archive::new(payload.as_slice());
            archive.set_preserve_mtime(true);
            archive.unpack(folder)?;
        }
        Action::Pack { folder } => output = pack(folder)?,
        Action::Write { path, renamed_from } => write(path, renamed_from.as_deref(), &payload)?,
        Action::MakeFolder { path } => fs::create_dir_all(path)?,
        Action::Rename { from, to } => fs::rename(from, to)?,
        Action::Remove { path } if path.is_dir() => fs::remove_dir_all(path)?,
        Action::Remove { path } => fs::remove_file(path)?,
        Action::Digest { folder } => hospital::digest(folder, &mut output)?,
        Action::List { folder } => {
            let mut names = fs::read_dir(folder)?
                .map(|e| e.map(|e| e.file_name()))
                .collect::<Result<Vec<_>, _>>()?;
            names.sort();
            names
                .iter()
                .for_each(|name| output.extend([name.as_encoded_bytes(), b"\n"].concat()));
        }
        Action::Generate {
            folder,
            seed,
            files,
            markers,
        } => {
            let mut spec = Spec::new(*seed, *files);
            spec.markers = (*markers > 0).then(|| Markers {
                prefix: MARKER_PREFIX.to_owned(),
                count: *markers,
            });
            let made = hospital::make(&spec, folder)?;
            answer = Answer::Generated {
                files: made.files,
                bytes: made.bytes,
            };
            output = made.markers.join("\n").into_bytes();
        }
        Action::Change {
            folder,
            seed,
            changes,
        } => answer = change(folder, *seed, *changes)?,
        Action::Live { home, seed } => *life = Some(Life::begin(home, *seed)?),
        Action::Deed { at_ms, deed } => answer = lived(alive()?.act(*at_ms, deed)?),
        Action::Hide { root, empty } => answer = lived(alive()?.hide(root, *empty)?),
        Action::Show { root } => answer = lived(alive()?.show(root)?),
        Action::Delegations => {
            let count = delegations()?;
            answer = Answer::Delegations { count };
        }
        Action::Rest => answer = lived(alive()?.rest()?),
        Action::Truth => {
            let (at_ms, marks) = alive()?.truth()?;
            (answer, output) = (lived(at_ms), marks);
        }
    }
    Ok((answer, output))
}

/// How a text planted for the capture begins.
const MARKER_PREFIX: &str = "PLANTED-";

fn write(path: &Path, renamed_from: Option<&Path>, content: &[u8]) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match renamed_from {
        Some(first) => {
            fs::write(first, content)?;
            fs::rename(first, path)?;
        }
        None => fs::write(path, content)?,
    }
    Ok(())
}

/// As the NFS server of the kernel counts.
fn delegations() -> Result<u64, Box<dyn Error>> {
    let mut count = 0;
    for client in fs::read_dir("/proc/fs/nfsd/clients")? {
        let states = fs::read_to_string(client?.path().join("states"))?;
        let held = states.lines().filter(|line| line.contains("type: deleg"));
        count += held.count() as u64;
    }
    // calls by operation after their number; operation 8 is DELEGRETURN (RFC 7530)
    let calls = fs::read_to_string("/proc/net/rpc/nfsd")?;
    let returned = calls
        .lines()
        .find_map(|line| line.strip_prefix("proc4ops "))
        .and_then(|line| line.split(' ').nth(1 + 8))
        .ok_or("the NFS server counts no calls")?;
    Ok(count + returned.parse::<u64>()?)
}

/// The plain files of one folder. What is being written has a name with a dot in front.
fn pack(folder: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let name = entry.file_name();
        if entry.file_type()?.is_file() && !name.as_encoded_bytes().starts_with(b".") {
            archive.append_path_with_name(entry.path(), name)?;
        }
    }
    Ok(archive.into_inner()?)
}

/// An ordinary day at the hospital: mostly new files, some updates, few deletions.
fn change(folder: &Path, seed: u64, changes: u64) -> Result<Answer, Box<dyn Error>> {
    let mut wanted = hospital::Change::new(seed);
    wanted.update = changes / 4;
    wanted.delete = changes / 20;
    wanted.add = changes - wanted.update - wanted.delete;
    let changed = hospital::change(&wanted, folder)?;
    Ok(Answer::Changed {
        added: changed.added,
        updated: changed.updated,
        removed: changed.deleted,
    })
}
