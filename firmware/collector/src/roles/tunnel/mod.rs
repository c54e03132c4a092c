//! Role `tunnel`: loads the one connection into charon over VICI, brings it up, watches it, and says why it is not up.
//!
//! Invariants
//! 1. charon knows one connection, built from the plan alone ([`connection`]); it starts nothing itself. So there is one
//!    place that decides when to try, here, and never two attempts at once.
//! 2. ML-KEM is offered only after charon said that it has it: it accepts a proposal with an algorithm that it lacks.
//! 3. `tunnel-up` and `tunnel-down` are in the trail on each change, once, with the reason where charon gave one.
//! 4. Nothing here can let traffic past the tunnel: policies belong to the XFRM interface alone, and this role has no
//!    network and no capability. A tunnel that is down means silence.
//!
//! A charon that was restarted has forgotten everything: the control socket breaks, and the role begins anew.
//!
//! Trusts: the plan and the files that it names; charon's answers. Protocol: strongSwan's `plugins/vici/README.md`.

mod charon;
mod connection;
mod pace;
mod reason;

use crate::runtime::{Runtime, chain};
use charon::{Association, Charon, CharonError};
use pace::Pace;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// charon's control socket.
const SOCKET: &str = "/run/charon/charon.vici";
/// Longest time between two looks at the associations, should an event ever be missed. Each look makes a locked-down
/// kernel complain that it shows no keys, so looks are rare.
const LOOK: Duration = Duration::from_secs(20);
/// How long one attempt may take before its reason is told: longer than charon's own five transmissions (46 s, see
/// `config/strongswan.conf`).
const ATTEMPT: Duration = Duration::from_secs(60);

/// What ends the role; `init` starts it again.
#[derive(Debug)]
enum TunnelError {
    Threads(std::io::Error),
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    NoInterface {
        name: String,
    },
    Charon(CharonError),
}

impl std::fmt::Display for TunnelError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Threads(_) => write!(f, "cannot start the event loop"),
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::NoInterface { name } => write!(f, "the plan has no interface {name:?}"),
            Self::Charon(_) => write!(f, "charon does not do as told"),
        }
    }
}

impl std::error::Error for TunnelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Threads(source) | Self::Read { source, .. } => Some(source),
            Self::NoInterface { .. } => None,
            Self::Charon(source) => Some(source),
        }
    }
}

impl From<CharonError> for TunnelError {
    fn from(error: CharonError) -> Self {
        Self::Charon(error)
    }
}

pub fn run(runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    let plan = runtime.plan()?;
    let threads = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(TunnelError::Threads)?;
    threads.block_on(async {
        let mut charon = Charon::connect(&runtime.path(SOCKET)).await?;
        let changed = charon::changes(&runtime.path(SOCKET)).await?;
        load(&runtime, &plan, &mut charon).await?;
        runtime.ready();
        let mut watch = Watch::new(&runtime, &plan.tunnel);
        tokio::select! {
            ended = watch.keep(&mut charon, &changed) => ended,
            never = stay_alive(&runtime) => never,
        }
    })?;
    Ok(())
}

/// Tells `init` that the event loop runs. Every wait in it is bounded, so a loop that runs gets on.
async fn stay_alive(runtime: &Runtime) -> Result<(), TunnelError> {
    let mut period = tokio::time::interval(runtime.longest_wait());
    loop {
        period.tick().await;
        runtime.alive();
    }
}

/// Gives charon the authority, our key and the connection.
async fn load(
    runtime: &Runtime,
    plan: &site::Plan,
    charon: &mut Charon,
) -> Result<(), TunnelError> {
    let tunnel = &plan.tunnel;
    let read = |path: &PathBuf| {
        let path = runtime.path(path);
        std::fs::read_to_string(&path).map_err(|source| TunnelError::Read { path, source })
    };
    let outside = plan
        .interfaces
        .iter()
        .find(|interface| interface.name == tunnel.interface);
    let outside = outside.ok_or_else(|| TunnelError::NoInterface {
        name: tunnel.interface.clone(),
    })?;
    let authority = read(&tunnel.authority)?;
    let post_quantum = charon.key_exchanges().await?.contains("ML_KEM_768");
    if !post_quantum {
        runtime.log("this charon has no ML-KEM-768: key exchange is by elliptic curves alone");
    }
    charon.load_authority(&authority).await?;
    charon.load_key(&read(&tunnel.key)?).await?;
    let connection = connection::build(
        tunnel,
        outside.address,
        read(&tunnel.certificate)?,
        authority,
        post_quantum,
    );
    charon.load_connection(&connection).await?;
    Ok(())
}

/// What was last told of the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Up,
    Down(String),
}

struct Watch<'a> {
    runtime: &'a Runtime,
    peer: String,
    told: Told,
    pace: Pace,
    due: Instant,
}

impl<'a> Watch<'a> {
    fn new(runtime: &'a Runtime, tunnel: &site::Tunnel) -> Self {
        Self {
            runtime,
            peer: tunnel.peer.to_string(),
            told: Told::Nothing,
            pace: Pace::new(),
            due: Instant::now(),
        }
    }

    /// Brings the tunnel up and keeps it so.
    async fn keep(&mut self, charon: &mut Charon, changed: &Notify) -> Result<(), TunnelError> {
        self.publish("connecting", None);
        loop {
            let mut next = Instant::now() + LOOK;
            match charon.association().await? {
                Association::Installed { ike, esp } => {
                    self.up(&ike, &esp);
                    self.pace = Pace::new();
                    self.due = Instant::now();
                }
                Association::Underway => {}
                Association::None => {
                    if self.told == Told::Up {
                        self.down("the peer no longer answers, or closed the tunnel");
                    }
                    if Instant::now() >= self.due && self.attempt(charon).await? {
                        continue;
                    }
                    next = next.min(self.due);
                }
            }
            // the end of the wait is as good as a change: both lead to a look
            let _ = timeout_at(next, changed.notified()).await;
        }
    }

    /// Whether it came up.
    async fn attempt(&mut self, charon: &mut Charon) -> Result<bool, TunnelError> {
        let attempt = charon.initiate(ATTEMPT).await?;
        // also after a success: a tunnel that is closed at once is not hammered at
        self.due = Instant::now() + self.pace.pause();
        if let Some(lines) = &attempt.failed {
            self.down(&reason::of(lines, &self.peer));
        }
        Ok(attempt.failed.is_none())
    }

    fn up(&mut self, ike: &str, esp: &str) {
        if self.told == Told::Up {
            return;
        }
        self.told = Told::Up;
        self.runtime.publish(
            &serde_json::json!({ "state": "up", "peer": self.peer, "ike": ike, "esp": esp }),
        );
        self.tell(
            "tunnel-up",
            serde_json::json!({ "peer": self.peer, "ike": ike, "esp": esp }),
        );
    }

    /// A tunnel that never was up is told as down too, with its reason: somebody has to act on it.
    fn down(&mut self, reason: &str) {
        let told = Told::Down(reason.to_owned());
        if self.told == told {
            return;
        }
        self.told = told;
        self.publish("down", Some(reason));
        self.tell(
            "tunnel-down",
            serde_json::json!({ "peer": self.peer, "reason": reason }),
        );
    }

    fn publish(&self, state: &str, problem: Option<&str>) {
        let mut status = serde_json::json!({ "state": state, "peer": self.peer });
        if let Some(problem) = problem {
            status["problem"] = problem.into();
            status["advice"] = "nothing is lost: what was sealed waits in the spool".into();
        }
        self.runtime.publish(&status);
    }

    fn tell(&self, event: &str, fields: serde_json::Value) {
        if let Err(error) = self.runtime.audit(event, fields) {
            self.runtime
                .log(&format!("{event} is not in the trail: {}", chain(&error)));
        }
    }
}
