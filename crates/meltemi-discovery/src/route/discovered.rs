//! VHDS: virtual hosts apart from their route configurations, so that a change of one sends one.

use meltemi_xds::ResourceSet;

use crate::pb::{self, route};
use crate::proxy::Proxy;
use crate::translate::encode;

/// Takes the virtual hosts out of a proxy's route configurations if it discovers them; with
/// their names as resources, `ROUTE/HOST`, as Envoy expects them.
pub fn discovered(
    proxy: &Proxy,
    routes: &mut [route::RouteConfiguration],
) -> Vec<(String, route::VirtualHost)> {
    let mut found = Vec::new();
    if !proxy.discovers_hosts {
        return found;
    }
    for configuration in routes {
        configuration.vhds = Some(route::Vhds {
            config_source: Some(pb::ads()),
        });
        for host in std::mem::take(&mut configuration.virtual_hosts) {
            found.push((format!("{}/{}", configuration.name, host.name), host));
        }
    }
    found
}

/// Virtual hosts as resources.
pub fn encode_hosts(hosts: &[(String, route::VirtualHost)]) -> ResourceSet {
    let hosts = hosts.iter();
    hosts.map(|(name, host)| encode(name, host)).collect()
}
