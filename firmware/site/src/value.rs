//! The written forms of values: names, addresses, paths. Each function returns `None` for what is not allowed; the
//! text of what is allowed stands beside it, because a fault prints it.

use crate::Window;
use std::net::Ipv4Addr;
use std::path::{Component, Path, PathBuf};

pub(crate) const NAME: &str = "1 to 32 characters of a-z, 0-9 and -, the first and last no -";

/// Names of boxes, mounts and sources: they become parts of paths and of bundle names.
pub(crate) fn name(text: &str) -> Option<String> {
    let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let well_formed = (1..=32).contains(&text.len())
        && text.bytes().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-');
    well_formed.then(|| text.to_owned())
}

pub(crate) const INTERFACE: &str =
    "1 to 15 characters of a-z and 0-9 after a first letter, but not lo or tunnel0";

/// 15 is the kernel's IFNAMSIZ less its zero byte; `lo` and `tunnel0` exist already.
pub(crate) fn interface(text: &str) -> Option<String> {
    let inside = text
        .bytes()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let first = text.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
    (inside && first && text.len() <= 15 && text != "lo" && text != "tunnel0")
        .then(|| text.to_owned())
}

pub(crate) const MAC: &str =
    "six bytes in hex as in \"52:54:00:12:34:56\", of one card (not multicast, not zero)";

pub(crate) fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    (parts.next().is_none() && bytes != [0; 6] && bytes[0] & 1 == 0).then_some(bytes)
}

pub(crate) const HOST: &str = "an IPv4 address of one machine as in \"192.0.2.1\"";

pub(crate) fn host(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok().filter(|address| is_host(*address))
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_link_local()
        || address.octets()[0] == 0)
}

/// An IPv4 network: address with the host bits zero, and prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
}

impl Network {
    pub(crate) fn around(address: Ipv4Addr, prefix: u8) -> Self {
        Self {
            address: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)),
            prefix,
        }
    }

    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.address.to_bits()
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    pub(crate) fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !mask(self.prefix))
    }

    /// Neither the network's own address nor its broadcast address.
    pub(crate) fn has_host(&self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.address && address != self.broadcast()
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn with_prefix(text: &str, lengths: std::ops::RangeInclusive<u8>) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    if !prefix.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let prefix = prefix
        .parse()
        .ok()
        .filter(|prefix| lengths.contains(prefix))?;
    Some((address.parse().ok()?, prefix))
}

pub(crate) const ADDRESS_IN_NETWORK: &str =
    "an IPv4 address of one machine with a prefix of 8 to 30 as in \"192.0.2.10/24\"";

pub(crate) fn address_in_network(text: &str) -> Option<(Ipv4Addr, u8)> {
    with_prefix(text, 8..=30).filter(|(address, prefix)| {
        is_host(*address) && Network::around(*address, *prefix).has_host(*address)
    })
}

pub(crate) const NETWORK: &str = "an IPv4 network with a prefix of 8 to 32 and the bits behind it zero as in \"198.51.100.0/24\"";

pub(crate) fn network(text: &str) -> Option<Network> {
    let (address, prefix) = with_prefix(text, 8..=32)?;
    let network = Network::around(address, prefix);
    (network.address == address && is_host(address)).then_some(network)
}

pub(crate) const IDENTITY: &str = "a DNS name as in \"box.example\" or an IPv4 address";

/// An IKE identity that can stand in a subjectAltName.
pub(crate) fn identity(text: &str) -> Option<String> {
    if text.parse::<Ipv4Addr>().is_ok() {
        return Some(text.to_owned());
    }
    server_name(text)
}

pub(crate) const SERVER_NAME: &str = "a DNS name as in \"receiver.example\"";

pub(crate) fn server_name(text: &str) -> Option<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let all_digits = text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    (text.len() <= 253 && !all_digits && text.split('.').all(label)).then(|| text.to_owned())
}

pub(crate) const FILE: &str = "the name of a file beside site.toml: 1 to 64 characters of A-Z, a-z, 0-9, ., _ and -, the first no .";

pub(crate) fn file(text: &str) -> Option<String> {
    let inside = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let well_formed =
        (1..=64).contains(&text.len()) && text.bytes().all(inside) && !text.starts_with('.');
    (well_formed && text != crate::FILE_NAME).then(|| text.to_owned())
}

/// Where bundles are uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) path: String,
}

pub(crate) const URL: &str =
    "https, an IPv4 address and a path that ends with / as in \"https://198.51.100.1:8443/files/\"";

pub(crate) fn url(text: &str) -> Option<Url> {
    let (authority, path) = text.strip_prefix("https://")?.split_once('/')?;
    let (address, port) = match authority.split_once(':') {
        Some((address, port)) if port.bytes().all(|c| c.is_ascii_digit()) => {
            (address, port.parse().ok()?)
        }
        Some(_) => return None,
        None => (authority, 443),
    };
    let inside = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'-' | b'_' | b'.' | b'~');
    let path = format!("/{path}");
    let clean = path.bytes().all(inside)
        && path.ends_with('/')
        && !path.contains("//")
        && !path.contains("/.");
    (port != 0 && clean && path.len() <= 256).then_some(Url {
        address: host(address)?,
        port,
        path,
    })
}

pub(crate) const WINDOW: &str = "a part of the day as in \"19:00-06:30\", from 00:00 to 24:00, not empty; the end may be on the next day";

pub(crate) fn window(text: &str) -> Option<Window> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (time_of_day(from)?, time_of_day(to)?);
    let day = 24 * 60;
    (from != to && from != day).then_some(Window {
        from_minute: from,
        to_minute: to % day,
    })
}

/// Minutes of `HH:MM`, 24:00 included.
fn time_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = hours_and_minutes(text)?;
    (hours < 24 || minutes == 0).then_some(hours * 60 + minutes)
}

/// Two digits each, at most 24:59.
fn hours_and_minutes(text: &str) -> Option<(u16, u16)> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |part: &str, most: u16| {
        let digits = part.len() == 2 && part.bytes().all(|c| c.is_ascii_digit());
        let number: u16 = part.parse().ok()?;
        (digits && number <= most).then_some(number)
    };
    Some((number(hours, 24)?, number(minutes, 59)?))
}

pub(crate) const UTC_OFFSET: &str =
    "hours and minutes from UTC as in \"+09:00\", from -12:00 to +14:00 in quarters of an hour";

/// Minutes ahead of UTC.
pub(crate) fn utc_offset(text: &str) -> Option<i16> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, minutes) = hours_and_minutes(&text[1..])?;
    let offset = sign * i16::try_from(hours * 60 + minutes).ok()?;
    ((-12 * 60..=14 * 60).contains(&offset) && offset % 15 == 0).then_some(offset)
}

pub(crate) const TEXT: &str = "1 to 128 characters without control characters";

/// User names and passwords.
pub(crate) fn text(text: &str) -> Option<String> {
    ((1..=128).contains(&text.chars().count()) && !text.chars().any(char::is_control))
        .then(|| text.to_owned())
}

pub(crate) const SHARE: &str =
    "the name of a share: 1 to 80 characters without control characters, / or \\";

pub(crate) fn share(text: &str) -> Option<String> {
    let inside = |c: char| !c.is_control() && c != '/' && c != '\\';
    ((1..=80).contains(&text.chars().count()) && text.chars().all(inside)).then(|| text.to_owned())
}

pub(crate) const EXPORT: &str =
    "the absolute path of an NFS export as in \"/export/ssmix2\", without . and ..";

pub(crate) fn export(text: &str) -> Option<String> {
    let rest = text.strip_prefix('/')?;
    (rest.is_empty() || below(rest).is_some()).then(|| text.to_owned())
}

pub(crate) const BELOW: &str =
    "a path below the mount as in \"SSMIX2/standardized\", or \"\" for the mount itself";

/// A path that can only lead downwards.
pub(crate) fn below(text: &str) -> Option<PathBuf> {
    if text.len() > 1024
        || text.chars().any(char::is_control)
        || text.ends_with('/')
        || text.contains("//")
    {
        return None;
    }
    let path = Path::new(text);
    let down = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let as_written = path
        .components()
        .map(|part| part.as_os_str().len() + 1)
        .sum::<usize>()
        == text.len() + 1;
    (text.is_empty() || (down && as_written)).then(|| path.to_owned())
}
