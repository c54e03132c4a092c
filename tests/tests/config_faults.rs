//! Each kind of fault, with its whole message: the operator sees exactly this.

mod config_disc;
#[path = "config_faults/sending.rs"]
mod sending;

use config_disc::{EXAMPLE, FILES, pair};
use site::check;
use std::collections::BTreeMap;

/// The example with one passage changed must give exactly these lines.
#[track_caller]
fn changed(from: &str, to: &str, expected: &[&str]) {
    assert_eq!(
        EXAMPLE.matches(from).count(),
        1,
        "the example must hold {from:?} once"
    );
    assert_eq!(faults(&EXAMPLE.replacen(from, to, 1), &FILES), expected);
}

/// The example with one file changed must give exactly these lines.
#[track_caller]
fn with_file(name: &str, content: Option<Vec<u8>>, expected: &[&str]) {
    let mut files = FILES.clone();
    match content {
        Some(content) => files.insert(name.to_owned(), content),
        None => files.remove(name),
    };
    assert_eq!(faults(EXAMPLE, &files), expected);
}

#[track_caller]
fn faults(text: &str, files: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let faults = check(text, files).expect_err("the configuration is accepted");
    faults.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn an_unknown_a_missing_or_a_mistyped_key_is_named_with_what_is_allowed() {
    changed(
        "peer-identity =",
        "peer-identiti =",
        &[
            "site.toml:28:2: key \"peer-identity\" of [tunnel] is missing, allowed: a DNS name as in \"box.example\" or an IPv4 address",
            "site.toml:34:1: unknown key \"peer-identiti\" in [tunnel], allowed: interface, peer, peer-identity, identity, certificate, key, authority, address, remote, dead-peer-seconds, rekey-seconds",
            "hint: did you mean \"peer-identity\"?",
        ],
    );
    changed(
        "format = 1",
        "format = 2",
        &["site.toml:10:10: key \"format\" does not allow 2, allowed: 1"],
    );
    changed(
        "format = 1",
        "",
        &["site.toml:1:1: key \"format\" is missing, allowed: 1"],
    );
    changed(
        "name = \"box-0001\"",
        "name = 1",
        &[
            "site.toml:14:8: key \"name\" of [box] is of type integer, allowed: a string, 1 to 32 characters of a-z, 0-9 and -, the first and last no -",
        ],
    );
    changed(
        "name = \"box-0001\"",
        "name = \"Box 0001\"",
        &[
            "site.toml:14:8: key \"name\" of [box] does not allow \"Box 0001\", allowed: 1 to 32 characters of a-z, 0-9 and -, the first and last no -",
        ],
    );
    changed(
        "[clock]\nservers = [\"198.51.100.1\"]",
        "",
        &["site.toml:1:1: table [clock] is missing, allowed: one, with servers"],
    );
    changed(
        "[clock]\nservers",
        "[[clock]]\nservers",
        &["site.toml:73:3: table [clock] is written as a list, allowed: once, as [clock]"],
    );
    changed(
        "servers = [\"198.51.100.1\"]",
        "servers = \"198.51.100.1\"",
        &[
            "site.toml:74:11: key \"servers\" of [clock] is of type string, allowed: a list of 1 to 8, each an IPv4 address of one machine as in \"192.0.2.1\"",
        ],
    );
    changed(
        "servers = [\"198.51.100.1\"]",
        "servers = []",
        &[
            "site.toml:74:11: key \"servers\" of [clock] has 0 entries, allowed: a list of 1 to 8, each an IPv4 address of one machine as in \"192.0.2.1\"",
        ],
    );
    changed(
        "dead-peer-seconds = 20",
        "dead-peer-seconds = 0",
        &[
            "site.toml:44:21: key \"dead-peer-seconds\" of [tunnel] does not allow 0, allowed: a whole number from 2 to 3600",
        ],
    );
    changed(
        "dead-peer-seconds = 20",
        "dead-peer-seconds = \"20\"",
        &[
            "site.toml:44:21: key \"dead-peer-seconds\" of [tunnel] does not allow a string, allowed: a whole number from 2 to 3600",
        ],
    );
    changed(
        "quiet-seconds = 60",
        "quiet-seconds = 1e3",
        &[
            "site.toml:125:17: key \"quiet-seconds\" of [collection] does not allow a float, allowed: a whole number from 1 to 86400",
        ],
    );
    changed(
        "tls = \"modern\"",
        "tls = \"ssl3\"",
        &[
            "site.toml:62:7: key \"tls\" of [upload] does not allow \"ssl3\", allowed: \"modern\" (TLS 1.3) or \"compat\" (TLS 1.2 too)",
        ],
    );
    changed(
        "kind = \"ssmix2-extended\"",
        "kind = \"extended\"",
        &[
            "site.toml:106:8: key \"kind\" of [[source]] does not allow \"extended\", allowed: \"ssmix2-standardized\", \"ssmix2-extended\", \"ssmix2-transaction\", \"dpc\" or \"receipt\"",
        ],
    );
    changed(
        "[box]",
        "[[source]]\n[box]",
        &[
            "site.toml:12:1: key \"kind\" of [[source]] is missing, allowed: \"ssmix2-standardized\", \"ssmix2-extended\", \"ssmix2-transaction\", \"dpc\" or \"receipt\"",
            "site.toml:12:1: key \"mount\" of [[source]] is missing, allowed: the name of a [[mount]]",
            "site.toml:12:1: key \"name\" of [[source]] is missing, allowed: 1 to 32 characters of a-z, 0-9 and -, the first and last no -",
            "site.toml:12:1: key \"path\" of [[source]] is missing, allowed: a path below the mount as in \"SSMIX2/standardized\", or \"\" for the mount itself",
        ],
    );
    changed(
        "[box]",
        "[mounts]\n[box]",
        &[
            "site.toml:12:2: unknown key \"mounts\", allowed: format, box, interface, tunnel, upload, sealing, clock, mount, source, collection, sending",
            "hint: did you mean \"mount\"?",
        ],
    );
}

#[test]
fn a_text_that_is_no_toml_is_reported_with_all_its_breaks() {
    changed(
        "[sealing]",
        "[sealing",
        &[
            "site.toml:66:9: this is not TOML: unclosed table, expected `]`, allowed: TOML 1.0 as in the example",
        ],
    );
    changed(
        "quiet-seconds = 60",
        "quiet-seconds = 60\nquiet-seconds = 70",
        &["site.toml:126:1: this is not TOML: duplicate key, allowed: TOML 1.0 as in the example"],
    );
    changed(
        "share = \"ssmix2\"",
        "share = ssmix2",
        &[
            "site.toml:82:9: this is not TOML: string values must be quoted, expected literal string, allowed: TOML 1.0 as in the example",
        ],
    );
    changed(
        "\"192.0.2.20\"\nshare = \"ssmix2\"",
        "192.0.2.20\nshare = ssmix2",
        &[
            "site.toml:81:15: this is not TOML: invalid float, expected nothing, allowed: TOML 1.0 as in the example",
            "site.toml:82:9: this is not TOML: string values must be quoted, expected literal string, allowed: TOML 1.0 as in the example",
        ],
    );
}

#[test]
fn an_address_that_cannot_work_is_refused() {
    changed(
        "\"52:54:00:00:00:01\"",
        "\"52-54-00-00-00-01\"",
        &[
            "site.toml:21:7: key \"mac\" of [[interface]] does not allow \"52-54-00-00-00-01\", allowed: six bytes in hex as in \"52:54:00:12:34:56\", of one card (not multicast, not zero)",
        ],
    );
    changed(
        "\"52:54:00:00:00:01\"",
        "\"53:54:00:00:00:01\"",
        &[
            "site.toml:21:7: key \"mac\" of [[interface]] does not allow \"53:54:00:00:00:01\", allowed: six bytes in hex as in \"52:54:00:12:34:56\", of one card (not multicast, not zero)",
        ],
    );
    changed(
        "\"192.0.2.10/24\"",
        "\"192.0.2.255/24\"",
        &[
            "site.toml:23:11: key \"address\" of [[interface]] does not allow \"192.0.2.255/24\", allowed: an IPv4 address of one machine with a prefix of 8 to 30 as in \"192.0.2.10/24\"",
        ],
    );
    changed(
        "gateway = \"192.0.2.1\"",
        "gateway = \"192.0.3.1\"",
        &[
            "site.toml:25:11: gateway 192.0.3.1 is outside, allowed: another machine of 192.0.2.0/24",
        ],
    );
    changed(
        "gateway = \"192.0.2.1\"",
        "",
        &[
            "site.toml:32:8: peer 203.0.113.1 is in no interface's network and there is no gateway, allowed: a machine that can be reached",
        ],
    );
    changed(
        "gateway = \"192.0.2.1\"",
        "gateway = \"192.0.2.1\"\n[[interface]]\nname = \"lan\"\nmac = \"52:54:00:00:00:01\"\naddress = \"192.0.2.200/25\"\ngateway = \"192.0.2.129\"",
        &[
            "site.toml:27:8: interface name \"lan\" stands twice, allowed: each once",
            "site.toml:28:7: this mac is another interface's, allowed: one interface for each card",
            "site.toml:29:11: network 192.0.2.128/25 overlaps 192.0.2.0/24 of another interface, allowed: separate networks",
            "site.toml:30:11: a second gateway, allowed: one in the whole file",
        ],
    );
    changed(
        "servers = [\"198.51.100.1\"]",
        "servers = [\"198.51.100.1\", \"time.example\"]",
        &[
            "site.toml:74:28: key \"servers\" of [clock] does not allow \"time.example\", allowed: an IPv4 address of one machine as in \"192.0.2.1\"",
        ],
    );
    changed(
        "servers = [\"198.51.100.1\"]",
        "servers = [\"198.51.101.1\", \"198.51.100.1\"]",
        &[
            "site.toml:74:12: clock server 198.51.101.1 is outside the tunnel, allowed: an address in 198.51.100.0/25",
        ],
    );
    changed(
        "peer = \"203.0.113.1\"",
        "peer = \"198.51.100.1\"",
        &[
            "site.toml:32:8: peer 198.51.100.1 is inside remote 198.51.100.0/25, allowed: a peer that is reached without the tunnel",
        ],
    );
    changed(
        "peer = \"203.0.113.1\"",
        "peer = \"192.0.2.10\"",
        &["site.toml:32:8: peer 192.0.2.10 is the box itself, allowed: another machine"],
    );
    changed(
        "address = \"198.51.100.130\"",
        "address = \"192.0.2.77\"",
        &[
            "site.toml:41:11: tunnel address 192.0.2.77 is in an interface's network 192.0.2.0/24, allowed: an address of the data centre's plan",
        ],
    );
    changed(
        "address = \"198.51.100.130\"",
        "address = \"198.51.100.1\"",
        &[
            "site.toml:49:7: upload address 198.51.100.1 is the box itself, allowed: another machine",
            "site.toml:74:12: clock server 198.51.100.1 is the box itself, allowed: another machine",
        ],
    );
    changed(
        "remote = \"198.51.100.0/25\"",
        "remote = \"198.51.100.1/25\"",
        &[
            "site.toml:42:10: key \"remote\" of [tunnel] does not allow \"198.51.100.1/25\", allowed: an IPv4 network with a prefix of 8 to 32 and the bits behind it zero as in \"198.51.100.0/24\"",
        ],
    );
    changed(
        "remote = \"198.51.100.0/25\"",
        "remote = \"192.0.0.0/16\"",
        &[
            "site.toml:42:10: remote 192.0.0.0/16 overlaps an interface's network 192.0.2.0/24, allowed: a network that only the tunnel reaches",
            "site.toml:49:7: upload address 198.51.100.1 is outside the tunnel, allowed: an address in 192.0.0.0/16",
            "site.toml:74:12: clock server 198.51.100.1 is outside the tunnel, allowed: an address in 192.0.0.0/16",
        ],
    );
    changed(
        "\"https://198.51.100.1:8443/files/\"",
        "\"http://198.51.100.1:8443/files/\"",
        &[
            "site.toml:49:7: key \"url\" of [upload] does not allow \"http://198.51.100.1:8443/files/\", allowed: https, an IPv4 address and a path that ends with / as in \"https://198.51.100.1:8443/files/\"",
        ],
    );
    changed(
        "\"https://198.51.100.1:8443/files/\"",
        "\"https://203.0.113.9:8443/files/\"",
        &[
            "site.toml:49:7: upload address 203.0.113.9 is outside the tunnel, allowed: an address in 198.51.100.0/25",
        ],
    );
    changed(
        "server = \"192.0.2.20\"",
        "server = \"192.0.2.10\"",
        &["site.toml:81:10: mount server 192.0.2.10 is the box itself, allowed: another machine"],
    );
}

#[test]
fn a_name_must_be_unique_and_what_it_refers_to_must_exist() {
    changed(
        "interface = \"lan\"",
        "interface = \"wan\"",
        &["site.toml:30:13: there is no interface \"wan\", allowed: lan"],
    );
    changed(
        "name = \"claims\"",
        "name = \"emr\"",
        &[
            "site.toml:89:8: mount name \"emr\" stands twice, allowed: each once",
            "site.toml:113:9: there is no mount \"claims\", allowed: emr",
            "site.toml:119:9: there is no mount \"claims\", allowed: emr",
        ],
    );
    changed(
        "name = \"claims\"",
        "name = \"disc\"",
        &[
            "site.toml:89:8: key \"name\" of [[mount]] does not allow \"disc\", allowed: any other name",
        ],
    );
    changed(
        "name = \"extended\"",
        "name = \"standardized\"",
        &["site.toml:105:8: source name \"standardized\" stands twice, allowed: each once"],
    );
    changed(
        "path = \"extended\"",
        "path = \"standardized/inner\"",
        &[
            "site.toml:108:8: this path and that of \"standardized\" lie inside each other, allowed: separate folders",
        ],
    );
    changed(
        "path = \"extended\"",
        "path = \"../extended\"",
        &[
            "site.toml:108:8: key \"path\" of [[source]] does not allow \"../extended\", allowed: a path below the mount as in \"SSMIX2/standardized\", or \"\" for the mount itself",
        ],
    );
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    changed(
        "receipts = \"signed\"",
        "receipts = \"none\"",
        &[
            "site.toml:60:1: key \"receipt-certificate\" of [upload] has no use, allowed: only with receipts = \"signed\"",
        ],
    );
    changed(
        "receipt-certificate = \"receipt.pem\"",
        "",
        &[
            "site.toml:48:2: key \"receipt-certificate\" of [upload] is missing, allowed: the name of a file beside site.toml: 1 to 64 characters of A-Z, a-z, 0-9, ., _ and -, the first no .",
        ],
    );
    changed(
        "protocol = \"smb\"",
        "protocol = \"ftp\"",
        &[
            "site.toml:80:12: key \"protocol\" of [[mount]] does not allow \"ftp\", allowed: \"smb\" or \"nfs\"",
        ],
    );
    changed(
        "protocol = \"smb\"",
        "protocol = \"nfs\"",
        &[
            "site.toml:77:1: key \"export\" of [[mount]] is missing, allowed: the absolute path of an NFS export as in \"/export/ssmix2\", without . and ..",
            "site.toml:82:1: key \"share\" of [[mount]] has no use with protocol = \"nfs\", allowed: export",
            "site.toml:83:1: key \"user\" of [[mount]] has no use with protocol = \"nfs\", allowed: export",
            "site.toml:84:1: key \"password\" of [[mount]] has no use with protocol = \"nfs\", allowed: export",
            "site.toml:86:1: key \"domain\" of [[mount]] has no use with protocol = \"nfs\", allowed: export",
        ],
    );
    changed(
        "export = \"/export/claims\"",
        "export = \"claims\"",
        &[
            "site.toml:93:10: key \"export\" of [[mount]] does not allow \"claims\", allowed: the absolute path of an NFS export as in \"/export/ssmix2\", without . and ..",
        ],
    );
    changed(
        "period-seconds = 300",
        "period-seconds = 119",
        &[
            "site.toml:129:18: a period of 119 s does not hold a quiet time of 60 s, allowed: \"period-seconds\" of 120 or more, or a shorter \"quiet-seconds\"",
        ],
    );
    let least = EXAMPLE.replace("period-seconds = 300", "period-seconds = 120");
    assert!(check(&least, &FILES).is_ok());
    // the usual period
    let text = EXAMPLE.replace("period-seconds = 300", "");
    assert_eq!(
        faults(
            &text.replace("quiet-seconds = 60", "quiet-seconds = 151"),
            &FILES
        ),
        [
            "site.toml:125:17: a period of 300 s does not hold a quiet time of 151 s, allowed: \"period-seconds\" of 302 or more, or a shorter \"quiet-seconds\""
        ]
    );
}

#[test]
fn a_password_is_not_repeated_in_a_fault() {
    changed(
        "password = \"the account's password\"",
        "password = \"se\\u0000cret\"",
        &[
            "site.toml:84:12: key \"password\" of [[mount]] is not of the right form, allowed: 1 to 128 characters without control characters",
        ],
    );
}

#[test]
fn a_file_must_be_on_the_disc_and_be_what_it_is_named_for() {
    changed(
        "recipients = [\"recipient.pem\"]",
        "recipients = [\"../recipient.pem\"]",
        &[
            "site.toml:67:15: key \"recipients\" of [sealing] does not allow \"../recipient.pem\", allowed: the name of a file beside site.toml: 1 to 64 characters of A-Z, a-z, 0-9, ., _ and -, the first no .",
        ],
    );
    changed(
        "recipients = [\"recipient.pem\"]",
        "recipients = [\"recipient.pem\", \"recipient-2.pem\"]",
        &[
            "site.toml:67:32: sealing.recipients: there is no file \"recipient-2.pem\" beside site.toml, allowed: a PEM certificate with an RSA key of at least 2048 bits",
        ],
    );
    changed(
        "recipients = [\"recipient.pem\"]",
        "recipients = [\"sealing.pem\"]",
        &[
            "site.toml:67:15: sealing.recipients: \"sealing.pem\" is a certificate without an RSA key, allowed: a PEM certificate with an RSA key of at least 2048 bits",
        ],
    );
    changed(
        "key = \"sealing.key\"",
        "key = \"upload.key\"",
        &[
            "site.toml:70:7: sealing.key: \"upload.key\" is not the key of sealing.certificate, allowed: the key that the certificate was made for",
        ],
    );
    changed(
        "key = \"sealing.key\"",
        "key = \"sealing.pem\"",
        &[
            "site.toml:70:7: sealing.key: \"sealing.pem\" holds a certificate, allowed: one unencrypted PEM private key (PKCS#8) on the curve P-256",
        ],
    );
    changed(
        "revocation-list = \"upload-authority.crl\"",
        "revocation-list = \"upload-authority.pem\"",
        &[
            "site.toml:56:19: upload.revocation-list: \"upload-authority.pem\" holds a certificate, allowed: a PEM revocation list (X509 CRL)",
        ],
    );
    changed(
        "identity = \"box-0001.example\"",
        "identity = \"box-0002.example\"",
        &[
            "site.toml:35:12: tunnel.identity \"box-0002.example\" is no subjectAltName of tunnel.certificate, allowed: box-0001.example",
        ],
    );
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_refused_with_what_it_is() {
    let key = "one unencrypted PEM private key (PKCS#8) on the curve P-256";
    let at =
        |text: &str| format!("site.toml:70:7: sealing.key: \"sealing.key\" {text}, allowed: {key}");
    let recipient = "a PEM certificate with an RSA key of at least 2048 bits";
    with_file(
        "sealing.key",
        Some(b"no key".to_vec()),
        &[&at("is no PEM file")],
    );
    let torn = FILES["sealing.key"][..80].to_vec();
    with_file("sealing.key", Some(torn), &[&at("is a broken PEM file")]);
    let twice = [
        FILES["sealing.key"].as_slice(),
        FILES["sealing.key"].as_slice(),
    ]
    .concat();
    with_file(
        "sealing.key",
        Some(twice),
        &[&at("holds more than one PEM section")],
    );
    let (_, p384) = pair("box-0001", &rcgen::PKCS_ECDSA_P384_SHA384);
    with_file(
        "sealing.key",
        Some(p384),
        &[&at("holds a private key of another kind")],
    );
    let sec1 = b"-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n".to_vec();
    let hint = "hint: openssl pkcs8 -topk8 -nocrypt -in OLD.pem -out NEW.pem writes the key in the right form";
    with_file(
        "sealing.key",
        Some(sec1),
        &[&at("holds a private key in the older SEC 1 form"), hint],
    );
    let locked =
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"
            .to_vec();
    let hint = "hint: openssl pkcs8 -in OLD.pem -out NEW.pem takes the password off";
    with_file(
        "sealing.key",
        Some(locked),
        &[&at("holds an encrypted private key"), hint],
    );
    let short = include_bytes!("config_disc/recipient-1024.pem").to_vec();
    let what = format!(
        "site.toml:67:15: sealing.recipients: \"recipient.pem\" is a certificate with an RSA key of 1024 bits, allowed: {recipient}"
    );
    with_file("recipient.pem", Some(short), &[&what]);
    let what = "site.toml:60:23: upload.receipt-certificate: there is no file \"receipt.pem\" beside site.toml, allowed: one PEM certificate";
    with_file("receipt.pem", None, &[what]);
    let broken = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_vec();
    let what = "site.toml:60:23: upload.receipt-certificate: \"receipt.pem\" holds a broken certificate, allowed: one PEM certificate";
    with_file("receipt.pem", Some(broken), &[what]);
}

#[test]
fn every_fault_is_reported_at_once_in_the_order_of_the_file() {
    let text = EXAMPLE
        .replace("box-0001\"", "Box\"")
        .replace("tls = \"modern\"", "tls = \"new\"")
        .replace("path = \"DPC\"", "path = \"/DPC\"");
    let lines = faults(&text, &BTreeMap::new());
    let numbers: Vec<usize> = lines
        .iter()
        .filter_map(|line| line.split(':').nth(1)?.parse().ok())
        .collect();
    assert_eq!(
        lines.len(),
        3 + 11,
        "three changes and eleven files that are not there: {lines:#?}"
    );
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[test]
fn a_text_that_is_too_long_is_refused_unread() {
    let long = "#".repeat(site::LONGEST_TEXT_BYTES + 1);
    assert_eq!(
        faults(&long, &FILES),
        ["site.toml:1:1: the file has 65537 bytes, allowed: at most 65536"]
    );
}
