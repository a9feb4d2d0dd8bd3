//! How an endpoint is picked.

use std::collections::BTreeMap;

use crate::proto::{Duration, enumeration, lenient_u64, message};

message! {
    /// Load balancing (Istio: `LoadBalancerSettings`): at most one of simple, consistentHash
    /// and backendUtilization.
    pub struct LoadBalancerSettings {
        /// An algorithm without parameters.
        pub simple: Option<SimpleLb>,
        /// Stickiness by a property of the request.
        pub consistent_hash: Option<ConsistentHashLb>,
        /// Weights from reported load (ORCA).
        pub backend_utilization: Option<BackendUtilizationLb>,
        /// Locality weights and failover; the mesh's setting when absent.
        pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
        /// Zone-aware balancing.
        pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
        /// Deprecated form of `warmup`.
        pub warmup_duration_secs: Option<Duration>,
        /// Slow start of new endpoints.
        pub warmup: Option<WarmupConfiguration>,
    }

    /// Stickiness (Istio: `ConsistentHashLB`): one key and one algorithm.
    pub struct ConsistentHashLb {
        /// Key: a request header.
        pub http_header_name: Option<String>,
        /// Key: a cookie, generated when absent.
        pub http_cookie: Option<HttpCookie>,
        /// Key: the client's address.
        pub use_source_ip: Option<bool>,
        /// Key: a query parameter.
        pub http_query_parameter_name: Option<String>,
        /// Algorithm: ring (default).
        pub ring_hash: Option<RingHash>,
        /// Algorithm: Maglev table.
        pub maglev: Option<Maglev>,
        /// Deprecated form of `ringHash.minimumRingSize`.
        #[serde(deserialize_with = "lenient_u64")]
        pub minimum_ring_size: Option<u64>,
    }

    /// Ring (Istio: `ConsistentHashLB.RingHash`).
    pub struct RingHash {
        /// Virtual nodes; 1024 by default.
        #[serde(deserialize_with = "lenient_u64")]
        pub minimum_ring_size: Option<u64>,
    }

    /// Maglev (Istio: `ConsistentHashLB.MagLev`).
    pub struct Maglev {
        /// A prime, at most 5000011; 65537 by default.
        #[serde(deserialize_with = "lenient_u64")]
        pub table_size: Option<u64>,
    }

    /// A cookie (Istio: `ConsistentHashLB.HTTPCookie`).
    pub struct HttpCookie {
        /// Name.
        pub name: String,
        /// Path.
        pub path: String,
        /// Lifetime; a session cookie when zero, not generated when absent.
        pub ttl: Option<Duration>,
        /// Further attributes.
        pub attributes: Vec<HttpCookieAttribute>,
    }

    /// An attribute of a generated cookie.
    pub struct HttpCookieAttribute {
        /// Name, such as `SameSite`.
        pub name: String,
        /// Value; none when empty.
        pub value: String,
    }

    /// Weights from load reports (Istio: `LoadBalancerSettings.BackendUtilizationLB`).
    pub struct BackendUtilizationLb {
        /// Time between weight updates.
        pub weight_update_period: Option<Duration>,
        /// Reports needed for this long before they count.
        pub weight_stabilization_period: Option<Duration>,
        /// Reports older than this are forgotten.
        pub weight_expiration_period: Option<Duration>,
        /// Penalty for errors, percent.
        pub error_utilization_penalty_percent: Option<u32>,
        /// Metrics used.
        pub metric_names_for_computing_utilization: Vec<String>,
    }

    /// Locality (Istio: `LocalityLoadBalancerSetting`): at most one of distribute, failover,
    /// failoverPriority.
    pub struct LocalityLoadBalancerSetting {
        /// Explicit shares.
        pub distribute: Vec<LocalityDistribute>,
        /// Region to fail over to.
        pub failover: Vec<LocalityFailover>,
        /// Labels that order endpoints.
        pub failover_priority: Vec<String>,
        /// Overrides the mesh's setting.
        pub enabled: Option<bool>,
    }

    /// Shares of one source locality.
    pub struct LocalityDistribute {
        /// Source, `region/zone/subzone`, `*` allowed at the end.
        pub from: String,
        /// Destination to percent; the sum is 100.
        pub to: BTreeMap<String, u32>,
    }

    /// Failover of one region.
    pub struct LocalityFailover {
        /// Source region.
        pub from: String,
        /// Region used when the source's endpoints are unhealthy.
        pub to: String,
    }

    /// Zone-aware balancing (Istio: `ZoneAwareLoadBalancerSetting`).
    pub struct ZoneAwareLoadBalancerSetting {
        /// Overrides the mesh's setting.
        pub enabled: Option<bool>,
        /// Region to fail over to.
        pub failover: Vec<LocalityFailover>,
        /// Labels that order endpoints.
        pub failover_priority: Vec<String>,
        /// Endpoints below which it is off.
        pub min_cluster_size: Option<u32>,
    }

    /// Slow start (Istio: `WarmupConfiguration`).
    pub struct WarmupConfiguration {
        /// Length of the ramp.
        pub duration: Option<Duration>,
        /// Weight at the start, percent; 10 by default.
        pub minimum_percent: Option<f64>,
        /// Shape of the ramp, 1.0 is linear.
        pub aggression: Option<f64>,
    }
}

enumeration! {
    /// Algorithms without parameters (Istio: `LoadBalancerSettings.SimpleLB`).
    pub enum SimpleLb {
        /// Istio's default: least request.
        Unspecified = "UNSPECIFIED",
        /// Deprecated name of least request.
        LeastConn = "LEAST_CONN",
        /// Any healthy endpoint.
        Random = "RANDOM",
        /// The original destination, unbalanced.
        Passthrough = "PASSTHROUGH",
        /// In turn.
        RoundRobin = "ROUND_ROBIN",
        /// Fewest active requests of two picks.
        LeastRequest = "LEAST_REQUEST",
    }
}
