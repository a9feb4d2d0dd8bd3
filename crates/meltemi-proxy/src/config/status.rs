//! What the admin API tells of clusters, listeners and certificates, in Envoy's forms.

use super::record::{Kind, Records};
use crate::model::{
    Address, Balancer, CheckResult, Cluster, ClusterConfig, Discovery, Endpoint, Health, Listener,
    Locality, Snapshot,
};
use crate::tls::Secret;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use x509_parser::prelude::{FromDer, X509Certificate};

fn address(endpoint: &Endpoint) -> String {
    match &endpoint.address {
        Address::Socket(address) => address.to_string(),
        Address::Pipe(path) => path.display().to_string(),
    }
}

fn address_json(address: &Address) -> Value {
    match address {
        Address::Socket(address) => json!({
            "socket_address": {"address": address.ip().to_string(), "port_value": address.port()}
        }),
        Address::Pipe(path) => json!({"pipe": {"path": path.display().to_string()}}),
    }
}

fn ejected(endpoint: &Endpoint) -> bool {
    endpoint.state.ejected_until.load(Relaxed) != 0
}

/// All endpoints with their locality and priority.
fn endpoints(cluster: &Cluster) -> impl Iterator<Item = (usize, &Locality, &Arc<Endpoint>)> {
    cluster
        .endpoints
        .priorities
        .iter()
        .enumerate()
        .flat_map(|(level, priority)| {
            priority.localities.iter().flat_map(move |locality| {
                locality
                    .endpoints
                    .iter()
                    .map(move |endpoint| (level, locality, endpoint))
            })
        })
}

fn clusters(snapshot: &Snapshot) -> Vec<&Arc<Cluster>> {
    let mut clusters: Vec<_> = snapshot.clusters.iter().flatten().collect();
    clusters.sort_by(|a, b| a.config.name.cmp(&b.config.name));
    clusters
}

fn added_by_api(records: &Records, cluster: &Cluster) -> bool {
    records
        .get(Kind::Cluster, &cluster.config.name)
        .is_some_and(|record| !record.fixed)
}

fn flags(endpoint: &Endpoint, config: &ClusterConfig) -> String {
    let mut flags = String::new();
    let mut add = |flag: &str| {
        if !flags.is_empty() {
            flags.push('/');
        }
        flags.push_str(flag);
    };
    if ejected(endpoint) {
        add("failed_outlier_check");
    }
    if config.health_check.is_some() && !endpoint.check.disabled {
        match endpoint.state.checked() {
            CheckResult::Passed => {}
            CheckResult::Pending => add("failed_active_hc/pending_active_hc"),
            CheckResult::Degraded => add("degraded_active_hc"),
            CheckResult::Failed => add("failed_active_hc"),
        }
    }
    match endpoint.health {
        Health::Healthy => {}
        Health::Degraded => add("degraded_eds_health"),
        Health::Draining => add("eds_status_draining"),
        Health::Unhealthy => add("failed_eds_health"),
    }
    if flags.is_empty() {
        flags.push_str("healthy");
    }
    flags
}

pub fn clusters_text(snapshot: &Snapshot, records: &Records) -> String {
    let mut out = String::new();
    for cluster in clusters(snapshot) {
        // Writing to a String cannot fail.
        let _ = cluster_text(&mut out, cluster, records);
    }
    out
}

fn cluster_text(out: &mut String, cluster: &Cluster, records: &Records) -> std::fmt::Result {
    let config = &cluster.config;
    let name = &config.name;
    writeln!(out, "{name}::observability_name::{name}")?;
    for (limits, priority) in config.circuit_breakers.iter().zip(["default", "high"]) {
        writeln!(
            out,
            "{name}::{priority}_priority::max_connections::{}",
            limits.max_connections
        )?;
        writeln!(
            out,
            "{name}::{priority}_priority::max_pending_requests::{}",
            limits.max_pending_requests
        )?;
        writeln!(
            out,
            "{name}::{priority}_priority::max_requests::{}",
            limits.max_requests
        )?;
        writeln!(
            out,
            "{name}::{priority}_priority::max_retries::{}",
            limits.max_retries
        )?;
    }
    writeln!(
        out,
        "{name}::added_via_api::{}",
        added_by_api(records, cluster)
    )?;
    if let Discovery::Eds(service) = &config.discovery {
        writeln!(out, "{name}::eds_service_name::{service}")?;
    }
    for (level, locality, endpoint) in endpoints(cluster) {
        let address = address(endpoint);
        let state = &endpoint.state;
        let total = state.requests_total.load(Relaxed);
        let failed = state.requests_failed.load(Relaxed);
        let lines: [(&str, String); 15] = [
            ("cx_active", state.connections.load(Relaxed).to_string()),
            (
                "cx_connect_fail",
                state.connect_failures.load(Relaxed).to_string(),
            ),
            ("rq_active", state.active_requests.load(Relaxed).to_string()),
            ("rq_error", failed.to_string()),
            ("rq_success", total.saturating_sub(failed).to_string()),
            ("rq_total", total.to_string()),
            ("hostname", endpoint.hostname.to_string()),
            ("health_flags", flags(endpoint, config)),
            ("weight", endpoint.weight.to_string()),
            ("region", locality.region.to_string()),
            ("zone", locality.zone.to_string()),
            ("sub_zone", locality.sub_zone.to_string()),
            ("canary", "false".to_owned()),
            ("priority", level.to_string()),
            (
                "times_ejected",
                state.times_ejected.load(Relaxed).to_string(),
            ),
        ];
        for (field, value) in lines {
            writeln!(out, "{name}::{address}::{field}::{value}")?;
        }
    }
    Ok(())
}

pub fn clusters_json(snapshot: &Snapshot, records: &Records) -> Value {
    let statuses: Vec<Value> = clusters(snapshot)
        .into_iter()
        .map(|cluster| cluster_json(cluster, added_by_api(records, cluster)))
        .collect();
    json!({ "cluster_statuses": statuses })
}

fn cluster_json(cluster: &Cluster, added: bool) -> Value {
    let config = &cluster.config;
    let hosts: Vec<Value> = endpoints(cluster)
        .map(|(level, locality, endpoint)| endpoint_json(level, locality, endpoint))
        .collect();
    let thresholds: Vec<Value> = config
        .circuit_breakers
        .iter()
        .zip(["DEFAULT", "HIGH"])
        .map(|(limits, priority)| {
            json!({
                "priority": priority,
                "max_connections": limits.max_connections,
                "max_pending_requests": limits.max_pending_requests,
                "max_requests": limits.max_requests,
                "max_retries": limits.max_retries,
            })
        })
        .collect();
    let mut status = json!({
        "name": config.name,
        "observability_name": config.name,
        "added_via_api": added,
        "host_statuses": hosts,
        "circuit_breakers": {"thresholds": thresholds},
        "lb_policy": match config.balancer {
            Balancer::RoundRobin { .. } => "ROUND_ROBIN",
            Balancer::LeastRequest { .. } => "LEAST_REQUEST",
            Balancer::Random => "RANDOM",
            Balancer::RingHash { .. } => "RING_HASH",
            Balancer::Maglev { .. } => "MAGLEV",
            Balancer::ClusterProvided => "CLUSTER_PROVIDED",
        },
    });
    if let Discovery::Eds(service) = &config.discovery {
        status["eds_service_name"] = json!(service);
    }
    status
}

fn endpoint_json(level: usize, locality: &Locality, endpoint: &Endpoint) -> Value {
    let state = &endpoint.state;
    let total = state.requests_total.load(Relaxed);
    let failed = state.requests_failed.load(Relaxed);
    let counter = |name: &str, value: u64| json!({"name": name, "value": value.to_string()});
    let gauge =
        |name: &str, value: u32| json!({"name": name, "value": value.to_string(), "type": "GAUGE"});
    let mut health = json!({
        "eds_health_status": match endpoint.health {
            Health::Healthy => "HEALTHY",
            Health::Degraded => "DEGRADED",
            Health::Draining => "DRAINING",
            Health::Unhealthy => "UNHEALTHY",
        },
    });
    if ejected(endpoint) {
        health["failed_outlier_check"] = json!(true);
    }
    json!({
        "address": address_json(&endpoint.address),
        "stats": [
            counter("cx_connect_fail", state.connect_failures.load(Relaxed)),
            counter("rq_error", failed),
            counter("rq_success", total.saturating_sub(failed)),
            counter("rq_total", total),
            gauge("cx_active", state.connections.load(Relaxed)),
            gauge("rq_active", state.active_requests.load(Relaxed)),
        ],
        "health_status": health,
        "hostname": endpoint.hostname,
        "weight": endpoint.weight,
        "priority": level,
        "locality": {
            "region": locality.region,
            "zone": locality.zone,
            "sub_zone": locality.sub_zone,
        },
    })
}

pub fn listeners_text(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for listener in &snapshot.listeners.all {
        for address in &listener.addresses {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}::{address}", listener.name);
        }
    }
    out
}

pub fn listeners_json(snapshot: &Snapshot) -> Value {
    let statuses: Vec<Value> = snapshot
        .listeners
        .all
        .iter()
        .map(|l| listener_json(l))
        .collect();
    json!({ "listener_statuses": statuses })
}

fn listener_json(listener: &Listener) -> Value {
    let mut addresses = listener
        .addresses
        .iter()
        .map(|address| address_json(&Address::Socket(*address)));
    let mut status = json!({
        "name": listener.name,
        "local_address": addresses.next(),
    });
    let additional: Vec<Value> = addresses.collect();
    if !additional.is_empty() {
        status["additional_local_addresses"] = Value::Array(additional);
    }
    status
}

pub fn certs_json(secrets: &HashMap<Arc<str>, Arc<Secret>>) -> Value {
    let mut names: Vec<_> = secrets.keys().collect();
    names.sort();
    let certificates: Vec<Value> = names
        .into_iter()
        .map(|name| match &*secrets[name] {
            Secret::Certificate { chain, .. } => json!({
                "name": name,
                "ca_cert": [],
                "cert_chain": chain.iter().map(|der| certificate(der)).collect::<Vec<_>>(),
            }),
            Secret::Trust { roots, .. } => json!({
                "name": name,
                "ca_cert": roots.iter().map(|der| certificate(der)).collect::<Vec<_>>(),
                "cert_chain": [],
            }),
        })
        .collect();
    json!({ "certificates": certificates })
}

/// Ends of what is in use, in seconds since 1970; `None` where there is nothing that ends.
pub struct FirstEnds {
    /// Of certificates and, as in Envoy, the first root of each trust bundle.
    pub certificate: Option<i64>,
    pub staple: Option<i64>,
}

pub fn first_ends(secrets: &HashMap<Arc<str>, Arc<Secret>>) -> FirstEnds {
    let certificates = secrets.values().filter_map(|secret| match &**secret {
        Secret::Certificate { chain, .. } => not_after(chain.first()?),
        Secret::Trust { roots, .. } => not_after(roots.first()?),
    });
    let staples = secrets.values().filter_map(|secret| match &**secret {
        Secret::Certificate { staple, .. } => staple.as_ref()?.next_update(),
        Secret::Trust { .. } => None,
    });
    FirstEnds {
        certificate: certificates.min(),
        staple: staples.min(),
    }
}

/// Seconds since 1970; `None` for what is no certificate.
pub fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Seconds until a certificate ends; negative afterwards, `None` for what is none.
pub fn seconds_left(secret: &Secret) -> Option<i64> {
    let Secret::Certificate { chain, .. } = secret else {
        return None;
    };
    Some(not_after(chain.first()?)? - crate::clock::unix_seconds())
}

/// Envoy's `CertificateDetails`.
fn certificate(der: &[u8]) -> Value {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return json!({"error": "unreadable certificate"});
    };
    let time = |time: x509_parser::time::ASN1Time| {
        jiff::Timestamp::from_second(time.timestamp())
            .map(|time| time.to_string())
            .unwrap_or_default()
    };
    let names: Vec<Value> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| {
            use x509_parser::extensions::GeneralName;
            extension
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some(json!({"dns": name})),
                    GeneralName::URI(uri) => Some(json!({"uri": uri})),
                    GeneralName::IPAddress(bytes) => ip(bytes).map(|ip| json!({"ip_address": ip})),
                    _ => None,
                })
                .collect()
        })
        .unwrap_or_default();
    let seconds = certificate.validity().time_to_expiration();
    json!({
        "serial_number": crate::tls::certificate::serial(der),
        "subject": certificate.subject().to_string(),
        "subject_alt_names": names,
        "days_until_expiration": seconds.map_or(0, |left| left.whole_days()).to_string(),
        "valid_from": time(certificate.validity().not_before),
        "expiration_time": time(certificate.validity().not_after),
    })
}

fn ip(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(v6).to_string())
}
