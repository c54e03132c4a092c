//! Transaction storage as a source of hints: the header lines that were appended to its newest file name the folders of
//! the standardized storage that were written. The end of the newest file is looked at every [`BETWEEN`]; nothing before
//! the start of this process is read, since the walk begins then anyway.
//!
//! A poll asks for two folder times and one file's size where nothing happened. A server that does not move a folder's
//! time is asked for the names now and then all the same.

use super::super::decide::join;
use super::super::share::{self, Buffer, Fresh, Names, Root, Trouble};
use super::FOLDERS;
use site::{Source, SourceKind};
use ssmix2::transaction::{Header, headers};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Between two looks at the end of the newest file.
const BETWEEN: Duration = Duration::from_secs(1);

/// After so many polls the names are read again, whatever the folders' times say.
const POLLS: u32 = 300;

/// Bytes read at once, and in one poll. A line longer than the first is no header.
const STRETCH: usize = 256 * 1024;
const POLL_BYTES: usize = 4 << 20;

/// Files that one poll goes on to.
const FILES: u32 = 8;

/// How far one transaction storage was read.
pub struct Feed {
    target: usize,
    next: Duration,
    /// The file that is read, and how far; `None` before the first poll.
    place: Option<(Vec<u8>, u64)>,
    /// Times of the root and of the newest year's folder when the names were read.
    times: Option<(i64, i64)>,
    polls: u32,
    names: Buffer,
    bytes: Vec<u8>,
}

/// What a poll has found.
#[derive(Default)]
pub struct News {
    /// Facility and folder below its root.
    pub folders: BTreeSet<(Vec<u8>, Vec<u8>)>,
    /// There was more than is in `folders`.
    pub too_many: bool,
}

/// Which standardized source a transaction storage tells about: the one that the site configuration names; else the only
/// one on the same mount; else the only one at all.
pub fn target(sources: &[Source], feed: usize) -> Option<usize> {
    let feed = sources.get(feed)?;
    if feed.kind != SourceKind::Transaction {
        return None;
    }
    let only = |is: &dyn Fn(&Source) -> bool| {
        let mut found = sources.iter().enumerate().filter(|(_, source)| is(source));
        let first = found.next().map(|(place, _)| place);
        first.filter(|_| found.next().is_none())
    };
    if let Some(name) = &feed.feed_of {
        return only(&|source| source.name == *name);
    }
    let standardized = |source: &Source| source.kind == SourceKind::Standardized;
    only(&|source| standardized(source) && source.mount == feed.mount)
        .or_else(|| only(&standardized))
}

impl Feed {
    pub fn new(target: usize) -> Self {
        Self {
            target,
            next: Duration::ZERO,
            place: None,
            times: None,
            polls: 0,
            names: Buffer::new(),
            bytes: Vec::new(),
        }
    }

    /// Place of the source that it tells about.
    pub fn target(&self) -> usize {
        self.target
    }

    /// Uptime of the next poll.
    pub fn next(&self) -> Duration {
        self.next
    }

    pub fn later(&mut self, now: Duration) {
        self.next = now + BETWEEN;
    }

    /// Something changed in the storage.
    pub fn hurry(&mut self) {
        self.next = Duration::ZERO;
    }

    /// Reads what was appended since the last poll. `ask` is called before each question to the share.
    pub fn read(&mut self, root: &Root, ask: impl Fn()) -> News {
        let mut news = News::default();
        // what fails here passes, or the walk reports it
        let _ = self.try_read(root, &ask, &mut news);
        news
    }

    fn try_read(&mut self, root: &Root, ask: &impl Fn(), news: &mut News) -> Result<(), Trouble> {
        let Some((path, offset)) = self.place.take() else {
            if let Some(path) = self.newest(root, ask)? {
                let size = size(&open(root, &path)?)?;
                self.place = Some((path, size));
            }
            return Ok(());
        };
        let mut budget = POLL_BYTES;
        let (mut path, mut offset) = (path, offset);
        let result = self.read_on(root, ask, &mut path, &mut offset, &mut budget, news);
        self.place = Some((path, offset));
        result
    }

    fn read_on(
        &mut self,
        root: &Root,
        ask: &impl Fn(),
        path: &mut Vec<u8>,
        offset: &mut u64,
        budget: &mut usize,
        news: &mut News,
    ) -> Result<(), Trouble> {
        for _ in 0..FILES {
            // first the names: what was appended to a file before the next one was begun is read below
            let next = self.next_file(root, ask, path)?;
            ask();
            match open(root, path) {
                Ok(file) => self.tail(&file, ask, offset, budget, news)?,
                // it was taken away; the next one goes on
                Err(Trouble::Gone) => {}
                Err(trouble) => return Err(trouble),
            }
            match next {
                Some(next) if *budget > 0 => {
                    (*path, *offset) = (next, 0);
                    self.times = None;
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn tail(
        &mut self,
        file: &OwnedFd,
        ask: &impl Fn(),
        offset: &mut u64,
        budget: &mut usize,
        news: &mut News,
    ) -> Result<(), Trouble> {
        let size = size(file)?;
        if size < *offset {
            // written anew
            *offset = 0;
        }
        while *offset < size && *budget > 0 {
            self.bytes.resize(STRETCH, 0);
            ask();
            let read = rustix::io::pread(file, &mut self.bytes, *offset)?;
            if read == 0 {
                break;
            }
            let bytes = &self.bytes[..read];
            for (_, header, _) in headers(bytes) {
                note(header.as_ref(), news);
            }
            *budget = budget.saturating_sub(read);
            let ended = bytes.iter().rposition(|byte| matches!(byte, b'\r' | b'\n'));
            match ended {
                Some(end) => *offset += end as u64 + 1,
                None if read == STRETCH => *offset += read as u64,
                // a line that is being written
                None => break,
            }
        }
        Ok(())
    }

    /// The file after this one, where the folders' times let it be that there is one.
    fn next_file(
        &mut self,
        root: &Root,
        ask: &impl Fn(),
        path: &[u8],
    ) -> Result<Option<Vec<u8>>, Trouble> {
        let (year, name) = parted(path);
        let time = |folder: &[u8]| {
            ask();
            share::folder_time(&root.folder(folder)?, b"", Fresh::FromServer)
        };
        let times = match (time(b""), time(year)) {
            (Ok(root), Ok(year)) => Some((root, year)),
            (Err(Trouble::Share(reason)), _) | (_, Err(Trouble::Share(reason))) => {
                return Err(Trouble::Share(reason));
            }
            _ => None,
        };
        self.polls += 1;
        if times.is_some() && times == self.times && !self.polls.is_multiple_of(POLLS) {
            return Ok(None);
        }
        let mut next = None;
        if let Ok(names) = self.all_names(root, ask, year) {
            let later = names.files.iter().filter(|other| is_log(other));
            next = later
                .filter(|other| other.as_slice() > name)
                .min()
                .map(|name| join(year, name));
        }
        if next.is_none() {
            let years = self.all_names(root, ask, b"")?.folders;
            let mut later: Vec<_> = years
                .iter()
                .filter(|other| other.as_slice() > year)
                .collect();
            later.sort_unstable();
            for year in later {
                let files = self.all_names(root, ask, year)?.files;
                next = files
                    .iter()
                    .filter(|name| is_log(name))
                    .min()
                    .map(|name| join(year, name));
                if next.is_some() {
                    break;
                }
            }
        }
        self.times = times;
        Ok(next)
    }

    fn newest(&mut self, root: &Root, ask: &impl Fn()) -> Result<Option<Vec<u8>>, Trouble> {
        let mut years = self.all_names(root, ask, b"")?.folders;
        years.sort_unstable();
        for year in years.iter().rev() {
            let files = self.all_names(root, ask, year)?.files;
            if let Some(name) = files.iter().filter(|name| is_log(name)).max() {
                return Ok(Some(join(year, name)));
            }
        }
        Ok(None)
    }

    /// The names in one folder; of one with very many only the last ones matter.
    fn all_names(&mut self, root: &Root, ask: &impl Fn(), path: &[u8]) -> Result<Names, Trouble> {
        let mut after = Vec::new();
        loop {
            ask();
            let names = share::names(&root.folder(path)?, &after, &mut self.names)?;
            match names.last {
                Some(last) => after = last,
                None => return Ok(names),
            }
        }
    }
}

/// Folder and name.
fn parted(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn is_log(name: &[u8]) -> bool {
    name.ends_with(b".DAT")
}

fn note(header: Option<&Header<'_>>, news: &mut News) {
    let Some((header, folder)) = header.and_then(|header| Some((header, header.folder()?))) else {
        return;
    };
    if news.folders.len() < FOLDERS {
        news.folders.insert((header.facility.to_vec(), folder));
    } else {
        news.too_many = true;
    }
}

fn open(root: &Root, path: &[u8]) -> Result<OwnedFd, Trouble> {
    let (folder, name) = parted(path);
    Ok(share::open_file(
        &root.folder(folder)?,
        name,
        root.reading(),
    )?)
}

fn size(file: &OwnedFd) -> Result<u64, Trouble> {
    let found = rustix::fs::fstat(file)?;
    match rustix::fs::FileType::from_raw_mode(found.st_mode) {
        rustix::fs::FileType::RegularFile => Ok(u64::try_from(found.st_size).unwrap_or(0)),
        _ => Err(Trouble::Locked),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::share::MountRule;
    use super::*;
    use std::io::Write;
    use std::path::{Path, PathBuf};

    fn line(patient: &str) -> String {
        format!(
            "#SSMIX,2.00,1319999999,{patient},20240401,OMP-01,000000011000185,INS,01,20240401101500123\r"
        )
    }

    struct Hospital {
        folder: tempfile::TempDir,
        feed: Feed,
    }

    impl Hospital {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(folder.path().join("share/tx/2024")).unwrap();
            Self {
                folder,
                feed: Feed::new(0),
            }
        }

        fn append(&self, name: &str, text: &str) {
            let path = self.folder.path().join("share/tx").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = std::fs::File::options()
                .append(true)
                .create(true)
                .open(path);
            file.unwrap().write_all(text.as_bytes()).unwrap();
        }

        fn read(&mut self) -> Vec<String> {
            let rule = MountRule::AnyFolder;
            let root = Root::open(self.folder.path(), rule, "share", Path::new("tx"))
                .ok()
                .unwrap();
            let news = self.feed.read(&root, || {});
            let patient = |folder: &[u8]| String::from_utf8_lossy(&folder[8..18]).into_owned();
            news.folders
                .iter()
                .map(|(_, folder)| patient(folder))
                .collect()
        }
    }

    const FIRST: &str = "2024/TR_20240401000000000_00001.DAT";
    const SECOND: &str = "2024/TR_20240402000000000_00001.DAT";
    const NEXT_YEAR: &str = "2025/TR_20250101000000000_00001.DAT";

    #[test]
    fn what_is_appended_is_read_once_and_what_was_there_at_the_start_is_not() {
        let mut hospital = Hospital::new();
        hospital.append(FIRST, &line("0000000001"));
        assert!(hospital.read().is_empty());
        hospital.append(
            FIRST,
            &(line("0000000002") + "MSH|text\r" + &line("0000000003")),
        );
        assert_eq!(hospital.read(), ["0000000002", "0000000003"]);
        assert!(hospital.read().is_empty());
    }

    #[test]
    fn a_line_that_is_being_written_is_read_when_it_has_its_end() {
        let mut hospital = Hospital::new();
        hospital.append(FIRST, "");
        hospital.read();
        let text = line("0000000002");
        hospital.append(FIRST, &text[..40]);
        assert!(hospital.read().is_empty());
        hospital.append(FIRST, &text[40..]);
        assert_eq!(hospital.read(), ["0000000002"]);
    }

    #[test]
    fn the_end_of_a_rolled_file_is_read_before_the_next_one_and_the_next_year() {
        let mut hospital = Hospital::new();
        hospital.append(FIRST, &line("0000000001"));
        hospital.read();
        hospital.append(FIRST, &line("0000000002"));
        hospital.append(SECOND, &line("0000000003"));
        hospital.append(NEXT_YEAR, &line("0000000004"));
        assert_eq!(hospital.read(), ["0000000002", "0000000003", "0000000004"]);
        hospital.append(NEXT_YEAR, &line("0000000005"));
        assert_eq!(hospital.read(), ["0000000005"]);
    }

    #[test]
    fn a_storage_that_is_empty_at_first_is_read_from_its_first_file_on() {
        let mut hospital = Hospital::new();
        assert!(hospital.read().is_empty());
        hospital.append(FIRST, &line("0000000001"));
        // seen now for the first time: how much of it is new is not known, and the walk has begun
        hospital.read();
        hospital.append(FIRST, &line("0000000002"));
        assert_eq!(hospital.read(), ["0000000002"]);
    }

    #[test]
    fn a_flood_of_header_lines_is_bounded_and_read_over_several_polls() {
        let mut hospital = Hospital::new();
        hospital.append(FIRST, "");
        hospital.read();
        let text: String = (0..60_000)
            .map(|number| line(&format!("{number:010}")))
            .collect();
        hospital.append(FIRST, &text);
        let rule = MountRule::AnyFolder;
        let root = Root::open(hospital.folder.path(), rule, "share", Path::new("tx"))
            .ok()
            .unwrap();
        let mut polls = 0;
        loop {
            let news = hospital.feed.read(&root, || {});
            assert!(news.folders.len() <= FOLDERS);
            if news.folders.is_empty() {
                break;
            }
            assert!(news.too_many);
            polls += 1;
        }
        assert_eq!(polls, text.len().div_ceil(POLL_BYTES));
    }

    #[test]
    fn a_feed_belongs_to_the_named_source_or_to_the_only_one_on_its_mount_or_at_all() {
        let source = |name: &str, kind, mount: &str, feed_of: Option<&str>| Source {
            name: name.into(),
            kind,
            mount: mount.into(),
            path: PathBuf::new(),
            feed_of: feed_of.map(str::to_owned),
        };
        let (std, tx) = (SourceKind::Standardized, SourceKind::Transaction);
        let of = |sources: &[Source]| target(sources, 0);
        let a = source("a", std, "m", None);
        let b = source("b", std, "n", None);
        let c = source("c", std, "n", None);
        let feed = |mount, name| source("feed", tx, mount, name);
        assert_eq!(of(&[feed("n", None), a.clone(), b.clone()]), Some(2));
        assert_eq!(of(&[feed("x", None), a.clone()]), Some(1));
        assert_eq!(of(&[feed("x", None), a.clone(), b.clone()]), None);
        assert_eq!(of(&[feed("n", None), b.clone(), c.clone()]), None);
        assert_eq!(of(&[feed("n", Some("c")), a.clone(), b, c]), Some(3));
        assert_eq!(of(&[a]), None);
    }
}
