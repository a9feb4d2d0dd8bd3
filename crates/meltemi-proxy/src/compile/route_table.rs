//! `RouteConfiguration` and its virtual hosts.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::context::Cx;
use super::headers;
use super::per_filter::PerFilter;
use super::presence::{harmless, left_out, refuse};
use super::route::{Inherited, route};
use super::{At, Error, Result};
use super::{forward, pb, retry};
use crate::model::{RequireTls, RouteTable, VirtualHost};
use pb::route as proto;
use std::collections::HashMap;

/// Compiles a whole table. `hash` identifies the message it came from.
pub fn route_table(
    value: proto::RouteConfiguration,
    hash: u64,
    cx: &mut Cx<'_>,
) -> Result<RouteTable> {
    let proto::RouteConfiguration {
        name,
        virtual_hosts,
        vhds,
        internal_only_headers,
        response_headers_to_add,
        response_headers_to_remove,
        request_headers_to_add,
        request_headers_to_remove,
        most_specific_header_mutations_wins,
        validate_clusters,
        max_direct_response_body_size_bytes,
        cluster_specifier_plugins,
        request_mirror_policies,
        ignore_port_in_host_matching,
        vhost_header,
        ignore_path_parameters_in_path_matching,
        typed_per_filter_config,
        metadata,
        route_specifiers,
    } = value;
    refuse!(
        vhds,
        internal_only_headers,
        most_specific_header_mutations_wins,
        cluster_specifier_plugins,
        vhost_header,
        ignore_path_parameters_in_path_matching,
        route_specifiers,
    );
    // An unknown cluster is answered when a request meets it, whether or not the control
    // plane asked for an earlier check.
    harmless!(validate_clusters, metadata);
    let max_body = super::basic::u32_or(max_direct_response_body_size_bytes, 4096);
    let inherited = Inherited {
        filters: PerFilter::compile(typed_per_filter_config)?,
        mirrors: forward::mirrors(request_mirror_policies, cx)?,
        retry: None,
        max_body,
    };
    let mut table = RouteTable {
        name: name.into(),
        hosts: Vec::with_capacity(virtual_hosts.len()),
        exact: HashMap::new(),
        suffix: Vec::new(),
        prefix: Vec::new(),
        any: None,
        ignore_port: ignore_port_in_host_matching,
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
        hash,
    };
    for (index, host) in virtual_hosts.into_iter().enumerate() {
        for domain in &host.domains {
            add_domain(&mut table, domain, index as u32).nth("virtual_hosts", index)?;
        }
        let host = virtual_host(host, &inherited, cx).nth("virtual_hosts", index)?;
        table.hosts.push(host);
    }
    table
        .suffix
        .sort_by_key(|(domain, _)| std::cmp::Reverse(domain.len()));
    table
        .prefix
        .sort_by_key(|(domain, _)| std::cmp::Reverse(domain.len()));
    Ok(table)
}

fn add_domain(table: &mut RouteTable, domain: &str, host: u32) -> Result<()> {
    let folded = domain.to_ascii_lowercase();
    let new = if folded == "*" {
        table.any.replace(host).is_none()
    } else if let Some(suffix) = folded.strip_prefix('*') {
        let new = table.suffix.iter().all(|(known, _)| **known != *suffix);
        table.suffix.push((suffix.into(), host));
        new
    } else if let Some(prefix) = folded.strip_suffix('*') {
        let new = table.prefix.iter().all(|(known, _)| **known != *prefix);
        table.prefix.push((prefix.into(), host));
        new
    } else {
        table.exact.insert(folded.into(), host).is_none()
    };
    if new {
        Ok(())
    } else {
        // Envoy refuses it too: which host would win depends on chance.
        Err(Error::new(format!("{domain:?} stands in two virtual hosts")).at_field("domains"))
    }
}

fn virtual_host(
    value: proto::VirtualHost,
    table: &Inherited,
    cx: &mut Cx<'_>,
) -> Result<VirtualHost> {
    use proto::virtual_host::TlsRequirementType;
    let require_tls = match value.require_tls() {
        TlsRequirementType::None => RequireTls::No,
        TlsRequirementType::ExternalOnly => RequireTls::ExternalOnly,
        TlsRequirementType::All => RequireTls::All,
    };
    let proto::VirtualHost {
        name,
        domains,
        routes,
        matcher,
        require_tls: _,
        virtual_clusters,
        rate_limits,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        cors,
        typed_per_filter_config,
        include_request_attempt_count,
        include_attempt_count_in_response,
        retry_policy,
        retry_policy_typed_config,
        hedge_policy,
        include_is_timeout_retry_header,
        per_request_buffer_limit_bytes,
        request_body_buffer_limit,
        request_mirror_policies,
        metadata,
        route_specifiers,
    } = value;
    if domains.is_empty() {
        return Err(Error::missing("domains"));
    }
    refuse!(
        matcher,
        rate_limits,
        cors,
        retry_policy_typed_config,
        hedge_policy,
        include_is_timeout_retry_header,
        per_request_buffer_limit_bytes,
        request_body_buffer_limit,
        route_specifiers,
    );
    left_out!(
        cx,
        "VirtualHost",
        "statistics by virtual cluster are not kept",
        virtual_clusters
    );
    harmless!(metadata);
    let mirrors = forward::mirrors(request_mirror_policies, cx)?;
    let inherited = Inherited {
        filters: PerFilter::compile(typed_per_filter_config)?.or(&table.filters),
        mirrors: if mirrors.is_empty() {
            table.mirrors.clone()
        } else {
            mirrors
        },
        retry: retry_policy
            .map(|policy| retry::policy(policy, cx))
            .transpose()
            .at("retry_policy")?
            .map(Into::into),
        max_body: table.max_body,
    };
    let mut compiled = Vec::with_capacity(routes.len());
    for (index, value) in routes.into_iter().enumerate() {
        compiled.push(route(value, &inherited, cx).nth("routes", index)?.into());
    }
    Ok(VirtualHost {
        name: name.into(),
        routes: compiled,
        require_tls,
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
        attempt_count_in_request: include_request_attempt_count,
        attempt_count_in_response: include_attempt_count_in_response,
    })
}
