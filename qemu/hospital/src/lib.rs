//! A hospital's stores, made from a seed, and the hospital system that goes on writing them.
//!
//! For tests, benchmarks and the lab: SS-MIX2 standardized and extended storage, transaction storage, DPC and receipt
//! files with the names, histories, encodings and oddities met in the field, in any number. Every patient is invented.
//!
//! Invariants
//! 1. The same [`Spec`] gives the same names, bytes and file time stamps on every machine (a pinned digest holds this).
//! 2. Time is linear in the files asked for; memory depends on the largest patient, not on the store. (Transaction
//!    storage holds the entries of its last 30 days until they are sorted.)
//! 3. Nothing here is trusted by the box: these programs stand for a hospital that writes as it likes.
//!
//! Sources: `../shared/reference/ss-mix2.md` and what it names; each module gives its own.

mod calendar;
mod change;
mod compare;
mod descent;
mod digest;
mod extended;
mod fault;
mod kinds;
mod life;
pub mod live;
mod make;
mod message;
mod monthly;
mod odd;
mod patient;
mod pen;
mod plan;
mod random;
mod record;
mod sink;
mod store;
mod text;
mod torn;
mod transaction;
mod tree;
mod words;

pub use calendar::{Day, Moment};
pub use change::{Change, Changed, change};
pub use compare::{Comparison, compare};
pub use digest::{Line, digest, digest_lines, escape};
pub use fault::{Fault, Operation};
pub use kinds::data_types;
pub use make::{Made, make};
pub use odd::{LEFTOVERS, Oddities};
pub use pen::Writing;
pub use plan::{Markers, Spec};
pub use random::Random;
pub use record::Flag;
pub use sink::Tally;
pub use store::Store;
pub use torn::finish;
