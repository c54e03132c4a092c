//! What an envelope held, as anybody can send it who has the recipient's certificate: zstd, tar, manifest, signature.
//!
//! The first byte says whether the rest is compressed already, or is put into zstd's uncompressed blocks first, so that
//! the fuzzer need not write a checksum of its own to reach the archive.
//!
//! 1. Only an archive that was signed by a box is ever verified; and then every content is what its entry says.
//! 2. Every refusal is words on one line.

use crate::{Verdict, keys, message};
use bundle::{Digest, UnverifiedContent, VerifiedBundle};

/// First byte: the rest is a compressed stream.
pub const COMPRESSED: u8 = b'z';

/// Bytes of one zstd block that need no larger window.
const BLOCK_BYTES: usize = 128 << 10;

pub fn bundle_inside(bytes: &[u8]) -> Verdict {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let opened = if kind == COMPRESSED {
        UnverifiedContent::decompress(rest, Digest::of(bytes))
    } else {
        UnverifiedContent::decompress(&uncompressed(rest), Digest::of(bytes))
    };
    let verified = opened.and_then(|content| content.verify(keys::trust(), &keys::bundle_name(1)));
    match verified {
        Ok(bundle) => check(&bundle),
        Err(error) => message::refused(&error),
    }
}

/// Checks that a verified bundle is what its manifest says.
pub fn check(bundle: &VerifiedBundle) -> Verdict {
    let mut entries = 0;
    for (named, content) in bundle.entries() {
        entries += 1;
        bundle::path::check(&named.path).expect("a path below its root");
        assert!(named.source < bundle.manifest().sources.len());
        match named.facts() {
            Some(facts) => {
                assert_eq!(facts.size, content.len() as u64);
                assert_eq!(facts.sha256, Digest::of(content));
            }
            None => assert!(content.is_empty()),
        }
    }
    assert_eq!(entries, bundle.manifest().entries.len());
    Verdict::Accepted
}

/// A zstd frame of raw blocks (RFC 8878 section 3.1.1).
pub fn uncompressed(bytes: &[u8]) -> Vec<u8> {
    // magic number; no checksum, no size, no dictionary; a window of 128 KiB
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    let mut blocks = bytes.chunks(BLOCK_BYTES).peekable();
    if blocks.peek().is_none() {
        frame.extend([1, 0, 0]);
    }
    while let Some(block) = blocks.next() {
        let last = u32::from(blocks.peek().is_none());
        let header = (block.len() as u32) << 3 | last;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}
