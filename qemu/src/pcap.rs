//! Captures of the box's outside interface: what kind of frames went by, and whether planted texts are in them.
//!
//! 1. A frame is allowed only by being recognised: everything unknown is [`Class::Other`].
//! 2. A record that is cut off at the end of a file is ignored: a mains cut ends a capture in the middle of a write.
//!
//! Sources: pcap file format (draft-ietf-opsawg-pcap); RFC 3948 for UDP encapsulation.

use crate::network::{BOX_WAN, BOX_WAN_MAC, GATEWAY};
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 4] = 0xa1b2_c3d4_u32.to_le_bytes();
const FILE_HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;
const ETHERNET_BYTES: usize = 14;
const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
const UDP: u8 = 17;
const ESP: u8 = 50;
const IKE_PORT: u16 = 500;
const NAT_TRAVERSAL_PORT: u16 = 4500;

/// What a frame is, seen from the box and its one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Arp,
    /// Key exchange with the peer.
    Ike,
    /// Encrypted traffic with the peer.
    Esp,
    Other,
}

/// Frames counted by class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Frames and bytes.
    counts: BTreeMap<Class, (u64, u64)>,
    /// Bytes of frames of class [`Class::Other`] that the box itself sent.
    pub bytes_outside_tunnel: u64,
    /// The first bytes of frames of class [`Class::Other`], for people.
    pub strangers: Vec<String>,
    /// All frames, one after another, for the search.
    content: Vec<u8>,
}

/// Enough to see what is going on.
const STRANGERS_SHOWN: usize = 10;

impl Census {
    pub fn add_file(&mut self, path: &Path) -> Result<(), CaptureError> {
        let bytes = std::fs::read(path).map_err(|source| CaptureError::Read {
            path: path.to_owned(),
            source,
        })?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.len() < FILE_HEADER_BYTES || bytes[..4] != MAGIC {
            return Err(CaptureError::NoCapture {
                path: path.to_owned(),
            });
        }
        let mut rest = &bytes[FILE_HEADER_BYTES..];
        while let Some((header, after)) = rest.split_at_checked(RECORD_HEADER_BYTES) {
            let length =
                u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
            let Some((frame, after)) = after.split_at_checked(length) else {
                break;
            };
            self.add_frame(frame);
            rest = after;
        }
        Ok(())
    }

    pub fn add_frame(&mut self, frame: &[u8]) {
        let class = classify(frame);
        let (frames, bytes) = self.counts.entry(class).or_default();
        *frames += 1;
        *bytes += frame.len() as u64;
        self.content.extend(frame);
        if class == Class::Other {
            if sent_by_box(frame) {
                self.bytes_outside_tunnel += frame.len() as u64;
            }
            if self.strangers.len() < STRANGERS_SHOWN {
                self.strangers.push(
                    frame
                        .iter()
                        .take(48)
                        .map(|byte| format!("{byte:02x}"))
                        .collect(),
                );
            }
        }
    }

    pub fn frames(&self, class: Class) -> u64 {
        self.counts.get(&class).map_or(0, |count| count.0)
    }

    pub fn bytes(&self, class: Class) -> u64 {
        self.counts.get(&class).map_or(0, |count| count.1)
    }

    /// How many of these texts went by readably.
    pub fn texts_seen(&self, texts: &[String]) -> usize {
        let found = |text: &[u8]| {
            !text.is_empty()
                && self
                    .content
                    .windows(text.len())
                    .any(|window| window == text)
        };
        // All planted texts begin alike: where not even the beginning is found, none is.
        let Some(first) = texts.first() else { return 0 };
        let common = first.len()
            - first
                .bytes()
                .rev()
                .take_while(u8::is_ascii_alphanumeric)
                .count();
        if common > 0
            && texts.iter().all(|text| text.starts_with(&first[..common]))
            && !found(&first.as_bytes()[..common])
        {
            return 0;
        }
        texts.iter().filter(|text| found(text.as_bytes())).count()
    }
}

/// Says what a frame is. Only IKE and ESP between the box and its peer have names of their own.
pub fn classify(frame: &[u8]) -> Class {
    let Some((ethernet, packet)) = frame.split_at_checked(ETHERNET_BYTES) else {
        return Class::Other;
    };
    if ethernet[12..14] == ARP {
        return Class::Arp;
    }
    if ethernet[12..14] != IPV4 || packet.len() < 20 || packet[0] >> 4 != 4 {
        return Class::Other;
    }
    let address =
        |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let ends = (address(12), address(16));
    if ends != (BOX_WAN, GATEWAY) && ends != (GATEWAY, BOX_WAN) {
        return Class::Other;
    }
    let Some(payload) = packet.get(usize::from(packet[0] & 15) * 4..) else {
        return Class::Other;
    };
    match packet[9] {
        ESP => Class::Esp,
        UDP if payload.len() >= 8 => {
            let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
            match (port(0), port(2), &payload[8..]) {
                (IKE_PORT, IKE_PORT, _) => Class::Ike,
                // The marker of four zero bytes, or the one byte that keeps a translation alive.
                (NAT_TRAVERSAL_PORT, NAT_TRAVERSAL_PORT, [0, 0, 0, 0, ..] | [0xff]) => Class::Ike,
                (NAT_TRAVERSAL_PORT, NAT_TRAVERSAL_PORT, _) => Class::Esp,
                _ => Class::Other,
            }
        }
        _ => Class::Other,
    }
}

fn sent_by_box(frame: &[u8]) -> bool {
    let mac = BOX_WAN_MAC
        .split(':')
        .map(|part| u8::from_str_radix(part, 16).unwrap_or_default());
    frame
        .get(6..12)
        .is_some_and(|source| source.iter().copied().eq(mac))
}

/// A capture cannot be used.
#[derive(Debug)]
pub enum CaptureError {
    Read { path: PathBuf, source: io::Error },
    NoCapture { path: PathBuf },
}

impl std::fmt::Display for CaptureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::NoCapture { path } => write!(f, "{} is not a capture file", path.display()),
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::NoCapture { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x52, 0x54, 0, 0, 1, 1, 0x52, 0x54, 0, 0, 1, 2, 8, 0];
        let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        header.extend(from.octets());
        header.extend(to.octets());
        frame.extend(header);
        frame.extend(payload);
        frame
    }

    fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0; 4], payload].concat()
    }

    #[test]
    fn only_key_exchange_and_esp_with_the_peer_have_a_class_of_their_own() {
        let ike = packet(BOX_WAN, GATEWAY, UDP, &udp(500, 500, b"any"));
        let later = packet(GATEWAY, BOX_WAN, UDP, &udp(4500, 4500, &[0, 0, 0, 0, 9]));
        let wrapped = packet(BOX_WAN, GATEWAY, UDP, &udp(4500, 4500, &[1, 2, 3, 4, 5]));
        let esp = packet(BOX_WAN, GATEWAY, ESP, b"....");
        let elsewhere = packet(BOX_WAN, Ipv4Addr::new(203, 0, 113, 9), ESP, b"....");
        let web = packet(BOX_WAN, GATEWAY, 6, b"GET /");
        let name = packet(BOX_WAN, GATEWAY, UDP, &udp(53, 53, b"?"));
        let classes =
            [ike, later, wrapped, esp, elsewhere, web, name].map(|frame| classify(&frame));
        use Class::{Esp, Ike, Other};
        assert_eq!(classes, [Ike, Ike, Esp, Esp, Other, Other, Other]);
        assert_eq!(classify(&[0; 5]), Other);
    }

    #[test]
    fn a_capture_is_read_up_to_the_record_that_a_cut_tore() {
        let mut bytes = MAGIC.to_vec();
        bytes.resize(FILE_HEADER_BYTES, 0);
        let frame = packet(BOX_WAN, GATEWAY, 6, b"a secret PLANTED-7 in the clear");
        let length = (frame.len() as u32).to_le_bytes();
        let record = [&[0; 8][..], &length, &length, &frame].concat();
        bytes.extend(&record);
        bytes.extend(&record[..record.len() - 3]);
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), &bytes).expect("writes");
        let mut census = Census::default();
        census.add_file(file.path()).expect("reads");
        assert_eq!(
            (census.frames(Class::Other), census.bytes_outside_tunnel),
            (1, frame.len() as u64)
        );
        let texts = ["PLANTED-6", "PLANTED-7"].map(str::to_owned);
        assert_eq!(census.texts_seen(&texts), 1);
        assert_eq!(census.texts_seen(&["ABSENT-1".to_owned()]), 0);
    }

    #[test]
    fn a_file_that_is_no_capture_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), [0; 64]).expect("writes");
        assert!(matches!(
            Census::default().add_file(file.path()),
            Err(CaptureError::NoCapture { .. })
        ));
    }
}
