//! The roles of the box as a library, so that tests can run what is inside them. The program is `main.rs`.

#![forbid(unsafe_code)]

pub mod roles;
pub mod runtime;
pub mod seal;
