//! A site configuration for tests.

use site::*;
use std::net::Ipv4Addr;
use std::path::PathBuf;

const fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

pub fn plan() -> Plan {
    let file = |name: &str| PathBuf::from("/state/site").join(name);
    let peer = Ipv4Addr::new(198, 51, 100, 1);
    Plan {
        box_name: "box-1".to_owned(),
        interfaces: vec![
            Interface {
                name: "lan".to_owned(),
                mac: [2, 0, 0, 0, 0, 1],
                address: ip(2),
                prefix: 24,
                gateway: None,
            },
            Interface {
                name: "wan".to_owned(),
                mac: [2, 0, 0, 0, 0, 2],
                address: Ipv4Addr::new(203, 0, 113, 2),
                prefix: 24,
                gateway: Some(Ipv4Addr::new(203, 0, 113, 1)),
            },
        ],
        tunnel: Tunnel {
            interface: "wan".to_owned(),
            peer,
            peer_identity: "centre".to_owned(),
            identity: "box-1".to_owned(),
            certificate: file("ike.pem"),
            key: PathBuf::from("/state/keys-ike/ike.key"),
            authority: file("ca.pem"),
            address: Ipv4Addr::new(10, 77, 0, 2),
            remote: Ipv4Addr::new(10, 78, 0, 0),
            remote_prefix: 24,
            dead_peer_seconds: 30,
            rekey_seconds: 3600,
        },
        upload: Upload {
            address: Ipv4Addr::new(10, 78, 0, 1),
            port: 443,
            path: "/files/".to_owned(),
            server_name: "receive".to_owned(),
            certificate: file("upload.pem"),
            authority: file("ca.pem"),
            revocation_list: file("crl.pem"),
            receipts: Receipts::None,
            tls: TlsProfile::Modern,
        },
        sending: site::Sending::default(),
        sealing: Sealing {
            recipients: vec![file("recipient.pem")],
            certificate: file("sealing.pem"),
        },
        clock: Clock {
            servers: vec![Ipv4Addr::new(10, 78, 0, 1)],
        },
        mounts: vec![
            Mount {
                name: "data".to_owned(),
                server: ip(7),
                protocol: Protocol::Smb {
                    share: "ssmix2".to_owned(),
                    user: "collector".to_owned(),
                    password: "secret".to_owned(),
                    domain: None,
                },
            },
            Mount {
                name: "store".to_owned(),
                server: ip(8),
                protocol: Protocol::Nfs {
                    export: "/store".to_owned(),
                },
            },
        ],
        sources: vec![],
        collection: Collection {
            quiet_seconds: 30,
            period_seconds: 60,
            pacing: site::Pacing::default(),
        },
    }
}
