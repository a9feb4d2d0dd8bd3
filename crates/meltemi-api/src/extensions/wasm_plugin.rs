//! WasmPlugin: a WebAssembly module in the proxy's filter chain.

use serde_json::{Map, Value};

use super::TrafficSelector;
use crate::proto::{enumeration, message};
use crate::scope::{LabelSelector, PolicyTargetReference};

message! {
    /// A module (Istio: `WasmPlugin`).
    pub struct WasmPlugin {
        /// Workloads; the whole namespace (or mesh, in the root namespace) when absent.
        pub selector: Option<LabelSelector>,
        /// Deprecated form of `targetRefs`.
        pub target_ref: Option<PolicyTargetReference>,
        /// Objects it is attached to; excludes `selector`.
        pub target_refs: Vec<PolicyTargetReference>,
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
        /// Where in the chain.
        pub phase: PluginPhase,
        /// Order within the phase, highest first; 0 by default.
        pub priority: Option<i32>,
        /// What happens to traffic when the module fails.
        pub fail_strategy: FailStrategy,
        /// The module's surroundings.
        pub vm_config: Option<VmConfig>,
        /// Which traffic; any of them, all when empty.
        pub r#match: Vec<TrafficSelector>,
        /// HTTP or network filter.
        pub r#type: PluginType,
    }

    /// The module's surroundings (Istio: `VmConfig`).
    pub struct VmConfig {
        /// Environment.
        pub env: Vec<EnvVar>,
    }

    /// A variable of the module's environment (Istio: `EnvVar`).
    pub struct EnvVar {
        /// Name.
        pub name: String,
        /// Where its value comes from.
        pub value_from: EnvValueSource,
        /// Value, for INLINE.
        pub value: Option<String>,
    }
}

enumeration! {
    /// Where in the filter chain (Istio: `PluginPhase`).
    pub enum PluginPhase {
        /// At the end, before the router.
        Unspecified = "UNSPECIFIED_PHASE",
        /// Before Istio's authentication.
        Authn = "AUTHN",
        /// Before Istio's authorization.
        Authz = "AUTHZ",
        /// Before Istio's statistics.
        Stats = "STATS",
    }

    /// Kind of filter (Istio: `PluginType`).
    pub enum PluginType {
        /// HTTP.
        Unspecified = "UNSPECIFIED_PLUGIN_TYPE",
        /// HTTP.
        Http = "HTTP",
        /// Network.
        Network = "NETWORK",
    }

    /// When a module is fetched again (Istio: `PullPolicy`).
    pub enum PullPolicy {
        /// `Always` for the tag `latest`, else `IfNotPresent`.
        Unspecified = "UNSPECIFIED_POLICY",
        /// Never, once it is there.
        IfNotPresent = "IfNotPresent",
        /// Whenever the configuration changes.
        Always = "Always",
    }

    /// What happens to traffic when the module fails (Istio: `FailStrategy`).
    pub enum FailStrategy {
        /// Refused.
        FailClose = "FAIL_CLOSE",
        /// Passed on without the module.
        FailOpen = "FAIL_OPEN",
        /// Refused while the module is loaded anew.
        FailReload = "FAIL_RELOAD",
    }

    /// Where a variable's value comes from (Istio: `EnvValueSource`).
    pub enum EnvValueSource {
        /// The object.
        Inline = "INLINE",
        /// The proxy's environment.
        Host = "HOST",
    }
}
