//! Ways to be wrong in the manifest's signature: its form, what it is over, and whose it is.

use super::Case;
use super::forge::*;
use super::of_signers::by;
use crate::digest::Digest;
use crate::limits::{MANIFEST_LIMIT_BYTES, SIGNATURE_LIMIT_BYTES};
use crate::signed::Placement;
use crate::signer::{LocalSigner, Signer};
use cms::cert::{CertificateChoices, OtherCertificateFormat};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::revocation::{RevocationInfoChoice, RevocationInfoChoices};
use cms::signed_data::{CertificateSet, SignedData, SignerIdentifier, SignerInfo, SignerInfos};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_ENVELOPED_DATA, ID_SIGNED_DATA};
use const_oid::db::rfc5912::{ID_SHA_384, SHA_256_WITH_RSA_ENCRYPTION};
use der::asn1::{OctetString, SetOfVec};
use der::{Any, Decode, Encode};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use std::fs;
use x509_cert::attr::Attribute;
use x509_cert::ext::pkix::SubjectKeyIdentifier;

pub fn refused(
    vector: &str,
    wrong: &str,
    variant: &str,
    says: &str,
    body: impl Fn() -> Vec<u8> + 'static,
) -> Case {
    let expect = format!("OpenError.Signature.{variant}");
    Case::new(
        vector,
        wrong,
        &expect,
        &format!("the manifest's signature is refused: {says}"),
        body,
    )
}

/// The right bundle with other bytes as its signature.
fn raw(edit: fn(&mut Vec<u8>)) -> impl Fn() -> Vec<u8> {
    move || {
        let mut inside = Inside::right();
        edit(&mut inside.0[1].1);
        inside.bundle()
    }
}

/// The right bundle with a field of its signature changed.
fn edited(edit: fn(&mut SignedData)) -> impl Fn() -> Vec<u8> {
    move || {
        let mut inside = Inside::right();
        let signature = ContentInfo::from_der(&inside.0[1].1).unwrap();
        let mut data: SignedData = signature.content.decode_as().unwrap();
        edit(&mut data);
        inside.0[1].1 = content_info(ID_SIGNED_DATA, &data.to_der().unwrap());
        inside.bundle()
    }
}

/// Its one signer changed.
fn signer_edited(edit: fn(&mut SignerInfo)) -> impl Fn(&mut SignedData) {
    move |data| {
        let mut signer = data.signer_infos.0.as_slice()[0].clone();
        edit(&mut signer);
        data.signer_infos = SignerInfos(SetOfVec::try_from(vec![signer]).unwrap());
    }
}

fn choices(certificates: Vec<CertificateChoices>) -> Option<CertificateSet> {
    Some(CertificateSet(SetOfVec::try_from(certificates).unwrap()))
}

fn another_certificate() -> CertificateChoices {
    let other = Authority::trusted().issue(signer(1003)).certificate;
    CertificateChoices::Certificate(crate::signed::certificate_from_pem(&other).unwrap())
}

pub fn cases() -> Vec<Case> {
    let mut cases = forms();
    cases.extend(fields());
    cases
}

fn forms() -> Vec<Case> {
    const FORM: &str = "the signature is not whole DER of CMS SignedData";
    const OTHER: &str = "the signature does not fit the content";
    let form = |vector, wrong, edit| refused(vector, wrong, "Form", FORM, raw(edit));
    vec![
        form("signature-empty", "the signature is empty", Vec::clear),
        form(
            "signature-cut",
            "the last byte of the signature is missing",
            |s| s.truncate(s.len() - 1),
        ),
        form("signature-trailing", "a byte follows the signature", |s| {
            s.push(0)
        }),
        form("signature-of-text", "the signature is no DER", |s| {
            *s = b"signed: box-1".to_vec()
        }),
        Case::new(
            "signature-too-large",
            "the signature has 64 KiB and a byte",
            "OpenError.SignatureSize",
            "the signature has 65537 bytes, at most 65536 are allowed",
            raw(|s| s.resize(SIGNATURE_LIMIT_BYTES + 1, 0)),
        ),
        Case::new(
            "manifest-too-large",
            "the manifest has 8 MiB and a byte, most of them spaces",
            "OpenError.ManifestSize",
            "the manifest has 8388609 bytes, at most 8388608 are allowed",
            || {
                let mut manifest = right_manifest().into_bytes();
                manifest.resize(MANIFEST_LIMIT_BYTES + 1, b' ');
                Inside::signed(&manifest).bundle()
            },
        ),
        refused(
            "signature-type",
            "the signature says that it is CMS EnvelopedData",
            "NotSigned",
            "the signature is CMS of type 1.2.840.113549.1.7.3, not SignedData",
            raw(|s| {
                let info = ContentInfo::from_der(s).unwrap();
                *s = content_info(ID_ENVELOPED_DATA, &info.content.to_der().unwrap());
            }),
        ),
        refused(
            "flip-signature",
            "a bit of the signature's value is flipped",
            "Signature",
            OTHER,
            edited(|data| {
                signer_edited(|signer| {
                    let mut value = signer.signature.as_bytes().to_vec();
                    *value.last_mut().unwrap() ^= 1;
                    signer.signature = OctetString::new(value).unwrap();
                })(data)
            }),
        ),
        refused(
            "flip-manifest",
            "a bit of the manifest is flipped",
            "Signature",
            OTHER,
            || {
                let mut inside = Inside::right();
                flip(&mut inside.0[0].1, b"\"path\":\"a\"", 8);
                inside.bundle()
            },
        ),
        refused(
            "signature-of-another-manifest",
            "the signature is over another manifest",
            "Signature",
            OTHER,
            || {
                let other = manifest_of(&entry(1, "a", b"one"));
                let mut inside = Inside::right();
                inside.0[1] = Inside::signed(other.as_bytes()).0.remove(1);
                inside.bundle()
            },
        ),
        refused(
            "signature-by-another-key",
            "the certificate is right, but the key is another",
            "Signature",
            OTHER,
            || {
                let stranger = Authority::other().issue(signer(1001));
                by(&Pair {
                    key: stranger.key,
                    ..box_1()
                })
            },
        ),
    ]
}

fn fields() -> Vec<Case> {
    let field = |vector, wrong, what: &str, edit: fn(&mut SignedData)| {
        let says = format!("the signature has {what}, which none of ours has");
        refused(vector, wrong, "Field", &says, edited(edit))
    };
    let algorithm = |vector, wrong, what: &str, edit: fn(&mut SignedData)| {
        let says = format!("the message is signed with {what}, not with ECDSA and SHA-256");
        refused(vector, wrong, "Algorithm", &says, edited(edit))
    };
    vec![
        refused(
            "signature-attached",
            "the manifest is inside its signature too",
            "Field",
            "the signature has its content inside, which none of ours has",
            || {
                let manifest = right_manifest().into_bytes();
                Inside::of(&manifest, sign(&manifest, Placement::Attached, &box_1())).bundle()
            },
        ),
        refused(
            "signed-attributes",
            "the signature is over attributes, of which one is the manifest's digest",
            "Field",
            "the signature has signed attributes, which none of ours has",
            edited(|data| signer_edited(sign_attributes)(data)),
        ),
        field(
            "unsigned-attributes",
            "the signature has an attribute that nothing protects",
            "unsigned attributes",
            |data| {
                signer_edited(|signer| {
                    signer.unsigned_attrs = Some(attributes().try_into().unwrap())
                })(data)
            },
        ),
        field(
            "signature-version-3",
            "the version is 3",
            "a version other than 1",
            |data| data.version = CmsVersion::V3,
        ),
        field(
            "signature-content-type",
            "the content says that it is SignedData",
            "a content type other than data",
            |data| data.encap_content_info.econtent_type = ID_SIGNED_DATA,
        ),
        field(
            "signature-digests",
            "the list of digests names SHA-384",
            "a list of digests that is not its signer's",
            |data| {
                let mut digest = data.digest_algorithms.as_slice()[0].clone();
                digest.oid = ID_SHA_384;
                data.digest_algorithms = SetOfVec::try_from(vec![digest]).unwrap();
            },
        ),
        field(
            "signature-parameter",
            "the signature's algorithm has a parameter",
            "a parameter of an algorithm",
            |data| {
                signer_edited(|signer| signer.signature_algorithm.parameters = Some(Any::null()))(
                    data,
                )
            },
        ),
        field(
            "signature-with-lists",
            "a revocation list comes along",
            "revocation lists",
            |data| {
                let list = fs::read(super::testdata("pki/list.pem")).unwrap();
                let der = CertificateRevocationListDer::from_pem_slice(&list).unwrap();
                let list = RevocationInfoChoice::Crl(Decode::from_der(&der).unwrap());
                data.crls = Some(RevocationInfoChoices(
                    SetOfVec::try_from(vec![list]).unwrap(),
                ));
            },
        ),
        field(
            "certificate-of-another-kind",
            "the certificate is of no known kind",
            "a certificate of another kind",
            |data| {
                let other = OtherCertificateFormat {
                    other_cert_format: ObjectIdentifier::new_unwrap("1.2.3.4"),
                    other_cert: Any::null(),
                };
                data.certificates = choices(vec![CertificateChoices::Other(other)]);
            },
        ),
        field(
            "certificates-two",
            "a second certificate comes along",
            "more than one certificate",
            |data| {
                let own = data.certificates.as_ref().unwrap().0.as_slice()[0].clone();
                data.certificates = choices(vec![own, another_certificate()]);
            },
        ),
        field(
            "signer-by-key-identifier",
            "the signer is named by the identifier of its key",
            "a signer that is not named by issuer and serial number",
            |data| {
                signer_edited(|signer| {
                    let identifier = SubjectKeyIdentifier(OctetString::new(vec![1; 20]).unwrap());
                    signer.sid = SignerIdentifier::SubjectKeyIdentifier(identifier);
                })(data)
            },
        ),
        algorithm(
            "signature-sha-384",
            "the digest is said to be SHA-384",
            "hash 2.16.840.1.101.3.4.2.2",
            |data| signer_edited(|signer| signer.digest_alg.oid = ID_SHA_384)(data),
        ),
        algorithm(
            "signature-rsa",
            "the algorithm is said to be RSA",
            "1.2.840.113549.1.1.11",
            |data| {
                signer_edited(|signer| signer.signature_algorithm.oid = SHA_256_WITH_RSA_ENCRYPTION)(
                    data,
                )
            },
        ),
        refused(
            "signers-none",
            "nobody signed",
            "SignerCount",
            "the message has 0 signers, it must have one",
            edited(|data| data.signer_infos = SignerInfos(SetOfVec::new())),
        ),
        refused(
            "signers-two",
            "two signed",
            "SignerCount",
            "the message has 2 signers, it must have one",
            edited(|data| {
                let one = data.signer_infos.0.as_slice()[0].clone();
                let two = SignerInfo {
                    version: CmsVersion::V3,
                    ..one.clone()
                };
                data.signer_infos = SignerInfos(SetOfVec::try_from(vec![one, two]).unwrap());
            }),
        ),
        refused(
            "certificate-missing",
            "the signer's certificate is not there",
            "CertificateMissing",
            "the message does not carry its signer's certificate",
            edited(|data| data.certificates = None),
        ),
        refused(
            "certificate-of-another",
            "the certificate is not the signer's",
            "CertificateMissing",
            "the message does not carry its signer's certificate",
            edited(|data| data.certificates = choices(vec![another_certificate()])),
        ),
    ]
}

/// Content type and message digest, as most signers write them.
fn attributes() -> Vec<Attribute> {
    let attribute = |name: &str, value: Any| Attribute {
        oid: ObjectIdentifier::new_unwrap(name),
        values: SetOfVec::try_from(vec![value]).unwrap(),
    };
    let digest = OctetString::new(Digest::of(right_manifest().as_bytes()).0).unwrap();
    let data = const_oid::db::rfc5911::ID_DATA;
    vec![
        attribute("1.2.840.113549.1.9.3", Any::encode_from(&data).unwrap()),
        attribute("1.2.840.113549.1.9.4", Any::encode_from(&digest).unwrap()),
    ]
}

fn sign_attributes(signer: &mut SignerInfo) {
    let attributes: SetOfVec<Attribute> = attributes().try_into().unwrap();
    let key = LocalSigner::from_pem(&box_1().key).unwrap();
    let signature = key
        .sign(&Digest::of(&attributes.to_der().unwrap()).0)
        .unwrap();
    signer.signature = OctetString::new(signature).unwrap();
    signer.signed_attrs = Some(attributes);
}
