//! Bundles from a box to the receiver: whole, once, whatever is cut or restarted (DESIGN section 4, rule 1).

mod upload_lab;

use upload::client::Receipts;
use upload::{Advice, Delivered, UploadError};
use upload_lab::{BOX, Lab, attempt, noise, wire};

const FIRST: &str = "north-1-0000000001.cms";

#[test]
fn a_bundle_arrives_byte_for_byte_against_a_verified_receipt() {
    let lab = Lab::new();
    let server = lab.start();
    let bytes = noise(1, 9 * 1024 * 1024 + 17);
    let bundle = lab.bundle(FIRST, &bytes);
    let Delivered::Receipt(receipt) = lab.sender().deliver(server.address, &bundle).unwrap() else {
        panic!("no receipt");
    };
    assert_eq!(receipt.statement().bundle, FIRST);
    assert_eq!(receipt.statement().size, bytes.len() as u64);
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
    server.await_line(&format!(
        "stored {FIRST} {} sha256 {}",
        bytes.len(),
        receipt.statement().sha256
    ));
}

#[test]
fn many_bundles_travel_over_one_connection() {
    let lab = Lab::new();
    let server = lab.start();
    let (sender, mut bundles) = (lab.sender(), Vec::new());
    for sequence in 1..=20 {
        let name = format!("{BOX}-{sequence:010}.cms");
        let bytes = noise(sequence, 1000 * sequence as usize);
        bundles.push((lab.bundle(&name, &bytes), name, bytes));
    }
    let connections = std::cell::Cell::new(0);
    let tls = || {
        connections.set(connections.get() + 1);
        sender.tls()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut client = sender.client(server.address);
        for (bundle, ..) in &bundles {
            client.deliver(bundle, &tls, |_| {}).await.unwrap();
        }
    });
    assert_eq!(connections.get(), 1);
    for (_, name, bytes) in &bundles {
        assert_eq!(lab.stored(name).as_ref(), Some(bytes));
    }
}

#[test]
fn a_bundle_that_was_received_before_is_acknowledged_again_and_stored_once() {
    let lab = Lab::new();
    let bytes = noise(2, 100_000);
    let bundle = lab.bundle(FIRST, &bytes);
    let server = lab.start();
    lab.sender().deliver(server.address, &bundle).unwrap();
    drop(server);
    // The box lost its mains before it had written the receipt; the receiver was restarted as well.
    let server = lab.start();
    assert!(matches!(
        lab.sender().deliver(server.address, &bundle),
        Ok(Delivered::Receipt(_))
    ));
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
    assert_eq!(
        server.log(),
        Vec::<String>::new(),
        "nothing was stored the second time"
    );
}

#[test]
fn a_receipt_lost_in_a_crash_of_the_receiver_is_made_again() {
    let lab = Lab::new();
    let bundle = lab.bundle(FIRST, &noise(3, 100_000));
    let server = lab.start();
    lab.sender().deliver(server.address, &bundle).unwrap();
    drop(server);
    std::fs::remove_dir_all(lab.store().join(".receipts")).unwrap();
    let server = lab.start();
    assert!(matches!(
        lab.sender().deliver(server.address, &bundle),
        Ok(Delivered::Receipt(_))
    ));
}

#[test]
fn another_bundle_of_a_received_name_is_refused_and_the_first_one_stays() {
    let lab = Lab::new();
    let server = lab.start();
    let first = noise(4, 50_000);
    lab.sender()
        .deliver(server.address, &lab.bundle(FIRST, &first))
        .unwrap();
    let error = lab
        .sender()
        .deliver(server.address, &lab.bundle(FIRST, &noise(5, 50_000)))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server has another bundle of this name; find out which box made it"
    );
    assert_eq!(error.advice(), Advice::Stop);
    assert_eq!(lab.stored(FIRST).unwrap(), first);
}

#[test]
fn a_cut_upload_goes_on_where_it_was_cut_and_not_at_the_beginning() {
    let lab = Lab::new();
    let server = lab.start();
    let sender = lab.sender();
    let bundle = lab.bundle(FIRST, &noise(6, 3_000_000));
    let mut client = sender.client(wire::cut_after(server.address, 2_000_000));
    assert!(matches!(
        attempt(&mut client, &sender, &bundle),
        Err(UploadError::CutOff { .. })
    ));
    // TLS records hold 16 KiB, so at most one of those and some headers are missing from the two megabytes.
    lab.await_partial(FIRST, 1_950_000);
    // what it still had in hand it writes before it ends
    drop(server);
    let kept = lab.await_partial(FIRST, 0);
    let server = lab.start();
    let mut offsets = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut client = sender.client(server.address);
    runtime
        .block_on(client.deliver(&bundle, &|| sender.tls(), |offset| offsets.push(offset)))
        .unwrap();
    assert_eq!(offsets, [kept, 3_000_000]);
}

#[test]
fn a_server_without_receipts_acknowledges_by_holding_every_byte() {
    let lab = Lab::new();
    let server = lab.start();
    let mut sender = lab.sender();
    sender.receipts = Receipts::None;
    let bytes = noise(7, 70_000);
    assert!(matches!(
        sender.deliver(server.address, &lab.bundle(FIRST, &bytes)),
        Ok(Delivered::Unsigned)
    ));
    assert_eq!(lab.stored(FIRST).unwrap(), bytes);
}
