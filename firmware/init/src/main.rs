//! `/init`: PID 1 without an argument, an errand of PID 1 with one.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if std::process::id() == 1 {
        // whatever the kernel passes on from its command line is not meant for us
        init::machine::run()
    }
    init::errand::run(&words)
}
