//! A stateless packet filter in nf_tables: what is not listed is dropped, in and out.
//!
//! 1. The table is replaced in one batch, so that there is no instant with half of it.
//! 2. All three base chains drop by policy; a rule can only accept, and only what all its conditions match.
//! 3. There is no connection tracking: it would keep state for a hostile network to fill.
//!
//! Source: include/uapi/linux/netfilter/nf_tables.h; all numbers inside attributes are big-endian.

use crate::netlink::{
    ACK, APPEND, CREATE, Connection, HEADER_BYTES, NetlinkError, REQUEST, Subject,
};
use rustix::net::netlink::NETFILTER;
use std::net::Ipv4Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    Input,
    Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Icmp = 1,
    Tcp = 6,
    Udp = 17,
    Esp = 50,
}

/// One condition on a packet. A port or a type of ICMP has its meaning only after [`Condition::Transport`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    InterfaceIn(String),
    InterfaceOut(String),
    Source(Ipv4Addr),
    Destination(Ipv4Addr),
    Transport(Transport),
    SourcePort(u16),
    DestinationPort(u16),
    /// TCP: every segment but one that opens a connection (SYN without ACK).
    NotOpening,
    IcmpTypeAndCode(u8, u8),
}

/// Accepts what meets all conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub chain: Chain,
    pub conditions: Vec<Condition>,
}

/// Replaces the filter `table` of this network namespace.
pub fn replace(table: &str, rules: &[Rule]) -> Result<(), NetlinkError> {
    let (bytes, last) = batch(table, rules);
    let subject = Subject {
        request: "replace the packet filter",
        object: table,
    };
    Connection::open(Some(NETFILTER))?
        .exchange(&bytes, last, subject)
        .map(drop)
}

const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFPROTO_INET`: one table for IPv4 and IPv6, so that IPv6 is dropped too.
const FAMILY_INET: u8 = 1;
const NESTED: u16 = 0x8000;
const REGISTER_VERDICT: u32 = 0;
const REGISTER: u32 = 1;
const ACCEPT: u32 = 1;
const DROP: u32 = 0;
/// Name, hook number and type of the base chains.
const CHAINS: [(&str, u32); 3] = [("input", 1), ("forward", 2), ("output", 3)];

/// The whole batch and the sequence number of its last message with an acknowledgement.
fn batch(table: &str, rules: &[Rule]) -> (Vec<u8>, u32) {
    let mut batch = Batch {
        bytes: Vec::new(),
        sequence: 0,
    };
    batch.message(BATCH_BEGIN, 0, |_| {});
    // made, removed, made: a removal of what is not there would undo the batch
    let name = |body: &mut Attributes| body.text(1, table);
    batch.message(NEW_TABLE, CREATE, name);
    batch.message(DELETE_TABLE, 0, name);
    batch.message(NEW_TABLE, CREATE, name);
    for (chain, hook) in CHAINS {
        batch.message(NEW_CHAIN, CREATE, |body| {
            body.text(1, table);
            body.text(3, chain);
            body.nested(4, |hooked| {
                hooked.number(1, hook);
                hooked.number(2, 0);
            });
            body.number(5, DROP);
            body.text(7, "filter");
        });
    }
    for rule in rules {
        batch.message(NEW_RULE, CREATE | APPEND, |body| {
            body.text(1, table);
            body.text(
                2,
                match rule.chain {
                    Chain::Input => "input",
                    Chain::Output => "output",
                },
            );
            body.nested(4, |list| expressions(list, rule));
        });
    }
    let last = batch.acknowledge_last();
    batch.message(BATCH_END, 0, |_| {});
    (batch.bytes, last)
}

/// Where a field of a packet is: base (1 network header, 2 transport header), offset and length in bytes.
const SOURCE_ADDRESS: (u32, u32, u32) = (1, 12, 4);
const DESTINATION_ADDRESS: (u32, u32, u32) = (1, 16, 4);
const SOURCE_PORT: (u32, u32, u32) = (2, 0, 2);
const DESTINATION_PORT: (u32, u32, u32) = (2, 2, 2);
const ICMP_TYPE_AND_CODE: (u32, u32, u32) = (2, 0, 2);
const TCP_FLAGS: (u32, u32, u32) = (2, 13, 1);
/// Keys of the expression `meta`.
const INTERFACE_IN_NAME: u32 = 6;
const INTERFACE_OUT_NAME: u32 = 7;
const NETWORK_PROTOCOL: u32 = 15;
const TRANSPORT_PROTOCOL: u32 = 16;
const EQUAL: u32 = 0;
const UNEQUAL: u32 = 1;
const SYN: u8 = 0x02;
const SYN_OR_ACK: u8 = 0x12;
const NETWORK_PROTOCOL_IPV4: u8 = 2;

fn expressions(list: &mut Attributes, rule: &Rule) {
    // offsets of addresses are those of IPv4's header, so that nothing else may reach them
    meta(list, NETWORK_PROTOCOL, &[NETWORK_PROTOCOL_IPV4]);
    for condition in &rule.conditions {
        match condition {
            Condition::InterfaceIn(name) => meta(list, INTERFACE_IN_NAME, &interface_name(name)),
            Condition::InterfaceOut(name) => meta(list, INTERFACE_OUT_NAME, &interface_name(name)),
            Condition::Source(address) => field(list, SOURCE_ADDRESS, &address.octets()),
            Condition::Destination(address) => field(list, DESTINATION_ADDRESS, &address.octets()),
            Condition::Transport(transport) => meta(list, TRANSPORT_PROTOCOL, &[*transport as u8]),
            Condition::SourcePort(port) => field(list, SOURCE_PORT, &port.to_be_bytes()),
            Condition::DestinationPort(port) => field(list, DESTINATION_PORT, &port.to_be_bytes()),
            Condition::IcmpTypeAndCode(kind, code) => {
                field(list, ICMP_TYPE_AND_CODE, &[*kind, *code])
            }
            Condition::NotOpening => {
                load(list, TCP_FLAGS);
                expression(list, "bitwise", |data| {
                    data.number(1, REGISTER);
                    data.number(2, REGISTER);
                    data.number(3, 1);
                    data.nested(4, |mask| mask.bytes(1, &[SYN_OR_ACK]));
                    data.nested(5, |flip| flip.bytes(1, &[0]));
                });
                compare(list, UNEQUAL, &[SYN]);
            }
        }
    }
    expression(list, "immediate", |data| {
        data.number(1, REGISTER_VERDICT);
        data.nested(2, |value| {
            value.nested(2, |verdict| verdict.number(1, ACCEPT))
        });
    });
}

/// The kernel compares all 16 bytes of a name; shorter ones are filled with zeros.
fn interface_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    bytes
}

fn meta(list: &mut Attributes, key: u32, value: &[u8]) {
    expression(list, "meta", |data| {
        data.number(2, key);
        data.number(1, REGISTER);
    });
    compare(list, EQUAL, value);
}

fn field(list: &mut Attributes, place: (u32, u32, u32), value: &[u8]) {
    load(list, place);
    compare(list, EQUAL, value);
}

fn load(list: &mut Attributes, (base, offset, length): (u32, u32, u32)) {
    expression(list, "payload", |data| {
        data.number(1, REGISTER);
        data.number(2, base);
        data.number(3, offset);
        data.number(4, length);
    });
}

fn compare(list: &mut Attributes, operation: u32, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.number(1, REGISTER);
        data.number(2, operation);
        data.nested(3, |wanted| wanted.bytes(1, value));
    });
}

fn expression(list: &mut Attributes, name: &str, data: impl FnOnce(&mut Attributes)) {
    list.nested(1, |element| {
        element.text(1, name);
        element.nested(2, data);
    });
}

/// Attributes of one message, each `length, type, value` filled to four bytes.
struct Attributes {
    bytes: Vec<u8>,
}

impl Attributes {
    fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.nested_as(kind, |inner| inner.bytes.extend_from_slice(value));
    }

    fn text(&mut self, kind: u16, value: &str) {
        self.nested_as(kind, |inner| {
            inner.bytes.extend_from_slice(value.as_bytes());
            inner.bytes.push(0);
        });
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        self.nested_as(kind | NESTED, fill);
    }

    fn nested_as(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        fill(self);
        // our names and values are short: a rule never comes near 64 KiB
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

struct Batch {
    bytes: Vec<u8>,
    /// Messages so far; the last one has this number.
    sequence: u32,
}

impl Batch {
    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Attributes)) {
        self.sequence += 1;
        let mut body = Attributes { bytes: Vec::new() };
        let is_frame = kind < 1 << 8;
        let (family, resource) = if is_frame {
            (0, SUBSYSTEM)
        } else {
            (FAMILY_INET, 0)
        };
        body.bytes.extend([family, 0]);
        body.bytes.extend(resource.to_be_bytes());
        fill(&mut body);
        let length = (HEADER_BYTES + body.bytes.len()) as u32;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST | flags).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(body.bytes);
    }

    /// Asks for an acknowledgement of the last message and returns its number. Errors of the others come unasked.
    fn acknowledge_last(&mut self) -> u32 {
        let mut at = 0;
        loop {
            let length =
                u32::from_ne_bytes([0, 1, 2, 3].map(|byte| self.bytes[at + byte])) as usize;
            if at + length >= self.bytes.len() {
                self.bytes[at + 6] |= ACK as u8;
                return self.sequence;
            }
            at += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_begins_and_ends_with_its_frames_and_asks_for_one_acknowledgement() {
        let (bytes, last) = batch("collector", &[]);
        assert_eq!(last, 7);
        #[rustfmt::skip]
        assert_eq!(bytes[..20], [20, 0, 0, 0, 0x10, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10]);
        #[rustfmt::skip]
        assert_eq!(bytes[bytes.len() - 20..], [20, 0, 0, 0, 0x11, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10]);
        #[rustfmt::skip]
        assert_eq!(bytes[20..56], [
            36, 0, 0, 0, 0, 10, 1, 4, 2, 0, 0, 0, 0, 0, 0, 0, // NFT_MSG_NEWTABLE, REQUEST | CREATE
            1, 0, 0, 0, // inet
            14, 0, 1, 0, b'c', b'o', b'l', b'l', b'e', b'c', b't', b'o', b'r', 0, 0, 0,
        ]);
    }

    #[test]
    fn a_condition_on_a_port_loads_two_bytes_of_the_transport_header_and_compares_them() {
        let mut list = Attributes { bytes: Vec::new() };
        field(&mut list, DESTINATION_PORT, &445_u16.to_be_bytes());
        #[rustfmt::skip]
        assert_eq!(list.bytes, [
            52, 0, 1, 0x80, 12, 0, 1, 0, b'p', b'a', b'y', b'l', b'o', b'a', b'd', 0,
            36, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 1, 8, 0, 2, 0, 0, 0, 0, 2,
            8, 0, 3, 0, 0, 0, 0, 2, 8, 0, 4, 0, 0, 0, 0, 2,
            44, 0, 1, 0x80, 8, 0, 1, 0, b'c', b'm', b'p', 0,
            32, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 1, 8, 0, 2, 0, 0, 0, 0, 0,
            12, 0, 3, 0x80, 6, 0, 1, 0, 1, 189, 0, 0,
        ]);
    }
}
