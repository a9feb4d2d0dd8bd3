//! TrafficExtension: a WebAssembly module or a Lua script in the proxy's filter chain.

use serde_json::{Map, Value};

use super::{FailStrategy, PluginType, PullPolicy, TrafficSelector, VmConfig};
use crate::proto::{enumeration, message};
use crate::scope::{LabelSelector, PolicyTargetReference};

message! {
    /// An extension (Istio: `TrafficExtension`): one of wasm and lua.
    pub struct TrafficExtension {
        /// Workloads; the whole namespace (or mesh, in the root namespace) when absent.
        pub selector: Option<LabelSelector>,
        /// Objects it is attached to; excludes `selector`.
        pub target_refs: Vec<PolicyTargetReference>,
        /// Where in the chain.
        pub phase: ExecutionPhase,
        /// Order within the phase, highest first; 0 by default.
        pub priority: Option<i32>,
        /// Which traffic; any of them, all when empty.
        pub r#match: Vec<TrafficSelector>,
        /// A module.
        pub wasm: Option<WasmConfig>,
        /// A script.
        pub lua: Option<LuaConfig>,
    }

    /// A module (Istio: `WasmConfig`); its fields are those of WasmPlugin.
    pub struct WasmConfig {
        /// `oci://` (default), `file://`, `http://` or `https://`.
        pub url: String,
        /// Checksum of the module, 64 lower-case hexadecimal digits.
        pub sha256: String,
        /// When the module is fetched again.
        pub image_pull_policy: PullPolicy,
        /// Secret with the registry's credentials.
        pub image_pull_secret: Option<String>,
        /// Not used yet by Istio either.
        pub verification_key: String,
        /// Handed to the module as JSON.
        pub plugin_config: Option<Map<String, Value>>,
        /// Name the module knows itself by.
        pub plugin_name: Option<String>,
        /// What happens to traffic when the module fails.
        pub fail_strategy: FailStrategy,
        /// The module's surroundings.
        pub vm_config: Option<VmConfig>,
        /// HTTP or network filter.
        pub r#type: PluginType,
    }

    /// A script (Istio: `LuaConfig`).
    pub struct LuaConfig {
        /// Source, at most 64 KiB, with `envoy_on_request` or `envoy_on_response`.
        pub inline_code: String,
    }
}

enumeration! {
    /// Where in the filter chain (Istio: `TrafficExtension.ExecutionPhase`).
    pub enum ExecutionPhase {
        /// At the end, before the router.
        Unspecified = "UNSPECIFIED",
        /// Before Istio's authentication.
        Authn = "AUTHN",
        /// Before Istio's authorization.
        Authz = "AUTHZ",
        /// Before Istio's statistics.
        Stats = "STATS",
    }
}
