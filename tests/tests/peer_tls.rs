//! The two TLS profiles seen by OpenSSL and by sslscan: only what DESIGN section 3 allows is ever agreed on.
//!
//! sslscan does not know hybrid groups; OpenSSL, which does, names the one that was agreed on.

mod upload_lab;

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use upload::{Advice, TlsProfile};
use upload_lab::peers::{Talking, program};
use upload_lab::{Lab, Running, SERVER, noise};

const FIRST: &str = "north-1-0000000001.cms";
const SUITES_1_3: [&str; 3] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
];
const SUITES_1_2: [&str; 3] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
];

fn receiver(lab: &Lab, tls: TlsProfile) -> Running {
    let mut settings = lab.settings();
    settings.tls = tls;
    Running::start(settings)
}

/// What `openssl s_client` says about a handshake with a good client certificate.
fn s_client(lab: &Lab, address: SocketAddr, more: &[&str]) -> (bool, String) {
    let output = Command::new(program("openssl").unwrap())
        .args(["s_client", "-connect", &address.to_string()])
        .args(["-servername", SERVER, "-verify_return_error", "-CAfile"])
        .arg(lab.pki.file("ca.pem"))
        .arg("-cert")
        .arg(lab.pki.file("box.pem"))
        .arg("-key")
        .arg(lab.pki.file("box.key"))
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn openssl_agrees_with_either_profile_on_tls_1_3_and_the_hybrid_group_without_tickets() {
    if program("openssl").is_none() {
        return;
    }
    let lab = Lab::new();
    for tls in [TlsProfile::Modern, TlsProfile::Compat] {
        let server = receiver(&lab, tls);
        let (good, text) = s_client(&lab, server.address, &[]);
        assert!(good, "{text}");
        for words in ["TLSv1.3", "Negotiated TLS1.3 group: X25519MLKEM768"] {
            assert!(text.contains(words), "{tls:?} has no {words}: {text}");
        }
        for words in ["New Session Ticket", "Max Early Data: 1"] {
            assert!(!text.contains(words), "{tls:?} has {words}: {text}");
        }
        assert!(text.contains("Compression: NONE"), "{text}");
    }
}

#[test]
fn the_receiver_refuses_every_older_version_and_weaker_suite() {
    if program("openssl").is_none() {
        return;
    }
    let lab = Lab::new();
    let modern = receiver(&lab, TlsProfile::Modern);
    for version in ["-tls1_2", "-tls1_1", "-tls1"] {
        let weak = [version, "-cipher", "ALL:@SECLEVEL=0"];
        let (good, text) = s_client(&lab, modern.address, &weak);
        assert!(!good && text.contains("alert"), "modern {version}: {text}");
    }
    drop(modern);
    let compat = receiver(&lab, TlsProfile::Compat);
    for suite in SUITES_1_2 {
        let (good, text) = s_client(&lab, compat.address, &["-tls1_2", "-cipher", suite]);
        assert!(
            good && text.contains(&format!("Cipher is {suite}")),
            "{suite}: {text}"
        );
    }
    for weak in [
        ["-tls1_1", "ALL:@SECLEVEL=0"],
        ["-tls1", "ALL:@SECLEVEL=0"],
        ["-tls1_2", "ECDHE-ECDSA-AES256-SHA384"],
        ["-tls1_2", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],
        ["-tls1_2", "ECDHE-RSA-AES256-GCM-SHA384"],
        ["-tls1_2", "DHE-RSA-AES256-GCM-SHA384"],
        ["-tls1_2", "AES256-GCM-SHA384"],
        ["-tls1_2", "AES128-SHA:@SECLEVEL=0"],
        ["-tls1_2", "NULL:@SECLEVEL=0"],
        ["-tls1_2", "aNULL:@SECLEVEL=0"],
    ] {
        let (good, text) = s_client(&lab, compat.address, &[weak[0], "-cipher", weak[1]]);
        assert!(!good && text.contains("alert"), "{weak:?}: {text}");
    }
}

/// A server of OpenSSL with the receiver's certificate.
fn s_server(lab: &Lab, more: &[&str]) -> (Talking, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut command = Command::new(program("openssl").unwrap());
    command
        .args(["s_server", "-accept", &address.to_string(), "-cert"])
        .arg(lab.pki.file("server.pem"))
        .arg("-key")
        .arg(lab.pki.file("server.key"))
        .args(more)
        .stdin(Stdio::piped())
        .stderr(Stdio::null());
    let mut server = Talking::start(&mut command);
    server.await_word("ACCEPT");
    (server, address)
}

#[test]
fn the_sender_refuses_servers_with_older_versions_and_weaker_suites() {
    if program("openssl").is_none() {
        return;
    }
    let lab = Lab::new();
    for (profile, weak) in [
        (TlsProfile::Modern, &["-tls1_2"][..]),
        (
            TlsProfile::Compat,
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        ),
        (TlsProfile::Compat, &["-tls1", "-cipher", "ALL:@SECLEVEL=0"]),
        (
            TlsProfile::Compat,
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"],
        ),
        (
            TlsProfile::Compat,
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],
        ),
        (
            TlsProfile::Compat,
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"],
        ),
    ] {
        let (_server, address) = s_server(&lab, weak);
        let mut sender = lab.sender();
        sender.profile = profile;
        let bundle = lab.bundle(FIRST, &noise(1, 1000));
        let error = sender.deliver(address, &bundle).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no TLS connection with the server",
            "{weak:?}"
        );
        assert_eq!(error.advice(), Advice::Stop, "{weak:?}");
    }
}

/// The values of one attribute in all elements of a name, where `with` is in the element too.
fn attributes(xml: &str, element: &str, with: &str, attribute: &str) -> Vec<String> {
    let key = format!(" {attribute}=\"");
    xml.split('<')
        .filter(|text| text.starts_with(&format!("{element} ")) && text.contains(with))
        .filter_map(|text| Some(text.split_once(&key)?.1.split_once('"')?.0.to_owned()))
        .collect()
}

#[test]
fn sslscan_finds_nothing_but_what_the_profiles_allow() {
    let Some(sslscan) = program("sslscan") else {
        return;
    };
    let lab = Lab::new();
    for tls in [TlsProfile::Modern, TlsProfile::Compat] {
        let server = receiver(&lab, tls);
        let mut scan = Command::new(&sslscan)
            .args(["--xml=-", "--no-colour", "--sni-name", SERVER])
            .arg(format!("--certs={}", lab.pki.file("box.pem").display()))
            .arg(format!("--pk={}", lab.pki.file("box.key").display()))
            .arg(server.address.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut xml = String::new();
        scan.stdout
            .take()
            .unwrap()
            .read_to_string(&mut xml)
            .unwrap();
        assert!(scan.wait().unwrap().success());
        let enabled: Vec<String> = xml
            .split('<')
            .filter(|text| text.starts_with("protocol ") && text.contains("enabled=\"1\""))
            .filter_map(|text| {
                Some(
                    text.split_once("version=\"")?
                        .1
                        .split_once('"')?
                        .0
                        .to_owned(),
                )
            })
            .collect();
        let (versions, allowed) = match tls {
            TlsProfile::Modern => (vec!["1.3"], SUITES_1_3.to_vec()),
            TlsProfile::Compat => (vec!["1.2", "1.3"], [SUITES_1_3, SUITES_1_2].concat()),
        };
        assert_eq!(enabled, versions, "{tls:?}: {xml}");
        let mut ciphers = attributes(&xml, "cipher", "", "cipher");
        ciphers.sort();
        let mut expected = allowed.clone();
        expected.sort();
        assert_eq!(ciphers, expected, "{tls:?}: {xml}");
        let groups = attributes(&xml, "group", "", "name");
        assert!(!groups.is_empty(), "{xml}");
        for group in groups {
            let known = ["x25519", "secp256r1 (NIST P-256)", "secp384r1 (NIST P-384)"];
            assert!(known.contains(&group.as_str()), "{group}");
        }
        assert_eq!(
            attributes(&xml, "compression", "", "supported"),
            ["0"],
            "{xml}"
        );
        assert_eq!(
            attributes(&xml, "heartbleed", "", "vulnerable")
                .iter()
                .filter(|it| *it != "0")
                .count(),
            0
        );
    }
}
