//! The roles, one module each. See the table in `init`.

pub mod audit;
pub mod clock;
pub mod console;
pub mod intake;
pub mod keyholder;
pub mod listener;
pub mod maintenance;
pub mod ports;
pub mod sender;
pub mod tunnel;
