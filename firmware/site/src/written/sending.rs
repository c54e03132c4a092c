//! The table `[sending]`: when, how fast and in which order bundles are sent. All of it is optional.

use super::single;
use crate::fault::Collector;
use crate::section::{At, Section};
use crate::{Order, Window, value};
use toml::de::DeTable;

/// Below this a bundle of 64 MiB takes more than an hour, and a chunk comes near the time that a server waits for one.
const LEAST_KILOBYTES: u32 = 16;
/// Far above any line of a hospital; the product in bytes fits 32 bits.
const MOST_KILOBYTES: u32 = 1_000_000;
/// Japan's, which has no daylight saving time.
const JAPAN_MINUTES: i16 = 9 * 60;
const MOST_WINDOWS: usize = 16;

pub(crate) struct Sending {
    /// 1000 bytes. `None` where there is no ceiling, or a fault was collected.
    pub(crate) most_kilobytes_per_second: Option<At<u32>>,
    pub(crate) windows: Option<Vec<At<Window>>>,
    pub(crate) utc_offset: Option<At<i16>>,
    pub(crate) order: Option<At<Order>>,
}

fn default<T>(value: T) -> Option<At<T>> {
    Some(At { value, span: 0..0 })
}

pub(super) fn read(faults: &mut Collector<'_>, root: &DeTable<'_>) -> Option<Sending> {
    let known = &[
        "most-kilobytes-per-second",
        "windows",
        "utc-offset",
        "order",
    ];
    if !root.contains_key("sending") {
        return Some(Sending {
            most_kilobytes_per_second: None,
            windows: Some(Vec::new()),
            utc_offset: default(JAPAN_MINUTES),
            order: default(Order::OldestFirst),
        });
    }
    let section = single(faults, root, "sending", "[sending]", known)?;
    let rate = LEAST_KILOBYTES..=MOST_KILOBYTES;
    let most_kilobytes_per_second = section
        .has("most-kilobytes-per-second")
        .then(|| section.number(faults, "most-kilobytes-per-second", rate, None))
        .flatten();
    Some(Sending {
        most_kilobytes_per_second,
        windows: windows(faults, &section),
        utc_offset: utc_offset(faults, &section),
        order: order(faults, &section),
    })
}

fn windows(faults: &mut Collector<'_>, section: &Section<'_, '_>) -> Option<Vec<At<Window>>> {
    if !section.has("windows") {
        return Some(Vec::new());
    }
    let count = 1..=MOST_WINDOWS;
    section.list(faults, "windows", value::WINDOW, count, value::window)
}

fn utc_offset(faults: &mut Collector<'_>, section: &Section<'_, '_>) -> Option<At<i16>> {
    if !section.has("utc-offset") {
        return default(JAPAN_MINUTES);
    }
    if !section.has("windows") {
        let message = "key \"utc-offset\" of [sending] has no use, allowed: only with windows";
        faults.fault(&section.key_span("utc-offset"), message.to_owned());
    }
    section.optional(faults, "utc-offset", value::UTC_OFFSET, value::utc_offset)
}

fn order(faults: &mut Collector<'_>, section: &Section<'_, '_>) -> Option<At<Order>> {
    if !section.has("order") {
        return default(Order::OldestFirst);
    }
    let allowed = "\"oldest-first\" or \"newest-first\"";
    section.optional(faults, "order", allowed, |text| match text {
        "oldest-first" => Some(Order::OldestFirst),
        "newest-first" => Some(Order::NewestFirst),
        _ => None,
    })
}
