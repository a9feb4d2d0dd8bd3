//! The clusters of a service: one a port, and one more a subset.

use meltemi_api::networking::{Subset, TrafficPolicy};
use meltemi_registry::{Port, Protocol, Resolution, Service, matches};

use super::traffic_policy::{self, Http};
use super::{http_options, load_balancer, named, peer_metadata, service_metadata, tls, typed};
use crate::dynamic;
use crate::issue::Issues;
use crate::names;
use crate::pb::{self, cluster, core, structs};
use crate::proxy::{Flavor, Proxy, ProxyKind};
use crate::world::destination_rule::{self, Rule};
use crate::world::peer_authentication::MtlsMode;
use crate::world::scope::Scope;

/// How a cluster finds its endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    Eds,
    /// Endpoints stand in the cluster, as names to resolve.
    StrictDns,
    LogicalDns,
    OriginalDestination,
    /// Requests and connections name their host.
    Dynamic,
    /// No endpoint at all: every request fails with "no healthy upstream".
    Static,
}

/// How a service's clusters find their endpoints, for a kind of proxy.
pub fn discovery(service: &Service, kind: ProxyKind) -> Discovery {
    match service.resolution {
        Resolution::ClientSide => Discovery::Eds,
        Resolution::Dns => Discovery::StrictDns,
        Resolution::DnsRoundRobin => Discovery::LogicalDns,
        // Istio: the target's name is resolved like a DNS ServiceEntry's.
        Resolution::Alias => Discovery::StrictDns,
        // Nobody's connection tells a gateway where it was to go.
        Resolution::Passthrough if kind == ProxyKind::Gateway => Discovery::Eds,
        Resolution::Passthrough => Discovery::OriginalDestination,
        Resolution::DynamicDns => Discovery::Dynamic,
    }
}

/// The clusters by which a gateway passes connections on to a service's sidecars, whatever they
/// hold (AUTO_PASSTHROUGH); what is wrong with the rule is said of its other clusters.
pub fn passed_on(
    scope: &Scope<'_>,
    proxy: &Proxy,
    service: &Service,
    rule: Option<&Rule>,
) -> Vec<cluster::Cluster> {
    let issues = &mut Issues::default();
    let ports = service
        .ports
        .iter()
        .filter(|port| port.protocol != Protocol::Udp);
    ports
        .flat_map(|port| of_port(scope, proxy, service, port, rule, true, issues))
        .collect()
}

/// The clusters of a service in scope, under the DestinationRule in force for it. Of the World
/// they depend on what is common to all services alone.
pub fn of_service(
    scope: &Scope<'_>,
    proxy: &Proxy,
    service: &Service,
    rule: Option<&Rule>,
    issues: &mut Issues,
) -> Vec<cluster::Cluster> {
    let mut clusters = Vec::new();
    for port in &service.ports {
        if port.protocol != Protocol::Udp {
            clusters.extend(of_port(scope, proxy, service, port, rule, false, issues));
        }
    }
    clusters
}

fn of_port(
    scope: &Scope<'_>,
    proxy: &Proxy,
    service: &Service,
    port: &Port,
    rule: Option<&Rule>,
    passed_on: bool,
    issues: &mut Issues,
) -> Vec<cluster::Cluster> {
    let mesh_default = scope.world.mesh.config.default_traffic_policy.as_ref();
    let own = rule.and_then(|rule| rule.traffic_policy.as_ref());
    let policy = destination_rule::at_port(own.or(mesh_default), port.number);
    let mut build = |policy: &TrafficPolicy, subset: Option<&Subset>| {
        let input = Input {
            scope,
            proxy,
            service,
            port,
            rule,
            policy,
            subset,
            passed_on,
        };
        cluster(&input, issues)
    };
    let mut clusters = vec![build(&policy, None)];
    for subset in rule.iter().flat_map(|rule| &rule.subsets) {
        let policy = destination_rule::at_subset(&policy, subset, port.number);
        clusters.push(build(&policy, Some(subset)));
    }
    clusters
}

struct Input<'a> {
    scope: &'a Scope<'a>,
    proxy: &'a Proxy,
    service: &'a Service,
    port: &'a Port,
    rule: Option<&'a Rule>,
    policy: &'a TrafficPolicy,
    subset: Option<&'a Subset>,
    /// Connections bring TLS, whose SNI chose the cluster.
    passed_on: bool,
}

fn cluster(input: &Input<'_>, issues: &mut Issues) -> cluster::Cluster {
    let Input {
        scope,
        proxy,
        service,
        port,
        rule,
        policy,
        subset,
        passed_on,
    } = *input;
    let subset_name = subset.map_or("", |subset| subset.name.as_str());
    let name = names::of_service(passed_on, port.number, subset_name, &service.hostname);
    let mut discovery = discovery(service, proxy.kind);
    let passthrough_lb = load_balancer::is_passthrough(policy);
    if passthrough_lb && discovery == Discovery::Eds && !passed_on {
        discovery = Discovery::OriginalDestination;
    }
    let field = policy_field(subset);
    let ends_tls = proxy.flavor == Flavor::Meltemi && !passed_on;
    if ends_tls && unsupported(policy, rule, &field, issues) {
        discovery = Discovery::Static;
    }
    let mut cluster = cluster::Cluster {
        filters: match passed_on {
            true => Vec::new(),
            false => peer_metadata(proxy),
        },
        ..named(&name, scope)
    };
    discover(&mut cluster, discovery, input);

    let mut metadata = service_metadata([service]);
    if let Some(rule) = rule {
        let path = structs::config_path("destination-rule", &rule.key.namespace, &rule.key.name);
        metadata
            .fields
            .insert("config".to_owned(), structs::string(path));
    }
    if !subset_name.is_empty() {
        metadata
            .fields
            .insert("subset".to_owned(), structs::string(subset_name));
    }
    if service.external {
        metadata
            .fields
            .insert("external".to_owned(), structs::boolean(true));
    }
    if policy.tls.as_ref().is_some_and(tls::is_custom) {
        // The ALPN filter leaves such clusters alone: their server is not a sidecar.
        metadata
            .fields
            .insert("alpn_override".to_owned(), structs::string("false"));
    }
    cluster.metadata = Some(structs::metadata("istio", metadata));

    let mut http = Http::of(scope, proxy, service, port, policy);
    traffic_policy::connection(&mut cluster, &mut http, scope, policy);
    load_balancer::apply(
        &mut cluster,
        input.scope,
        policy,
        discovery,
        rule,
        &field,
        issues,
    );
    traffic_policy::outliers(&mut cluster, policy);
    if let Some(rule) = rule {
        traffic_policy::report(policy, rule, &field, issues);
    }

    if passed_on {
        return cluster;
    }
    let tls = tls::Input {
        scope,
        proxy,
        service,
        port,
        subset: subset_name,
        policy,
        mesh_mode: mesh_mode(input, passthrough_lb),
        rule,
        field: &field,
    };
    tls::apply(&mut cluster, &mut http, &tls, discovery, issues);
    if discovery == Discovery::Dynamic {
        let names = policy.tls.as_ref();
        let names = names.map_or_else(dynamic::verified, tls::names_by_request);
        http.auto_sni = names.auto_sni;
        http.auto_san_validation = names.auto_san_validation;
        dynamic::make(
            &mut cluster,
            dynamic::cache(service),
            !names.auto_san_validation,
        );
    }
    if let Some(options) = http.options() {
        let (name, any) = http_options(&options);
        cluster.typed_extension_protocol_options.insert(name, any);
    }
    cluster
}

/// Names what Meltemi's proxy does not do; true when traffic without it would be less
/// protected than asked for, so that none may flow.
fn unsupported(
    policy: &TrafficPolicy,
    rule: Option<&Rule>,
    field: &str,
    issues: &mut Issues,
) -> bool {
    let crl = policy.tls.as_ref().is_some_and(|tls| {
        !tls.ca_crl.is_empty() && !tls.credential_name.is_empty() && tls::is_custom(tls)
    });
    if let Some(rule) = rule.filter(|_| crl) {
        issues.add(
            &rule.key,
            format!("{field}.tls.caCrl"),
            "not supported; requests fail, because a revoked certificate would be taken; name files (caCertificates) instead of credentialName, or remove it",
        );
    }
    crl
}

fn policy_field(subset: Option<&Subset>) -> String {
    match subset {
        Some(subset) => format!("spec.subsets[{}].trafficPolicy", subset.name),
        None => "spec.trafficPolicy".to_owned(),
    }
}

/// What mTLS the service's workloads take, as far as a client can know. Connections that go
/// where the application said cannot choose by endpoint: TLS only if all of them take it.
fn mesh_mode(input: &Input<'_>, passthrough_lb: bool) -> Option<MtlsMode> {
    let service = input.service;
    if service.external {
        return None;
    }
    let unknown = matches!(
        service.resolution,
        Resolution::Passthrough | Resolution::DynamicDns
    );
    if unknown || passthrough_lb {
        let endpoints = service.endpoints(input.port.number);
        if endpoints.is_empty() || endpoints.iter().any(|e| !e.workload.mutual_tls) {
            return None;
        }
    }
    let mode = input
        .scope
        .world
        .peer_authentications
        .namespace(&service.namespace);
    (mode != MtlsMode::Disable).then_some(mode)
}

fn discover(cluster: &mut cluster::Cluster, discovery: Discovery, input: &Input<'_>) {
    use cluster::cluster::DiscoveryType;
    let kind = match discovery {
        Discovery::Eds => DiscoveryType::Eds,
        Discovery::StrictDns => DiscoveryType::StrictDns,
        Discovery::LogicalDns => DiscoveryType::LogicalDns,
        Discovery::OriginalDestination => DiscoveryType::OriginalDst,
        Discovery::Static => DiscoveryType::Static,
        // Written when it is known what TLS asks of it.
        Discovery::Dynamic => return,
    };
    cluster.cluster_discovery_type = Some(typed(kind));
    match discovery {
        Discovery::Eds => {
            cluster.eds_cluster_config = Some(cluster::cluster::EdsClusterConfig {
                eds_config: Some(pb::ads()),
                service_name: cluster.name.clone(),
            });
        }
        Discovery::StrictDns | Discovery::LogicalDns => by_name(cluster, input),
        Discovery::OriginalDestination | Discovery::Dynamic | Discovery::Static => {}
    }
}

/// Endpoints that the proxy resolves stand in the cluster itself.
#[allow(
    deprecated,
    reason = "Istio writes these fields; the replacing cluster type is newer than the proxies in use"
)]
fn by_name(cluster: &mut cluster::Cluster, input: &Input<'_>) {
    use envoy_types::pb::envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig;
    let mesh = &input.scope.world.mesh;
    cluster.dns_lookup_family = cluster::cluster::DnsLookupFamily::V4Only as i32;
    cluster.dns_refresh_rate = Some(pb::duration(mesh.dns_refresh_rate));
    cluster.dns_jitter = Some(pb::duration(std::time::Duration::from_millis(100)));
    cluster.respect_dns_ttl = true;
    cluster.typed_dns_resolver_config = Some(core::TypedExtensionConfig {
        name: "envoy.network.dns_resolver.cares".to_owned(),
        typed_config: Some(pb::any(&CaresDnsResolverConfig {
            // A UDP socket a hundred queries: a lost source port is not kept for ever.
            udp_max_queries: pb::u32v(100),
            ..Default::default()
        })),
    });
    cluster.load_assignment = Some(crate::endpoint::resolved_by_name(
        input.scope,
        input.proxy,
        &cluster.name,
        (input.service, input.port),
        input.policy,
        |labels| {
            input
                .subset
                .is_none_or(|subset| matches(&subset.labels, labels))
        },
    ));
}
