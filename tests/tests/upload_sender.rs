//! The role `sender` as it runs on the box, between a spool, a keyholder, a trail and a receiver.

mod upload_lab;

use collector::runtime::Runtime;
use serde_json::{Value, json};
use site::{Clock, Collection, Plan, Sealing, Tunnel};
use spool::{Folder, Spool};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use upload::{UnverifiedReceipt, verify_receipt};
use upload_lab::{BOX, EVENT_LIMIT, Lab, Running, certificate, noise};

/// A box's folders with the roles that the sender talks to.
struct SenderRig {
    root: PathBuf,
    events: Arc<Mutex<Vec<Value>>>,
}

impl SenderRig {
    fn new(lab: &Lab) -> Self {
        let root = lab.folder.path().join("box");
        for folder in [
            "state/spool/bundles",
            "state/spool/receipts",
            "run/site",
            "run/keyholder",
            "run/audit",
            "run/status/sender",
        ] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let rig = Self {
            root,
            events: Arc::default(),
        };
        let key = std::fs::read(lab.pki.file("box.key")).unwrap();
        let key = bundle::LocalSigner::from_pem(&key).unwrap();
        rig.answer("run/keyholder/sign.sock", move |request| {
            assert_eq!(request["key"], "upload");
            let digest = upload::tus::parse_digest(request["digest"].as_str().unwrap()).unwrap();
            json!({ "signature": upload::tus::hex(&bundle::Signer::sign(&key, &digest).unwrap()) })
        });
        let events = rig.events.clone();
        rig.answer("run/audit/append.sock", move |record| {
            let mut events = events.lock().unwrap();
            events.push(record);
            json!({ "sequence": events.len() })
        });
        rig
    }

    /// A role that answers each line with a line.
    fn answer(&self, socket: &str, reply: impl Fn(Value) -> Value + Send + 'static) {
        let listener = UnixListener::bind(self.root.join(socket)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut writer = stream.try_clone().unwrap();
                for line in BufReader::new(stream).lines() {
                    let Ok(line) = line else { break };
                    let answer = reply(serde_json::from_str(&line).unwrap());
                    if writer.write_all(format!("{answer}\n").as_bytes()).is_err() {
                        break;
                    }
                }
            }
        });
    }

    /// Starts the role; it ends with the test's process.
    fn run(&self, lab: &Lab, server: SocketAddr, receipts: site::Receipts) {
        let plan = plan(lab, server, receipts, &self.root);
        self.run_by(&plan, SystemTime::now);
    }

    /// As [`run`](Self::run), by another plan and another clock.
    fn run_by(&self, plan: &Plan, clock: impl Fn() -> SystemTime + Send + 'static) {
        std::fs::write(
            self.root.join("run/site/plan.json"),
            serde_json::to_vec(plan).unwrap(),
        )
        .unwrap();
        let runtime = Runtime::below("sender", &self.root);
        thread::spawn(move || {
            if let Err(error) = collector::roles::sender::run_by(runtime, &clock) {
                eprintln!("the role ended: {error}");
            }
        });
    }

    /// A bundle appears as `intake` makes it appear.
    fn append(&self, sequence: u64, bytes: &[u8]) -> String {
        let name = format!("{BOX}-{sequence:010}.cms");
        let fresh = self.root.join("state/spool/bundles/.append.new");
        std::fs::write(&fresh, spool::file_of(sequence, bytes)).unwrap();
        std::fs::rename(&fresh, self.root.join("state/spool/bundles").join(&name)).unwrap();
        name
    }

    fn await_receipt(&self, name: &str) -> Vec<u8> {
        let path = self
            .root
            .join(format!("state/spool/receipts/{name}.receipt"));
        let limit = Instant::now() + EVENT_LIMIT;
        loop {
            if let Ok(bytes) = std::fs::read(&path) {
                return bytes;
            }
            assert!(
                Instant::now() < limit,
                "no receipt for {name}; events: {:#?}",
                self.events()
            );
            thread::yield_now();
        }
    }

    fn await_event(&self, event: &str) -> Value {
        let limit = Instant::now() + EVENT_LIMIT;
        loop {
            if let Some(found) = self
                .events()
                .into_iter()
                .find(|record| record["event"] == event)
            {
                return found;
            }
            assert!(Instant::now() < limit, "no event {event}");
            thread::yield_now();
        }
    }

    fn events(&self) -> Vec<Value> {
        self.events.lock().unwrap().clone()
    }

    fn status(&self) -> Value {
        serde_json::from_slice(
            &std::fs::read(self.root.join("run/status/sender/status.json")).unwrap(),
        )
        .unwrap()
    }
}

/// The plan with the parts that the sender reads; its files are named as seen below `root`.
fn plan(lab: &Lab, server: SocketAddr, receipts: site::Receipts, root: &std::path::Path) -> Plan {
    let site = root.join("state/site");
    std::fs::create_dir_all(&site).unwrap();
    let file = |name: &str| {
        std::fs::copy(lab.pki.file(name), site.join(name)).unwrap();
        PathBuf::from("/state/site").join(name)
    };
    let IpAddr::V4(address) = server.ip() else {
        panic!("the lab uses IPv4")
    };
    Plan {
        box_name: BOX.into(),
        interfaces: vec![],
        tunnel: Tunnel {
            interface: "wan".into(),
            peer: Ipv4Addr::LOCALHOST,
            peer_identity: String::new(),
            identity: String::new(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            authority: PathBuf::new(),
            address: Ipv4Addr::LOCALHOST,
            remote: Ipv4Addr::LOCALHOST,
            remote_prefix: 32,
            dead_peer_seconds: 30,
            rekey_seconds: 3600,
        },
        upload: site::Upload {
            address,
            port: server.port(),
            path: "/files/".into(),
            server_name: upload_lab::SERVER.into(),
            certificate: file("box.pem"),
            authority: file("ca.pem"),
            revocation_list: file("crl.pem"),
            receipts,
            tls: site::TlsProfile::Modern,
        },
        sending: site::Sending::default(),
        sealing: Sealing {
            recipients: vec![],
            certificate: PathBuf::new(),
        },
        clock: Clock { servers: vec![] },
        mounts: vec![],
        sources: vec![],
        collection: Collection {
            quiet_seconds: 1,
            period_seconds: 1,
            pacing: site::Pacing::default(),
        },
    }
}

fn signed(lab: &Lab, rig: &SenderRig) -> site::Receipts {
    std::fs::create_dir_all(rig.root.join("state/site")).unwrap();
    std::fs::copy(
        lab.pki.file("receipt.pem"),
        rig.root.join("state/site/receipt.pem"),
    )
    .unwrap();
    site::Receipts::Signed {
        certificate: "/state/site/receipt.pem".into(),
    }
}

fn check_receipt(lab: &Lab, name: &str, bytes: &[u8], receipt: Vec<u8>) {
    let receiver = certificate(&lab.pki.file("receipt.pem"));
    let digest = bundle::Digest::of(bytes).0;
    verify_receipt(
        UnverifiedReceipt(receipt),
        &receiver,
        &name.parse().unwrap(),
        bytes.len() as u64,
        &digest,
    )
    .unwrap();
}

#[test]
fn bundles_found_at_the_start_and_appended_later_get_receipts_and_one_event_each() {
    let lab = Lab::new();
    let (rig, server) = (SenderRig::new(&lab), lab.start());
    let receipts = signed(&lab, &rig);
    let contents: Vec<Vec<u8>> = (1..=4).map(|seed| noise(seed, 40_000)).collect();
    let mut names = vec![rig.append(1, &contents[0]), rig.append(2, &contents[1])];
    rig.run(&lab, server.address, receipts);
    rig.await_receipt(&names[1]);
    names.push(rig.append(3, &contents[2]));
    rig.await_receipt(&names[2]);
    names.push(rig.append(4, &contents[3]));
    rig.await_receipt(&names[3]);
    for (name, bytes) in names.iter().zip(&contents) {
        assert_eq!(lab.stored(name).as_ref(), Some(bytes));
        check_receipt(&lab, name, bytes, rig.await_receipt(name));
    }
    let told: Vec<_> = rig
        .events()
        .iter()
        .map(|e| (e["event"].clone(), e["bundle"].clone(), e["number"].clone()))
        .collect();
    let expected: Vec<_> = (1..=4)
        .map(|n| (json!("delivered"), json!(names[n - 1]), json!(n)))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn a_bundle_with_a_receipt_is_left_alone() {
    let lab = Lab::new();
    let (rig, server) = (SenderRig::new(&lab), lab.start());
    let receipts = signed(&lab, &rig);
    let first = rig.append(1, b"sent before");
    std::fs::write(
        rig.root
            .join(format!("state/spool/receipts/{first}.receipt")),
        b"kept",
    )
    .unwrap();
    let second = rig.append(2, b"to be sent");
    rig.run(&lab, server.address, receipts);
    rig.await_receipt(&second);
    assert_eq!(lab.stored(&first), None);
    assert_eq!(rig.await_receipt(&first), b"kept");
}

#[test]
fn a_receiver_that_comes_back_gets_what_waited_and_an_outage_is_no_refusal() {
    let lab = Lab::new();
    let rig = SenderRig::new(&lab);
    let receipts = signed(&lab, &rig);
    let server = lab.start();
    let address = server.address;
    drop(server);
    let name = rig.append(1, &noise(1, 10_000));
    rig.run(&lab, address, receipts);
    let limit = Instant::now() + EVENT_LIMIT;
    while !rig.root.join("run/status/sender/status.json").exists()
        || rig.status()["problem"].is_null()
    {
        assert!(Instant::now() < limit, "no problem was published");
        thread::yield_now();
    }
    assert!(
        rig.status()["problem"]
            .as_str()
            .unwrap()
            .starts_with(&format!("connection refused by {address}"))
    );
    let _server = Running::start_at(address, lab.settings());
    rig.await_receipt(&name);
    assert_eq!(
        rig.events()
            .iter()
            .map(|e| e["event"].clone())
            .collect::<Vec<_>>(),
        ["delivered"]
    );
}

#[test]
fn a_wrong_server_is_told_once_and_the_right_one_is_found_without_help() {
    let lab = Lab::new();
    let rig = SenderRig::new(&lab);
    let receipts = signed(&lab, &rig);
    let mut wrong = lab.settings();
    wrong.certificate = lab.pki.file("server-revoked.pem");
    wrong.key = lab.pki.file("server-revoked.key");
    let server = Running::start(wrong);
    let address = server.address;
    let name = rig.append(1, &noise(1, 10_000));
    rig.run(&lab, address, receipts);
    let refusal = rig.await_event("upload-refused");
    assert_eq!(
        (&refusal["bundle"], &refusal["reason"]),
        (
            &json!(name),
            &json!("the server's certificate is refused: revoked; have a new one issued")
        )
    );
    let limit = Instant::now() + EVENT_LIMIT;
    while server.log().len() < 2 {
        assert!(Instant::now() < limit, "there was no second attempt");
        thread::yield_now();
    }
    drop(server);
    let _server = Running::start_at(address, lab.settings());
    rig.await_receipt(&name);
    let told: Vec<_> = rig.events().iter().map(|e| e["event"].clone()).collect();
    assert_eq!(told, ["upload-refused", "delivered"]);
}

#[test]
fn a_bundle_whose_name_is_taken_does_not_hold_up_the_others() {
    let lab = Lab::new();
    let (rig, server) = (SenderRig::new(&lab), lab.start());
    let receipts = signed(&lab, &rig);
    let taken = format!("{BOX}-0000000001.cms");
    lab.sender()
        .deliver(server.address, &lab.bundle(&taken, b"of another life"))
        .unwrap();
    rig.append(1, b"of this life");
    let second = rig.append(2, b"the next");
    rig.run(&lab, server.address, receipts);
    rig.await_receipt(&second);
    let third = rig.append(3, b"and one more");
    rig.await_receipt(&third);
    let refusals: Vec<_> = rig
        .events()
        .into_iter()
        .filter(|event| event["event"] == "upload-refused")
        .collect();
    assert_eq!(refusals.len(), 1, "{refusals:#?}");
    assert_eq!(refusals[0]["bundle"], json!(taken));
    let reason = "the server has another bundle of this name; find out which box made it";
    assert_eq!(refusals[0]["reason"], json!(reason));
    let limit = Instant::now() + EVENT_LIMIT;
    while rig.status()["queued"] != 1 {
        assert!(Instant::now() < limit, "{}", rig.status());
        thread::yield_now();
    }
    assert_eq!(rig.status()["problem"], json!(reason));
    assert!(
        !rig.root
            .join(format!("state/spool/receipts/{taken}.receipt"))
            .exists()
    );
}

#[test]
fn a_bundle_that_rotted_in_the_spool_is_held_back_and_told_once_and_the_others_go() {
    let lab = Lab::new();
    let (rig, server) = (SenderRig::new(&lab), lab.start());
    let receipts = signed(&lab, &rig);
    let folder = rig.root.join("state/spool/bundles");
    let mut spool = Spool::open(Folder::open(&folder).unwrap(), BOX, 0).unwrap();
    let mut append = |number: u64| {
        let bytes = noise(number, 40_000);
        let sha256 = spool::digest(&bytes);
        (spool.append(number, sha256, &bytes).unwrap().name, bytes)
    };
    let (flipped, bytes) = append(1);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.join(&flipped))
        .unwrap();
    file.write_all_at(&[bytes[20_000] ^ 1], 20_000).unwrap();
    let (truncated, _) = append(2);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.join(&truncated))
        .unwrap();
    file.set_len(39_999).unwrap();
    let (whole, bytes) = append(3);
    rig.run(&lab, server.address, receipts);
    check_receipt(&lab, &whole, &bytes, rig.await_receipt(&whole));
    let (later, _) = append(4);
    rig.await_receipt(&later);
    let reason = "its bytes are not those that were sealed: it was damaged on the disk";
    let told: Vec<_> = rig
        .events()
        .into_iter()
        .filter(|event| event["event"] == "upload-refused")
        .map(|event| (event["bundle"].clone(), event["reason"].clone()))
        .collect();
    let expected = [&flipped, &truncated].map(|name| (json!(name), json!(reason)));
    assert_eq!(told, expected);
    assert_eq!(rig.status()["problem"], reason);
    for name in [&flipped, &truncated] {
        assert_eq!(lab.stored(name), None);
    }
}

#[test]
fn where_the_site_has_no_receipts_a_mark_takes_their_place() {
    let lab = Lab::new();
    let (rig, server) = (SenderRig::new(&lab), lab.start());
    let name = rig.append(1, b"twelve bytes");
    rig.run(&lab, server.address, site::Receipts::None);
    let mark = rig.await_receipt(&name);
    let digest = bundle::Digest::of(b"twelve bytes").0;
    assert!(upload::receipt::is_unsigned_mark(
        &mark,
        &name.parse().unwrap(),
        12,
        &digest
    ));
}

/// A clock that a test sets, in seconds after a midnight of UTC.
fn set_clock() -> (Arc<AtomicU64>, impl Fn() -> SystemTime + Send + 'static) {
    let clock = Arc::new(AtomicU64::new(0));
    let read = clock.clone();
    (clock, move || {
        UNIX_EPOCH + Duration::from_secs(read.load(Ordering::SeqCst))
    })
}

fn at_night(plan: &mut Plan) {
    plan.sending.windows = vec![site::Window {
        from_minute: 22 * 60,
        to_minute: 5 * 60,
    }];
}

fn await_state(rig: &SenderRig, state: &str) {
    let limit = Instant::now() + EVENT_LIMIT;
    let file = rig.root.join("run/status/sender/status.json");
    while !file.exists() || rig.status()["state"] != state {
        assert!(Instant::now() < limit, "never {state}: {}", rig.status());
        thread::yield_now();
    }
}

#[test]
fn outside_the_windows_nothing_is_sent_and_inside_what_waited_goes() {
    let lab = Lab::new();
    let (rig, server) = (SenderRig::new(&lab), lab.start());
    let mut plan = plan(&lab, server.address, signed(&lab, &rig), &rig.root);
    at_night(&mut plan);
    let (clock, read) = set_clock();
    clock.store(12 * 3600, Ordering::SeqCst);
    let first = rig.append(1, b"waits for the night");
    rig.run_by(&plan, read);
    await_state(&rig, "outside the sending windows");
    assert_eq!(rig.status()["minutes_to_window"], 600);
    assert_eq!(rig.status()["queued"], 1);
    assert!(lab.stored(&first).is_none() && server.log().is_empty());
    clock.store(23 * 3600, Ordering::SeqCst);
    // A new bundle wakes the role before the minute is over.
    let second = rig.append(2, b"comes at night");
    rig.await_receipt(&second);
    assert_eq!(lab.stored(&first).unwrap(), b"waits for the night");
}

#[test]
fn a_window_that_ends_stops_an_upload_between_chunks_and_the_next_one_finishes_it() {
    let lab = Lab::new();
    let (rig, server) = (SenderRig::new(&lab), lab.start());
    let mut plan = plan(&lab, server.address, signed(&lab, &rig), &rig.root);
    at_night(&mut plan);
    // Small chunks: five seconds' worth.
    plan.sending.most_bytes_per_second = Some(1_000_000);
    let bytes = noise(3, 6_000_000);
    let name = rig.append(1, &bytes);
    let (clock, _) = set_clock();
    let night = clock.clone();
    let asked = AtomicU64::new(0);
    rig.run_by(&plan, move || {
        // Open for the role's own question and for the first chunk; then the night is over until the test says so.
        let morning = asked.fetch_add(1, Ordering::SeqCst) >= 2;
        let closed = morning && night.load(Ordering::SeqCst) == 0;
        UNIX_EPOCH + Duration::from_secs(if closed { 5 * 3600 } else { 4 * 3600 })
    });
    await_state(&rig, "outside the sending windows");
    assert_eq!(lab.await_partial(&name, 4_194_304), 4_194_304);
    assert!(lab.stored(&name).is_none());
    clock.store(1, Ordering::SeqCst);
    let second = rig.append(2, b"wakes the role");
    rig.await_receipt(&second);
    assert_eq!(lab.stored(&name).unwrap(), bytes);
    let told: Vec<_> = rig.events().iter().map(|e| e["event"].clone()).collect();
    assert_eq!(told, ["delivered", "delivered"], "a pause is no failure");
}

#[test]
fn newest_first_delivers_the_newest_first() {
    let lab = Lab::new();
    let (rig, server) = (SenderRig::new(&lab), lab.start());
    let mut plan = plan(&lab, server.address, signed(&lab, &rig), &rig.root);
    plan.sending.order = site::Order::NewestFirst;
    for sequence in 1..=5 {
        rig.append(sequence, &noise(sequence, 1000));
    }
    rig.run_by(&plan, SystemTime::now);
    rig.await_receipt(&format!("{BOX}-0000000001.cms"));
    let order: Vec<_> = rig.events().iter().map(|e| e["number"].clone()).collect();
    assert_eq!(order, [5, 4, 3, 2, 1]);
}

/// The rig's box has no private key in any file: its keyholder is a thread of the test.
#[test]
fn the_sender_delivers_without_any_private_key_in_its_reach() {
    let lab = Lab::new();
    let (rig, server) = (SenderRig::new(&lab), lab.start());
    let receipts = signed(&lab, &rig);
    let plan = plan(&lab, server.address, receipts, &rig.root);
    let written = serde_json::to_value(&plan.upload).unwrap();
    assert!(
        written.get("key").is_none(),
        "the plan names no key: {written}"
    );
    let name = rig.append(1, b"proved by the keyholder");
    rig.run_by(&plan, SystemTime::now);
    rig.await_receipt(&name);
    let mut folders = vec![rig.root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                let key = bytes.windows(11).any(|part| part == b"PRIVATE KEY");
                assert!(!key, "{}", entry.path().display());
            }
        }
    }
}
