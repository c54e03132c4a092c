//! The site configuration: what an operator writes, typed and checked.
//!
//! 1. [`check`] is the only way to a [`Plan`]; it does no I/O and never panics, whatever the text.
//! 2. Every fault is reported at once, in the order of the file, each as `site.toml:line:col: what is wrong, what is
//!    allowed`. Where the text is no TOML, all faults of that kind are reported first: what it means cannot be known.
//! 3. Unknown keys are refused, so that a misspelt option is never silently without effect.
//! 4. Nothing that only holds today is checked: certificates are not asked for their validity, as a box that starts
//!    may have a wrong clock.
//! 5. A password never appears in a fault.
//!
//! Whom it trusts: nobody; the text and the files are an operator's, and may be anybody's.

#![forbid(unsafe_code)]

mod check;
mod credential;
mod fault;
mod files;
mod plan;
mod relation;
mod section;
mod value;
mod written;

pub use check::{LONGEST_TEXT_BYTES, check};
pub use fault::{FILE_NAME, Fault, Faults};
pub use files::{AcceptedFile, IKE_KEYS_FOLDER, KEYS_FOLDER, Reader, SITE_FOLDER};
pub use plan::*;
