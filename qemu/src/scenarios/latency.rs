//! Given a box that walks every ten minutes; when a system of the hospital writes files over SMB, one after the other; then
//! each is durable long before the next walk can begin: the server has told of it. Given the same box with a short period,
//! and files on a share whose server tells of nothing (NFS); then its walks find each of them.
//!
//! The time from a file being whole to its bundle being durable is reported as a distribution for both, and judged by no
//! test: it is `latency.json` in the run's folder, and two lines on the screen. All times are the host's: a file counts as
//! whole when the hospital's agent has answered that it is closed, and a bundle as durable when its record `sealed`, written
//! after the disk's flush, is seen on the serial log. Both come late by what a virtual serial port takes, some
//! milliseconds, so that a difference is wrong by about as much.

use super::{Depth, Outcome, SEED, SMALL_STORE, must};
use crate::Inputs;
use crate::events::Event;
use crate::limits::{BOX_REPORTS, DELIVERY};
use crate::nbd::Loss;
use crate::pki::Pki;
use crate::rig::{DELIVERED, Lab, LabError, Setting};
use crate::site_disc::SiteDisc;
use crate::stock;
use lab_guest::{Action, Service, WRITTEN};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of the box that is told; the second walk begins no sooner than half of it after the start.
const SELDOM: Duration = Duration::from_secs(600);
/// Of the box that is not. The emulated machine takes up to 8 s for one walk; the box promises a period of more than twice that.
const OFTEN: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_secs(1);
/// What is aimed at for a server's word, beside the quiet time.
const AIM: Duration = Duration::from_secs(3);

/// The hospital's pace of writing. Not a multiple of any of the box's own times.
const BETWEEN: Duration = Duration::from_millis(1370);

/// Collected roots that the box mounts over SMB and over NFS.
const OVER_SMB: &str = "samples";
const OVER_NFS: &str = "std";

fn files(depth: Depth) -> u32 {
    match depth {
        Depth::Short => 40,
        Depth::Full => 200,
    }
}

pub fn story(inputs: &Inputs, depth: Depth) -> Result<Outcome, LabError> {
    let mut lab = Lab::start(inputs, "latency", &Setting::default())?;
    lab.hospital_opens_with(SEED, SMALL_STORE, 0)?;
    lab.hospital
        .agent
        .start(Service::Writer)
        .map_err(LabError::Agent)?;
    lab.datacentre_opens()?;
    let told = told(&mut lab, depth)?;
    lab.collector.cut_mains(Loss::All).map_err(LabError::Box)?;
    let found = found(&mut lab, depth)?;
    report(&lab, &[told, found])?;
    Ok(Outcome::Passed)
}

/// The distribution of one way by which files are noticed.
struct Figures {
    way: &'static str,
    period: Duration,
    aim: Duration,
    /// The least first.
    took: Vec<Duration>,
}

impl Figures {
    fn at(&self, percent: usize) -> f64 {
        let place = (self.took.len() * percent).div_ceil(100).max(1) - 1;
        self.took.get(place).map_or(0.0, Duration::as_secs_f64)
    }
}

/// The server of an SMB share tells.
fn told(lab: &mut Lab, depth: Depth) -> Result<Figures, LabError> {
    let on = lab.collector.serial().clock();
    box_boots_to_walk_every(lab, SELDOM)?;
    lab.collector
        .wait_for_line(BOX_REPORTS, "listener: share emr: the server is asked")
        .map_err(LabError::Wait)?;
    // the first walk has found all that there is; an empty file it waits for longer
    lab.wait_until(|comparison| comparison.lost < 3)?;
    let times = measure(lab, OVER_SMB, 1..=files(depth))?;
    let last = times.iter().map(|(_, durable)| *durable).max();
    must(
        last.unwrap_or(SELDOM).saturating_sub(on) < SELDOM / 2,
        || "the last file was durable only when another walk may have found it".to_owned(),
    )?;
    Ok(figures("told", SELDOM, QUIET + AIM, &times))
}

/// Walks find what nobody tells.
fn found(lab: &mut Lab, depth: Depth) -> Result<Figures, LabError> {
    box_boots_to_walk_every(lab, OFTEN)?;
    let first = files(depth) + 1;
    // walks are under way when this one is durable
    measure(lab, OVER_NFS, first..=first)?;
    let times = measure(lab, OVER_NFS, first + 1..=first + files(depth))?;
    Ok(figures("found", OFTEN, OFTEN, &times))
}

fn box_boots_to_walk_every(lab: &mut Lab, period: Duration) -> Result<(), LabError> {
    let period = format!("period-seconds = {}", period.as_secs());
    let disc = SiteDisc::right(&lab.pki).with("period-seconds = 2", &period);
    lab.commission(&disc, &period.replace(' ', ""))?;
    lab.box_boots()
}

fn figures(
    way: &'static str,
    period: Duration,
    aim: Duration,
    times: &[(Duration, Duration)],
) -> Figures {
    let took = times
        .iter()
        .map(|(whole, durable)| durable.saturating_sub(*whole));
    let mut took: Vec<_> = took.collect();
    took.sort_unstable();
    Figures {
        way,
        period,
        aim,
        took,
    }
}

/// Lets the hospital write, and waits for all of it. Gives when each file was whole, and when it was durable.
fn measure(
    lab: &mut Lab,
    root: &str,
    orders: RangeInclusive<u32>,
) -> Result<Vec<(Duration, Duration)>, LabError> {
    lab.collector.mark();
    let mut whole = BTreeMap::new();
    for order in orders {
        let (path, name) = place(root, order);
        // as hospital systems do: some write in place, some under another name first
        let first = path.with_extension("tmp");
        let action = Action::Write {
            renamed_from: order.is_multiple_of(2).then_some(first),
            path,
        };
        lab.hospital
            .agent
            .ask(&action, format!("message {order}\r").as_bytes())
            .map_err(LabError::Agent)?;
        whole.insert(name, lab.collector.serial().clock());
        std::thread::sleep(BETWEEN);
    }
    let durable = durable(lab, &whole)?;
    Ok(whole
        .iter()
        .map(|(name, whole)| (*whole, durable[name]))
        .collect())
}

/// Each patient one file, in folders that are new.
fn place(root: &str, order: u32) -> (PathBuf, String) {
    let patient = format!("77{order:08}");
    let name = format!("{patient}_20240401_OMP-01_{order:015}_20240401101500123_01_1");
    let folder = format!(
        "{root}/{}/{}/{patient}/20240401/OMP-01",
        &patient[..3],
        &patient[3..6]
    );
    (Path::new(WRITTEN).join(folder).join(&name), name)
}

/// When the bundle with each file was durable.
fn durable(
    lab: &mut Lab,
    whole: &BTreeMap<String, Duration>,
) -> Result<BTreeMap<String, Duration>, LabError> {
    let (mut found, mut opened) = (BTreeMap::new(), BTreeSet::new());
    // more than that where a bundle of the first walk is among them
    let mut wanted = whole.len() as u64;
    while found.len() < whole.len() {
        let sealed = wait_until_delivered(lab, wanted)?;
        wanted = sealed
            .iter()
            .map(|event| event.number("files"))
            .sum::<u64>()
            + 1;
        lab.compare()?;
        for event in sealed {
            let bundle = event.text("bundle").to_owned();
            let file = lab.folder().join("received").join(&bundle);
            if !file.exists() || !opened.insert(bundle.clone()) {
                continue;
            }
            for name in names(&lab.pki, &file, &lab.folder().join("stock").join(bundle))? {
                if whole.contains_key(&name) {
                    found.entry(name).or_insert(event.at);
                }
            }
        }
    }
    Ok(found)
}

/// Waits until bundles with so many files were sealed since the mark and delivered. Gives their records `sealed`.
fn wait_until_delivered(lab: &Lab, files: u64) -> Result<Vec<Event>, LabError> {
    let (mut sealed, mut delivered) = (Vec::<Event>::new(), BTreeSet::new());
    let what = format!("bundles with {files} files delivered");
    let log = lab.collector.serial();
    log.wait_for(lab.collector.since(), DELIVERY, &what, |line| {
        let event = Event::in_line(line)?;
        match event.name.as_str() {
            "sealed" => sealed.push(event),
            DELIVERED => drop(delivered.insert(event.text("bundle").to_owned())),
            _ => return None,
        }
        let count: u64 = sealed.iter().map(|event| event.number("files")).sum();
        let all = sealed
            .iter()
            .all(|event| delivered.contains(event.text("bundle")));
        (count >= files && all).then_some(())
    })
    .map_err(LabError::Wait)?;
    Ok(sealed)
}

/// Names of the files in a bundle.
fn names(pki: &Pki, bundle: &Path, into: &Path) -> Result<Vec<String>, LabError> {
    let failed = |source| LabError::Folder {
        path: into.to_owned(),
        source,
    };
    std::fs::create_dir_all(into).map_err(failed)?;
    stock::open(bundle, pki, into).map_err(LabError::Pki)?;
    let manifest = std::fs::read(into.join("manifest.json")).map_err(failed)?;
    let manifest: Value = serde_json::from_slice(&manifest)
        .map_err(|error| LabError::Untrue(format!("a manifest is no JSON: {error}")))?;
    let entries = manifest["entries"].as_array().into_iter().flatten();
    let name = |entry: &Value| Some(entry["path"].as_str()?.rsplit('/').next()?.to_owned());
    Ok(entries.filter_map(name).collect())
}

fn report(lab: &Lab, all: &[Figures]) -> Result<(), LabError> {
    let mut report = json!({
        "name": "latency", "unit": "seconds from whole to durable", "quiet": QUIET.as_secs(),
    });
    for figures in all {
        let (p50, p95, most) = (figures.at(50), figures.at(95), figures.at(100));
        let (aim, period) = (figures.aim.as_secs(), figures.period.as_secs());
        let seconds: Vec<f64> = figures.took.iter().map(Duration::as_secs_f64).collect();
        report[figures.way] = json!({
            "files": seconds.len(), "period": period, "aim": aim, "p50": p50, "p95": p95, "max": most, "seconds": seconds,
        });
        println!(
            "latency: {} files {}, whole to durable in s: p50 {p50:.2}, p95 {p95:.2}, max {most:.2}; aim {aim}, quiet time {} and walks every {period}",
            seconds.len(),
            figures.way,
            QUIET.as_secs(),
        );
    }
    let path = lab.folder().join("latency.json");
    std::fs::write(&path, report.to_string()).map_err(|source| LabError::Folder { path, source })
}
