//! Role `maintenance`.

use crate::runtime::Runtime;

pub fn run(_runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    Err("role maintenance is not built yet".into())
}
