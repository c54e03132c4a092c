//! Faults of the table that says when and how fast the box sends.

use crate::config_disc::{EXAMPLE, FILES};
use crate::{changed, faults};
use site::check;

#[test]
fn each_fault_of_the_sending_table_is_named_with_what_is_allowed() {
    changed(
        "most-kilobytes-per-second = 2000",
        "most-kilobytes-per-second = 15",
        &[
            "site.toml:149:29: key \"most-kilobytes-per-second\" of [sending] does not allow 15, allowed: a whole number from 16 to 1000000",
        ],
    );
    changed(
        "\"12:00-13:00\"",
        "\"12:00-12:00\"",
        &[
            "site.toml:152:27: key \"windows\" of [sending] does not allow \"12:00-12:00\", allowed: a part of the day as in \"19:00-06:30\", from 00:00 to 24:00, not empty; the end may be on the next day",
        ],
    );
    changed(
        "\"12:00-13:00\"",
        "\"06:29-13:00\"",
        &["site.toml:152:27: this window overlaps an earlier one, allowed: windows that are apart"],
    );
    changed(
        "windows = [\"19:00-06:30\", \"12:00-13:00\"]\n",
        "",
        &[
            "site.toml:154:1: key \"utc-offset\" of [sending] has no use, allowed: only with windows",
        ],
    );
    changed(
        "utc-offset = \"+09:00\"",
        "utc-offset = \"JST\"",
        &[
            "site.toml:155:14: key \"utc-offset\" of [sending] does not allow \"JST\", allowed: hours and minutes from UTC as in \"+09:00\", from -12:00 to +14:00 in quarters of an hour",
        ],
    );
    changed(
        "order = \"oldest-first\"",
        "order = \"random\"",
        &[
            "site.toml:157:9: key \"order\" of [sending] does not allow \"random\", allowed: \"oldest-first\" or \"newest-first\"",
        ],
    );
}

#[test]
fn all_faults_of_the_sending_table_come_at_once() {
    let text = EXAMPLE
        .replace(
            "kilobytes-per-second = 2000",
            "kilobytes-per-second = \"fast\"",
        )
        .replace("19:00-06:30", "19:00")
        .replace("+09:00", "+09:07")
        .replace("\"oldest-first\"\n", "1\n");
    let lines: Vec<_> = faults(&text, &FILES)
        .iter()
        .filter_map(|line| line.split(':').nth(1).map(str::to_owned))
        .collect();
    assert_eq!(lines, ["149", "152", "155", "157"]);
}

#[test]
fn a_window_is_two_times_of_the_day_that_differ() {
    for wrong in [
        "",
        "19:00",
        "19:00-",
        "-06:30",
        "7:00-08:00",
        "07:60-08:00",
        "24:00-01:00",
        "23:00-24:01",
        "00:00-25:00",
        "+1:00-02:00",
        "01:00 - 02:00",
        "０１:00-02:00",
    ] {
        let text = EXAMPLE.replace("\"19:00-06:30\", \"12:00-13:00\"", &format!("{wrong:?}"));
        let told = faults(&text, &FILES);
        assert_eq!(told.len(), 1, "{wrong}: {told:?}");
    }
    for (right, from, to) in [
        ("00:00-24:00", 0, 0),
        ("23:59-00:00", 1439, 0),
        ("22:00-24:00", 1320, 0),
    ] {
        let text = EXAMPLE.replace("\"19:00-06:30\", \"12:00-13:00\"", &format!("{right:?}"));
        let (plan, _) = check(&text, &FILES).unwrap();
        let window = plan.sending.windows[0];
        assert_eq!(
            (window.from_minute, window.to_minute),
            (from, to),
            "{right}"
        );
    }
}
