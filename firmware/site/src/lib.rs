//! The site configuration: what an operator writes, typed and checked.

#![forbid(unsafe_code)]

mod plan;

pub use plan::*;
