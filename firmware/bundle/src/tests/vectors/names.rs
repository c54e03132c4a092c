//! The names of all refusals. The match is exhaustive: a new variant does not compile before it is named here, and once
//! it is named here it needs a vector.

use crate::signed::SignedError;
use crate::*;
use std::error::Error;

macro_rules! refusals {
    ($($enum:ident { $($variant:ident)* })*) => {
        /// Enum and variant of one of our errors, `None` for another crate's.
        fn name(error: &(dyn Error + 'static)) -> Option<(&'static str, &'static str)> {
            $(if let Some(error) = error.downcast_ref::<$enum>() {
                return Some((stringify!($enum), match error {
                    $($enum::$variant { .. } => stringify!($variant),)*
                }));
            })*
            None
        }

        /// Every refusal that there is.
        pub const ALL: &[(&str, &str)] = &[$($((stringify!($enum), stringify!($variant)),)*)*];
    };
}

refusals! {
    OpenError {
        Envelope Compression Frame Bomb Archive ManifestSize SignatureSize Manifest Signature WrongBox WrongName
        WrongPrevious ContentSize ContentDigest
    }
    EnvelopeError {
        TooLarge Form NotAuthEnveloped Field ContentAlgorithm RecipientCount KeyAlgorithm NotForUs ContentKey Tag
    }
    ArchiveError { Truncated Checksum NotUstar NotRegular Size Name Padding Extra Missing End }
    SignedError {
        Pem Certificate Form NotSigned Field SignerCount Algorithm CertificateMissing OtherSigner Chain Expired
        NotYetValid Revoked NotListed Purpose KeyUsage Signature
    }
    ManifestError {
        Json Escape Format BoxName Sequence Previous Time Digest SourceCount Source EntryCount UnknownSource Path Fields
        ContentNumber Size Part Contents Lost
    }
    LostFault { Order Digest Count FileSource FilePath FileDigest FileBeginning }
    PathFault { Empty TooLong ComponentTooLong Absolute EmptyComponent DotComponent Nul Spelling }
    TrustError { Pem Empty Anchor NoList List ListEnded }
    OpenerError { Certificate Encode Pem Key KeyKind NotAPair }
    RecipientError { Pem Certificate NotRsa Key Bits KeyUsage }
    SealError {
        RecipientCount Certificate CertificateName CertificateTime RecipientStrength RecipientTime Sequence Previous Lost
        Time Sign SignerKey Compress Encrypt TooLarge
    }
}

/// Refusals that no file can show, each with its reason.
pub const WITHOUT_VECTOR: &[(&str, &[&str], &str)] = &[
    (
        "SignedError",
        &["OtherSigner"],
        "of receipts, whose signer is pinned: tests/tests/upload_receipts.rs",
    ),
    (
        "OpenerError",
        &["Encode", "KeyKind"],
        "the arithmetic refuses a key that it has just parsed",
    ),
    (
        "SealError",
        &[
            "RecipientCount",
            "Certificate",
            "CertificateName",
            "CertificateTime",
            "Sequence",
            "Previous",
            "Lost",
            "Time",
            "Sign",
            "SignerKey",
            "Compress",
            "Encrypt",
            "TooLarge",
        ],
        "the sealer refuses its own caller: src/tests/limits.rs",
    ),
];

/// What came out: `Enum.Variant.Variant` and the words, as far as the errors are ours, and every variant on the way.
pub struct Outcome {
    pub expect: String,
    pub says: String,
    pub variants: Vec<(&'static str, &'static str)>,
}

pub fn outcome(error: &(dyn Error + 'static)) -> Outcome {
    let mut outcome = Outcome {
        expect: String::new(),
        says: String::new(),
        variants: Vec::new(),
    };
    let mut next = Some(error);
    while let Some((error, (group, variant))) = next.and_then(|e| Some((e, name(e)?))) {
        if outcome.variants.is_empty() {
            outcome.expect = format!("{group}.{variant}");
            outcome.says = error.to_string();
        } else {
            outcome.expect += &format!(".{variant}");
            outcome.says += &format!(": {error}");
        }
        outcome.variants.push((group, variant));
        next = error.source();
    }
    outcome
}
