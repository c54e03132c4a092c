//! Every wrong certificate and list, at either end: refused with the cause and the cure in words, nothing stored, nothing
//! lost; and the same bundle passes once the right one is there (DESIGN section 4, rule 6).

mod upload_lab;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use upload::UploadError;
use upload_lab::{BOX, Lab, Running, SERVER, Sender, noise};

const FIRST: &str = "north-1-0000000001.cms";

/// What is wrong: the certificate that an end shows, or the list that the other end judges it by.
struct Case {
    name: &'static str,
    /// Stem of the certificate's file, less the end: `-revoked` is `box-revoked.pem` or `server-revoked.pem`.
    shown: &'static str,
    /// The judging end's revocation lists.
    list: &'static str,
    /// What follows "... certificate is refused: " at the box, about the server's certificate.
    at_box: &'static str,
    /// What follows "the server refuses this box's certificate: " at the box.
    told_to_box: &'static str,
    /// What follows "client certificate: " at the receiver.
    at_receiver: &'static str,
}

const UNKNOWN_OR_STALE: &str = "unknown issuer, or the server's revocation list is stale or lacks it; the receiver's log says which";
const KEY_OR_USE: &str = "its key, its name, its use or the server's revocation list is not as it must be; the receiver's log says which";
const DATES: &str = "expired or not yet valid, or one of the clocks is wrong; look at both, then have a new one issued";
const SIGNATURE: &str =
    "a signature in it or by its key does not fit; look at certificate and key of [upload]";
const ISSUER: &str =
    "unknown issuer: not signed by the configured authority; have one issued by that authority";

/// One case for each way to be wrong; both ends use the same words for it.
const CASES: &[Case] = &[
    case(
        "expired",
        "-expired",
        "crl.pem",
        "expired, or the clock is wrong; look at the clock, then have a new one issued",
        DATES,
    ),
    case(
        "not yet valid",
        "-early",
        "crl.pem",
        "not yet valid, or the clock is wrong; look at the clock",
        DATES,
    ),
    case(
        "of another authority",
        "-other",
        "crl.pem",
        ISSUER,
        SIGNATURE,
    ),
    case("self-signed", "-self", "crl.pem", ISSUER, UNKNOWN_OR_STALE),
    case(
        "an authority's own",
        "-authority",
        "crl.pem",
        "it is an authority's own; have one issued by the configured authority for this end",
        KEY_OR_USE,
    ),
    case(
        "wrong extended key usage",
        "-purpose",
        "crl.pem",
        "not made for this purpose; have one issued for authentication of its end, server or client",
        "not made for this purpose; have one issued for client authentication",
    ),
    case(
        "wrong key usage",
        "-usage",
        "crl.pem",
        "its key usage does not allow signatures; have one issued with digitalSignature",
        KEY_OR_USE,
    ),
    case(
        "weak key",
        "-weak",
        "crl.pem",
        "its key is too weak; have one issued for P-256, or for RSA of 2048 bits or more",
        KEY_OR_USE,
    ),
    case(
        "revoked",
        "-revoked",
        "crl.pem",
        "revoked; have a new one issued",
        "revoked; have a new one issued",
    ),
    case(
        "stale revocation list",
        "",
        "stale.pem",
        "the revocation list is past its next update; install a newer one",
        UNKNOWN_OR_STALE,
    ),
    case(
        "another authority's revocation list",
        "",
        "other-crl.pem",
        "the revocation list is not the configured authority's; install that authority's",
        KEY_OR_USE,
    ),
    case(
        "no revocation list for the intermediate authority",
        "-middle",
        "END-top.pem",
        "the revocation list does not cover its issuer; install one of each authority in its chain",
        UNKNOWN_OR_STALE,
    ),
    case(
        "intermediate authority revoked",
        "-middle-revoked",
        "END-lists.pem",
        "revoked; have a new one issued",
        "revoked; have a new one issued",
    ),
];

const fn case(
    name: &'static str,
    shown: &'static str,
    list: &'static str,
    words: &'static str,
    told_to_box: &'static str,
) -> Case {
    Case {
        name,
        shown,
        list,
        at_box: words,
        told_to_box,
        at_receiver: words,
    }
}

fn lab() -> Lab {
    let lab = Lab::new();
    lab.pki.make_wrong("server", SERVER, ClientAuth);
    lab.pki.make_wrong("box", BOX, ServerAuth);
    lab
}

/// A receiver that shows `server<shown>.pem`.
fn server(lab: &Lab, shown: &str, list: &str) -> Running {
    let mut settings = lab.settings();
    settings.certificate = lab.pki.file(&format!("server{shown}.pem"));
    settings.key = lab.pki.file(&format!("server{shown}.key"));
    settings.revocation_list = lab.pki.file(&list.replace("END", "box"));
    Running::start(settings)
}

/// A box that shows `box<shown>.pem`.
fn client(lab: &Lab, shown: &str, list: &str) -> Sender {
    let mut sender = lab.sender();
    sender.certificate = lab.pki.file(&format!("box{shown}.pem"));
    sender.key = lab.pki.file(&format!("box{shown}.key"));
    sender.revocation_list = lab.pki.file(&list.replace("END", "server"));
    sender
}

/// One attempt that must fail and leave everything as it was.
#[track_caller]
fn refused(lab: &Lab, server: &Running, sender: &Sender, name: &str) -> UploadError {
    let bytes = noise(1, 1000);
    let bundle = lab.bundle(FIRST, &bytes);
    let error = match sender.deliver(server.address, &bundle) {
        Err(error) => error,
        Ok(_) => panic!("{name}: delivered"),
    };
    assert_eq!(lab.stored(FIRST), None, "{name}");
    let unfinished = lab.store().join(".partial").join(BOX);
    assert!(!unfinished.exists(), "{name}: something was announced");
    let spooled = std::fs::read(lab.folder.path().join("spool").join(FIRST)).unwrap();
    assert_eq!(spooled, bytes, "{name}");
    error
}

#[track_caller]
fn delivered(lab: &Lab, server: &Running, sender: &Sender) {
    let bytes = noise(1, 1000);
    let bundle = lab.bundle(FIRST, &bytes);
    sender.deliver(server.address, &bundle).unwrap();
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
}

#[test]
fn every_wrong_certificate_of_the_server_is_refused_by_the_box_in_words() {
    let lab = lab();
    for case in CASES {
        let server = server(&lab, case.shown, "crl.pem");
        let error = refused(&lab, &server, &client(&lab, "", case.list), case.name);
        assert_eq!(
            error.to_string(),
            format!("the server's certificate is refused: {}", case.at_box),
            "{}",
            case.name
        );
        assert_eq!(error.advice(), upload::Advice::Stop, "{}", case.name);
        if !case.shown.is_empty() {
            server.await_line("the client refuses this server's certificate");
        }
    }
    let other_name = {
        let mut settings = lab.settings();
        settings.certificate = lab.pki.file("other-box.pem");
        settings.key = lab.pki.file("other-box.key");
        Running::start(settings)
    };
    let error = refused(&lab, &other_name, &lab.sender(), "wrong name");
    assert_eq!(
        error.to_string(),
        "the server's certificate is refused: wrong name: not valid for the configured name; correct that, or have one issued for it"
    );
    drop(other_name);
    delivered(&lab, &lab.start(), &lab.sender());
}

#[test]
fn every_wrong_certificate_of_the_box_is_refused_by_the_server_in_words_at_both_ends() {
    let lab = lab();
    for case in CASES {
        let server = server(&lab, "", case.list);
        let error = refused(
            &lab,
            &server,
            &client(&lab, case.shown, "crl.pem"),
            case.name,
        );
        assert_eq!(
            error.to_string(),
            format!(
                "the server refuses this box's certificate: {}",
                case.told_to_box
            ),
            "{}",
            case.name
        );
        assert_eq!(error.advice(), upload::Advice::Stop, "{}", case.name);
        server.await_line(&format!("client certificate: {}", case.at_receiver));
    }
    delivered(&lab, &lab.start(), &lab.sender());
}

#[test]
fn certificates_below_an_intermediate_authority_pass_with_a_list_of_each_authority() {
    let lab = lab();
    let server = server(&lab, "-middle", "END-lists.pem");
    delivered(&lab, &server, &client(&lab, "-middle", "END-lists.pem"));
}

#[test]
fn a_client_without_a_certificate_is_refused_and_told_so() {
    let lab = lab();
    let server = lab.start();
    let bundle = lab.bundle(FIRST, &noise(1, 1000));
    let trusting = || {
        let mut config = lab.sender().tls()?;
        config.client_auth_cert_resolver = std::sync::Arc::new(Nothing);
        Ok(config)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut client = lab.sender().client(server.address);
    let error = runtime
        .block_on(client.deliver(&bundle, &trusting, |_| {}))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server refuses this box's certificate: none was presented; look at the certificate of [upload]"
    );
    server.await_line("no client certificate");
    assert_eq!(lab.stored(FIRST), None);
}

#[derive(Debug)]
struct Nothing;

impl rustls::client::ResolvesClientCert for Nothing {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn a_server_that_shows_no_certificate_because_it_speaks_no_tls_is_named() {
    let lab = lab();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let plain = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let bundle = lab.bundle(FIRST, &noise(1, 1000));
    let error = lab.sender().deliver(address, &bundle).unwrap_err();
    assert_eq!(error.to_string(), "no TLS connection with the server");
    assert_eq!(error.advice(), upload::Advice::Stop);
    plain.join().unwrap();
}

#[test]
fn without_a_file_of_revocation_lists_neither_end_starts() {
    let lab = lab();
    for (file, words) in [
        ("absent.pem", "cannot read "),
        ("empty.pem", "empty.pem holds no revocation list in PEM"),
    ] {
        let mut sender = lab.sender();
        sender.revocation_list = lab.pki.file(file);
        let server = lab.start();
        let error = refused(&lab, &server, &sender, file);
        let UploadError::Setup(fault) = &error else {
            panic!("{file}: {error}")
        };
        assert!(fault.to_string().contains(words), "{fault}");
        assert!(fault.to_string().contains(file), "{fault}");
        drop(server);
        let mut settings = lab.settings();
        settings.revocation_list = lab.pki.file(file);
        let server = datacentre::receive::Server::open(settings, Box::new(|_| {})).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let error = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            match server.serve(listener).await {
                Err(error) => error,
                Ok(never) => match never {},
            }
        });
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(words) && cause.contains(file), "{cause}");
    }
}

#[test]
fn a_certificate_for_another_box_or_for_none_hands_in_nothing_of_this_box() {
    let lab = lab();
    let server = lab.start();
    let mut sender = lab.sender();
    sender.certificate = lab.pki.file("other-box.pem");
    sender.key = lab.pki.file("other-box.key");
    let error = refused(&lab, &server, &sender, "another box");
    assert_eq!(
        error.to_string(),
        "the server does not accept this bundle from this box"
    );
    sender.certificate = lab.pki.file("server.pem");
    sender.key = lab.pki.file("server.key");
    let error = refused(&lab, &server, &sender, "no box");
    assert_eq!(
        error.to_string(),
        format!("the server refuses this box's certificate: {KEY_OR_USE}")
    );
    server.await_line("client certificate: it names no box; have one issued with the box's name");
}
