//! Role `sender`: delivers sealed bundles, in the site's order, hours and pace, and keeps the receipts for `intake`, which erases.
//!
//! Invariants
//! 1. A receipt is written only after it was verified against the bundle's own bytes; it is whole and durable when its
//!    name exists. Where the site has no receipts, a mark takes its place once the server holds every byte.
//! 2. Bundles are only read here. A bundle is sent only after its name is durable: `intake` may just have renamed it, and
//!    a bundle that the data centre has must never be undone by a mains cut, or its number would be given twice.
//! 3. `delivered` is in the trail before the receipt's name exists, so no erasure can precede it. It is appended once for
//!    each bundle, except that a mains cut between the two makes the next start append it again.
//! 4. Every failure leads to another attempt: after a pause that grows up to a bound, and at once for a bundle that was
//!    not tried yet. So a cure is found without anybody's help.
//! 5. Outside the site's sending windows nothing is sent. One that ends is noticed between two chunks; the upload goes on
//!    from there in the next one.
//! 6. Whatever the backlog: no more than a few numbers and [`MOST_HELD`] names are held, and the spool is not listed for
//!    each bundle.
//! 7. Bytes that are not those that were appended are not sent: that bundle is held back, told once, and looked at again
//!    now and then, until `intake` has reported its loss and takes it away. The others go on. A bundle without a readable
//!    record is sent: nothing can be compared, and it proves itself at the data centre.
//! 8. This process holds no private key, sees no plaintext, and its only network interface is the tunnel's.
//!
//! Trusted: the plan and the site's files; the keyholder for signatures. Not trusted: the server, beyond what its
//! certificate and its receipts prove.

mod pace;
mod queue;
mod report;
mod spool;
mod watch;
mod window;

use crate::runtime::audit::AuditError;
use crate::runtime::keyholder::{self, Key};
use crate::runtime::{Runtime, chain};
use bundle::{BoxName, BundleName, SignFailure, Signer};
use pace::{Kind, Pace};
use queue::{Queue, Queued};
use report::Report;
use spool::{Opened, Spool, SpoolFault};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::{Instant, sleep_until};
use upload::client::Receipts;
use upload::{
    Advice, Bundle, Client, ClientConfig, Course, Delivered, Identity, Scope, ServerName, Target,
    TlsFault, TlsProfile, Trust, UploadError, receipt,
};
use watch::Watch;
use window::{Gate, gate};

/// Bundles that the server refused for their own sake. With more of them the others wait too: then it is no longer a
/// matter of single bundles.
const MOST_HELD: usize = 1024;

/// What ends the role; `init` starts it again.
#[derive(Debug)]
pub enum SenderError {
    Threads {
        source: std::io::Error,
    },
    Watch {
        path: PathBuf,
        source: std::io::Error,
    },
    ServerName {
        name: String,
    },
    BoxName(bundle::NameError),
    ReceiptCertificate {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    Spool(SpoolFault),
}

impl fmt::Display for SenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads { .. } => write!(f, "cannot start the event loop"),
            Self::Watch { path, .. } => write!(f, "cannot watch {}", path.display()),
            Self::ServerName { name } => write!(f, "{name:?} is no name of a server"),
            Self::BoxName(_) => write!(f, "the plan has no usable name of this box"),
            Self::ReceiptCertificate { path, .. } => {
                write!(f, "cannot use the receipt certificate {}", path.display())
            }
            Self::Spool(_) => write!(f, "cannot read the spool"),
        }
    }
}

impl std::error::Error for SenderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Threads { source } | Self::Watch { source, .. } => Some(source),
            Self::ServerName { .. } => None,
            Self::BoxName(source) => Some(source),
            Self::ReceiptCertificate { source, .. } => Some(source.as_ref()),
            Self::Spool(source) => Some(source),
        }
    }
}

pub fn run(runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    run_by(runtime, &SystemTime::now)
}

/// As [`run`], by another clock for the sending windows.
pub fn run_by(
    runtime: Runtime,
    clock: &dyn Fn() -> SystemTime,
) -> Result<(), Box<dyn std::error::Error>> {
    let plan = runtime.plan()?;
    let tls = Tls::new(&runtime, &plan.upload);
    let target = target(&runtime, &plan.upload)?;
    let spool = Spool::new(
        runtime.path("/state/spool/bundles"),
        runtime.path("/state/spool/receipts"),
    );
    let threads = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let threads = threads.map_err(|source| SenderError::Threads { source })?;
    threads.block_on(async {
        let watch = Watch::new(spool.bundles(), spool.receipts())?;
        runtime.ready();
        let mut client = Client::new(target);
        if let Some(ceiling) = plan.sending.most_bytes_per_second.and_then(NonZeroU32::new) {
            client = client.with_ceiling(ceiling);
        }
        let own = plan.box_name.parse::<BoxName>();
        let queue = Queue::new(plan.sending.order, own.map_err(SenderError::BoxName)?);
        let mut sender = Sender {
            runtime: &runtime,
            spool,
            watch,
            client,
            tls,
            report: Report::new(&runtime),
            queue,
            sending: plan.sending,
            clock,
            server: Pace::new(),
            held: BTreeMap::new(),
            open: None,
        };
        tokio::select! {
            ended = sender.work() => ended,
            never = stay_alive(&runtime) => never,
        }
    })?;
    Ok(())
}

/// Tells `init` that the event loop runs. Every wait in it is bounded, so a loop that runs gets on.
async fn stay_alive(runtime: &Runtime) -> Result<(), SenderError> {
    let mut period = tokio::time::interval(runtime.longest_wait());
    loop {
        period.tick().await;
        runtime.alive();
    }
}

fn target(runtime: &Runtime, upload: &site::Upload) -> Result<Target, SenderError> {
    let server_name =
        ServerName::try_from(upload.server_name.clone()).map_err(|_| SenderError::ServerName {
            name: upload.server_name.clone(),
        })?;
    let receipts = match &upload.receipts {
        site::Receipts::None => Receipts::None,
        site::Receipts::Signed { certificate } => {
            let path = runtime.path(certificate);
            Receipts::Signed(Box::new(
                read_certificate(&path)
                    .map_err(|source| SenderError::ReceiptCertificate { path, source })?,
            ))
        }
    };
    let address = SocketAddr::new(IpAddr::V4(upload.address), upload.port);
    Ok(Target {
        address,
        server_name,
        path: upload.path.clone(),
        receipts,
    })
}

fn read_certificate(
    path: &Path,
) -> Result<x509_cert::Certificate, Box<dyn std::error::Error + Send + Sync>> {
    Ok(bundle::signed::certificate_from_pem(&std::fs::read(path)?)?)
}

/// The files of the TLS client, read anew for each connection.
struct Tls {
    certificate: PathBuf,
    authority: PathBuf,
    revocation_list: PathBuf,
    profile: TlsProfile,
    key: Arc<KeyOfBox>,
}

impl Tls {
    fn new(runtime: &Runtime, upload: &site::Upload) -> Self {
        Self {
            certificate: runtime.path(&upload.certificate),
            authority: runtime.path(&upload.authority),
            revocation_list: runtime.path(&upload.revocation_list),
            profile: match upload.tls {
                site::TlsProfile::Modern => TlsProfile::Modern,
                site::TlsProfile::Compat => TlsProfile::Compat,
            },
            key: Arc::new(KeyOfBox(runtime.path(keyholder::SOCKET))),
        }
    }

    fn config(&self) -> Result<ClientConfig, TlsFault> {
        let trust = Trust::load(&self.authority, &self.revocation_list)?;
        upload::tls::client_config(
            &trust,
            Identity::with_signer(&self.certificate, self.key.clone())?,
            self.profile,
        )
    }
}

/// The key of the client certificate, at the keyholder's socket.
struct KeyOfBox(PathBuf);

impl Signer for KeyOfBox {
    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignFailure> {
        keyholder::sign(&self.0, Key::Upload, digest)
            .map_err(|error| SignFailure(chain(&error).into()))
    }
}

/// Why one bundle is not yet delivered.
enum Failure {
    /// It has rotted in the spool.
    Rotten,
    Upload(UploadError),
    Spool(SpoolFault),
    Audit(AuditError),
}

impl From<SpoolFault> for Failure {
    fn from(fault: SpoolFault) -> Self {
        Self::Spool(fault)
    }
}

impl Failure {
    fn words(&self) -> String {
        match self {
            Self::Rotten => {
                "its bytes are not those that were sealed: it was damaged on the disk".to_owned()
            }
            Self::Upload(error) => chain(error),
            Self::Spool(error) => chain(error),
            Self::Audit(error) => chain(error),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Rotten => Kind::Damaged,
            Self::Upload(error) if error.advice() == Advice::Stop => Kind::Refused,
            _ => Kind::Passing,
        }
    }

    fn scope(&self) -> Scope {
        match self {
            Self::Rotten => Scope::Bundle,
            Self::Upload(error) => error.scope(),
            Self::Spool(_) | Self::Audit(_) => Scope::Server,
        }
    }
}

struct Sender<'a> {
    runtime: &'a Runtime,
    spool: Spool,
    watch: Watch,
    client: Client,
    tls: Tls,
    report: Report<'a>,
    queue: Queue,
    sending: site::Sending,
    clock: &'a dyn Fn() -> SystemTime,
    /// Pauses after failures that concern every bundle.
    server: Pace,
    /// Bundles that the server refused for their own sake: the others go on.
    held: BTreeMap<BundleName, (Pace, Instant)>,
    /// The bundle last tried, so that it is not read anew for each attempt while the tunnel is down.
    open: Option<Bundle>,
}

impl Sender<'_> {
    async fn work(&mut self) -> Result<(), SenderError> {
        self.list()?;
        loop {
            let changes = self.watch.take();
            self.queue
                .look(&self.spool, &changes)
                .map_err(SenderError::Spool)?;
            let next = self.next().map_err(SenderError::Spool)?;
            let held = &self.held;
            self.report
                .queue(&self.queue, |name| held.contains_key(name));
            if let (Some(_), Gate::Closed { opens_in }) = (&next, self.gate()) {
                self.client.disconnect();
                self.report.outside_windows(opens_in);
                // The clock may be set meanwhile, so it is asked again now and then.
                self.wait(Instant::now() + opens_in.min(watch::LONGEST))
                    .await;
                continue;
            }
            let Some(next) = next else {
                self.open = None;
                let listing_due = Instant::now() + watch::LONGEST;
                let due = self.held.values().map(|(_, due)| *due).min();
                self.wait(due.map_or(listing_due, |due| due.min(listing_due)))
                    .await;
                if Instant::now() >= listing_due {
                    self.list()?;
                }
                continue;
            };
            match self.deliver(&next.name).await {
                Ok(()) => {
                    self.server = Pace::new();
                    self.held.remove(&next.name);
                    self.queue.delivered(next.size);
                }
                Err(Failure::Upload(UploadError::Paused { .. })) => {}
                Err(failure) => self.failed(next.name, &failure).await,
            }
        }
    }

    fn list(&mut self) -> Result<(), SenderError> {
        self.queue.list(&self.spool).map_err(SenderError::Spool)
    }

    fn gate(&self) -> Gate {
        gate(&self.sending, (self.clock)())
    }

    /// A held bundle whose time has come, or the next in order.
    fn next(&mut self) -> Result<Option<Queued>, SpoolFault> {
        let now = Instant::now();
        while let Some(name) = self.due(now) {
            if let Some(size) = self.spool.waiting(&name)? {
                return Ok(Some(Queued { name, size }));
            }
            self.held.remove(&name);
        }
        if self.held.len() >= MOST_HELD {
            return Ok(None);
        }
        let held = &self.held;
        self.queue.next(&self.spool, |name| held.contains_key(name))
    }

    fn due(&self, now: Instant) -> Option<BundleName> {
        let due = self.held.iter().find(|(_, (_, due))| *due <= now);
        due.map(|(name, _)| name.clone())
    }

    /// Waits for a change of the spool, or for a moment.
    async fn wait(&mut self, until: Instant) {
        tokio::select! {
            () = self.watch.changed() => {}
            () = sleep_until(until) => {}
        }
    }

    async fn failed(&mut self, name: BundleName, failure: &Failure) {
        let concern = match failure.scope() {
            Scope::Bundle => Some(name.clone()),
            Scope::Server => None,
        };
        self.report
            .failed(&name, concern, &failure.words(), failure.kind());
        match failure.scope() {
            Scope::Bundle => {
                let (pace, due) = self
                    .held
                    .entry(name)
                    .or_insert_with(|| (Pace::new(), Instant::now()));
                *due = Instant::now() + pace.pause(failure.kind());
            }
            Scope::Server => sleep_until(Instant::now() + self.server.pause(failure.kind())).await,
        }
    }

    async fn deliver(&mut self, name: &BundleName) -> Result<(), Failure> {
        let bundle = match self.open.take() {
            Some(bundle) if bundle.name == *name => bundle,
            _ => match self.spool.open(name)? {
                Opened::Whole(bundle) => bundle,
                Opened::Rotten => return Err(Failure::Rotten),
            },
        };
        let bundle = self.open.insert(bundle);
        let (tls, report) = (&self.tls, &mut self.report);
        let (sending, clock) = (&self.sending, self.clock);
        let config = || tls.config();
        let course = |offset| {
            report.progress(name, offset);
            match gate(sending, clock()) {
                Gate::Open => Course::GoOn,
                Gate::Closed { .. } => Course::Pause,
            }
        };
        let delivered = self.client.deliver_while(bundle, &config, course);
        let proof = match delivered.await.map_err(Failure::Upload)? {
            Delivered::Receipt(receipt) => receipt.der().to_vec(),
            Delivered::Unsigned => receipt::unsigned_mark(name, bundle.size(), bundle.sha256()),
        };
        let written = self.spool.write_receipt(name, &proof)?;
        let fields = serde_json::json!({ "bundle": name.to_string(), "number": name.sequence() });
        self.runtime
            .audit("delivered", fields)
            .map_err(Failure::Audit)?;
        written.publish()?;
        self.open = None;
        self.report.delivered(name);
        Ok(())
    }
}
