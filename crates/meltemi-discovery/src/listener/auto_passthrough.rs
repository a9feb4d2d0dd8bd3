//! Servers that pass mesh mTLS on to the service that its SNI names (AUTO_PASSTHROUGH).

use meltemi_registry::Protocol;

use super::filters::Side;
use super::gateway_servers::GatewayServer;
use super::inbound::MESH_ANY;
use super::tcp;
use crate::names;
use crate::pb::listener;
use crate::proxy::Proxy;
use crate::world::scope::Scope;

/// A chain for each cluster of the services that the server's hosts cover. Only the ALPN of mesh
/// mTLS is taken, and clusters have endpoints that take it alone: whoever connects meets a
/// sidecar, which asks for a certificate.
pub fn chains(
    scope: &Scope<'_>,
    proxy: &Proxy,
    server: &GatewayServer<'_>,
) -> Vec<listener::FilterChain> {
    let services = scope.services.values();
    let mut chains = Vec::new();
    for service in services.filter(|service| server.passes_on_to(service)) {
        let rule = scope.rule(service);
        let subsets = rule.iter().flat_map(|rule| &rule.subsets);
        let subsets: Vec<&str> = std::iter::once("")
            .chain(subsets.map(|subset| subset.name.as_str()))
            .collect();
        let ports = service.ports.iter();
        for port in ports.filter(|port| port.protocol != Protocol::Udp) {
            for subset in &subsets {
                let cluster = names::outbound_sni(port.number, subset, &service.hostname);
                let config = tcp::to_cluster(scope, proxy, Side::Gateway, &cluster);
                chains.push(listener::FilterChain {
                    filter_chain_match: Some(listener::FilterChainMatch {
                        server_names: vec![cluster],
                        application_protocols: MESH_ANY.map(str::to_owned).to_vec(),
                        ..Default::default()
                    }),
                    ..super::chain(tcp::chain(scope, proxy, Side::Gateway, &config))
                });
            }
        }
    }
    chains
}
