//! Configurations that only Istio's own proxy knows: plain messages or `TypedStruct`s.

use super::any::Typed;
use super::context::Cx;
use super::presence::{left_out, refuse};
use super::{At, Error, Result};
use crate::model::{Metric, MetricGroup, PeerMetadata, StandardMetrics, TagChange, TagOverride};
use crate::telemetry;
use meltemi_cel::{Attribute, Options, Program};
use serde::Deserialize;
use std::collections::BTreeMap;

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

/// `stats.PluginConfig`, as a message and as a `TypedStruct`.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct StatsConfig {
    #[prost(bool, tag = "6")]
    disable_host_header_fallback: bool,
    #[prost(message, repeated, tag = "8")]
    metrics: Vec<MetricConfig>,
    #[prost(message, repeated, tag = "9")]
    definitions: Vec<MetricDefinition>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct MetricConfig {
    #[prost(btree_map = "string, string", tag = "1")]
    dimensions: BTreeMap<String, String>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    tags_to_remove: Vec<String>,
    #[prost(bool, tag = "5")]
    drop: bool,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct MetricDefinition {
    #[prost(string, tag = "1")]
    name: String,
}

pub fn stats(typed: Typed, cx: &mut Cx<'_>) -> Result<StandardMetrics> {
    let config: StatsConfig = match typed {
        Typed::Struct(_, value) => serde_json::from_value(value)
            .map_err(|error| Error::new(error.to_string()))
            .at("value")?,
        message @ Typed::Message(..) => self::message(message)?,
    };
    let StatsConfig {
        disable_host_header_fallback,
        metrics,
        definitions,
    } = config;
    left_out!(
        cx,
        "stats.PluginConfig",
        "there are Istio's standard metrics only, and no host of a request is a tag",
        definitions,
        disable_host_header_fallback,
    );
    for (tag, expression) in metrics.iter().flat_map(|metric| &metric.dimensions) {
        if let Err(error) = compiled(expression) {
            let message = format!("tag {tag} is \"unknown\": {expression:?}: {error}");
            cx.notice("stats.PluginConfig.metrics.dimensions", message);
        }
    }
    Ok(standard_metrics(metrics))
}

/// Changes in their order, the later over the earlier, as Istio's filter applies them.
fn standard_metrics(configs: Vec<MetricConfig>) -> StandardMetrics {
    let mut changes = Metric::ALL.map(|_| Some(BTreeMap::<String, Option<String>>::new()));
    for config in configs {
        for ((_, name), changes) in Metric::ALL.iter().zip(&mut changes) {
            if config.drop && config.name == *name {
                *changes = None;
            }
            let selected = config.name.is_empty() || config.name == *name;
            let Some(changes) = changes.as_mut().filter(|_| selected && !config.drop) else {
                continue;
            };
            let removed = config.tags_to_remove.iter();
            changes.extend(removed.map(|tag| (tag.clone(), None)));
            let given = config.dimensions.iter();
            changes.extend(given.map(|(tag, value)| (tag.clone(), Some(value.clone()))));
        }
    }
    let mut groups: Vec<(BTreeMap<String, Option<String>>, u16)> = Vec::new();
    for ((metric, _), changes) in Metric::ALL.iter().zip(changes) {
        let Some(changes) = changes else { continue };
        match groups.iter_mut().find(|(others, _)| *others == changes) {
            Some((_, metrics)) => *metrics |= metric.bit(),
            None => groups.push((changes, metric.bit())),
        }
    }
    let groups: Box<[MetricGroup]> = groups
        .into_iter()
        .map(|(changes, metrics)| MetricGroup {
            metrics,
            changes: changes.into_iter().map(change).collect(),
        })
        .collect();
    let programs = || {
        let changes = groups.iter().flat_map(|group| &group.changes);
        changes.filter_map(|change| match &change.value {
            TagOverride::Of(program) => Some(&**program),
            TagOverride::Removed | TagOverride::Unknown => None,
        })
    };
    let reads = |test: fn(&Attribute) -> bool| {
        programs().any(|program| program.attributes().into_iter().any(test))
    };
    StandardMetrics {
        reads_head: programs().next().is_some(),
        reads_headers: reads(telemetry::needs_headers),
        reads_trailers: reads(telemetry::needs_trailers),
        groups,
    }
}

/// With what Istio's filter leaves on: texts are made and joined.
fn compiled(expression: &str) -> std::result::Result<Program, meltemi_cel::Error> {
    let options = Options {
        string_conversion: true,
        string_concatenation: true,
    };
    Program::compile(expression, options)
}

fn change((tag, expression): (String, Option<String>)) -> TagChange {
    TagChange {
        standard: telemetry::is_standard_tag(&tag),
        tag: tag.into(),
        value: match expression.as_deref().map(compiled) {
            None => TagOverride::Removed,
            Some(Ok(program)) => TagOverride::Of(Box::new(program)),
            Some(Err(_)) => TagOverride::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_with_the_same_tags_are_one_group() {
        let config: StatsConfig = serde_json::from_value(serde_json::json!({ "metrics": [
            { "tags_to_remove": ["reporter"] },
            { "name": "requests_total", "dimensions": { "op": "request.method", "bad": "(" } },
            { "name": "request_bytes", "drop": true },
        ] }))
        .unwrap();
        let metrics = standard_metrics(config.metrics);
        assert!(metrics.reads_head && !metrics.reads_headers);
        let [first, others] = &metrics.groups[..] else {
            panic!("{} groups", metrics.groups.len())
        };
        assert_eq!(first.metrics, Metric::Requests.bit());
        let tags: Vec<&str> = first.changes.iter().map(|change| &*change.tag).collect();
        assert_eq!(tags, ["bad", "op", "reporter"]);
        assert!(matches!(first.changes[0].value, TagOverride::Unknown));
        assert!(matches!(first.changes[1].value, TagOverride::Of(_)));
        assert!(matches!(first.changes[2].value, TagOverride::Removed));
        assert!(others.tells(Metric::TcpSent) && !others.tells(Metric::RequestBytes));
        let plain = standard_metrics(Vec::new());
        assert!(plain.groups.len() == 1 && plain.groups[0].changes.is_empty());
    }
}
