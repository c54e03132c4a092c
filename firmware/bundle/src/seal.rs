//! Sealing: manifest and signature are put before the contents, and all of it is encrypted to the recipients.

use crate::archive::{self, HeaderMaker, MANIFEST_NAME, SIGNATURE_NAME};
use crate::chain::{check_key_usage, names_box};
use crate::digest::Digest;
use crate::draft::{Closed, compress};
use crate::envelope;
use crate::limits::{COMPRESSION_LEVEL, RECIPIENT_LIMIT, SEALED_LIMIT_BYTES};
use crate::manifest::{FORMAT, format_time, show_time};
use crate::name::{BoxName, BundleName};
use crate::recipient::Recipient;
use crate::signed::{self, Placement, SignedError, SigningError, UnverifiedSigned};
use crate::signer::Signer;
use std::error::Error;
use std::fmt;
use std::io;
use x509_cert::Certificate;
use zstd::bulk::Compressor;

/// A sealed bundle, ready for the spool.
pub struct SealedBundle {
    pub name: BundleName,
    pub bytes: Vec<u8>,
    /// Of `bytes`; goes into the next bundle's manifest.
    pub sha256: Digest,
}

/// Seals drafts for one box.
pub struct Sealer<S> {
    box_name: BoxName,
    recipients: Vec<Recipient>,
    certificate: Certificate,
    signer: S,
}

/// Nothing was sealed.
#[derive(Debug)]
pub enum SealError {
    RecipientCount(usize),
    /// The signer's certificate cannot be used for this box.
    Certificate(SignedError),
    CertificateName(BoxName),
    /// The signer's certificate is not valid at the time of sealing.
    CertificateTime {
        not_before: u64,
        not_after: u64,
        time: u64,
    },
    /// A key of 112-bit strength after the end of 2030.
    RecipientStrength {
        subject: String,
        bits: usize,
    },
    /// The recipient's certificate has ended: its key may be gone, and nothing could open the bundle.
    RecipientTime {
        subject: String,
        not_after: u64,
        time: u64,
    },
    Sequence(u64),
    Previous(u64),
    /// A bundle that is reported as lost must be an earlier one.
    Lost {
        number: u64,
        sequence: u64,
    },
    Time(u64),
    Sign(SigningError),
    /// The signature does not fit the signer's certificate: key and certificate are not a pair.
    SignerKey(SignedError),
    Compress(io::Error),
    Encrypt(aws_lc_rs::error::Unspecified),
    TooLarge(usize),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecipientCount(count) => write!(
                f,
                "{count} recipients are given, allowed are 1 to {RECIPIENT_LIMIT}"
            ),
            Self::Certificate(_) => write!(f, "the signing certificate cannot be used"),
            Self::CertificateName(name) => {
                write!(
                    f,
                    "the signing certificate is not for box {name}: neither a DNS name in it nor its common name"
                )
            }
            Self::CertificateTime {
                not_before,
                not_after,
                time,
            } => write!(
                f,
                "the signing certificate is valid from {} to {}, but it is {}; renew it or set the clock",
                show_time(*not_before),
                show_time(*not_after),
                show_time(*time)
            ),
            Self::RecipientStrength { subject, bits } => write!(
                f,
                "the recipient {subject} has an RSA key of {bits} bits, which takes no new bundle after 2030-12-31; \
                 use a certificate with at least 3072 bits"
            ),
            Self::RecipientTime {
                subject,
                not_after,
                time,
            } => write!(
                f,
                "the certificate of the recipient {subject} ended at {}, and it is {}; configure its successor or set the clock",
                show_time(*not_after),
                show_time(*time)
            ),
            Self::Sequence(sequence) => write!(f, "{sequence} is no sequence number"),
            Self::Previous(sequence) => {
                write!(
                    f,
                    "bundle {sequence} needs the previous bundle's digest, and bundle 1 has none"
                )
            }
            Self::Lost { number, sequence } => write!(
                f,
                "bundle {sequence} cannot report bundle {number} as lost: it is not an earlier one"
            ),
            Self::Time(time) => write!(f, "the time {time} cannot be written"),
            Self::Sign(_) => write!(f, "the manifest cannot be signed"),
            Self::SignerKey(_) => {
                write!(f, "the signing key is not that of the signing certificate")
            }
            Self::Compress(_) => write!(f, "compression failed"),
            Self::Encrypt(_) => write!(f, "encryption failed"),
            Self::TooLarge(bytes) => write!(
                f,
                "the sealed bundle has {bytes} bytes, more than {SEALED_LIMIT_BYTES}"
            ),
        }
    }
}

impl Error for SealError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Certificate(source) | Self::SignerKey(source) => Some(source),
            Self::Sign(source) => Some(source),
            Self::Compress(source) => Some(source),
            Self::Encrypt(source) => Some(source),
            _ => None,
        }
    }
}

impl<S: Signer> Sealer<S> {
    /// Takes the certificate of the box's signing key as PEM. What the data centre would refuse is refused here.
    pub fn new(
        box_name: BoxName,
        recipients: Vec<Recipient>,
        certificate_pem: &[u8],
        signer: S,
    ) -> Result<Self, SealError> {
        if !(1..=RECIPIENT_LIMIT).contains(&recipients.len()) {
            return Err(SealError::RecipientCount(recipients.len()));
        }
        let certificate =
            signed::certificate_from_pem(certificate_pem).map_err(SealError::Certificate)?;
        check_key_usage(&certificate).map_err(SealError::Certificate)?;
        if !names_box(&certificate, &box_name) {
            return Err(SealError::CertificateName(box_name));
        }
        Ok(Self {
            box_name,
            recipients,
            certificate,
            signer,
        })
    }

    pub fn box_name(&self) -> &BoxName {
        &self.box_name
    }

    /// Seals a closed draft as the bundle with this number; `time` is in Unix seconds.
    pub fn seal(
        &self,
        closed: &Closed,
        sequence: u64,
        previous: Option<Digest>,
        time: u64,
    ) -> Result<SealedBundle, SealError> {
        self.seal_into(Vec::new(), closed, sequence, previous, time)
    }

    /// As [`Sealer::seal`], with the memory of an earlier bundle's bytes for this one's.
    pub fn seal_into(
        &self,
        room: Vec<u8>,
        closed: &Closed,
        sequence: u64,
        previous: Option<Digest>,
        time: u64,
    ) -> Result<SealedBundle, SealError> {
        let name = BundleName::new(self.box_name.clone(), sequence)
            .map_err(|_| SealError::Sequence(sequence))?;
        if previous.is_none() != (sequence == 1) {
            return Err(SealError::Previous(sequence));
        }
        if closed.losses.last >= sequence {
            return Err(SealError::Lost {
                number: closed.losses.last,
                sequence,
            });
        }
        self.check_time(time)?;
        let manifest = self.manifest(closed, sequence, previous, time)?;
        let signature = signed::sign(
            &manifest,
            Placement::Detached,
            &self.certificate,
            &self.signer,
        )
        .map_err(SealError::Sign)?;
        UnverifiedSigned::parse(&signature)
            .and_then(|signed| signed.verify_detached(&manifest, &self.certificate))
            .map_err(SealError::SignerKey)?;
        let frame = first_frame(&manifest, &signature).map_err(SealError::Compress)?;
        let bytes = envelope::seal(room, &self.recipients, &[&frame, &closed.frames])
            .map_err(SealError::Encrypt)?;
        if bytes.len() > SEALED_LIMIT_BYTES {
            return Err(SealError::TooLarge(bytes.len()));
        }
        let sha256 = Digest::of(&bytes);
        Ok(SealedBundle {
            name,
            bytes,
            sha256,
        })
    }

    fn check_time(&self, time: u64) -> Result<(), SealError> {
        let validity = self.certificate.tbs_certificate().validity();
        let not_before = validity.not_before.to_unix_duration().as_secs();
        let not_after = validity.not_after.to_unix_duration().as_secs();
        if !(not_before..=not_after).contains(&time) {
            return Err(SealError::CertificateTime {
                not_before,
                not_after,
                time,
            });
        }
        for recipient in &self.recipients {
            if recipient.strength_ends().is_some_and(|end| time >= end) {
                return Err(SealError::RecipientStrength {
                    subject: recipient.subject().to_owned(),
                    bits: recipient.bits(),
                });
            }
            if time > recipient.not_after() {
                return Err(SealError::RecipientTime {
                    subject: recipient.subject().to_owned(),
                    not_after: recipient.not_after(),
                    time,
                });
            }
        }
        Ok(())
    }

    fn manifest(
        &self,
        closed: &Closed,
        sequence: u64,
        previous: Option<Digest>,
        time: u64,
    ) -> Result<Vec<u8>, SealError> {
        let previous = previous.map_or_else(|| "null".to_owned(), |digest| format!("\"{digest}\""));
        let time = format_time(time).ok_or(SealError::Time(time))?;
        let mut out = format!(
            "{{\"format\":\"{FORMAT}\",\"box\":\"{}\",\"sequence\":{sequence},\"previous\":{previous},\"time\":\"{time}\",\"sources\":[",
            self.box_name
        )
        .into_bytes();
        for (index, source) in closed.sources.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            out.extend(
                format!(
                    "{comma}\n{{\"name\":\"{}\",\"kind\":\"{}\"}}",
                    source.name, source.kind
                )
                .as_bytes(),
            );
        }
        out.extend_from_slice(b"],\"entries\":[\n");
        out.extend_from_slice(&closed.manifest);
        if closed.losses.json.is_empty() {
            out.extend_from_slice(b"\n]}\n");
        } else {
            out.extend_from_slice(b"\n],\"lost\":[\n");
            out.extend_from_slice(&closed.losses.json);
            out.extend_from_slice(b"\n]}\n");
        }
        Ok(out)
    }
}

/// Manifest and signature as the beginning of the archive, compressed.
fn first_frame(manifest: &[u8], signature: &[u8]) -> io::Result<Vec<u8>> {
    let headers = HeaderMaker::new();
    let mut archive = Vec::with_capacity(manifest.len() + signature.len() + (4 << 10));
    for (name, content) in [(MANIFEST_NAME, manifest), (SIGNATURE_NAME, signature)] {
        archive.extend_from_slice(&headers.make(name, content.len() as u64));
        archive.extend_from_slice(content);
        archive.extend_from_slice(&archive::END[..archive::padding(content.len())]);
    }
    let mut frame = Vec::new();
    compress(
        &mut Compressor::new(COMPRESSION_LEVEL)?,
        &archive,
        &mut frame,
    )?;
    Ok(frame)
}
