//! `receive`: eight boxes upload bundles of 64 MiB over mutual TLS, durable, to `datacentre receive` and to nginx.
//!
//! 1. `datacentre load` drives both: the same certificates, TLS configuration, bundles and threads. To ours it speaks as the
//!    box does (announcement, chunks of 4 MiB, signed receipt, verified); to nginx one PUT a bundle.
//! 2. nginx (DAV) writes a temporary file and renames it, and syncs nothing. So a PUT counts as done when the program has
//!    synced the file and its folder after the answer. Ours syncs each chunk before it answers, as tus promises.
//! 3. Every bundle of both is compared on the disk after each run; version, cipher and key exchange must be equal.
//!
//! Clients and server share this machine's cores. The limit is measured in the same run: as many writers as boxes that
//! write and sync the same bytes, with no network, cipher or digest.

use super::{Aim, Better, Comparison, Figure, Side, native};
use crate::cache::Cache;
use crate::peers::Peers;
use serde_json::Value;
use std::error::Error;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

const RUNS: usize = 5;
const BUNDLE: &[&str] = &["--boxes", "8", "--bundles", "2", "--bytes", "67108864"];
/// A box as shipped sends 4 MiB a request; this one sends a bundle in one.
const ONE_REQUEST: &[&str] = &["--chunk", "67108864"];

/// One run of `datacentre load`, its report.
pub struct Run(Value);

impl Run {
    pub fn new(
        work: &native::Workplace,
        program: &Path,
        options: &[impl AsRef<OsStr>],
    ) -> Result<Run, Box<dyn Error>> {
        let json = work.join("report.json");
        let output = Command::new(program)
            .arg("load")
            .args(options)
            .arg("--json")
            .arg(&json)
            .arg(work.join("run"))
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("datacentre load failed ({}): {said}", output.status).into());
        }
        Ok(Run(serde_json::from_str(&std::fs::read_to_string(&json)?)?))
    }

    /// A number by its JSON pointer; without it, not a number.
    pub fn number(&self, pointer: &str) -> f64 {
        self.0
            .pointer(pointer)
            .and_then(Value::as_f64)
            .unwrap_or(f64::NAN)
    }

    fn tls(&self) -> &Value {
        &self.0["tls"]
    }
}

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let peers = Peers::ensure(cache)?;
    let program = native::release(&["-p", "datacentre", "--bins"])?.join("datacentre");
    let work = native::Workplace::new("receive")?;
    let nginx = peers.program("nginx");
    let options = |more: &[&str]| -> Vec<std::ffi::OsString> {
        BUNDLE.iter().chain(more).map(Into::into).collect()
    };
    let mut with_nginx = options(&["--nginx"]);
    with_nginx.push(nginx.into());
    let mut whole = Vec::new();
    let (ours, peer) = native::in_turns(
        RUNS,
        || {
            whole.push(Run::new(&work, &program, &options(ONE_REQUEST))?);
            Run::new(&work, &program, &options(&["--ceiling"]))
        },
        || Run::new(&work, &program, &with_nginx),
    )?;
    // The first run of each side does not count.
    whole.remove(0);
    for run in ours.iter().chain(&peer).chain(&whole) {
        if run.tls() != ours[0].tls() {
            return Err(format!("TLS differs: {} and {}", run.tls(), ours[0].tls()).into());
        }
    }
    let side = |runs: &[Run], pointer: &str, unit: &'static str, more: &str| Side {
        unit,
        samples: runs.iter().map(|run| run.number(pointer)).collect(),
        command: format!("datacentre load {} {more}", BUNDLE.join(" ")),
    };
    let figure = |name, aim, better, ours: &[Run], pointer, unit, notes| Figure {
        name,
        aim,
        better,
        ours: side(ours, pointer, unit, "--ceiling"),
        peer: Some(side(&peer, pointer, unit, "--nginx nginx")),
        notes,
    };
    let limit = |what| side(&ours, what, "MiB/s", "--ceiling").median();
    let disk = limit("/ceiling/disk_mib_per_second");
    let digest = limit("/ceiling/sha256_mib_per_second");
    let rate = side(&ours, "/mib_per_second", "MiB/s", "").median();
    let nginx_rate = side(&peer, "/mib_per_second", "MiB/s", "").median();
    // clients and server keep all cores busy, so a further pass over the bytes adds its time to theirs
    let cores = super::store::cores() as f64;
    let with_digest = 1.0 / (1.0 / nginx_rate + 1.0 / (digest * cores));
    let notes = vec![
        format!(
            "the disk alone: {disk:.0} MiB/s written and synced; ours reaches {:.2} of it",
            rate / disk
        ),
        format!(
            "one core: SHA-256 {digest:.0} MiB/s, AES-256-GCM {:.0} MiB/s; our receiver hashes every byte once, nginx never",
            limit("/ceiling/aes_mib_per_second")
        ),
        format!(
            "nginx with that one SHA-256 on the same {cores} cores would receive {with_digest:.0} MiB/s, {:.2} of what it does; \
             ours reaches {:.2} of that",
            with_digest / nginx_rate,
            rate / with_digest
        ),
        format!("TLS of both: {}", ours[0].tls()),
    ];
    let aim = Some(Aim::Ratio(1.0));
    Ok(Comparison {
        name: "receive",
        limit: format!(
            "The cores, which clients and server share: a receipt is over the digest of the bundle, so a receiver of ours does what nginx \
             does and SHA-256 over every byte: {with_digest:.0} MiB/s here, a ratio of {:.2}. Nothing that receives durably is faster \
             than the disk, {disk:.0} MiB/s. nginx does not sync: each PUT is synced, file and folder, by the program after the answer.",
            with_digest / nginx_rate
        ),
        figures: vec![
            figure(
                "throughput",
                aim,
                Better::Larger,
                &ours,
                "/mib_per_second",
                "MiB/s",
                notes,
            ),
            figure(
                "throughput, one request",
                None,
                Better::Larger,
                &whole,
                "/mib_per_second",
                "MiB/s",
                vec!["ours with a bundle in one request: one sync fewer for each 4 MiB".to_owned()],
            ),
            figure(
                "a bundle durable, 95 %",
                None,
                Better::Smaller,
                &ours,
                "/latency_ms/p95",
                "ms",
                Vec::new(),
            ),
            figure(
                "server's processor time",
                None,
                Better::Smaller,
                &ours,
                "/server_processor_seconds",
                "s",
                vec!["of 1 GiB; ours with a digest over every byte and receipts".to_owned()],
            ),
            figure(
                "server's memory",
                None,
                Better::Smaller,
                &ours,
                "/server_resident_mib",
                "MiB",
                Vec::new(),
            ),
        ],
    })
}
