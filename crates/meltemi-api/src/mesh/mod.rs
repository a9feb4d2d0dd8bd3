//! Mesh-wide settings: MeshConfig, the ProxyConfig in it, and MeshNetworks.

mod config;
mod connection_settings;
mod networks;
mod providers;
mod proxy;
mod tracing;

pub use config::*;
pub use connection_settings::*;
pub use networks::*;
pub use providers::*;
pub use proxy::*;
pub use tracing::*;
