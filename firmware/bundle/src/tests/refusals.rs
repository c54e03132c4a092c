//! Everywhere at once: cut at any length, flipped at any bit. The ways to be wrong one by one are in `vectors`.
//!
//! `COLLECTOR_TEST_LENGTH=full` flips every bit of the whole bundle, which takes an RSA operation for most of them; else
//! every bit of the head and one bit of each byte of encrypted key, ciphertext and tag are flipped.

use super::*;
use crate::open::UnverifiedContent;

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
fn a_flipped_bit_anywhere_in_a_bundle_is_refused() {
    let full = std::env::var_os("COLLECTOR_TEST_LENGTH").is_some_and(|length| length == "full");
    let bytes = small_bundle();
    // the encrypted key is the one OCTET STRING of 256 bytes
    let key = bytes
        .windows(4)
        .position(|header| header == [4, 0x82, 1, 0])
        .unwrap();
    let key = key + 4..key + 4 + 256;
    let nonce = bytes
        .windows(2)
        .position(|header| header == [4, 12])
        .unwrap();
    let after_nonce = nonce + 2 + 12 + 3 + 4; // length of the tag, header of the ciphertext
    for at in 0..bytes.len() {
        let opaque = key.contains(&at) || at >= after_nonce;
        for bit in 0..8 {
            if full || !opaque || bit == at % 8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(open(&flipped).is_err(), "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_the_archive_is_refused() {
    let bundle = UnverifiedBundle::parse(&small_bundle()).unwrap();
    let archive = bundle.decrypt(&opener()).unwrap().archive().to_vec();
    let verify = |archive: Vec<u8>| {
        UnverifiedContent::of_archive(archive)
            .verify(&trust(), &name(1))
            .map(|_| ())
    };
    verify(archive.clone()).unwrap();
    for at in 0..archive.len() {
        let mut flipped = archive.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(verify(flipped).is_err(), "byte {at}");
    }
}
