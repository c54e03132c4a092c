//! Wrong certificates at either end: refused, with the cause in words at both ends, and nothing stored.

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

fn with_server(lab: &Lab, certificate: &str) -> Running {
    let mut settings = lab.settings();
    settings.certificate = lab.pki.file(&format!("{certificate}.pem"));
    settings.key = lab.pki.file(&format!("{certificate}.key"));
    Running::start(settings)
}

fn with_box(lab: &Lab, certificate: &str) -> Sender {
    let mut sender = lab.sender();
    sender.certificate = lab.pki.file(&format!("{certificate}.pem"));
    sender.key = lab.pki.file(&format!("{certificate}.key"));
    sender
}

#[test]
fn a_server_of_another_authority_is_refused_as_of_unknown_issuer() {
    let lab = Lab::new();
    let server = with_server(&lab, "server-other");
    assert_eq!(
        refused(&lab, &server, &lab.sender()),
        "the server's certificate is refused: unknown issuer: not signed by the configured authority"
    );
    server.await_line("the client refuses this server's certificate");
}

#[test]
fn a_server_of_another_name_is_refused() {
    let lab = Lab::new();
    let server = with_server(&lab, "other-box");
    assert_eq!(
        refused(&lab, &server, &lab.sender()),
        "the server's certificate is refused: wrong name: not valid for the configured name"
    );
    server.await_line("the client refuses this server's certificate: BadCertificate");
}

#[test]
fn a_revoked_server_is_refused() {
    let lab = Lab::new();
    let server = with_server(&lab, "server-revoked");
    assert_eq!(
        refused(&lab, &server, &lab.sender()),
        "the server's certificate is refused: revoked"
    );
    server.await_line("the client refuses this server's certificate: CertificateRevoked");
}

#[test]
fn an_expired_server_is_refused() {
    let lab = Lab::new();
    let server = with_server(&lab, "server-expired");
    assert_eq!(
        refused(&lab, &server, &lab.sender()),
        "the server's certificate is refused: expired, or the clock is wrong"
    );
    server.await_line("the client refuses this server's certificate: CertificateExpired");
}

#[test]
fn a_box_with_a_stale_revocation_list_sends_nothing() {
    let lab = Lab::new();
    let server = lab.start();
    let mut sender = lab.sender();
    sender.revocation_list = lab.pki.file("stale.pem");
    assert_eq!(
        refused(&lab, &server, &sender),
        "the server's certificate is refused: the revocation list is past its next update; install a newer one"
    );
}

#[test]
fn a_box_with_the_revocation_list_of_another_authority_sends_nothing() {
    let lab = Lab::new();
    let server = lab.start();
    let mut sender = lab.sender();
    sender.revocation_list = lab.pki.file("other-crl.pem");
    // The other authority has the same name, so its list is taken for ours until its signature is checked.
    assert_eq!(
        refused(&lab, &server, &sender),
        "the server's certificate is refused: the revocation list is not the configured authority's"
    );
}

#[test]
fn a_box_of_another_authority_is_refused_and_told_so() {
    let lab = Lab::new();
    let server = lab.start();
    assert_eq!(
        refused(&lab, &server, &with_box(&lab, "box-other")),
        "the server refuses this box's certificate: its signature does not fit"
    );
    server.await_line("client certificate: unknown issuer");
}

#[test]
fn a_revoked_box_is_refused_and_told_so() {
    let lab = Lab::new();
    let server = lab.start();
    assert_eq!(
        refused(&lab, &server, &with_box(&lab, "box-revoked")),
        "the server refuses this box's certificate: revoked"
    );
    server.await_line("client certificate: revoked");
}

#[test]
fn an_expired_box_is_refused_and_told_so() {
    let lab = Lab::new();
    let server = lab.start();
    assert_eq!(
        refused(&lab, &server, &with_box(&lab, "box-expired")),
        "the server refuses this box's certificate: expired, or one of the clocks is wrong"
    );
    server.await_line("client certificate: expired");
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
        "the server refuses this box's certificate: unknown issuer, or the server's revocation list is stale"
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
