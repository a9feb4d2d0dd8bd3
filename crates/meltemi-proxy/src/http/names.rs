//! Header names and values made once.

use http::{HeaderMap, HeaderName, HeaderValue};

macro_rules! names {
    ($($name:ident = $text:literal;)*) => {
        $(pub(crate) static $name: HeaderName = HeaderName::from_static($text);)*
    };
}

names! {
    GRPC_STATUS = "grpc-status";
    GRPC_MESSAGE = "grpc-message";
    GRPC_TIMEOUT = "grpc-timeout";
    GRPC_ACCEPT_ENCODING = "grpc-accept-encoding";
    HTTP2_SETTINGS = "http2-settings";
    X_REQUEST_ID = "x-request-id";
    X_CLIENT_TRACE_ID = "x-client-trace-id";
    X_FORWARDED_FOR = "x-forwarded-for";
    X_FORWARDED_PROTO = "x-forwarded-proto";
    X_FORWARDED_HOST = "x-forwarded-host";
    X_FORWARDED_CLIENT_CERT = "x-forwarded-client-cert";
    X_ENVOY_EXTERNAL_ADDRESS = "x-envoy-external-address";
    X_ENVOY_INTERNAL = "x-envoy-internal";
    X_ENVOY_ORIGINAL_HOST = "x-envoy-original-host";
    X_ENVOY_ORIGINAL_PATH = "x-envoy-original-path";
    X_ENVOY_ATTEMPT_COUNT = "x-envoy-attempt-count";
    X_ENVOY_LOCAL_OVERLOADED = "x-envoy-local-overloaded";
    X_ENVOY_DECORATOR_OPERATION = "x-envoy-decorator-operation";
    X_ENVOY_EXPECTED_TIMEOUT = "x-envoy-expected-rq-timeout-ms";
    X_ENVOY_SERVICE_TIME = "x-envoy-upstream-service-time";
    X_ENVOY_OVERLOADED = "x-envoy-overloaded";
    X_ENVOY_RATELIMITED = "x-envoy-ratelimited";
    X_RATELIMIT_LIMIT = "x-ratelimit-limit";
    X_RATELIMIT_REMAINING = "x-ratelimit-remaining";
    X_RATELIMIT_RESET = "x-ratelimit-reset";
    X_ENVOY_TIMEOUT = "x-envoy-upstream-rq-timeout-ms";
    X_ENVOY_PER_TRY_TIMEOUT = "x-envoy-upstream-rq-per-try-timeout-ms";
    X_ENVOY_TIMEOUT_ALT = "x-envoy-upstream-rq-timeout-alt-response";
    X_ENVOY_ALT_STAT_NAME = "x-envoy-upstream-alt-stat-name";
    X_ENVOY_RETRY_ON = "x-envoy-retry-on";
    X_ENVOY_RETRY_GRPC_ON = "x-envoy-retry-grpc-on";
    X_ENVOY_MAX_RETRIES = "x-envoy-max-retries";
    X_ENVOY_RETRIABLE_CODES = "x-envoy-retriable-status-codes";
    X_ENVOY_RETRIABLE_HEADERS = "x-envoy-retriable-header-names";
    X_ENVOY_HEDGE = "x-envoy-hedge-on-per-try-timeout";
    X_ENVOY_FORCE_TRACE = "x-envoy-force-trace";
    X_ENVOY_IP_TAGS = "x-envoy-ip-tags";
    X_ENVOY_ORIGINAL_URL = "x-envoy-original-url";
    X_ENVOY_ORIGINAL_DST = "x-envoy-original-dst-host";
    X_ENVOY_SERVICE_CLUSTER = "x-envoy-downstream-service-cluster";
    X_ENVOY_SERVICE_NODE = "x-envoy-downstream-service-node";
    X_ENVOY_FAULT_DELAY = "x-envoy-fault-delay-request";
    X_ENVOY_FAULT_DELAY_PERCENT = "x-envoy-fault-delay-request-percentage";
    X_ENVOY_FAULT_ABORT = "x-envoy-fault-abort-request";
    X_ENVOY_FAULT_ABORT_GRPC = "x-envoy-fault-abort-grpc-request";
    X_ENVOY_FAULT_ABORT_PERCENT = "x-envoy-fault-abort-request-percentage";
    X_ENVOY_PEER_METADATA = "x-envoy-peer-metadata";
    X_ENVOY_PEER_METADATA_ID = "x-envoy-peer-metadata-id";
}

pub(crate) static ZERO: HeaderValue = HeaderValue::from_static("0");
pub(crate) static TRUE: HeaderValue = HeaderValue::from_static("true");
pub(crate) static CLOSE: HeaderValue = HeaderValue::from_static("close");
pub(crate) static TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
pub(crate) static HTTP: HeaderValue = HeaderValue::from_static("http");
pub(crate) static HTTPS: HeaderValue = HeaderValue::from_static("https");
pub(crate) static TEXT: HeaderValue = HeaderValue::from_static("text/plain");
pub(crate) static GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

pub(crate) fn scheme(scheme: &str) -> HeaderValue {
    if scheme == "https" {
        HTTPS.clone()
    } else {
        HTTP.clone()
    }
}

static DIGITS: [HeaderValue; 10] = [
    HeaderValue::from_static("0"),
    HeaderValue::from_static("1"),
    HeaderValue::from_static("2"),
    HeaderValue::from_static("3"),
    HeaderValue::from_static("4"),
    HeaderValue::from_static("5"),
    HeaderValue::from_static("6"),
    HeaderValue::from_static("7"),
    HeaderValue::from_static("8"),
    HeaderValue::from_static("9"),
];

/// A number; those of one digit are there.
pub(crate) fn number(number: u64) -> HeaderValue {
    match usize::try_from(number).map(|digit| DIGITS.get(digit)) {
        Ok(Some(digit)) => digit.clone(),
        _ => HeaderValue::from(number),
    }
}

/// Whether a header is there that seldom is: a look at the few names that are costs less than a
/// look-up.
pub(crate) fn brings(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|key| key == name)
}

/// Removes a header that seldom is there.
pub(crate) fn remove_rare(headers: &mut HeaderMap, name: &HeaderName) {
    if brings(headers, name) {
        headers.remove(name);
    }
}

/// Whether any header's name starts so: one look instead of a look-up for each name that
/// requests seldom bring.
pub(crate) fn any_with(headers: &HeaderMap, prefix: &str) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(prefix))
}
