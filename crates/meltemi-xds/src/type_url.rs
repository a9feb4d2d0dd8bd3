//! Type URLs of the resources a mesh proxy subscribes to, and the order in which
//! they are pushed.

/// Clusters.
pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// Endpoints of a cluster.
pub const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// Listeners.
pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// Route configurations.
pub const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// Virtual hosts of route configurations that leave them to be discovered (VHDS).
pub const VIRTUAL_HOST: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";
/// Certificates, keys and trust bundles.
pub const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
/// Filter configurations that are discovered apart from their listener.
pub const EXTENSION_CONFIG: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
/// Istio's DNS name table, see [`crate::nds`].
pub const NAME_TABLE: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";

/// The order in which changed types are pushed on one stream, so that whatever
/// refers to a resource arrives after it (Envoy's "make before break" order, as
/// istiod pushes). Types that are not listed follow these.
pub const PUSH_ORDER: [&str; 8] = [
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    VIRTUAL_HOST,
    EXTENSION_CONFIG,
    SECRET,
    NAME_TABLE,
];

/// Position of a type in [`PUSH_ORDER`]; unknown types sort last.
pub fn push_rank(type_url: &str) -> usize {
    PUSH_ORDER
        .iter()
        .position(|known| *known == type_url)
        .unwrap_or(PUSH_ORDER.len())
}

/// Whether a first request that names no resource subscribes to all of them.
///
/// The xDS protocol says so of clusters and listeners and denies it of routes,
/// endpoints, secrets and extension configurations; istiod treats every other
/// type (its own ones, such as the name table) as a wildcard type, and so do we.
pub fn is_wildcard(type_url: &str) -> bool {
    !matches!(
        type_url,
        ENDPOINT | ROUTE | VIRTUAL_HOST | SECRET | EXTENSION_CONFIG
    )
}

/// Whether a subscribed name stands for all resources `NAME/...` (Envoy subscribes to the
/// virtual hosts of a route configuration by the configuration's name).
pub fn is_namespaced(type_url: &str) -> bool {
    type_url == VIRTUAL_HOST
}

/// Whether a state-of-the-world response holds every resource of the type, so
/// that a missing one has been removed (clusters and listeners, xDS protocol
/// "deleting resources"; the name table is a single resource).
pub fn is_full_state(type_url: &str) -> bool {
    matches!(type_url, CLUSTER | LISTENER | NAME_TABLE)
}

/// The short name used in logs and status: `CDS`, `EDS` ...; the last segment of
/// the type for types without one.
pub fn short_name(type_url: &str) -> &str {
    match type_url {
        CLUSTER => "CDS",
        ENDPOINT => "EDS",
        LISTENER => "LDS",
        ROUTE => "RDS",
        VIRTUAL_HOST => "VHDS",
        SECRET => "SDS",
        EXTENSION_CONFIG => "ECDS",
        NAME_TABLE => "NDS",
        other => other.rsplit(['/', '.']).next().unwrap_or(other),
    }
}
