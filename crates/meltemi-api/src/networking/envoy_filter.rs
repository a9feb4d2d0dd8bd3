//! EnvoyFilter: patches to the configuration that proxies are given.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::WorkloadSelector;
use crate::proto::{enumeration, message};
use crate::scope::PolicyTargetReference;

message! {
    /// Patches (Istio: `EnvoyFilter`).
    pub struct EnvoyFilter {
        /// Workloads; the whole namespace (or mesh, in the root namespace) when absent.
        pub workload_selector: Option<WorkloadSelector>,
        /// Objects it is attached to; excludes `workloadSelector`.
        pub target_refs: Vec<PolicyTargetReference>,
        /// Patches, applied in order.
        pub config_patches: Vec<EnvoyConfigObjectPatch>,
        /// Order among EnvoyFilters, lowest first; 0 by default.
        pub priority: i32,
    }

    /// A patch (Istio: `EnvoyFilter.EnvoyConfigObjectPatch`).
    pub struct EnvoyConfigObjectPatch {
        /// What is patched.
        pub apply_to: ApplyTo,
        /// Which of them.
        pub r#match: Option<EnvoyConfigObjectMatch>,
        /// How.
        pub patch: Option<Patch>,
    }

    /// How something is patched (Istio: `EnvoyFilter.Patch`).
    pub struct Patch {
        /// What is done.
        pub operation: PatchOperation,
        /// Envoy's message, as JSON.
        pub value: Option<Map<String, Value>>,
        /// Place of an added filter, by what it is for.
        pub filter_class: FilterClass,
    }

    /// Which of them is patched (Istio: `EnvoyFilter.EnvoyConfigObjectMatch`); at most one of
    /// listener, routeConfiguration, cluster and waypoint.
    pub struct EnvoyConfigObjectMatch {
        /// In whose configuration.
        pub context: PatchContext,
        /// Of which proxies.
        pub proxy: Option<ProxyMatch>,
        /// A listener, or a part of one.
        pub listener: Option<ListenerMatch>,
        /// A route configuration, or a part of one.
        pub route_configuration: Option<RouteConfigurationMatch>,
        /// A cluster.
        pub cluster: Option<ClusterMatch>,
        /// A part of a waypoint.
        pub waypoint: Option<WaypointMatch>,
    }

    /// Which proxies (Istio: `EnvoyFilter.ProxyMatch`).
    pub struct ProxyMatch {
        /// Expression that matches the proxy's Istio version.
        pub proxy_version: String,
        /// Node metadata, all of it.
        pub metadata: BTreeMap<String, String>,
    }

    /// Which listener (Istio: `EnvoyFilter.ListenerMatch`).
    pub struct ListenerMatch {
        /// Port of the service or the gateway's server.
        pub port_number: u32,
        /// Not used.
        pub port_name: String,
        /// Filter chain.
        pub filter_chain: Option<FilterChainMatch>,
        /// Listener filter.
        pub listener_filter: String,
        /// Its name.
        pub name: String,
    }

    /// Which filter chain (Istio: `EnvoyFilter.ListenerMatch.FilterChainMatch`).
    pub struct FilterChainMatch {
        /// Its name.
        pub name: String,
        /// Server name it is for.
        pub sni: String,
        /// `raw_buffer` or `tls`.
        pub transport_protocol: String,
        /// Application protocols, separated by commas.
        pub application_protocols: String,
        /// Filter of it.
        pub filter: Option<FilterMatch>,
        /// Destination port it is for.
        pub destination_port: u32,
        /// Name of its transport socket.
        pub transport_socket: String,
    }

    /// Which network filter (Istio: `EnvoyFilter.ListenerMatch.FilterMatch`).
    pub struct FilterMatch {
        /// Its name.
        pub name: String,
        /// Filter within it.
        pub sub_filter: Option<SubFilterMatch>,
    }

    /// Which HTTP filter (Istio: `EnvoyFilter.ListenerMatch.SubFilterMatch`).
    pub struct SubFilterMatch {
        /// Its name.
        pub name: String,
    }

    /// Which route configuration (Istio: `EnvoyFilter.RouteConfigurationMatch`).
    pub struct RouteConfigurationMatch {
        /// Port of the service or the gateway's server.
        pub port_number: u32,
        /// Name of the gateway's server port.
        pub port_name: String,
        /// Gateway, `NAMESPACE/NAME`.
        pub gateway: String,
        /// Virtual host.
        pub vhost: Option<VirtualHostMatch>,
        /// Its name.
        pub name: String,
    }

    /// Which virtual host (Istio: `EnvoyFilter.RouteConfigurationMatch.VirtualHostMatch`).
    pub struct VirtualHostMatch {
        /// Its name, `HOST:PORT`.
        pub name: String,
        /// A domain it is for.
        pub domain_name: String,
        /// Route.
        pub route: Option<RouteMatch>,
    }

    /// Which route (Istio: `EnvoyFilter.RouteConfigurationMatch.RouteMatch`).
    pub struct RouteMatch {
        /// Its name.
        pub name: String,
        /// What it does.
        pub action: RouteMatchAction,
    }

    /// Which cluster (Istio: `EnvoyFilter.ClusterMatch`).
    pub struct ClusterMatch {
        /// Port of the service.
        pub port_number: u32,
        /// Host of the service, fully qualified.
        pub service: String,
        /// Subset.
        pub subset: String,
        /// Its name; excludes the others.
        pub name: String,
    }

    /// Which part of a waypoint (Istio: `EnvoyFilter.WaypointMatch`).
    pub struct WaypointMatch {
        /// Port of the service.
        pub port_number: u32,
        /// Filter.
        pub filter: Option<FilterMatch>,
        /// Route.
        pub route: Option<WaypointRouteMatch>,
    }

    /// Which route of a waypoint (Istio: `EnvoyFilter.WaypointMatch.RouteMatch`).
    pub struct WaypointRouteMatch {
        /// Its name.
        pub name: String,
    }
}

enumeration! {
    /// What is patched (Istio: `EnvoyFilter.ApplyTo`).
    pub enum ApplyTo {
        /// Not to be used.
        Invalid = "INVALID",
        /// Listener.
        Listener = "LISTENER",
        /// Filter chain.
        FilterChain = "FILTER_CHAIN",
        /// Network filter.
        NetworkFilter = "NETWORK_FILTER",
        /// HTTP filter.
        HttpFilter = "HTTP_FILTER",
        /// Route configuration.
        RouteConfiguration = "ROUTE_CONFIGURATION",
        /// Virtual host.
        VirtualHost = "VIRTUAL_HOST",
        /// Route.
        HttpRoute = "HTTP_ROUTE",
        /// Cluster.
        Cluster = "CLUSTER",
        /// Extension configuration.
        ExtensionConfig = "EXTENSION_CONFIG",
        /// Bootstrap.
        Bootstrap = "BOOTSTRAP",
        /// Listener filter.
        ListenerFilter = "LISTENER_FILTER",
    }

    /// What is done (Istio: `EnvoyFilter.Patch.Operation`).
    pub enum PatchOperation {
        /// Not to be used.
        Invalid = "INVALID",
        /// The value is merged into it.
        Merge = "MERGE",
        /// The value is added.
        Add = "ADD",
        /// It is removed.
        Remove = "REMOVE",
        /// The value is inserted before it.
        InsertBefore = "INSERT_BEFORE",
        /// The value is inserted after it.
        InsertAfter = "INSERT_AFTER",
        /// The value is inserted before all.
        InsertFirst = "INSERT_FIRST",
        /// The value stands in its place.
        Replace = "REPLACE",
        /// As MERGE, but lists are replaced.
        MergeAndReplaceList = "MERGE_AND_REPLACE_LIST",
    }

    /// Place of an added filter, by what it is for (Istio: `EnvoyFilter.Patch.FilterClass`).
    pub enum FilterClass {
        /// At the end.
        Unspecified = "UNSPECIFIED",
        /// Before Istio's authentication.
        Authn = "AUTHN",
        /// Before Istio's authorization.
        Authz = "AUTHZ",
        /// Before Istio's statistics.
        Stats = "STATS",
    }

    /// In whose configuration (Istio: `EnvoyFilter.PatchContext`).
    pub enum PatchContext {
        /// Everyone's.
        Any = "ANY",
        /// Inbound of sidecars.
        SidecarInbound = "SIDECAR_INBOUND",
        /// Outbound of sidecars.
        SidecarOutbound = "SIDECAR_OUTBOUND",
        /// Gateways.
        Gateway = "GATEWAY",
        /// Waypoints.
        Waypoint = "WAYPOINT",
    }

    /// What a route does (Istio: `EnvoyFilter.RouteConfigurationMatch.RouteMatch.Action`).
    pub enum RouteMatchAction {
        /// Anything.
        Any = "ANY",
        /// Forwards.
        Route = "ROUTE",
        /// Redirects.
        Redirect = "REDIRECT",
        /// Answers.
        DirectResponse = "DIRECT_RESPONSE",
    }
}
