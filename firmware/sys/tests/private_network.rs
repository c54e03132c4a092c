//! The network calls against this machine's kernel, each test in a network namespace of its own.
//!
//! They need root; without it each says so and passes nothing on.

use std::net::{Ipv4Addr, UdpSocket};
use sys::links::Routing;
use sys::namespace::{Kind, enter_fresh};
use sys::packet_filter::{self, Chain, Condition, Rule, Transport};

/// A namespace with nothing but `lo`, started.
fn fresh_network() -> Option<Routing> {
    if let Err(errno) = enter_fresh(&[Kind::Network]) {
        eprintln!("skipped: no network namespace of our own ({errno})");
        return None;
    }
    let mut routing = Routing::open().unwrap();
    let links = routing.links().unwrap();
    let lo = links.iter().find(|link| link.name == "lo").unwrap();
    routing.up(lo.index, "lo").unwrap();
    Some(routing)
}

/// Whether a datagram from one port of `lo` reaches another.
fn arrives(from: u16, to: u16) -> bool {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, to)).unwrap();
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, from)).unwrap();
    // on `lo` the datagram is in the receiver's queue, or nowhere, when the call returns
    receiver.set_nonblocking(true).unwrap();
    sender.send_to(b"x", receiver.local_addr().unwrap()).is_ok()
        && receiver.recv(&mut [0; 8]).is_ok()
}

fn udp(chain: Chain, conditions: &[Condition]) -> Rule {
    let mut all = vec![Condition::Transport(Transport::Udp)];
    all.extend_from_slice(conditions);
    Rule {
        chain,
        conditions: all,
    }
}

#[test]
fn a_filter_without_rules_lets_nothing_in_or_out() {
    let Some(_routing) = fresh_network() else {
        return;
    };
    assert!(arrives(1000, 1001));
    packet_filter::replace("collector", &[]).unwrap();
    assert!(!arrives(1000, 1001));
}

#[test]
fn a_filter_lets_through_only_what_meets_every_condition_of_a_rule() {
    let Some(_routing) = fresh_network() else {
        return;
    };
    let lo = || "lo".to_owned();
    let peer = Condition::Destination(Ipv4Addr::LOCALHOST);
    packet_filter::replace(
        "collector",
        &[
            udp(
                Chain::Output,
                &[
                    Condition::InterfaceOut(lo()),
                    peer.clone(),
                    Condition::DestinationPort(500),
                ],
            ),
            udp(
                Chain::Input,
                &[
                    Condition::InterfaceIn(lo()),
                    Condition::Source(Ipv4Addr::LOCALHOST),
                    Condition::SourcePort(1000),
                ],
            ),
        ],
    )
    .unwrap();
    assert!(arrives(1000, 500));
    assert!(!arrives(1000, 501), "another destination port");
    assert!(!arrives(1001, 500), "another source port");
    packet_filter::replace(
        "collector",
        &[
            udp(
                Chain::Output,
                &[Condition::InterfaceOut("lo1".to_owned()), peer],
            ),
            udp(Chain::Input, &[]),
        ],
    )
    .unwrap();
    assert!(!arrives(1000, 500), "another interface");
}

#[test]
fn a_connection_cannot_be_opened_from_outside_where_only_answers_are_let_in() {
    let Some(_routing) = fresh_network() else {
        return;
    };
    let tcp = |chain, mut more: Vec<Condition>| {
        more.insert(0, Condition::Transport(Transport::Tcp));
        Rule {
            chain,
            conditions: more,
        }
    };
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 445)).unwrap();
    let connect = || {
        let wait = std::time::Duration::from_millis(300);
        std::net::TcpStream::connect_timeout(&listener.local_addr().unwrap(), wait).is_ok()
    };
    let everything_out = tcp(Chain::Output, vec![]);
    packet_filter::replace(
        "collector",
        &[
            everything_out.clone(),
            tcp(Chain::Input, vec![Condition::NotOpening]),
        ],
    )
    .unwrap();
    assert!(!connect(), "the opening segment is dropped on its way in");
    packet_filter::replace("collector", &[everything_out, tcp(Chain::Input, vec![])]).unwrap();
    assert!(connect());
}

#[test]
fn addresses_and_routes_can_be_set_twice() {
    let Some(mut routing) = fresh_network() else {
        return;
    };
    let lo = routing
        .links()
        .unwrap()
        .into_iter()
        .find(|link| link.name == "lo")
        .unwrap();
    for _ in 0..2 {
        routing.set_mtu(lo.index, "lo", 1400).unwrap();
        routing
            .add_address(lo.index, Ipv4Addr::new(192, 0, 2, 1), 24)
            .unwrap();
        routing
            .add_route(lo.index, Ipv4Addr::new(198, 51, 100, 0), 24, None)
            .unwrap();
        routing
            .add_route(
                lo.index,
                Ipv4Addr::UNSPECIFIED,
                0,
                Some(Ipv4Addr::new(192, 0, 2, 9)),
            )
            .unwrap();
    }
    UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 1), 0)).unwrap();
    let error = routing.up(9999, "gone").unwrap_err();
    assert!(error.is_not_there(), "{error}");
}
