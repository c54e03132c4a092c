//! Certificates and revocation lists, each as the product uses it. The first byte chooses the use. Then comes DER, which
//! is put into PEM here; or [`AS_IT_IS`] and a PEM file.
//!
//! 1. A recipient that is accepted can be sealed to, and has 2048 to 4096 bits.
//! 2. A signer is trusted only if it is, byte for byte, one that the authority issued.
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
/// Files of a commissioning disc.
pub const DISC_RECIPIENT: u8 = b'R';
pub const DISC_UPLOAD: u8 = b'U';
pub const DISC_TUNNEL: u8 = b'I';
pub const DISC_LIST: u8 = b'L';
/// Begins a PEM file; no DER of ours begins so.
pub const AS_IT_IS: u8 = b'-';

pub fn certificates(bytes: &[u8]) -> Verdict {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let file = |label| match rest.first() {
        Some(&AS_IT_IS) => rest.to_vec(),
        _ => pem(label, rest),
    };
    let certificate = || file("CERTIFICATE");
    let list_file = || file("X509 CRL");
    match kind {
        RECIPIENT => recipient(&certificate()),
        SIGNER => signer(&certificate()),
        AUTHORITY => authority(&certificate()),
        LIST => list(&list_file()),
        CLIENT => client(rest),
        DISC_RECIPIENT => disc("recipient.pem", &certificate()),
        DISC_UPLOAD => disc("upload.pem", &certificate()),
        DISC_TUNNEL => disc("ike.pem", &certificate()),
        DISC_LIST => disc("upload-authority.crl", &list_file()),
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

/// As one file of a commissioning disc.
fn disc(name: &str, bytes: &[u8]) -> Verdict {
    site_text::check(site_text::example(), &[(name, bytes)])
}
