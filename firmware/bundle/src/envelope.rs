//! The outer shell: CMS AuthEnvelopedData (RFC 5083) with AES-256-GCM (RFC 5084) and RSAES-OAEP (RFC 4055, RFC 3560).
//!
//! Written by hand, because the length of every field is known before the ciphertext is: the plaintext is encrypted at
//! its final place and never copied. Read with the types of `cms`, strictly as DER. There are no authenticated
//! attributes: two current OpenSSL releases cannot parse them.

use crate::limits::{RECIPIENT_LIMIT, SEALED_LIMIT_BYTES};
use crate::recipient::Recipient;
use crate::signed::is_plain;
use crate::tlv;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use cms::authenveloped_data::AuthEnvelopedData;
use cms::content_info::CmsVersion;
use cms::enveloped_data::{KeyTransRecipientInfo, RecipientIdentifier, RecipientInfo};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_AES_256_GCM, ID_CT_AUTH_ENVELOPED_DATA, ID_DATA};
use const_oid::db::rfc5912::{ID_MGF_1, ID_RSAES_OAEP, ID_SHA_256};
use der::asn1::{AnyRef, OctetStringRef};
use der::{Any, Decode, Encode, Sequence};
use spki::AlgorithmIdentifierOwned;
use std::error::Error;
use std::fmt;

const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const CONTEXT_0_CONSTRUCTED: u8 = 0xa0;
const CONTEXT_1_CONSTRUCTED: u8 = 0xa1;
const CONTEXT_0: u8 = 0x80;

#[derive(Sequence)]
pub(crate) struct ContentInfoRef<'a> {
    pub content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub content: AnyRef<'a>,
}

/// `GCMParameters` of RFC 5084.
#[derive(Sequence)]
struct GcmParameters<'a> {
    nonce: &'a OctetStringRef,
    #[asn1(default = "default_tag_bytes")]
    tag_bytes: u8,
}

/// RFC 5084: the length of the tag is 12 where it is not given.
fn default_tag_bytes() -> u8 {
    12
}

/// `RSAES-OAEP-params` of RFC 4055.
#[derive(Sequence)]
struct OaepParameters {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    label: Option<Any>,
}

/// Why the shell is refused.
#[derive(Debug)]
pub enum EnvelopeError {
    TooLarge {
        bytes: usize,
    },
    Form(der::Error),
    NotAuthEnveloped(String),
    /// A field that a bundle does not have.
    Field(&'static str),
    ContentAlgorithm(String),
    RecipientCount(usize),
    KeyAlgorithm(String),
    /// None of the recipients is the given certificate; the names of those it is for.
    NotForUs(Vec<String>),
    ContentKey,
    /// The authentication tag does not fit: not a bit of the plaintext is given out.
    Tag,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes } => {
                write!(
                    f,
                    "the bundle has {bytes} bytes, at most {SEALED_LIMIT_BYTES} are allowed"
                )
            }
            Self::Form(_) => write!(f, "the bundle is not whole DER of CMS AuthEnvelopedData"),
            Self::NotAuthEnveloped(oid) => {
                write!(f, "the bundle is CMS of type {oid}, not AuthEnvelopedData")
            }
            Self::Field(what) => write!(f, "the envelope has {what}, which no bundle has"),
            Self::ContentAlgorithm(what) => {
                write!(
                    f,
                    "the content is encrypted with {what}, not with AES-256-GCM, 12 bytes of nonce, 16 of tag"
                )
            }
            Self::RecipientCount(count) => {
                write!(
                    f,
                    "the bundle names {count} recipients, allowed are 1 to {RECIPIENT_LIMIT}"
                )
            }
            Self::KeyAlgorithm(what) => {
                write!(
                    f,
                    "the content key is encrypted with {what}, not with RSAES-OAEP and SHA-256"
                )
            }
            Self::NotForUs(names) => write!(
                f,
                "the bundle is not for this recipient; it is for {}; use the certificate and key of one of them",
                names.join(", ")
            ),
            Self::ContentKey => write!(
                f,
                "the content key cannot be decrypted: another key, or an altered bundle"
            ),
            Self::Tag => write!(
                f,
                "the authentication tag does not fit: the bundle was altered or damaged"
            ),
        }
    }
}

impl Error for EnvelopeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Form(source) => Some(source),
            _ => None,
        }
    }
}

/// Encrypts the concatenated parts to the recipients, with a fresh content key. What `out` holds is overwritten.
pub(crate) fn seal(
    mut out: Vec<u8>,
    recipients: &[Recipient],
    parts: &[&[u8]],
) -> Result<Vec<u8>, Unspecified> {
    let mut key = [0; KEY_BYTES];
    let mut nonce = [0; NONCE_LEN];
    aws_lc_rs::rand::fill(&mut key)?;
    aws_lc_rs::rand::fill(&mut nonce)?;
    let mut wrapped = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        wrapped.push(recipient_info(
            recipient.identifier(),
            &recipient.wrap(&key)?,
        ));
    }
    wrapped.sort(); // DER orders the members of a SET OF
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let head = head(&wrapped.concat(), &nonce, length);
    let start = head.len();
    out.clear();
    out.reserve_exact(start + length + 2 + TAG_BYTES);
    out.extend_from_slice(&head);
    for part in parts {
        out.extend_from_slice(part);
    }
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key)?);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = cipher.seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[start..])?;
    tlv::header(&mut out, OCTET_STRING, TAG_BYTES);
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// Everything before the ciphertext: definite lengths, written from the inside out.
fn head(recipient_infos: &[u8], nonce: &[u8], length: usize) -> Vec<u8> {
    let oid = |oid: ObjectIdentifier| tlv::value(OBJECT_IDENTIFIER, &[oid.as_bytes()]);
    let parameters = tlv::value(
        SEQUENCE,
        &[
            &tlv::value(OCTET_STRING, &[nonce]),
            &tlv::value(INTEGER, &[&[TAG_BYTES as u8]]),
        ],
    );
    let mut content = oid(ID_DATA);
    content.extend(tlv::value(SEQUENCE, &[&oid(ID_AES_256_GCM), &parameters]));
    tlv::header(&mut content, CONTEXT_0, length);

    let mut envelope = tlv::value(INTEGER, &[&[0]]);
    envelope.extend(tlv::value(SET, &[recipient_infos]));
    tlv::header(&mut envelope, SEQUENCE, content.len() + length);
    envelope.extend(content);

    let trailer = 2 + TAG_BYTES;
    let envelope_length = envelope.len() + length + trailer;
    let explicit_length = tlv::header_length(envelope_length) + envelope_length;
    let content_type = oid(ID_CT_AUTH_ENVELOPED_DATA);
    let info_length = content_type.len() + tlv::header_length(explicit_length) + explicit_length;
    let mut out = Vec::new();
    tlv::header(&mut out, SEQUENCE, info_length);
    out.extend(content_type);
    tlv::header(&mut out, CONTEXT_0_CONSTRUCTED, explicit_length);
    tlv::header(&mut out, SEQUENCE, envelope_length);
    out.extend(envelope);
    out
}

fn recipient_info(identifier: &[u8], wrapped: &[u8]) -> Vec<u8> {
    let oid = |oid: ObjectIdentifier| tlv::value(OBJECT_IDENTIFIER, &[oid.as_bytes()]);
    let sha256 = tlv::value(SEQUENCE, &[&oid(ID_SHA_256)]);
    let mask = tlv::value(SEQUENCE, &[&oid(ID_MGF_1), &sha256]);
    let parameters = tlv::value(
        SEQUENCE,
        &[
            &tlv::value(CONTEXT_0_CONSTRUCTED, &[&sha256]),
            &tlv::value(CONTEXT_1_CONSTRUCTED, &[&mask]),
        ],
    );
    tlv::value(
        SEQUENCE,
        &[
            &tlv::value(INTEGER, &[&[0]]),
            identifier,
            &tlv::value(SEQUENCE, &[&oid(ID_RSAES_OAEP), &parameters]),
            &tlv::value(OCTET_STRING, &[wrapped]),
        ],
    )
}

/// A shell of the right form; nothing in it is trusted.
pub(crate) struct Shell(AuthEnvelopedData);

pub(crate) fn parse(bytes: &[u8]) -> Result<Shell, EnvelopeError> {
    if bytes.len() > SEALED_LIMIT_BYTES {
        return Err(EnvelopeError::TooLarge { bytes: bytes.len() });
    }
    let info = ContentInfoRef::from_der(bytes).map_err(EnvelopeError::Form)?;
    if info.content_type != ID_CT_AUTH_ENVELOPED_DATA {
        return Err(EnvelopeError::NotAuthEnveloped(
            info.content_type.to_string(),
        ));
    }
    let data: AuthEnvelopedData = info.content.decode_as().map_err(EnvelopeError::Form)?;
    let refused = [
        (data.version != CmsVersion::V0, "a version other than 0"),
        (
            data.originator_info.is_some(),
            "information on the originator",
        ),
        (data.auth_attrs.is_some(), "authenticated attributes"),
        (data.unauth_attrs.is_some(), "unauthenticated attributes"),
        (
            data.mac.as_bytes().len() != TAG_BYTES,
            "a tag that is not 16 bytes long",
        ),
        (
            data.auth_encrypted_content_info.content_type != ID_DATA,
            "a content type other than data",
        ),
        (
            data.auth_encrypted_content_info.encrypted_content.is_none(),
            "a detached content",
        ),
    ];
    if let Some((_, what)) = refused.iter().find(|(found, _)| *found) {
        return Err(EnvelopeError::Field(what));
    }
    // the types sort a SET OF while they read it: what was there is compared with what should have been
    let sorted = data.recip_infos.to_der().map_err(EnvelopeError::Form)?;
    let after_version = info.content.value().get(3..).unwrap_or_default();
    if !after_version.starts_with(&sorted) {
        return Err(EnvelopeError::Field(
            "recipients in another order than DER's",
        ));
    }
    let count = data.recip_infos.0.len();
    if !(1..=RECIPIENT_LIMIT).contains(&count) {
        return Err(EnvelopeError::RecipientCount(count));
    }
    Ok(Shell(data))
}

impl Shell {
    /// The recipient information whose name (issuer and serial number) is the given one.
    pub fn recipient(&self, identifier: &[u8]) -> Result<&KeyTransRecipientInfo, EnvelopeError> {
        let mut others = Vec::new();
        for info in self.0.recip_infos.0.iter() {
            let RecipientInfo::Ktri(info) = info else {
                return Err(EnvelopeError::Field(
                    "a recipient that is not by key transport",
                ));
            };
            let RecipientIdentifier::IssuerAndSerialNumber(name) = &info.rid else {
                return Err(EnvelopeError::Field(
                    "a recipient that is not named by issuer and serial number",
                ));
            };
            if info.version != CmsVersion::V0 {
                return Err(EnvelopeError::Field(
                    "a recipient of a version other than 0",
                ));
            }
            if name.to_der().map_err(EnvelopeError::Form)? == identifier {
                check_key_algorithm(&info.key_enc_alg)?;
                return Ok(info);
            }
            others.push(format!("serial {} of {}", name.serial_number, name.issuer));
        }
        Err(EnvelopeError::NotForUs(others))
    }

    /// Decrypts with the content key.
    pub fn decrypt(&self, key: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let info = &self.0.auth_encrypted_content_info;
        let wrong = |what: String| EnvelopeError::ContentAlgorithm(what);
        let algorithm = &info.content_enc_alg;
        if algorithm.oid != ID_AES_256_GCM {
            return Err(wrong(algorithm.oid.to_string()));
        }
        let parameters: GcmParameters = algorithm
            .parameters
            .as_ref()
            .ok_or_else(|| wrong("no parameters".into()))?
            .decode_as()
            .map_err(EnvelopeError::Form)?;
        if usize::from(parameters.tag_bytes) != TAG_BYTES {
            return Err(wrong(format!("a tag of {} bytes", parameters.tag_bytes)));
        }
        let nonce = Nonce::try_assume_unique_for_key(parameters.nonce.as_bytes())
            .map_err(|_| wrong("a nonce of another length".into()))?;
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| EnvelopeError::ContentKey)?;
        let Some(ciphertext) = &info.encrypted_content else {
            return Err(EnvelopeError::Field("a detached content"));
        };
        let mut plain = vec![0; ciphertext.as_bytes().len()];
        LessSafeKey::new(key)
            .open_separate_gather(
                nonce,
                Aad::empty(),
                ciphertext.as_bytes(),
                self.0.mac.as_bytes(),
                &mut plain,
            )
            .map_err(|_| EnvelopeError::Tag)?;
        Ok(plain)
    }
}

/// RSAES-OAEP with SHA-256 in both places and no label; absent and NULL parameters of SHA-256 are the same (RFC 4055).
fn check_key_algorithm(algorithm: &AlgorithmIdentifierOwned) -> Result<(), EnvelopeError> {
    let wrong = |what: String| Err(EnvelopeError::KeyAlgorithm(what));
    if algorithm.oid != ID_RSAES_OAEP {
        return wrong(algorithm.oid.to_string());
    }
    let Some(parameters) = &algorithm.parameters else {
        return wrong("RSAES-OAEP and SHA-1".into());
    };
    let parameters: OaepParameters = parameters.decode_as().map_err(EnvelopeError::Form)?;
    if parameters.label.is_some() {
        return wrong("RSAES-OAEP with a label".into());
    }
    let Some(hash) = &parameters.hash else {
        return wrong("RSAES-OAEP and SHA-1".into());
    };
    if hash.oid != ID_SHA_256 || !is_plain(hash) {
        return wrong(format!("RSAES-OAEP and hash {}", hash.oid));
    }
    let mask_hash = match &parameters.mask {
        Some(mask) if mask.oid == ID_MGF_1 => mask.parameters.as_ref(),
        _ => None,
    };
    let mask_hash: Option<AlgorithmIdentifierOwned> = mask_hash
        .map(Any::decode_as)
        .transpose()
        .map_err(EnvelopeError::Form)?;
    match mask_hash {
        Some(hash) if hash.oid == ID_SHA_256 && is_plain(&hash) => Ok(()),
        _ => wrong("RSAES-OAEP whose mask function is not MGF1 with SHA-256".into()),
    }
}
