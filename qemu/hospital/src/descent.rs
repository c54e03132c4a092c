//! Finds patients and files of an existing store by walking down at random: a few listings each, whatever the size.
//!
//! The choice is not uniform over files (a patient in a sparse folder is met more often), which no user here needs; it
//! is the same for the same stream and the same store.

use std::path::{Path, PathBuf};

use crate::calendar::{Day, Moment};
use crate::fault::Fault;
use crate::kinds::{Kind, kind_of};
use crate::random::Random;
use crate::record::{Action, Flag, Record};
use crate::tree::{self, Species};
use crate::words::DEPARTMENTS;

/// How often a descent is begun anew before the store is said to have nothing fitting.
const ATTEMPTS: u32 = 400;

/// A patient's folder.
pub(crate) struct Home {
    pub path: PathBuf,
    pub id: String,
    pub facility: String,
}

/// A file of standardized storage with a regular name.
pub(crate) struct Found {
    pub home: Home,
    pub folder: PathBuf,
    pub name: Name,
}

/// A regular file name, taken apart.
#[derive(Clone)]
pub(crate) struct Name {
    pub text: String,
    pub kind: &'static Kind,
    pub day: String,
    pub order: u64,
    pub sent: Moment,
    pub department: String,
    pub flag: char,
}

impl Name {
    /// Takes a name apart; `None` for irregular ones, which the hospital's system never touches again.
    pub fn parse(text: &str) -> Option<Name> {
        let [_, day, kind, order, sent, department, flag] =
            <[&str; 7]>::try_from(text.split('_').collect::<Vec<_>>()).ok()?;
        let flag = flag.chars().next().filter(|_| flag.len() == 1)?;
        Some(Name {
            text: text.to_owned(),
            kind: kind_of(kind)?,
            day: day.to_owned(),
            order: order.parse().ok().filter(|_| order.len() == 15)?,
            sent: Moment::parse(sent)?,
            department: department.to_owned(),
            flag,
        })
    }

    /// The record that follows the one of this name.
    pub fn successor(&self, now: Moment, flag: Flag, action: Action, content: u64) -> Record {
        let department = DEPARTMENTS
            .iter()
            .map(|(code, _)| *code)
            .find(|code| *code == self.department);
        Record {
            kind: self.kind,
            day: Day::parse(&self.day),
            order: self.order,
            sent: now.max(self.sent.plus(1)),
            department: department.unwrap_or("-"),
            flag,
            action,
            content,
        }
    }
}

/// A patient at random.
pub(crate) fn patient(root: &Path, random: &mut Random) -> Result<Home, Fault> {
    for _ in 0..ATTEMPTS {
        let Some(facility) = subfolder(root, random)? else {
            break;
        };
        let mut path = facility.clone();
        for _ in 0..3 {
            match subfolder(&path, random)? {
                Some(below) => path = below,
                None => break,
            }
        }
        let last = |path: &Path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .map(str::to_owned)
        };
        if let (Some(id), Some(facility)) = (last(&path), last(&facility))
            && id.len() >= 6
            && id.bytes().all(|b| b.is_ascii_digit())
            && id != facility
        {
            return Ok(Home { path, id, facility });
        }
    }
    Err(Fault::NothingToChange {
        wanted: "patient",
        path: root.to_owned(),
    })
}

/// A valid (flag 1) file at random.
pub(crate) fn valid_file(root: &Path, random: &mut Random) -> Result<Found, Fault> {
    for _ in 0..ATTEMPTS {
        let home = patient(root, random)?;
        let Some(day) = subfolder(&home.path, random)? else {
            continue;
        };
        let Some(folder) = subfolder(&day, random)? else {
            continue;
        };
        let own = |name: &Name| {
            name.flag == '1'
                && name.text.starts_with(&home.id)
                && folder.ends_with(name.kind.folder)
        };
        let names: Vec<Name> = names(&folder)?.into_iter().filter(own).collect();
        if !names.is_empty() {
            let name = random.pick(&names).clone();
            return Ok(Found { home, folder, name });
        }
    }
    Err(Fault::NothingToChange {
        wanted: "valid file",
        path: root.to_owned(),
    })
}

/// A valid content folder of extended storage at random, if a few descents meet one.
pub(crate) fn valid_content(
    root: &Path,
    random: &mut Random,
) -> Result<Option<(Home, PathBuf)>, Fault> {
    for _ in 0..20 {
        let Ok(home) = patient(root, random) else {
            return Ok(None);
        };
        let Some(day) = subfolder(&home.path, random)? else {
            continue;
        };
        let Some(kind) = subfolder(&day, random)? else {
            continue;
        };
        let Some(content) = subfolder(&kind, random)? else {
            continue;
        };
        if content.to_str().is_some_and(|name| name.ends_with("_1")) {
            return Ok(Some((home, content)));
        }
    }
    Ok(None)
}

/// The regular names in a type folder, sorted.
pub(crate) fn names(folder: &Path) -> Result<Vec<Name>, Fault> {
    let entries = tree::list(folder)?;
    let files = entries
        .iter()
        .filter(|entry| entry.species == Species::File);
    Ok(files
        .filter_map(|entry| Name::parse(entry.name.to_str()?))
        .collect())
}

/// One of the folders in `path` at random.
pub(crate) fn subfolder(path: &Path, random: &mut Random) -> Result<Option<PathBuf>, Fault> {
    let mut folders = tree::list(path)?;
    folders.retain(|entry| entry.species == Species::Folder);
    Ok((!folders.is_empty()).then(|| path.join(&random.pick(&folders).name)))
}
