//! What stops an upload although both certificates are good, in words; `upload_certificates` has those that are not.

mod upload_lab;

use upload::{Advice, Scope};
use upload_lab::{BOX, Lab, Running, Sender, noise};

const FIRST: &str = "north-1-0000000001.cms";

/// One attempt that must fail: what the box says, and what the receiver says.
fn refused(lab: &Lab, server: &Running, sender: &Sender) -> String {
    let error = sender
        .deliver(server.address, &lab.bundle(FIRST, &noise(1, 1000)))
        .unwrap_err();
    assert_eq!(
        (error.advice(), error.scope()),
        (Advice::Stop, Scope::Server),
        "{error}"
    );
    assert_eq!(lab.stored(FIRST), None);
    error.to_string()
}

fn with_box(lab: &Lab, certificate: &str) -> Sender {
    let mut sender = lab.sender();
    sender.certificate = lab.pki.file(&format!("{certificate}.pem"));
    sender.key = lab.pki.file(&format!("{certificate}.key"));
    sender
}

#[test]
fn a_receiver_with_a_stale_revocation_list_refuses_everyone_until_it_has_a_new_one() {
    let lab = Lab::new();
    let mut settings = lab.settings();
    settings.revocation_list = lab.folder.path().join("list.pem");
    std::fs::copy(lab.pki.file("stale.pem"), &settings.revocation_list).unwrap();
    let list = settings.revocation_list.clone();
    let server = Running::start(settings);
    assert_eq!(
        refused(&lab, &server, &lab.sender()),
        "the server refuses this box's certificate: unknown issuer, or the server's revocation list is stale or lacks it; the receiver's log says which"
    );
    server.await_line("client certificate: the revocation list is past its next update");
    std::fs::copy(lab.pki.file("crl.pem"), &list).unwrap();
    lab.sender()
        .deliver(server.address, &lab.bundle(FIRST, &noise(1, 1000)))
        .unwrap();
}

#[test]
fn a_box_cannot_announce_the_bundle_of_another_box() {
    let lab = Lab::new();
    let server = lab.start();
    let error = with_box(&lab, "other-box")
        .deliver(server.address, &lab.bundle(FIRST, &noise(1, 1000)))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server does not accept this bundle from this box"
    );
    assert_eq!(
        (error.advice(), error.scope()),
        (Advice::Stop, Scope::Bundle)
    );
    assert!(!lab.store().join(BOX).exists());
}

#[test]
fn a_closed_port_is_named_as_a_refused_connection() {
    let lab = Lab::new();
    let address = lab.start().address;
    let error = lab
        .sender()
        .deliver(address, &lab.bundle(FIRST, &noise(1, 1000)))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("connection refused by {address}")
    );
    assert_eq!(error.advice(), Advice::Retry);
}

#[test]
fn a_keyholder_that_does_not_sign_is_named_as_the_cause() {
    struct Refusing;
    impl bundle::Signer for Refusing {
        fn sign(&self, _: &[u8; 32]) -> Result<Vec<u8>, bundle::SignFailure> {
            Err(bundle::SignFailure("the socket is closed".into()))
        }
    }
    let lab = Lab::new();
    let server = lab.start();
    let sender = lab.sender();
    let tls = || {
        let identity =
            upload::Identity::with_signer(&sender.certificate, std::sync::Arc::new(Refusing))?;
        let trust = upload::Trust::load(&sender.authority, &sender.revocation_list)?;
        upload::tls::client_config(&trust, identity, sender.profile)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut client = sender.client(server.address);
    let error = runtime
        .block_on(client.deliver(&lab.bundle(FIRST, &noise(1, 1000)), &tls, |_| {}))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot prove this box's identity: the holder of the signing key made no signature: the socket is closed"
    );
    assert_eq!(error.advice(), Advice::Retry);
}
