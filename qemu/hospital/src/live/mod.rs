//! The hospital's system as it lives: deeds one at a time, in a time that the caller lets pass.
//!
//! [`Deed`] says what happens, [`Writer`] does it to a store, [`Truth`] keeps outside the store what every file was
//! at which time and which states were whole, and [`Day`] gives the deeds of days of any length from a seed.
//!
//! Invariants
//! 1. The same deeds in the same times on the same store give the same bytes, names and, with [`Stamps::Story`], time
//!    stamps. Nothing here reads a clock or sleeps.
//! 2. The truth has a mark for every state of a file that a reader could meet, and says which of them were whole.
//! 3. Updates and deletions follow the renaming rules of [`crate::record`]: between the two steps of an update no valid
//!    version may exist for a while.

mod deed;
mod documents;
mod files;
mod records;
mod truth;
mod workday;
mod writer;
mod written;

pub use deed::{Deed, Manner};
pub use truth::{Event, Mark, Truth, Verdict, check};
pub use workday::{Pace, Workday};
pub use writer::{Done, Stamps, Writer};
