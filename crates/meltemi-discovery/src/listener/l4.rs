//! Filter chains of TCP and TLS routes, for one service port of a sidecar's listener.

use meltemi_registry::{Port, Resolution, Service};

use super::filters::Side;
use super::tcp;
use crate::hosts;
use crate::issue::Issues;
use crate::names;
use crate::pb::{self, core, listener};
use crate::proxy::Proxy;
use crate::world::destination_rule;
use crate::world::scope::{Egress, Scope};
use crate::world::virtual_service::{MESH, ResolvedVirtualService};

/// One chain before it becomes protobuf.
#[derive(Debug, Default)]
pub struct Chain {
    /// Server names; empty: any.
    pub sni: Vec<String>,
    /// Destination ranges in CIDR form; empty: any.
    pub subnets: Vec<String>,
    pub filters: Vec<listener::Filter>,
    pub metadata: Option<core::Metadata>,
}

impl Chain {
    /// Takes every connection that comes here.
    pub fn is_catch_all(&self) -> bool {
        self.sni.is_empty() && self.subnets.is_empty()
    }

    /// Takes the same connections as another.
    pub fn same_match(&self, other: &Self) -> bool {
        self.sni == other.sni && self.subnets == other.subnets
    }

    pub fn build(self) -> listener::FilterChain {
        let filter_chain_match = (!self.is_catch_all()).then(|| listener::FilterChainMatch {
            server_names: self.sni,
            prefix_ranges: self
                .subnets
                .iter()
                .filter_map(|range| cidr(range))
                .collect(),
            ..Default::default()
        });
        listener::FilterChain {
            filter_chain_match,
            metadata: self.metadata,
            ..super::chain(self.filters)
        }
    }
}

/// `ADDRESS/LENGTH`, or one address.
pub fn cidr(text: &str) -> Option<core::CidrRange> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, length.parse().ok()?),
        None => {
            let ip: std::net::IpAddr = text.parse().ok()?;
            (text, if ip.is_ipv4() { 32 } else { 128 })
        }
    };
    Some(core::CidrRange {
        address_prefix: address.to_owned(),
        prefix_len: pb::u32v(length),
    })
}

/// What the routes of a service port are looked up with.
pub struct Input<'a, 'w> {
    pub scope: &'a Scope<'w>,
    pub proxy: &'a Proxy,
    pub egress: &'a Egress<'w>,
    pub service: &'a Service,
    pub port: &'a Port,
    /// The service's address ranges, where the listener itself does not tell services apart.
    pub subnets: &'a [String],
    /// The listener's address is nobody's in particular.
    pub shared_address: bool,
}

impl<'w> Input<'_, 'w> {
    fn virtual_services(&self) -> impl Iterator<Item = &'w ResolvedVirtualService> {
        self.egress
            .virtual_services
            .iter()
            .map(|service| &***service)
            .filter(|virtual_service| {
                virtual_service
                    .spec
                    .hosts
                    .iter()
                    .any(|host| hosts::covers(host, &self.service.hostname))
            })
    }

    fn applies(
        &self,
        virtual_service: &ResolvedVirtualService,
        gateways: &[String],
        port: u32,
        labels: &std::collections::BTreeMap<String, String>,
        namespace: &str,
    ) -> bool {
        virtual_service.gateway_matches(gateways, MESH)
            && (port == 0 || port == u32::from(self.port.number))
            && self.scope.is_source(labels, namespace)
    }

    fn own_subnet(&self) -> Vec<String> {
        self.subnets.to_vec()
    }

    /// To the service itself, by its DestinationRule.
    fn default_filters(&self) -> Vec<listener::Filter> {
        let cluster = names::outbound(self.port.number, "", &self.service.hostname);
        let mut config = tcp::to_cluster(self.scope, self.proxy, Side::Outbound, &cluster);
        if let Some(rule) = self.scope.rule(self.service) {
            let policy = destination_rule::at_port(rule.traffic_policy.as_ref(), self.port.number);
            tcp::apply(&mut config, &policy);
        }
        tcp::chain(self.scope, self.proxy, Side::Outbound, &config)
    }
}

/// The chains of a port that carries TLS or plain TCP.
pub fn chains(input: &Input<'_, '_>, issues: &mut Issues) -> Vec<Chain> {
    if input.port.protocol.is_tls() {
        let routed = tls(input, issues);
        if !routed.is_empty() {
            return routed;
        }
        let dynamic = input.service.resolution == Resolution::DynamicDns;
        let sni = if dynamic || input.shared_address || !input.subnets.is_empty() {
            vec![input.service.hostname.to_string()]
        } else {
            Vec::new()
        };
        return vec![Chain {
            sni,
            subnets: input.own_subnet(),
            filters: input.default_filters(),
            metadata: None,
        }];
    }
    plain(input, issues)
}

fn tls(input: &Input<'_, '_>, issues: &mut Issues) -> Vec<Chain> {
    let mut chains = Vec::new();
    for virtual_service in input.virtual_services() {
        for (index, route) in virtual_service.spec.tls.iter().enumerate() {
            for (position, matching) in route.matches.iter().enumerate() {
                if !input.applies(
                    virtual_service,
                    &matching.gateways,
                    matching.port,
                    &matching.source_labels,
                    &matching.source_namespace,
                ) {
                    continue;
                }
                let subnets = if matching.destination_subnets.is_empty() {
                    input.own_subnet()
                } else {
                    matching.destination_subnets.clone()
                };
                let config = tcp::to_destinations(
                    input.scope,
                    input.proxy,
                    virtual_service,
                    &route.route,
                    input.port.number,
                    &virtual_service.tls_rules[index],
                    issues,
                );
                let mut sni = matching.sni_hosts.clone();
                sni.sort();
                push(
                    &mut chains,
                    Chain {
                        sni,
                        subnets,
                        filters: tcp::chain(input.scope, input.proxy, Side::Outbound, &config),
                        metadata: Some(
                            virtual_service
                                .tls_rule(index, position)
                                .metadata(&virtual_service.key),
                        ),
                    },
                );
            }
        }
    }
    chains
}

fn plain(input: &Input<'_, '_>, issues: &mut Issues) -> Vec<Chain> {
    let mut chains = Vec::new();
    for virtual_service in input.virtual_services() {
        let key = &virtual_service.key;
        for (index, route) in virtual_service.spec.tcp.iter().enumerate() {
            let applicable: Vec<_> = route
                .matches
                .iter()
                .filter(|matching| {
                    input.applies(
                        virtual_service,
                        &matching.gateways,
                        matching.port,
                        &matching.source_labels,
                        &matching.source_namespace,
                    )
                })
                .collect();
            if applicable.is_empty() && !route.matches.is_empty() {
                continue;
            }
            for (position, matching) in route.matches.iter().enumerate() {
                if !matching.source_subnet.is_empty() {
                    issues.add(
                        key,
                        format!("spec.tcp[{index}].match[{position}].sourceSubnet"),
                        "not supported (Istio ignores it as well); remove it, the route applies to all sources",
                    );
                }
            }
            let config = tcp::to_destinations(
                input.scope,
                input.proxy,
                virtual_service,
                &route.route,
                input.port.number,
                &virtual_service.tcp_rules[index],
                issues,
            );
            let subnets: Vec<String> = applicable
                .iter()
                .flat_map(|matching| matching.destination_subnets.iter().cloned())
                .collect();
            let everything = applicable
                .iter()
                .any(|matching| matching.destination_subnets.is_empty());
            let catches_all = subnets.is_empty() || everything;
            push(
                &mut chains,
                Chain {
                    sni: Vec::new(),
                    subnets: if catches_all {
                        input.own_subnet()
                    } else {
                        subnets
                    },
                    filters: tcp::chain(input.scope, input.proxy, Side::Outbound, &config),
                    metadata: Some(virtual_service.tcp_rules[index].metadata(key)),
                },
            );
            if catches_all {
                return chains;
            }
        }
    }
    push(
        &mut chains,
        Chain {
            sni: Vec::new(),
            subnets: input.own_subnet(),
            filters: input.default_filters(),
            metadata: None,
        },
    );
    chains
}

/// The first of chains with the same match counts; Envoy refuses two.
pub fn push(chains: &mut Vec<Chain>, chain: Chain) -> bool {
    if chains.iter().any(|existing| existing.same_match(&chain)) {
        return false;
    }
    chains.push(chain);
    true
}
