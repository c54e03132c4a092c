//! What `init` publishes for `console` and `intake`: roles and mounts, no secrets.

use crate::shares::Shares;
use crate::supervise::Supervisor;
use serde_json::{Value, json};
use std::path::Path;

const FOLDER: &str = "/run/status/init";

pub fn document(supervisor: &Supervisor, shares: &Shares) -> Value {
    let roles: Vec<Value> = supervisor
        .glance()
        .map(|role| {
            json!({"name": role.name, "state": role.state, "pid": role.pid, "failures": role.failures, "status": role.status})
        })
        .collect();
    let mounts: Vec<Value> = shares
        .glance()
        .map(|share| json!({"name": share.name, "mounted": share.mounted, "reason": share.reason}))
        .collect();
    json!({"commissioned": supervisor.commissioned(), "roles": roles, "mounts": mounts})
}

/// Written beside and renamed, so that a reader sees a whole one.
pub fn publish(document: &str) -> std::io::Result<()> {
    let folder = Path::new(FOLDER);
    let fresh = folder.join("status.json.new");
    std::fs::write(&fresh, document)?;
    std::fs::rename(&fresh, folder.join("status.json"))
}

/// `MemTotal` and `MemAvailable` in KiB.
pub fn memory(meminfo: &str) -> (u64, u64) {
    let value = |key: &str| {
        let line = meminfo
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok())
            .unwrap_or(0)
    };
    (value("MemTotal"), value("MemAvailable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_kib() {
        let text =
            "MemTotal:         495364 kB\nMemFree:          1 kB\nMemAvailable:     400000 kB\n";
        assert_eq!(memory(text), (495_364, 400_000));
    }

    #[test]
    fn the_status_names_roles_and_mounts_and_no_password() {
        let supervisor = Supervisor::new(crate::roles::ROLES);
        let shares = Shares::new(
            0,
            crate::example::plan()
                .mounts
                .into_iter()
                .map(|mount| mount.name),
        );
        let document = document(&supervisor, &shares).to_string();
        assert!(document.contains("\"intake\"") && document.contains("\"data\""));
        assert!(!document.contains("secret"));
    }
}
