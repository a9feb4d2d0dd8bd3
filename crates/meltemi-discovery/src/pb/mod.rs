//! Envoy's protobuf types under short names, and the few constructors that every
//! translation needs. What is encoded here is byte-for-byte reproducible (see `canonical`).

pub mod canonical;
pub mod descriptor;
pub mod istio;
pub mod structs;

use std::time::Duration as StdDuration;

use prost::{Message, Name};

pub use envoy_types::pb::envoy::config::accesslog::v3 as accesslog;
pub use envoy_types::pb::envoy::config::cluster::v3 as cluster;
pub use envoy_types::pb::envoy::config::core::v3 as core;
pub use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
pub use envoy_types::pb::envoy::config::listener::v3 as listener;
pub use envoy_types::pb::envoy::config::route::v3 as route;
pub use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
pub use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp_proxy;
pub use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
pub use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
pub use envoy_types::pb::envoy::r#type::v3 as etype;
pub use envoy_types::pb::google::protobuf::{
    Any, BoolValue, Duration, Struct, UInt32Value, UInt64Value, Value,
};

/// Packs a message into an `Any`, its maps in a fixed order.
pub fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: canonical::encode(message),
    }
}

pub fn duration(value: StdDuration) -> Duration {
    Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or(0),
    }
}

pub fn seconds(value: i64) -> Duration {
    Duration {
        seconds: value,
        nanos: 0,
    }
}

pub fn u32v(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub fn u64v(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

pub fn boolv(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

pub fn percent(value: f64) -> Option<etype::Percent> {
    Some(etype::Percent { value })
}

/// A percentage (0 to 100) in parts per million, the resolution Istio uses.
pub fn fraction(percent: f64) -> etype::FractionalPercent {
    etype::FractionalPercent {
        numerator: (percent.clamp(0.0, 100.0) * 10_000.0).round() as u32,
        denominator: etype::fractional_percent::DenominatorType::Million as i32,
    }
}

/// A TCP socket address; `host` is an IP literal or a DNS name.
pub fn socket_address(host: &str, port: u32) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: host.to_owned(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port)),
            ..Default::default()
        })),
    }
}

pub fn pipe_address(path: &str) -> core::Address {
    core::Address {
        address: Some(core::address::Address::Pipe(core::Pipe {
            path: path.to_owned(),
            mode: 0,
        })),
    }
}

pub fn regex(pattern: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher {
        regex: pattern.to_owned(),
        engine_type: None,
    }
}

pub fn exact(value: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Exact(
        value.to_owned(),
    ))
}

pub fn prefix(value: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Prefix(
        value.to_owned(),
    ))
}

pub fn string_matcher(pattern: matcher::string_matcher::MatchPattern) -> matcher::StringMatcher {
    matcher::StringMatcher {
        ignore_case: false,
        match_pattern: Some(pattern),
    }
}

/// The configuration source "over the same ADS stream"; resources are waited for without limit,
/// as a missing one must not be taken for an empty one.
pub fn ads() -> core::ConfigSource {
    core::ConfigSource {
        initial_fetch_timeout: Some(seconds(0)),
        resource_api_version: core::ApiVersion::V3 as i32,
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

/// A transport socket without TLS.
pub fn raw_buffer(name: &str) -> core::TransportSocket {
    use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
    transport_socket(name, &RawBuffer {})
}

pub fn transport_socket<M: Message + Name>(name: &str, config: &M) -> core::TransportSocket {
    core::TransportSocket {
        name: name.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(any(config))),
    }
}
