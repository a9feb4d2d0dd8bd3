//! Conditions on an HTTP request.

use std::collections::BTreeMap;

use super::super::StringMatch;
use crate::proto::message;

message! {
    /// Conditions, all of which must hold (Istio: `HTTPMatchRequest`).
    pub struct HttpMatchRequest {
        /// Appended to the route's name in access logs.
        pub name: String,
        /// Path and query.
        pub uri: Option<StringMatch>,
        /// `http` or `https`.
        pub scheme: Option<StringMatch>,
        /// Request method.
        pub method: Option<StringMatch>,
        /// Host header.
        pub authority: Option<StringMatch>,
        /// Headers by lower-case name; `{}` means present.
        pub headers: BTreeMap<String, StringMatch>,
        /// Destination port; 0 for any.
        pub port: u32,
        /// Labels of the client workload.
        pub source_labels: BTreeMap<String, String>,
        /// Gateways to which the condition is restricted.
        pub gateways: Vec<String>,
        /// Query parameters; prefix is not supported by Istio.
        pub query_params: BTreeMap<String, StringMatch>,
        /// Compare the path without regard to case (exact and prefix only).
        pub ignore_uri_case: bool,
        /// Headers that must not match.
        pub without_headers: BTreeMap<String, StringMatch>,
        /// Namespace of the client workload.
        pub source_namespace: String,
        /// Prefix of the statistics of this route.
        pub stat_prefix: String,
    }
}
