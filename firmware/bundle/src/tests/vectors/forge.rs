//! Bundles made by hand, so that any one thing in them can be wrong.

use super::testdata;
use crate::archive::HeaderMaker;
use crate::digest::Digest;
use crate::recipient::Recipient;
use crate::signed::{self, Placement};
use crate::signer::LocalSigner;
use crate::tlv;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_AES_256_GCM, ID_CT_AUTH_ENVELOPED_DATA, ID_DATA};
use const_oid::db::rfc5912::{ID_MGF_1, ID_RSAES_OAEP, ID_SHA_256};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber,
};
use std::fs;

pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
pub const OCTET_STRING: u8 = 0x04;
pub const CONTENT: u8 = 0x80;

/// Serial number that `pki/list.pem` revokes.
pub const REVOKED: u64 = 1666;

pub fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    tlv::value(0x06, &[oid.as_bytes()])
}

/// An AlgorithmIdentifier; `parameters` are DER.
pub fn algorithm(name: ObjectIdentifier, parameters: &[u8]) -> Vec<u8> {
    tlv::value(SEQUENCE, &[&oid(name), parameters])
}

pub fn recipient_pem() -> Vec<u8> {
    fs::read(testdata("recipient.pem")).unwrap()
}

/// A certificate and its key, as PEM.
pub struct Pair {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

pub fn parameters(name: &str, serial: u64, years: (i32, i32)) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.serial_number = Some(SerialNumber::from(serial));
    parameters.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    parameters
}

/// A signer's parameters when nothing is wrong with it.
pub fn signer(serial: u64) -> CertificateParams {
    let mut parameters = parameters("box-1", serial, (2026, 2036));
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters
}

pub struct Authority {
    pub issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    fn of(key: KeyPair, name: &str) -> Self {
        let mut parameters = parameters(name, 1, (2020, 2049));
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = parameters.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(parameters, key);
        Self { issuer, pem }
    }

    /// The one whose certificate is `pki/authority.pem`.
    pub fn trusted() -> Self {
        let key = fs::read_to_string(testdata("pki/authority.key")).unwrap();
        Self::of(KeyPair::from_pem(&key).unwrap(), "Vector Authority")
    }

    /// Another of the same name.
    pub fn other() -> Self {
        Self::of(KeyPair::generate().unwrap(), "Vector Authority")
    }

    pub fn issue(&self, parameters: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem().into(),
            key: key.serialize_pem().into(),
        }
    }

    pub fn list(&self, next_update: (i32, u8, u8)) -> String {
        let (year, month, day) = next_update;
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 11, 1),
            next_update: rcgen::date_time_ymd(year, month, day),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(REVOKED),
                revocation_time: rcgen::date_time_ymd(2026, 11, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// Makes the certificates that the vectors need, where they are not there.
pub fn make_pki() {
    fs::create_dir_all(testdata("pki")).unwrap();
    if testdata("pki/authority.key").exists() {
        return;
    }
    let write = |name: &str, text: &[u8]| fs::write(testdata("pki").join(name), text).unwrap();
    let key = KeyPair::generate().unwrap();
    write("authority.key", key.serialize_pem().as_bytes());
    let authority = Authority::trusted();
    write("authority.pem", authority.pem.as_bytes());
    let right = authority.issue(signer(1001));
    write("box-1.pem", &right.certificate);
    write("box-1.key", &right.key);
    write("list.pem", authority.list((2049, 12, 31)).as_bytes());
    write("list-ended.pem", authority.list((2026, 11, 21)).as_bytes());
    let stranger = Authority::of(KeyPair::generate().unwrap(), "Other Authority");
    write(
        "list-of-another.pem",
        stranger.list((2049, 12, 31)).as_bytes(),
    );
}

/// The signer with whom nothing is wrong.
pub fn box_1() -> Pair {
    Pair {
        certificate: fs::read(testdata("pki/box-1.pem")).unwrap(),
        key: fs::read(testdata("pki/box-1.key")).unwrap(),
    }
}

/// One line of a manifest for a content.
pub fn entry(number: u32, path: &str, content: &[u8]) -> String {
    let (size, digest) = (content.len(), Digest::of(content));
    format!(
        "{{\"event\":\"added\",\"source\":\"dpc\",\"path\":\"{path}\",\"content\":{number},\"size\":{size},\"sha256\":\"{digest}\"}}"
    )
}

pub fn manifest_of(entries: &str) -> String {
    format!(
        "{{\"format\":\"collector-bundle-1\",\"box\":\"box-1\",\"sequence\":1,\"previous\":null,\
         \"time\":\"2026-11-22T00:00:00Z\",\"sources\":[{{\"name\":\"dpc\",\"kind\":\"dpc\"}}],\"entries\":[{entries}]}}"
    )
}

/// What is inside the envelope, before compression: the archive's members, name and content.
pub struct Inside(pub Vec<(Vec<u8>, Vec<u8>)>);

impl Inside {
    /// A manifest, what is said to be its signature, and the two contents of the right bundle.
    pub fn of(manifest: &[u8], signature: Vec<u8>) -> Self {
        let member = |name: &str, content: &[u8]| (name.as_bytes().to_vec(), content.to_vec());
        Self(vec![
            member("manifest.json", manifest),
            member("manifest.p7s", &signature),
            member("content/000001", b"one"),
            member("content/000002", b"two"),
        ])
    }

    pub fn signed_by(manifest: &[u8], signer: &Pair) -> Self {
        Self::of(manifest, sign(manifest, Placement::Detached, signer))
    }

    pub fn signed(manifest: &[u8]) -> Self {
        Self::signed_by(manifest, &box_1())
    }

    pub fn right() -> Self {
        Self::signed(right_manifest().as_bytes())
    }

    pub fn archive(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, content) in &self.0 {
            archive.extend(HeaderMaker::new().make(name, content.len() as u64));
            archive.extend(content);
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
        archive.extend([0; 1024]);
        archive
    }

    pub fn bundle(&self) -> Vec<u8> {
        bundle(&one_frame(&self.archive()))
    }
}

pub fn right_manifest() -> String {
    manifest_of(&format!(
        "{},{}",
        entry(1, "a", b"one"),
        entry(2, "b", b"two")
    ))
}

pub fn sign(content: &[u8], placement: Placement, signer: &Pair) -> Vec<u8> {
    let certificate = signed::certificate_from_pem(&signer.certificate).unwrap();
    let key = LocalSigner::from_pem(&signer.key).unwrap();
    signed::sign(content, placement, &certificate, &key).unwrap()
}

pub fn one_frame(archive: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(archive, 19).unwrap()
}

/// An envelope with nothing wrong around anything.
pub fn bundle(compressed: &[u8]) -> Vec<u8> {
    Envelope::of(compressed).der()
}

pub const KEY: [u8; 32] = [0x4b; 32];
pub const NONCE: [u8; 12] = [0x4e; 12];

/// The parts of an AuthEnvelopedData as DER, each of which can be another.
pub struct Envelope {
    pub outer: ObjectIdentifier,
    pub version: u8,
    pub originator: Vec<u8>,
    pub recipients: Vec<u8>,
    pub inner: ObjectIdentifier,
    pub algorithm: Vec<u8>,
    pub content: Vec<u8>,
    pub attributes: Vec<u8>,
    pub tag: Vec<u8>,
    pub unauthenticated: Vec<u8>,
}

impl Envelope {
    pub fn of(compressed: &[u8]) -> Self {
        let wrapped = recipient().wrap(&KEY).unwrap();
        Self::with(compressed, &AES_256_GCM, ID_AES_256_GCM, &KEY, &wrapped)
    }

    /// Encrypted with this algorithm under this key; `wrapped` is the key as the recipient gets it.
    pub fn with(
        compressed: &[u8],
        cipher: &'static Algorithm,
        name: ObjectIdentifier,
        key: &[u8],
        wrapped: &[u8],
    ) -> Self {
        let mut content = compressed.to_vec();
        let tag = LessSafeKey::new(UnboundKey::new(cipher, key).unwrap())
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(NONCE),
                Aad::empty(),
                &mut content,
            )
            .unwrap();
        Self {
            outer: ID_CT_AUTH_ENVELOPED_DATA,
            version: 0,
            originator: Vec::new(),
            recipients: to_recipient(&oaep(), wrapped),
            inner: ID_DATA,
            algorithm: algorithm(name, &gcm_parameters(&NONCE, &[2, 1, 16])),
            content: tlv::value(CONTENT, &[&content]),
            attributes: Vec::new(),
            tag: tag.as_ref().to_vec(),
            unauthenticated: Vec::new(),
        }
    }

    /// AuthEnvelopedData alone.
    pub fn data(&self) -> Vec<u8> {
        let content = [&oid(self.inner)[..], &self.algorithm, &self.content].concat();
        tlv::value(
            SEQUENCE,
            &[
                &[2, 1, self.version],
                &self.originator,
                &tlv::value(SET, &[&self.recipients]),
                &tlv::value(SEQUENCE, &[&content]),
                &self.attributes,
                &tlv::value(OCTET_STRING, &[&self.tag]),
                &self.unauthenticated,
            ],
        )
    }

    pub fn der(&self) -> Vec<u8> {
        content_info(self.outer, &self.data())
    }
}

pub fn content_info(name: ObjectIdentifier, data: &[u8]) -> Vec<u8> {
    tlv::value(SEQUENCE, &[&oid(name), &tlv::value(0xa0, &[data])])
}

pub fn gcm_parameters(nonce: &[u8], tag_bytes: &[u8]) -> Vec<u8> {
    tlv::value(SEQUENCE, &[&tlv::value(OCTET_STRING, &[nonce]), tag_bytes])
}

pub fn recipient() -> Recipient {
    Recipient::from_pem(&recipient_pem()).unwrap()
}

/// RSAES-OAEP from its parameters' fields.
pub fn oaep_of(fields: &[&[u8]]) -> Vec<u8> {
    algorithm(ID_RSAES_OAEP, &tlv::value(SEQUENCE, fields))
}

pub fn hash_field(hash: ObjectIdentifier, parameters: &[u8]) -> Vec<u8> {
    tlv::value(0xa0, &[&algorithm(hash, parameters)])
}

pub fn mask_field(hash: ObjectIdentifier, parameters: &[u8]) -> Vec<u8> {
    let mask = algorithm(ID_MGF_1, &algorithm(hash, parameters));
    tlv::value(0xa1, &[&mask])
}

pub fn oaep() -> Vec<u8> {
    oaep_of(&[&hash_field(ID_SHA_256, &[]), &mask_field(ID_SHA_256, &[])])
}

/// A recipient information for the recipient of the vectors.
pub fn to_recipient(algorithm: &[u8], wrapped: &[u8]) -> Vec<u8> {
    key_transport(0, recipient().identifier(), algorithm, wrapped)
}

pub fn key_transport(version: u8, name: &[u8], algorithm: &[u8], wrapped: &[u8]) -> Vec<u8> {
    let wrapped = tlv::value(OCTET_STRING, &[wrapped]);
    tlv::value(SEQUENCE, &[&[2, 1, version], name, algorithm, &wrapped])
}

/// Flips the lowest bit of the byte at an offset into the first place where these bytes are.
pub fn flip(bytes: &mut [u8], needle: &[u8], offset: usize) {
    let at = find(bytes, needle);
    bytes[at + offset] ^= 1;
}

pub fn find(bytes: &[u8], needle: &[u8]) -> usize {
    let mut windows = bytes.windows(needle.len());
    windows.position(|window| window == needle).unwrap()
}
