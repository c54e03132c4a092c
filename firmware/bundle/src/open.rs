//! Opening, in three steps with a type each: the shell is parsed, then decrypted, then everything inside is checked.
//!
//! Content can be had from [`VerifiedBundle`] only. All of it stays in memory until then: nothing unverified is written.

use crate::archive::{MANIFEST_NAME, Reader, SIGNATURE_NAME, content_name};
use crate::chain::{Trust, names_box};
use crate::digest::Digest;
use crate::envelope::{self, EnvelopeError, Shell};
use crate::limits::{
    ARCHIVE_LIMIT_BYTES, MANIFEST_LIMIT_BYTES, SIGNATURE_LIMIT_BYTES, WINDOW_LOG_LIMIT,
};
use crate::manifest::{Manifest, ManifestError, Named};
use crate::name::{BoxName, BundleName};
use crate::recipient::issuer_and_serial;
use crate::signed::{self, SignedError, UnverifiedSigned};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use der::Encode;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use zstd::zstd_safe;

pub use crate::archive::ArchiveError;

/// Why a bundle is refused.
#[derive(Debug)]
pub enum OpenError {
    Envelope(EnvelopeError),
    Compression(io::Error),
    /// A frame that is none of zstd's data frames.
    Frame,
    /// Decompressed, it is larger than any bundle can be.
    Bomb,
    Archive(ArchiveError),
    ManifestSize(usize),
    SignatureSize(usize),
    Manifest(ManifestError),
    Signature(SignedError),
    /// The signer's certificate is another box's.
    WrongBox(BoxName),
    /// The file's name and the manifest differ.
    WrongName {
        expected: BundleName,
        found: BundleName,
    },
    /// The manifest's `previous` is not the digest of the bundle before it.
    WrongPrevious {
        sequence: u64,
    },
    ContentSize {
        entry: usize,
        named: u64,
        found: u64,
    },
    ContentDigest {
        entry: usize,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope(_) => write!(f, "the envelope is refused"),
            Self::Compression(_) => write!(
                f,
                "the content is not whole zstd frames with windows of at most 8 MiB"
            ),
            Self::Frame => write!(f, "the content holds something that is no zstd frame"),
            Self::Bomb => write!(
                f,
                "the content is larger than {ARCHIVE_LIMIT_BYTES} bytes when decompressed"
            ),
            Self::Archive(_) => write!(f, "the archive is refused"),
            Self::ManifestSize(bytes) => {
                write!(
                    f,
                    "the manifest has {bytes} bytes, at most {MANIFEST_LIMIT_BYTES} are allowed"
                )
            }
            Self::SignatureSize(bytes) => {
                write!(
                    f,
                    "the signature has {bytes} bytes, at most {SIGNATURE_LIMIT_BYTES} are allowed"
                )
            }
            Self::Manifest(_) => write!(f, "the manifest is refused"),
            Self::Signature(_) => write!(f, "the manifest's signature is refused"),
            Self::WrongBox(name) => write!(
                f,
                "the manifest is of box {name}, but the signer's certificate is not"
            ),
            Self::WrongName { expected, found } => {
                write!(
                    f,
                    "the file is named {expected}, but the manifest inside is of {found}"
                )
            }
            Self::WrongPrevious { sequence: 1 } => {
                write!(f, "it names a previous bundle, but there is none")
            }
            Self::WrongPrevious { sequence } => write!(
                f,
                "it does not follow the bundle with number {} that was applied",
                sequence - 1
            ),
            Self::ContentSize {
                entry,
                named,
                found,
            } => {
                write!(
                    f,
                    "entry {entry}: the manifest names {named} bytes, the archive has {found}"
                )
            }
            Self::ContentDigest { entry } => write!(
                f,
                "entry {entry}: the content's digest is not the manifest's"
            ),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Envelope(source) => Some(source),
            Self::Compression(source) => Some(source),
            Self::Archive(source) => Some(source),
            Self::Manifest(source) => Some(source),
            Self::Signature(source) => Some(source),
            _ => None,
        }
    }
}

/// The recipient's certificate and private key: only on the decryption server.
pub struct Opener {
    identifier: Vec<u8>,
    key: OaepPrivateDecryptingKey,
}

/// Certificate or key of the recipient cannot be used.
#[derive(Debug)]
pub enum OpenerError {
    Certificate(SignedError),
    Encode(der::Error),
    Pem(rustls_pki_types::pem::Error),
    Key(aws_lc_rs::error::KeyRejected),
    KeyKind(aws_lc_rs::error::Unspecified),
    NotAPair,
}

impl fmt::Display for OpenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(_) | Self::Encode(_) => {
                write!(f, "the recipient's certificate cannot be used")
            }
            Self::Pem(_) => write!(
                f,
                "the recipient's key is not a PEM file with a PRIVATE KEY section (PKCS #8)"
            ),
            Self::Key(_) | Self::KeyKind(_) => write!(
                f,
                "the recipient's key is not an RSA key of 2048 to 8192 bits"
            ),
            Self::NotAPair => write!(
                f,
                "the recipient's key is not that of the recipient's certificate"
            ),
        }
    }
}

impl Error for OpenerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Certificate(source) => Some(source),
            Self::Encode(source) => Some(source),
            Self::Pem(source) => Some(source),
            Self::Key(source) => Some(source),
            Self::KeyKind(source) => Some(source),
            Self::NotAPair => None,
        }
    }
}

impl Opener {
    /// Takes a certificate and its PKCS #8 RSA key, both PEM.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, OpenerError> {
        let certificate =
            signed::certificate_from_pem(certificate).map_err(OpenerError::Certificate)?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(key).map_err(OpenerError::Pem)?;
        let key =
            PrivateDecryptingKey::from_pkcs8(der.secret_pkcs8_der()).map_err(OpenerError::Key)?;
        let spki = certificate
            .tbs_certificate()
            .subject_public_key_info()
            .to_der()
            .map_err(OpenerError::Encode)?;
        let public: PublicKeyX509Der<'_> =
            key.public_key().as_der().map_err(OpenerError::KeyKind)?;
        if public.as_ref() != spki {
            return Err(OpenerError::NotAPair);
        }
        Ok(Self {
            identifier: issuer_and_serial(&certificate).map_err(OpenerError::Encode)?,
            key: OaepPrivateDecryptingKey::new(key).map_err(OpenerError::KeyKind)?,
        })
    }
}

/// A bundle of the right outer form. Nothing in it is trusted.
pub struct UnverifiedBundle {
    shell: Shell,
    sha256: Digest,
}

impl UnverifiedBundle {
    pub fn parse(bytes: &[u8]) -> Result<Self, OpenError> {
        let shell = envelope::parse(bytes).map_err(OpenError::Envelope)?;
        Ok(Self {
            shell,
            sha256: Digest::of(bytes),
        })
    }

    /// Decrypts and decompresses within bounds. The tag has been checked, but anyone can encrypt to a recipient: the
    /// content is still a stranger's.
    pub fn decrypt(self, opener: &Opener) -> Result<UnverifiedContent, OpenError> {
        let info = self
            .shell
            .recipient(&opener.identifier)
            .map_err(OpenError::Envelope)?;
        let mut buffer = vec![0; opener.key.min_output_size()];
        let key = opener
            .key
            .decrypt(
                &OAEP_SHA256_MGF1SHA256,
                info.enc_key.as_bytes(),
                &mut buffer,
                None,
            )
            .map_err(|_| OpenError::Envelope(EnvelopeError::ContentKey))?;
        let compressed = self.shell.decrypt(key).map_err(OpenError::Envelope)?;
        UnverifiedContent::decompress(&compressed, self.sha256)
    }
}

fn decompress(compressed: &[u8]) -> Result<Vec<u8>, OpenError> {
    // Skippable frames would carry bytes that no manifest names.
    let mut rest = compressed;
    while !rest.is_empty() {
        if !rest.starts_with(&zstd_safe::MAGICNUMBER.to_le_bytes()) {
            return Err(OpenError::Frame);
        }
        let length = zstd_safe::find_frame_compressed_size(rest).map_err(|code| {
            OpenError::Compression(io::Error::other(zstd_safe::get_error_name(code)))
        })?;
        rest = rest.get(length..).ok_or(OpenError::Frame)?;
    }
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(compressed).map_err(OpenError::Compression)?;
    decoder
        .window_log_max(WINDOW_LOG_LIMIT)
        .map_err(OpenError::Compression)?;
    let mut archive = Vec::with_capacity((compressed.len() * 4).min(ARCHIVE_LIMIT_BYTES));
    decoder
        .take(ARCHIVE_LIMIT_BYTES as u64 + 1)
        .read_to_end(&mut archive)
        .map_err(OpenError::Compression)?;
    if archive.len() > ARCHIVE_LIMIT_BYTES {
        Err(OpenError::Bomb)
    } else {
        Ok(archive)
    }
}

/// What was inside, unverified: it gives out nothing.
pub struct UnverifiedContent {
    archive: Vec<u8>,
    sha256: Digest,
}

impl UnverifiedContent {
    /// Takes what an envelope held, decrypted, and decompresses it within bounds; `sha256` is of the bundle's file.
    pub fn decompress(compressed: &[u8], sha256: Digest) -> Result<Self, OpenError> {
        Ok(Self {
            archive: decompress(compressed)?,
            sha256,
        })
    }

    #[cfg(test)]
    pub(crate) fn of_archive(archive: Vec<u8>) -> Self {
        let sha256 = Digest::of(b"");
        Self { archive, sha256 }
    }

    #[cfg(test)]
    pub(crate) fn archive(&self) -> &[u8] {
        &self.archive
    }

    #[cfg(test)]
    pub(crate) fn manifest_bytes(&self) -> Result<&[u8], ArchiveError> {
        Reader::new(&self.archive)
            .expect(MANIFEST_NAME)
            .map(|range| &self.archive[range])
    }

    /// Checks everything: signer, manifest, archive, sizes, digests, and the name under which the bundle was found.
    pub fn verify(self, trust: &Trust, expected: &BundleName) -> Result<VerifiedBundle, OpenError> {
        let mut reader = Reader::new(&self.archive);
        let json = reader.expect(MANIFEST_NAME).map_err(OpenError::Archive)?;
        let signature = reader.expect(SIGNATURE_NAME).map_err(OpenError::Archive)?;
        if json.len() > MANIFEST_LIMIT_BYTES {
            return Err(OpenError::ManifestSize(json.len()));
        }
        if signature.len() > SIGNATURE_LIMIT_BYTES {
            return Err(OpenError::SignatureSize(signature.len()));
        }
        let json = &self.archive[json];
        let signed =
            UnverifiedSigned::parse(&self.archive[signature]).map_err(OpenError::Signature)?;
        let certificate = signed.signer_certificate();
        signed
            .verify_detached(json, certificate)
            .map_err(OpenError::Signature)?;
        // The time at which the certificate must be valid is in the manifest, which is the signer's own word: a signer
        // can date back within its validity only, and revocation is what ends it earlier.
        let manifest = Manifest::parse(json).map_err(OpenError::Manifest)?;
        trust
            .check(certificate, manifest.time)
            .map_err(OpenError::Signature)?;
        if !names_box(certificate, manifest.name.box_name()) {
            return Err(OpenError::WrongBox(manifest.name.box_name().clone()));
        }
        if manifest.name != *expected {
            return Err(OpenError::WrongName {
                expected: expected.clone(),
                found: manifest.name,
            });
        }
        let contents = check_contents(&self.archive, reader, &manifest)?;
        Ok(VerifiedBundle {
            archive: self.archive,
            manifest,
            contents,
            sha256: self.sha256,
        })
    }
}

fn check_contents(
    archive: &[u8],
    mut reader: Reader<'_>,
    manifest: &Manifest,
) -> Result<Vec<Range<usize>>, OpenError> {
    let mut contents = Vec::with_capacity(manifest.entries.len());
    let mut number = 0;
    for (entry, named) in (1..).zip(&manifest.entries) {
        let Some(facts) = named.facts() else {
            contents.push(0..0);
            continue;
        };
        number += 1;
        let range = reader
            .expect(content_name(number).as_bytes())
            .map_err(OpenError::Archive)?;
        if range.len() as u64 != facts.size {
            return Err(OpenError::ContentSize {
                entry,
                named: facts.size,
                found: range.len() as u64,
            });
        }
        if Digest::of(&archive[range.clone()]) != facts.sha256 {
            return Err(OpenError::ContentDigest { entry });
        }
        contents.push(range);
    }
    reader.finish().map_err(OpenError::Archive)?;
    Ok(contents)
}

/// A bundle of which every byte is vouched for by a trusted box.
pub struct VerifiedBundle {
    archive: Vec<u8>,
    manifest: Manifest,
    contents: Vec<Range<usize>>,
    sha256: Digest,
}

impl VerifiedBundle {
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the bundle's file.
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// Checks the bundle's place in the chain: `applied` is the digest of the bundle before it, `None` before the first.
    pub fn check_previous(&self, applied: Option<Digest>) -> Result<(), OpenError> {
        if self.manifest.previous == applied {
            Ok(())
        } else {
            Err(OpenError::WrongPrevious {
                sequence: self.manifest.name.sequence(),
            })
        }
    }

    /// Every entry in order, with its content (empty for the events that carry none).
    pub fn entries(&self) -> impl Iterator<Item = (&Named, &[u8])> {
        self.manifest.entries.iter().zip(
            self.contents
                .iter()
                .map(|range| &self.archive[range.clone()]),
        )
    }
}
