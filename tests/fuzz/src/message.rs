//! What every refusal must be: words for a log, bounded, on one line.
//!
//! A message that a stranger's bytes can break into lines writes lines of its own into the log.

use crate::Verdict;
use std::error::Error;

/// Longest chain of messages of one refusal, in bytes. A name in a certificate may be quoted, a whole input may not.
const LONGEST_BYTES: usize = 64 << 10;

/// Checks the refusal of an input, with all its causes.
pub fn refused(error: &dyn Error) -> Verdict {
    check(error);
    Verdict::Refused
}

/// Checks a refusal and all its causes.
pub fn check(error: &dyn Error) {
    let mut bytes = 0;
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        check_text(&text);
        bytes += text.len();
        next = error.source();
    }
    assert!(bytes <= LONGEST_BYTES, "a refusal of {bytes} bytes");
}

pub fn check_text(text: &str) {
    assert!(!text.is_empty(), "a refusal without words");
    assert!(
        !text.chars().any(char::is_control),
        "a control character in {text:?}"
    );
}

/// Checks a name from a certificate, as it stands in messages.
pub fn check_subject(text: &str) {
    assert!(
        !text.chars().any(char::is_control),
        "a control character in {text:?}"
    );
}
