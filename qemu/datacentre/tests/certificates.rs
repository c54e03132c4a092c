//! The lab's certificates as OpenSSL judges them: the right ones hold, the wrong ones are wrong in just their way.

use datacentre::ca::{CaError, Options, make};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Whether `openssl verify` accepts a certificate, and what it says.
fn verify(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .arg("verify")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("openssl is needed for this test; install it: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn the_right_certificates_hold_and_the_wrong_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), &Options::default(), now()).unwrap();
    let crl = ["-CRLfile", "tls-crl.pem", "-crl_check"];
    let sealing_crl = ["-CRLfile", "sealing-crl.pem", "-crl_check"];
    let (server, client, mail) = ("sslserver", "sslclient", "smimesign");
    for (authority, purpose, name, extra) in [
        ("ike-ca", server, "ike-box", &[][..]),
        ("ike-ca", client, "ike-datacentre", &[]),
        ("tls-ca", server, "tls-server", &crl),
        ("tls-ca", client, "tls-box", &crl),
        ("sealing-ca", mail, "sealing-box", &sealing_crl),
    ] {
        let (authority, right) = (format!("{authority}.pem"), format!("{name}.pem"));
        let judge = |file: &str| {
            let common = ["-CAfile", &authority, "-purpose", purpose];
            verify(folder.path(), &[&common[..], extra, &[file]].concat())
        };
        let (held, text) = judge(&right);
        assert!(held, "{name}: {text}");
        let (held, text) = judge(&format!("wrong/{name}.pem"));
        assert!(
            !held && text.contains("issuer certificate"),
            "{name} of another authority: {text}"
        );
        let (held, text) = judge(&format!("wrong/{name}-expired.pem"));
        assert!(!held && text.contains("expired"), "{name} expired: {text}");
        if !extra.is_empty() {
            let (held, text) = judge(&format!("wrong/{name}-revoked.pem"));
            assert!(!held && text.contains("revoked"), "{name} revoked: {text}");
        }
    }
    let client_as_server = ["-CAfile", "tls-ca.pem", "-purpose", server, "tls-box.pem"];
    assert!(
        !verify(folder.path(), &client_as_server).0,
        "a box's certificate is no server's"
    );
}

#[test]
fn keys_are_for_their_owner_alone_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), &Options::default(), now()).unwrap();
    let mut keys = 0;
    for place in [folder.path().to_owned(), folder.path().join("wrong")] {
        for entry in fs::read_dir(place).unwrap() {
            let entry = entry.unwrap();
            if entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "key")
            {
                keys += 1;
                assert_eq!(
                    entry.metadata().unwrap().permissions().mode() & 0o777,
                    0o600
                );
                let text = fs::read_to_string(entry.path()).unwrap();
                assert!(text.starts_with("-----BEGIN PRIVATE KEY-----"));
            }
        }
    }
    assert_eq!(keys, 29);
    let before = fs::read(folder.path().join("recipient.key")).unwrap();
    assert!(matches!(
        make(folder.path(), &Options::default(), now()),
        Err(CaError::Write { .. })
    ));
    assert_eq!(
        fs::read(folder.path().join("recipient.key")).unwrap(),
        before
    );
}
