//! The route action that forwards to a cluster.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::{bool_or, duration, runtime_fraction, timeout};
use super::context::Cx;
use super::per_filter;
use super::presence::{harmless, refuse};
use super::protocol;
use super::{At, Error, Result};
use super::{headers, matching, pb, rate_limit, retry, subset};
use crate::model::{
    ClusterChoice, Forward, HashPolicy, HostRewrite, Mirror, Overrides, PathRewrite, RetryPolicy,
    WeightedCluster,
};
use http::StatusCode;
use pb::route as proto;
use std::sync::Arc;
use std::time::Duration;

/// Envoy's route timeout where none is configured.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// What a route takes from its virtual host and table when it says nothing itself.
pub struct Inherited {
    pub filters: Overrides,
    pub mirrors: Vec<Mirror>,
    pub retry: Option<Arc<RetryPolicy>>,
    /// Bound on a direct response's body in bytes.
    pub max_body: u32,
}

/// `filters` is what the route says to filters, weighted clusters apart.
pub fn forward(
    value: proto::RouteAction,
    filters: &Overrides,
    above: &Inherited,
    cx: &mut Cx<'_>,
) -> Result<Forward> {
    use proto::route_action::{ClusterNotFoundResponseCode, InternalRedirectAction};
    let cluster_not_found = match value.cluster_not_found_response_code() {
        ClusterNotFoundResponseCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ClusterNotFoundResponseCode::NotFound => StatusCode::NOT_FOUND,
        ClusterNotFoundResponseCode::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if value.internal_redirect_action() != InternalRedirectAction::PassThroughInternalRedirect {
        return Err(Error::unsupported("internal_redirect_action"));
    }
    let high_priority = value.priority() == pb::core::RoutingPriority::High;
    let proto::RouteAction {
        cluster_not_found_response_code: _,
        metadata_match,
        prefix_rewrite,
        regex_rewrite,
        path_rewrite_policy,
        path_rewrite,
        append_x_forwarded_host,
        timeout: route_timeout,
        idle_timeout,
        flush_timeout,
        early_data_policy,
        retry_policy,
        retry_policy_typed_config,
        request_mirror_policies,
        priority: _,
        rate_limits,
        include_vh_rate_limits,
        hash_policy,
        cors,
        max_grpc_timeout,
        grpc_timeout_offset,
        upgrade_configs,
        internal_redirect_policy,
        internal_redirect_action: _,
        max_internal_redirects,
        hedge_policy,
        max_stream_duration,
        cluster_specifier,
        host_rewrite_specifier,
    } = value;
    refuse!(
        path_rewrite_policy,
        path_rewrite,
        flush_timeout,
        early_data_policy,
        retry_policy_typed_config,
        cors,
        grpc_timeout_offset,
        internal_redirect_policy,
        max_internal_redirects,
        hedge_policy,
    );
    let (max_stream_duration, grpc_header_max) = match max_stream_duration {
        None => (None, None),
        Some(value) => stream_duration(value).at("max_stream_duration")?,
    };
    let own_mirrors = mirrors(request_mirror_policies, cx)?;
    let criteria = subset::route_criteria(metadata_match);
    let mut cluster = cluster_specifier
        .ok_or_else(|| Error::missing("cluster"))
        .and_then(|value| choice(value, filters, cx))?;
    if let ClusterChoice::Weighted { clusters, .. } = &mut cluster {
        for weighted in clusters {
            let own = std::mem::take(&mut weighted.criteria);
            weighted.criteria = subset::merged(own, &criteria);
        }
    }
    let (upgrades, ends_connect) = upgrades(upgrade_configs).at("upgrade_configs")?;
    Ok(Forward {
        cluster,
        criteria,
        cluster_not_found,
        timeout: timeout(route_timeout, Some(DEFAULT_TIMEOUT)).at("timeout")?,
        idle_timeout: timeout(idle_timeout, None).at("idle_timeout")?,
        // 0 takes the header's value without a bound; the newer field wins, as in Envoy.
        max_grpc_timeout: match grpc_header_max {
            Some(max) => Some(max),
            None => max_grpc_timeout
                .map(duration)
                .transpose()
                .at("max_grpc_timeout")?,
        },
        max_stream_duration,
        retry: match retry_policy {
            Some(policy) => Some(Arc::new(retry::policy(policy, cx).at("retry_policy")?)),
            None => above.retry.clone(),
        },
        host_rewrite: host_rewrite(host_rewrite_specifier)?,
        append_x_forwarded_host,
        path_rewrite: path_rewriting(prefix_rewrite, regex_rewrite)?,
        mirrors: if own_mirrors.is_empty() {
            above.mirrors.clone().into()
        } else {
            own_mirrors.into()
        },
        hash_policy: hash_policies(hash_policy)?,
        rate_limits: rate_limit::all(rate_limits)?,
        include_host_rate_limits: bool_or(include_vh_rate_limits, false),
        upgrades,
        ends_connect,
        high_priority,
    })
}

fn stream_duration(
    value: proto::route_action::MaxStreamDuration,
) -> Result<(Option<Duration>, Option<Duration>)> {
    let proto::route_action::MaxStreamDuration {
        max_stream_duration,
        grpc_timeout_header_max,
        grpc_timeout_header_offset,
    } = value;
    refuse!(grpc_timeout_header_offset);
    Ok((
        timeout(max_stream_duration, None).at("max_stream_duration")?,
        grpc_timeout_header_max
            .map(duration)
            .transpose()
            .at("grpc_timeout_header_max")?,
    ))
}

fn path_rewriting(
    prefix: String,
    regex: Option<pb::matcher::RegexMatchAndSubstitute>,
) -> Result<PathRewrite> {
    match (prefix.is_empty(), regex) {
        (true, None) => Ok(PathRewrite::None),
        (false, None) => Ok(PathRewrite::Prefix(prefix.into())),
        (true, Some(value)) => {
            let (regex, text) = matching::substitution(value).at("regex_rewrite")?;
            Ok(PathRewrite::Regex(regex, text))
        }
        (false, Some(_)) => Err(Error::new("excludes prefix_rewrite").at_field("regex_rewrite")),
    }
}

fn host_rewrite(value: Option<proto::route_action::HostRewriteSpecifier>) -> Result<HostRewrite> {
    use proto::route_action::HostRewriteSpecifier as Specifier;
    Ok(match value {
        None => HostRewrite::None,
        Some(Specifier::HostRewriteLiteral(host)) => HostRewrite::Literal(host.into()),
        Some(Specifier::AutoHostRewrite(auto)) if auto.value => HostRewrite::Auto,
        Some(Specifier::AutoHostRewrite(_)) => HostRewrite::None,
        Some(Specifier::HostRewriteHeader(name)) => {
            HostRewrite::Header(matching::header_name(&name).at("host_rewrite_header")?)
        }
        Some(Specifier::HostRewritePathRegex(_)) => {
            return Err(Error::unsupported("host_rewrite_path_regex"));
        }
        Some(Specifier::HostRewrite(_)) => return Err(Error::unsupported("host_rewrite")),
    })
}

fn choice(
    value: proto::route_action::ClusterSpecifier,
    route: &Overrides,
    cx: &mut Cx<'_>,
) -> Result<ClusterChoice> {
    use proto::route_action::ClusterSpecifier as Specifier;
    match value {
        Specifier::Cluster(name) if name.is_empty() => Err(Error::missing("cluster")),
        Specifier::Cluster(name) => Ok(ClusterChoice::One(cx.names.cluster(&name))),
        Specifier::ClusterHeader(name) => matching::header_name(&name)
            .map(ClusterChoice::Header)
            .at("cluster_header"),
        Specifier::WeightedClusters(value) => weighted(value, route, cx).at("weighted_clusters"),
        Specifier::ClusterSpecifierPlugin(_) => Err(Error::unsupported("cluster_specifier_plugin")),
        Specifier::InlineClusterSpecifierPlugin(_) => {
            Err(Error::unsupported("inline_cluster_specifier_plugin"))
        }
    }
}

fn weighted(
    value: proto::WeightedCluster,
    route: &Overrides,
    cx: &mut Cx<'_>,
) -> Result<ClusterChoice> {
    let proto::WeightedCluster {
        clusters,
        total_weight,
        runtime_key_prefix,
        random_value_specifier,
    } = value;
    refuse!(random_value_specifier);
    harmless!(runtime_key_prefix);
    let mut compiled = Vec::with_capacity(clusters.len());
    let mut total: u32 = 0;
    for (index, value) in clusters.into_iter().enumerate() {
        let cluster = weighted_cluster(value, route, cx).nth("clusters", index)?;
        total = total
            .checked_add(cluster.weight)
            .ok_or_else(|| Error::new("weights add up to more than 4294967295"))?;
        compiled.push(cluster);
    }
    if total == 0 {
        return Err(Error::new("has no weight above zero"));
    }
    if total_weight.is_some_and(|value| value.value != total) {
        return Err(Error::new("is not the sum of the weights").at_field("total_weight"));
    }
    Ok(ClusterChoice::Weighted {
        clusters: compiled.into(),
        total,
    })
}

fn weighted_cluster(
    value: proto::weighted_cluster::ClusterWeight,
    route: &Overrides,
    cx: &mut Cx<'_>,
) -> Result<WeightedCluster> {
    use proto::weighted_cluster::cluster_weight::HostRewriteSpecifier;
    let proto::weighted_cluster::ClusterWeight {
        name,
        cluster_header,
        weight,
        metadata_match,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        typed_per_filter_config,
        host_rewrite_specifier,
    } = value;
    refuse!(cluster_header);
    if name.is_empty() {
        return Err(Error::missing("name"));
    }
    let filters = per_filter::overrides(typed_per_filter_config, cx)?.over(route);
    Ok(WeightedCluster {
        cluster: cx.names.cluster(&name),
        criteria: subset::route_criteria(metadata_match),
        weight: super::basic::u32_or(weight, 0),
        host_rewrite: host_rewrite_specifier.map(|value| match value {
            HostRewriteSpecifier::HostRewriteLiteral(host) => host.into(),
        }),
        request_headers: headers::operations(
            request_headers_to_add,
            request_headers_to_remove,
            "request_headers",
        )?,
        response_headers: headers::operations(
            response_headers_to_add,
            response_headers_to_remove,
            "response_headers",
        )?,
        filters,
    })
}

pub fn mirrors(
    values: Vec<proto::route_action::RequestMirrorPolicy>,
    cx: &mut Cx<'_>,
) -> Result<Vec<Mirror>> {
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| mirror(value, cx).nth("request_mirror_policies", index))
        .collect()
}

fn mirror(value: proto::route_action::RequestMirrorPolicy, cx: &mut Cx<'_>) -> Result<Mirror> {
    let proto::route_action::RequestMirrorPolicy {
        cluster,
        cluster_header,
        runtime_fraction: fraction,
        trace_sampled,
        disable_shadow_host_suffix_append,
        request_headers_mutations,
        host_rewrite_literal,
    } = value;
    refuse!(
        cluster_header,
        request_headers_mutations,
        host_rewrite_literal
    );
    Ok(Mirror {
        cluster: cx.names.cluster(&cluster),
        fraction: fraction
            .map(runtime_fraction)
            .transpose()
            .at("runtime_fraction")?
            .unwrap_or((100, 100)),
        shadow_suffix: !disable_shadow_host_suffix_append,
        sampled: trace_sampled.map(|value| value.value),
    })
}

pub fn hash_policies(values: Vec<proto::route_action::HashPolicy>) -> Result<Box<[HashPolicy]>> {
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| hash_policy(value).nth("hash_policy", index))
        .filter_map(Result::transpose)
        .collect()
}

/// `None` for a policy that never yields a hash.
fn hash_policy(value: proto::route_action::HashPolicy) -> Result<Option<HashPolicy>> {
    use proto::route_action::hash_policy::{self as policy, PolicySpecifier as Specifier};
    let proto::route_action::HashPolicy {
        terminal,
        policy_specifier,
    } = value;
    Ok(Some(match policy_specifier {
        None => return Err(Error::new("is empty")),
        Some(Specifier::Header(policy::Header {
            header_name,
            regex_rewrite,
        })) => HashPolicy::Header {
            name: matching::header_name(&header_name).at("header.header_name")?,
            rewrite: regex_rewrite
                .map(matching::substitution)
                .transpose()
                .at("header.regex_rewrite")?,
            terminal,
        },
        Some(Specifier::Cookie(policy::Cookie {
            name,
            ttl,
            path,
            attributes,
        })) => {
            let attributes = attributes
                .iter()
                .map(
                    |policy::CookieAttribute { name, value }| match value.is_empty() {
                        true => format!("; {name}"),
                        false => format!("; {name}={value}"),
                    },
                );
            HashPolicy::Cookie {
                name: name.into(),
                ttl: ttl.map(duration).transpose().at("cookie.ttl")?,
                path: path.into(),
                attributes: attributes.collect::<String>().into(),
                terminal,
            }
        }
        Some(Specifier::ConnectionProperties(policy::ConnectionProperties { source_ip })) => {
            if !source_ip {
                return Ok(None);
            }
            HashPolicy::SourceIp { terminal }
        }
        Some(Specifier::QueryParameter(policy::QueryParameter { name })) => {
            HashPolicy::QueryParameter {
                name: name.into(),
                terminal,
            }
        }
        Some(Specifier::FilterState(_)) => return Err(Error::unsupported("filter_state")),
    }))
}

/// Lower-case tokens, and whether they are accepted.
type Upgrades = Box<[(Box<str>, bool)]>;

/// The upgrades, and whether a CONNECT ends here.
fn upgrades(values: Vec<proto::route_action::UpgradeConfig>) -> Result<(Upgrades, bool)> {
    use proto::route_action::upgrade_config::ConnectConfig;
    let mut tokens = Vec::with_capacity(values.len());
    let mut ends_connect = false;
    for value in values {
        let proto::route_action::UpgradeConfig {
            upgrade_type,
            enabled,
            connect_config,
        } = value;
        let token = protocol::upgrade_token(&upgrade_type)?;
        if let Some(config) = connect_config {
            let ConnectConfig {
                proxy_protocol_config,
                allow_post,
            } = config;
            refuse!(proxy_protocol_config, allow_post);
            if &*token != "connect" {
                return Err(Error::new("is of CONNECT only").at_field("connect_config"));
            }
            ends_connect = true;
        }
        tokens.push((token, bool_or(enabled, true)));
    }
    Ok((tokens.into(), ends_connect))
}
