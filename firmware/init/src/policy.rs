//! A row of the role table in the form of its policy file, and the comparison of both.
//!
//! A policy file is TOML that a reviewer reads without the source; blank lines and comment lines are his own.

use crate::roles::{Access, Capability, Network, ROLES, Readiness, Restart, Role, Start};
use std::collections::BTreeSet;
use std::path::Path;

/// The lines of a role's policy.
pub fn lines(role: &Role) -> Vec<String> {
    let mut lines = vec![
        format!("name = \"{}\"", role.name),
        format!("uid = {}", role.uid),
        format!("program = \"{}\"", role.program),
        format!(
            "network = \"{}\"",
            match role.network {
                Network::Host => "host",
                Network::Tunnel => "tunnel",
                Network::None => "none",
            }
        ),
        list("capabilities", role.capabilities, |capability| {
            quoted(match capability {
                Capability::NetAdmin => "net-admin",
                Capability::NetBindService => "net-bind-service",
                Capability::SysTime => "sys-time",
            })
        }),
        list("groups", role.groups, u32::to_string),
        format!(
            "start = \"{}\"",
            match role.start {
                Start::Always => "always",
                Start::Commissioned => "commissioned",
            }
        ),
        list("after", role.after, |name| quoted(name)),
        match role.readiness {
            Readiness::Notifies => "ready = \"notifies\"".to_owned(),
            Readiness::Makes(path) => format!("ready = \"makes {path}\""),
        },
        format!("watchdog_seconds = {}", role.watchdog_seconds.unwrap_or(0)),
        format!(
            "restart = \"{}\"",
            match role.restart {
                Restart::Always => "always",
                Restart::OnFailure => "on-failure",
            }
        ),
        format!("earliest_ms = {}", role.earliest_ms),
        format!("open_files = {}", role.open_files),
        "[view]".to_owned(),
    ];
    lines.extend(role.view.iter().map(|entry| {
        let access = match entry.access {
            Access::Read => "read".to_owned(),
            Access::ReadIfPresent => "read if present".to_owned(),
            Access::ReadFrom(folder) => format!("read from {folder}"),
            Access::Write => "write".to_owned(),
            Access::Device => "device".to_owned(),
            Access::DeviceIfPresent => "device if present".to_owned(),
        };
        format!("\"{}\" = \"{access}\"", entry.path)
    }));
    lines
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn list<T>(key: &str, values: &[T], form: impl Fn(&T) -> String) -> String {
    format!(
        "{key} = [{}]",
        values.iter().map(form).collect::<Vec<_>>().join(", ")
    )
}

/// What the table and the files in `folder` say differently; empty where they agree.
pub fn disagreements(folder: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expected = BTreeSet::new();
    for role in ROLES {
        let file = format!("{}.toml", role.name);
        match std::fs::read_to_string(folder.join(&file)) {
            Ok(text) => faults.extend(compare(&file, &text, &lines(role))),
            Err(error) => faults.push(format!("hardening/roles/{file}: cannot be read: {error}")),
        }
        expected.insert(file);
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        if !expected.contains(&file) {
            faults.push(format!(
                "hardening/roles/{file}: no role of this name in the role table"
            ));
        }
    }
    faults
}

fn compare(file: &str, text: &str, table: &[String]) -> Vec<String> {
    let stated: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let mut faults = Vec::new();
    for line in &stated {
        if !table.iter().any(|row| row == line) {
            faults.push(format!(
                "hardening/roles/{file}: `{line}` is not in the role table"
            ));
        }
    }
    for row in table {
        if !stated.contains(&row.as_str()) {
            faults.push(format!(
                "hardening/roles/{file}: `{row}` of the role table is missing"
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hardening/roles")
    }

    #[test]
    fn table_and_policy_files_agree() {
        assert_eq!(disagreements(&folder()), Vec::<String>::new());
    }

    #[test]
    fn a_right_in_only_one_of_table_and_file_is_a_fault() {
        let table = ["name = \"a\"".to_owned(), "groups = []".to_owned()];
        assert_eq!(
            compare("a.toml", "# why\nname = \"a\"\n\ngroups = []\n", &table),
            Vec::<String>::new()
        );
        assert_eq!(
            compare("a.toml", "name = \"a\"\ngroups = [103]\n", &table),
            [
                "hardening/roles/a.toml: `groups = [103]` is not in the role table",
                "hardening/roles/a.toml: `groups = []` of the role table is missing",
            ]
        );
    }

    #[test]
    fn no_two_roles_share_a_user_and_none_is_root() {
        let users: BTreeSet<u32> = ROLES.iter().map(|role| role.uid).collect();
        assert_eq!(users.len(), ROLES.len());
        assert!(!users.contains(&0));
    }

    #[test]
    fn only_charon_sees_the_cards_and_only_sender_and_clock_the_tunnel() {
        for role in ROLES {
            let expected = match role.name {
                "charon" => Network::Host,
                "sender" | "clock" => Network::Tunnel,
                _ => Network::None,
            };
            assert_eq!(role.network, expected, "{}", role.name);
        }
    }

    #[test]
    fn who_sees_the_hospital_sees_no_network_and_who_sees_a_network_nothing_of_the_hospital() {
        for role in ROLES {
            let hospital = role
                .view
                .iter()
                .any(|entry| entry.path == "/mnt" && entry.access == Access::Read);
            assert_eq!(hospital, ["intake", "listener"].contains(&role.name));
            assert!(!hospital || role.network == Network::None);
        }
    }

    #[test]
    fn a_role_waits_only_for_roles_that_are_started_before_it() {
        for (place, role) in ROLES.iter().enumerate() {
            for name in role.after {
                assert!(
                    ROLES[..place].iter().any(|other| other.name == *name),
                    "{} after {name}",
                    role.name
                );
            }
        }
    }
}
