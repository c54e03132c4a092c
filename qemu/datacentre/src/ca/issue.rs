//! One certificate at a time: what each kind must carry.

use super::{CaError, Made, RecipientBits, Secrecy};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RevocationReason,
    RevokedCertParams, RsaKeySize, SanType, SerialNumber,
};
use std::time::Duration;

/// `id-kp-ipsecIKE` of RFC 4945.
const IPSEC_IKE: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 17];

/// From and to in Unix seconds.
#[derive(Clone, Copy)]
pub struct Validity {
    pub from: u64,
    pub to: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
}

/// What an end's certificate is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ike,
    Server,
    Client,
    Signer,
}

/// An authority that can issue.
pub struct Authority(Issuer<'static, KeyPair>);

fn failed(name: &str) -> impl Fn(rcgen::Error) -> CaError + '_ {
    move |source| CaError::Certificate {
        name: name.to_owned(),
        source,
    }
}

fn save(files: &mut Vec<Made>, name: &str, certificate: &rcgen::Certificate, key: &KeyPair) {
    let public = Made {
        name: format!("{name}.pem"),
        bytes: certificate.pem().into_bytes(),
        secrecy: Secrecy::Public,
    };
    let secret = Made {
        name: format!("{name}.key"),
        bytes: key.serialize_pem().into_bytes(),
        secrecy: Secrecy::Secret,
    };
    files.extend([public, secret]);
}

fn parameters(subject: &str, validity: Validity) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, subject);
    parameters.not_before = epoch + Duration::from_secs(validity.from);
    parameters.not_after = epoch + Duration::from_secs(validity.to);
    parameters
}

impl Authority {
    pub fn make(
        files: &mut Vec<Made>,
        name: &str,
        subject: &str,
        curve: Curve,
        validity: Validity,
    ) -> Result<Self, CaError> {
        let algorithm = match curve {
            Curve::P256 => &PKCS_ECDSA_P256_SHA256,
            Curve::P384 => &PKCS_ECDSA_P384_SHA384,
        };
        let key = KeyPair::generate_for(algorithm).map_err(failed(name))?;
        let mut parameters = parameters(subject, validity);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = parameters.self_signed(&key).map_err(failed(name))?;
        save(files, name, &certificate, &key);
        Ok(Self(Issuer::new(parameters, key)))
    }

    /// Issues to a P-256 key made now; returns the serial number.
    pub fn issue(
        &self,
        files: &mut Vec<Made>,
        name: &str,
        subject: &str,
        kind: Kind,
        validity: Validity,
    ) -> Result<SerialNumber, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed(name))?;
        let mut parameters = parameters(subject, validity);
        let serial = fresh_serial(&key);
        parameters.serial_number = Some(serial.clone());
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let dns_name = subject.try_into().map_err(failed(name))?;
        parameters.subject_alt_names = vec![SanType::DnsName(dns_name)];
        parameters.extended_key_usages = match kind {
            Kind::Ike => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::Other(IPSEC_IKE.to_vec()),
            ],
            Kind::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Kind::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Kind::Signer => vec![ExtendedKeyUsagePurpose::EmailProtection],
        };
        let certificate = parameters.signed_by(&key, &self.0).map_err(failed(name))?;
        save(files, name, &certificate, &key);
        Ok(serial)
    }

    /// The revocation list, as PEM and as DER.
    pub fn revocation_list(
        &self,
        files: &mut Vec<Made>,
        name: &str,
        revoked: &[SerialNumber],
        from: u64,
        to: u64,
    ) -> Result<(), CaError> {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let from = epoch + Duration::from_secs(from);
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: from,
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: from,
            next_update: epoch + Duration::from_secs(to),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.0).map_err(failed(name))?;
        let pem = list.pem().map_err(failed(name))?;
        let made = |ending, bytes| Made {
            name: format!("{name}.{ending}"),
            bytes,
            secrecy: Secrecy::Public,
        };
        files.extend([
            made("pem", pem.into_bytes()),
            made("der", list.der().to_vec()),
        ]);
        Ok(())
    }
}

/// A positive serial number of 16 bytes, from the digest of the fresh key: as unforeseeable as the key.
fn fresh_serial(key: &KeyPair) -> SerialNumber {
    let mut serial = bundle::Digest::of(key.public_key_raw()).0[..16].to_vec();
    serial[0] = serial[0] & 0x3f | 0x40;
    SerialNumber::from(serial)
}

/// The certificate that a box pins for receipts.
pub fn receipt(files: &mut Vec<Made>, name: &str, validity: Validity) -> Result<(), CaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed(name))?;
    let mut parameters = parameters("Receipts", validity);
    parameters.serial_number = Some(fresh_serial(&key));
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    let certificate = parameters.self_signed(&key).map_err(failed(name))?;
    save(files, name, &certificate, &key);
    Ok(())
}

/// The certificate to which bundles are sealed.
pub fn recipient(
    files: &mut Vec<Made>,
    name: &str,
    bits: RecipientBits,
    validity: Validity,
) -> Result<(), CaError> {
    let size = match bits {
        RecipientBits::B2048 => RsaKeySize::_2048,
        RecipientBits::B3072 => RsaKeySize::_3072,
        RecipientBits::B4096 => RsaKeySize::_4096,
    };
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).map_err(failed(name))?;
    let mut parameters = parameters("Decryption Server", validity);
    parameters.serial_number = Some(fresh_serial(&key));
    parameters.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    let certificate = parameters.self_signed(&key).map_err(failed(name))?;
    save(files, name, &certificate, &key);
    Ok(())
}
