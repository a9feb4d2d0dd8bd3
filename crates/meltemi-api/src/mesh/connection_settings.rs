//! ConnectionSettings of ProxyConfig: limits of the proxy's own connections.

use crate::proto::{Duration, enumeration, message};

message! {
    /// Limits of a proxy's connections (`ProxyConfig.ConnectionSettings`).
    pub struct ConnectionSettings {
        /// Set of defaults; the explicit fields win over it.
        pub profile: ConnectionSettingsProfile,
        /// Bytes buffered on a listener's connection.
        pub listener_per_connection_buffer_limit_bytes: Option<i32>,
        /// Bytes buffered on a cluster's connection.
        pub cluster_per_connection_buffer_limit_bytes: Option<i32>,
        /// Streams of an HTTP/2 connection.
        pub http_max_concurrent_streams: Option<i32>,
        /// HTTP/2 window of a stream, bytes; 65535 or more.
        pub http2_initial_stream_window_size: Option<i32>,
        /// HTTP/2 window of a connection, bytes; 65535 or more.
        pub http2_initial_connection_window_size: Option<i32>,
        /// A downstream connection without streams is closed after this time.
        pub http_idle_timeout: Option<Duration>,
        /// A stream without activity is closed after this time.
        pub http_stream_idle_timeout: Option<Duration>,
        /// A request must be complete within this time.
        pub http_request_timeout: Option<Duration>,
        /// Request headers must be complete within this time.
        pub http_request_headers_timeout: Option<Duration>,
        /// A downstream connection is closed after this time.
        pub http_max_connection_duration: Option<Duration>,
        /// Treatment of header names with underscores.
        pub http_headers_with_underscores_action: HeadersWithUnderscoresAction,
        /// Whether adjacent slashes of the path are merged.
        pub http_merge_slashes: Option<bool>,
        /// Whether the path is normalized.
        pub http_normalize_path: Option<bool>,
        /// Treatment of escaped slashes in the path.
        pub http_path_with_escaped_slashes_action: PathWithEscapedSlashesAction,
        /// Downstream connections of the whole proxy.
        pub global_downstream_max_connections: Option<i32>,
    }
}

enumeration! {
    /// Sets of defaults.
    pub enum ConnectionSettingsProfile {
        /// None.
        Unspecified = "PROFILE_UNSPECIFIED",
        /// Envoy's recommendation for a proxy that faces untrusted clients.
        Edge = "EDGE",
    }

    /// Treatment of header names with underscores.
    pub enum HeadersWithUnderscoresAction {
        /// Envoy's default: allowed.
        Unspecified = "HEADERS_WITH_UNDERSCORES_ACTION_UNSPECIFIED",
        /// Allowed.
        Allow = "ALLOW",
        /// The request is refused.
        RejectRequest = "REJECT_REQUEST",
        /// The header is dropped.
        DropHeader = "DROP_HEADER",
    }

    /// Treatment of escaped slashes in the path.
    pub enum PathWithEscapedSlashesAction {
        /// Envoy's default: kept.
        Unspecified = "PATH_WITH_ESCAPED_SLASHES_ACTION_UNSPECIFIED",
        /// Kept.
        KeepUnchanged = "KEEP_UNCHANGED",
        /// The request is refused.
        RejectRequest = "REJECT_REQUEST",
        /// Unescaped, and the client is redirected.
        UnescapeAndRedirect = "UNESCAPE_AND_REDIRECT",
        /// Unescaped.
        UnescapeAndForward = "UNESCAPE_AND_FORWARD",
    }
}
