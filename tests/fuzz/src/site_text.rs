//! `site.toml`, with the good files of a commissioning disc beside it.
//!
//! 1. A fault stands within the text, is words on one line, and there are not more words than the text can deserve.
//! 2. A plan that is accepted names only files of the disc, as one component below the folders that `site` states, and
//!    sources with one-component names below their mount.
//! 3. The plan's own form, which every role reads, gives the same plan.

use crate::{Verdict, keys, message};
use site::{AcceptedFile, IKE_KEYS_FOLDER, KEYS_FOLDER, Plan, SITE_FOLDER};
use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::LazyLock;

/// The operator's example, as an installation of the corpus' box.
pub fn example() -> &'static str {
    static EXAMPLE: LazyLock<String> = LazyLock::new(|| {
        include_str!("../../../config/site.toml")
            .replace("box-0001.example", "box-1")
            .replace("box-0001", "box-1")
    });
    &EXAMPLE
}

pub fn site_text(bytes: &[u8]) -> Verdict {
    match std::str::from_utf8(bytes) {
        Ok(text) => check(text, &[]),
        Err(_) => Verdict::Refused,
    }
}

/// Checks a text with some of the disc's files replaced.
pub fn check(text: &str, replaced: &[(&str, &[u8])]) -> Verdict {
    let files: BTreeMap<String, Vec<u8>> = keys::DISC
        .iter()
        .chain(replaced)
        .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
        .collect();
    match site::check(text, &files) {
        Ok((plan, accepted)) => {
            check_plan(&plan, &accepted, &files);
            Verdict::Accepted
        }
        Err(faults) => {
            let lines = text.split('\n').count();
            let mut words = 0;
            assert!(faults.count() > 0, "refused without a fault");
            for fault in faults.iter() {
                message::check_text(&fault.message);
                assert!((1..=lines).contains(&fault.line) && fault.column >= 1);
                words += fault.message.len();
            }
            // each fault quotes a value at most a few times and adds a sentence
            assert!(words <= 4096 * (faults.count() + 1) + 64 * text.len());
            Verdict::Refused
        }
    }
}

fn check_plan(plan: &Plan, accepted: &[AcceptedFile], files: &BTreeMap<String, Vec<u8>>) {
    for file in accepted {
        assert!(files.contains_key(&file.name));
        let path = file.path();
        let below = [SITE_FOLDER, KEYS_FOLDER, IKE_KEYS_FOLDER]
            .iter()
            .filter_map(|folder| path.strip_prefix(folder).ok())
            .any(is_one_name);
        assert!(below, "a file is stored at {}", path.display());
    }
    let names = plan.mounts.iter().map(|mount| &mount.name);
    let names = names.chain(plan.sources.iter().map(|source| &source.name));
    for name in names.chain([&plan.box_name]) {
        assert!(is_one_name(Path::new(name)));
    }
    for source in &plan.sources {
        let inside = |part| matches!(part, Component::Normal(_));
        assert!(source.path.components().all(inside));
        assert!(plan.mounts.iter().any(|mount| mount.name == source.mount));
    }
    let text = serde_json::to_vec(plan).expect("a plan is JSON");
    let again: Plan = serde_json::from_slice(&text).expect("which every role can read");
    assert!(again == *plan);
}

fn is_one_name(path: &Path) -> bool {
    let mut parts = path.components();
    matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    )
}
