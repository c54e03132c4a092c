//! Role `intake`.

use crate::runtime::Runtime;

pub fn run(_runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    Err("role intake is not built yet".into())
}
