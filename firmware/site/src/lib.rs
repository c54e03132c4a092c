//! The site configuration.

#[derive(serde::Serialize, serde::Deserialize, Debug, Clone)]
pub struct Plan {}
