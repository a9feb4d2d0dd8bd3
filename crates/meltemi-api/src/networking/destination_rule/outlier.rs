//! Ejection of endpoints that fail.

use crate::proto::{Duration, message};

message! {
    /// Passive health checking (Istio: `OutlierDetection`). A count of 0 disables that check.
    pub struct OutlierDetection {
        /// Deprecated.
        pub consecutive_errors: i32,
        /// Whether locally originated failures are counted apart.
        pub split_external_local_origin_errors: bool,
        /// Local failures before ejection; needs the split.
        pub consecutive_local_origin_failures: Option<u32>,
        /// 502, 503, 504 in a row before ejection.
        pub consecutive_gateway_errors: Option<u32>,
        /// 5xx in a row before ejection; 5 by default.
        #[serde(rename = "consecutive5xxErrors")]
        pub consecutive_5xx_errors: Option<u32>,
        /// Time between sweeps; 10 s by default.
        pub interval: Option<Duration>,
        /// Ejection time per ejection so far; 30 s by default.
        pub base_ejection_time: Option<Duration>,
        /// Percent of endpoints that may be out; 10 by default.
        pub max_ejection_percent: i32,
        /// Detection stops below this percent of healthy endpoints; 0 by default.
        pub min_health_percent: i32,
        /// Status codes that count as errors.
        pub outlier_detection_http_error_codes: Vec<u32>,
    }
}
