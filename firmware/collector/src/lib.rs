//! The box's roles and what they share. The program is `main.rs`; this is a library so that tests can run a role
//! against a temporary folder.

#![forbid(unsafe_code)]

pub mod roles;
pub mod runtime;
pub mod seal;

/// The one role table, the same file as in `init`: here only to know roles by their uid. It depends on nothing.
#[allow(dead_code, reason = "most of a row concerns init alone")]
#[path = "../../init/src/roles.rs"]
mod role_table;
