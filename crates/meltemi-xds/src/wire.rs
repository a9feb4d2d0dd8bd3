//! The discovery messages as they travel, declared so that resource bodies pass
//! through as bytes.
//!
//! A protobuf message field and a `bytes` field look the same on the wire. The
//! structs below declare the `google.protobuf.Any` inside a response as `bytes`:
//! the server splices what was encoded once, the client slices the frame it
//! received without copying. Field numbers are those of
//! `envoy.service.discovery.v3`; fields nobody here uses are left out.

use bytes::Bytes;

/// `google.protobuf.Any` with a shared value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `envoy.config.core.v3.ControlPlane`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ControlPlane {
    #[prost(string, tag = "1")]
    pub identifier: String,
}

/// `DiscoveryResponse` (state of the world).
#[derive(Clone, PartialEq, prost::Message)]
pub struct SotwResponse {
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// Encoded `google.protobuf.Any`s.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub resources: Vec<Bytes>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
    #[prost(message, optional, tag = "6")]
    pub control_plane: Option<ControlPlane>,
}

/// `DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaResponse {
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<DeltaResource>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
    #[prost(message, optional, tag = "7")]
    pub control_plane: Option<ControlPlane>,
}

/// `Resource` of a delta response.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaResource {
    #[prost(string, tag = "1")]
    pub version: String,
    /// Encoded `google.protobuf.Any`.
    #[prost(bytes = "bytes", tag = "2")]
    pub resource: Bytes,
    #[prost(string, tag = "3")]
    pub name: String,
}

/// Method path of the delta protocol.
pub const DELTA_PATH: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// Method path of the state-of-the-world protocol.
pub const SOTW_PATH: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// Name of the gRPC service.
pub const SERVICE: &str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
/// The same two for secrets alone.
pub const DELTA_SECRETS_PATH: &str = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets";
pub const SOTW_SECRETS_PATH: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
pub const SECRET_SERVICE: &str = "envoy.service.secret.v3.SecretDiscoveryService";

/// Longest error message that a client sends and a server keeps.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// The beginning of an error message, whole characters only.
pub fn truncate(message: &str) -> &str {
    let end = (0..=message.len().min(MAX_ERROR_BYTES))
        .rev()
        .find(|end| message.is_char_boundary(*end));
    &message[..end.unwrap_or_default()]
}
