//! Role `intake`: finds what is new and whole on the hospital's shares and seals it into the spool.
//!
//! One walking thread a source ([`walk`]) does everything that may wait for its share, so that one that hangs holds up
//! no other; a second one helps it with listings ([`scan`]). What they find goes into one catalogue and one bundle in the
//! making ([`collection`]), which a thread of its own seals in time. Newest dates come first ([`bands`], [`quota`]), and
//! [`hints`] say where to look before that. The main thread gives signs of life, erases bundles against receipts ([`receipts`]),
//! publishes the status, and notices a share that no longer answers; it never touches a share.
//!
//! Invariants
//! 1. Every version of a file that two looks found whole goes into exactly one durable bundle: [`sealing`] has the
//!    argument for each instant of a cut.
//! 2. Nothing is read as a removal unless the share was there before and after it was missed, twice: [`walk`],
//!    [`take`].
//! 3. Plaintext stays in memory. Names and contents of the hospital's files are in no log, record, status or error.
//! 4. Memory is bounded: pieces of listings, bounded queues ([`looks`]), one bundle in the making and one sealed, and a
//!    bundle's contents of one unit for each source of extended storage.
//! 5. A content folder of extended storage is looked at, waited for and taken as one unit ([`units`]).
//! 6. Cost follows the changes where a share's times are honest ([`pacing`]); whether they are is tried all the time.
//!
//! Trusts: the kernel's file system clients to give what the server holds; the keyholder to sign; the trail to keep.
//! Of the share it trusts nothing: names are bytes, links are not followed, paths do not leave the root ([`share`]).

mod bands;
pub mod collection;
mod course;
pub mod decide;
pub mod error;
pub mod heal;
pub mod hints;
pub mod looks;
mod losses;
pub mod pacing;
mod quota;
pub mod receipts;
pub mod report;
mod ripening;
pub mod scan;
mod sealing;
pub mod share;
mod take;
mod units;
mod visit;
pub mod walk;
pub mod world;

use crate::runtime::Runtime;
use crate::runtime::audit::{AuditError, Patience};
use crate::runtime::keyholder::Key;
use bundle::{Recipient, Sealer, SignFailure, Signer};
use collection::{Intake, Settings, Shared};
use error::IntakeError;
use pacing::Pacing;
use receipts::Rule;
use report::SourceState;
use serde_json::Value;
use share::MountRule;
use site::{Plan, Receipts};
use spool::{Folder, Spool};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use world::{Step, Stopped, World};

/// Left free in the state partition for the audit trail, the catalogue's journal and the clock.
const RESERVE_BYTES: u64 = 64 << 20;

/// A share that has not answered one question for this long is reported as missing.
const NO_ANSWER: Duration = Duration::from_secs(120);

/// Between two looks of the main thread at receipts and status, and of the sealing one at the bundle in the making.
const BEAT: Duration = Duration::from_millis(500);

/// `init` mounts the shares while this role starts: one is missing only when it had this time to appear.
const MOUNTING: Duration = Duration::from_secs(15);

/// Stack of the walking thread; the queue of folders is moved over it once.
const STACK_BYTES: usize = 8 << 20;

pub fn run(runtime: Runtime) -> Result<(), Box<dyn Error>> {
    let runtime = Arc::new(runtime);
    let plan = runtime.plan()?;
    let sealer = sealer(&runtime, &plan)?;
    let rule = rule(&runtime, &plan)?;
    let disk = Folder::open(&runtime.path("/state/spool/bundles"))
        .map_err(|error| format!("cannot open and lock the spool: {error}"))?;
    let spool = Spool::open(disk, &plan.box_name, RESERVE_BYTES)?;
    let shared = Shared::new(spool, &plan.sources);
    let world = Surroundings {
        runtime: Arc::clone(&runtime),
        start: Instant::now(),
    };
    let walking = start_walking(&world, &plan, sealer, &shared)?;
    runtime.ready();
    let receipts = runtime.path("/state/spool/receipts");
    let beat = BEAT.min(runtime.longest_wait());
    let mut scrubbing = heal::Scrubbing::default();
    while !walking.iter().any(JoinHandle::is_finished) {
        runtime.alive();
        receipts::process(&world, &receipts, &rule, &shared.spool)?;
        scrubbing.beat(&world, &shared)?;
        report_hung(&world, &shared)?;
        publish(&runtime, &shared);
        std::thread::sleep(beat);
    }
    // none ends but by a fault; the others may hang at their shares and end with this process
    for thread in walking.into_iter().filter(JoinHandle::is_finished) {
        match thread.join() {
            Ok(result) => result?,
            Err(_) => return Err("a walking thread ended by a panic".into()),
        }
    }
    Ok(())
}

type Walking = JoinHandle<Result<(), IntakeError>>;

fn start_walking(
    world: &Surroundings,
    plan: &Plan,
    sealer: Sealer<Keyholder>,
    shared: &Arc<Shared<Folder>>,
) -> Result<Vec<Walking>, Box<dyn Error>> {
    let settings = Settings {
        mounts: world.runtime.path("/mnt"),
        mount_rule: MountRule::OwnDevice,
        sources: plan.sources.clone(),
        quiet: Duration::from_secs(plan.collection.quiet_seconds.into()),
        pacing: pacing(&plan.collection.pacing),
    };
    let period = Duration::from_secs(plan.collection.period_seconds.into());
    let catalogue = world.runtime.path("/state/catalogue/catalogue.sqlite");
    let intake = Intake::open(
        world.clone(),
        settings.clone(),
        &catalogue,
        Arc::clone(shared),
        sealer,
    )?;
    start_hints(world, &settings, shared);
    let (keeper, beats) = (intake.keeper(), world.clone());
    let mut threads =
        vec![
            std::thread::Builder::new()
                .name("seal".to_owned())
                .spawn(move || {
                    loop {
                        keeper.beat()?;
                        beats.pause(BEAT);
                    }
                })?,
        ];
    for (mut walker, source) in intake.into_walkers().into_iter().zip(&settings.sources) {
        let (world, settings, source) = (world.clone(), settings.clone(), source.clone());
        let thread = std::thread::Builder::new()
            .name("walk".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                await_mount(&world, &settings, &source);
                loop {
                    walker.turn(period)?;
                }
            })?;
        threads.push(thread);
    }
    Ok(threads)
}

/// Hints come by other threads, none of which is waited for.
fn start_hints(world: &Surroundings, settings: &Settings, shared: &Shared<Folder>) {
    hints::local::start(world, settings, &shared.hints);
    if let Some(listener) = crate::role_table::find("listener") {
        let log = world.clone();
        hints::socket::start(
            &world.runtime.path(hints::socket::SOCKET),
            listener.uid,
            &settings.sources,
            &shared.hints,
            move |text| log.log(text),
        );
    }
}

fn pacing(configured: &site::Pacing) -> Pacing {
    // hours and days were checked with the configuration
    let hour = |hour: u32| u8::try_from(hour % 24).unwrap_or_default();
    Pacing {
        requests_per_second: configured.requests_per_second,
        hours: (
            hour(configured.walk_from_hour),
            hour(configured.walk_to_hour),
        ),
        recent_days: configured.recent_days,
        verify: Duration::from_secs(u64::from(configured.verify_days) * 86_400),
        daily_quota: configured.daily_quota.into(),
        settle: pacing::SETTLE,
        threads: pacing::THREADS,
    }
}

/// Lets `init` finish mounting before the first round, within bounds.
fn await_mount(world: &Surroundings, settings: &Settings, source: &site::Source) {
    let root = Path::new("");
    let mounted =
        || share::Root::open(&settings.mounts, settings.mount_rule, &source.mount, root).is_ok();
    while world.uptime() < MOUNTING && !mounted() {
        world.pause(BEAT);
    }
}

fn sealer(runtime: &Arc<Runtime>, plan: &Plan) -> Result<Sealer<Keyholder>, Box<dyn Error>> {
    let mut recipients = Vec::new();
    for path in &plan.sealing.recipients {
        recipients.push(Recipient::from_pem(&read(runtime, path)?)?);
    }
    let certificate = read(runtime, &plan.sealing.certificate)?;
    let signer = Keyholder(Arc::clone(runtime));
    Ok(Sealer::new(
        plan.box_name.parse()?,
        recipients,
        &certificate,
        signer,
    )?)
}

fn rule(runtime: &Runtime, plan: &Plan) -> Result<Rule, Box<dyn Error>> {
    Ok(match &plan.upload.receipts {
        Receipts::Signed { certificate } => Rule::Signed(Box::new(
            bundle::signed::certificate_from_pem(&read(runtime, certificate)?)?,
        )),
        Receipts::None => Rule::Unsigned,
    })
}

fn read(runtime: &Runtime, path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    std::fs::read(runtime.path(path))
        .map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

/// A share that hangs blocks its walking thread; so it is the main thread that says so.
pub fn report_hung<D>(world: &impl World, shared: &Shared<D>) -> Result<(), IntakeError> {
    for (source, pulse) in shared.pulses.iter().enumerate() {
        if pulse.hung(world.uptime(), NO_ANSWER).is_none() {
            continue;
        }
        let state = SourceState::Missing {
            reason: "no answer".to_owned(),
        };
        let (name, transition) = {
            let mut report = shared.report();
            (
                report.sources[source].name.clone(),
                report.set_state(source, state.clone()),
            )
        };
        collection::announce(world, &name, transition, &state)?;
    }
    Ok(())
}

fn publish(runtime: &Runtime, shared: &Shared<Folder>) {
    let (bundles, bytes) = {
        let spool = shared.spool();
        (spool.queued().len(), spool.queued_bytes())
    };
    let mut status = shared.report().json(bundles, bytes);
    for (source, hints) in shared.hints.iter().enumerate() {
        status["sources"][source]["hints"] = hints.counts().json();
    }
    runtime.publish(&status);
}

/// Signs by asking the role that holds the key.
struct Keyholder(Arc<Runtime>);

impl Signer for Keyholder {
    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignFailure> {
        self.0
            .sign(Key::Sealing, digest)
            .map_err(|error| SignFailure(Box::new(error)))
    }
}

/// The world on the box.
#[derive(Clone)]
struct Surroundings {
    runtime: Arc<Runtime>,
    start: Instant,
}

impl World for Surroundings {
    fn unix_seconds(&self) -> u64 {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.as_secs())
    }

    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn wait(&self, longest: Duration, hints: &hints::Hints) {
        hints.wait(longest);
    }

    fn audit(&self, event: &str, fields: Value) -> Result<(), Stopped> {
        match self.runtime.audit_with(event, fields, Patience::Endless) {
            Ok(_) => {}
            // it would be refused for ever: a fault of ours, which must not keep the hospital's data on the box
            Err(error @ AuditError::Refused(_)) => self.runtime.log(&crate::runtime::chain(&error)),
            Err(error) => {
                self.runtime.log(&crate::runtime::chain(&error));
                return Err(Stopped);
            }
        }
        Ok(())
    }

    fn log(&self, text: &str) {
        self.runtime.log(text);
    }

    fn step(&self, _: Step) -> Result<(), Stopped> {
        Ok(())
    }
}
