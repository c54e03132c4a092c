//! PID 1 of the box: mounts, role table, supervision, readiness and watchdog, ordered end.
//!
//! 1. Deciding (`supervise`, `shares`, `firewall`, `share_options`, `state_disk::choose`) is apart from doing.
//! 2. PID 1 has one thread, holds no key, and never waits for a role or a server. What may block, or what handles
//!    namespaces, is an errand: this program run again with a word as its argument, as a process of its own.
//! 3. The only outside input is the plan that `maintenance` wrote and the answers of the kernel.

#![forbid(unsafe_code)]

pub mod boot;
pub mod disc;
pub mod enter;
pub mod errand;
#[cfg(test)]
mod example;
pub mod firewall;
pub mod folders;
pub mod log;
pub mod machine;
pub mod network;
pub mod notify;
pub mod policy;
pub mod roles;
pub mod share_options;
pub mod shares;
pub mod state_disk;
pub mod status;
pub mod stop;
pub mod supervise;
