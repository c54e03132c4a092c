//! The ordered end: processes, shares, state partition, then power.
//!
//! 1. `/state` is unmounted, or at least made read-only, after the last process that could write is gone.
//! 2. Every step is bounded or does not wait; the hardware watchdog stays armed for the one that hangs all the same.

use crate::log;
use nix::sys::signal::{Signal, kill};
use std::path::Path;
use std::time::{Duration, Instant};
use sys::power::{self, End};
use sys::watchdog::Watchdog;
use sys::{mounts, mounts::Restriction};

/// With no usable state partition: long enough to read the message on the screen, short enough that a drive or cable
/// that comes back is noticed without anybody pressing a button. The message is all the box can do until then.
const HOPELESS: Duration = Duration::from_secs(60);
const PET_PERIOD: Duration = Duration::from_secs(5);

/// Ends everything. Does not return.
pub fn finish(how: End, shares: &[String]) -> ! {
    // all that is left; PID 1 itself is not hit
    let _ = kill(nix::unistd::Pid::from_raw(-1), Signal::SIGKILL);
    reap();
    for share in shares {
        // a server that is away must not hold up the end
        let _ = mounts::detach(&Path::new("/mnt").join(share));
    }
    rustix::fs::sync();
    match mounts::unmount(Path::new("/state")) {
        Ok(()) => log::line("the state partition is unmounted"),
        Err(errno) => {
            log::line(&format!(
                "the state partition is still in use ({errno}); made read-only instead"
            ));
            let _ = mounts::restrict(Path::new("/state"), &[Restriction::ReadOnly]);
            let _ = mounts::detach(Path::new("/state"));
        }
    }
    rustix::fs::sync();
    log::line(match how {
        End::PowerOff => "power off",
        End::Restart => "restart",
    });
    end(how)
}

/// After the kill every process ends at once, but for one that waits for a dead server inside the kernel.
fn reap() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(_) => return,
        }
    }
}

/// A fault without which nothing works: says so, waits, and starts again.
pub fn hopeless(error: &dyn std::error::Error, mut watchdog: Option<Watchdog>) -> ! {
    log::error(error);
    log::line(&format!(
        "the box cannot work like this; it starts again in {} s",
        HOPELESS.as_secs()
    ));
    let start = Instant::now();
    while start.elapsed() < HOPELESS {
        if let Some(watchdog) = &mut watchdog {
            let _ = watchdog.pet();
        }
        std::thread::sleep(PET_PERIOD);
    }
    rustix::fs::sync();
    end(End::Restart)
}

fn end(how: End) -> ! {
    loop {
        if let Err(error) = power::end(how) {
            log::line(&format!("the kernel does not end: {error}"));
        }
        std::thread::sleep(PET_PERIOD);
    }
}
