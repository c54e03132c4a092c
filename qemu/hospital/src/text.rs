//! The two encodings of Japanese text in hospital data: ISO-2022-JP in HL7 messages, CP932 in DPC and receipt files.
//!
//! Invariant: every text that this crate writes is in JIS X 0208, so that nothing is replaced (held by the tests of
//! the word lists). Sources: encoding standard (WHATWG) as implemented by `encoding_rs`.

use encoding_rs::{ISO_2022_JP, SHIFT_JIS};

/// ASCII and JIS X 0208 with escape sequences; begins and ends in ASCII.
pub(crate) fn iso_2022_jp(text: &str, into: &mut Vec<u8>) {
    let (bytes, _, replaced) = ISO_2022_JP.encode(text);
    debug_assert!(!replaced, "not in JIS X 0208: {text}");
    into.extend_from_slice(&bytes);
}

/// Windows' Shift_JIS (code page 932).
pub(crate) fn cp932(text: &str, into: &mut Vec<u8>) {
    let (bytes, _, replaced) = SHIFT_JIS.encode(text);
    debug_assert!(!replaced, "not in CP932: {text}");
    into.extend_from_slice(&bytes);
}
