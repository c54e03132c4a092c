//! Everywhere at once: cut at any length, flipped at any bit. The ways to be wrong one by one are in `vectors`.

use super::*;

#[test]
fn every_truncation_is_refused() {
    let bytes = small_bundle();
    for length in 0..bytes.len() {
        assert!(
            matches!(
                open(&bytes[..length]),
                Err(OpenError::Envelope(EnvelopeError::Form(_)))
            ),
            "{length}"
        );
    }
    let longer = [&bytes[..], b"\0"].concat();
    assert!(matches!(
        open(&longer),
        Err(OpenError::Envelope(EnvelopeError::Form(_)))
    ));
}

#[test]
fn a_flipped_bit_in_any_byte_is_refused() {
    let bytes = small_bundle();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(open(&flipped).is_err(), "byte {at}");
    }
}
