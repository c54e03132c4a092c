//! Role `keyholder`.

use crate::runtime::Runtime;

pub fn run(_runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    Err("role keyholder is not built yet".into())
}
