//! The role `maintenance` from a disc to a plan, in a temporary folder and with a trail that only listens.

mod config_disc;

use collector::roles::maintenance;
use collector::runtime::Runtime;
use collector::runtime::line_server::LineServer;
use config_disc::{EXAMPLE, FILES};
use serde_json::Value;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

struct Machine {
    root: tempfile::TempDir,
    events: Receiver<Value>,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in [
            "state/site",
            "state/keys",
            "state/keys-ike",
            "run/site",
            "run/audit",
            "run/status/maintenance",
            "mnt",
        ] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let mut trail =
            LineServer::bind(&root.path().join("run/audit/append.sock"), 65536).unwrap();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            loop {
                let answer = |requests: &[collector::runtime::line_server::Request]| {
                    let _ = requests.iter().try_for_each(|request| {
                        sender.send(serde_json::from_str(&request.line).unwrap())
                    });
                    vec!["{\"sequence\":1}".to_owned(); requests.len()]
                };
                if trail.turn(Duration::from_millis(100), answer).is_err() {
                    return;
                }
            }
        });
        Self { root, events }
    }

    fn insert(&self, text: &str) {
        self.eject();
        let disc = self.root.path().join("mnt/disc");
        std::fs::create_dir(&disc).unwrap();
        std::fs::write(disc.join("site.toml"), text).unwrap();
        for (name, content) in FILES.iter() {
            std::fs::write(disc.join(name), content).unwrap();
        }
    }

    fn eject(&self) {
        let _ = std::fs::remove_dir_all(self.root.path().join("mnt/disc"));
    }

    /// What a restart of the whole box leaves: the state partition.
    fn boot(&self) -> Result<(), String> {
        let site = self.root.path().join("run/site");
        std::fs::remove_dir_all(&site).unwrap();
        std::fs::create_dir(&site).unwrap();
        self.start_role()
    }

    fn start_role(&self) -> Result<(), String> {
        maintenance::run(Runtime::below("maintenance", self.root.path()))
            .map_err(|error| error.to_string())
    }

    fn plan(&self) -> Option<site::Plan> {
        let bytes = std::fs::read(self.path("run/site/plan.json")).ok()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    fn events(&self) -> Vec<Value> {
        self.events.try_iter().collect()
    }
}

fn names(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_good_disc_is_stored_recorded_and_used_again_without_the_disc() {
    let machine = Machine::new();
    machine.insert(EXAMPLE);
    machine.boot().unwrap();
    let events = machine.events();
    assert_eq!(names(&events), ["commissioned"]);
    assert_eq!(events[0]["digest"].as_str().unwrap().len(), 64);
    let plan = machine.plan().unwrap();
    assert_eq!(
        read(&machine.path("state/keys/current/sealing.key")),
        FILES["sealing.key"]
    );
    assert_eq!(
        read(&machine.path("state/keys-ike/current/ike.key")),
        FILES["ike.key"]
    );
    assert_eq!(
        read(&machine.path("state/site/current/recipient.pem")),
        FILES["recipient.pem"]
    );

    machine.eject();
    machine.boot().unwrap();
    assert_eq!(machine.plan().unwrap(), plan);
    machine.insert(EXAMPLE);
    machine.boot().unwrap();
    assert_eq!(
        names(&machine.events()),
        Vec::<&str>::new(),
        "nothing new, nothing to record"
    );
}

#[test]
fn a_changed_disc_replaces_the_stored_configuration() {
    let machine = Machine::new();
    machine.insert(EXAMPLE);
    machine.boot().unwrap();
    machine.insert(&EXAMPLE.replace("box-0001\"", "box-0002\""));
    machine.boot().unwrap();
    assert_eq!(names(&machine.events()), ["commissioned", "commissioned"]);
    assert_eq!(machine.plan().unwrap().box_name, "box-0002");
}

#[test]
fn nothing_starts_on_a_faulty_disc_even_where_a_good_configuration_is_stored() {
    let machine = Machine::new();
    machine.insert(EXAMPLE);
    machine.boot().unwrap();
    machine.insert(
        &EXAMPLE
            .replace("tls = \"modern\"", "tls = \"old\"")
            .replace("box-0001\"", "Box\""),
    );
    let error = machine.boot().unwrap_err();
    assert_eq!(error, "the configuration is refused, faults: 2");
    assert!(machine.plan().is_none());
    let events = machine.events();
    assert_eq!(names(&events), ["commissioned", "configuration-refused"]);
    assert_eq!(events[1]["count"], 2);
    let fault = "site.toml:62:7: key \"tls\" of [upload] does not allow \"old\", allowed: \"modern\" (TLS 1.3) or \"compat\" (TLS 1.2 too)";
    assert_eq!(events[1]["faults"][1], fault);

    machine.start_role().unwrap_err();
    assert!(
        machine.events().is_empty(),
        "a restart of the role has nothing new to record"
    );
    machine.eject();
    machine.boot().unwrap();
    assert_eq!(machine.plan().unwrap().box_name, "box-0001");
}

#[test]
fn a_box_without_disc_and_configuration_says_what_to_do() {
    let machine = Machine::new();
    assert_eq!(
        machine.boot().unwrap_err(),
        "no configuration is stored and there is no disc"
    );
    let status: Value =
        serde_json::from_slice(&read(&machine.path("run/status/maintenance/status.json"))).unwrap();
    assert_eq!(
        status["advice"],
        "insert a commissioning disc labelled COLLECTOR and restart"
    );
    assert!(machine.events().is_empty());
}

#[test]
fn a_disc_without_a_configuration_is_refused() {
    let machine = Machine::new();
    machine.insert(EXAMPLE);
    std::fs::remove_file(machine.path("mnt/disc/site.toml")).unwrap();
    machine.boot().unwrap_err();
    let events = machine.events();
    assert_eq!(
        events[0]["faults"],
        serde_json::json!(["the disc has no site.toml in its root"])
    );
}

#[test]
fn a_link_on_the_disc_is_not_followed() {
    let machine = Machine::new();
    machine.insert(EXAMPLE);
    let key = machine.path("mnt/disc/sealing.key");
    std::fs::rename(&key, machine.path("elsewhere.key")).unwrap();
    std::os::unix::fs::symlink(machine.path("elsewhere.key"), &key).unwrap();
    machine.boot().unwrap_err();
    let fault = "site.toml:70:7: sealing.key: there is no file \"sealing.key\" beside site.toml, allowed: one unencrypted PEM private key (PKCS#8) on the curve P-256";
    assert_eq!(machine.events()[0]["faults"], serde_json::json!([fault]));
}

#[test]
fn passwords_of_shares_reach_init_alone() {
    use std::os::unix::fs::PermissionsExt;
    const PASSWORD: &[u8] = b"the account's password";
    let holds = |path: &Path| {
        read(path)
            .windows(PASSWORD.len())
            .any(|window| window == PASSWORD)
    };
    let machine = Machine::new();
    machine.insert(EXAMPLE);
    machine.boot().unwrap();
    let of_init = machine.path("run/site/init.json");
    assert!(holds(&of_init));
    assert_eq!(
        std::fs::metadata(&of_init).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(!holds(&machine.path("run/site/plan.json")));
}
