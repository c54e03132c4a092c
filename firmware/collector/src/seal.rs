//! `collector seal`: seals folders natively, by hand.

use std::ffi::OsString;
use std::process::ExitCode;

pub fn main(_arguments: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}
