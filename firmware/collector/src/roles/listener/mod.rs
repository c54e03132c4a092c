//! Role `listener`: waits until an SMB server says that something changed, and hands that to `intake` as a hint.
//!
//! The kernel's client answers the question "has something changed?" only when something has; a thread that asks it cannot
//! be stopped but with its process. So it is asked here, where nothing is lost when the process is killed.
//!
//! 1. Each share has two threads, one for names and one for contents. The client asks anew for each answer and hears nothing
//!    in between; a new file is told to both, at different moments, so that seldom both are deaf to it. Where something
//!    changed is said a second time a moment later, when the server is asked again: then `intake` sees what was not heard.
//! 2. What a server says is a claim about paths; `intake` looks for itself. Nothing is read here but folders' names.
//! 3. A server that cannot be asked is asked again with growing pauses. A share that was mounted anew while a thread still
//!    asks the old one ends the process, and `init` starts it again.
//! 4. Queues are bounded; what does not fit is one word, "too many".

mod records;

use super::intake::hints::socket::{Changed, LONGEST_LINE, SOCKET};
use crate::runtime::Runtime;
use crate::runtime::keyholder::to_hex;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use serde_json::{Value, json};
use site::{Plan, Protocol, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use sys::changes::{self, Answer, Changes};

/// Between two looks of the main thread at status and mounts.
const BEAT: Duration = Duration::from_secs(2);
/// Pauses before a server is asked again.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A question that broke sooner than this was refused; one that stood longer was answered in its way.
const STOOD: Duration = Duration::from_secs(2);
/// So long a thread may go on asking a share that is no longer the mounted one.
const STALE: Duration = Duration::from_secs(30);
/// Answers that wait to be handed on.
const ANSWERS: usize = 256;
/// One exchange with `intake`, whose thread has nothing else to do.
const EXCHANGE: Duration = Duration::from_secs(10);
/// So long after an answer its server is surely asked again: a few exchanges on the hospital's network.
const DEAF: Duration = Duration::from_millis(250);
/// Paths that are kept for being said again. Beyond it, everything may have changed, and a walk finds it.
const AGAIN: usize = 4096;
/// Bytes of a request beside the paths.
const FRAME: usize = 256;

/// What the kernel's SMB client calls its file systems.
const SMB: [i64; 2] = [0xFE53_4D42, 0xFF53_4D42];

pub fn run(runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    let plan = runtime.plan()?;
    let shares = shares(&plan, &runtime.path("/mnt"));
    let (sender, receiver) = sync_channel(ANSWERS);
    for share in &shares {
        for changes in [Changes::Names, Changes::Contents] {
            let (share, sender) = (Arc::clone(share), sender.clone());
            let ask = move || ask_for_ever(&share, changes, &sender);
            std::thread::Builder::new()
                .name("ask".to_owned())
                .spawn(ask)?;
        }
    }
    let socket = runtime.path(SOCKET);
    std::thread::Builder::new()
        .name("hand-on".to_owned())
        .spawn(move || hand_on_for_ever(&socket, &receiver))?;
    runtime.ready();
    let mut said: Vec<&str> = vec![""; shares.len()];
    loop {
        runtime.alive();
        for (share, said) in shares.iter().zip(&mut said) {
            if let Some(stale) = share.stale_for()
                && stale >= STALE
            {
                return Err(format!(
                    "share {} was mounted anew while its old server is still asked",
                    share.mount
                )
                .into());
            }
            let state = share.state().word;
            if *said != state {
                runtime.log(&format!("share {}: {state}", share.mount));
                *said = state;
            }
        }
        runtime.publish(&status(&shares));
        std::thread::sleep(BEAT.min(runtime.longest_wait()));
    }
}

const LISTENING: &str = "the server is asked";

/// A share, and the sources on it.
struct Share {
    mount: String,
    path: PathBuf,
    sources: Vec<Source>,
    state: Mutex<State>,
}

#[derive(Clone)]
struct State {
    word: &'static str,
    /// Device of the mount that each thread asks, by [`Changes`].
    asked: [Option<(u32, u32)>; 2],
    /// Since when another one is mounted.
    stale: Option<Instant>,
    answers: u64,
    lost: u64,
}

impl Share {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a mount has been asked for that is no longer the one in its place. Asks no server.
    fn stale_for(&self) -> Option<Duration> {
        let now = device(&self.path);
        let mut state = self.state();
        let is_other = |asked: &(u32, u32)| now.is_some_and(|now| now != *asked);
        if state.asked.iter().flatten().any(is_other) {
            return Some(state.stale.get_or_insert_with(Instant::now).elapsed());
        }
        state.stale = None;
        None
    }
}

/// The SMB shares with sources on them.
fn shares(plan: &Plan, mounts: &Path) -> Vec<Arc<Share>> {
    let is_smb = |mount: &&site::Mount| matches!(mount.protocol, Protocol::Smb { .. });
    let share = |mount: &site::Mount| {
        let on_it = plan
            .sources
            .iter()
            .filter(|source| source.mount == mount.name);
        Share {
            mount: mount.name.clone(),
            path: mounts.join(&mount.name),
            sources: on_it.cloned().collect(),
            state: Mutex::new(State {
                word: "not yet asked",
                asked: [None; 2],
                stale: None,
                answers: 0,
                lost: 0,
            }),
        }
    };
    plan.mounts
        .iter()
        .filter(is_smb)
        .map(share)
        .filter(|share| !share.sources.is_empty())
        .map(Arc::new)
        .collect()
}

fn status(shares: &[Arc<Share>]) -> Value {
    let listening = shares.iter().any(|share| share.state().word == LISTENING);
    let shares: Vec<Value> = shares
        .iter()
        .map(|share| {
            let state = share.state().clone();
            json!({ "mount": share.mount, "state": state.word, "answers": state.answers, "lost": state.lost })
        })
        .collect();
    json!({ "state": if listening { "listening" } else { "idle" }, "shares": shares })
}

/// An answer on its way to `intake`.
struct Heard {
    share: Arc<Share>,
    /// `None`: something changed, and what is not known.
    records: Option<Vec<u8>>,
}

fn ask_for_ever(share: &Arc<Share>, changes: Changes, sender: &SyncSender<Heard>) {
    let mut answer = Answer::default();
    let mut pause = SHORTEST_PAUSE;
    loop {
        let word = match mounted(&share.path) {
            Ok((folder, device)) => {
                {
                    let mut state = share.state();
                    state.word = LISTENING;
                    state.asked[changes as usize] = Some(device);
                }
                let begin = Instant::now();
                let errno =
                    ask_until_it_breaks(share, &folder, device, changes, &mut answer, sender);
                share.state().asked[changes as usize] = None;
                if begin.elapsed() >= STOOD {
                    pause = SHORTEST_PAUSE;
                    // "input or output error" is also how the client says that more changed than it can tell
                    hear(share, None, sender);
                }
                match errno {
                    Some(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOTTY) => {
                        "the server does not tell of changes"
                    }
                    Some(Errno::ACCESS | Errno::PERM) => "the server may not be asked",
                    _ => LISTENING,
                }
            }
            Err(word) => word,
        };
        share.state().word = word;
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks again and again. Gives the error that ended it, if one did, and not another mount in the same place.
fn ask_until_it_breaks(
    share: &Arc<Share>,
    folder: &OwnedFd,
    asked: (u32, u32),
    changes: Changes,
    answer: &mut Answer,
    sender: &SyncSender<Heard>,
) -> Option<Errno> {
    loop {
        match changes::wait(folder, changes, answer) {
            Ok(records) => hear(share, Some(records.to_vec()), sender),
            Err(errno) => return Some(errno),
        }
        if device(&share.path) != Some(asked) {
            return None;
        }
    }
}

fn hear(share: &Arc<Share>, records: Option<Vec<u8>>, sender: &SyncSender<Heard>) {
    let heard = Heard {
        share: Arc::clone(share),
        records,
    };
    let is_taken = sender.try_send(heard).is_ok();
    let mut state = share.state();
    state.answers += 1;
    state.lost += u64::from(!is_taken);
}

/// The root of a mounted SMB share, and its device.
fn mounted(path: &Path) -> Result<(OwnedFd, (u32, u32)), &'static str> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(|_| "not mounted")?;
    let kind = rustix::fs::fstatfs(&folder)
        .map_err(|_| "no answer")?
        .f_type;
    #[allow(clippy::useless_conversion)] // the field's width differs by machine
    if !SMB.contains(&(i64::from(kind) & 0xFFFF_FFFF)) {
        return Err("not mounted");
    }
    let device = device(path).ok_or("not mounted")?;
    Ok((folder, device))
}

/// Device of what is mounted in a place, from what the kernel knows of it.
fn device(path: &Path) -> Option<(u32, u32)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    let facts = rustix::fs::statx(rustix::fs::CWD, path, flags, StatxFlags::TYPE).ok()?;
    Some((facts.stx_dev_major, facts.stx_dev_minor))
}

/// Hands on what is heard, and again when the server is surely asked anew: a file that was renamed while nobody listened
/// is most often beside the one that was told of. Where `intake` does not listen it is dropped: one that starts begins
/// with a walk anyway.
fn hand_on_for_ever(socket: &Path, receiver: &Receiver<Heard>) {
    let mut connection = None;
    let mut again: Option<(Instant, Words)> = None;
    loop {
        let heard = match &again {
            Some((at, _)) => receiver.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => receiver.recv().map_err(RecvTimeoutError::from),
        };
        let is_over = matches!(heard, Err(RecvTimeoutError::Disconnected));
        if let Ok(first) = heard {
            // each share once, with all that has gathered
            let mut words = Words::new();
            let more = receiver.try_iter().take(ANSWERS);
            for heard in std::iter::once(first).chain(more) {
                sort(&heard, &mut words);
            }
            say_all(socket, &mut connection, &words);
            let (_, kept) = again.get_or_insert_with(|| (Instant::now() + DEAF, Words::new()));
            keep(words, kept);
        }
        if let Some((_, words)) = again.take_if(|(at, _)| is_over || *at <= Instant::now()) {
            say_all(socket, &mut connection, &words);
        }
        if is_over {
            return;
        }
    }
}

/// Keeps what was said for another time.
fn keep(words: Words, kept: &mut Words) {
    for (source, word) in words {
        let kept = kept.entry(source).or_default();
        kept.paths.extend(word.paths);
        kept.paths.sort_unstable();
        kept.paths.dedup();
        kept.paths.truncate(AGAIN);
    }
}

fn say_all(socket: &Path, connection: &mut Option<UnixStream>, words: &Words) {
    for (source, word) in words {
        for line in lines(source, word) {
            // a second time where `intake` was started anew in between
            for _ in 0..2 {
                if connection.is_none() {
                    *connection = connect(socket).ok();
                }
                let say = |stream: &mut UnixStream| say(stream, &line).is_ok();
                if connection.as_mut().is_some_and(say) {
                    break;
                }
                *connection = None;
            }
        }
    }
}

/// What is to be said, by source.
type Words = BTreeMap<String, Word>;

/// What is to be said of one source.
#[derive(Default)]
struct Word {
    paths: Vec<Vec<u8>>,
    too_many: bool,
}

/// Finds the sources of what was heard.
fn sort(heard: &Heard, words: &mut Words) {
    let told = heard.records.as_deref().map(records::read);
    let more = told.as_ref().is_none_or(|told| told.more);
    for source in &heard.share.sources {
        if more {
            words.entry(source.name.clone()).or_default().too_many = true;
        }
        let root = source.path.as_os_str().as_bytes();
        for path in told.iter().flat_map(|told| &told.paths) {
            let below = match root {
                b"" => Some(path.as_slice()),
                root => path
                    .strip_prefix(root)
                    .and_then(|rest| rest.strip_prefix(b"/")),
            };
            if let Some(below) = below {
                words
                    .entry(source.name.clone())
                    .or_default()
                    .paths
                    .push(below.to_vec());
            }
        }
    }
}

/// The requests that say it.
fn lines(source: &str, word: &Word) -> Vec<String> {
    let mut lines = Vec::new();
    let paths: BTreeSet<&Vec<u8>> = word.paths.iter().collect();
    let mut paths = paths.into_iter().map(|path| to_hex(path)).peekable();
    let mut too_many = word.too_many;
    while too_many || paths.peek().is_some() {
        let mut changed = Vec::new();
        let mut room = LONGEST_LINE - FRAME;
        while let Some(path) = paths.next_if(|path| path.len() + 3 <= room) {
            room -= path.len() + 3;
            changed.push(path);
        }
        if changed.is_empty() {
            // longer than any path that the kernel takes
            too_many |= paths.next().is_some();
        }
        let changed = Changed {
            source: source.to_owned(),
            changed,
            too_many: std::mem::take(&mut too_many),
        };
        lines.extend(serde_json::to_string(&changed).map(|line| line + "\n"));
    }
    lines
}

fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(EXCHANGE))?;
    stream.set_write_timeout(Some(EXCHANGE))?;
    Ok(stream)
}

fn say(stream: &mut UnixStream, line: &str) -> std::io::Result<()> {
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    match BufReader::new(stream).read_line(&mut answer)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::intake::hints::{Hints, socket};
    use super::*;
    use site::SourceKind;

    fn source(name: &str, path: &str) -> Source {
        Source {
            name: name.to_owned(),
            kind: SourceKind::Standardized,
            mount: "emr".to_owned(),
            path: PathBuf::from(path),
            feed_of: None,
        }
    }

    fn share(sources: Vec<Source>) -> Arc<Share> {
        Arc::new(Share {
            mount: "emr".to_owned(),
            path: PathBuf::from("/nowhere"),
            sources,
            state: Mutex::new(State {
                word: "",
                asked: [None; 2],
                stale: None,
                answers: 0,
                lost: 0,
            }),
        })
    }

    fn record(name: &str) -> Vec<u8> {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut record = [0, 1, name.len() as u32].map(u32::to_le_bytes).concat();
        record.extend(name);
        record
    }

    #[test]
    fn what_is_heard_goes_to_the_source_in_whose_root_it_is() {
        let share = share(vec![
            source("a", "std"),
            source("b", "std2"),
            source("c", "x/y"),
        ]);
        let mut words = BTreeMap::new();
        for name in ["std\\000\\f", "std2\\f", "x\\y\\z\\f", "x\\f", "other"] {
            let heard = Heard {
                share: Arc::clone(&share),
                records: Some(record(name)),
            };
            sort(&heard, &mut words);
        }
        let paths = |name: &str| words.get(name).map(|word| word.paths.concat());
        assert_eq!(paths("a"), Some(b"000/f".to_vec()));
        assert_eq!(paths("b"), Some(b"f".to_vec()));
        assert_eq!(paths("c"), Some(b"z/f".to_vec()));
        assert!(words.values().all(|word| !word.too_many));
        sort(
            &Heard {
                share,
                records: None,
            },
            &mut words,
        );
        assert!(words.len() == 3 && words.values().all(|word| word.too_many));
    }

    #[test]
    fn what_is_heard_arrives_at_the_intake_as_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("hints.sock");
        let hints = [Arc::new(Hints::default())];
        let share = share(vec![source("wards", "std")]);
        let own = rustix::process::getuid().as_raw();
        socket::start(&socket, own, &share.sources, &hints, |_| {});
        let (sender, receiver) = sync_channel(2);
        hear(&share, Some(record("std\\000\\file")), &sender);
        hear(&share, None, &sender);
        drop(sender);
        hand_on_for_ever(&socket, &receiver);
        let waiting = hints[0].take();
        assert!(waiting.folders.contains(&b"000"[..]) && waiting.too_many);
        let state = share.state().clone();
        assert_eq!((state.answers, state.lost), (2, 0));
    }

    #[test]
    fn what_is_heard_is_said_again_when_the_server_is_asked_anew() {
        const LONG: Duration = Duration::from_secs(60);
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("hints.sock");
        let hints = [Arc::new(Hints::default())];
        let share = share(vec![source("wards", "std")]);
        let own = rustix::process::getuid().as_raw();
        socket::start(&socket, own, &share.sources, &hints, |_| {});
        let (sender, receiver) = sync_channel(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let receiver = receiver;
                hand_on_for_ever(&socket, &receiver);
            });
            let begin = Instant::now();
            hear(&share, Some(record("std\\000\\file")), &sender);
            for _ in 0..2 {
                hints[0].wait(LONG);
                let waiting = hints[0].take();
                assert!(waiting.folders.contains(&b"000"[..]) && !waiting.too_many);
            }
            assert!(begin.elapsed() >= DEAF);
            drop(sender);
        });
        // and not a third time
        assert!(hints[0].is_empty());
    }

    #[test]
    fn many_paths_become_several_requests_each_within_the_bound() {
        let word = Word {
            paths: (0..3000)
                .map(|number| format!("000/{number:0200}").into_bytes())
                .collect(),
            too_many: true,
        };
        let lines = lines("wards", &word);
        let read: Vec<Changed> = lines
            .iter()
            .map(|line| serde_json::from_str(line.trim_end()).unwrap())
            .collect();
        assert!(lines.iter().all(|line| line.len() <= LONGEST_LINE) && lines.len() > 10);
        assert_eq!(
            read.iter().map(|one| one.changed.len()).sum::<usize>(),
            3000
        );
        assert_eq!(read.iter().filter(|one| one.too_many).count(), 1);
    }

    #[test]
    fn a_place_without_a_share_is_said_to_be_not_mounted() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(mounted(folder.path()).err(), Some("not mounted"));
        assert_eq!(
            mounted(&folder.path().join("missing")).err(),
            Some("not mounted")
        );
    }
}
