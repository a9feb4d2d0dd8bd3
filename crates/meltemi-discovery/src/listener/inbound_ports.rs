//! Which ports a sidecar has inbound chains for: those of its services, or those that a Sidecar
//! declares in their place.

use std::collections::BTreeMap;

use meltemi_registry::{Port, Protocol, ServiceTarget};

use super::ingress;
use super::server_tls::{Place, terminate};
use crate::issue::Issues;
use crate::names;
use crate::pb::core;
use crate::proxy::Proxy;
use crate::world::peer_authentication::{MtlsMode, WorkloadMtls};
use crate::world::scope::Scope;

/// What is done with the connections of one chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    Http,
    Tcp,
}

/// HTTPS is HTTP where its TLS ends here.
pub fn layer(protocol: Protocol, own_tls: bool) -> Layer {
    if protocol.is_http() || (own_tls && protocol == Protocol::Https) {
        Layer::Http
    } else {
        Layer::Tcp
    }
}

/// One port's chains.
pub struct Inbound<'a> {
    /// `None`: every port that no service names.
    pub port: Option<u16>,
    pub protocol: Protocol,
    pub mode: MtlsMode,
    pub cluster: String,
    /// Of the service, in spans.
    pub host: &'a str,
    /// In the chains' name.
    pub address: String,
    /// A Sidecar's own TLS, ended here in place of the mesh's.
    pub tls: Option<core::TransportSocket>,
}

pub fn from_services<'a>(
    targets: &'a [ServiceTarget],
    mtls: &WorkloadMtls,
    issues: &mut Issues,
) -> BTreeMap<u16, Inbound<'a>> {
    let mut ports: BTreeMap<u16, Inbound<'a>> = BTreeMap::new();
    for target in targets {
        if target.port.protocol == Protocol::Udp {
            continue;
        }
        let port = target.target_port;
        if let Some(existing) = ports.get(&port) {
            if existing.protocol != target.port.protocol {
                let service = &target.service;
                issues.add(
                    &service.object,
                    format!("spec.ports[{}]", target.port.number),
                    format!(
                        "declares {} for a workload port that {} declares as {}; the latter counts. Use the same protocol",
                        target.port.protocol, existing.host, existing.protocol
                    ),
                );
            }
            continue;
        }
        ports.insert(
            port,
            Inbound {
                port: Some(port),
                protocol: target.port.protocol,
                mode: mtls.at(port),
                cluster: names::inbound(port),
                host: &target.service.hostname,
                address: names::WILDCARD.to_owned(),
                tls: None,
            },
        );
    }
    ports
}

pub fn from_ingress<'a>(
    scope: &Scope<'_>,
    proxy: &Proxy,
    declared: &[ingress::Ingress<'_>],
    targets: &'a [ServiceTarget],
    mtls: &WorkloadMtls,
    issues: &mut Issues,
) -> BTreeMap<u16, Inbound<'a>> {
    let address = match proxy.ips.first() {
        Some(ip) => ip.to_string(),
        None => names::WILDCARD.to_owned(),
    };
    let mut ports = BTreeMap::new();
    for listener in declared {
        if !listener.spec.bind.is_empty() {
            issues.add(
                listener.sidecar,
                listener.field("bind"),
                "not supported; the port is served with the workload's mTLS mode through the redirection",
            );
        }
        if !listener.is_captured() {
            issues.add(
                listener.sidecar,
                listener.field("captureMode"),
                "NONE is not supported here; the port is served through the redirection",
            );
        }
        let Port {
            number, protocol, ..
        } = listener.port;
        let mode = mtls.at(number);
        let tls = own_tls(scope, proxy, listener, mode, issues);
        // Who asks for TLS that cannot be had must not get plaintext.
        let closed = listener.spec.tls.is_some() && mode == MtlsMode::Disable && tls.is_none();
        let host = targets
            .iter()
            .find(|target| target.target_port == number)
            .map_or("", |target| &target.service.hostname);
        ports.insert(
            number,
            Inbound {
                port: Some(number),
                protocol,
                mode,
                cluster: if closed {
                    names::BLACK_HOLE.to_owned()
                } else {
                    names::inbound(number)
                },
                host,
                address: address.clone(),
                tls,
            },
        );
    }
    ports
}

/// The TLS that an ingress listener asks for. It is for clients outside the mesh, and so only
/// takes effect where the port is not the mesh's.
fn own_tls(
    scope: &Scope<'_>,
    proxy: &Proxy,
    listener: &ingress::Ingress<'_>,
    mode: MtlsMode,
    issues: &mut Issues,
) -> Option<core::TransportSocket> {
    let settings = listener.spec.tls.as_ref()?;
    let mut not_in_force = |field: String, message: &str| {
        issues.add(listener.sidecar, field, message);
    };
    if mode != MtlsMode::Disable {
        not_in_force(
            listener.field("tls"),
            "not in force, as the port has the mesh's mTLS; set portLevelMtls of this port to DISABLE in a PeerAuthentication",
        );
        return None;
    }
    if !settings.credential_name.is_empty() || !settings.credential_names.is_empty() {
        not_in_force(
            listener.field("tls.credentialName"),
            "not supported for sidecars; give files (serverCertificate, privateKey). The port is closed until then",
        );
        return None;
    }
    let place = Place {
        object: listener.sidecar,
        path: listener.field("tls"),
    };
    let http = layer(listener.port.protocol, true) == Layer::Http;
    terminate(scope, proxy, &place, settings, http, issues)
}
