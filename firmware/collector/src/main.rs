//! The one program of the box beside `init`: one subcommand for each role, and `seal` for use by hand.
//!
//! A role's name is the same everywhere: subcommand, process title, log tag, policy file, scenario.

#![forbid(unsafe_code)]

use collector::{roles, runtime, seal};
use std::process::ExitCode;

type Run = fn(runtime::Runtime) -> Result<(), Box<dyn std::error::Error>>;

/// Subcommand by role.
const ROLES: &[(&str, Run)] = &[
    ("intake", roles::intake::run),
    ("listener", roles::listener::run),
    ("keyholder", roles::keyholder::run),
    ("sender", roles::sender::run),
    ("tunnel", roles::tunnel::run),
    ("ports", roles::ports::run),
    ("maintenance", roles::maintenance::run),
    ("audit", roles::audit::run),
    ("clock", roles::clock::run),
    ("console", roles::console::run),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(command) = arguments.next().and_then(|word| word.into_string().ok()) else {
        return usage();
    };
    if command == "seal" {
        return seal::main(arguments);
    }
    let Some(&(name, run)) = ROLES.iter().find(|(name, _)| *name == command) else {
        return usage();
    };
    match run(runtime::Runtime::new(name)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            runtime::log(name, &runtime::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    let names: Vec<&str> = ROLES.iter().map(|(name, _)| *name).collect();
    eprintln!("usage: collector ROLE | collector seal --help");
    eprintln!("roles: {}", names.join(", "));
    ExitCode::from(2)
}
