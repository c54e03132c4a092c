//! The commands `live` and `check`: the hospital's days in real time at any speed, and the judgement of what arrived.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use hospital::live::{Done, Pace, Stamps, Workday, Writer, check as judge};
use hospital::{Day, Oddities};
use lexopt::prelude::*;
use serde_json::json;

use super::{day, help, required, wrong};

const HOUR_MS: u64 = 3_600_000;

pub fn live(mut parser: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let mut pace = Pace {
        deeds_a_day: 8000,
        longest_gap_ms: 3000,
        torn: false,
        odd: false,
    };
    let (mut seed, mut dir, mut truth) = (None, None, None);
    let (mut facility, mut start) = ("1319999999".to_owned(), Day(19_814 + 365));
    let (mut from, mut hours, mut speed) = (8, 1.0, 1.0);
    let (mut odd, mut stamps) = (Oddities::All, Stamps::Clock);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seed") => seed = Some(parser.value()?.parse()?),
            Long("dir") => dir = Some(PathBuf::from(parser.value()?)),
            Long("truth") => truth = Some(PathBuf::from(parser.value()?)),
            Long("facility") => facility = parser.value()?.string()?,
            Long("day") => start = day(parser.value()?)?,
            Long("from") => from = parser.value()?.parse()?,
            Long("hours") => hours = parser.value()?.parse()?,
            Long("deeds") => pace.deeds_a_day = parser.value()?.parse()?,
            Long("gap-ms") => pace.longest_gap_ms = parser.value()?.parse()?,
            Long("torn") => pace.torn = true,
            Long("odd") => {
                pace.odd = true;
                odd = match parser.value()?.to_str() {
                    Some("all") => Oddities::All,
                    Some("portable") => Oddities::Portable,
                    _ => return Err(wrong("--odd is all or portable")),
                }
            }
            Long("speed") => speed = parser.value()?.parse()?,
            Long("story-time") => stamps = Stamps::Story,
            Long("help") | Short('h') => return help(),
            other => return Err(other.unexpected().into()),
        }
    }
    if !(0.0..=1e6).contains(&speed) || !(0.0..=1e5).contains(&hours) || from > 23 {
        return Err(wrong(
            "--speed is 0 (without pauses) to 1000000, --hours up to 100000, --from 0 to 23",
        ));
    }
    let (seed, dir) = (required(seed, "--seed")?, required(dir, "--dir")?);
    for root in ["std", "ext"] {
        fs::create_dir_all(dir.join(root).join(&facility))?;
    }
    let mut writer = Writer::new(seed, &dir, &facility, start.at(from * HOUR_MS), stamps);
    writer.set_oddities(odd);
    writer.log_truth(&required(truth, "--truth")?)?;
    let deeds = Workday::new(seed, pace, from * HOUR_MS);
    let end_ms = (hours * HOUR_MS as f64) as u64;
    let clock = Instant::now();
    let wait = |story_ms: u64| {
        if speed > 0.0 {
            let due = Duration::from_secs_f64(story_ms as f64 / 1000.0 / speed);
            thread::sleep(due.saturating_sub(clock.elapsed()));
        }
    };
    let (mut done, mut nothing) = (0u64, 0u64);
    // endless
    for (at_ms, deed) in deeds {
        let at_ms = (at_ms - from * HOUR_MS).min(end_ms);
        while let Some(due) = writer.next_due_ms().filter(|due| *due < at_ms) {
            wait(due);
            writer.pass(due)?;
        }
        wait(at_ms);
        writer.pass(at_ms)?;
        if at_ms == end_ms {
            break;
        }
        match writer.act(&deed)? {
            Done::Done => done += 1,
            Done::Nothing => nothing += 1,
        }
    }
    writer.finish()?;
    println!("{}", json!({ "deeds": done, "nothing_to_do": nothing }));
    Ok(ExitCode::SUCCESS)
}

pub fn check(mut parser: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let (mut truth, mut base, mut folders) = (None, None, Vec::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("truth") => truth = Some(PathBuf::from(parser.value()?)),
            Long("base") => base = Some(PathBuf::from(parser.value()?)),
            Value(folder) => folders.push(PathBuf::from(folder)),
            Long("help") | Short('h') => return help(),
            other => return Err(other.unexpected().into()),
        }
    }
    let truth = required(truth, "--truth")?;
    let folders: Vec<_> = folders.iter().map(PathBuf::as_path).collect();
    let verdict = judge(&truth, base.as_deref(), &folders)?;
    println!("{}", serde_json::to_string(&verdict)?);
    let bad = verdict.half_written + verdict.unknown > 0;
    Ok(ExitCode::from(u8::from(bad)))
}
