//! Network interfaces, addresses and routes, through rtnetlink.
//!
//! 1. Every call states the wanted end; a thing that is there already in that form is no error.
//! 2. Links are named by index inside a call, so that a rename cannot hit another card.
//!
//! Source: rtnetlink(7); include/uapi/linux/if_link.h (`IFLA_XFRM_LINK`, `IFLA_XFRM_IF_ID`).

use crate::netlink::{
    ACK, CREATE, Connection, DUMP, EXCLUSIVE, NetlinkError, REPLACE, REQUEST, Subject,
};
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoXfrm, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};

/// A network interface as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Empty where the interface has none.
    pub hardware_address: Vec<u8>,
}

/// The network configuration of the namespace in which it was opened; it stays with that namespace.
pub struct Routing {
    connection: Connection,
}

impl Routing {
    pub fn open() -> Result<Self, NetlinkError> {
        Connection::open(None).map(|connection| Self { connection })
    }

    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let subject = Subject {
            request: "list interfaces",
            object: "",
        };
        let answers = self.request(
            RouteNetlinkMessage::GetLink(LinkMessage::default()),
            DUMP,
            subject,
        )?;
        Ok(answers.iter().filter_map(|answer| link(answer)).collect())
    }

    pub fn rename(&mut self, link: &Link, name: &str) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        let subject = Subject {
            request: "rename interface",
            object: &link.name,
        };
        self.request(RouteNetlinkMessage::SetLink(message), ACK, subject)
            .map(drop)
    }

    pub fn up(&mut self, index: u32, name: &str) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        let subject = Subject {
            request: "start interface",
            object: name,
        };
        self.request(RouteNetlinkMessage::SetLink(message), ACK, subject)
            .map(drop)
    }

    pub fn set_mtu(&mut self, index: u32, name: &str, bytes: u32) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Mtu(bytes));
        let subject = Subject {
            request: "set the packet size of interface",
            object: name,
        };
        self.request(RouteNetlinkMessage::SetLink(message), ACK, subject)
            .map(drop)
    }

    pub fn add_address(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = prefix;
        message.header.scope = AddressScope::Universe;
        message.header.index = index;
        message.attributes = vec![
            AddressAttribute::Local(IpAddr::V4(address)),
            AddressAttribute::Address(IpAddr::V4(address)),
        ];
        let object = format!("{address}/{prefix}");
        let subject = Subject {
            request: "set address",
            object: &object,
        };
        self.request(
            RouteNetlinkMessage::NewAddress(message),
            ACK | CREATE | REPLACE,
            subject,
        )
        .map(drop)
    }

    /// A route to `destination/prefix` (0.0.0.0/0 for the default route), through a gateway or straight onto the link.
    pub fn add_route(
        &mut self,
        index: u32,
        destination: Ipv4Addr,
        prefix: u8,
        gateway: Option<Ipv4Addr>,
    ) -> Result<(), NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = prefix;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        message.header.scope = if gateway.is_some() {
            RouteScope::Universe
        } else {
            RouteScope::Link
        };
        if prefix > 0 {
            message
                .attributes
                .push(RouteAttribute::Destination(RouteAddress::Inet(destination)));
        }
        if let Some(gateway) = gateway {
            message
                .attributes
                .push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
        }
        message.attributes.push(RouteAttribute::Oif(index));
        let object = format!("{destination}/{prefix}");
        let subject = Subject {
            request: "set route",
            object: &object,
        };
        self.request(
            RouteNetlinkMessage::NewRoute(message),
            ACK | CREATE | REPLACE,
            subject,
        )
        .map(drop)
    }

    /// Makes an XFRM interface on `underlying` and moves it to another network namespace in two steps: the interface
    /// keeps the namespace of its making for the encrypted side, which is what lets plaintext and ESP live apart.
    pub fn add_xfrm(
        &mut self,
        name: &str,
        underlying: u32,
        if_id: u32,
        namespace: impl AsFd,
    ) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Xfrm),
                LinkInfo::Data(InfoData::Xfrm(vec![
                    InfoXfrm::Link(underlying),
                    InfoXfrm::IfId(if_id),
                ])),
            ]),
        ];
        let subject = Subject {
            request: "make XFRM interface",
            object: name,
        };
        match self.request(
            RouteNetlinkMessage::NewLink(message),
            ACK | CREATE | EXCLUSIVE,
            subject,
        ) {
            Err(error) if error.is_already_there() => {}
            other => drop(other?),
        }
        let links = self.links()?;
        let made = links
            .iter()
            .find(|link| link.name == name)
            .ok_or(NetlinkError::Answer {
                request: "list interfaces",
            })?;
        let mut message = LinkMessage::default();
        message.header.index = made.index;
        message
            .attributes
            .push(LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd()));
        let subject = Subject {
            request: "move into its namespace the interface",
            object: name,
        };
        self.request(RouteNetlinkMessage::SetLink(message), ACK, subject)
            .map(drop)
    }

    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        subject: Subject<'_>,
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        let bytes = encode(message, flags);
        self.connection.exchange(&bytes, SEQUENCE, subject)
    }
}

/// One request is under way at a time on one socket, so that one number serves all.
const SEQUENCE: u32 = 1;

fn encode(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = REQUEST | flags;
    header.sequence_number = SEQUENCE;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn link(answer: &[u8]) -> Option<Link> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer).ok()?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) = message.payload
    else {
        return None;
    };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        hardware_address: Vec::new(),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(address) => link.hardware_address = address,
            _ => {}
        }
    }
    Some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_for_an_xfrm_interface_has_these_bytes() {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName("tunnel0".to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Xfrm),
                LinkInfo::Data(InfoData::Xfrm(vec![InfoXfrm::Link(3), InfoXfrm::IfId(42)])),
            ]),
        ];
        let bytes = encode(
            RouteNetlinkMessage::NewLink(message),
            ACK | CREATE | EXCLUSIVE,
        );
        #[rustfmt::skip]
        let expected = [
            80, 0, 0, 0, 16, 0, 0x05, 0x06, 1, 0, 0, 0, 0, 0, 0, 0, // length, RTM_NEWLINK, flags, sequence
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // ifinfomsg
            12, 0, 3, 0, b't', b'u', b'n', b'n', b'e', b'l', b'0', 0, // IFLA_IFNAME
            36, 0, 18, 0, // IFLA_LINKINFO
            9, 0, 1, 0, b'x', b'f', b'r', b'm', 0, 0, 0, 0, // IFLA_INFO_KIND
            // IFLA_INFO_DATA: IFLA_XFRM_LINK, IFLA_XFRM_IF_ID
            20, 0, 2, 0, 8, 0, 1, 0, 3, 0, 0, 0, 8, 0, 2, 0, 42, 0, 0, 0,
        ];
        assert_eq!(bytes, expected);
    }
}
