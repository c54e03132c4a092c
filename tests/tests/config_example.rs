//! The operator's example is a configuration that the box accepts.

mod config_disc;

use config_disc::{EXAMPLE, FILES};
use site::{Order, Protocol, Reader, Receipts, Sending, SourceKind, TlsProfile, Window, check};
use std::path::Path;

#[test]
fn the_example_is_accepted_and_says_what_it_shows() {
    let (plan, _) = check(EXAMPLE, &FILES).unwrap();
    assert_eq!(plan.box_name, "box-0001");
    assert_eq!(plan.interfaces[0].mac, [0x52, 0x54, 0, 0, 0, 1]);
    assert_eq!(
        (
            plan.interfaces[0].address.to_string(),
            plan.interfaces[0].prefix
        ),
        ("192.0.2.10".into(), 24)
    );
    assert_eq!(
        (plan.tunnel.remote.to_string(), plan.tunnel.remote_prefix),
        ("198.51.100.0".into(), 25)
    );
    assert_eq!(
        (plan.upload.port, plan.upload.path.as_str()),
        (8443, "/files/")
    );
    assert_eq!(plan.upload.tls, TlsProfile::Modern);
    let certificate = Path::new("/state/site/current/receipt.pem").to_owned();
    assert_eq!(plan.upload.receipts, Receipts::Signed { certificate });
    assert_eq!(
        plan.tunnel.key,
        Path::new("/state/keys-ike/current/ike.key")
    );
    assert_eq!(
        plan.mounts[1].protocol,
        Protocol::Nfs {
            export: "/export/claims".to_owned()
        }
    );
    assert_eq!(plan.sources[2].kind, SourceKind::Dpc);
    assert_eq!(
        (
            plan.collection.quiet_seconds,
            plan.collection.period_seconds
        ),
        (60, 300)
    );
    assert_eq!(plan.sending.most_bytes_per_second, Some(2_000_000));
    let night = Window {
        from_minute: 19 * 60,
        to_minute: 6 * 60 + 30,
    };
    assert_eq!(plan.sending.windows[0], night);
    assert_eq!(plan.sending.utc_offset_minutes, 9 * 60);
    assert_eq!(plan.sending.order, Order::OldestFirst);
}

#[test]
fn without_a_word_about_sending_it_is_at_any_time_and_speed_and_oldest_first() {
    let (without, _) = EXAMPLE.split_once("[sending]").unwrap();
    let (plan, _) = check(without, &FILES).unwrap();
    let japan = Sending {
        utc_offset_minutes: 9 * 60,
        ..Sending::default()
    };
    assert_eq!(plan.sending, japan);
}

#[test]
fn every_private_key_is_stored_where_one_role_alone_reads_it() {
    let (_, files) = check(EXAMPLE, &FILES).unwrap();
    let stored: Vec<_> = files
        .iter()
        .map(|file| (file.reader, file.path().display().to_string()))
        .collect();
    assert!(stored.contains(&(
        Reader::Keyholder,
        "/state/keys/current/sealing.key".to_owned()
    )));
    assert!(stored.contains(&(
        Reader::Keyholder,
        "/state/keys/current/upload.key".to_owned()
    )));
    assert!(stored.contains(&(Reader::Tunnel, "/state/keys-ike/current/ike.key".to_owned())));
    for (reader, path) in &stored {
        assert_eq!(
            *reader == Reader::Everyone,
            path.starts_with("/state/site/current/"),
            "{path}"
        );
        assert!(
            *reader != Reader::Everyone || !path.ends_with(".key"),
            "{path}"
        );
    }
}

#[test]
fn what_the_example_calls_optional_can_be_left_out() {
    let without: String = EXAMPLE
        .lines()
        .filter(|line| {
            !["gateway", "dead-peer", "rekey", "domain", "quiet", "period"]
                .iter()
                .any(|k| line.starts_with(k))
        })
        .map(|line| {
            format!(
                "{}\n",
                if line.starts_with("peer =") {
                    "peer = \"192.0.2.99\""
                } else {
                    line
                }
            )
        })
        .collect();
    let (with, _) = check(EXAMPLE, &FILES).unwrap();
    let (without, _) = check(&without, &FILES).unwrap();
    assert_eq!(
        without.tunnel.dead_peer_seconds,
        with.tunnel.dead_peer_seconds
    );
    assert_eq!(without.tunnel.rekey_seconds, with.tunnel.rekey_seconds);
    assert_eq!(without.collection, with.collection);
}

#[test]
fn a_plan_survives_being_written_and_read() {
    let (plan, _) = check(EXAMPLE, &FILES).unwrap();
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<site::Plan>(&json).unwrap(), plan);
}

#[test]
fn a_feed_tells_about_a_standardized_source_and_only_a_transaction_storage_is_one() {
    let checked = |kind: &str, of: &str| {
        let written = format!("kind = {kind:?}\nfeed-of = {of:?}");
        check(
            &EXAMPLE.replacen("kind = \"ssmix2-extended\"", &written, 1),
            &FILES,
        )
    };
    for (kind, of, fault) in [
        (
            "ssmix2-extended",
            "standardized",
            "site.toml:107:11: key \"feed-of\" has no use here, allowed: only with kind \"ssmix2-transaction\"",
        ),
        (
            "ssmix2-transaction",
            "dpc",
            "site.toml:107:11: there is no source \"dpc\" of kind \"ssmix2-standardized\", allowed: standardized",
        ),
    ] {
        let faults = checked(kind, of).expect_err("the configuration is accepted");
        assert_eq!(faults.to_string().trim_end(), fault);
    }
    let (plan, _) = checked("ssmix2-transaction", "standardized").unwrap();
    assert_eq!(plan.sources[1].feed_of.as_deref(), Some("standardized"));
}
