//! Fuzz targets: one plain function for each parser of bytes that come from outside. `README.md` says how to run them.
//!
//! 1. A target takes any bytes and panics only when a property of the product does not hold; the properties stand at
//!    the head of each module.
//! 2. A target gives the same verdict on the same bytes, so that a file of the corpus is a regression test on stable
//!    Rust (`tests/replay.rs`).
//! 3. A target goes as deep as a stranger can get: where a checksum or a signature of ours stands in the way, and an
//!    attacker could make it, the target makes it.

mod certificates;
mod envelope;
mod inside;
mod keys;
mod manifest;
mod message;
mod paths;
mod queue;
mod restore;
mod rogue;
mod runtime;
pub mod seeds;
mod signed;
mod site_text;
mod tus_request;
mod tus_response;

pub use certificates::certificates;
pub use envelope::bundle_envelope;
pub use inside::bundle_inside;
pub use manifest::manifest;
pub use paths::store_paths;
pub use queue::spool_files;
pub use restore::restore;
pub use rogue::bundle_rogue;
pub use signed::{receipt, signature};
pub use site_text::site_text;
pub use tus_request::tus_request;
pub use tus_response::tus_response;

/// What the product said to an input. Good input must be accepted, or the target would test refusals alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Refused,
}

impl Verdict {
    fn accepted_if(good: bool) -> Self {
        if good { Self::Accepted } else { Self::Refused }
    }
}

/// A target, under the name of its folder below `corpus/` and of its program below `fuzz_targets/`.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]) -> Verdict,
}

/// Every target, the most exposed first.
pub const TARGETS: &[Target] = &[
    Target {
        name: "bundle_envelope",
        run: bundle_envelope,
    },
    Target {
        name: "bundle_inside",
        run: bundle_inside,
    },
    Target {
        name: "manifest",
        run: manifest,
    },
    Target {
        name: "tus_request",
        run: tus_request,
    },
    Target {
        name: "receipt",
        run: receipt,
    },
    Target {
        name: "certificates",
        run: certificates,
    },
    Target {
        name: "site_text",
        run: site_text,
    },
    Target {
        name: "bundle_rogue",
        run: bundle_rogue,
    },
    Target {
        name: "restore",
        run: restore,
    },
    Target {
        name: "signature",
        run: signature,
    },
    Target {
        name: "tus_response",
        run: tus_response,
    },
    Target {
        name: "spool_files",
        run: spool_files,
    },
    Target {
        name: "store_paths",
        run: store_paths,
    },
];
