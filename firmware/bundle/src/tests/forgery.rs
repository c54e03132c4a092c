//! Bundles made by hand, with any one thing in them wrong.

use super::*;
use crate::archive::HeaderMaker;
use crate::envelope;
use crate::signed::{self, Placement};

/// Name and content of the archive's entries after manifest and signature.
pub type Members = Vec<(Vec<u8>, Vec<u8>)>;

/// A bundle made by hand, so that any one thing in it can be wrong.
pub struct Forgery {
    pub manifest: String,
    pub members: Members,
    pub signer: &'static Pair,
    pub placement: Placement,
    /// Edits of the archive and of the compressed stream.
    pub edit: fn(&mut Vec<u8>),
    pub compress: fn(&[u8]) -> Vec<u8>,
}

const PLAIN: fn(&mut Vec<u8>) = |_| {};

pub fn one_frame(archive: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(archive, 1).unwrap()
}

/// A bundle of two contents that is right.
pub fn right() -> Forgery {
    let entry = |n: u32, path: &str, content: &[u8]| {
        let (size, digest) = (content.len(), Digest::of(content));
        format!(
            "{{\"event\":\"added\",\"source\":\"dpc\",\"path\":\"{path}\",\"content\":{n},\"size\":{size},\"sha256\":\"{digest}\"}}"
        )
    };
    let entries = format!("{},{}", entry(1, "a", b"one"), entry(2, "b", b"two"));
    Forgery {
        manifest: format!(
            "{{\"format\":\"collector-bundle-1\",\"box\":\"box-1\",\"sequence\":1,\"previous\":null,\
             \"time\":\"2026-11-22T00:00:00Z\",\"sources\":[{{\"name\":\"dpc\",\"kind\":\"dpc\"}}],\"entries\":[{entries}]}}"
        ),
        members: vec![
            (b"content/000001".to_vec(), b"one".to_vec()),
            (b"content/000002".to_vec(), b"two".to_vec()),
        ],
        signer: &keys().signer,
        placement: Placement::Detached,
        edit: PLAIN,
        compress: one_frame,
    }
}

impl Forgery {
    pub fn bytes(&self) -> Vec<u8> {
        let certificate = signed::certificate_from_pem(&self.signer.certificate).unwrap();
        let signer = LocalSigner::from_pem(&self.signer.key).unwrap();
        let signature = signed::sign(
            self.manifest.as_bytes(),
            self.placement,
            &certificate,
            &signer,
        )
        .unwrap();
        let mut members = vec![
            (
                b"manifest.json".to_vec(),
                self.manifest.clone().into_bytes(),
            ),
            (b"manifest.p7s".to_vec(), signature),
        ];
        members.extend(self.members.iter().cloned());
        let mut archive = Vec::new();
        for (name, content) in members {
            archive.extend(HeaderMaker::new().make(&name, content.len() as u64));
            archive.extend(&content);
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
        archive.extend([0; 1024]);
        (self.edit)(&mut archive);
        seal(&(self.compress)(&archive))
    }

    pub fn refusal(&self) -> OpenError {
        open(&self.bytes()).map(|_| ()).unwrap_err()
    }

    pub fn with_manifest(self, from: &str, to: &str) -> Self {
        assert!(self.manifest.contains(from), "{from}");
        Self {
            manifest: self.manifest.replacen(from, to, 1),
            ..self
        }
    }
}

fn seal(compressed: &[u8]) -> Vec<u8> {
    let recipient = Recipient::from_pem(&keys().recipient.certificate).unwrap();
    envelope::seal(&[recipient], &[compressed]).unwrap()
}

/// Sets a field of the n-th header (0 is the manifest's) and its checksum. Contents are shorter than a block, except
/// for the manifest and signature, so headers are found by their magic.
pub fn patch(archive: &mut [u8], nth: usize, at: usize, bytes: &[u8]) {
    let headers: Vec<usize> = (0..archive.len())
        .step_by(512)
        .filter(|&start| &archive[start + 257..start + 262] == b"ustar")
        .collect();
    let header = &mut archive[headers[nth]..headers[nth] + 512];
    header[at..at + bytes.len()].copy_from_slice(bytes);
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
