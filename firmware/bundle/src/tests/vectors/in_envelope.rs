//! Ways to be wrong in the outer shell: cut, flipped, other algorithms, other recipients, fields that no bundle has.

use super::Case;
use super::forge::*;
use crate::limits::SEALED_LIMIT_BYTES;
use crate::tlv;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{
    ID_AES_256_CBC, ID_CT_AUTH_ENVELOPED_DATA, ID_DATA, ID_ENVELOPED_DATA, ID_SIGNED_DATA,
};

pub fn refused(
    vector: &str,
    wrong: &str,
    variant: &str,
    says: &str,
    body: fn() -> Vec<u8>,
) -> Case {
    let (expect, says) = (
        format!("OpenError.Envelope.{variant}"),
        format!("the envelope is refused: {says}"),
    );
    Case::new(vector, wrong, &expect, &says, body)
}

pub fn right() -> Envelope {
    Envelope::of(&one_frame(&Inside::right().archive()))
}

/// The right bundle with one thing about it changed.
pub fn edited(edit: fn(&mut Envelope)) -> Vec<u8> {
    let mut envelope = right();
    edit(&mut envelope);
    envelope.der()
}

pub fn cases() -> Vec<Case> {
    let mut cases = cut_and_flipped();
    cases.extend(forms());
    cases
}

fn cut_and_flipped() -> Vec<Case> {
    const FORM: &str = "the bundle is not whole DER of CMS AuthEnvelopedData";
    const TAG: &str = "the authentication tag does not fit: the bundle was altered or damaged";
    let form = |vector, wrong, body| refused(vector, wrong, "Form", FORM, body);
    let tag = |vector, wrong, body| refused(vector, wrong, "Tag", TAG, body);
    fn cut_at(needle: &[u8], offset: usize) -> Vec<u8> {
        let mut bytes = right().der();
        bytes.truncate(find(&bytes, needle) + offset);
        bytes
    }
    fn flipped(needle: &[u8], offset: usize) -> Vec<u8> {
        let mut bytes = right().der();
        flip(&mut bytes, needle, offset);
        bytes
    }
    fn ended(edit: fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = right().der();
        edit(&mut bytes);
        bytes
    }
    vec![
        Case::right("right", "a bundle of two files", || right().der()),
        form("cut-empty", "the file is empty", Vec::new),
        form(
            "cut-in-the-first-header",
            "the file ends inside the outermost length",
            || right().der()[..3].to_vec(),
        ),
        form(
            "cut-after-the-type",
            "the file ends after the content type",
            || cut_at(&oid(ID_CT_AUTH_ENVELOPED_DATA), 13),
        ),
        form(
            "cut-in-a-recipient",
            "the file ends inside a recipient's name",
            || cut_at(recipient().identifier(), 10),
        ),
        form(
            "cut-in-the-encrypted-key",
            "the file ends inside the encrypted content key",
            || cut_at(&oaep(), 100),
        ),
        form("cut-in-the-nonce", "the file ends inside the nonce", || {
            cut_at(&NONCE, 6)
        }),
        form(
            "cut-in-the-ciphertext",
            "the file ends inside the ciphertext",
            || ended(|bytes| bytes.truncate(bytes.len() - 100)),
        ),
        form("cut-before-the-tag", "the file ends before the tag", || {
            ended(|bytes| bytes.truncate(bytes.len() - 18))
        }),
        form("cut-in-the-tag", "the last byte is missing", || {
            ended(|bytes| bytes.truncate(bytes.len() - 1))
        }),
        form("trailing-byte", "one byte follows the bundle", || {
            ended(|bytes| bytes.push(0))
        }),
        form(
            "flip-first-header",
            "a bit of the outermost tag is flipped",
            || ended(|bytes| bytes[0] ^= 1),
        ),
        refused(
            "flip-type",
            "a bit of the content type is flipped",
            "NotAuthEnveloped",
            "the bundle is CMS of type 1.2.840.113549.1.9.16.1.22, not AuthEnvelopedData",
            || flipped(&oid(ID_CT_AUTH_ENVELOPED_DATA), 12),
        ),
        refused(
            "flip-recipient-name",
            "a bit of the recipient's name is flipped",
            "NotForUs",
            "the bundle is not for this recipient; it is for serial 6D:00:07:A8:BD:EF:4B:1C:E8:4B:E7:89:54:EA:FD:4B of CN=Decryption Serves; \
             use the certificate and key of one of them",
            || flipped(b"Decryption Server", 16),
        ),
        refused(
            "flip-encrypted-key",
            "a bit of the encrypted content key is flipped",
            "ContentKey",
            "the content key cannot be decrypted: another key, or an altered bundle",
            || flipped(&oaep(), 100),
        ),
        tag("flip-nonce", "a bit of the nonce is flipped", || {
            flipped(&NONCE, 5)
        }),
        tag(
            "flip-ciphertext-last",
            "a bit of the last byte of ciphertext is flipped",
            || {
                ended(|bytes| {
                    let at = bytes.len() - 19;
                    bytes[at] ^= 1;
                })
            },
        ),
        tag("flip-tag", "a bit of the tag is flipped", || {
            ended(|bytes| *bytes.last_mut().unwrap() ^= 0x80)
        }),
        form(
            "indefinite-length",
            "BER: the outermost length is indefinite",
            || {
                let data = tlv::value(0xa0, &[&right().data()]);
                [
                    &[0x30, 0x80],
                    &oid(ID_CT_AUTH_ENVELOPED_DATA)[..],
                    &data,
                    &[0, 0],
                ]
                .concat()
            },
        ),
        form(
            "indefinite-ciphertext",
            "BER: the ciphertext comes in pieces",
            || {
                edited(|e| {
                    let whole = e.content[4..].to_vec();
                    let (one, two) = whole.split_at(100);
                    let pieces = [tlv::value(4, &[one]), tlv::value(4, &[two])].concat();
                    e.content = [&[0xa0, 0x80], &pieces[..], &[0, 0]].concat();
                })
            },
        ),
        form(
            "length-with-a-leading-zero",
            "BER: a length is written with a leading zero",
            || {
                ended(|bytes| {
                    assert_eq!(bytes[1], 0x82);
                    bytes[1] = 0x83;
                    bytes.insert(2, 0);
                })
            },
        ),
        refused(
            "too-large",
            "the file has one byte more than 64 MiB",
            "TooLarge",
            "the bundle has 67108865 bytes, at most 67108864 are allowed",
            || right().der()[..1].to_vec(),
        )
        .with(|head| head.zeros = SEALED_LIMIT_BYTES),
    ]
}

fn forms() -> Vec<Case> {
    fn attributes(tag: u8) -> Vec<u8> {
        // content type (RFC 5652, 11.1) is data
        let name = oid(ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3"));
        let attribute = tlv::value(SEQUENCE, &[&name, &tlv::value(SET, &[&oid(ID_DATA)])]);
        tlv::value(tag, &[&attribute])
    }
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
        refused(
            "type-enveloped-data",
            "CMS EnvelopedData with AES-256-CBC, which authenticates nothing",
            "NotAuthEnveloped",
            "the bundle is CMS of type 1.2.840.113549.1.7.3, not AuthEnvelopedData",
            || {
                let envelope = right();
                let iv = tlv::value(OCTET_STRING, &[&[0; 16]]);
                let cbc = algorithm(ID_AES_256_CBC, &iv);
                let content = [&oid(ID_DATA)[..], &cbc, &envelope.content].concat();
                let recipients = tlv::value(SET, &[&envelope.recipients]);
                let content = tlv::value(SEQUENCE, &[&content]);
                let data = tlv::value(SEQUENCE, &[&[2, 1, 0], &recipients, &content]);
                content_info(ID_ENVELOPED_DATA, &data)
            },
        ),
        refused(
            "type-signed-data",
            "the manifest's signature instead of a bundle",
            "NotAuthEnveloped",
            "the bundle is CMS of type 1.2.840.113549.1.7.2, not AuthEnvelopedData",
            || Inside::right().0[1].1.clone(),
        ),
        field(
            "version-2",
            "the version is 2",
            "a version other than 0",
            || edited(|e| e.version = 2),
        ),
        field(
            "originator",
            "there is information on the originator",
            "information on the originator",
            || edited(|e| e.originator = vec![0xa0, 0]),
        ),
        field(
            "authenticated-attributes",
            "there is an authenticated attribute",
            "authenticated attributes",
            || edited(|e| e.attributes = attributes(0xa1)),
        ),
        field(
            "unauthenticated-attributes",
            "there is an attribute that nothing protects",
            "unauthenticated attributes",
            || edited(|e| e.unauthenticated = attributes(0xa2)),
        ),
        field(
            "tag-of-12-bytes",
            "the tag has 12 bytes",
            "a tag that is not 16 bytes long",
            || edited(|e| e.tag.truncate(12)),
        ),
        field(
            "content-type",
            "the content says that it is CMS SignedData",
            "a content type other than data",
            || edited(|e| e.inner = ID_SIGNED_DATA),
        ),
        field(
            "detached",
            "the ciphertext is elsewhere",
            "a detached content",
            || edited(|e| e.content.clear()),
        ),
    ]
}
