//! The one connection, as VICI's `load-conn` takes it. Keys and values: strongSwan's `swanctl.conf`.

use serde::Serialize;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Name of the connection.
pub const IKE: &str = "centre";
/// Name of its only child.
pub const CHILD: &str = "data";
/// Ties the security policies to the XFRM interface `tunnel0`, which `init` makes with the same number.
const INTERFACE_ID: &str = "42";

#[derive(Debug, Serialize)]
pub struct Connection {
    version: &'static str,
    local_addrs: [String; 1],
    remote_addrs: [String; 1],
    proposals: Vec<&'static str>,
    dpd_delay: String,
    rekey_time: String,
    /// One attempt; the role decides about the next.
    keyingtries: &'static str,
    unique: &'static str,
    mobike: &'static str,
    /// A request for the peer's certificate is sent, ours is always shown.
    send_cert: &'static str,
    local: Side,
    remote: Side,
    children: BTreeMap<&'static str, Child>,
}

#[derive(Debug, Serialize)]
struct Side {
    auth: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cacerts: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Child {
    mode: &'static str,
    esp_proposals: Vec<&'static str>,
    local_ts: [String; 1],
    remote_ts: [String; 1],
    rekey_time: String,
    start_action: &'static str,
    close_action: &'static str,
    dpd_action: &'static str,
    if_id_in: &'static str,
    if_id_out: &'static str,
}

/// With ML-KEM-768 as an additional key exchange (RFC 9370) where both have it; 192-bit class without.
pub fn build(
    tunnel: &site::Tunnel,
    outside: Ipv4Addr,
    certificate: String,
    authority: String,
    post_quantum: bool,
) -> Connection {
    let offered = |both: [&'static str; 2]| both[usize::from(!post_quantum)..].to_vec();
    let child = Child {
        mode: "tunnel",
        esp_proposals: offered([
            "aes256gcm16-x25519-ke1_mlkem768-esn",
            "aes256gcm16-ecp384-esn",
        ]),
        local_ts: [format!("{}/32", tunnel.address)],
        remote_ts: [format!("{}/{}", tunnel.remote, tunnel.remote_prefix)],
        rekey_time: format!("{}s", tunnel.rekey_seconds),
        start_action: "none",
        close_action: "none",
        dpd_action: "clear",
        if_id_in: INTERFACE_ID,
        if_id_out: INTERFACE_ID,
    };
    Connection {
        version: "2",
        local_addrs: [outside.to_string()],
        remote_addrs: [tunnel.peer.to_string()],
        proposals: offered([
            "aes256gcm16-prfsha384-x25519-ke1_mlkem768",
            "aes256gcm16-prfsha384-ecp384",
        ]),
        dpd_delay: format!("{}s", tunnel.dead_peer_seconds),
        // the control channel lives through several rekeyings of the data
        rekey_time: format!("{}s", tunnel.rekey_seconds.saturating_mul(4)),
        keyingtries: "1",
        unique: "replace",
        // both ends have fixed addresses; without it a packet never comes from another address
        mobike: "no",
        send_cert: "always",
        local: Side {
            auth: "pubkey",
            id: tunnel.identity.clone(),
            certs: vec![certificate],
            cacerts: Vec::new(),
        },
        remote: Side {
            auth: "pubkey",
            id: tunnel.peer_identity.clone(),
            certs: Vec::new(),
            cacerts: vec![authority],
        },
        children: BTreeMap::from([(CHILD, child)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel() -> site::Tunnel {
        site::Tunnel {
            interface: "wan".into(),
            peer: Ipv4Addr::new(192, 0, 2, 1),
            peer_identity: "dc.example".into(),
            identity: "box.example".into(),
            certificate: "/c".into(),
            key: "/k".into(),
            authority: "/a".into(),
            address: Ipv4Addr::new(10, 99, 0, 2),
            remote: Ipv4Addr::new(10, 99, 1, 0),
            remote_prefix: 24,
            dead_peer_seconds: 10,
            rekey_seconds: 3600,
        }
    }

    fn built(post_quantum: bool) -> serde_json::Value {
        let outside = Ipv4Addr::new(198, 51, 100, 2);
        serde_json::to_value(build(
            &tunnel(),
            outside,
            "ours".into(),
            "theirs".into(),
            post_quantum,
        ))
        .unwrap()
    }

    #[test]
    fn ml_kem_is_offered_first_where_charon_has_it_and_never_where_it_lacks_it() {
        assert_eq!(
            built(true)["proposals"][0],
            "aes256gcm16-prfsha384-x25519-ke1_mlkem768"
        );
        assert!(!built(false).to_string().contains("mlkem"));
    }

    #[test]
    fn the_peer_must_prove_its_identity_under_the_configured_authority() {
        let remote = &built(true)["remote"];
        assert_eq!(remote["auth"], "pubkey");
        assert_eq!(remote["id"], "dc.example");
        assert_eq!(remote["cacerts"][0], "theirs");
    }

    #[test]
    fn policies_belong_to_the_interface_of_the_tunnel_only() {
        let child = &built(true)["children"]["data"];
        assert_eq!(
            (&child["if_id_in"], &child["if_id_out"]),
            (&"42".into(), &"42".into())
        );
        assert_eq!(child["local_ts"][0], "10.99.0.2/32");
        assert_eq!(child["remote_ts"][0], "10.99.1.0/24");
    }
}
