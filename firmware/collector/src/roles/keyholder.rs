//! Role `keyholder`: signs digests with the box's private keys, and can do nothing else.
//!
//! 1. A key leaves this process only as signatures. The keys are read once; then no file is opened any more.
//! 2. The peer's uid, as the kernel knows it, decides the key: `intake` has `sealing`, `sender` has `upload`. Whoever
//!    asks for another key, or is neither, is refused and learns nothing about the keys.
//! 3. Only SHA-256 digests are signed (ECDSA P-256, DER): the roles that ask are trusted to have digested what they
//!    mean, since a digest says nothing about it.
//! 4. A request is bounded, and each is answered, with a signature or with a reason.
//!
//! Protocol: `{"key":"sealing"|"upload","digest":"<64 hex digits>"}` gives `{"signature":"<hex>"}` or `{"error":"..."}`.

use crate::runtime::Runtime;
use crate::runtime::keyholder::{Key, SOCKET, from_hex, to_hex};
use crate::runtime::line_server::{LineServer, Request, refusal};
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A request has about 100 bytes.
const LONGEST_REQUEST_BYTES: usize = 256;

pub fn run(runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    let keys = Keys::load(
        &runtime.path(site::KEYS_FOLDER),
        uid_of("intake")?,
        uid_of("sender")?,
    )?;
    let mut server = LineServer::bind(&runtime.path(SOCKET), LONGEST_REQUEST_BYTES)?;
    runtime.publish(
        &serde_json::json!({ "state": "holding the keys", "signatures": 0, "refused": 0 }),
    );
    runtime.ready();
    serve(&runtime, &keys, &mut server)
}

fn serve(
    runtime: &Runtime,
    keys: &Keys,
    server: &mut LineServer,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut counts = Counts::default();
    let mut published = (Counts::default(), Instant::now());
    loop {
        server.turn(runtime.longest_wait(), |requests| {
            requests
                .iter()
                .map(|one| counts.answer(keys, one))
                .collect()
        })?;
        runtime.alive();
        if counts != published.0 && published.1.elapsed() >= runtime.longest_wait() {
            let (signatures, refused) = (counts.signatures, counts.refused);
            runtime.publish(&serde_json::json!({
                "state": "holding the keys", "signatures": signatures, "refused": refused
            }));
            published = (counts, Instant::now());
        }
    }
}

fn uid_of(role: &'static str) -> Result<u32, KeyError> {
    crate::role_table::find(role)
        .map(|row| row.uid)
        .ok_or(KeyError::NoSuchRole { role })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    signatures: u64,
    refused: u64,
}

impl Counts {
    fn answer(&mut self, keys: &Keys, request: &Request) -> String {
        match keys.sign(request) {
            Ok(signature) => {
                self.signatures += 1;
                serde_json::json!({ "signature": to_hex(&signature) }).to_string()
            }
            Err(why) => {
                self.refused += 1;
                refusal(&why.to_string())
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    key: String,
    digest: String,
}

struct Keys {
    /// Key, the uid that may use it, and the pair.
    held: [(Key, u32, EcdsaKeyPair); 2],
}

impl Keys {
    fn load(folder: &Path, sealing_uid: u32, upload_uid: u32) -> Result<Self, KeyError> {
        let load = |key: Key| -> Result<EcdsaKeyPair, KeyError> {
            let path = folder.join(format!("{}.key", key.name()));
            let read = |path: &Path| PrivatePkcs8KeyDer::from_pem_file(path);
            let der = read(&path).map_err(|source| KeyError::Read {
                path: path.clone(),
                source,
            })?;
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der())
                .map_err(|source| KeyError::NotAKey { path, source })
        };
        let held = [
            (Key::Sealing, sealing_uid, load(Key::Sealing)?),
            (Key::Upload, upload_uid, load(Key::Upload)?),
        ];
        Ok(Self { held })
    }

    fn sign(&self, request: &Request) -> Result<Vec<u8>, Refused> {
        let asked: Asked = serde_json::from_str(&request.line).map_err(|_| Refused::NoRequest)?;
        let (_, _, pair) = self
            .held
            .iter()
            .find(|(key, uid, _)| key.name() == asked.key && *uid == request.uid)
            .ok_or(Refused::NotYours { uid: request.uid })?;
        let digest = from_hex(&asked.digest).ok_or(Refused::NoDigest)?;
        let digest = Digest::import_less_safe(&digest, &SHA256).map_err(|_| Refused::NoDigest)?;
        pair.sign_digest(&digest)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| Refused::Failed)
    }
}

/// Why a request is not carried out; all but `Failed` would be refused again.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    NoRequest,
    NotYours { uid: u32 },
    NoDigest,
    Failed,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRequest => write!(
                f,
                "this is no request; it takes exactly the fields key and digest"
            ),
            Self::NotYours { uid } => write!(f, "uid {uid} has no such key"),
            Self::NoDigest => write!(f, "digest is no SHA-256 digest of 64 hex digits"),
            Self::Failed => write!(f, "the signature could not be made"),
        }
    }
}

/// The keys could not be loaded: the box must be commissioned again.
#[derive(Debug)]
enum KeyError {
    NoSuchRole {
        role: &'static str,
    },
    Read {
        path: PathBuf,
        source: rustls_pki_types::pem::Error,
    },
    NotAKey {
        path: PathBuf,
        source: aws_lc_rs::error::KeyRejected,
    },
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchRole { role } => write!(f, "the role table has no role {role}"),
            Self::Read { path, .. } => write!(f, "cannot read the key {}", path.display()),
            Self::NotAKey { path, .. } => write!(f, "{} is no P-256 key", path.display()),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoSuchRole { .. } => None,
            Self::Read { source, .. } => Some(source),
            Self::NotAKey { source, .. } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::keyholder;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, KeyPair, ParsedPublicKey};
    use std::time::Duration;

    const INTAKE: u32 = 101;
    const SENDER: u32 = 103;

    fn keys_in(folder: &Path) -> Keys {
        for name in ["sealing", "upload"] {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
            let der = pair.to_pkcs8v1().unwrap();
            let pem = pem(der.as_ref());
            std::fs::write(folder.join(format!("{name}.key")), pem).unwrap();
        }
        Keys::load(folder, INTAKE, SENDER).unwrap()
    }

    fn pem(der: &[u8]) -> String {
        // PEM by hand: base64 of the DER in one line is what every reader takes.
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in der.chunks(3) {
            let bits = chunk
                .iter()
                .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for index in 0..4 {
                let digit = ALPHABET[(bits >> (18 - 6 * index) & 63) as usize];
                text.push(if index <= chunk.len() {
                    digit as char
                } else {
                    '='
                });
            }
        }
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    fn request(uid: u32, line: &str) -> Request {
        Request {
            uid,
            line: line.to_owned(),
        }
    }

    fn ask(key: &str, digest: &str) -> String {
        serde_json::json!({ "key": key, "digest": digest }).to_string()
    }

    #[test]
    fn a_signature_verifies_under_the_key_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys_in(folder.path());
        let message = b"manifest";
        let digest = aws_lc_rs::digest::digest(&SHA256, message);
        let line = ask("sealing", &to_hex(digest.as_ref()));
        let signature = keys.sign(&request(INTAKE, &line)).unwrap();
        let public = |index: usize| {
            ParsedPublicKey::new(
                &ECDSA_P256_SHA256_ASN1,
                keys.held[index].2.public_key().as_ref(),
            )
            .unwrap()
        };
        public(0).verify_sig(message, &signature).unwrap();
        assert!(public(1).verify_sig(message, &signature).is_err());
    }

    #[test]
    fn each_uid_has_its_own_key_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys_in(folder.path());
        let digest = "00".repeat(32);
        for (uid, key, allowed) in [
            (INTAKE, "sealing", true),
            (SENDER, "upload", true),
            (INTAKE, "upload", false),
            (SENDER, "sealing", false),
            (0, "sealing", false),
            (104, "upload", false),
            (INTAKE, "ike", false),
        ] {
            let answer = keys.sign(&request(uid, &ask(key, &digest)));
            assert_eq!(answer.is_ok(), allowed, "{uid} {key}");
            assert!(allowed || answer == Err(Refused::NotYours { uid }));
        }
    }

    #[test]
    fn what_is_no_sha_256_digest_is_not_signed() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys_in(folder.path());
        let long = "00".repeat(33);
        for digest in ["", "00", &"0".repeat(63), &"zz".repeat(32), &long] {
            assert_eq!(
                keys.sign(&request(INTAKE, &ask("sealing", digest))),
                Err(Refused::NoDigest),
                "{digest}"
            );
        }
        for line in [
            "",
            "{}",
            "[]",
            "null",
            "{\"key\":\"sealing\"}",
            "{\"key\":1,\"digest\":2}",
        ] {
            assert_eq!(
                keys.sign(&request(INTAKE, line)),
                Err(Refused::NoRequest),
                "{line}"
            );
        }
        let more = format!(
            "{{\"key\":\"sealing\",\"digest\":\"{}\",\"also\":1}}",
            "00".repeat(32)
        );
        assert_eq!(keys.sign(&request(INTAKE, &more)), Err(Refused::NoRequest));
    }

    #[test]
    fn the_client_gets_a_signature_or_the_reason_over_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let own = rustix::process::getuid().as_raw();
        keys_in(folder.path());
        let keys = Keys::load(folder.path(), own, own + 1).unwrap();
        let socket = folder.path().join("sign.sock");
        let mut server = LineServer::bind(&socket, LONGEST_REQUEST_BYTES).unwrap();
        let client = std::thread::spawn(move || {
            let digest = [7; 32];
            (
                keyholder::sign(&socket, Key::Sealing, &digest),
                keyholder::sign(&socket, Key::Upload, &digest),
            )
        });
        let mut counts = Counts::default();
        while counts.signatures + counts.refused < 2 {
            server
                .turn(Duration::from_secs(10), |requests| {
                    requests.iter().map(|r| counts.answer(&keys, r)).collect()
                })
                .unwrap();
        }
        let (signed, refused) = client.join().unwrap();
        assert!(signed.is_ok());
        let refused = refused.unwrap_err().to_string();
        assert_eq!(
            refused,
            format!("the keyholder refused to sign: uid {own} has no such key")
        );
    }

    #[test]
    fn a_missing_or_broken_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        keys_in(folder.path());
        std::fs::write(folder.path().join("upload.key"), "nothing").unwrap();
        let error = Keys::load(folder.path(), INTAKE, SENDER)
            .err()
            .unwrap()
            .to_string();
        assert_eq!(
            error,
            format!(
                "cannot read the key {}",
                folder.path().join("upload.key").display()
            )
        );
    }
}
