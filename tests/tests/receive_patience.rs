//! Clients that are slow, silent or without measure: each wait ends, nothing grows, and others go on.

mod receive_lab;
mod upload_lab;

use datacentre::receive::Limits;
use receive_lab::{Receiver, Wire, announcement, chunk_at, request};
use std::time::Duration;
use upload_lab::{Lab, SERVER, noise};

const FIRST: &str = "north-1-0000000001.cms";
const SECOND: &str = "north-1-0000000002.cms";
/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_head_that_never_ends_costs_the_connection() {
    let lab = Lab::new();
    let limits = Limits {
        head: SHORT,
        ..Limits::default()
    };
    let receiver = Receiver::start(lab.settings(), limits);
    for beginning in ["", "H", "HEAD /files/ HTTP/1.1\r\nHost: "] {
        let mut slow = Wire::connect(receiver.address, &lab.sender());
        slow.send(beginning).unwrap();
        while slow.try_answer("GET").is_some() {}
        slow.await_end();
    }
}

#[test]
fn a_handshake_that_never_ends_costs_the_connection() {
    let lab = Lab::new();
    let limits = Limits {
        handshake: SHORT,
        ..Limits::default()
    };
    let receiver = Receiver::start(lab.settings(), limits);
    let mut slow = std::net::TcpStream::connect(receiver.address).unwrap();
    slow.set_read_timeout(Some(upload_lab::EVENT_LIMIT))
        .unwrap();
    // The beginning of a record.
    std::io::Write::write_all(&mut slow, &[22, 3, 1, 2, 0]).unwrap();
    assert_eq!(std::io::Read::read(&mut slow, &mut [0; 16]).unwrap(), 0);
}

#[test]
fn a_chunk_that_trickles_is_cut_off_and_its_bytes_are_kept() {
    let lab = Lab::new();
    let limits = Limits {
        pace: SHORT,
        ..Limits::default()
    };
    let receiver = Receiver::start(lab.settings(), limits);
    let mut slow = Wire::connect(receiver.address, &lab.sender());
    let bytes = noise(1, 1000);
    slow.announce(FIRST, &bytes);
    let whole = request("PATCH", &format!("/files/{FIRST}"), &chunk_at(0), &bytes);
    let (beginning, rest) = whole.split_at(whole.len() - 900);
    slow.send(beginning).unwrap();
    // A byte again and again, always sooner than the limit, until the receiver ends it.
    for byte in rest.chunks(1) {
        if slow.send(byte).is_err() {
            break;
        }
        std::thread::sleep(SHORT / 30);
    }
    if let Some(answer) = slow.try_answer("PATCH") {
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (400, &b"too slow\n"[..])
        );
    }
    let mut again = Wire::connect(receiver.address, &lab.sender());
    let offset = again.offset(FIRST).unwrap();
    assert!((100..1000).contains(&offset), "{offset}");
    assert_eq!(again.patch(FIRST, offset, &bytes[offset..]).status, 204);
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
}

#[test]
fn a_client_that_never_reads_its_answers_costs_the_connection() {
    let lab = Lab::new();
    let limits = Limits {
        unacknowledged: SHORT,
        ..Limits::default()
    };
    let receiver = Receiver::start(lab.settings(), limits);
    let mut deaf = Wire::connect(receiver.address, &lab.sender());
    deaf.deliver(FIRST, b"bytes");
    let many = request("GET", &format!("/files/{FIRST}/receipt"), "", b"").repeat(1000);
    let begun = std::time::Instant::now();
    let error = loop {
        match deaf.send(&many) {
            Ok(()) => assert!(begun.elapsed() < upload_lab::EVENT_LIMIT, "still reading"),
            Err(error) => break error,
        }
    };
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "still there");
    Wire::connect(receiver.address, &lab.sender()).deliver(SECOND, b"bytes");
}

#[test]
fn heads_beyond_measure_are_refused() {
    let lab = Lab::new();
    let receiver = Receiver::start(lab.settings(), Limits::default());
    let long_value = format!("X-Long: {}\r\n", "x".repeat(17_000));
    let long_name = format!("{}: x\r\n", "x".repeat(17_000));
    let many = "X-Many: x\r\n".repeat(100);
    let long_path = format!("/files/{}", "x".repeat(17_000));
    for (path, headers) in [
        ("/files/", long_value.as_str()),
        ("/files/", &long_name),
        ("/files/", &many),
        (&long_path, ""),
    ] {
        let mut wire = Wire::connect(receiver.address, &lab.sender());
        wire.send(request("HEAD", path, headers, b"")).unwrap();
        let status = wire.answer("HEAD").status;
        assert!([414, 431].contains(&status), "{status}");
        wire.await_end();
    }
}

#[test]
fn lengths_beyond_measure_are_refused_before_a_byte_is_read() {
    let lab = Lab::new();
    let receiver = Receiver::start(lab.settings(), Limits::default());
    Wire::connect(receiver.address, &lab.sender()).announce(FIRST, &noise(1, 1000));
    for length in [
        "1001",
        "9223372036854775807",
        "18446744073709551615",
        "99999999999999999999999",
        "-1",
        "1e3",
        "10\r\nContent-Length: 11",
    ] {
        let mut wire = Wire::connect(receiver.address, &lab.sender());
        let chunk = chunk_at(0);
        let head = format!(
            "PATCH /files/{FIRST} HTTP/1.1\r\nHost: {SERVER}\r\nTus-Resumable: 1.0.0\r\nContent-Length: {length}\r\n{chunk}\r\n"
        );
        wire.send(head).unwrap();
        // No number, no length of a body that could be, or too long for this upload.
        let status = wire.answer("PATCH").status;
        assert!([400, 413, 431].contains(&status), "{length}: {status}");
    }
    let mut wire = Wire::connect(receiver.address, &lab.sender());
    for length in ["67108865", "18446744073709551616", "-1", ""] {
        let headers = announcement(SECOND, b"") + &format!("Upload-Length: {length}\r\n");
        let status = wire.tus("POST", "/files/", &headers, b"").status;
        assert!([400, 413].contains(&status), "{length}: {status}");
    }
    assert_eq!(wire.offset(FIRST), Some(0));
}

#[test]
fn a_body_without_end_is_cut_off_at_the_announced_length() {
    let lab = Lab::new();
    let receiver = Receiver::start(lab.settings(), Limits::default());
    let mut wire = Wire::connect(receiver.address, &lab.sender());
    wire.announce(FIRST, &noise(1, 1000));
    let chunk = chunk_at(0);
    let head = format!(
        "PATCH /files/{FIRST} HTTP/1.1\r\nHost: {SERVER}\r\nTus-Resumable: 1.0.0\r\nTransfer-Encoding: chunked\r\n{chunk}\r\n"
    );
    wire.send(head).unwrap();
    let piece = [b"400\r\n".as_slice(), &[7; 1024], b"\r\n"].concat();
    // It answers after the second piece and closes; a receiver that read on would take all of these.
    let took_all = (0..100_000).all(|_| wire.send(&piece).is_ok());
    assert!(!took_all, "the receiver reads without end");
    let mut again = Wire::connect(receiver.address, &lab.sender());
    assert_eq!(again.offset(FIRST), Some(0));
    assert!(lab.stored(FIRST).is_none());
}

#[test]
fn a_body_where_none_belongs_is_not_kept() {
    let lab = Lab::new();
    let receiver = Receiver::start(lab.settings(), Limits::default());
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
        let mut wire = Wire::connect(receiver.address, &lab.sender());
        let head = format!(
            "{method} /files/ HTTP/1.1\r\nHost: {SERVER}\r\nTus-Resumable: 1.0.0\r\nContent-Length: 1000000000\r\n\r\n"
        );
        wire.send(head).unwrap();
        assert!(wire.answer(method).status < 500);
        let piece = vec![0; 1 << 20];
        let took_all = (0..100).all(|_| wire.send(&piece).is_ok());
        assert!(!took_all, "{method}: the receiver reads without end");
    }
}
