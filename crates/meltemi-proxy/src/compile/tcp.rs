//! The TCP proxy.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::{timeout, u32_or};
use super::context::Cx;
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result};
use super::{access_log, headers, pb};
use crate::model::{HashPolicy, TcpProxy, Tunneling};
use http::uri::PathAndQuery;
use pb::tcp as proto;
use std::time::Duration;

/// Envoy's `idle_timeout`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

pub fn proxy(value: proto::TcpProxy, cx: &mut Cx<'_>) -> Result<TcpProxy> {
    use proto::tcp_proxy::ClusterSpecifier;
    let proto::TcpProxy {
        stat_prefix,
        on_demand,
        metadata_match,
        idle_timeout,
        downstream_idle_timeout,
        upstream_idle_timeout,
        access_log,
        max_connect_attempts,
        backoff_options,
        hash_policy,
        tunneling_config,
        max_downstream_connection_duration,
        max_downstream_connection_duration_jitter_percentage,
        access_log_flush_interval,
        flush_access_log_on_connected,
        access_log_options,
        proxy_protocol_tlvs,
        proxy_protocol_tlv_merge_policy,
        upstream_connect_mode,
        max_early_data_bytes,
        check_drain_close,
        cluster_specifier,
    } = value;
    refuse!(
        on_demand,
        metadata_match,
        downstream_idle_timeout,
        upstream_idle_timeout,
        backoff_options,
        proxy_protocol_tlvs,
        proxy_protocol_tlv_merge_policy,
        upstream_connect_mode,
        max_early_data_bytes,
    );
    harmless!(check_drain_close);
    left_out!(
        cx,
        "TcpProxy",
        "access log lines are written at the end of a connection only",
        access_log_flush_interval,
        flush_access_log_on_connected,
        access_log_options,
    );
    left_out!(
        cx,
        "TcpProxy",
        "connections end without jitter",
        max_downstream_connection_duration_jitter_percentage,
    );
    let clusters: Box<[_]> = match cluster_specifier {
        None => return Err(Error::missing("cluster")),
        Some(ClusterSpecifier::Cluster(name)) => Box::new([(cx.names.cluster(&name), 1)]),
        Some(ClusterSpecifier::WeightedClusters(value)) => {
            weighted(value, cx).at("weighted_clusters")?
        }
    };
    let total_weight = clusters
        .iter()
        .try_fold(0u32, |total, (_, weight)| total.checked_add(*weight))
        .filter(|total| *total > 0)
        .ok_or_else(|| {
            Error::new("weights add up to nothing or too much").at_field("weighted_clusters")
        })?;
    Ok(TcpProxy {
        stat_prefix: stat_prefix.into(),
        clusters,
        total_weight,
        idle_timeout: timeout(idle_timeout, Some(IDLE_TIMEOUT)).at("idle_timeout")?,
        max_connect_attempts: u32_or(max_connect_attempts, 1).max(1),
        max_connection_duration: timeout(max_downstream_connection_duration, None)
            .at("max_downstream_connection_duration")?,
        hash_policy: hash_policies(hash_policy).at("hash_policy")?,
        sni_forward: None,
        tunneling: tunneling_config
            .map(tunneling)
            .transpose()
            .at("tunneling_config")?,
        access_logs: access_log::all(access_log, cx)?,
    })
}

fn weighted(
    value: proto::tcp_proxy::WeightedCluster,
    cx: &mut Cx<'_>,
) -> Result<Box<[(crate::model::ClusterId, u32)]>> {
    let proto::tcp_proxy::WeightedCluster { clusters } = value;
    clusters
        .into_iter()
        .map(|value| {
            let proto::tcp_proxy::weighted_cluster::ClusterWeight {
                name,
                weight,
                metadata_match,
            } = value;
            refuse!(metadata_match);
            Ok((cx.names.cluster(&name), weight))
        })
        .collect()
}

fn tunneling(value: proto::tcp_proxy::TunnelingConfig) -> Result<Tunneling> {
    let proto::tcp_proxy::TunnelingConfig {
        hostname,
        use_post,
        headers_to_add,
        propagate_response_headers,
        post_path,
        propagate_response_trailers,
        request_id_extension,
        request_id_header,
        request_id_metadata_key,
        formatters,
    } = value;
    refuse!(
        request_id_extension,
        request_id_header,
        request_id_metadata_key,
        formatters,
    );
    // They would be filter state, which nothing here reads.
    harmless!(propagate_response_headers, propagate_response_trailers);
    if hostname.is_empty() {
        return Err(Error::missing("hostname"));
    }
    let post = match (use_post, post_path.as_str()) {
        (false, "") => None,
        (false, _) => return Err(Error::new("needs use_post").at_field("post_path")),
        (true, "") => Some(PathAndQuery::from_static("/")),
        (true, path) => Some(
            PathAndQuery::try_from(path)
                .map_err(|_| Error::new("is no path"))
                .at("post_path")?,
        ),
    };
    Ok(Tunneling {
        hostname: headers::text_value(&hostname).at("hostname")?,
        post,
        headers: headers::operations(headers_to_add, Vec::new(), "headers")?,
    })
}

fn hash_policies(values: Vec<pb::types::HashPolicy>) -> Result<Box<[HashPolicy]>> {
    use pb::types::hash_policy::PolicySpecifier;
    values
        .into_iter()
        .map(|value| match value.policy_specifier {
            Some(PolicySpecifier::SourceIp(_)) => Ok(HashPolicy::SourceIp { terminal: true }),
            Some(PolicySpecifier::FilterState(_)) => Err(Error::unsupported("filter_state")),
            None => Err(Error::new("is empty")),
        })
        .collect()
}
