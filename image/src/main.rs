//! `cargo xtask`: builds the appliance, tests it, measures it, shows it.
//!
//! 1. Each subcommand is one module; this file only reads the command line.
//! 2. A failure is printed with its whole chain of causes, and the exit status is 1; a wrong command line is 2.

mod cache;
mod charon;
mod cpio;
mod digest;
mod disk;
mod efi;
mod elf;
mod host;
mod image;
mod kernel;
mod machine;
mod root;
mod rootfs;
mod sbom;
mod step;
mod tools;
mod userland;

fn main() {
    let cache = cache::Cache::open().unwrap();
    if std::env::args().nth(1).as_deref() == Some("machine") {
        println!(
            "{}",
            machine::Machine::ensure(&cache)
                .unwrap()
                .programs()
                .display()
        );
        return;
    }
    if let Err(error) = image::build(&cache) {
        let mut error: Option<&dyn std::error::Error> = Some(&error);
        while let Some(e) = error {
            eprintln!("{e}");
            error = e.source();
        }
    }
}
