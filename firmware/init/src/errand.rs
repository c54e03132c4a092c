//! What PID 1 has done by processes of its own, because it may block or changes namespaces.
//!
//! An errand tells its end by its exit status: 0 is well, an error number of the kernel is that error, and
//! [`FAULT`] anything else, about which it has printed a line.

use crate::shares::{Failure, FailureKind};
use crate::supervise::Ending;
use crate::{enter, log, network, roles, share_options};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use sys::mounts;

/// Above every error number of the kernel.
pub const FAULT: u8 = 200;

/// Starts an errand; the caller reaps it.
pub fn start(words: &[&str]) -> std::io::Result<Child> {
    Command::new("/init")
        .args(words)
        .env_clear()
        .stdin(Stdio::null())
        .spawn()
}

/// The errand itself.
pub fn run(words: &[&str]) -> ExitCode {
    // PID 1 reads its signals from a descriptor and blocks them; a role gets them as usual
    if let Err(errno) = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None) {
        log::line(&format!("cannot unblock signals: {errno}"));
        return ExitCode::from(FAULT);
    }
    match words {
        ["enter", role] => {
            if *role == "maintenance" {
                // here and not in PID 1: a drive may take many seconds to tell whether it holds a disc
                crate::disc::insert();
            }
            let error = enter::enter(role);
            log::line(&format!("role {role}: {}", log::chain(&error)));
            ExitCode::from(FAULT)
        }
        ["tunnel-namespace"] => said(network::keep_tunnel_namespace().map_err(|error| vec![error])),
        ["network"] => said(network::establish()),
        ["mount", name] => mount(name),
        ["look", name] => look(name),
        _ => {
            eprintln!("init runs as process 1 and takes no arguments");
            ExitCode::from(2)
        }
    }
}

fn said<E: std::error::Error>(result: Result<(), Vec<E>>) -> ExitCode {
    let faults = result.err().unwrap_or_default();
    for fault in &faults {
        log::error(fault);
    }
    if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAULT)
    }
}

fn mount(name: &str) -> ExitCode {
    let plan = match network::plan() {
        Ok(plan) => plan,
        Err(error) => return said(Err(vec![error])),
    };
    let Some(mount) = plan.mounts.iter().find(|mount| mount.name == name) else {
        log::line(&format!("mount {name}: not in the plan"));
        return ExitCode::from(FAULT);
    };
    let request = share_options::request(mount, roles::INTAKE);
    // it is there from the last time
    let _ = std::fs::create_dir(&request.target);
    let restrictions = share_options::RESTRICTIONS;
    match mounts::mount(
        request.kind,
        &request.source,
        &request.target,
        &request.options,
        restrictions,
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // what the file system says beside the number matters where the number says nothing: an option is wrong
            if error.errno == rustix::io::Errno::INVAL {
                log::line(&format!("mount {name}: {error}"));
            }
            status(error.errno)
        }
    }
}

/// Asks the server for the file system's state, which no client answers from memory.
fn look(name: &str) -> ExitCode {
    match rustix::fs::statfs(Path::new("/mnt").join(name).as_path()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(errno) => status(errno),
    }
}

fn status(errno: rustix::io::Errno) -> ExitCode {
    ExitCode::from(u8::try_from(errno.raw_os_error()).unwrap_or(FAULT))
}

/// What an errand's exit status says, or `None` when it went well.
pub fn failure(ending: Ending) -> Option<Failure> {
    let (kind, reason) = match ending {
        Ending::Status(0) => return None,
        Ending::Status(status) if status < i32::from(FAULT) => {
            let kind = if share_options::is_denied(status) {
                FailureKind::Denied
            } else {
                FailureKind::Other
            };
            (kind, share_options::explain(status))
        }
        Ending::Status(_) => (FailureKind::Other, "see the line before".to_owned()),
        Ending::Signal(_) => (
            FailureKind::Other,
            "the server does not answer; the attempt was given up".to_owned(),
        ),
    };
    Some(Failure { kind, reason })
}
