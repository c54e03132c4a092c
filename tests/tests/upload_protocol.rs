//! The receiver as any tus client sees it, request by request.

mod upload_lab;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Write;
use upload::tus::{checksum, hex, metadata};
use upload_lab::raw::Raw;
use upload_lab::{BOX, Lab, Running, SERVER, noise};

const FIRST: &str = "north-1-0000000001.cms";
const PATH: &str = "/files/north-1-0000000001.cms";

fn connected() -> (Lab, Running, Raw) {
    let lab = Lab::new();
    let server = lab.start();
    let raw = Raw::connect(server.address, &lab.sender());
    (lab, server, raw)
}

#[test]
fn options_names_version_extensions_size_and_checksums() {
    let (_lab, _server, mut raw) = connected();
    let answer = raw.ask("OPTIONS", "/files/", &[], b"");
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("tus-resumable", "1.0.0"),
        ("tus-version", "1.0.0"),
        ("tus-extension", "creation,checksum,expiration"),
        ("tus-max-size", "67108864"),
        ("tus-checksum-algorithm", "sha256,sha1"),
    ] {
        assert_eq!(answer.headers[name], value);
    }
}

#[test]
fn another_version_of_tus_is_refused_with_the_one_that_is_spoken() {
    let (_lab, _server, mut raw) = connected();
    for headers in [&[][..], &[("Tus-Resumable", "0.2.2")]] {
        let answer = raw.ask("HEAD", PATH, headers, b"");
        assert_eq!(
            (answer.status, answer.headers["tus-version"].as_str()),
            (412, "1.0.0")
        );
    }
}

#[test]
fn an_upload_is_created_asked_for_and_filled_as_the_protocol_says() {
    let (lab, _server, mut raw) = connected();
    let bytes = noise(1, 1000);
    let created = raw.announce(FIRST, &bytes);
    assert_eq!(
        (created.status, created.headers["location"].as_str()),
        (201, PATH)
    );
    assert!(created.headers.contains_key("upload-expires"));
    let head = raw.tus("HEAD", PATH, &[], b"");
    assert_eq!(
        (head.status, head.headers["cache-control"].as_str()),
        (200, "no-store")
    );
    assert_eq!(
        (
            head.headers["upload-offset"].as_str(),
            head.headers["upload-length"].as_str()
        ),
        ("0", "1000")
    );
    assert!(head.headers["upload-metadata"].ends_with("filetype YXBwbGljYXRpb24vY21z"));
    let first = raw.patch(PATH, 0, &[], &bytes[..400]);
    assert_eq!(
        (first.status, first.headers["upload-offset"].as_str()),
        (204, "400")
    );
    let last = raw.patch(PATH, 400, &[], &bytes[400..]);
    assert_eq!(
        (last.status, last.headers["upload-offset"].as_str()),
        (204, "1000")
    );
    assert_eq!(raw.offset(PATH), "1000");
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
    let receipt = raw.ask("GET", &format!("{PATH}/receipt"), &[], b"");
    assert_eq!(
        (receipt.status, receipt.headers["content-type"].as_str()),
        (200, "application/cms")
    );
    assert!(!receipt.body.is_empty());
}

#[test]
fn a_method_may_come_in_the_override_header() {
    let (_lab, _server, mut raw) = connected();
    raw.announce(FIRST, &noise(1, 10));
    let headers = [
        ("X-HTTP-Method-Override", "PATCH"),
        ("Content-Type", "application/offset+octet-stream"),
        ("Upload-Offset", "0"),
    ];
    assert_eq!(raw.tus("POST", PATH, &headers, &noise(1, 10)).status, 204);
}

#[test]
fn a_chunk_with_a_wrong_checksum_is_taken_back() {
    let (lab, _server, mut raw) = connected();
    let bytes = noise(2, 3_000_000);
    raw.announce(FIRST, &bytes);
    assert_eq!(raw.patch(PATH, 0, &[], &bytes[..1000]).status, 204);
    let wrong = checksum(&[0; 32]);
    assert_eq!(
        raw.patch(PATH, 1000, &[("Upload-Checksum", &wrong)], &bytes[1000..])
            .status,
        460
    );
    assert_eq!(raw.offset(PATH), "1000");
    let right = checksum(&bundle::Digest::of(&bytes[1000..]).0);
    assert_eq!(
        raw.patch(PATH, 1000, &[("Upload-Checksum", &right)], &bytes[1000..])
            .status,
        204
    );
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
}

#[test]
fn sha1_is_known_because_the_protocol_demands_it_and_others_are_refused() {
    let (_lab, _server, mut raw) = connected();
    raw.announce(FIRST, b"abcd");
    let sha1 = [
        0x81, 0xfe, 0x8b, 0xfe, 0x87, 0x57, 0x6c, 0x3e, 0xcb, 0x22, 0x42, 0x6f, 0x8e, 0x57, 0x84,
        0x73, 0x82, 0x91, 0x7a, 0xcf,
    ];
    let header = format!("sha1 {}", STANDARD.encode(sha1));
    assert_eq!(
        raw.patch(PATH, 0, &[("Upload-Checksum", "md5 AAAA")], b"abcd")
            .status,
        400
    );
    assert_eq!(
        raw.patch(PATH, 0, &[("Upload-Checksum", &header)], b"abcd")
            .status,
        204
    );
}

#[test]
fn a_whole_upload_with_another_digest_than_announced_is_given_up() {
    let (lab, server, mut raw) = connected();
    raw.announce(FIRST, b"abcd");
    assert_eq!(raw.patch(PATH, 0, &[], b"abcX").status, 460);
    assert_eq!(lab.stored(FIRST), None);
    assert_eq!(raw.tus("HEAD", PATH, &[], b"").status, 404);
    server.await_line("its bytes do not have the announced digest");
}

#[test]
fn a_chunk_at_another_offset_or_of_another_type_or_too_long_changes_nothing() {
    let (_lab, _server, mut raw) = connected();
    raw.announce(FIRST, b"abcd");
    assert_eq!(raw.patch(PATH, 1, &[], b"bcd").status, 409);
    let headers = [("Content-Type", "text/plain"), ("Upload-Offset", "0")];
    assert_eq!(raw.tus("PATCH", PATH, &headers, b"abcd").status, 415);
    assert_eq!(raw.patch(PATH, 0, &[], b"abcde").status, 413);
    assert_eq!(raw.offset(PATH), "0");
}

#[test]
fn what_is_announced_without_length_name_or_digest_is_refused() {
    let (_lab, _server, mut raw) = connected();
    let digest = hex(&[0; 32]);
    let good = metadata(&[("filename", FIRST), ("sha256", &digest)]);
    for (length, metadata, status) in [
        ("x", good.clone(), 400),
        ("67108865", good.clone(), 413),
        ("5", metadata(&[("filename", FIRST)]), 400),
        ("5", metadata(&[("sha256", &digest)]), 400),
        (
            "5",
            metadata(&[("filename", "../../etc/passwd"), ("sha256", &digest)]),
            400,
        ),
        (
            "5",
            metadata(&[("filename", "south-1-0000000001.cms"), ("sha256", &digest)]),
            403,
        ),
    ] {
        let headers = [
            ("Upload-Length", length),
            ("Upload-Metadata", metadata.as_str()),
        ];
        assert_eq!(
            raw.tus("POST", "/files/", &headers, b"").status,
            status,
            "{length} {metadata}"
        );
    }
    assert_eq!(
        raw.tus("POST", "/files/", &[("Upload-Defer-Length", "1")], b"")
            .status,
        400
    );
}

#[test]
fn another_boxs_uploads_and_receipts_do_not_exist_for_a_box() {
    let (lab, server, mut raw) = connected();
    let mut sender = lab.sender();
    sender.certificate = lab.pki.file("other-box.pem");
    sender.key = lab.pki.file("other-box.key");
    let mut stranger = Raw::connect(server.address, &sender);
    raw.announce(FIRST, b"abcd");
    assert_eq!(stranger.tus("HEAD", PATH, &[], b"").status, 404);
    assert_eq!(stranger.patch(PATH, 0, &[], b"abcd").status, 404);
    raw.patch(PATH, 0, &[], b"abcd");
    assert_eq!(stranger.tus("HEAD", PATH, &[], b"").status, 404);
    assert_eq!(
        stranger
            .ask("GET", &format!("{PATH}/receipt"), &[], b"")
            .status,
        404
    );
    assert_eq!(stranger.announce(FIRST, b"abcd").status, 403);
}

#[test]
fn nothing_stored_can_be_read_back() {
    let (_lab, _server, mut raw) = connected();
    raw.announce(FIRST, b"abcd");
    raw.patch(PATH, 0, &[], b"abcd");
    for path in [
        PATH,
        "/files/",
        "/",
        "/files/../.receipts",
        "/files/.lock",
        "/files/north-1/north-1-0000000001.cms",
    ] {
        let answer = raw.tus("GET", path, &[], b"");
        assert!(
            matches!(answer.status, 404 | 405),
            "{path}: {}",
            answer.status
        );
        assert!(!answer.body.windows(4).any(|window| window == b"abcd"));
    }
}

#[test]
fn a_newer_connection_takes_an_upload_over_from_one_that_hangs() {
    let (lab, server, mut hanging) = connected();
    let bytes = noise(3, 100_000);
    hanging.announce(FIRST, &bytes);
    // Half a chunk, and then nothing: the box lost its mains.
    let head = format!(
        "PATCH {PATH} HTTP/1.1\r\nHost: {SERVER}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n\
         Content-Type: application/offset+octet-stream\r\nContent-Length: 100000\r\n\r\n"
    );
    hanging.0.get_mut().write_all(head.as_bytes()).unwrap();
    hanging.0.get_mut().write_all(&bytes[..50_000]).unwrap();
    hanging.0.get_mut().flush().unwrap();
    let receipt = lab
        .sender()
        .deliver(server.address, &lab.bundle(FIRST, &bytes));
    assert!(receipt.is_ok(), "{:?}", receipt.err());
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
}

#[test]
fn a_box_that_used_its_share_is_refused_until_there_is_room() {
    let lab = Lab::new();
    let mut settings = lab.settings();
    settings.max_bytes_per_box = Some(1000);
    let server = Running::start(settings);
    let mut raw = Raw::connect(server.address, &lab.sender());
    assert_eq!(raw.announce(FIRST, &noise(1, 600)).status, 201);
    assert_eq!(
        raw.announce("north-1-0000000002.cms", &noise(2, 600))
            .status,
        507
    );
    raw.patch(PATH, 0, &[], &noise(1, 600));
    assert_eq!(
        raw.announce("north-1-0000000002.cms", &noise(2, 600))
            .status,
        507
    );
    std::fs::remove_file(lab.store().join(BOX).join(FIRST)).unwrap();
    assert_eq!(
        raw.announce("north-1-0000000002.cms", &noise(2, 600))
            .status,
        201
    );
    assert_eq!(
        raw.announce(FIRST, &noise(1, 600)).status,
        201,
        "a bundle that was moved away stays received"
    );
}

#[test]
fn an_unfinished_upload_with_other_bytes_is_started_over() {
    let (lab, _server, mut raw) = connected();
    raw.announce(FIRST, b"abcd");
    raw.patch(PATH, 0, &[], b"ab");
    assert_eq!(raw.announce(FIRST, b"wxyz").status, 201);
    assert_eq!(raw.offset(PATH), "0");
    raw.patch(PATH, 0, &[], b"wxyz");
    assert_eq!(lab.stored(FIRST).unwrap(), b"wxyz");
}

#[test]
fn heads_without_end_are_refused() {
    let (_lab, _server, mut raw) = connected();
    let long = "x".repeat(20_000);
    assert_eq!(raw.tus("HEAD", PATH, &[("X-Long", &long)], b"").status, 431);
}

#[test]
fn an_upload_that_nobody_continued_for_a_week_is_given_up_and_a_younger_one_is_kept() {
    let (lab, server, mut raw) = connected();
    let second = "north-1-0000000002.cms";
    raw.announce(FIRST, b"abcd");
    raw.announce(second, b"wxyz");
    drop(server);
    let partial = lab.store().join(".partial").join(BOX);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 24 * 3600);
    for ending in ["info", "data"] {
        let file = std::fs::File::options()
            .write(true)
            .open(partial.join(format!("{FIRST}.{ending}")));
        file.unwrap().set_modified(old).unwrap();
    }
    // The search begins with the server.
    let server = lab.start();
    server.await_line(&format!("gave up {FIRST}"));
    let mut raw = Raw::connect(server.address, &lab.sender());
    assert_eq!(raw.tus("HEAD", PATH, &[], b"").status, 404);
    assert_eq!(
        raw.tus("HEAD", &format!("/files/{second}"), &[], b"")
            .status,
        200
    );
}
