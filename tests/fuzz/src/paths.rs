//! Names in a hospital's store, and their spelling in a manifest. The first byte chooses the kind of store.
//!
//! 1. No byte string panics, whatever the store; the fields of a name are parts of it, and together are the name.
//! 2. Identity and flag of a name put together are the name.
//! 3. A path that is accepted for a bundle leads below its root and nowhere else, and has one spelling in a manifest.

use crate::Verdict;
use bundle::path;
use ssmix2::{Flagged, Store};

pub fn store_paths(bytes: &[u8]) -> Verdict {
    let Some((&kind, raw)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let store = match kind % 5 {
        0 => Store::Standardized,
        1 => Store::Extended,
        2 => Store::Transaction,
        3 => Store::Dpc,
        _ => Store::Receipt,
    };
    let found = ssmix2::deviations(store, raw);
    assert_eq!(found.is_empty(), found.iter().count() == 0);
    let name = raw.rsplit(|&byte| byte == b'/').next().unwrap_or(raw);
    let _ = ssmix2::ignored(name);
    let _ = ssmix2::claims::receipt_is_whole(raw);
    if let Some(Flagged { stem, .. }) = Flagged::parse(name) {
        assert_eq!(stem.len() + 1, name.len());
        assert!(name.starts_with(stem));
    }
    if let Some(object) = ssmix2::standardized::parse(raw).0 {
        let fields = [
            object.patient,
            object.date,
            object.data_type,
            object.order,
            object.occurred,
            object.department,
        ];
        let joined = fields.join(&b'_');
        assert!(name.starts_with(&joined) && name[joined.len()..].starts_with(b"_"));
        if found.is_empty() && matches!(store, Store::Standardized) {
            let below = ssmix2::below_root(store, raw);
            assert_eq!(below.iter().filter(|&&byte| byte == b'/').count(), 5);
        }
    }
    if let Some(object) = ssmix2::extended::parse(raw).0 {
        assert_eq!(raw.split(|&byte| byte == b'/').nth(5), Some(object.content));
    }
    check_spelling(raw);
    Verdict::accepted_if(found.is_empty())
}

fn check_spelling(raw: &[u8]) {
    let mut escaped = Vec::new();
    path::escape_onto(&mut escaped, raw);
    let escaped = String::from_utf8(escaped).expect("ASCII");
    assert!(path::unescape(&escaped).is_ok_and(|again| again == raw));
    match path::check(raw) {
        Ok(()) => {
            let parts = || raw.split(|&byte| byte == b'/');
            assert!(parts().all(|part| !matches!(part, b"" | b"." | b"..")));
            assert!(!raw.contains(&0));
            assert!(path::parse(&escaped).is_ok_and(|again| again == raw));
        }
        Err(fault) => assert_eq!(path::parse(&escaped), Err(fault)),
    }
    // the other way: as a manifest brings it
    if let Some(bytes) = std::str::from_utf8(raw)
        .ok()
        .and_then(|text| path::parse(text).ok())
    {
        let mut again = Vec::new();
        path::escape_onto(&mut again, &bytes);
        assert_eq!(again, raw, "a path has two spellings");
    }
}
