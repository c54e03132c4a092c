use super::*;
use crate::runtime::audit::SOCKET;
use crate::runtime::line_server::{LineServer, Request};
use std::sync::mpsc::{Receiver, channel};

/// A stand-in for sysfs, a trail that only listens, and the role's watch.
struct Machine {
    root: tempfile::TempDir,
    events: Receiver<Value>,
    watch: Watch,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["sys/bus/usb/devices", "run/audit", "run/status/ports"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let runtime = Runtime::below("ports", root.path());
        let mut trail = LineServer::bind(&runtime.path(SOCKET), 65536).unwrap();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            loop {
                let answer = |requests: &[Request]| {
                    for request in requests {
                        let _ = sender.send(serde_json::from_str(&request.line).unwrap());
                    }
                    vec!["{\"sequence\":1}".to_owned(); requests.len()]
                };
                if trail.turn(Duration::from_millis(100), answer).is_err() {
                    return;
                }
            }
        });
        Self {
            root,
            events,
            watch: Watch::new(runtime),
        }
    }

    fn plug(&self, name: &str, number: u32, vendor: &str, class: u8, authorised: &str) {
        let folder = self.root.path().join("sys/bus/usb/devices").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut descriptors = vec![18, 1, 0, 2, 0];
        descriptors.resize(18, 0);
        descriptors.extend([9, 4, 0, 0, 0, class, 0, 0, 0]);
        for (attribute, content) in [
            ("devnum", number.to_string().into_bytes()),
            ("idVendor", format!("{vendor}\n").into_bytes()),
            ("idProduct", b"0001\n".to_vec()),
            ("bDeviceClass", b"00\n".to_vec()),
            ("product", b"Stick\x1b[2J\n".to_vec()),
            ("authorized", authorised.as_bytes().to_vec()),
            ("descriptors", descriptors),
        ] {
            std::fs::write(folder.join(attribute), content).unwrap();
        }
    }

    fn pull(&self, name: &str) {
        std::fs::remove_dir_all(self.root.path().join("sys/bus/usb/devices").join(name)).unwrap();
    }

    fn events(&self) -> Vec<Value> {
        self.events.try_iter().collect()
    }

    fn status(&self) -> Value {
        let path = self.root.path().join("run/status/ports/status.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

#[test]
fn a_stick_is_recorded_once_and_again_when_it_comes_again() {
    let mut machine = Machine::new();
    machine.plug("usb1", 1, "1d6b", 9, "1");
    machine.plug("1-2", 3, "46f4", 8, "0");
    machine.watch.turn(&[]);
    machine.watch.turn(&[]);
    let events = machine.events();
    assert_eq!(events.len(), 1, "{events:?}");
    let expected = json!({
        "role": "ports", "event": "usb-refused", "path": "1-2", "vendor": "46f4", "product": "0001",
        "class": "mass storage", "label": "Stick[2J", "well_formed": true, "authorised": false
    });
    assert_eq!(events[0], expected);
    assert_eq!(
        machine.status()["problem"],
        "a USB device is plugged in at 1-2; it is not used"
    );
    machine.pull("1-2");
    machine.watch.turn(&[]);
    assert_eq!(machine.status()["state"], "nothing is plugged in");
    machine.plug("1-2", 4, "46f4", 8, "0");
    machine.watch.turn(&[]);
    assert_eq!(machine.events().len(), 1);
}

#[test]
fn a_device_that_is_gone_before_it_can_be_looked_at_is_recorded_from_the_event() {
    let mut machine = Machine::new();
    let arrival = Arrival {
        name: "1-1".to_owned(),
        number: 9,
        vendor: 0x0627,
        product: 1,
        class: 3,
    };
    machine.watch.turn(std::slice::from_ref(&arrival));
    let events = machine.events();
    assert_eq!(
        (&events[0]["path"], &events[0]["class"]),
        (&json!("1-1"), &json!("human interface"))
    );
    machine.plug("1-1", 10, "0627", 3, "0");
    machine.watch.turn(&[Arrival {
        number: 10,
        ..arrival
    }]);
    assert_eq!(
        machine.events().len(),
        1,
        "what is still there is recorded once"
    );
}

#[test]
fn a_device_that_is_authorised_is_put_back() {
    let mut machine = Machine::new();
    machine.plug("usb1", 1, "1d6b", 9, "1");
    machine.plug("1-1", 2, "0627", 3, "1");
    machine.watch.turn(&[]);
    let switch = |name: &str| {
        std::fs::read_to_string(
            machine
                .root
                .path()
                .join("sys/bus/usb/devices")
                .join(name)
                .join("authorized"),
        )
        .unwrap()
    };
    assert_eq!(
        (switch("1-1").as_str(), switch("usb1").as_str()),
        ("0", "1")
    );
}

#[test]
fn a_storm_of_arrivals_does_not_fill_the_trail() {
    let mut machine = Machine::new();
    for number in 0..200 {
        machine.plug("1-1", number, "46f4", 8, "0");
        machine.watch.turn(&[]);
    }
    assert_eq!(machine.events().len(), MOST_RECORDS as usize);
    machine.watch.minute -= MINUTE;
    machine.watch.turn(&[]);
    let events = machine.events();
    assert_eq!(
        (&events[0]["event"], &events[0]["count"]),
        (&json!("usb-storm"), &json!(200 - MOST_RECORDS))
    );
}
