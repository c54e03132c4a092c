//! Signers that must not be believed: of another authority, ended, revoked, for another purpose, another box's.

use super::Case;
use super::forge::*;
use super::in_signature::refused;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

/// The right manifest, signed by a certificate that the trusted authority issued.
fn issued(edit: fn(&mut CertificateParams)) -> impl Fn() -> Vec<u8> {
    move || {
        let mut parameters = signer(1002);
        edit(&mut parameters);
        by(&Authority::trusted().issue(parameters))
    }
}

pub fn by(pair: &Pair) -> Vec<u8> {
    Inside::signed_by(right_manifest().as_bytes(), pair).bundle()
}

pub fn cases() -> Vec<Case> {
    let mut cases = signers();
    cases.extend(lists());
    cases
}

fn signers() -> Vec<Case> {
    const CHAIN: &str = "the signer's certificate is not one of the trusted authority";
    const PURPOSE: &str = "the signer's certificate has no extended key usage emailProtection";
    const USAGE: &str = "the signer's certificate has no keyUsage digitalSignature";
    let chain = |vector, wrong, body: fn() -> Vec<u8>| refused(vector, wrong, "Chain", CHAIN, body);
    vec![
        chain(
            "signer-of-another-authority",
            "an authority of the same name, but with another key, issued the certificate",
            || by(&Authority::other().issue(signer(1001))),
        ),
        chain(
            "signer-self-signed",
            "the certificate is its own authority's",
            || {
                let key = KeyPair::generate().unwrap();
                let certificate = signer(1001).self_signed(&key).unwrap();
                by(&Pair {
                    certificate: certificate.pem().into(),
                    key: key.serialize_pem().into(),
                })
            },
        ),
        chain(
            "signer-below-another",
            "a signer's certificate issued the certificate",
            || {
                let authority = Authority::trusted();
                let key = KeyPair::generate().unwrap();
                let mut middle = parameters("Middle", 1004, (2026, 2036));
                middle.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                middle.key_usages = vec![KeyUsagePurpose::KeyCertSign];
                middle.signed_by(&key, &authority.issuer).unwrap();
                let issuer = Authority {
                    issuer: Issuer::new(middle, key),
                    pem: String::new(),
                };
                by(&issuer.issue(signer(1005)))
            },
        ),
        chain(
            "signer-is-an-authority",
            "the certificate is an authority's",
            || issued(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))(),
        ),
        refused(
            "signer-expired",
            "the certificate had ended when the bundle was sealed",
            "Expired",
            "the signer's certificate had ended when the bundle was sealed",
            issued(|p| p.not_after = rcgen::date_time_ymd(2026, 11, 21)),
        ),
        refused(
            "signer-not-yet-valid",
            "the certificate began after the bundle was sealed",
            "NotYetValid",
            "the signer's certificate was not yet valid when the bundle was sealed",
            issued(|p| p.not_before = rcgen::date_time_ymd(2026, 11, 23)),
        ),
        refused(
            "signer-without-purpose",
            "the certificate has no extended key usage",
            "Purpose",
            PURPOSE,
            issued(|p| p.extended_key_usages.clear()),
        ),
        refused(
            "signer-for-tls",
            "the certificate is for a TLS server",
            "Purpose",
            PURPOSE,
            issued(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        refused(
            "signer-without-key-usage",
            "the certificate has no key usage",
            "KeyUsage",
            USAGE,
            issued(|p| p.key_usages.clear()),
        ),
        refused(
            "signer-with-broken-extension",
            "the certificate's key usage is no DER",
            "Certificate",
            "the signer's certificate cannot be read",
            issued(|p| {
                p.key_usages.clear();
                let broken = CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![0xff, 0xff]);
                p.custom_extensions = vec![broken];
            }),
        ),
        Case::new(
            "signer-of-another-box",
            "the certificate is another box's",
            "OpenError.WrongBox",
            "the manifest is of box box-1, but the signer's certificate is not",
            issued(|p| {
                p.distinguished_name
                    .push(rcgen::DnType::CommonName, "box-2")
            }),
        ),
    ]
}

fn lists() -> Vec<Case> {
    let revoked = || by(&Authority::trusted().issue(signer(REVOKED)));
    vec![
        refused(
            "signer-revoked",
            "the certificate is revoked",
            "Revoked",
            "the signer's certificate is revoked",
            revoked,
        )
        .with(|head| head.revoked = "list.pem".into()),
        refused(
            "list-missing",
            "revocation lists are given, but none of the signer's authority",
            "NotListed",
            "no revocation list of the signer's authority is given; add it",
            || Inside::right().bundle(),
        )
        .with(|head| head.revoked = "list-of-another.pem".into()),
        Case::new(
            "list-ended",
            "the revocation list had ended the day before: it may not know of the newest theft",
            "TrustError.ListEnded",
            "a revocation list ended at 2026-11-21T00:00:00Z and it is 2026-11-22T00:00:00Z; get the authority's next one",
            || Inside::right().bundle(),
        )
        .with(|head| head.revoked = "list-ended.pem".into()),
        Case::right("right-listed", "the revocation list speaks of the authority and not of the signer", || {
            Inside::right().bundle()
        })
        .with(|head| head.revoked = "list.pem".into()),
        Case::right("right-last-second-of-the-list", "the revocation list ends at this second", || Inside::right().bundle())
            .with(|head| {
                head.revoked = "list-ended.pem".into();
                head.clock = "2026-11-21T00:00:00Z".into();
            }),
    ]
}
