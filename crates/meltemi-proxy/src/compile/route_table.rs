//! `RouteConfiguration` and its virtual hosts.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::{self, from_ads};
use super::context::Cx;
use super::forward::Inherited;
use super::headers;
use super::per_filter;
use super::presence::{harmless, left_out, refuse};
use super::route::route;
use super::{At, Error, Result};
use super::{forward, pb, rate_limit, retry};
use crate::model::{Domains, RequireTls, RouteTable, VirtualHost};
use pb::route as proto;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A `RouteConfiguration`: its own virtual hosts, and what those inherit that are discovered
/// apart from it (VHDS).
pub struct RouteFrame {
    own: RouteTable,
    inherited: Inherited,
    /// Virtual hosts are to be discovered; how long the first are waited for, 0: for ever.
    pub discovery: Option<Duration>,
}

/// A domain of two virtual hosts: which would win depends on chance, and Envoy refuses it too.
#[derive(Debug)]
pub struct Conflict {
    pub domain: Box<str>,
    /// Positions of the host that had it and of the one that has it as well.
    pub hosts: [usize; 2],
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        let domain = conflict.domain;
        Error::new(format!("{domain:?} stands in two virtual hosts")).at_field("domains")
    }
}

/// Compiles a table that has all of its virtual hosts itself.
pub fn route_table(value: proto::RouteConfiguration, cx: &mut Cx<'_>) -> Result<RouteTable> {
    let frame = RouteFrame::compile(value, cx)?;
    if frame.discovery.is_some() {
        return Err(Error::unsupported("vhds"));
    }
    Ok(frame.own)
}

impl RouteFrame {
    /// Compiles the message without the virtual hosts that are discovered.
    pub fn compile(value: proto::RouteConfiguration, cx: &mut Cx<'_>) -> Result<Self> {
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
        let discovery = vhds
            .map(|proto::Vhds { config_source }| from_ads(config_source))
            .transpose();
        let max_body = basic::u32_or(max_direct_response_body_size_bytes, 4096);
        let inherited = Inherited {
            filters: per_filter::overrides(typed_per_filter_config, cx)?,
            mirrors: forward::mirrors(request_mirror_policies, cx)?,
            retry: None,
            max_body,
        };
        let mut hosts = Vec::with_capacity(virtual_hosts.len());
        for (index, host) in virtual_hosts.into_iter().enumerate() {
            let host = virtual_host(host, &inherited, cx).nth("virtual_hosts", index)?;
            hosts.push(Arc::new(host));
        }
        let domains = match domains(&hosts) {
            Ok(domains) => domains,
            Err(conflict) => {
                let [_, index] = conflict.hosts;
                return Err(conflict.into()).nth("virtual_hosts", index);
            }
        };
        let own = RouteTable {
            name: name.into(),
            hosts,
            domains: Arc::new(domains),
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
        };
        Ok(Self {
            own,
            inherited,
            discovery: discovery.at("config_source").at("vhds")?,
        })
    }

    /// Compiles a virtual host that was discovered.
    pub fn virtual_host(&self, value: proto::VirtualHost, cx: &mut Cx<'_>) -> Result<VirtualHost> {
        virtual_host(value, &self.inherited, cx)
    }

    /// How many virtual hosts the message has itself. They stand before those discovered.
    pub fn own_hosts(&self) -> usize {
        self.own.hosts.len()
    }

    /// The table with the hosts that were discovered.
    pub fn table<'a>(
        &self,
        discovered: impl IntoIterator<Item = &'a Arc<VirtualHost>>,
    ) -> std::result::Result<RouteTable, Conflict> {
        let discovered = discovered.into_iter().cloned();
        let hosts: Vec<_> = self.own.hosts.iter().cloned().chain(discovered).collect();
        Ok(RouteTable {
            domains: Arc::new(domains(&hosts)?),
            hosts,
            ..self.own.clone()
        })
    }
}

fn domains(hosts: &[Arc<VirtualHost>]) -> std::result::Result<Domains, Conflict> {
    let mut domains = Domains::default();
    let mut wildcards: HashMap<&str, u32> = HashMap::new();
    let all = (0..).zip(hosts);
    for (host, domain) in all.flat_map(|(index, host)| host.domains.iter().map(move |d| (index, d)))
    {
        let former = if **domain == *"*" {
            domains.any.replace(host)
        } else if let Some(suffix) = domain.strip_prefix('*') {
            domains.suffix.push((suffix.into(), host));
            wildcards.insert(domain, host)
        } else if let Some(prefix) = domain.strip_suffix('*') {
            domains.prefix.push((prefix.into(), host));
            wildcards.insert(domain, host)
        } else {
            domains.exact.insert(domain.clone(), host)
        };
        if let Some(former) = former {
            return Err(Conflict {
                domain: domain.clone(),
                hosts: [former as usize, host as usize],
            });
        }
    }
    let longest_first = |(domain, _): &(Box<str>, u32)| std::cmp::Reverse(domain.len());
    domains.suffix.sort_by_key(longest_first);
    domains.prefix.sort_by_key(longest_first);
    Ok(domains)
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
        filters: per_filter::overrides(typed_per_filter_config, cx)?.over(&table.filters),
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
        domains: domains
            .iter()
            .map(|domain| domain.to_ascii_lowercase().into())
            .collect(),
        routes: compiled.into_iter().collect(),
        require_tls,
        rate_limits: rate_limit::all(rate_limits)?,
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
