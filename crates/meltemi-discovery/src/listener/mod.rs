//! LDS: where a proxy takes connections, and what it does with them.

pub mod access_log;
pub mod filters;
mod gateway;
mod gateway_tls;
mod hcm;
mod inbound;
pub mod ingress;
mod l4;
mod outbound;
mod tcp;

pub use gateway::{GatewayListener, GatewayServer, virtual_services as gateway_virtual_services};
pub use outbound::HttpListener;

use crate::issue::Issues;
use crate::pb::{self, listener};
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
            let gateway = gateway::listeners(scope, proxy, targets, issues);
            let listeners = gateway::translate(scope, proxy, &gateway, issues);
            Listeners {
                listeners,
                http: Vec::new(),
                gateway,
            }
        }
    }
}

/// How long a TLS handshake or a first byte may take before a connection is given up; Istio's.
const SOCKET_CONNECT_TIMEOUT: i64 = 15;

fn chain(filters: Vec<listener::Filter>) -> listener::FilterChain {
    listener::FilterChain {
        filters,
        transport_socket_connect_timeout: Some(pb::seconds(SOCKET_CONNECT_TIMEOUT)),
        ..Default::default()
    }
}
