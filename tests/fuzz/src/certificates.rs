//! Certificates and revocation lists, each as the product uses it. The first byte chooses the use, the rest is DER, put
//! into PEM here; with [`PEM`] the rest is a PEM file as it is.
//!
//! 1. A recipient that is accepted can be sealed to, and has 2048 to 4096 bits.
//! 2. A signer is trusted only if it is, byte for byte, the one that the authority issued.
//! 3. A revoked signer is refused under every list that is accepted; a list of somebody else helps nobody.
//! 4. A client's certificate gives a box name of the right form, or none.
//! 5. Every refusal is words on one line.

use crate::{Verdict, keys, message, site_text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bundle::{BoxName, Recipient, Sealer, Trust, signed};
use der::Encode;
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;

/// Uses, as the first byte of the input.
pub const RECIPIENT: u8 = b'r';
pub const SIGNER: u8 = b's';
pub const AUTHORITY: u8 = b'a';
pub const LIST: u8 = b'l';
pub const CLIENT: u8 = b'c';
pub const DISC: u8 = b'd';
pub const PEM: u8 = b'p';

pub fn certificates(bytes: &[u8]) -> Verdict {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    match kind {
        RECIPIENT => recipient(&pem("CERTIFICATE", rest)),
        SIGNER => signer(&pem("CERTIFICATE", rest)),
        AUTHORITY => authority(&pem("CERTIFICATE", rest)),
        LIST => list(&pem("X509 CRL", rest)),
        CLIENT => client(rest),
        DISC => disc(&pem("CERTIFICATE", rest), &pem("X509 CRL", rest)),
        PEM => {
            let verdicts = [
                recipient(rest),
                signer(rest),
                authority(rest),
                list(rest),
                disc(rest, rest),
            ];
            Verdict::accepted_if(verdicts.contains(&Verdict::Accepted))
        }
        _ => Verdict::Refused,
    }
}

/// DER as a PEM section.
pub fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text += &format!("-----END {label}-----\n");
    text.into_bytes()
}

fn recipient(pem: &[u8]) -> Verdict {
    match Recipient::from_pem(pem) {
        Err(error) => message::refused(&error),
        Ok(recipient) => {
            assert!((2048..=4096).contains(&recipient.bits()));
            message::check_subject(recipient.subject());
            let made = Sealer::new(
                keys::box_name(),
                vec![recipient],
                keys::SEALING,
                keys::signer(),
            );
            assert!(made.is_ok(), "a recipient that no sealer takes");
            Verdict::Accepted
        }
    }
}

fn signer(pem: &[u8]) -> Verdict {
    let recipient = Recipient::from_pem(keys::RECIPIENT).expect("a recipient");
    if let Err(error) = Sealer::new(keys::box_name(), vec![recipient], pem, keys::signer()) {
        message::check(&error);
    }
    match signed::certificate_from_pem(pem) {
        Err(error) => message::refused(&error),
        Ok(certificate) => check_trust(keys::trust(), &certificate),
    }
}

fn check_trust(trust: &Trust, certificate: &Certificate) -> Verdict {
    match trust.check(certificate, keys::NOW) {
        Err(error) => message::refused(&error),
        Ok(()) => {
            let issued = [keys::SEALING, keys::REVOKED]
                .map(|pem| signed::certificate_from_pem(pem).expect("a certificate"));
            let der = certificate.to_der().expect("DER");
            assert!(
                issued
                    .iter()
                    .any(|one| one.to_der().is_ok_and(|one| one == der)),
                "a signer that nobody issued"
            );
            Verdict::Accepted
        }
    }
}

fn authority(pem: &[u8]) -> Verdict {
    match Trust::from_pem(pem) {
        Err(error) => message::refused(&error),
        Ok(trust) => {
            if let Err(error) = trust.check(keys::signer_certificate(), keys::NOW) {
                message::check(&error);
            }
            Verdict::Accepted
        }
    }
}

fn list(pem: &[u8]) -> Verdict {
    let trust = Trust::from_pem(keys::SEALING_AUTHORITY).expect("an authority");
    match trust.with_revocation_lists(pem, keys::NOW) {
        Err(error) => message::refused(&error),
        Ok(trust) => {
            let verdict = check_trust(&trust, keys::signer_certificate());
            let revoked = signed::certificate_from_pem(keys::REVOKED).expect("a certificate");
            let error = trust.check(&revoked, keys::NOW);
            message::check(&error.expect_err("a revoked signer is trusted"));
            verdict
        }
    }
}

fn client(der: &[u8]) -> Verdict {
    let name = datacentre::receive::box_of(&CertificateDer::from(der));
    let good = name.is_some();
    assert!(name.is_none_or(|name| name.as_str().parse::<BoxName>().is_ok()));
    Verdict::accepted_if(good)
}

/// As files of a commissioning disc.
fn disc(certificate: &[u8], list: &[u8]) -> Verdict {
    let text = site_text::example();
    let verdicts = [
        ("recipient.pem", certificate),
        ("upload.pem", certificate),
        ("ike.pem", certificate),
        ("receipt.pem", certificate),
        ("upload-authority.crl", list),
    ]
    .map(|replaced| site_text::check(text, &[replaced]));
    Verdict::accepted_if(verdicts.contains(&Verdict::Accepted))
}
