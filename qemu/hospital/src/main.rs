//! `hospital`: makes a hospital's stores, goes on writing them, and compares trees of files.
//!
//! Results go to standard output (one JSON object, or a digest), errors to standard error. Exit status: 0 done, 1 failed
//! or trees differ, 2 wrong command line.

mod living;

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use hospital::{Change, Day, Markers, Oddities, Spec, Writing};
use lexopt::prelude::*;

const HELP: &str = "\
hospital: a hospital's stores for tests, made from a seed. Every patient is invented.

hospital make --seed N --files N --out DIR [options]
    Makes a store in DIR, which must be absent or empty. The same options give the same bytes and time stamps.
      DIR/std/FACILITY/...   SS-MIX2 standardized storage: 26 data types, flags 1, 0 and 2, HL7 v2.5 in ISO-2022-JP
      DIR/ext/FACILITY/...   SS-MIX2 extended storage: content folders with a document and images
      DIR/dpc/               DPC survey files, CP932
      DIR/receipt/INSURER/   receipt files, CP932
      DIR/tx/YEAR/           transaction storage, with --transaction
    --patients N        default: one for 50 files
    --days N            length of the story, default 365
    --start YYYYMMDD    its first day, default 20240401
    --facility DIGITS   10 digits, default 1319999999
    --odd WHICH         files that fit no rule: all (default), portable (only names that SMB carries), none
    --transaction       also write transaction storage of the last 30 days; comes on top of --files
    --marker PREFIX     plant unique texts PREFIX-number-hex in file contents, and list them in a file
    --markers N         how many, default 1000
    --marker-list FILE  where to list them, default DIR.markers.txt beside the store
    --threads N         default: all processors; changes nothing but the time
    Below 100 files there is only standardized and extended storage.

hospital change --seed N --dir DIR [--add N] [--update N] [--delete N] [options]
    Lets the hospital go on writing the store in DIR: adds orders (some into old dates, some of new patients), updates
    (renames _1 to _2, then writes a new _1) and deletes (renames to _0, then writes a _0). Prints counts.
    --day YYYYMMDD      day in the story, default 20250401
    --replace N         writes N files anew in place
    --monthly           writes last month's DPC files and overwrites the receipts
    --slow              writes each file in pieces, under its final name
    --pause-ms N        pause between pieces, default 300
    --torn N            leaves N of the added files half-written ...
    --unfinished FILE   ... and keeps their missing parts in FILE
    --story-time        stamps files with the story's time instead of the clock's

hospital finish FILE
    Completes the files that --torn left half-written, and removes FILE.

hospital live --seed N --dir DIR --truth FILE [options]
    Lets the hospital live on the store in DIR, which may be empty, deed by deed: orders, updates, deletions, documents,
    late writes, slow files, output anew, monthly files, a clock that is set. What every file truly was when goes into
    FILE. Every slow file is whole at the end. Prints counts.
    --hours N           hours of the story, default 1
    --from N            its first hour, default 8; --day YYYYMMDD its day, default 20250401
    --deeds N           deeds a day, default 8000: nine tenths of them from 8 to 18 o'clock
    --speed N           hours of the story in an hour, default 1; 0: without pauses
    --gap-ms N          longest pause of a slow writer in the story, default 3000
    --torn              also leaves files half-written for a while
    --odd WHICH         also writes files that fit no rule (all or portable) and removes some
    --facility DIGITS   default 1319999999
    --story-time        stamps files with the story's time instead of the clock's

hospital check --truth FILE [--base DIGEST] FOLDER...
    Says how many files below the folders have bytes that were whole at some time, by FILE or by the digest of the store
    from before; status 1 if any was half-written.

hospital digest DIR
    Prints `sha256 size path` for each file, sorted; bytes outside ! to ~ and the backslash are written \\xHH.

hospital compare A B [--ignore NAME]...
    Compares two trees byte for byte; prints counts; status 1 unless they are the same. Files called NAME are only counted.
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(fault) => {
            let mut text = format!("hospital: {fault}");
            let mut cause = fault.source();
            while let Some(inner) = cause {
                text += &format!(": {inner}");
                cause = inner.source();
            }
            eprintln!("{text}");
            ExitCode::from(if fault.is::<lexopt::Error>() { 2 } else { 1 })
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut parser = lexopt::Parser::from_env();
    match parser.next()? {
        Some(Value(command)) => match command.to_str() {
            Some("make") => make(parser),
            Some("change") => change(parser),
            Some("finish") => finish(parser),
            Some("live") => living::live(parser),
            Some("check") => living::check(parser),
            Some("digest") => digest(parser),
            Some("compare") => compare(parser),
            _ => Err(wrong(
                "the commands are make, change, finish, live, check, digest, compare; see hospital --help",
            )),
        },
        Some(Long("help") | Short('h')) => help(),
        Some(argument) => Err(argument.unexpected().into()),
        None => Err(wrong("give a command; see hospital --help")),
    }
}

fn help() -> Result<ExitCode, Box<dyn Error>> {
    io::stdout().write_all(HELP.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn wrong(what: &str) -> Box<dyn Error> {
    Box::new(lexopt::Error::from(what.to_owned()))
}

fn required<T>(value: Option<T>, option: &str) -> Result<T, Box<dyn Error>> {
    value.ok_or_else(|| wrong(&format!("{option} is needed; see hospital --help")))
}

fn day(value: OsString) -> Result<Day, Box<dyn Error>> {
    value
        .to_str()
        .and_then(Day::parse)
        .ok_or_else(|| wrong("a day is YYYYMMDD, from 2000 to 2199"))
}

fn make(mut parser: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let mut spec = Spec::new(0, 0);
    let (mut seed, mut files, mut out, mut prefix, mut list) = (None, None, None, None, None);
    let mut count = 1000;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seed") => seed = Some(parser.value()?.parse()?),
            Long("files") => files = Some(parser.value()?.parse()?),
            Long("out") => out = Some(PathBuf::from(parser.value()?)),
            Long("patients") => spec.patients = Some(parser.value()?.parse()?),
            Long("days") => spec.days = parser.value()?.parse()?,
            Long("start") => spec.first = day(parser.value()?)?,
            Long("facility") => spec.facility = parser.value()?.string()?,
            Long("odd") => {
                spec.oddities = match parser.value()?.to_str() {
                    Some("all") => Oddities::All,
                    Some("portable") => Oddities::Portable,
                    Some("none") => Oddities::None,
                    _ => return Err(wrong("--odd is all, portable or none")),
                }
            }
            Long("transaction") => spec.transaction = true,
            Long("marker") => prefix = Some(parser.value()?.string()?),
            Long("markers") => count = parser.value()?.parse()?,
            Long("marker-list") => list = Some(PathBuf::from(parser.value()?)),
            Long("threads") => spec.threads = parser.value()?.parse()?,
            Long("help") | Short('h') => return help(),
            other => return Err(other.unexpected().into()),
        }
    }
    (spec.seed, spec.files) = (required(seed, "--seed")?, required(files, "--files")?);
    let out = required(out, "--out")?;
    spec.markers = prefix.map(|prefix| Markers { prefix, count });
    let made = hospital::make(&spec, &out)?;
    if spec.markers.is_some() {
        let mut beside = out.into_os_string();
        beside.push(".markers.txt");
        let list = list.unwrap_or(PathBuf::from(beside));
        fs::write(
            &list,
            made.markers
                .iter()
                .map(|marker| format!("{marker}\n"))
                .collect::<String>(),
        )?;
    }
    println!("{}", serde_json::to_string(&made)?);
    Ok(ExitCode::SUCCESS)
}

fn change(mut parser: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let mut wanted = Change::new(0);
    let (mut seed, mut dir, mut slow, mut pause) = (None, None, false, 300);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seed") => seed = Some(parser.value()?.parse()?),
            Long("dir") => dir = Some(PathBuf::from(parser.value()?)),
            Long("add") => wanted.add = parser.value()?.parse()?,
            Long("update") => wanted.update = parser.value()?.parse()?,
            Long("delete") => wanted.delete = parser.value()?.parse()?,
            Long("replace") => wanted.replace = parser.value()?.parse()?,
            Long("torn") => wanted.torn = parser.value()?.parse()?,
            Long("unfinished") => wanted.unfinished = Some(PathBuf::from(parser.value()?)),
            Long("day") => wanted.day = day(parser.value()?)?,
            Long("monthly") => wanted.monthly = true,
            Long("slow") => slow = true,
            Long("pause-ms") => pause = parser.value()?.parse()?,
            Long("story-time") => wanted.story_time = true,
            Long("help") | Short('h') => return help(),
            other => return Err(other.unexpected().into()),
        }
    }
    wanted.seed = required(seed, "--seed")?;
    if slow {
        wanted.writing = Writing::Pieces {
            pause: Duration::from_millis(pause),
        };
    }
    let changed = hospital::change(&wanted, &required(dir, "--dir")?)?;
    println!("{}", serde_json::to_string(&changed)?);
    Ok(ExitCode::SUCCESS)
}

fn finish(parser: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let [list] = folders(parser, "finish FILE")?;
    println!("{{\"finished\":{}}}", hospital::finish(&list)?);
    Ok(ExitCode::SUCCESS)
}

fn digest(parser: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let [dir] = folders(parser, "digest DIR")?;
    let mut out = BufWriter::new(io::stdout().lock());
    hospital::digest(&dir, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Takes exactly `N` paths.
fn folders<const N: usize>(
    mut parser: lexopt::Parser,
    usage: &str,
) -> Result<[PathBuf; N], Box<dyn Error>> {
    let mut given = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(path) => given.push(PathBuf::from(path)),
            other => return Err(other.unexpected().into()),
        }
    }
    given
        .try_into()
        .map_err(|_| wrong(&format!("usage: hospital {usage}")))
}

fn compare(mut parser: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let (mut paths, mut ignored) = (Vec::new(), Vec::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("ignore") => ignored.push(parser.value()?),
            Value(path) => paths.push(PathBuf::from(path)),
            Long("help") | Short('h') => return help(),
            other => return Err(other.unexpected().into()),
        }
    }
    let [first, second] = paths.as_slice() else {
        return Err(wrong("usage: hospital compare A B [--ignore NAME]..."));
    };
    let comparison = hospital::compare(first, second, &ignored)?;
    println!("{}", serde_json::to_string(&comparison)?);
    Ok(ExitCode::from(u8::from(!comparison.equal())))
}
