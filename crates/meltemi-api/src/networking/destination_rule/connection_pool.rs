//! Limits on connections and requests.

use crate::proto::{Duration, enumeration, message};

message! {
    /// Limits (Istio: `ConnectionPoolSettings`). A limit of 0 means Istio's default.
    pub struct ConnectionPoolSettings {
        /// For both HTTP and TCP.
        pub tcp: Option<TcpSettings>,
        /// For HTTP.
        pub http: Option<HttpSettings>,
    }

    /// TCP limits (Istio: `ConnectionPoolSettings.TCPSettings`).
    pub struct TcpSettings {
        /// Connections to one destination; 2^32-1 by default.
        pub max_connections: i32,
        /// Deadline of connecting; the mesh's by default (10 s).
        pub connect_timeout: Option<Duration>,
        /// Keep-alive probes.
        pub tcp_keepalive: Option<TcpKeepalive>,
        /// A connection is closed after this time.
        pub max_connection_duration: Option<Duration>,
        /// A TCP-proxied connection without bytes is closed after this time; 1 h by default.
        pub idle_timeout: Option<Duration>,
    }

    /// Keep-alive (Istio: `TCPSettings.TcpKeepalive`); the system's values when absent.
    pub struct TcpKeepalive {
        /// Unanswered probes before the connection is dead.
        pub probes: u32,
        /// Idle time before the first probe.
        pub time: Option<Duration>,
        /// Time between probes.
        pub interval: Option<Duration>,
    }

    /// HTTP limits (Istio: `ConnectionPoolSettings.HTTPSettings`).
    pub struct HttpSettings {
        /// Requests waiting for a connection.
        pub http1_max_pending_requests: i32,
        /// Active requests.
        pub http2_max_requests: i32,
        /// Requests on one connection; 0 is unlimited.
        pub max_requests_per_connection: i32,
        /// Retries outstanding at one time.
        pub max_retries: i32,
        /// A connection without requests is closed after this time; 1 h by default.
        pub idle_timeout: Option<Duration>,
        /// Whether HTTP/1.1 is upgraded to HTTP/2.
        pub h2_upgrade_policy: H2UpgradePolicy,
        /// Speak the client's protocol; excludes the upgrade.
        pub use_client_protocol: bool,
        /// Concurrent HTTP/2 streams on one connection.
        pub max_concurrent_streams: i32,
        /// HTTP/2 PING.
        #[serde(rename = "http2KeepAlive")]
        pub http2_keep_alive: Option<Http2KeepAlive>,
    }

    /// HTTP/2 PING (Istio: `HTTPSettings.Http2KeepAlive`).
    pub struct Http2KeepAlive {
        /// Time between PINGs.
        pub interval: Option<Duration>,
        /// Deadline of the answer.
        pub timeout: Option<Duration>,
    }
}

enumeration! {
    /// Upgrade of HTTP/1.1 to HTTP/2 towards the endpoints.
    pub enum H2UpgradePolicy {
        /// The mesh's default.
        Default = "DEFAULT",
        /// Never.
        DoNotUpgrade = "DO_NOT_UPGRADE",
        /// Always.
        Upgrade = "UPGRADE",
    }
}
