//! LDS: where a proxy takes connections, and what it does with them.

pub mod access_log;
mod auto_passthrough;
mod collector;
pub mod filters;
mod gateway;
mod gateway_servers;
mod hcm;
mod inbound;
mod inbound_ports;
pub mod ingress;
mod l4;
mod metrics;
mod outbound;
mod server_tls;
mod tcp;
mod tracing;

pub use gateway::virtual_services as gateway_virtual_services;
pub use gateway_servers::{GatewayListener, GatewayServer, passed_on};
pub use outbound::HttpListener;

use crate::issue::Issues;
use crate::names;
use crate::pb::{self, core, listener};
use crate::proxy::{Proxy, ProxyKind};
use crate::world::scope::Scope;
use meltemi_registry::ServiceTarget;

/// Listeners, and the route configurations that they ask for.
pub struct Listeners<'w> {
    pub listeners: Vec<listener::Listener>,
    /// Of sidecars.
    pub http: Vec<HttpListener>,
    /// Of gateways.
    pub gateway: Vec<GatewayListener<'w>>,
}

/// Every listener of a proxy.
pub fn translate<'w>(
    scope: &Scope<'w>,
    proxy: &Proxy,
    targets: &[ServiceTarget],
    issues: &mut Issues,
) -> Listeners<'w> {
    match proxy.kind {
        ProxyKind::Sidecar => {
            let (mut listeners, http) = outbound::translate(scope, proxy, issues);
            listeners.extend(inbound::translate(scope, proxy, targets, issues));
            Listeners {
                listeners,
                http,
                gateway: Vec::new(),
            }
        }
        ProxyKind::Gateway => {
            let gateway = gateway_servers::listeners(scope, proxy, targets, issues);
            let listeners = gateway::translate(scope, proxy, &gateway, issues);
            Listeners {
                listeners,
                http: Vec::new(),
                gateway,
            }
        }
    }
}

/// The route configurations that a sidecar's outbound listeners ask for.
pub fn http(scope: &Scope<'_>, proxy: &Proxy, issues: &mut Issues) -> Vec<HttpListener> {
    outbound::translate(scope, proxy, issues).1
}

/// How long a TLS handshake or a first byte may take before a connection is given up; Istio's.
const SOCKET_CONNECT_TIMEOUT: i64 = 15;

/// The addresses of a listener: the wildcard stands for all addresses of the families that the
/// proxy has.
fn addresses(
    proxy: &Proxy,
    bind: &str,
    port: u16,
) -> (core::Address, Vec<listener::AdditionalAddress>) {
    const WILDCARD_V6: &str = "::";
    let at = |bind: &str| pb::socket_address(bind, u32::from(port));
    let has_v6 = proxy.ips.iter().any(std::net::IpAddr::is_ipv6);
    if bind != names::WILDCARD || !has_v6 {
        return (at(bind), Vec::new());
    }
    if !proxy.ips.iter().any(std::net::IpAddr::is_ipv4) {
        return (at(WILDCARD_V6), Vec::new());
    }
    let second = listener::AdditionalAddress {
        address: Some(at(WILDCARD_V6)),
        ..Default::default()
    };
    (at(bind), vec![second])
}

fn chain(filters: Vec<listener::Filter>) -> listener::FilterChain {
    listener::FilterChain {
        filters,
        transport_socket_connect_timeout: Some(pb::seconds(SOCKET_CONNECT_TIMEOUT)),
        ..Default::default()
    }
}
