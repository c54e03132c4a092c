//! The part of VICI that the role uses, as typed calls. Every call has a bound in time.

use super::connection::{CHILD, Connection, IKE};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// An answer over a local socket; charon answers in milliseconds, or hangs.
const ANSWER: Duration = Duration::from_secs(20);
/// Lines of an attempt that are kept for its reason.
const LINES: usize = 200;

#[derive(Debug)]
pub enum CharonError {
    Connect {
        socket: PathBuf,
        source: std::io::Error,
    },
    Ask {
        command: &'static str,
        source: rsvici::Error,
    },
    Refused {
        command: &'static str,
        reason: String,
    },
    NoAnswer {
        command: &'static str,
    },
}

impl std::fmt::Display for CharonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect { socket, .. } => {
                write!(f, "cannot connect to charon at {}", socket.display())
            }
            Self::Ask { command, .. } => write!(f, "charon broke off at {command}"),
            Self::Refused { command, reason } => write!(f, "charon refused {command}: {reason}"),
            Self::NoAnswer { command } => {
                write!(
                    f,
                    "charon did not answer {command} within {} s",
                    ANSWER.as_secs()
                )
            }
        }
    }
}

impl std::error::Error for CharonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { source, .. } => Some(source),
            Self::Ask { source, .. } => Some(source),
            Self::Refused { .. } | Self::NoAnswer { .. } => None,
        }
    }
}

/// The tunnel as charon sees it.
#[derive(Debug, PartialEq, Eq)]
pub enum Association {
    None,
    /// Being set up or taken down.
    Underway,
    Installed {
        ike: String,
        esp: String,
    },
}

/// An attempt that ended.
pub struct Attempt {
    /// charon's log of a failed one.
    pub failed: Option<Vec<String>>,
}

pub struct Charon(rsvici::Client);

#[derive(Serialize)]
struct Certificate<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    flag: &'static str,
    data: &'a str,
}

#[derive(Serialize)]
struct PrivateKey<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    data: &'a str,
}

#[derive(Serialize)]
struct Initiate {
    child: &'static str,
    ike: &'static str,
    timeout: String,
}

#[derive(Serialize)]
struct OfIke {
    ike: &'static str,
}

#[derive(Deserialize)]
struct Reply {
    success: bool,
    errmsg: Option<String>,
}

#[derive(Deserialize)]
struct Algorithms {
    #[serde(default)]
    ke: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct LogLine {
    msg: String,
}

/// An association came or went; which one is asked afterwards.
#[derive(Deserialize)]
struct Change {}

/// Of `list-sa`, what is shown. `ake1`..`ake7` are the additional key exchanges.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct IkeState {
    state: String,
    encr_alg: Option<String>,
    encr_keysize: Option<String>,
    prf_alg: Option<String>,
    dh_group: Option<String>,
    ake1: Option<String>,
    child_sas: BTreeMap<String, ChildState>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct ChildState {
    state: String,
    encr_alg: Option<String>,
    encr_keysize: Option<String>,
    dh_group: Option<String>,
    ake1: Option<String>,
    esn: Option<String>,
}

/// Says that something changed, whenever an association comes or goes, and when charon itself goes.
///
/// It has a connection of its own, which it always drains: a client whose events nobody takes hears no answers either.
pub async fn changes(socket: &Path) -> Result<Arc<Notify>, CharonError> {
    let client = rsvici::unix::connect(socket).await;
    let mut client = client.map_err(|source| CharonError::Connect {
        socket: socket.to_owned(),
        source,
    })?;
    let changed = Arc::new(Notify::new());
    let teller = Arc::clone(&changed);
    tokio::spawn(async move {
        let associations = client.subscribe::<Change>("ike-updown");
        let children = client.subscribe::<Change>("child-updown");
        let mut both = pin!(futures_util::stream::select(associations, children));
        while both.next().await.is_some() {
            teller.notify_one();
        }
    });
    Ok(changed)
}

impl Charon {
    /// The role is started after charon's socket is there, so a refused connection is a fault.
    pub async fn connect(socket: &Path) -> Result<Self, CharonError> {
        let client = rsvici::unix::connect(socket).await;
        client.map(Self).map_err(|source| CharonError::Connect {
            socket: socket.to_owned(),
            source,
        })
    }

    /// Names of the key exchange methods that charon has.
    pub async fn key_exchanges(&mut self) -> Result<BTreeSet<String>, CharonError> {
        let algorithms: Algorithms = self.ask("get-algorithms", ()).await?;
        Ok(algorithms.ke.into_keys().collect())
    }

    pub async fn load_authority(&mut self, pem: &str) -> Result<(), CharonError> {
        self.tell(
            "load-cert",
            Certificate {
                kind: "X509",
                flag: "CA",
                data: pem,
            },
        )
        .await
    }

    pub async fn load_key(&mut self, pem: &str) -> Result<(), CharonError> {
        self.tell(
            "load-key",
            PrivateKey {
                kind: "any",
                data: pem,
            },
        )
        .await
    }

    pub async fn load_connection(&mut self, connection: &Connection) -> Result<(), CharonError> {
        self.tell("load-conn", BTreeMap::from([(IKE, connection)]))
            .await
    }

    pub async fn association(&mut self) -> Result<Association, CharonError> {
        let command = "list-sas";
        let listed = self
            .0
            .stream_request(command, "list-sa", OfIke { ike: IKE });
        let listed: Vec<BTreeMap<String, IkeState>> =
            collect(command, ANSWER, usize::MAX, listed).await?.0;
        Ok(sum_up(listed.into_iter().flat_map(BTreeMap::into_values)))
    }

    /// Tries to bring the tunnel up, and returns when it is up or the attempt has failed.
    pub async fn initiate(&mut self, limit: Duration) -> Result<Attempt, CharonError> {
        let command = "initiate";
        let message = Initiate {
            child: CHILD,
            ike: IKE,
            timeout: limit.as_millis().to_string(),
        };
        let lines = self.0.stream_request(command, "control-log", message);
        let (lines, refused) = collect::<LogLine>(command, limit + ANSWER, LINES, lines).await?;
        let mut lines: Vec<String> = lines.into_iter().map(|line| line.msg).collect();
        let failed = refused.map(|refusal| {
            lines.push(refusal);
            lines
        });
        Ok(Attempt { failed })
    }

    async fn tell(
        &mut self,
        command: &'static str,
        message: impl Serialize,
    ) -> Result<(), CharonError> {
        let reply: Reply = self.ask(command, message).await?;
        match reply.success {
            true => Ok(()),
            false => Err(CharonError::Refused {
                command,
                reason: reply.errmsg.unwrap_or_default(),
            }),
        }
    }

    async fn ask<T>(
        &mut self,
        command: &'static str,
        message: impl Serialize,
    ) -> Result<T, CharonError>
    where
        T: serde::de::DeserializeOwned,
    {
        match timeout(ANSWER, self.0.request(command, message)).await {
            Ok(answer) => answer.map_err(|source| CharonError::Ask { command, source }),
            Err(_) => Err(CharonError::NoAnswer { command }),
        }
    }
}

/// The last `most` items of an answer in pieces, and the words with which charon ended the command as failed.
async fn collect<T>(
    command: &'static str,
    limit: Duration,
    most: usize,
    pieces: impl Stream<Item = Result<T, rsvici::Error>>,
) -> Result<(Vec<T>, Option<String>), CharonError> {
    let mut pieces = pin!(pieces);
    let gather = async {
        let mut items = Vec::new();
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(item) => {
                    if items.len() == most {
                        items.remove(0);
                    }
                    items.push(item);
                }
                Err(error) if error.is_command_failed() => {
                    return Ok((items, Some(error.to_string())));
                }
                Err(source) => return Err(CharonError::Ask { command, source }),
            }
        }
        Ok((items, None))
    };
    match timeout(limit, gather).await {
        Ok(gathered) => gathered,
        Err(_) => Err(CharonError::NoAnswer { command }),
    }
}

/// Several associations exist for a moment while one replaces another: one that carries data decides.
fn sum_up(all: impl Iterator<Item = IkeState>) -> Association {
    let mut sum = Association::None;
    for ike in all {
        let installed = ike
            .child_sas
            .values()
            .find(|child| matches!(child.state.as_str(), "INSTALLED" | "REKEYING"));
        match installed {
            Some(child) if ike.state != "DELETING" => {
                let bits = |name: &Option<String>, size: &Option<String>| {
                    Some([name.clone()?, size.clone().unwrap_or_default()].join("-"))
                };
                let join = |parts: Vec<Option<String>>| {
                    parts.into_iter().flatten().collect::<Vec<_>>().join("/")
                };
                return Association::Installed {
                    ike: join(vec![
                        bits(&ike.encr_alg, &ike.encr_keysize),
                        ike.prf_alg.clone(),
                        ike.dh_group.clone(),
                        ike.ake1.clone(),
                    ]),
                    esp: join(vec![
                        bits(&child.encr_alg, &child.encr_keysize),
                        child.dh_group.clone(),
                        child.ake1.clone(),
                        child.esn.as_ref().map(|_| "ESN".to_owned()),
                    ]),
                };
            }
            // the peer closed or refused the data's association only: it can be set up again over this one
            _ if ike.state == "ESTABLISHED" && ike.child_sas.is_empty() => {}
            _ => sum = Association::Underway,
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ike(state: &str, child: Option<&str>) -> IkeState {
        let text = |text: &str| Some(text.to_owned());
        let child = child.map(|state| ChildState {
            state: state.into(),
            encr_alg: text("AES_GCM_16"),
            encr_keysize: text("256"),
            esn: text("1"),
            ..ChildState::default()
        });
        IkeState {
            state: state.into(),
            encr_alg: text("AES_GCM_16"),
            encr_keysize: text("256"),
            prf_alg: text("PRF_HMAC_SHA2_384"),
            dh_group: text("CURVE_25519"),
            ake1: text("ML_KEM_768"),
            child_sas: child
                .map(|child| ("data-1".to_owned(), child))
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn a_tunnel_is_up_when_a_child_is_installed_and_names_its_algorithms() {
        let up = Association::Installed {
            ike: "AES_GCM_16-256/PRF_HMAC_SHA2_384/CURVE_25519/ML_KEM_768".into(),
            esp: "AES_GCM_16-256/ESN".into(),
        };
        assert_eq!(
            sum_up([ike("ESTABLISHED", Some("INSTALLED"))].into_iter()),
            up
        );
    }

    #[test]
    fn an_old_association_beside_a_new_one_does_not_make_the_tunnel_down() {
        let both = [
            ike("DELETING", Some("INSTALLED")),
            ike("ESTABLISHED", Some("REKEYING")),
        ];
        assert!(matches!(
            sum_up(both.into_iter()),
            Association::Installed { .. }
        ));
    }

    #[test]
    fn an_association_that_is_being_set_up_is_underway_and_an_idle_one_is_no_tunnel() {
        assert_eq!(
            sum_up([ike("CONNECTING", None)].into_iter()),
            Association::Underway
        );
        assert_eq!(
            sum_up([ike("ESTABLISHED", Some("INSTALLING"))].into_iter()),
            Association::Underway
        );
        assert_eq!(
            sum_up([ike("ESTABLISHED", None)].into_iter()),
            Association::None
        );
        assert_eq!(sum_up(std::iter::empty()), Association::None);
    }
}
