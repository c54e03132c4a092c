//! What the two TLS profiles agree on.

mod upload_lab;

use rustls::{ClientConnection, ProtocolVersion, ServerConfig, ServerConnection};
use std::sync::Arc;
use upload::{Identity, ServerName, TlsProfile, Trust, tls};
use upload_lab::{Lab, SERVER};

/// Version, key exchange and suite of a handshake in memory.
fn negotiate(
    lab: &Lab,
    profile: TlsProfile,
    server: ServerConfig,
) -> Result<(ProtocolVersion, String, String), rustls::Error> {
    let mut sender = lab.sender();
    sender.profile = profile;
    let name = ServerName::try_from(SERVER).unwrap();
    let mut client = ClientConnection::new(Arc::new(sender.tls().unwrap()), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    let group = client.negotiated_key_exchange_group().unwrap().name();
    let other = server.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, other, "both ends name the same group");
    let suite = client.negotiated_cipher_suite().unwrap().suite();
    Ok((
        client.protocol_version().unwrap(),
        format!("{group:?}"),
        format!("{suite:?}"),
    ))
}

fn ours(lab: &Lab, profile: TlsProfile) -> ServerConfig {
    let trust = Trust::load(&lab.pki.file("ca.pem"), &lab.pki.file("crl.pem")).unwrap();
    let identity =
        Identity::with_key_file(&lab.pki.file("server.pem"), &lab.pki.file("server.key")).unwrap();
    tls::server_config(&trust, identity, profile).unwrap()
}

/// A server that speaks TLS 1.2 at most.
fn old(lab: &Lab) -> ServerConfig {
    use rustls_pki_types::pem::PemObject;
    let chain =
        vec![rustls_pki_types::CertificateDer::from_pem_file(lab.pki.file("server.pem")).unwrap()];
    let key = rustls_pki_types::PrivateKeyDer::from_pem_file(lab.pki.file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

#[test]
fn both_profiles_prefer_tls_1_3_with_a_hybrid_post_quantum_key_exchange() {
    let lab = Lab::new();
    for (client, server) in [
        (TlsProfile::Modern, TlsProfile::Modern),
        (TlsProfile::Modern, TlsProfile::Compat),
        (TlsProfile::Compat, TlsProfile::Modern),
        (TlsProfile::Compat, TlsProfile::Compat),
    ] {
        let agreed = negotiate(&lab, client, ours(&lab, server)).unwrap();
        let expected = (
            ProtocolVersion::TLSv1_3,
            "X25519MLKEM768".to_owned(),
            "TLS13_AES_256_GCM_SHA384".to_owned(),
        );
        assert_eq!(agreed, expected);
    }
}

#[test]
fn the_modern_profile_refuses_tls_1_2_and_the_compatible_one_takes_it_with_ecdhe_ecdsa_and_aead() {
    let lab = Lab::new();
    assert!(negotiate(&lab, TlsProfile::Modern, old(&lab)).is_err());
    let (version, _, suite) = negotiate(&lab, TlsProfile::Compat, old(&lab)).unwrap();
    assert_eq!(version, ProtocolVersion::TLSv1_2);
    assert_eq!(suite, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
}

#[test]
fn a_revocation_list_without_a_list_stops_the_setup() {
    let lab = Lab::new();
    let mut sender = lab.sender();
    sender.revocation_list = lab.pki.file("ca.pem");
    let error = sender.tls().err().unwrap();
    assert!(
        error
            .to_string()
            .ends_with("ca.pem holds no revocation list in PEM"),
        "{error}"
    );
}

#[test]
fn neither_end_resumes_sends_early_data_or_renews_tickets() {
    let lab = Lab::new();
    for profile in [TlsProfile::Modern, TlsProfile::Compat] {
        let server = ours(&lab, profile);
        assert_eq!(server.send_tls13_tickets, 0);
        assert_eq!(server.max_early_data_size, 0);
        assert!(!server.session_storage.can_cache() && !server.ticketer.enabled());
        let mut sender = lab.sender();
        sender.profile = profile;
        let client = sender.tls().unwrap();
        assert!(!client.enable_early_data);
    }
}
