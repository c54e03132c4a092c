//! A box that is not ours any more: whoever has its signing key can sign any manifest and put any contents behind it.
//!
//! The bytes are a manifest, a NUL, and contents with NULs between. In the manifest `"@"` stands for the digest of the
//! next content and `@` for its size, since a fuzzer finds no SHA-256. The signature over the result is made here.
//!
//! 1. What is verified is exactly what the manifest says, with paths below their root ([`crate::inside::check`]).
//! 2. Every refusal is words on one line.

use crate::{Verdict, inside, keys, message};
use bundle::signed::{Placement, sign};
use bundle::{Digest, UnverifiedContent};

pub fn bundle_rogue(bytes: &[u8]) -> Verdict {
    let inside = stream(bytes);
    let verified = UnverifiedContent::decompress(&inside, Digest::of(bytes))
        .and_then(|content| content.verify(keys::trust(), &keys::bundle_name(1)));
    match verified {
        Ok(bundle) => inside::check(&bundle),
        Err(error) => message::refused(&error),
    }
}

/// The signed archive in zstd, as an envelope holds it.
pub fn stream(bytes: &[u8]) -> Vec<u8> {
    inside::uncompressed(&archive(bytes))
}

/// The signed archive.
pub fn archive(bytes: &[u8]) -> Vec<u8> {
    let mut parts = bytes.split(|&byte| byte == 0);
    let template = parts.next().unwrap_or_default();
    let contents: Vec<&[u8]> = parts.collect();
    let manifest = fill(template, &contents);
    let signature = sign(
        &manifest,
        Placement::Detached,
        keys::signer_certificate(),
        keys::signer(),
    )
    .expect("a signature");
    let mut archive = Vec::new();
    entry(&mut archive, "manifest.json", &manifest);
    entry(&mut archive, "manifest.p7s", &signature);
    for (number, content) in (1..).zip(contents) {
        entry(&mut archive, &format!("content/{number:06}"), content);
    }
    archive.extend([0; 1024]);
    archive
}

pub fn fill(template: &[u8], contents: &[&[u8]]) -> Vec<u8> {
    let (mut digests, mut sizes) = (contents.iter(), contents.iter());
    let mut manifest = Vec::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.iter().position(|&byte| byte == b'@') {
        let quoted = rest[..at].ends_with(b"\"") && rest[at + 1..].starts_with(b"\"");
        manifest.extend(&rest[..at]);
        let next = if quoted {
            digests
                .next()
                .map(|content| Digest::of(content).to_string())
        } else {
            sizes.next().map(|content| content.len().to_string())
        };
        manifest.extend(next.unwrap_or_default().as_bytes());
        rest = &rest[at + 1..];
    }
    manifest.extend(rest);
    manifest
}

/// A regular file in ustar, as the format wants it.
pub fn entry(archive: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000600\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend(header);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}
