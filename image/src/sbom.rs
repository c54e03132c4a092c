//! The bill of materials, CycloneDX 1.6: everything that is linked into the image.
//!
//! 1. Rust crates are those that cargo's resolved graph reaches from `init` and `collector` by normal dependencies for the
//!    box's target, whether linked or generating code while compiling.
//! 2. C parts are named by their Debian source or package version.
//!
//! Source: CycloneDX 1.6 JSON reference.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::step;

const ROOTS: [&str; 2] = ["init", "collector"];

/// Why there is no bill of materials.
#[derive(Debug)]
pub enum Error {
    /// cargo cannot tell the graph.
    Metadata(step::Error),
    /// cargo's answer is not as documented.
    Shape { part: &'static str },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Metadata(_) => f.write_str("cargo cannot tell what is linked"),
            Error::Shape { part } => write!(f, "cargo's metadata has no usable {part}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Metadata(cause) => Some(cause),
            Error::Shape { .. } => None,
        }
    }
}

/// A part that is not a Rust crate.
pub struct Part {
    /// Debian package or source package.
    pub name: &'static str,
    /// Its Debian version.
    pub version: String,
    /// SPDX expression of its main licence.
    pub license: &'static str,
    /// What it is in the image.
    pub role: &'static str,
}

/// The bill as JSON text. `version` is the image's.
pub fn build(workspace: &Path, version: &str, parts: &[Part]) -> Result<String, Error> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["metadata", "--format-version=1", "--locked"]);
    command.arg("--filter-platform=x86_64-unknown-linux-gnu");
    let text = step::answer(&mut command).map_err(Error::Metadata)?;
    let metadata: Value = serde_json::from_str(&text).map_err(|_| Error::Shape { part: "JSON" })?;
    let mut components: Vec<Value> = parts.iter().map(debian).collect();
    components.extend(crates(&metadata)?);
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": { "type": "firmware", "name": "collector", "version": version, "bom-ref": "collector" } },
        "components": components,
    });
    serde_json::to_string_pretty(&bill)
        .map(|text| text + "\n")
        .map_err(|_| Error::Shape { part: "text" })
}

fn debian(part: &Part) -> Value {
    let reference = format!(
        "pkg:deb/debian/{}@{}?distro=trixie",
        part.name, part.version
    );
    json!({
        "type": "library", "bom-ref": reference, "name": part.name, "version": part.version, "purl": reference,
        "description": part.role, "licenses": [{ "expression": part.license }],
    })
}

/// Components of the crates reached from the two programs, sorted by name and version.
fn crates(metadata: &Value) -> Result<Vec<Value>, Error> {
    let packages = metadata["packages"]
        .as_array()
        .ok_or(Error::Shape { part: "packages" })?;
    let nodes = metadata["resolve"]["nodes"]
        .as_array()
        .ok_or(Error::Shape {
            part: "resolved graph",
        })?;
    let by_id: BTreeMap<&str, &Value> = packages
        .iter()
        .filter_map(|p| Some((p["id"].as_str()?, p)))
        .collect();
    let edges: BTreeMap<&str, Vec<&str>> = nodes
        .iter()
        .filter_map(|node| Some((node["id"].as_str()?, normal_dependencies(node))))
        .collect();
    let is_root = |package: &Value| {
        let local = package["source"].is_null();
        local
            && package["name"]
                .as_str()
                .is_some_and(|name| ROOTS.contains(&name))
    };
    let mut open: Vec<&str> = by_id
        .iter()
        .filter(|(_, package)| is_root(package))
        .map(|(id, _)| *id)
        .collect();
    if open.len() != ROOTS.len() {
        return Err(Error::Shape {
            part: "packages init and collector",
        });
    }
    let mut reached = BTreeSet::new();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(edges.get(id).into_iter().flatten());
        }
    }
    let mut components: Vec<(String, Value)> = reached
        .into_iter()
        .filter_map(|id| by_id.get(id))
        .map(|package| {
            let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
            let (name, version) = (text("name"), text("version"));
            let reference = format!("pkg:cargo/{name}@{version}");
            // crates write "MIT/Apache-2.0" for what SPDX spells "MIT OR Apache-2.0"
            let license = text("license").replace('/', " OR ");
            let component = json!({
                "type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference,
                "licenses": [{ "expression": license }],
            });
            (reference, component)
        })
        .collect();
    components.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(components
        .into_iter()
        .map(|(_, component)| component)
        .collect())
}

/// Dependencies that end in the program: neither of tests nor of build scripts.
fn normal_dependencies(node: &Value) -> Vec<&str> {
    let is_normal = |kind: &Value| kind["kind"].is_null();
    node["deps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|dependency| {
            dependency["dep_kinds"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(is_normal))
        })
        .filter_map(|dependency| dependency["pkg"].as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_programs_reach_is_listed() {
        let package = |name: &str| json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0", "source": null});
        let packages = ["init", "collector", "used", "for-tests", "elsewhere"].map(package);
        let edge = |to: &str, kind: Value| json!({"pkg": to, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": packages,
            "resolve": {"nodes": [
                {"id": "init", "deps": [edge("used", Value::Null), edge("for-tests", json!("dev"))]},
                {"id": "collector", "deps": []}, {"id": "used", "deps": []},
            ]},
        });
        let found = crates(&metadata).unwrap();
        let names: Vec<&str> = found
            .iter()
            .filter_map(|component| component["name"].as_str())
            .collect();
        assert_eq!(names, ["collector", "init", "used"]);
        assert_eq!(found[0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
    }
}
