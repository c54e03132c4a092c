//! Role `maintenance`: reads the commissioning disc, stores what it accepts, and leaves the plan for all roles.
//!
//! 1. Nothing starts on a faulty configuration: only its readiness lets `init` start the others, and it is ready only
//!    after the plan is written.
//! 2. Every fault is shown, on the console and the serial log, as `site.toml:line:col: what is wrong, what is allowed`.
//! 3. A disc with faults is refused even where a good configuration is stored: somebody wanted a change that did not come
//!    about, and must be told.
//! 4. What is accepted is durable before it counts (`store`), and is checked again at each boot.
//!
//! Whom it trusts: nobody; a disc is anybody's. Updates and the export to DVD come later.

mod disc;
mod store;

use crate::runtime::audit::Patience;
use crate::runtime::{PLAN, Runtime, chain};
use disc::{DiscError, Unverified};
use serde_json::json;
use site::{AcceptedFile, Faults, Plan};
use std::path::Path;
use store::{Store, StoreError};

/// The plan with the shares' passwords.
const PLAN_OF_INIT: &str = "/run/site/init.json";
/// Where a refusal is remembered until the next boot, so that a restart of this role does not record it again.
const REFUSED: &str = "/run/site/refused";
/// Faults that the trail keeps; the console shows all.
const FAULTS_IN_TRAIL: usize = 20;
/// The trail is just being started.
const TRAIL: Patience = Patience::Seconds(20);

pub fn run(runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    match commission(&runtime) {
        Ok(digest) => {
            let state = "the configuration is accepted";
            runtime.publish(&json!({ "state": state, "digest": digest }));
            runtime.ready();
            Ok(())
        }
        Err(error) => {
            refuse(&runtime, &error);
            Err(error.into())
        }
    }
}

/// Disc, store, plan. Gives the digest of the accepted configuration.
fn commission(runtime: &Runtime) -> Result<String, CommissionError> {
    let store = Store::new(|path| runtime.path(path));
    store.settle()?;
    let stored = store.current()?;
    let (plan, digest) = match disc::read(&runtime.path("/mnt/disc"))? {
        Some(content) => accept(runtime, &store, stored.as_deref(), &content)?,
        None => {
            let generation = stored.ok_or(CommissionError::Nothing)?;
            let content = store.load(&generation)?;
            let (plan, _) = check(&content)?;
            runtime.log(&format!(
                "no disc, the stored configuration {generation} is used"
            ));
            (plan, generation)
        }
    };
    record(runtime, &store, &digest);
    leave(runtime, plan)?;
    Ok(digest)
}

fn check(content: &Unverified) -> Result<(Plan, Vec<AcceptedFile>), CommissionError> {
    site::check(&content.text, &content.files).map_err(CommissionError::Faults)
}

fn accept(
    runtime: &Runtime,
    store: &Store,
    stored: Option<&str>,
    content: &Unverified,
) -> Result<(Plan, String), CommissionError> {
    let (plan, files) = check(content)?;
    let digest = store::digest(content, &files);
    if stored == Some(digest.as_str()) {
        runtime.log(&format!("the disc holds the stored configuration {digest}"));
    } else {
        store.commit(&digest, content, &files)?;
        runtime.log(&format!(
            "configuration {digest} is stored; take the disc out and lock it away, it holds keys"
        ));
    }
    Ok((plan, digest))
}

/// Tells the trail about a generation until it knows.
fn record(runtime: &Runtime, store: &Store, digest: &str) {
    if store.is_recorded(digest) {
        return;
    }
    match runtime.audit_with("commissioned", json!({ "digest": digest }), TRAIL) {
        Ok(_) => store.mark_recorded(digest),
        Err(error) => runtime.log(&chain(&error)),
    }
}

/// Leaves the plan: for `init` whole and readable by nobody else, then for the other roles without passwords.
fn leave(runtime: &Runtime, plan: Plan) -> Result<(), CommissionError> {
    put(&runtime.path(PLAN_OF_INIT), &plan, 0o600)?;
    put(&runtime.path(PLAN), &plan.without_passwords(), 0o644)?;
    let _ = std::fs::remove_file(runtime.path(REFUSED));
    Ok(())
}

/// Written beside and renamed, so that a reader sees a whole one.
fn put(path: &Path, plan: &Plan, mode: u32) -> Result<(), CommissionError> {
    let fresh = path.with_extension("json.new");
    let _ = std::fs::remove_file(&fresh);
    let text = serde_json::to_vec(plan).map_err(CommissionError::Form)?;
    store::write(&fresh, &text, mode)?;
    let renamed = std::fs::rename(&fresh, path);
    renamed.map_err(|source| {
        CommissionError::Store(StoreError::Write {
            path: path.to_owned(),
            source,
        })
    })
}

/// Tells the operator, and the trail once for each boot and reason.
fn refuse(runtime: &Runtime, error: &CommissionError) {
    let lines = error.lines();
    let (advice, event) = match error {
        CommissionError::Nothing => (
            "insert a commissioning disc labelled COLLECTOR and restart",
            None,
        ),
        CommissionError::Store(_) => (
            "the state disk does not work: call the operator",
            Some("store"),
        ),
        _ => (
            "correct site.toml, make a new disc and restart; without a disc the stored one is used",
            Some("disc"),
        ),
    };
    runtime.publish(&json!({
        "state": "not commissioned", "problem": lines.first(), "faults": lines, "advice": advice
    }));
    let marker = runtime.path(REFUSED);
    let reason = lines.join("\n");
    if std::fs::read_to_string(&marker).is_ok_and(|before| before == reason) {
        return;
    }
    lines.iter().for_each(|line| runtime.log(line));
    runtime.log(advice);
    if event.is_some() {
        let first: Vec<&String> = lines
            .iter()
            .filter(|line| !line.starts_with("hint: "))
            .take(FAULTS_IN_TRAIL)
            .collect();
        let count = lines
            .iter()
            .filter(|line| !line.starts_with("hint: "))
            .count();
        let fields = json!({ "faults": first, "count": count });
        if let Err(error) = runtime.audit_with("configuration-refused", fields, TRAIL) {
            runtime.log(&chain(&error));
        }
    }
    remember(&marker, &reason);
}

fn remember(marker: &Path, reason: &str) {
    let _ = std::fs::write(marker, reason);
}

/// The box is not commissioned by this run.
#[derive(Debug)]
enum CommissionError {
    /// No disc and nothing stored.
    Nothing,
    Disc(DiscError),
    Faults(Faults),
    Store(StoreError),
    Form(serde_json::Error),
}

impl CommissionError {
    /// What the operator sees, a line each.
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Faults(faults) => faults.to_string().lines().map(str::to_owned).collect(),
            Self::Disc(error) => vec![chain(error)],
            Self::Store(error) => vec![chain(error)],
            Self::Nothing | Self::Form(_) => vec![chain(self)],
        }
    }
}

impl From<DiscError> for CommissionError {
    fn from(error: DiscError) -> Self {
        Self::Disc(error)
    }
}

impl From<StoreError> for CommissionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl std::fmt::Display for CommissionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => write!(f, "no configuration is stored and there is no disc"),
            Self::Disc(_) => write!(f, "the disc is refused"),
            Self::Faults(faults) => write!(
                f,
                "the configuration is refused, faults: {}",
                faults.count()
            ),
            Self::Store(_) => write!(f, "the configuration is not stored"),
            Self::Form(_) => write!(f, "the plan cannot be written as JSON"),
        }
    }
}

impl std::error::Error for CommissionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disc(source) => Some(source),
            Self::Store(source) => Some(source),
            Self::Form(source) => Some(source),
            Self::Nothing | Self::Faults(_) => None,
        }
    }
}
