//! Stops the build where the role table and the policies in `hardening/roles/` say different things.

#[path = "src/policy.rs"]
mod policy;
#[path = "src/roles.rs"]
#[expect(dead_code, reason = "the build needs only the table")]
mod roles;

fn main() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hardening/roles");
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=src/roles.rs");
    println!("cargo::rerun-if-changed=src/policy.rs");
    for fault in policy::disagreements(&folder) {
        println!("cargo::error={fault}");
    }
}
