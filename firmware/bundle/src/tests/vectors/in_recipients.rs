//! Ways to be wrong in how the content and its key are encrypted, and to whom.

use super::Case;
use super::forge::*;
use super::in_envelope::{edited, refused, right};
use crate::tlv;
use aws_lc_rs::aead::{AES_128_GCM, CHACHA20_POLY1305};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey, PublicEncryptingKey,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_AES_128_GCM, ID_AES_256_CBC, ID_AES_256_CCM, ID_AES_256_GCM};
use const_oid::db::rfc5912::{ID_RSAES_OAEP, ID_SHA_1, ID_SHA_256, ID_SHA_384, RSA_ENCRYPTION};
use der::{Decode, Encode};
use x509_cert::Certificate;

const CHACHA20: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.3.18");
const NULL: &[u8] = &[5, 0];

fn to(recipients: &[Vec<u8>]) -> Vec<u8> {
    let mut recipients = recipients.to_vec();
    recipients.sort();
    Envelope {
        recipients: recipients.concat(),
        ..right()
    }
    .der()
}

/// The content key under another algorithm for key transport.
fn keyed(algorithm: &[u8]) -> Vec<u8> {
    to(&[to_recipient(algorithm, &recipient().wrap(&KEY).unwrap())])
}

/// The recipient's public key.
fn public_key() -> PublicEncryptingKey {
    let certificate = crate::signed::certificate_from_pem(&recipient_pem()).unwrap();
    let key = certificate
        .tbs_certificate()
        .subject_public_key_info()
        .to_der();
    PublicEncryptingKey::from_der(&key.unwrap()).unwrap()
}

/// Names of recipients who are not us, as CMS writes them.
fn stranger(number: u64) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters("Stranger", number, (2026, 2036));
    let certificate = certificate.self_signed(&key).unwrap();
    let certificate = Certificate::from_der(certificate.der()).unwrap();
    crate::recipient::issuer_and_serial(&certificate).unwrap()
}

pub fn cases() -> Vec<Case> {
    let mut cases = algorithms();
    cases.extend(recipients());
    cases
}

fn algorithms() -> Vec<Case> {
    let cipher = |vector, wrong, what: &str, body| {
        let says = format!(
            "the content is encrypted with {what}, not with AES-256-GCM, 12 bytes of nonce, 16 of tag"
        );
        refused(vector, wrong, "ContentAlgorithm", &says, body)
    };
    let transport = |vector, wrong, what: &str, body| {
        let says =
            format!("the content key is encrypted with {what}, not with RSAES-OAEP and SHA-256");
        refused(vector, wrong, "KeyAlgorithm", &says, body)
    };
    let content_key = |vector, wrong, body| {
        let says = "the content key cannot be decrypted: another key, or an altered bundle";
        refused(vector, wrong, "ContentKey", says, body)
    };
    vec![
        cipher(
            "aes-128-gcm",
            "the content is encrypted with AES-128-GCM",
            "2.16.840.1.101.3.4.1.6",
            || {
                let key = &KEY[..16];
                let wrapped = recipient().wrap(key).unwrap();
                let inside = one_frame(&Inside::right().archive());
                Envelope::with(&inside, &AES_128_GCM, ID_AES_128_GCM, key, &wrapped).der()
            },
        ),
        cipher(
            "chacha20-poly1305",
            "the content is encrypted with ChaCha20-Poly1305",
            "1.2.840.113549.1.9.16.3.18",
            || {
                let wrapped = recipient().wrap(&KEY).unwrap();
                let inside = one_frame(&Inside::right().archive());
                Envelope::with(&inside, &CHACHA20_POLY1305, CHACHA20, &KEY, &wrapped).der()
            },
        ),
        cipher(
            "aes-256-ccm",
            "the algorithm is said to be AES-256-CCM",
            "2.16.840.1.101.3.4.1.47",
            || {
                edited(|e| {
                    e.algorithm = algorithm(ID_AES_256_CCM, &gcm_parameters(&NONCE, &[2, 1, 16]))
                })
            },
        ),
        cipher(
            "aes-256-cbc",
            "the algorithm is said to be AES-256-CBC",
            "2.16.840.1.101.3.4.1.42",
            || edited(|e| e.algorithm = algorithm(ID_AES_256_CBC, &tlv::value(4, &[&[0; 16]]))),
        ),
        cipher(
            "gcm-without-parameters",
            "AES-256-GCM has no parameters",
            "no parameters",
            || edited(|e| e.algorithm = algorithm(ID_AES_256_GCM, &[])),
        ),
        cipher(
            "gcm-nonce-of-16-bytes",
            "the nonce has 16 bytes",
            "a nonce of another length",
            || {
                edited(|e| {
                    e.algorithm = algorithm(ID_AES_256_GCM, &gcm_parameters(&[1; 16], &[2, 1, 16]))
                })
            },
        ),
        cipher(
            "gcm-tag-length-left-out",
            "the parameters leave the tag's length out, which means 12",
            "a tag of 12 bytes",
            || edited(|e| e.algorithm = algorithm(ID_AES_256_GCM, &gcm_parameters(&NONCE, &[]))),
        ),
        transport(
            "pkcs1-v1.5",
            "the content key is encrypted by RSA PKCS #1 v1.5",
            "1.2.840.113549.1.1.1",
            || {
                let key = Pkcs1PublicEncryptingKey::new(public_key()).unwrap();
                let mut wrapped = vec![0; key.ciphertext_size()];
                key.encrypt(&KEY, &mut wrapped).unwrap();
                to(&[to_recipient(&algorithm(RSA_ENCRYPTION, NULL), &wrapped)])
            },
        ),
        transport(
            "oaep-without-parameters",
            "RSAES-OAEP with its defaults: SHA-1",
            "RSAES-OAEP and SHA-1",
            || keyed(&algorithm(ID_RSAES_OAEP, &[])),
        ),
        transport(
            "oaep-sha-384",
            "RSAES-OAEP with SHA-384",
            "RSAES-OAEP and hash 2.16.840.1.101.3.4.2.2",
            || {
                keyed(&oaep_of(&[
                    &hash_field(ID_SHA_384, &[]),
                    &mask_field(ID_SHA_384, &[]),
                ]))
            },
        ),
        transport(
            "oaep-mask-left-out",
            "RSAES-OAEP whose mask function is left out: MGF1 with SHA-1",
            "RSAES-OAEP whose mask function is not MGF1 with SHA-256",
            || keyed(&oaep_of(&[&hash_field(ID_SHA_256, &[])])),
        ),
        transport(
            "oaep-mask-sha-1",
            "RSAES-OAEP whose mask function is MGF1 with SHA-1",
            "RSAES-OAEP whose mask function is not MGF1 with SHA-256",
            || {
                keyed(&oaep_of(&[
                    &hash_field(ID_SHA_256, &[]),
                    &mask_field(ID_SHA_1, NULL),
                ]))
            },
        ),
        transport(
            "oaep-label",
            "RSAES-OAEP with a label",
            "RSAES-OAEP with a label",
            || {
                let name = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.9");
                let label = tlv::value(0xa2, &[&algorithm(name, &tlv::value(4, &[b"label"]))]);
                keyed(&oaep_of(&[
                    &hash_field(ID_SHA_256, &[]),
                    &mask_field(ID_SHA_256, &[]),
                    &label,
                ]))
            },
        ),
        transport(
            "oaep-hash-parameter",
            "SHA-256 has a parameter that it does not have",
            "RSAES-OAEP and hash 2.16.840.1.101.3.4.2.1",
            || {
                keyed(&oaep_of(&[
                    &hash_field(ID_SHA_256, &[2, 1, 1]),
                    &mask_field(ID_SHA_256, &[]),
                ]))
            },
        ),
        Case::right(
            "right-null-parameters",
            "SHA-256 has the parameter NULL, as some libraries write",
            || {
                keyed(&oaep_of(&[
                    &hash_field(ID_SHA_256, NULL),
                    &mask_field(ID_SHA_256, NULL),
                ]))
            },
        ),
        content_key(
            "oaep-said-sha-256",
            "the key is encrypted with SHA-1, whatever the bundle says",
            || {
                let key = OaepPublicEncryptingKey::new(public_key()).unwrap();
                let mut wrapped = vec![0; key.ciphertext_size()];
                key.encrypt(&OAEP_SHA1_MGF1SHA1, &KEY, &mut wrapped, None)
                    .unwrap();
                to(&[to_recipient(&oaep(), &wrapped)])
            },
        ),
        content_key(
            "content-key-of-16-bytes",
            "the content key is one of AES-128",
            || {
                to(&[to_recipient(
                    &oaep(),
                    &recipient().wrap(&KEY[..16]).unwrap(),
                )])
            },
        ),
    ]
}

fn recipients() -> Vec<Case> {
    let count = |vector, wrong, says, body| refused(vector, wrong, "RecipientCount", says, body);
    let field = |vector, wrong, what: &str, body| {
        refused(
            vector,
            wrong,
            "Field",
            &format!("the envelope has {what}, which no bundle has"),
            body,
        )
    };
    vec![
        count(
            "recipients-none",
            "there is no recipient",
            "the bundle names 0 recipients, allowed are 1 to 16",
            || to(&[]),
        ),
        count(
            "recipients-17",
            "there are 17 recipients",
            "the bundle names 17 recipients, allowed are 1 to 16",
            || {
                let one = |number| key_transport(0, &stranger(number), &oaep(), b"key");
                to(&(1..=17).map(one).collect::<Vec<_>>())
            },
        ),
        Case::right(
            "right-third-recipient",
            "the bundle is for three, we are one of them",
            || {
                let other = |number| key_transport(0, &stranger(number), &oaep(), &[7; 256]);
                let ours = to_recipient(&oaep(), &recipient().wrap(&KEY).unwrap());
                to(&[ours, other(2), other(3)])
            },
        ),
        refused(
            "recipient-another",
            "the bundle is for somebody else",
            "NotForUs",
            "the bundle is not for this recipient; it is for serial 07 of CN=Stranger; \
             use the certificate and key of one of them",
            || {
                to(&[key_transport(
                    0,
                    &stranger(7),
                    &oaep(),
                    &recipient().wrap(&KEY).unwrap(),
                )])
            },
        ),
        field(
            "recipients-unordered",
            "the recipients are not in the order of DER",
            "recipients in another order than DER's",
            || {
                let other = key_transport(0, &stranger(2), &oaep(), b"key");
                let ours = to_recipient(&oaep(), &recipient().wrap(&KEY).unwrap());
                let recipients = [other.clone().max(ours.clone()), ours.min(other)].concat();
                Envelope {
                    recipients,
                    ..right()
                }
                .der()
            },
        ),
        field(
            "recipient-by-key-identifier",
            "the recipient is named by the identifier of its key",
            "a recipient that is not named by issuer and serial number",
            || {
                let name = tlv::value(0x80, &[&[1; 20]]);
                to(&[key_transport(
                    2,
                    &name,
                    &oaep(),
                    &recipient().wrap(&KEY).unwrap(),
                )])
            },
        ),
        field(
            "recipient-version-2",
            "the recipient information has the version of the other form of name",
            "a recipient of a version other than 0",
            || {
                let name = recipient().identifier().to_vec();
                to(&[key_transport(
                    2,
                    &name,
                    &oaep(),
                    &recipient().wrap(&KEY).unwrap(),
                )])
            },
        ),
        field(
            "recipient-by-password",
            "the content key is encrypted under a password",
            "a recipient that is not by key transport",
            || {
                let key = tlv::value(OCTET_STRING, &[&[1; 40]]);
                to(&[tlv::value(
                    0xa3,
                    &[&[2, 1, 0], &algorithm(ID_AES_256_CBC, &[]), &key],
                )])
            },
        ),
    ]
}
