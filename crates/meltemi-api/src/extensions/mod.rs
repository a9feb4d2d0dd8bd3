//! The kinds of `extensions.istio.io`: programs that users put into proxies.

mod traffic_extension;
mod wasm_plugin;

pub use traffic_extension::{ExecutionPhase, LuaConfig, TrafficExtension, WasmConfig};
pub use wasm_plugin::{
    EnvValueSource, EnvVar, FailStrategy, PluginPhase, PluginType, PullPolicy, VmConfig, WasmPlugin,
};

use crate::networking::PortSelector;
use crate::proto::message;
use crate::scope::WorkloadMode;

message! {
    /// Traffic that is passed through an extension (Istio: `WasmPlugin.TrafficSelector`); all
    /// that is set must hold.
    pub struct TrafficSelector {
        /// Side of the connection.
        pub mode: WorkloadMode,
        /// Any of these ports of the listener; all when empty.
        pub ports: Vec<PortSelector>,
    }
}
