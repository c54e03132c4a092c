//! `datacentre COMMAND`: the data centre's programs, for use natively and in the lab.

use std::ffi::OsString;
use std::process::ExitCode;

type Command = fn(std::env::ArgsOs) -> ExitCode;

/// Command by name, with what it does.
const COMMANDS: &[(&str, &str, Command)] = &[
    ("ca", "makes the lab's certificates and keys", |arguments| {
        datacentre::ca::main(arguments)
    }),
    (
        "load",
        "measures a receiver under the load of many boxes",
        |arguments| datacentre::load::main(arguments),
    ),
    (
        "open",
        "opens bundles and restores the hospital's store",
        |arguments| datacentre::open::main(arguments),
    ),
    (
        "receive",
        "receives sealed bundles and gives receipts for them",
        |arguments| datacentre::receive::main(arguments),
    ),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    arguments.next();
    let word = arguments
        .next()
        .and_then(|word: OsString| word.into_string().ok());
    match COMMANDS
        .iter()
        .find(|(name, ..)| Some(*name) == word.as_deref())
    {
        Some((_, _, command)) => command(arguments),
        None => usage(word.as_deref()),
    }
}

fn usage(word: Option<&str>) -> ExitCode {
    let asked = matches!(word, Some("--help" | "-h" | "help"));
    let mut text = "usage: datacentre COMMAND [OPTION]...; each command has --help\n\n".to_owned();
    for (name, what, _) in COMMANDS {
        text.push_str(&format!("  {name:<9}{what}\n"));
    }
    if asked {
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    eprint!("{text}");
    ExitCode::from(2)
}
