//! One box cannot see, guess, overwrite or fill the space of another, and nobody can read anything back.

mod receive_lab;
mod upload_lab;

use datacentre::receive::Limits;
use receive_lab::{Receiver, Wire, announcement, chunk_at, request, stranger, tree};
use std::net::{SocketAddr, TcpStream};
use upload_lab::{BOX, Lab, noise};

/// Of north-1: received, half received, and never heard of.
const WHOLE: &str = "north-1-0000000001.cms";
const HALF: &str = "north-1-0000000002.cms";
const NEVER: &str = "north-1-0000000003.cms";

/// A receiver with something of north-1 in it.
fn furnished() -> (Lab, Receiver, Wire) {
    let lab = Lab::new();
    let receiver = Receiver::start(lab.settings(), Limits::default());
    let mut owner = Wire::connect(receiver.address, &lab.sender());
    owner.deliver(WHOLE, &noise(1, 3000));
    owner.announce(HALF, &noise(2, 3000));
    owner.patch(HALF, 0, &noise(2, 3000)[..1500]);
    (lab, receiver, owner)
}

#[test]
fn to_another_box_an_upload_looks_the_same_whether_it_is_there_or_not() {
    let (lab, receiver, mut owner) = furnished();
    let before = tree(&lab);
    let mut other = Wire::connect(receiver.address, &stranger(&lab));
    let chunk = chunk_at(1500);
    let forced = format!("X-HTTP-Method-Override: PATCH\r\n{chunk}");
    for (method, ending, headers, body) in [
        ("HEAD", "", "", &b""[..]),
        ("GET", "", "", b""),
        ("GET", "/receipt", "", b""),
        ("HEAD", "/receipt", "", b""),
        ("PATCH", "", chunk.as_str(), b"overwritten"),
        ("POST", "", forced.as_str(), b"overwritten"),
        ("PUT", "", "", b"overwritten"),
        ("DELETE", "", "", b""),
        ("DELETE", "/receipt", "", b""),
        ("OPTIONS", "", "", b""),
    ] {
        let answers = [WHOLE, HALF, NEVER].map(|name| {
            let path = format!("/files/{name}{ending}");
            let answer = other.tus(method, &path, headers, body);
            if answer
                .headers
                .get("connection")
                .is_some_and(|how| how == "close")
            {
                other = Wire::connect(receiver.address, &stranger(&lab));
            }
            answer
        });
        let context = format!("{method} {ending} {answers:?}");
        assert_eq!(answers[0], answers[2], "{context}");
        assert_eq!(answers[1], answers[2], "{context}");
        let expected = if method == "OPTIONS" { 204 } else { 404 };
        assert_eq!(answers[0].status, expected, "{context}");
    }
    assert_eq!(tree(&lab), before);
    assert_eq!(owner.offset(HALF), Some(1500));
    assert_eq!(owner.patch(HALF, 1500, &noise(2, 3000)[1500..]).status, 204);
}

#[test]
fn a_bundle_cannot_be_announced_under_the_name_of_another_box() {
    let (lab, receiver, _owner) = furnished();
    let before = tree(&lab);
    let mut other = Wire::connect(receiver.address, &stranger(&lab));
    let answers = [WHOLE, HALF, NEVER].map(|name| other.announce(name, b"other bytes"));
    assert!(answers.iter().all(|answer| answer.status == 403));
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(tree(&lab), before);
}

#[test]
fn no_trick_with_a_path_reaches_the_upload_of_another_box() {
    let (lab, receiver, _owner) = furnished();
    let before = tree(&lab);
    for path in [
        "/files/south-1-0000000001.cms/../north-1-0000000001.cms",
        "/files/./north-1-0000000001.cms",
        "/files//north-1-0000000001.cms",
        "//files/north-1-0000000001.cms",
        "/files/../files/north-1-0000000001.cms",
        "/files/%6eorth-1-0000000001.cms",
        "/files/north-1%2d0000000001.cms",
        "/files/north-1-0000000001.cms%00",
        "/files/north-1-0000000001.cms/",
        "/files/NORTH-1-0000000001.CMS",
        "/FILES/north-1-0000000001.cms",
        "/files/north-1/north-1-0000000001.cms",
        "/files/../north-1/north-1-0000000001.cms",
        "/files/.receipts/north-1/north-1-0000000001.cms.receipt",
        "/files/.partial/north-1/north-1-0000000002.cms.data",
        "/files/north-1-0000000001.cms/receipt/receipt",
        "/files/south-1-0000000001.cms/../north-1-0000000001.cms/receipt",
        "/files/north-1-0000000001.cms;south-1-0000000001.cms",
        "/files/north-1-0000000001.cms?south-1-0000000001.cms",
        "https://receive.example/files/north-1-0000000001.cms",
    ] {
        for (method, headers, body) in [
            ("HEAD", String::new(), &b""[..]),
            ("GET", String::new(), b""),
            ("PATCH", chunk_at(1500), b"overwritten"),
        ] {
            let mut other = Wire::connect(receiver.address, &stranger(&lab));
            let answer = other.tus(method, path, &headers, body);
            assert_eq!(answer.status, 404, "{method} {path}");
        }
    }
    assert_eq!(tree(&lab), before);
}

#[test]
fn no_trick_with_metadata_makes_a_file_outside_the_boxs_own_names() {
    let (lab, receiver, _owner) = furnished();
    let before = tree(&lab);
    let mut other = Wire::connect(receiver.address, &stranger(&lab));
    for name in [
        "../north-1/north-1-0000000009.cms",
        "south-1-0000000001.cms/../../north-1/north-1-0000000009.cms",
        "/etc/south-1-0000000001.cms",
        "SOUTH-1-0000000001.cms",
        "South-1-0000000001.CMS",
        "south-1-0000000001.cms\0",
        "south-1-0000000001.cms\n",
        "south-1-0000000001.cms ",
        "south-1-00000000001.cms",
        "south-1-0000000000.cms",
        "south-1-\u{0661}000000001.cms",
        "south-1-0000000001.cms.receipt",
        "south-1",
        ".partial",
        "",
        &"s".repeat(4000),
    ] {
        assert_eq!(other.announce(name, b"bytes").status, 400, "{name:?}");
    }
    // The first of two names decides; the second is nobody's business.
    for (first, second, status) in [
        (NEVER, "south-1-0000000001.cms", 403),
        ("../x", "south-1-0000000001.cms", 400),
    ] {
        let two = announcement(first, b"bytes").trim_end().to_owned()
            + ","
            + announcement(second, b"bytes").trim_start_matches("Upload-Metadata: ")
            + "Upload-Length: 5\r\n";
        assert_eq!(other.tus("POST", "/files/", &two, b"").status, status);
    }
    assert_eq!(tree(&lab), before);
}

#[test]
fn nothing_is_read_back_but_ones_own_offsets_and_receipts() {
    let (_lab, receiver, mut owner) = furnished();
    let _ = receiver;
    for path in [
        "/",
        "/files",
        "/files/",
        "/files/north-1",
        "/files/north-1/",
        "/files/north-1-0000000001.cms",
        "/files/north-1-0000000002.cms",
        "/files/north-1-0000000002.cms/receipt",
        "/files/north-1-0000000003.cms/receipt",
        "/files/.lock",
    ] {
        for method in ["GET", "OPTIONS", "TRACE", "PROPFIND", "COPY", "DELETE"] {
            let answer = owner.tus(method, path, "", b"");
            assert!(
                [204, 404, 405].contains(&answer.status),
                "{method} {path}: {answer:?}"
            );
            assert!(answer.body.len() < 64, "{method} {path}: {answer:?}");
        }
    }
    let receipt = owner.tus("GET", "/files/north-1-0000000001.cms/receipt", "", b"");
    assert_eq!(receipt.status, 200);
    assert_eq!(owner.offset(WHOLE), Some(3000));
}

#[test]
fn a_number_that_was_received_keeps_its_bytes() {
    let (lab, _receiver, mut owner) = furnished();
    let before = tree(&lab);
    assert_eq!(owner.announce(WHOLE, &noise(9, 3000)).status, 409);
    assert_eq!(owner.announce(WHOLE, b"").status, 409);
    assert_eq!(owner.patch(WHOLE, 3000, b"more").status, 409);
    assert_eq!(owner.patch(WHOLE, 0, &noise(9, 3000)).status, 409);
    assert_eq!(tree(&lab), before);
}

#[test]
fn the_share_of_one_box_being_full_leaves_the_other_its_own() {
    let lab = Lab::new();
    let mut settings = lab.settings();
    settings.max_bytes_per_box = Some(4000);
    let receiver = Receiver::start(settings, Limits::default());
    let mut greedy = Wire::connect(receiver.address, &lab.sender());
    greedy.deliver(WHOLE, &noise(1, 3000));
    let full = greedy.announce(HALF, &noise(2, 3000));
    assert_eq!(
        (full.status, full.headers["retry-after"].as_str()),
        (507, "60")
    );
    let mut other = Wire::connect(receiver.address, &stranger(&lab));
    other.deliver("south-1-0000000001.cms", &noise(3, 3000));
    // Announcements count: a box cannot take more by never finishing.
    assert_eq!(greedy.announce(HALF, &noise(2, 900)).status, 201);
    assert_eq!(greedy.announce(NEVER, &noise(2, 900)).status, 507);
}

#[test]
fn a_disk_at_its_reserve_takes_nothing_and_says_so() {
    let lab = Lab::new();
    let limits = Limits {
        disk_reserve_bytes: Some(u64::MAX / 2),
        ..Limits::default()
    };
    let receiver = Receiver::start(lab.settings(), limits);
    let mut owner = Wire::connect(receiver.address, &lab.sender());
    let refused = owner.announce(WHOLE, b"bytes");
    assert_eq!(
        (refused.status, refused.body.as_slice()),
        (507, &b"the receiver's disk is full\n"[..])
    );
    assert_eq!(tree(&lab).len(), 1, "only the lock");
}

#[test]
fn unfinished_uploads_beyond_a_boxs_limit_cost_its_own_oldest() {
    let lab = Lab::new();
    let limits = Limits {
        uploads_per_box: 2,
        ..Limits::default()
    };
    let receiver = Receiver::start(lab.settings(), limits);
    let mut other = Wire::connect(receiver.address, &stranger(&lab));
    other.announce("south-1-0000000001.cms", b"abc");
    let mut owner = Wire::connect(receiver.address, &lab.sender());
    for name in [WHOLE, HALF] {
        owner.announce(name, b"abc");
    }
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    for ending in ["info", "data"] {
        let path = lab.store().join(".partial").join(BOX);
        let file = std::fs::File::options()
            .write(true)
            .open(path.join(format!("{HALF}.{ending}")));
        file.unwrap().set_modified(old).unwrap();
    }
    assert_eq!(owner.announce(NEVER, b"abc").status, 201);
    assert_eq!(
        [WHOLE, HALF, NEVER].map(|name| owner.offset(name)),
        [Some(0), None, Some(0)]
    );
    assert_eq!(other.offset("south-1-0000000001.cms"), Some(0));
}

#[test]
fn a_box_that_opens_every_connection_keeps_nobody_out() {
    let lab = Lab::new();
    let limits = Limits {
        connections: 6,
        connections_per_box: 4,
        ..Limits::default()
    };
    let receiver = Receiver::start(lab.settings(), limits);
    let mut owner = Wire::connect(receiver.address, &lab.sender());
    owner.announce(WHOLE, &noise(1, 3000));
    let mut greedy: Vec<_> = (0..20)
        .map(|_| {
            let mut wire = Wire::connect(receiver.address, &stranger(&lab));
            // Answered, so it has its place.
            wire.tus("OPTIONS", "/files/", "", b"");
            wire
        })
        .collect();
    for wire in &mut greedy[..16] {
        wire.await_end();
    }
    assert_eq!(owner.patch(WHOLE, 0, &noise(1, 3000)).status, 204);
    Wire::connect(receiver.address, &lab.sender()).deliver(HALF, &noise(2, 3000));
    assert_eq!(greedy[19].tus("OPTIONS", "/files/", "", b"").status, 204);
}

#[test]
fn machines_that_hold_every_handshake_keep_no_box_out() {
    let lab = Lab::new();
    let limits = Limits {
        handshakes: 8,
        ..Limits::default()
    };
    let receiver = Receiver::start(lab.settings(), limits);
    let mute: Vec<_> = (0..40).map(|_| from_elsewhere(receiver.address)).collect();
    let mut owner = Wire::connect(receiver.address, &lab.sender());
    owner.deliver(WHOLE, &noise(1, 3000));
    drop(mute);
}

/// A connection from another address of the loopback interface that says nothing.
fn from_elsewhere(address: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let stream = socket.connect(address).await.unwrap();
        stream.into_std().unwrap()
    })
}

#[test]
fn requests_of_one_write_are_answered_one_after_the_other() {
    let lab = Lab::new();
    let receiver = Receiver::start(lab.settings(), Limits::default());
    let mut owner = Wire::connect(receiver.address, &lab.sender());
    let bytes = noise(1, 3000);
    let path = format!("/files/{WHOLE}");
    let length = format!("{}Upload-Length: 3000\r\n", announcement(WHOLE, &bytes));
    let receipt = format!("{path}/receipt");
    let all = [
        request("POST", "/files/", &length, b""),
        request("PATCH", &path, &chunk_at(0), &bytes[..1000]),
        request("PATCH", &path, &chunk_at(1000), &bytes[1000..]),
        request("PATCH", &path, &chunk_at(1000), &bytes[1000..]),
        request("GET", &receipt, "", b""),
    ];
    owner.send(all.concat()).unwrap();
    let statuses = ["POST", "PATCH", "PATCH", "PATCH", "GET"].map(|it| owner.answer(it).status);
    assert_eq!(statuses, [201, 204, 204, 409, 200]);
    assert_eq!(lab.stored(WHOLE).unwrap(), bytes);
}
