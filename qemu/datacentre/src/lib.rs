//! The other end of the box, as a reference: what a data centre must do, in the form that the lab uses.
//!
//! `receive` takes sealed bundles and cannot open them; `open` runs elsewhere, with the only private key, and restores
//! the hospital's store; `ca` makes the lab's certificates. They meet in files only. `load` measures `receive`.

pub mod arguments;
pub mod ca;
pub mod load;
pub mod open;
pub mod receive;
