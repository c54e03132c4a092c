//! Role `tunnel`.

use crate::runtime::Runtime;

pub fn run(_runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    Err("role tunnel is not built yet".into())
}
