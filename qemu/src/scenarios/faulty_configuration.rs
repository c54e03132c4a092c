//! Given discs that are each wrong in one way; when the box starts with one; then it says what is wrong and where, on its
//! console and in its trail, starts no other role, and takes the right disc at the next start.

use super::{Depth, Outcome, must};
use crate::Inputs;
use crate::limits::BOX_BOOTS;
use crate::nbd::Loss;
use crate::pki::Pki;
use crate::rig::{LabError, Lonely};
use crate::site_disc::SiteDisc;

/// A wrong disc and what the box must say of it.
struct Fault {
    name: &'static str,
    make: fn(SiteDisc, &Pki) -> SiteDisc,
    said: &'static [&'static str],
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "unknown-key",
        make: |disc, _| disc.with("peer-identity =", "peer-identiti ="),
        said: &[
            "key \"peer-identity\" of [tunnel] is missing",
            "unknown key \"peer-identiti\"",
            "did you mean \"peer-identity\"",
        ],
    },
    Fault {
        name: "missing-table",
        make: |disc, _| disc.with("[clock]", "[collection.clock]"),
        said: &["table [clock] is missing"],
    },
    Fault {
        name: "mistyped",
        make: |disc, _| disc.with("quiet-seconds = 1", "quiet-seconds = \"soon\""),
        said: &["key \"quiet-seconds\" of [collection] does not allow a string"],
    },
    Fault {
        name: "out-of-range",
        make: |disc, _| disc.with("dead-peer-seconds = 5", "dead-peer-seconds = 0"),
        said: &[
            "key \"dead-peer-seconds\" of [tunnel] does not allow 0, allowed: a whole number from",
        ],
    },
    Fault {
        name: "no-toml",
        make: |disc, _| disc.with("[sealing]", "[sealing"),
        said: &["this is not TOML: unclosed table"],
    },
    Fault {
        name: "impossible-address",
        make: |disc, _| disc.with("peer = \"203.0.113.1\"", "peer = \"203.0.113.2\""),
        said: &["peer 203.0.113.2 is the box itself"],
    },
    Fault {
        name: "outside-tunnel",
        make: |disc, _| disc.with("servers = [\"198.51.100.1\"]", "servers = [\"192.0.2.20\"]"),
        said: &["clock server 192.0.2.20 is outside the tunnel"],
    },
    Fault {
        name: "dangling-name",
        make: |disc, _| disc.with("interface = \"wan\"", "interface = \"dsl\""),
        said: &["there is no interface \"dsl\""],
    },
    Fault {
        name: "name-twice",
        make: |disc, _| disc.with("name = \"claims\"", "name = \"emr\""),
        said: &["mount name \"emr\" stands twice"],
    },
    Fault {
        name: "missing-file",
        make: |disc, _| disc.without_file("upload.pem"),
        said: &["upload.pem"],
    },
    Fault {
        name: "foreign-key",
        make: |disc, pki| disc.with_file("ike.key", pki.file("wrong/ike-box.key")),
        said: &["ike.key"],
    },
    Fault {
        name: "weak-recipient",
        make: |disc, pki| disc.with_file("recipient.pem", pki.file("tls-server.pem")),
        said: &["recipient.pem"],
    },
    Fault {
        name: "several-at-once",
        make: |disc, _| {
            disc.with("tls = \"modern\"", "tls = \"ssl3\"")
                .with("receipts = \"signed\"", "receipts = \"maybe\"")
        },
        said: &["does not allow \"ssl3\"", "does not allow \"maybe\""],
    },
];

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let mut lab = Lonely::new(inputs, "faulty-configuration")?;
    for fault in FAULTS {
        let disc = (fault.make)(SiteDisc::right(&lab.pki), &lab.pki);
        lab.commission(&disc, fault.name)?;
        lab.collector.power_on().map_err(LabError::Box)?;
        let refused = lab
            .collector
            .wait_for(BOX_BOOTS, "configuration-refused", |_| true)
            .map_err(LabError::Wait)?;
        for words in fault.said {
            lab.collector
                .wait_for_line(BOX_BOOTS, words)
                .map_err(LabError::Wait)?;
        }
        must(refused.fields.contains_key("faults"), || {
            format!("{}: the trail does not hold the faults", fault.name)
        })?;
        let started = lab
            .collector
            .events()
            .into_iter()
            .find(|event| ["tunnel", "intake", "sender"].contains(&event.role.as_str()));
        must(started.is_none(), || {
            format!("{}: {started:?} although nothing may start", fault.name)
        })?;
        println!("faulty-configuration: {} is refused", fault.name);
        lab.collector.cut_mains(Loss::All).map_err(LabError::Box)?;
    }
    lab.commission(&SiteDisc::right(&lab.pki), "right")?;
    lab.collector.power_on().map_err(LabError::Box)?;
    lab.collector
        .wait_for(BOX_BOOTS, "commissioned", |_| true)
        .map_err(LabError::Wait)?;
    Ok(Outcome::Passed)
}
