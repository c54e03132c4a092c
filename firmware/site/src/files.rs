//! The files that the configuration names: present, and what they are named for.

use crate::credential::{self, Curves, Refusal};
use crate::fault::Collector;
use crate::section::At;
use crate::written::{Receipts, Written};
use std::collections::BTreeMap;
use std::path::PathBuf;
use x509_cert::Certificate;

/// Where accepted files live on the box. `current` is a link to the accepted generation, so that one rename changes
/// all of them.
pub const SITE_FOLDER: &str = "/state/site/current";
/// Keys for the role `keyholder`.
pub const KEYS_FOLDER: &str = "/state/keys/current";
/// charon's key, for the role `tunnel`.
pub const IKE_KEYS_FOLDER: &str = "/state/keys-ike/current";

/// Who may read an accepted file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader {
    /// Certificates and lists: every role.
    Everyone,
    /// Private keys of sealing and upload: the role `keyholder` alone.
    Keyholder,
    /// charon's private key: the role `tunnel` alone.
    Tunnel,
}

impl Reader {
    /// The folder on the box.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Everyone => SITE_FOLDER,
            Self::Keyholder => KEYS_FOLDER,
            Self::Tunnel => IKE_KEYS_FOLDER,
        }
    }
}

/// A file of the disc that the box stores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AcceptedFile {
    /// Name on the disc.
    pub name: String,
    /// Who may read it on the box, and so in which folder it lies.
    pub reader: Reader,
    /// Name on the box, inside the reader's folder.
    pub stored_name: String,
}

impl AcceptedFile {
    /// Absolute path on the box.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(self.reader.folder()).join(&self.stored_name)
    }
}

/// Checks every named file and says where each one goes.
pub(crate) fn check(
    faults: &mut Collector<'_>,
    written: &Written,
    files: &BTreeMap<String, Vec<u8>>,
) -> Vec<AcceptedFile> {
    let mut disc = Disc {
        faults,
        files,
        accepted: Vec::new(),
    };
    if let Some(tunnel) = &written.tunnel {
        let certificate = disc.certificate("tunnel.certificate", &tunnel.certificate);
        disc.key(
            "tunnel.key",
            &tunnel.key,
            Curves::P256OrP384,
            certificate.as_ref(),
            Reader::Tunnel,
            "ike.key",
        );
        disc.certificate("tunnel.authority", &tunnel.authority);
        if let (Some(certificate), Some(identity)) = (&certificate, &tunnel.identity) {
            disc.identity(identity, certificate);
        }
    }
    if let Some(upload) = &written.upload {
        let certificate = disc.certificate("upload.certificate", &upload.certificate);
        disc.key(
            "upload.key",
            &upload.key,
            Curves::P256,
            certificate.as_ref(),
            Reader::Keyholder,
            "upload.key",
        );
        disc.certificate("upload.authority", &upload.authority);
        let allowed = "a PEM revocation list (X509 CRL)";
        disc.file(
            "upload.revocation-list",
            &upload.revocation_list,
            allowed,
            credential::revocation_list,
        );
        if let Some(Receipts::Signed { certificate }) = &upload.receipts {
            disc.certificate("upload.receipt-certificate", certificate);
        }
    }
    if let Some(sealing) = &written.sealing {
        for recipient in sealing.recipients.iter().flatten() {
            let recipient = Some(recipient.clone());
            let allowed = "a PEM certificate with an RSA key of at least 2048 bits";
            disc.file(
                "sealing.recipients",
                &recipient,
                allowed,
                credential::recipient,
            );
        }
        let certificate = disc.certificate("sealing.certificate", &sealing.certificate);
        disc.key(
            "sealing.key",
            &sealing.key,
            Curves::P256,
            certificate.as_ref(),
            Reader::Keyholder,
            "sealing.key",
        );
    }
    let mut accepted = disc.accepted;
    accepted.sort();
    accepted.dedup();
    accepted
}

struct Disc<'a, 'b> {
    faults: &'a mut Collector<'b>,
    files: &'a BTreeMap<String, Vec<u8>>,
    accepted: Vec<AcceptedFile>,
}

impl Disc<'_, '_> {
    /// A public file.
    fn file<T>(
        &mut self,
        key: &str,
        name: &Option<At<String>>,
        allowed: &str,
        read: impl Fn(&[u8]) -> Result<T, Refusal>,
    ) -> Option<T> {
        let name = name.as_ref()?;
        let value = self.read(key, name, allowed, read)?;
        let stored_name = name.value.clone();
        self.accepted.push(AcceptedFile {
            name: name.value.clone(),
            reader: Reader::Everyone,
            stored_name,
        });
        Some(value)
    }

    fn certificate(&mut self, key: &str, name: &Option<At<String>>) -> Option<Certificate> {
        self.file(key, name, "one PEM certificate", credential::certificate)
    }

    /// A private key, which must be that of `certificate` where the certificate could be read.
    fn key(
        &mut self,
        key: &str,
        name: &Option<At<String>>,
        curves: Curves,
        certificate: Option<&Certificate>,
        reader: Reader,
        stored_name: &str,
    ) {
        let Some(name) = name else { return };
        let allowed = match curves {
            Curves::P256 => "one unencrypted PEM private key (PKCS#8) on the curve P-256",
            Curves::P256OrP384 => {
                "one unencrypted PEM private key (PKCS#8) on the curve P-256 or P-384"
            }
        };
        let Some(public) = self.read(key, name, allowed, |bytes| {
            credential::private_key(bytes, curves)
        }) else {
            return;
        };
        if certificate
            .is_some_and(|certificate| credential::public_key(certificate) != Some(&public))
        {
            let table = key.split('.').next().unwrap_or(key);
            let message = format!(
                "{key}: {:?} is not the key of {table}.certificate, allowed: the key that the certificate was made for",
                name.value
            );
            self.faults.fault(&name.span, message);
            return;
        }
        self.accepted.push(AcceptedFile {
            name: name.value.clone(),
            reader,
            stored_name: stored_name.to_owned(),
        });
    }

    fn identity(&mut self, identity: &At<String>, certificate: &Certificate) {
        let names = credential::alternative_names(certificate);
        if names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&identity.value))
        {
            return;
        }
        let allowed = if names.is_empty() {
            "none, as it has no such name".to_owned()
        } else {
            names.join(", ")
        };
        let message = format!(
            "tunnel.identity {:?} is no subjectAltName of tunnel.certificate, allowed: {allowed}",
            identity.value
        );
        self.faults.fault(&identity.span, message);
    }

    fn read<T>(
        &mut self,
        key: &str,
        name: &At<String>,
        allowed: &str,
        read: impl Fn(&[u8]) -> Result<T, Refusal>,
    ) -> Option<T> {
        let Some(bytes) = self.files.get(&name.value) else {
            let message = format!(
                "{key}: there is no file {:?} beside site.toml, allowed: {allowed}",
                name.value
            );
            self.faults.fault(&name.span, message);
            return None;
        };
        match read(bytes) {
            Ok(value) => Some(value),
            Err(Refusal { what, hint }) => {
                let message = format!("{key}: {:?} {what}, allowed: {allowed}", name.value);
                match hint {
                    Some(hint) => self.faults.fault_with_hint(&name.span, message, hint),
                    None => self.faults.fault(&name.span, message),
                }
                None
            }
        }
    }
}
