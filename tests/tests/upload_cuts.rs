//! Whatever is cut, lost, repeated, reordered or restarted, each bundle lands once and byte for byte, and its receipt
//! arrives (DESIGN section 4, rule 1).
//!
//! The seed is printed; `UPLOAD_SEED=N` repeats a run. `COLLECTOR_TEST_LENGTH=full` cuts ten times as often.

mod upload_lab;

use upload::client::Receipts;
use upload::{Advice, Course, Delivered, UploadError};
use upload_lab::raw::Raw;
use upload_lab::wire::{Cut, Wire};
use upload_lab::{BOX, Lab, Running, attempt, noise};

const FIRST: &str = "north-1-0000000001.cms";
const SIZE: usize = 300_000;
const CHUNK: u64 = 60_000;

/// Numbers below a bound, the same for the same seed.
struct Random(std::vec::IntoIter<u8>);

impl Random {
    fn seeded() -> (u64, Self) {
        let named = std::env::var("UPLOAD_SEED").ok();
        let seed = named
            .and_then(|text| text.parse().ok())
            .unwrap_or(20_261_122);
        println!("UPLOAD_SEED={seed}");
        (seed, Self(noise(seed, 8 << 17).into_iter()))
    }

    fn below(&mut self, bound: usize) -> usize {
        let bytes: Vec<u8> = self.0.by_ref().take(8).collect();
        usize::from_le_bytes(bytes.try_into().unwrap()) % bound
    }
}

fn cuts_wanted() -> usize {
    let full = std::env::var_os("COLLECTOR_TEST_LENGTH").is_some_and(|it| it == "full");
    if full { 2000 } else { 200 }
}

/// What a confused or hostile network may make of requests that were once right: repeated, late, out of order.
fn disturb(lab: &Lab, server: &Running, random: &mut Random, name: &str, bytes: &[u8]) {
    let mut raw = Raw::connect(server.address, &lab.sender());
    let path = format!("/files/{name}");
    let known = raw.tus("HEAD", &path, &[], b"");
    let finished = lab.stored(name).is_some();
    let at: usize = known
        .headers
        .get("upload-offset")
        .map_or(0, |text| text.parse().unwrap());
    match random.below(5) {
        // The announcement again, twice: the same address, and nothing is lost.
        0 => {
            for _ in 0..2 {
                assert_eq!(raw.announce(name, bytes).status, 201);
            }
            let now: usize = raw.offset(&path).parse().unwrap();
            assert!(now >= at, "{now} after {at}");
        }
        // A chunk that was sent long ago, at its own offset.
        1 if known.status == 200 && at > 0 => {
            let to = at.min(1000);
            let status = raw.patch(&path, 0, &[], &bytes[..to]).status;
            assert_eq!(status, 409);
        }
        // A chunk from the future.
        2 if known.status == 200 && at + 10 < bytes.len() => {
            let status = raw
                .patch(&path, at as u64 + 5, &[], &bytes[at + 5..at + 10])
                .status;
            assert_eq!(status, 409);
        }
        // The next chunk, and the same once more.
        3 if known.status == 200 && at < bytes.len() => {
            let to = bytes.len().min(at + 7000);
            let next = &bytes[at..to];
            assert_eq!(raw.patch(&path, at as u64, &[], next).status, 204);
            assert_eq!(raw.patch(&path, at as u64, &[], next).status, 409);
        }
        // Taking back is not for a client.
        _ => assert_eq!(raw.tus("DELETE", &path, &[], b"").status, 405),
    }
    assert!(!finished || lab.stored(name).as_deref() == Some(bytes));
}

#[test]
fn two_hundred_cuts_both_ways_with_restarts_and_repetitions_lose_and_duplicate_nothing() {
    let lab = Lab::new();
    let (seed, mut random) = Random::seeded();
    let mut server = lab.start();
    let sender = lab.sender();
    let wire = Wire::to(server.address);
    let mut stored = Vec::new();
    while wire.cuts() < cuts_wanted() {
        let sequence = stored.len() as u64 + 1;
        let name = format!("{BOX}-{sequence:010}.cms");
        let bytes = noise(seed + sequence, SIZE + sequence as usize);
        let bundle = lab.bundle(&name, &bytes);
        let mut client = sender.client(wire.address).with_chunk_bytes(CHUNK);
        for tries in 1.. {
            assert!(tries < 500, "{name} does not get through");
            // The way back has the handshake, the answers and the receipt: some 6 kB.
            wire.order(match random.below(2) {
                0 => Cut::Requests(random.below(SIZE / 2)),
                _ => Cut::Answers(random.below(7000)),
            });
            match attempt(&mut client, &sender, &bundle) {
                Ok(Delivered::Receipt(receipt)) => {
                    assert_eq!(receipt.statement().bundle, name);
                    break;
                }
                Ok(Delivered::Unsigned) => panic!("no receipt"),
                Err(error) => assert_eq!(error.advice(), Advice::Retry, "{error}"),
            }
            if random.below(4) == 0 {
                disturb(&lab, &server, &mut random, &name, &bytes);
            }
            if random.below(6) == 0 {
                drop(server);
                server = lab.start();
                wire.lead_to(server.address);
            }
            if random.below(6) == 0 {
                // The box was restarted: it knows nothing of the upload.
                client = sender.client(wire.address).with_chunk_bytes(CHUNK);
            }
        }
        disturb(&lab, &server, &mut random, &name, &bytes);
        stored.push((name, bytes));
    }
    println!("{} cuts, {} bundles", wire.cuts(), stored.len());
    for (name, bytes) in &stored {
        assert_eq!(lab.stored(name).as_ref(), Some(bytes), "{name}");
    }
    let count = |folder: std::path::PathBuf| std::fs::read_dir(folder).unwrap().count();
    assert_eq!(count(lab.store().join(BOX)), stored.len());
    assert_eq!(count(lab.store().join(".receipts").join(BOX)), stored.len());
    assert_eq!(count(lab.store().join(".partial").join(BOX)), 0);
}

#[test]
fn an_answer_lost_at_any_place_after_the_server_had_acted_is_asked_for_again() {
    let lab = Lab::new();
    let server = lab.start();
    let sender = lab.sender();
    let wire = Wire::to(server.address);
    let size = 20_000;
    let deliver = |sequence: u64| {
        let name = format!("{BOX}-{sequence:010}.cms");
        let bytes = noise(sequence, size);
        let bundle = lab.bundle(&name, &bytes);
        let mut client = sender.client(wire.address).with_chunk_bytes(8_000);
        for tries in 1.. {
            assert!(tries < 50, "{name} does not get through");
            let Err(error) = attempt(&mut client, &sender, &bundle) else {
                break;
            };
            assert_eq!(error.advice(), Advice::Retry, "{error}");
        }
        assert_eq!(lab.stored(&name), Some(bytes));
    };
    deliver(1);
    let whole = wire.answered();
    let mut sequence = 1;
    for place in (0..whole).step_by(97) {
        sequence += 1;
        wire.order(Cut::Answers(place));
        deliver(sequence);
    }
    assert_eq!(wire.cuts() as u64, sequence - 1, "each was cut once");
    let stored = |line: &String| line.starts_with("stored ");
    server.await_line(&format!("stored {BOX}-{sequence:010}.cms"));
    assert_eq!(
        server.log().iter().filter(|line| stored(line)).count() as u64,
        sequence
    );
}

#[test]
fn a_pause_ends_between_two_chunks_and_the_upload_goes_on_there() {
    let lab = Lab::new();
    let server = lab.start();
    let sender = lab.sender();
    let bytes = noise(9, SIZE);
    let bundle = lab.bundle(FIRST, &bytes);
    let mut client = sender.client(server.address).with_chunk_bytes(CHUNK);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut asked = Vec::new();
    let paused = runtime.block_on(client.deliver_while(&bundle, &|| sender.tls(), |offset| {
        asked.push(offset);
        if offset < 2 * CHUNK {
            Course::GoOn
        } else {
            Course::Pause
        }
    }));
    assert!(matches!(paused, Err(UploadError::Paused { at }) if at == 2 * CHUNK));
    assert_eq!(asked, [0, CHUNK, 2 * CHUNK]);
    assert_eq!(lab.await_partial(FIRST, 2 * CHUNK), 2 * CHUNK);
    let mut asked = Vec::new();
    runtime
        .block_on(client.deliver(&bundle, &|| sender.tls(), |offset| asked.push(offset)))
        .unwrap();
    assert_eq!(asked, [2 * CHUNK, 3 * CHUNK, 4 * CHUNK, SIZE as u64]);
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
}

#[test]
fn a_ceiling_changes_nothing_but_the_pace() {
    let lab = Lab::new();
    let server = lab.start();
    let mut sender = lab.sender();
    sender.receipts = Receipts::None;
    let bytes = noise(10, SIZE);
    let bundle = lab.bundle(FIRST, &bytes);
    let ceiling = std::num::NonZeroU32::new(1_000_000).unwrap();
    let mut client = sender.client(server.address).with_ceiling(ceiling);
    let start = std::time::Instant::now();
    attempt(&mut client, &sender, &bundle).unwrap();
    // Not faster than the ceiling; how much slower is the machine's affair.
    assert!(start.elapsed() > std::time::Duration::from_millis(150));
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
}
