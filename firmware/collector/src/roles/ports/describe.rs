//! What a USB device says of itself: descriptors, events, attributes. All of it is a claim of something that may be built
//! to harm, so every parser is bounded, takes bytes and returns values, and no text comes through with control characters.
//!
//! Sources: USB 2.0, 9.6 (descriptors); the USB-IF's table of class codes; lib/kobject_uevent.c (events).

/// The kernel's `descriptors` file holds the device and its configurations, each of at most 64 KiB.
pub const LONGEST_DESCRIPTORS_BYTES: usize = 256 * 1024;
/// More interfaces than any honest device has; the rest is not looked at.
const MOST_INTERFACES: usize = 32;
const LONGEST_TEXT: usize = 64;

const DEVICE: u8 = 1;
const DEVICE_BYTES: usize = 18;
const INTERFACE: u8 = 4;
const INTERFACE_BYTES: usize = 9;

/// What the descriptors say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// Classes of device and interfaces, in the order of their appearance, each once.
    pub classes: Vec<u8>,
    /// Whether every descriptor was whole and of the right length.
    pub well_formed: bool,
}

/// Reads device and interface descriptors; stops at the first that cannot be.
pub fn descriptors(bytes: &[u8]) -> Descriptors {
    let mut classes = Vec::new();
    let mut interfaces = 0;
    let mut rest = bytes;
    let well_formed = loop {
        let &[length, kind, ..] = rest else {
            break rest.is_empty();
        };
        let length = usize::from(length);
        if length < 2 || length > rest.len() {
            break false;
        }
        let (descriptor, behind) = rest.split_at(length);
        let class = match kind {
            DEVICE if length == DEVICE_BYTES => Some(descriptor[4]),
            INTERFACE if length == INTERFACE_BYTES => {
                interfaces += 1;
                Some(descriptor[5])
            }
            DEVICE | INTERFACE => break false,
            _ => None,
        };
        if interfaces > MOST_INTERFACES {
            break false;
        }
        // Class 0 of a device says that its interfaces have the classes.
        if let Some(class) = class.filter(|class| *class != 0 && !classes.contains(class)) {
            classes.push(class);
        }
        rest = behind;
    };
    Descriptors {
        classes,
        well_formed: well_formed && !bytes.is_empty(),
    }
}

/// The name of a class.
pub fn class_name(class: u8) -> &'static str {
    match class {
        0x00 => "by interface",
        0x01 => "audio",
        0x02 | 0x0a => "communications",
        0x03 => "human interface",
        0x05 => "physical",
        0x06 => "image",
        0x07 => "printer",
        0x08 => "mass storage",
        0x09 => "hub",
        0x0b => "smart card",
        0x0d => "content security",
        0x0e => "video",
        0x0f => "health care",
        0x10 => "audio and video",
        0xdc => "diagnostic",
        0xe0 => "wireless controller",
        0xef => "miscellaneous",
        0xfe => "application specific",
        0xff => "vendor specific",
        _ => "unknown",
    }
}

/// Text of a device, shortened, with nothing but printable ASCII.
pub fn clean(text: &str) -> String {
    let printable = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
    printable
        .take(LONGEST_TEXT)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The arrival of a device, as the kernel announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Last part of the path in sysfs: `1-2.3`.
    pub name: String,
    pub number: u32,
    pub vendor: u16,
    pub product: u16,
    pub class: u8,
}

/// Reads an event of the kernel: `add@/devices/...`, then `KEY=value`, each ended by a zero byte. None for what is not
/// the arrival of a USB device.
pub fn arrival(event: &[u8]) -> Option<Arrival> {
    let parts = event
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty());
    let mut parts = parts.filter_map(|part| std::str::from_utf8(part).ok());
    let path = parts.next()?.strip_prefix("add@")?;
    let (mut device, mut number, mut identity, mut class) = (false, None, None, None);
    for part in parts {
        match part.split_once('=')? {
            ("DEVTYPE", kind) => device = kind == "usb_device",
            ("DEVNUM", text) => number = text.parse().ok(),
            ("PRODUCT", text) => identity = product(text),
            ("TYPE", text) => class = text.split('/').next()?.parse().ok(),
            _ => {}
        }
    }
    let name = path.rsplit('/').next().filter(|name| is_name(name))?;
    let (vendor, product) = identity?;
    device.then_some(Arrival {
        name: name.to_owned(),
        number: number?,
        vendor,
        product,
        class: class?,
    })
}

/// `46f4/1/0`: vendor, product and release in hex.
fn product(text: &str) -> Option<(u16, u16)> {
    let mut parts = text
        .split('/')
        .map(|part| u16::from_str_radix(part, 16).ok());
    Some((parts.next()??, parts.next()??))
}

/// A device in sysfs: `usb1`, `1-2`, `1-2.3`; not an interface, which has a colon.
pub fn is_name(name: &str) -> bool {
    let inside = |c: u8| c.is_ascii_digit() || matches!(c, b'-' | b'.' | b'u' | b's' | b'b');
    (1..=32).contains(&name.len()) && name.bytes().all(inside)
}

/// The hub that a controller itself is.
pub fn is_root_hub(name: &str) -> bool {
    name.strip_prefix("usb")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(class: u8) -> Vec<u8> {
        let mut bytes = vec![0; DEVICE_BYTES];
        (bytes[0], bytes[1], bytes[4]) = (18, DEVICE, class);
        bytes
    }

    fn interface(class: u8) -> Vec<u8> {
        let mut bytes = vec![0; INTERFACE_BYTES];
        (bytes[0], bytes[1], bytes[5]) = (9, INTERFACE, class);
        bytes
    }

    fn configuration() -> Vec<u8> {
        vec![9, 2, 0, 0, 1, 1, 0, 0x80, 50]
    }

    #[test]
    fn a_stick_with_a_hidden_keyboard_shows_both_classes() {
        let bytes = [
            device(0),
            configuration(),
            interface(8),
            vec![7, 5, 0x81, 2, 0, 2, 0],
            interface(3),
        ]
        .concat();
        assert_eq!(
            descriptors(&bytes),
            Descriptors {
                classes: vec![8, 3],
                well_formed: true
            }
        );
    }

    #[test]
    fn broken_descriptors_are_read_up_to_the_break() {
        let broken =
            |tail: &[u8]| descriptors(&[device(0).as_slice(), &interface(8), tail].concat());
        let expected = Descriptors {
            classes: vec![8],
            well_formed: false,
        };
        for tail in [
            &[0][..],
            &[0, 4],
            &[1, 4],
            &[9, 4, 0],
            &[8, 4, 0, 0, 0, 0, 0, 0],
            &[255, 2],
        ] {
            assert_eq!(broken(tail), expected, "{tail:?}");
        }
        let many: Vec<u8> = (0..255).flat_map(|_| interface(3)).collect();
        assert!(!descriptors(&many).well_formed);
        assert!(!descriptors(&[]).well_formed);
    }

    #[test]
    fn no_bytes_make_the_parsers_panic() {
        let mut state = 1_u32;
        for length in 0..600 {
            let bytes: Vec<u8> = (0..length % 97)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8 % 20
                })
                .collect();
            descriptors(&bytes);
            arrival(&bytes);
        }
    }

    #[test]
    fn an_arrival_is_read_from_the_kernels_event() {
        let event = b"add@/devices/pci0000:00/0000:00:04.0/usb1/1-2\0ACTION=add\0DEVPATH=/devices/pci0000:00/0000:00:04.0/usb1/1-2\0SUBSYSTEM=usb\0MAJOR=189\0DEVNAME=bus/usb/001/003\0DEVTYPE=usb_device\0PRODUCT=46f4/1/0\0TYPE=0/0/0\0BUSNUM=001\0DEVNUM=003\0SEQNUM=900\0";
        let expected = Arrival {
            name: "1-2".to_owned(),
            number: 3,
            vendor: 0x46f4,
            product: 1,
            class: 0,
        };
        assert_eq!(arrival(&event[..event.len() - 1]), Some(expected.clone()));
        assert_eq!(arrival(event), Some(expected));
        for other in [
            &b"remove@/devices/x/1-2\0DEVTYPE=usb_device\0DEVNUM=3\0PRODUCT=46f4/1/0\0TYPE=0/0/0"[..],
            b"add@/devices/x/1-2:1.0\0DEVTYPE=usb_interface\0DEVNUM=3\0PRODUCT=46f4/1/0\0TYPE=0/0/0",
            b"add@/devices/x/1-2\0DEVTYPE=usb_device\0DEVNUM=3",
            b"",
            b"libudev",
        ] {
            assert_eq!(arrival(other), None);
        }
    }

    #[test]
    fn text_of_a_device_cannot_move_the_cursor() {
        assert_eq!(clean(" Stick\x1b[2J\r\n\u{9b}K\u{202e} \0"), "Stick[2JK");
        assert_eq!(clean(&"x".repeat(500)).len(), LONGEST_TEXT);
    }
}
