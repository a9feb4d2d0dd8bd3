//! Configurations that only Istio's own proxy knows: plain messages or `TypedStruct`s.

use super::any::Typed;
use super::context::Cx;
use super::presence::{left_out, refuse};
use super::{At, Error, Result};
use crate::model::PeerMetadata;
use serde::Deserialize;

/// Istio's `istio.metadata_exchange` network filter.
pub const METADATA_EXCHANGE: &str = "envoy.tcp.metadataexchange.config.MetadataExchange";
/// Istio's statistics filter, as network and as HTTP filter.
pub const STATS: &str = "stats.PluginConfig";

/// Decodes a message of ours from its bytes, or from a `TypedStruct` through its schema.
pub fn message<M: prost::Message + Default>(typed: Typed) -> Result<M> {
    let bytes = match typed {
        Typed::Message(_, bytes) => bytes,
        Typed::Struct(name, value) => {
            meltemi_schema::encode(&name, &value).map_err(|error| Error::new(error.to_string()))?
        }
    };
    M::decode(bytes.as_slice()).map_err(|error| Error::new(format!("malformed: {error}")))
}

/// `io.istio.http.peer_metadata.Config` as Istio writes it into a `TypedStruct`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PeerMetadataJson {
    downstream_discovery: Vec<Discovery>,
    upstream_discovery: Vec<Discovery>,
    downstream_propagation: Vec<Propagation>,
    upstream_propagation: Vec<Propagation>,
    /// Shares the downstream's metadata with upstream filters, which are refused.
    #[serde(rename = "shared_with_upstream")]
    _shared_with_upstream: bool,
    additional_labels: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Discovery {
    /// The method that works by headers; the others need ambient's workload discovery.
    istio_headers: Option<Headers>,
    #[serde(rename = "workload_discovery")]
    _workload_discovery: Option<Empty>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Propagation {
    istio_headers: Option<Headers>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Headers {
    /// Our headers never go to clusters outside the mesh anyway.
    #[serde(default, rename = "skip_external_clusters")]
    _skip_external_clusters: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

/// The same as a plain message.
#[derive(Clone, PartialEq, prost::Message)]
struct PeerMetadataMessage {
    #[prost(message, repeated, tag = "1")]
    downstream_discovery: Vec<DiscoveryMessage>,
    #[prost(message, repeated, tag = "2")]
    upstream_discovery: Vec<DiscoveryMessage>,
    #[prost(message, repeated, tag = "3")]
    downstream_propagation: Vec<PropagationMessage>,
    #[prost(message, repeated, tag = "4")]
    upstream_propagation: Vec<PropagationMessage>,
    #[prost(string, repeated, tag = "6")]
    additional_labels: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DiscoveryMessage {
    #[prost(bytes = "vec", optional, tag = "3")]
    istio_headers: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PropagationMessage {
    #[prost(bytes = "vec", optional, tag = "1")]
    istio_headers: Option<Vec<u8>>,
}

pub fn peer_metadata(typed: Typed) -> Result<PeerMetadata> {
    let value = match typed {
        Typed::Struct(_, value) => value,
        message @ Typed::Message(..) => {
            let PeerMetadataMessage {
                downstream_discovery,
                upstream_discovery,
                downstream_propagation,
                upstream_propagation,
                additional_labels,
            } = self::message(message)?;
            refuse!(additional_labels);
            let discovers =
                |list: &[DiscoveryMessage]| list.iter().any(|item| item.istio_headers.is_some());
            let propagates =
                |list: &[PropagationMessage]| list.iter().any(|item| item.istio_headers.is_some());
            return Ok(PeerMetadata {
                downstream_discovery: discovers(&downstream_discovery),
                upstream_discovery: discovers(&upstream_discovery),
                downstream_propagation: propagates(&downstream_propagation),
                upstream_propagation: propagates(&upstream_propagation),
            });
        }
    };
    let config: PeerMetadataJson =
        serde_json::from_value(value).map_err(|error| Error::new(error.to_string()))?;
    let additional_labels = config.additional_labels;
    refuse!(additional_labels);
    let discovers = |list: &[Discovery]| list.iter().any(|item| item.istio_headers.is_some());
    let propagates = |list: &[Propagation]| list.iter().any(|item| item.istio_headers.is_some());
    Ok(PeerMetadata {
        downstream_discovery: discovers(&config.downstream_discovery),
        upstream_discovery: discovers(&config.upstream_discovery),
        downstream_propagation: propagates(&config.downstream_propagation),
        upstream_propagation: propagates(&config.upstream_propagation),
    })
}

/// `stats.PluginConfig`: Istio's metrics are always the standard ones here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "snake_case")]
struct StatsJson {
    metrics: Vec<serde_json::Value>,
    definitions: Vec<serde_json::Value>,
    disable_host_header_fallback: bool,
}

/// The same as a plain message.
#[derive(Clone, PartialEq, prost::Message)]
struct StatsMessage {
    #[prost(bool, tag = "6")]
    disable_host_header_fallback: bool,
    #[prost(bytes = "vec", repeated, tag = "8")]
    metrics: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    definitions: Vec<Vec<u8>>,
}

pub fn stats(typed: Typed, cx: &mut Cx<'_>) -> Result<()> {
    let (metrics, definitions, disable_host_header_fallback) = match typed {
        Typed::Struct(_, value) => {
            let config: StatsJson = serde_json::from_value(value)
                .map_err(|error| Error::new(error.to_string()))
                .at("value")?;
            (
                !config.metrics.is_empty(),
                !config.definitions.is_empty(),
                config.disable_host_header_fallback,
            )
        }
        message @ Typed::Message(..) => {
            let config: StatsMessage = self::message(message)?;
            (
                !config.metrics.is_empty(),
                !config.definitions.is_empty(),
                config.disable_host_header_fallback,
            )
        }
    };
    left_out!(
        cx,
        "stats.PluginConfig",
        "metrics have their standard labels only",
        metrics,
        definitions,
        disable_host_header_fallback,
    );
    Ok(())
}
