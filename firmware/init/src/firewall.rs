//! The packet filter of the host namespace, from the site configuration.
//!
//! 1. Everything is dropped, in and out, but what is listed here; nothing on the box listens, and nothing answers.
//! 2. Outside, only IKE and ESP, only with the configured peer, only on the tunnel's card.
//! 3. Towards the hospital, only SMB and NFS, only to configured servers; only answers come back.
//! 4. A router may say that a packet was too large (ICMP type 3 code 4), or the tunnel would stall in silence.
//!
//! ARP is outside of this family and works. `hardening/firewall.txt` shows the rules for an example; a test
//! compares.

use site::{Plan, Protocol};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use sys::packet_filter::{Chain, Condition, Rule, Transport};

pub const TABLE: &str = "collector";
/// IKE, and IKE and ESP in UDP behind address translation.
const IKE: [u16; 2] = [500, 4500];
const SMB: u16 = 445;
const NFS: u16 = 2049;
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;

/// Before there is a site configuration: only the loopback interface.
pub fn closed() -> Vec<Rule> {
    let lo = || "lo".to_owned();
    vec![
        Rule {
            chain: Chain::Input,
            conditions: vec![Condition::InterfaceIn(lo())],
        },
        Rule {
            chain: Chain::Output,
            conditions: vec![Condition::InterfaceOut(lo())],
        },
    ]
}

pub fn rules(plan: &Plan) -> Vec<Rule> {
    let mut rules = closed();
    rules.extend(tunnel(&plan.tunnel.interface, plan.tunnel.peer));
    let servers: BTreeSet<(Ipv4Addr, u16)> = plan
        .mounts
        .iter()
        .map(|mount| match mount.protocol {
            Protocol::Smb { .. } => (mount.server, SMB),
            Protocol::Nfs { .. } => (mount.server, NFS),
        })
        .collect();
    for (server, port) in servers {
        rules.push(Rule {
            chain: Chain::Output,
            conditions: vec![
                Condition::Destination(server),
                Condition::Transport(Transport::Tcp),
                Condition::DestinationPort(port),
            ],
        });
        rules.push(Rule {
            chain: Chain::Input,
            conditions: vec![
                Condition::Source(server),
                Condition::Transport(Transport::Tcp),
                Condition::SourcePort(port),
                Condition::NotOpening,
            ],
        });
    }
    rules.push(Rule {
        chain: Chain::Input,
        conditions: vec![
            Condition::Transport(Transport::Icmp),
            Condition::IcmpTypeAndCode(UNREACHABLE, FRAGMENTATION_NEEDED),
        ],
    });
    rules
}

fn tunnel(interface: &str, peer: Ipv4Addr) -> Vec<Rule> {
    let out = || {
        vec![
            Condition::InterfaceOut(interface.to_owned()),
            Condition::Destination(peer),
        ]
    };
    let back = || {
        vec![
            Condition::InterfaceIn(interface.to_owned()),
            Condition::Source(peer),
        ]
    };
    let with = |mut conditions: Vec<Condition>, more: &[Condition]| {
        conditions.extend_from_slice(more);
        conditions
    };
    let udp = Condition::Transport(Transport::Udp);
    let mut rules = Vec::new();
    for port in IKE {
        let ports = [
            udp.clone(),
            Condition::SourcePort(port),
            Condition::DestinationPort(port),
        ];
        rules.push(Rule {
            chain: Chain::Output,
            conditions: with(out(), &ports),
        });
        rules.push(Rule {
            chain: Chain::Input,
            conditions: with(back(), &ports),
        });
    }
    let esp = [Condition::Transport(Transport::Esp)];
    rules.push(Rule {
        chain: Chain::Output,
        conditions: with(out(), &esp),
    });
    rules.push(Rule {
        chain: Chain::Input,
        conditions: with(back(), &esp),
    });
    rules
}

/// The rules as text, one a line, in the words of `nft`.
pub fn listing(rules: &[Rule]) -> Vec<String> {
    let mut lines = vec!["input, forward, output: policy drop".to_owned()];
    lines.extend(rules.iter().map(|rule| {
        let chain = match rule.chain {
            Chain::Input => "input",
            Chain::Output => "output",
        };
        let conditions: Vec<String> = rule.conditions.iter().map(condition).collect();
        format!("{chain}: {} accept", conditions.join(" "))
    }));
    lines
}

fn condition(condition: &Condition) -> String {
    match condition {
        Condition::InterfaceIn(name) => format!("iifname {name}"),
        Condition::InterfaceOut(name) => format!("oifname {name}"),
        Condition::Source(address) => format!("saddr {address}"),
        Condition::Destination(address) => format!("daddr {address}"),
        Condition::Transport(Transport::Icmp) => "icmp".to_owned(),
        Condition::Transport(Transport::Tcp) => "tcp".to_owned(),
        Condition::Transport(Transport::Udp) => "udp".to_owned(),
        Condition::Transport(Transport::Esp) => "esp".to_owned(),
        Condition::SourcePort(port) => format!("sport {port}"),
        Condition::DestinationPort(port) => format!("dport {port}"),
        Condition::NotOpening => "flags & (syn | ack) != syn".to_owned(),
        Condition::IcmpTypeAndCode(kind, code) => format!("type {kind} code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::plan;

    #[test]
    fn the_rules_of_the_example_are_those_of_the_reviewed_listing() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../hardening/firewall.txt");
        let text = std::fs::read_to_string(path).unwrap();
        let reviewed: Vec<&str> = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        assert_eq!(listing(&rules(&plan())), reviewed);
    }

    #[test]
    fn every_accepted_packet_names_a_peer_or_the_loopback_or_is_the_one_icmp_message() {
        for rule in rules(&plan()) {
            let is_bound = rule.conditions.iter().any(|condition| {
                matches!(condition, Condition::Source(_) | Condition::Destination(_))
                    || *condition == Condition::InterfaceIn("lo".to_owned())
                    || *condition == Condition::InterfaceOut("lo".to_owned())
                    || *condition == Condition::IcmpTypeAndCode(3, 4)
            });
            assert!(is_bound, "{rule:?}");
        }
    }

    #[test]
    fn two_mounts_of_one_server_need_one_pair_of_rules() {
        let mut plan = plan();
        let before = rules(&plan).len();
        let again = plan.mounts[0].clone();
        plan.mounts.push(again);
        assert_eq!(rules(&plan).len(), before);
    }
}
