//! The data centre's end of the tunnel: the same charon as the box's, as a responder that starts nothing itself.

use crate::boot::run;
use crate::services::await_until;
use lab_guest::{DatacentreSettings, SETTINGS};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

type Outcome = Result<(), Box<dyn Error>>;

/// Where charon puts its routes.
const CHARONS_TABLE: &str = "220";
const SOCKET: &str = "/run/charon.vici";
const CONFIGURATION: &str = "charon {\n  install_virtual_ip = no\n  filelog {\n    stderr {\n      default = 1\n      ike_name = yes\n    }\n  }\n  \
    plugins {\n    vici {\n      socket = unix:///run/charon.vici\n    }\n  }\n}\n";

#[derive(Serialize)]
struct Certificate {
    #[serde(rename = "type")]
    kind: &'static str,
    flag: &'static str,
    data: String,
}

#[derive(Serialize)]
struct Key {
    #[serde(rename = "type")]
    kind: &'static str,
    data: String,
}

#[derive(Serialize)]
struct Connection {
    version: &'static str,
    proposals: [&'static str; 2],
    dpd_delay: &'static str,
    unique: &'static str,
    local: Side,
    remote: Side,
    children: BTreeMap<&'static str, Traffic>,
}

#[derive(Serialize)]
struct Side {
    auth: &'static str,
    id: String,
    certs: Vec<String>,
    cacerts: Vec<String>,
}

#[derive(Serialize)]
struct Traffic {
    esp_proposals: [&'static str; 2],
    local_ts: [String; 1],
    remote_ts: [String; 1],
}

#[derive(Deserialize)]
struct Reply {
    success: bool,
    errmsg: Option<String>,
}

/// Starts charon and gives it its connection.
pub fn start(settings: &DatacentreSettings) -> Result<Vec<Child>, Box<dyn Error>> {
    inner_address(settings)?;
    for module in ["esp4", "xfrm_user"] {
        run("modprobe", &[module])?;
    }
    fs::write("/run/strongswan.conf", CONFIGURATION)?;
    // Its process number goes there.
    fs::create_dir_all("/run/charon")?;
    let _ = fs::remove_file(SOCKET);
    let mut command = Command::new(Path::new(SETTINGS).join("bin/charon"));
    command
        .env("STRONGSWAN_CONF", "/run/strongswan.conf")
        .stdin(Stdio::null());
    let charon = command.spawn()?;
    await_until("charon listens on its control socket", || {
        UnixStream::connect(SOCKET).is_ok()
    })?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(load(settings))?;
    // Only now: where nobody listens yet, the kernel would say so.
    let silence = format!("{}/32", settings.peer);
    run("ip", &["route", "delete", "blackhole", &silence])?;
    Ok(vec![charon])
}

/// Answers nothing any more, not even that nobody is there. To be called before charon ends.
pub fn fall_silent(settings: &DatacentreSettings) -> Outcome {
    let silence = format!("{}/32", settings.peer);
    run("ip", &["route", "replace", "blackhole", &silence])
}

/// What the kernel still holds of a killed charon goes. Its routes go before its policies: what is still open would leave
/// unencrypted.
pub fn forget() -> Outcome {
    // There is no such table before charon's first start.
    let _ = run("ip", &["route", "flush", "table", CHARONS_TABLE]);
    run("ip", &["xfrm", "state", "flush"])?;
    run("ip", &["xfrm", "policy", "flush"])
}

/// The address that the box reaches through the tunnel. The box's own inner address is reached by charon's route alone.
pub fn inner_address(settings: &DatacentreSettings) -> Outcome {
    run(
        "ip",
        &[
            "address",
            "replace",
            &format!("{}/32", settings.inner),
            "dev",
            "lo",
        ],
    )?;
    run(
        "ip",
        &[
            "route",
            "replace",
            "blackhole",
            &format!("{}/32", settings.peer_inner),
        ],
    )
}

async fn load(settings: &DatacentreSettings) -> Outcome {
    let text = |name: &Path| fs::read_to_string(Path::new(SETTINGS).join(name));
    let authority = text(&settings.authority)?;
    let certificate = text(&settings.certificate)?;
    let mut client = rsvici::unix::connect(SOCKET).await?;
    say(
        &mut client,
        "load-cert",
        Certificate {
            kind: "X509",
            flag: "CA",
            data: authority.clone(),
        },
    )
    .await?;
    say(
        &mut client,
        "load-key",
        Key {
            kind: "any",
            data: text(&settings.key)?,
        },
    )
    .await?;
    let child = Traffic {
        esp_proposals: [
            "aes256gcm16-x25519-ke1_mlkem768-esn",
            "aes256gcm16-ecp384-esn",
        ],
        local_ts: [format!("{}/32", settings.inner)],
        remote_ts: [format!("{}/32", settings.peer_inner)],
    };
    let connection = Connection {
        version: "2",
        proposals: [
            "aes256gcm16-prfsha384-x25519-ke1_mlkem768",
            "aes256gcm16-prfsha384-ecp384",
        ],
        dpd_delay: "10s",
        // A box that comes back after a mains cut has forgotten its old association.
        unique: "replace",
        local: Side {
            auth: "pubkey",
            id: settings.identity.clone(),
            certs: vec![certificate],
            cacerts: Vec::new(),
        },
        remote: Side {
            auth: "pubkey",
            id: settings.peer_identity.clone(),
            certs: Vec::new(),
            cacerts: vec![authority],
        },
        children: BTreeMap::from([("data", child)]),
    };
    say(
        &mut client,
        "load-conn",
        BTreeMap::from([("box", connection)]),
    )
    .await
}

async fn say(client: &mut rsvici::Client, command: &str, message: impl Serialize) -> Outcome {
    let outcome: Reply = client.request(command, message).await?;
    match outcome.success {
        true => Ok(()),
        false => Err(format!(
            "charon refused {command}: {}",
            outcome.errmsg.unwrap_or_default()
        )
        .into()),
    }
}
