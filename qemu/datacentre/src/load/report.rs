//! The figures of one run.

use super::Settings;
use super::ceiling::Ceiling;
use super::clients::{Driven, Negotiated};
use super::server::Taken;
use serde::Serialize;
use std::fmt;

const MIB: f64 = 1024.0 * 1024.0;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub server: &'static str,
    pub boxes: usize,
    pub bundles: usize,
    pub bundle_bytes: usize,
    pub seconds: f64,
    pub mib_per_second: f64,
    pub bundles_per_second: f64,
    /// From the first byte of a bundle until it was durable, receipt verified.
    pub latency_ms: Latency,
    /// Peak over the run, of all processes of the receiver.
    pub server_resident_mib: f64,
    pub server_descriptors: usize,
    pub server_processor_seconds: f64,
    pub tls: Negotiated,
    pub ceiling: Option<Ceiling>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Latency {
    /// Of at least one sample, in seconds.
    fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let index = (seconds.len() * percent).div_ceil(100).saturating_sub(1);
            seconds.get(index).map_or(f64::NAN, |value| value * 1000.0)
        };
        Self {
            p50: at(50),
            p95: at(95),
            p99: at(99),
            max: at(100),
        }
    }
}

impl Report {
    pub(super) fn new(settings: &Settings, driven: Driven, taken: Taken, tls: Negotiated) -> Self {
        let Driven { seconds, latencies } = driven;
        let delivered = latencies.len() as f64;
        Self {
            server: match settings.nginx {
                None => "datacentre receive",
                Some(_) => "nginx",
            },
            boxes: settings.boxes,
            bundles: latencies.len(),
            bundle_bytes: settings.bytes,
            seconds,
            mib_per_second: delivered * settings.bytes as f64 / MIB / seconds,
            bundles_per_second: delivered / seconds,
            latency_ms: Latency::of(latencies),
            server_resident_mib: taken.resident_mib,
            server_descriptors: taken.descriptors,
            server_processor_seconds: taken.processor_seconds,
            tls,
            ceiling: None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { p50, p95, p99, max } = self.latency_ms;
        writeln!(
            f,
            "{}: {} boxes delivered {} bundles of {} bytes, all durable, verified and identical on the disk",
            self.server, self.boxes, self.bundles, self.bundle_bytes
        )?;
        writeln!(
            f,
            "  {:.2} s, {:.1} MiB/s, {:.1} bundles/s",
            self.seconds, self.mib_per_second, self.bundles_per_second
        )?;
        writeln!(
            f,
            "  a bundle took {p50:.0} ms in the median, 95 % {p95:.0} ms, 99 % {p99:.0} ms, at most {max:.0} ms"
        )?;
        writeln!(
            f,
            "  receiver: {:.0} MiB resident, {} descriptors at most, {:.2} s of processor time",
            self.server_resident_mib, self.server_descriptors, self.server_processor_seconds
        )?;
        let Negotiated {
            version,
            cipher,
            key_exchange,
        } = &self.tls;
        writeln!(f, "  {version}, {cipher}, {key_exchange}")?;
        match &self.ceiling {
            Some(ceiling) => writeln!(f, "  {ceiling}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_and_the_last_is_the_largest() {
        let latency = Latency::of((1..=200).rev().map(f64::from).collect());
        assert_eq!(
            [latency.p50, latency.p95, latency.p99, latency.max],
            [100e3, 190e3, 198e3, 200e3]
        );
        let one = Latency::of(vec![0.5]);
        assert_eq!([one.p50, one.max], [500.0, 500.0]);
    }
}
