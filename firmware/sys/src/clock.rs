//! The system clock, moved gently.
//!
//! Source: adjtimex(2), `ADJ_OFFSET_SINGLESHOT`: like adjtime(3), the kernel speeds the clock up or slows it down by at
//! most 500 parts in a million until the offset is worn off.

/// Starts to wear off an offset of the clock; a slew that is under way is replaced. Needs CAP_SYS_TIME.
pub fn slew(offset: std::time::Duration, direction: Direction) -> std::io::Result<()> {
    let micros = i64::try_from(offset.as_micros()).unwrap_or(i64::MAX);
    // SAFETY: `timex` is a C structure of integers, for all of which zero is a value.
    let mut request: libc::timex = unsafe { std::mem::zeroed() };
    request.modes = libc::ADJ_OFFSET_SINGLESHOT;
    request.offset = match direction {
        Direction::Forward => micros,
        Direction::Backward => -micros,
    };
    // SAFETY: `request` is a whole `timex` that lives over the call.
    let state = unsafe { libc::adjtimex(&raw mut request) };
    if state < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Which way the clock is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The clock is behind.
    Forward,
    /// The clock is ahead.
    Backward,
}
