//! Which bundles are there: every `*.cms` below a folder, by box and number.

use super::{OpenFailure, Report};
use bundle::{BoxName, BundleName};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A file that is named like a bundle.
pub struct Found {
    pub name: BundleName,
    pub path: PathBuf,
}

/// The bundles of each box in ascending order of number; one that lies in two places is there twice.
pub fn bundles(
    folder: &Path,
    report: &mut Report,
) -> Result<BTreeMap<BoxName, Vec<Found>>, OpenFailure> {
    let mut boxes: BTreeMap<BoxName, Vec<Found>> = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        let failed = |source| OpenFailure::List {
            path: folder.clone(),
            source,
        };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let path = entry.path();
            if kind.is_dir() {
                pending.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|ending| ending == "cms") {
                match entry.file_name().to_string_lossy().parse::<BundleName>() {
                    Ok(name) => boxes
                        .entry(name.box_name().clone())
                        .or_default()
                        .push(Found { name, path }),
                    Err(error) => report.refuse_path(&path, error.to_string()),
                }
            }
        }
    }
    for found in boxes.values_mut() {
        found.sort_by(|a, b| (a.name.sequence(), &a.path).cmp(&(b.name.sequence(), &b.path)));
    }
    Ok(boxes)
}
