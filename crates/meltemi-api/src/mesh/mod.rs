//! Mesh-wide settings: MeshConfig and the ProxyConfig in it.

mod config;
mod connection_settings;
mod providers;
mod proxy;
mod tracing;

pub use config::*;
pub use connection_settings::*;
pub use providers::*;
pub use proxy::*;
pub use tracing::*;
